"""From fields to a SAR model: point-wise matrices, 10 g cubes, means over body, head and exposed part, compression.

sar = sar_model(fields)                                      # 10 g, compressed at 10 %, safety factor 1.4
sar = sar_model(fields, overestimation=0)                    # every cube's matrix
heat = sar_map(fields, weights)                              # W/kg in every voxel for one drive, for pictures
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.safety.averaging import cube_means, power_matrices, row_of, spread
from lauterbur.safety.cubes import averaging_cubes
from lauterbur.safety.matrices import unpacked

THIN = 10.0  # kg/m3: less is air
EXPOSED = 0.01  # of the largest 10 g SAR, both meant over all drives: tissue above it is exposed
LOST = 1e-3  # of the conductivity that may lie where there is no tissue


@dataclass(frozen=True, eq=False)
class Tissue:
    """The voxels that hold tissue, as a list."""

    voxel: NDArray[np.int32]  # (n, 3): z, y, x
    row: NDArray[np.int32]  # (z, y, x): its place in that list, -1 in air
    mass: NDArray[np.float64]  # kg, (n,)
    volume: float  # m3 of a voxel
    spacing: NDArray[np.float64]  # m, (3,): along z, y, x
    affine: NDArray[np.float64]  # (4, 4)


def sar_map(fields: FieldMaps, weights: ArrayLike, *, averaging_mass: float | None = 10e-3) -> NDArray[np.float32]:
    """W/kg, (z, y, x), for a drive (tx,) in sqrt(W), averaged as the standard says; None: point SAR. No safety factor."""
    check_heated(fields)
    drive = np.asarray(weights, np.complex64)
    if drive.shape != (len(fields.e),):  # type: ignore[arg-type]
        raise InputError(f"weights have shape {drive.shape}; the fields have {len(fields.e)} channels")  # type: ignore[arg-type]
    tissue = tissue_of(fields)
    one = np.tensordot(drive, fields.e, axes=1)[None].astype(np.complex64)  # type: ignore[arg-type]
    power = power_matrices(one, fields.conductivity, tissue.voxel)  # type: ignore[arg-type]
    if averaging_mass is None:
        heat = np.zeros(tissue.row.shape, np.float32)
        heat[tissue.row >= 0] = power[:, 0] * tissue.volume / tissue.mass
        return heat
    cubes = averaging_cubes(fields.density * (tissue.row >= 0), tissue.spacing, averaging_mass)  # type: ignore[operator]
    return spread(cubes, cube_means(cubes, power, tissue.row)[:, 0])


def absorbed(fields: FieldMaps) -> tuple[Tissue, NDArray[np.float32]]:
    check_heated(fields)
    tissue = tissue_of(fields)
    power = power_matrices(fields.e, fields.conductivity, tissue.voxel)  # type: ignore[arg-type]
    bad = ~np.isfinite(power).all(axis=1)
    if bad.any():
        z, y, x = tissue.voxel[np.argmax(bad)]
        raise InputError(
            f"the electric field is not finite in {bad.sum()} tissue voxels, first at (z, y, x) = ({z}, {y}, {x})"
        )
    return tissue, power


def tissue_of(fields: FieldMaps) -> Tissue:
    affine = fields.affine if fields.transmit_affine is None else fields.transmit_affine
    density = np.asarray(fields.density, np.float64)
    voxel = np.argwhere(density >= THIN).astype(np.int32)
    volume = float(abs(np.linalg.det(affine[:3, :3])))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    mass = density[tuple(voxel.T)] * volume
    return Tissue(voxel, row_of(density.shape, voxel), mass, volume, spacing, affine)


def check_heated(fields: FieldMaps) -> None:
    if fields.e is None or fields.conductivity is None or fields.density is None:
        missing = [name for name in ("e", "conductivity", "density") if getattr(fields, name) is None]
        raise InputError(
            f"SAR needs the fields' {', '.join(missing)}; solve them with electric fields, or give the arrays"
        )
    if fields.e.ndim != 5 or fields.e.shape[1] != 3:
        raise InputError(f"e has shape {fields.e.shape}; it must be (tx, 3, z, y, x), in V/m/sqrt(W)")
    grid = fields.e.shape[2:]
    for name in ("conductivity", "density", "part"):
        values = getattr(fields, name)
        if values is not None and values.shape != grid:
            raise InputError(f"{name} has shape {values.shape}; the electric field lies on {grid}")
    for name in ("conductivity", "density"):
        values = getattr(fields, name)
        if not (np.isfinite(values).all() and np.min(values) >= 0):
            raise InputError(
                f"{name} must be finite and not negative everywhere; it is {np.min(values):g} at the least"
            )
    heated = float(fields.conductivity.sum(dtype=np.float64))
    lost = float(fields.conductivity[fields.density < THIN].sum(dtype=np.float64))
    if lost > LOST * heated:
        raise InputError(
            f"{lost / heated:.1%} of the conductivity lies where the density is below {THIN:g} kg/m3 and its heat would be "
            f"lost (at most {LOST:.1%}); give density where there is tissue, and no conductivity in air"
        )
    affine = fields.affine if fields.transmit_affine is None else fields.transmit_affine
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        raise InputError("the transmit grid is sheared; averaging cubes need axes at right angles: resample the fields")


def body_mass(fields: FieldMaps, tissue: Tissue) -> float:
    on_grid = float(tissue.mass.sum())
    if fields.body_mass is None:
        return on_grid
    if not fields.body_mass >= 0.98 * on_grid:
        raise InputError(
            f"a body mass of {fields.body_mass:.4g} kg, but the tissue on the grid weighs {on_grid:.4g} kg"
        )
    return max(fields.body_mass, on_grid)


def exposed(power: NDArray, tissue: Tissue, local: NDArray, tx: int) -> NDArray[np.bool_]:
    mean = power[:, :tx].sum(axis=1) * tissue.volume / tissue.mass
    return mean > EXPOSED * float(local[:, :tx].sum(axis=1).max())


def mean_over(power: NDArray, tissue: Tissue, where: NDArray[np.bool_]) -> NDArray[np.complex128] | None:
    """W/kg per W, (tx, tx): power over mass of the voxels chosen; None without any."""
    if not where.any():
        return None
    total = power[where].sum(axis=0, dtype=np.float64) * tissue.volume
    return unpacked(total[None] / tissue.mass[where].sum())[0]
