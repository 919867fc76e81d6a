"""A shield's field in a body: computed on a coarse lattice, where it is smooth, and interpolated; gathered by the transpose of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.fields.incident import around
from lauterbur.fields.medium import Medium, step
from lauterbur.fields.sampling import axis_weights, sample_lattice
from lauterbur.fields.shield import (
    Columns,
    columns,
    lattice_strength,
    shield_electric,
    shield_magnetic,
    waves,
)

TOLERANCE = 1e-4  # of the strongest wave: those below it are left out


@dataclass(frozen=True, eq=False)
class Lattice:
    """A coarse grid on which the shield's field is computed; it is smooth in the body."""

    columns: Columns
    affine: NDArray[np.float64]  # (4, 4)
    shape: tuple[int, int, int]  # z, y, x
    used: NDArray[np.bool_]  # (y, x): columns that are computed
    weights: tuple[list[NDArray[np.float32]], ...]  # for voxel centres, then faces x, y, z


def lattice_around(
    medium: Medium,
    radius: float,
    centre: tuple[float, float],
    outer: float,
    coil_ends: tuple[float, float],
) -> Lattice:
    size, first, shape = step(medium), medium.affine[:3, 3], medium.permittivity.shape
    near = around(medium)
    body = np.argwhere(near)[:, ::-1] * size + first
    reach = float(np.hypot(body[:, 0] - centre[0], body[:, 1] - centre[1]).max())
    image = radius**2 / max(outer, reach)  # m from the axis: nothing that the shield sends comes from nearer
    coarse = float(np.clip((image - reach) / 5, size, 0.025))
    start = first - 4 * size - coarse  # room for the same body on a grid of twice this step
    counts = [int(np.ceil(((n + 8) * size) / coarse)) + 4 for n in shape[::-1]]  # x, y, z
    axes = [start[axis] + coarse * np.arange(counts[axis]) for axis in range(3)]
    grid_y, grid_x = np.meshgrid(axes[1], axes[0], indexing="ij")
    rho = np.hypot(grid_x - centre[0], grid_y - centre[1])
    used = rho <= min(reach + 3 * coarse, 0.985 * radius)
    span = max(coil_ends[1] - body[:, 2].min(), body[:, 2].max() - coil_ends[0], np.ptp(body[:, 2]))
    basis = waves(
        radius,
        centre,
        medium.frequency,
        inner=reach + 0.5 * coarse,
        outer=max(outer, reach),
        span=float(span),
        tolerance=TOLERANCE,
    )
    affine = np.diag([coarse, coarse, coarse, 1.0])
    affine[:3, 3] = start
    at = columns(basis, grid_x[used], grid_y[used], axes[2])
    lattice_shape = (counts[2], counts[1], counts[0])
    return Lattice(at, affine, lattice_shape, used, lattice_weights(medium, affine, lattice_shape))


def lattice_weights(
    medium: Medium, affine: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[list[NDArray[np.float32]], ...]:
    """Interpolation from the lattice to voxel centres, and to faces x, y, z."""
    weights = []
    for offset in np.concatenate([np.zeros((1, 3)), step(medium) / 2 * np.eye(3)]):
        fine = medium.affine.copy()
        fine[:3, 3] += offset
        weights.append(axis_weights(shape, affine, medium.permittivity.shape, fine))
    return tuple(weights)


def lattice_electric(
    medium: Medium, lattice: Lattice, strength: NDArray[np.complex128]
) -> Iterator[NDArray[np.complex64]]:
    """The shield's E on the upper faces of the medium's voxels, (3, z, y, x), for one source of this strength after the other."""
    for field in shield_electric(lattice.columns, strength, 2 * np.pi * medium.frequency):
        yield np.stack([_fine(lattice, field[axis], axis + 1) for axis in range(3)])


def lattice_magnetic(lattice: Lattice, strength: NDArray[np.complex128]) -> Iterator[NDArray[np.complex64]]:
    """The shield's B at the voxels' centres, (3, z, y, x), for one source after the other."""
    for field in shield_magnetic(lattice.columns, strength):
        yield np.stack([_fine(lattice, component, 0) for component in field])


def body_strength(
    medium: Medium, lattice: Lattice, currents: Iterable[NDArray[np.complex64]]
) -> NDArray[np.complex128]:
    """(2, source, kz, m): of the shield's waves, of currents J in the body, A/m2 on its faces, (3, z, y, x) each.

    The transpose of the interpolation gathers them on the lattice, so that shield and body answer each other reciprocally.
    """
    cell = np.float32(step(medium) ** 3)
    back = [[matrix.T for matrix in weights] for weights in lattice.weights[1:]]
    gathered = [
        [sample_lattice(component * cell, back[axis])[:, lattice.used] for axis, component in enumerate(current)]
        for current in currents
    ]
    return lattice_strength(lattice.columns, np.array(gathered, np.complex64))


def _fine(lattice: Lattice, values: NDArray[np.complex64], place: int) -> NDArray[np.complex64]:
    coarse = np.zeros(lattice.shape, np.complex64)
    coarse[:, lattice.used] = values
    return sample_lattice(coarse, lattice.weights[place])
