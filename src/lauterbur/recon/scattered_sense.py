"""SENSE, compressed sensing and low rank for any trajectory: weighted least squares with the receivers' maps.

    argmin_x  1/2 |W^1/2 (A S x - y)|^2 + weight * prior(x)

W flattens the density of samples (nufft.py), so that a few iterations suffice (Pruessmann et al. 2001, MRM 46:638) and A' W A is
as near to a projection as a Cartesian mask: weights by regularisation.py mean the same. The normal operator is a convolution on
twice the grid (toeplitz.py), or goes there and back where off-resonance is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.gridding import Grid
from lauterbur.recon.low_rank import LocallyLowRank
from lauterbur.recon.operators import Chain, Sensitivity, off_resonance_operator
from lauterbur.recon.regularisation import Fit, fit_of, low_rank_weight, noise_level, sparse_weight
from lauterbur.recon.series import BLOCK
from lauterbur.recon.solvers import Array, Convergence, Normal, conjugate_gradient, fista, largest_eigenvalue
from lauterbur.recon.sparse import AVERAGED, FAMILY, ITERATIONS, TOLERANCE, joined
from lauterbur.recon.toeplitz import ToeplitzSense
from lauterbur.recon.wavelets import Wavelet

STEPS = 10  # of conjugate gradients: more fits noise and the errors of the maps
ENOUGH = 3e-3  # of the normal equations' residual
SEGMENTS_ERROR = 1e-2  # of the off-resonance operator, which needs many transforms: few segments, each as rough
Complex = NDArray[np.complex64]


@dataclass(frozen=True)
class Problem:
    """One frame of one plane or volume."""

    normal: Normal
    right: Complex  # (set, *image), A' W y
    energy: float  # y' W y
    noise: float  # standard deviation of a sample
    effective: float  # standard deviation of the noise in A' W y, in units of that of a sample, squared
    count: float  # sum of weights over receivers' samples
    is_white: bool  # the noise is known, not guessed from what lies furthest from k = 0

    def residual(self, image: Complex) -> float:
        """Squared, weighted: |W^1/2 (A x - y)|^2."""
        cross = float(np.vdot(image, self.right).real)
        return max(self.energy - 2 * cross + float(np.vdot(image, self.normal(image)).real), 0.0)


def problem_of(
    grid: Grid,
    values: Complex,
    maps: Complex,
    *,
    is_white: bool,
    off_resonance: NDArray[np.float32] | None = None,
    time: NDArray[np.float64] | None = None,
) -> Problem:
    """From samples (rx, sample), maps (set, rx, *image); with off-resonance (*image) Hz at the time of each sample, s."""
    dims, w = len(grid.shape), grid.weights
    if off_resonance is None or time is None:
        seen = grid.images(values)
        right = np.sum(maps.conj() * seen[None], axis=1)
        normal: Normal = ToeplitzSense(np.ascontiguousarray(maps), grid.transfer).normal
    else:
        rough = replace(grid.operator, accuracy=SEGMENTS_ERROR / 10)
        encode = Chain(off_resonance_operator(rough, off_resonance, time, SEGMENTS_ERROR), Sensitivity(maps))
        right = encode.adjoint(values * w).astype(np.complex64)

        def normal(image: Array) -> Array:
            return encode.adjoint(encode.forward(image) * w)

    distance = np.linalg.norm(grid.operator.points[:, -dims:], axis=1)
    noise = 1.0 if is_white else noise_level(values.T[:, :, None], distance)
    energy = float(np.sum(w * np.sum(np.abs(values) ** 2, axis=0), dtype=np.float64))
    effective = float(np.sum(w.astype(np.float64) ** 2) / np.prod(grid.shape))
    return Problem(
        normal,
        np.ascontiguousarray(right, np.complex64),
        energy,
        noise,
        effective,
        float(w.sum()) * len(values),
        is_white,
    )


def solved_alone(problem: Problem, weight: float | None, *, seed: int = 0) -> tuple[Complex, Fit]:
    """(*image) of one frame: least squares for weight 0, else sparse in wavelets; None: weighed by the rule."""
    watch = Convergence()
    chosen = sparse_weight(problem.noise, problem.effective) if weight is None else weight
    if chosen == 0:
        misfit = (problem.energy, problem.noise**2 * problem.count) if problem.is_white else None
        image = conjugate_gradient(
            problem.normal, problem.right, iterations=STEPS, tolerance=ENOUGH, misfit=misfit, watch=watch
        )
    else:
        axes = tuple(range(1, problem.right.ndim))
        image = fista(
            problem.normal, problem.right, Wavelet(axes, FAMILY), chosen, iterations=ITERATIONS, seed=seed,
            lipschitz=largest_eigenvalue(problem.normal, problem.right), tolerance=TOLERANCE, averaged=AVERAGED, watch=watch,
        )  # fmt: skip
    return _whole(image), fit_of(chosen, problem.noise, [(problem.residual(image), _whole_count(problem), watch)])


def solved_together(problems: list[Problem], weight: float | None, *, seed: int = 0) -> tuple[Complex, Fit]:
    """(frame, *image) of all frames, locally low rank over them."""
    watch, n_frames = Convergence(), len(problems)
    shape = problems[0].right.shape[1:]
    n_voxels = int(np.prod([min(BLOCK, n) for n in shape]))
    noise = float(np.sqrt(np.mean([p.noise**2 for p in problems])))
    fraction = float(np.mean([p.effective for p in problems]))
    chosen = low_rank_weight(noise, fraction, n_voxels, n_frames) if weight is None else weight

    def normal(series: Array) -> Array:
        return np.stack([p.normal(one) for p, one in zip(problems, series, strict=True)])

    right = np.stack([p.right for p in problems])
    image = fista(
        normal, right, LocallyLowRank(BLOCK), chosen, iterations=ITERATIONS, seed=seed,
        lipschitz=max(largest_eigenvalue(p.normal, p.right) for p in problems), tolerance=TOLERANCE, watch=watch,
    )  # fmt: skip
    left = sum(p.residual(one) for p, one in zip(problems, image, strict=True))
    count = sum(_whole_count(p) for p in problems)
    return np.stack([_whole(one) for one in image]), fit_of(chosen, noise, [(left, count, watch)])


def _whole_count(problem: Problem) -> int:
    return max(1, round(problem.count))


def _whole(sets: Array) -> Complex:
    """Sets of maps (set, *image) joined."""
    return np.asarray(joined(np.asarray(sets, np.complex64)), np.complex64)
