"""One slice or volume of a non-Cartesian scan, gathered: samples and grids of all its frames, and what the receivers see in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.rawdata import RawData
from lauterbur.recon.coils import CoarseMaps
from lauterbur.recon.espirit import PlaneMaps
from lauterbur.recon.gridding import (
    Grid,
    centre,
    check_centre,
    full_radius,
    gridded,
    maps_of_planes,
    maps_of_volume,
    noise_of_centre,
)
from lauterbur.recon.scattered import Samples, Scatter, samples_of

GOOD_RADIUS = 10  # steps of the field of view: a frame that is fully sampled less far calibrates with the others


@dataclass(frozen=True)
class Piece:
    """A slice, or a volume, of all frames."""

    name: str  # for messages
    frames: tuple[Samples, ...]
    grids: tuple[Grid, ...]


def piece_of(
    raw: RawData, plan: Scatter, mixing: NDArray[Any], i_slice: int, known: dict[bytes, Grid], notes: set[str]
) -> Piece:
    """`known`: grids of trajectories met before, by their points."""
    frames = tuple(samples_of(raw, plan, mixing, i_slice, i, notes) for i in range(len(plan.frames)))
    name = f"slice SLC={plan.slices[i_slice]}" if len(plan.shape) == 2 and plan.partition is None else "the volume"
    return Piece(name, frames, tuple(_grid(known, one.points, plan.shape) for one in frames))


def _grid(known: dict[bytes, Grid], points: NDArray[np.float64], shape: tuple[int, ...]) -> Grid:
    key = np.round(points * 1e5).astype(np.int32).tobytes()
    if key not in known:
        known[key] = gridded(points, shape)
    return known[key]


def calibrating(piece: Piece, plan: Scatter) -> tuple[Grid, Samples]:
    """The first frame; where its centre is thin, all frames of its echo together."""
    first = plan.frames[0]["ECO"]
    same = [i for i, frame in enumerate(plan.frames) if frame["ECO"] == first]
    if len(same) == 1 or full_radius(piece.grids[0]) >= min(GOOD_RADIUS, min(plan.shape) // 2):
        return piece.grids[0], piece.frames[0]
    points, values, time = (
        np.concatenate([getattr(piece.frames[i], name) for i in same], axis=axis)
        for name, axis in (("points", 0), ("values", 2), ("time", 0))
    )
    return gridded(points, plan.shape), Samples(points, values, time)


def receivers_in_planes(
    piece: Piece, plan: Scatter, *, sets: int = 1, noise: float | None = None, is_strict: bool = True
) -> list[PlaneMaps]:
    """Maps of every plane of a slice or stack; refused where `is_strict` and the centre of k-space does not tell them.

    `noise`: standard deviation of a sample, where it is known.
    """
    grid, samples = calibrating(piece, plan)
    n_rx = samples.values.shape[1]
    radius = check_centre(grid, n_rx, piece.name) if is_strict else max(6, full_radius(grid))
    blocks = centre(grid, samples.values, radius)
    level = None if noise is None else noise * noise_of_centre(grid, radius)
    return maps_of_planes(blocks, (plan.shape[0], plan.shape[1]), sets=sets, noise=level)


def receivers_in_volume(piece: Piece, plan: Scatter, *, is_strict: bool = True) -> CoarseMaps:
    grid, samples = calibrating(piece, plan)
    radius = check_centre(grid, samples.values.shape[1], piece.name) if is_strict else max(6, full_radius(grid))
    return maps_of_volume(centre(grid, samples.values[0], radius), plan.shape)
