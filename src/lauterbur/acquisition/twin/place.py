"""Place: where spins lie, on what lattice, and how big their boxes are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.spins import Lattice, Spins

Float = NDArray[np.float64]


def find_lattice(spins: Spins) -> Lattice | None:
    """The regular grid along the patient axes that these positions lie on, if they do."""
    if spins.lattice is not None:
        return spins.lattice
    axes, index = [], []
    for axis in range(3):
        values, where = np.unique(np.round(spins.position[:, axis], 9), return_inverse=True)
        if len(values) > 1:
            step = np.min(np.diff(values))
            place = (values - values[0]) / step
            if np.abs(place - np.round(place)).max() > 1e-3 or place[-1] > 4 * len(values) + 16:
                return None
            # the mean spacing is known better than the smallest
            step = (values[-1] - values[0]) / round(float(place[-1]))
            where = np.round(place).astype(np.int64)[where]
            axes.append((values[0], step, round(float(place[-1])) + 1))
        else:
            where = np.zeros(len(where), np.int64)
            axes.append((values[0], 1e-3, 1))
        index.append(where.reshape(-1))
    shape = (axes[2][2], axes[1][2], axes[0][2])
    if math.prod(shape) > max(64 * len(spins), 4096):
        return None
    affine = np.eye(4)
    for axis in range(3):
        affine[axis, axis], affine[axis, 3] = axes[axis][1], axes[axis][0]
    return Lattice(shape, affine, (index[2] * shape[1] + index[1]) * shape[2] + index[0])


@dataclass(frozen=True, eq=False)
class Place:
    """Where the spins lie, and how big their boxes are."""

    position: Float  # m, (n, 3)
    edges: Float | None  # m, (3, 3), rows; None for points
    lattice: Lattice | None

    @cached_property
    def grid(self) -> Lattice | None:
        """The lattice; of boxes that lie on none, the nearest cells of a grid of such boxes: to tell how loud all of them
        are together, not what they sound like."""
        if self.lattice is not None or self.edges is None or not len(self.position):
            return self.lattice
        if not np.linalg.det(self.edges):  # boxes without a volume
            return None
        first = self.position.min(axis=0)
        cell = (self.position - first) @ np.linalg.inv(self.edges)
        low = cell.min(axis=0)
        x, y, z = np.round(cell - low).astype(np.int64).T
        shape = (int(z.max()) + 1, int(y.max()) + 1, int(x.max()) + 1)
        if math.prod(shape) > max(64 * len(self.position), 4096):
            return None
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = self.edges.T, first + low @ self.edges
        return Lattice(shape, affine, (z * shape[1] + y) * shape[2] + x)

    def subset(self, chosen: NDArray) -> Place:
        if self.lattice is None:
            return Place(self.position[chosen], self.edges, None)
        _, ny, nx = self.lattice.shape
        index = self.lattice.index[chosen]
        z, y, x = index // (ny * nx), index // nx % ny, index % nx
        lo = np.array([x.min(), y.min(), z.min()])
        size = np.array([x.max(), y.max(), z.max()]) - lo + 1
        affine = self.lattice.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ lo
        flat = ((z - lo[2]) * size[1] + (y - lo[1])) * size[0] + (x - lo[0])
        position = self.position[chosen] if self.position.size else self.position
        return Place(position, self.edges, Lattice((int(size[2]), int(size[1]), int(size[0])), affine, flat))
