"""Structures finer than the grid: points with a volume, which displace what they lie in.

The share a voxel's points fill is taken from all its compartments, and its air, alike; the twin then plays the voxel's
boxes with the smaller fractions and each point with its own volume, so that nothing is counted twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import PointCloud, Subject, nearest_voxel, point_share
from lauterbur.units import mm


def add_points(subject: Subject, cloud: PointCloud) -> Subject:
    """The subject with the points in it; the volume of all tissues, air and points together stays the same."""
    shape = subject.labels.shape[1:]
    index = nearest_voxel(subject, cloud.position)
    outside = ~np.all((index >= 0) & (index < shape), axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        place = ", ".join(f"{value / mm:.1f}" for value in cloud.position[first])
        raise InputError(
            f"subject {subject.name}: point {first} at ({place}) mm lies outside the grid ({int(outside.sum())} of {len(index)} do)"
        )
    before = point_share(subject, subject.points)
    share = before + point_share(subject, cloud)
    fullest = int(np.argmax(share))
    if not share.reshape(-1)[fullest] <= 1:
        voxel = tuple(int(i) for i in np.unravel_index(fullest, shape))
        raise InputError(
            f"subject {subject.name}: points fill {share.reshape(-1)[fullest]:.3g} times the voxel {voxel} (z, y, x);"
            " they may fill it once: make them smaller or fewer"
        )
    left = np.divide(1 - share, 1 - before, out=np.zeros(shape), where=before < 1).astype(np.float32)
    points = cloud if subject.points is None else _joined(subject.points, cloud)
    return replace(subject, fraction=subject.fraction * left, points=points)


def line(
    start: NDArray[np.float64], end: NDArray[np.float64], *, radius: float, step: float, tissue: int
) -> PointCloud:
    """A straight vessel from start to end (m) of this radius (m), as points every step (m)."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    length = float(np.linalg.norm(end - start))
    if not (np.isfinite(length) and length > 0 and 0 < radius < 0.1 and 1e-6 <= step <= length):
        raise InputError(
            f"line: length {length} m, radius {radius} m, step {step} m; all positive, the step at most the length"
        )
    n = round(length / step)
    along = (np.arange(n) + 0.5) / n
    volume = np.full(n, np.pi * radius**2 * length / n)
    return PointCloud(start + along[:, None] * (end - start), volume, np.full(n, tissue, np.uint8))


def _joined(first: PointCloud, second: PointCloud) -> PointCloud:
    return PointCloud(
        np.concatenate([first.position, second.position]),
        np.concatenate([first.volume, second.volume]),
        np.concatenate([first.tissue, second.tissue]),
    )
