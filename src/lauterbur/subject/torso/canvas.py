"""The grid on which tissues are painted one over another, each displacing what lies there, with partial volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.subject.torso.shapes import Axes, Distance, Shape

COMPARTMENTS = 3
LEAST = 1 / 256  # of a voxel; less is not painted


@dataclass(frozen=True, eq=False)
class Canvas:
    axes: Axes  # mm of the reference man, at voxel centres
    step: float  # mm, of a voxel, over which a border spreads
    names: tuple[str, ...]  # of tissues, by label; the first is air
    labels: NDArray[np.uint8]  # (compartment, z, y, x)
    fraction: NDArray[np.float32]
    within: NDArray[np.float32] | None = None  # mm outside what nothing painted may leave, (z, y, x)


def canvas(axes: Axes, step: float, names: tuple[str, ...]) -> Canvas:
    shape = (COMPARTMENTS, *(len(axis) for axis in reversed(axes)))
    return Canvas(axes, step, names, np.zeros(shape, np.uint8), np.zeros(shape, np.float32))


def window(target: Canvas, low: NDArray, high: NDArray) -> tuple[slice, slice, slice]:
    """The voxels (x, y, z) that a box touches."""
    found = []
    for axis, least, most in zip(target.axes, low, high, strict=True):
        first = int(np.searchsorted(axis, least - target.step))
        found.append(slice(first, max(first, int(np.searchsorted(axis, most + target.step)))))
    return found[0], found[1], found[2]


def paint_(target: Canvas, tissue: str, shape: Shape) -> None:
    """Fill a shape with a tissue ("air" empties it); a voxel's share is judged by its centre's distance to the border."""
    box = window(target, shape.low, shape.high)
    if any(part.stop <= part.start for part in box):
        return
    paint_distance_(target, tissue, shape.distance(tuple(a[s] for a, s in zip(target.axes, box, strict=True))), box)  # type: ignore[arg-type]


def paint_distance_(
    target: Canvas, tissue: str, distance: NDArray[np.float32], box: tuple[slice, slice, slice] | None = None
) -> None:
    """The same with a distance map, of the whole grid or of a box of it."""
    x, y, z = box if box is not None else (slice(0, None),) * 3
    if target.within is not None:
        distance = np.maximum(distance, target.within[z, y, x])
    share = np.clip(0.5 - distance / np.float32(target.step), 0, 1).astype(np.float32)
    _insert(
        target.labels[:, z, y, x], target.fraction[:, z, y, x], share, np.uint8(target.names.index(tissue)), LEAST
    )  # fmt: skip


def everywhere(distance: Distance) -> Shape:
    """A shape without a box of its own."""
    return Shape(distance, np.full(3, -1e4), np.full(3, 1e4))


@njit(cache=True)
def _insert(labels, fraction, share, tissue, least):  # type: ignore[no-untyped-def]
    n_slots, nz, ny, nx = labels.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                s = share[k, j, i]
                if s < least:
                    continue
                if s > 1 - least:
                    for slot in range(n_slots):
                        labels[slot, k, j, i] = 0
                        fraction[slot, k, j, i] = 0.0
                    if tissue > 0:
                        labels[0, k, j, i] = tissue
                        fraction[0, k, j, i] = 1.0
                    continue
                total = np.float32(0.0)
                same, smallest = -1, 0
                for slot in range(n_slots):
                    f = fraction[slot, k, j, i] * (1 - s)
                    fraction[slot, k, j, i] = f
                    total += f
                    if f > 0 and labels[slot, k, j, i] == tissue:
                        same = slot
                    if f < fraction[smallest, k, j, i]:
                        smallest = slot
                if tissue == 0:
                    continue
                wanted = total + s
                if same >= 0:
                    fraction[same, k, j, i] += s
                    continue
                lost = fraction[smallest, k, j, i]
                if s >= lost:  # what finds no room gives its share to the others
                    labels[smallest, k, j, i] = tissue
                    fraction[smallest, k, j, i] = s
                    total += s - lost
                scale = wanted / total
                for slot in range(n_slots):
                    fraction[slot, k, j, i] *= scale


def finish_(target: Canvas) -> None:
    """The largest compartment first, and no label where there is nothing."""
    _sort(target.labels, target.fraction)


@njit(cache=True)
def _sort(labels, fraction):  # type: ignore[no-untyped-def]
    n_slots, nz, ny, nx = labels.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                for last in range(n_slots - 1, 0, -1):
                    for slot in range(last):
                        f, g = fraction[slot, k, j, i], fraction[slot + 1, k, j, i]
                        if f < g:
                            fraction[slot, k, j, i], fraction[slot + 1, k, j, i] = g, f
                            label = labels[slot, k, j, i]
                            labels[slot, k, j, i] = labels[slot + 1, k, j, i]
                            labels[slot + 1, k, j, i] = label
                for slot in range(n_slots):
                    fraction[slot, k, j, i] = min(fraction[slot, k, j, i], np.float32(1.0))
                    if fraction[slot, k, j, i] <= 0:
                        labels[slot, k, j, i] = 0
