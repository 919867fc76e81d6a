"""How strongly a prior is believed: by a stated rule from the noise, or as the user says.

The rule: a prior's weight is what noise alone would reach. Wavelet coefficients of A' n have the standard deviation s sqrt(f) where the samples'
noise has s and a part f of k-space was measured (transforms and maps being orthonormal); the singular values of a block of
n voxels and m frames reach s sqrt(f) (sqrt(n) + sqrt(m)) (Marchenko and Pastur 1967). On a phantom of 12 receivers at a fifth of k-space the
weight of least error lies within 0.5 to 1.5 of the first, whatever the noise (signal to noise 400, 50 and 15) and the wavelet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.solvers import Convergence

OUTERMOST = 0.1  # of the lines: there the signal is least


@dataclass(frozen=True)
class Fit:
    """How an image fits the data."""

    weight: float  # of the prior, in units of the image
    noise: float  # standard deviation of a sample that was assumed
    residual: (
        float  # root mean square of what is left of the samples; near `noise` where the fit is neither loose nor tight
    )
    change: float  # of the last iteration, relative to the image
    iterations: int


def fit_of(weight: float, noise: float, parts: list[tuple[float, int, Convergence]]) -> Fit:
    """Of planes solved apart: squared residual, number of samples, and end of each."""
    left, count = sum(p[0] for p in parts), sum(p[1] for p in parts)
    moved, size = (float(np.linalg.norm([getattr(p[2], name) for p in parts])) for name in ("moved", "size"))
    change, steps = moved / max(size, 1e-30), max(p[2].steps for p in parts)
    return Fit(weight, noise, float(np.sqrt(left / max(count, 1))), change, steps)


def checked(regularisation: str | float) -> float | None:
    """None for 'auto', else the weight: not negative, finite."""
    if regularisation == "auto":
        return None
    try:
        weight = float(regularisation)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < np.inf:
        raise InputError(
            f"regularisation {regularisation!r} is neither 'auto' nor a weight of 0 or more, in units of the image (of its noise "
            "where that is known)"
        )
    return weight


def noise_level(samples: NDArray[np.complexfloating[Any, Any]], distance: NDArray[np.floating[Any]]) -> float:
    """Standard deviation of samples (line, rx, n) as if the outermost lines held noise alone; `distance` (line,) from k = 0.

    An upper bound where they hold signal too. From the median of magnitudes, which few bright samples do not move.
    """
    outer = distance >= np.quantile(distance, 1 - OUTERMOST)
    return float(np.median(np.abs(samples[outer])) / np.sqrt(np.log(2)))


def sparse_weight(noise: float, fraction: float) -> float:
    return noise * float(np.sqrt(fraction))


def low_rank_weight(noise: float, fraction: float, n_voxels: int, n_frames: int) -> float:
    return sparse_weight(noise, fraction) * float(np.sqrt(n_voxels) + np.sqrt(n_frames))
