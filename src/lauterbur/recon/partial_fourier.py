"""Partial Fourier: the unmeasured side of k-space from the measured one and a smooth phase.

Projection onto convex sets (Haacke et al. 1991, J Magn Reson 92:126): the image takes the phase of its symmetric low
frequencies, k-space takes the measured samples back, a few times over. Phase finer than the symmetric band is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.fft import fft, ifft

ITERATIONS = 8


def _symmetric_window(measured: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A Hann window over the band that was measured on both sides of k = 0; ones if all was."""
    n = len(measured)
    if measured.all():
        return np.ones(n, np.float32)
    centre = n // 2
    index = np.flatnonzero(measured)
    half = min(centre - int(index[0]), int(index[-1]) - centre)
    distance = np.abs(np.arange(n) - centre)
    return np.where(distance <= half, np.cos(np.pi * distance / (2 * (half + 1))) ** 2, 0).astype(np.float32)


def projected(
    image: NDArray[np.complexfloating[Any, Any]],
    measured: dict[int, NDArray[np.bool_]],
    *,
    iterations: int = ITERATIONS,
) -> NDArray[np.complex64]:
    """The image (any shape) with k-space completed; `measured` says per axis which points were measured."""
    axes = sorted(measured)

    def along(axis: int, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape([-1 if a == axis else 1 for a in range(image.ndim)])

    known = np.ones((1,) * image.ndim, bool)
    window = np.ones((1,) * image.ndim, np.float32)
    for axis in axes:
        known = known & along(axis, measured[axis])
        window = window * along(axis, _symmetric_window(measured[axis]))
    k_space = fft(image, axes)
    low = ifft(k_space * window, axes)
    magnitude = np.abs(low)
    phase = np.where(magnitude > 0, low / np.maximum(magnitude, np.finfo(np.float32).tiny), 1).astype(np.complex64)
    result = np.asarray(image, np.complex64)
    for _ in range(iterations):
        result = ifft(np.where(known, k_space, fft(np.abs(result) * phase, axes)), axes)
    return result
