"""Series of frames solved together: locally low rank (Zhang et al. 2015, MRM 73:655), for repetitions, phases or echoes.

Every frame has lines of its own; blocks of voxels share few courses over frames, which tells aliases from the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.coils import CoarseMaps
from lauterbur.recon.encoded import encoded, slab_of_maps, squared_residual, volume_of
from lauterbur.recon.layout import Layout
from lauterbur.recon.low_rank import LocallyLowRank
from lauterbur.recon.readout import WORKERS, Hybrid
from lauterbur.recon.regularisation import Fit, fit_of, low_rank_weight
from lauterbur.recon.solvers import Convergence, fista
from lauterbur.recon.sparse import (
    AVERAGED,
    ITERATIONS,
    LEAST_CONFIDENCE,
    TOLERANCE,
    Part,
    joined,
    noise_of,
    plane_by_plane,
)
from lauterbur.recon.timings import Told, silent

BLOCK = 8  # voxels along each axis of a plane


def combine_series_(
    lines: Hybrid,
    which: list[NDArray[np.intp]],
    layout: Layout,
    maps: CoarseMaps | CoilMaps,
    i_slice: int,
    volumes: NDArray[np.complex64],
    *,
    weight: float | None = None,
    is_white: bool = False,
    told: Told = silent,
) -> Fit:
    """Fills volumes (frame, z, y, x) from the lines of each frame; `weight` by rule unless given."""
    n_x, n_frames = layout.readout.n_image, len(which)
    every = np.concatenate(which)
    noise = noise_of(lines, every, layout, is_white)
    fraction = len(every) / (n_frames * layout.n_partitions * layout.phase.n)
    is_volume = layout.partition is not None
    plane = (layout.n_partitions, layout.phase.n) if is_volume else (n_x, layout.phase.n)
    n_voxels = min(BLOCK, plane[0]) * min(BLOCK, plane[1])
    chosen = low_rank_weight(noise, fraction, n_voxels, n_frames) if weight is None else weight
    width = 1 if is_volume else n_x
    prior = LocallyLowRank(BLOCK)

    def work(start: int) -> Part:
        stop = start + width
        slab = slab_of_maps(maps, i_slice, layout, start, stop, LEAST_CONFIDENCE)
        problems = [
            encoded(lines, frame, layout, slab, start, stop, workers=1 if is_volume else WORKERS) for frame in which
        ]
        right = np.stack([p.right for p in problems])  # (frame, plane, set, a, b)
        watch = Convergence()
        image = fista(
            lambda x: np.stack([p.sense.normal(one) for p, one in zip(problems, x, strict=True)]),
            right, prior, chosen, iterations=ITERATIONS, seed=start, tolerance=TOLERANCE, averaged=AVERAGED, watch=watch,
        )  # fmt: skip
        left = 0.0
        for i, (problem, one) in enumerate(zip(problems, np.asarray(image, np.complex64), strict=True)):
            volumes[i, :, :, start:stop] = joined(volume_of(one, layout))
            left += squared_residual(problem, one)
        return left, sum(p.n_samples for p in problems), watch

    return fit_of(chosen, noise, plane_by_plane(work, n_x, is_volume, told))
