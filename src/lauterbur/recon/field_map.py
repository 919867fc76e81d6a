"""Off-resonance from two echoes of the same scan, for readouts so long that it blurs them (spirals at 5 T).

    image(te) ~ exp(-2 pi i f te)      f = -angle(second conj(first)) / (2 pi (te2 - te1))

Products are smoothed before the angle is taken, so that bright voxels tell their neighbours; where all is dark, a
wide neighbourhood tells. The map ends at half a turn between the echoes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NEAR = 1.5  # voxels, standard deviation of the smoothing
WIDE, LITTLE = 8.0, 0.02  # voxels, and the weight of what is so far away
BLURS = 0.1  # turns of off-resonance during a readout: less is not worth correcting


def off_resonance_of(first: NDArray[Any], second: NDArray[Any], spacing: float) -> NDArray[np.float32]:
    """Hz, of planes (y, x) or volumes, from complex images `spacing` s apart; in the sense of operators.off_resonance_operator."""
    product = second * np.conj(first)

    def smooth(sigma: float) -> NDArray[Any]:
        return np.asarray(
            ndimage.gaussian_filter(product.real, sigma) + 1j * ndimage.gaussian_filter(product.imag, sigma)
        )

    angle = np.angle(smooth(NEAR) + LITTLE * smooth(WIDE))
    return np.asarray(-angle / (2 * np.pi * spacing), np.float32)


def echo_pair(frames: tuple[dict[str, int], ...], te: tuple[float, ...]) -> tuple[int, int] | None:
    """The frames of the first two echo times of one repetition; None where there is one echo."""
    if len(te) < 2:
        return None
    others = [{name: v for name, v in frame.items() if name != "ECO"} for frame in frames]
    for second, frame in enumerate(frames):
        if frame["ECO"] == 1:
            for first, earlier in enumerate(frames):
                if earlier["ECO"] == 0 and others[first] == others[second]:
                    return first, second
    return None
