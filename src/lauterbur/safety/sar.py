"""SarModel: what a drive of the transmit channels does to the tissue, as matrices.

    sar = sar_model(fields)                               # 10 g, compressed at 10 %, safety factor 1.4
    sar = sar_model(fields, overestimation=0)             # every cube's matrix
    sar = sar_from_matrices(local)                        # somebody's matrices, (n, tx, tx) or (tx, tx, n)
    local_sar(sar, weights)                               # W/kg at every point
    sar_of(sar, weights)                                  # the worst of each kind, and where

SAR = w^H Q w, with the drive w (tx,) in sqrt(W) of forward power per channel, a continuous wave. Pulses: weigh by the
duty cycle, or sum Q over what is played. Every SAR told here holds the safety factor; the matrices themselves do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.safety.averaging import cube_means, cube_parts
from lauterbur.safety.cubes import AIR, UNUSED, USED, VALID, Cubes, averaging_cubes, cube_centres
from lauterbur.safety.heating import EXPOSED, absorbed, body_mass, exposed, mean_over
from lauterbur.safety.matrices import check_matrices, numbers, packed, points_first, unpacked
from lauterbur.safety.vop import compress
from lauterbur.subject.anatomy import PARTS

SAFETY_FACTOR = 1.4  # scanners' SAR differs from measurement by 13-27 % (PMC5875836): a margin of 1.3-1.5
HEAD, LIMB = PARTS.index("head"), PARTS.index("limb")


@dataclass(frozen=True, eq=False)
class SarModel:
    """Local matrices bound the 10 g SAR of all tissue from above, by at most `overestimation` per watt of total drive."""

    local: NDArray[np.complex128]  # W/kg per W, (point, tx, tx): virtual observation points, or all 10 g matrices
    where: NDArray[np.float64]  # m, patient, (point, 3): where each lies; NaN where nobody said
    part: NDArray[np.uint8]  # (point,), index into PARTS: whose limit holds
    whole_body: NDArray[np.complex128] | None = None  # W/kg per W, (tx, tx)
    head: NDArray[np.complex128] | None = None  # W/kg per W, (tx, tx)
    partial_body: NDArray[np.complex128] | None = None  # W/kg per W, (tx, tx), of the exposed part
    exposed_fraction: float = 1.0  # R of IEC 60601-2-33: exposed mass / body mass
    overestimation: float = 0.0  # W/kg per W: the largest SAR that compression may have added
    safety_factor: float = SAFETY_FACTOR  # for uncertainty; multiplies every SAR that the functions below tell
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n_channels(self) -> int:
        return self.local.shape[-1]


@dataclass(frozen=True)
class Exposure:
    """One kind of SAR under one drive."""

    quantity: str  # a field of Limits: "local_head_trunk", "local_limb", "whole_body", "head", "partial_body"
    value: float  # W/kg, safety factor included
    point: int | None = None  # index into SarModel.local
    where: tuple[float, float, float] | None = None  # m, patient


def sar_from_matrices(
    local: ArrayLike,
    *,
    where: ArrayLike | None = None,
    part: ArrayLike | None = None,
    whole_body: ArrayLike | None = None,
    head: ArrayLike | None = None,
    partial_body: ArrayLike | None = None,
    exposed_fraction: float = 1.0,
    overestimation: float = 0.0,
    safety_factor: float = SAFETY_FACTOR,
    provenance: Mapping[str, Any] | None = None,
) -> SarModel:
    """From plain arrays: local (n, tx, tx), or (tx, tx, n) where the last axis differs from the others.

    Without `part` every point is held to the limit of the head and trunk, the stricter one.
    """
    matrices = points_first(local)
    n = len(matrices)
    return SarModel(
        local=matrices,
        where=np.full((n, 3), np.nan) if where is None else np.asarray(where, np.float64),
        part=np.zeros(n, np.uint8) if part is None else _part(part),
        whole_body=_matrix(whole_body, "whole_body"),
        head=_matrix(head, "head"),
        partial_body=_matrix(partial_body, "partial_body"),
        exposed_fraction=exposed_fraction,
        overestimation=overestimation,
        safety_factor=safety_factor,
        provenance=dict(provenance or {"source": "plain arrays"}),
    )


def sar_model(
    fields: FieldMaps,
    *,
    averaging_mass: float = 10e-3,
    overestimation: float = 0.1,
    safety_factor: float = SAFETY_FACTOR,
    progress: Callable[[float], None] | None = None,
) -> SarModel:
    """Needs e, conductivity and density; part and body_mass where known.

    overestimation: of the largest eigenvalue of all matrices that share a limit; 0 keeps every matrix. progress is told the share done.
    """
    if not 0 <= overestimation <= 1:
        raise InputError(f"overestimation {overestimation}; it must be from 0 (no compression) to 1, 0.1 is usual")
    tell = progress or (lambda _: None)
    tissue, power = absorbed(fields)
    part = np.zeros(tissue.row.shape, np.uint8) if fields.part is None else fields.part
    tell(0.1)
    cubes = averaging_cubes(fields.density * (tissue.row >= 0), tissue.spacing, averaging_mass)  # type: ignore[operator]
    tell(0.3)
    local = cube_means(cubes, power, tissue.row)
    of_cube = cube_parts(cubes, part, tissue.row >= 0)
    tell(0.5)

    kept, z = np.arange(len(local)), np.zeros(len(local))
    if overestimation > 0:
        groups = [g for g in (np.flatnonzero(of_cube != LIMB), np.flatnonzero(of_cube == LIMB)) if len(g)]
        points = []  # each group has its own limit, so its own points and its own z
        for i, group in enumerate(groups):
            chosen, z_group = compress(
                local[group], overestimation=overestimation, progress=_within(tell, i, len(groups))
            )
            points.append(group[chosen])
            z[group] = z_group
        kept = np.concatenate(points)
    tx = len(fields.e)  # type: ignore[arg-type]
    matrices = unpacked(local[kept]) + z[kept, None, None] * np.eye(tx)

    mass, absorbed_power = body_mass(fields, tissue), power.sum(axis=0, dtype=np.float64) * tissue.volume
    in_head = part[tissue.row >= 0] == HEAD
    is_exposed = exposed(power, tissue, local, tx)
    exposed_mass = float(tissue.mass[is_exposed].sum())
    tell(1.0)
    return SarModel(
        local=matrices,
        where=cube_centres(cubes)[kept][:, ::-1] @ tissue.affine[:3, :3].T + tissue.affine[:3, 3],
        part=of_cube[kept],
        whole_body=unpacked(absorbed_power[None] / mass)[0],
        head=mean_over(power, tissue, in_head),
        partial_body=mean_over(power, tissue, is_exposed),
        exposed_fraction=min(exposed_mass / mass, 1.0),
        overestimation=float(z.max()),
        safety_factor=safety_factor,
        provenance={
            "fields": dict(fields.provenance),
            "averaging_mass": averaging_mass,
            "averaging": "cubes after IEC/IEEE 62704-1",
            "voxels": dict(zip(("air", "unused", "used", "valid"), _count(cubes), strict=True)),
            "matrices": len(local),
            "overestimation": overestimation,
            "exposed": f"point SAR above {EXPOSED} of the largest cube's, mean over all drives",
            "exposed_mass": exposed_mass,
            "body_mass": mass,
            "body_mass_known": fields.body_mass is not None,
        },
    )


def local_sar(sar: SarModel, weights: ArrayLike) -> NDArray[np.float64]:
    """W/kg, (..., point), at every local matrix for drives weights (..., tx) in sqrt(W); safety factor included."""
    drive = _drive(sar, weights)
    flat = drive.reshape(-1, sar.n_channels)
    return sar.safety_factor * _quadratic(sar.local, flat).reshape(*drive.shape[:-1], len(sar.local))


def worst_local(sar: SarModel, weights: ArrayLike) -> NDArray[np.float64]:
    """W/kg, (...,): the largest local SAR for each drive (..., tx), in blocks, so that many drives fit."""
    drive = _drive(sar, weights)
    flat = drive.reshape(-1, sar.n_channels)
    block = max(1, 2**24 // len(sar.local))
    worst = [
        _quadratic(sar.local, flat[start : start + block]).max(axis=1, initial=-np.inf)
        for start in range(0, len(flat), block)
    ]
    return sar.safety_factor * np.concatenate([*worst, np.zeros(0)]).reshape(drive.shape[:-1])


def mean_sar(sar: SarModel, weights: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """W/kg, (...,), of every mean the model knows - whole_body, head, partial_body - for drives (..., tx)."""
    drive = _drive(sar, weights)
    flat = drive.reshape(-1, sar.n_channels)
    known = {name: getattr(sar, name) for name in ("whole_body", "head", "partial_body")}
    return {
        name: sar.safety_factor * _quadratic(matrix[None], flat)[:, 0].reshape(drive.shape[:-1])
        for name, matrix in known.items()
        if matrix is not None
    }


def sar_of(sar: SarModel, weights: ArrayLike) -> dict[str, Exposure]:
    """The worst of each kind under one drive (tx,), by the names of `Limits`; what the model does not know is absent.

    Several pulses: give weights (pulse, tx), each times the square root of its duty cycle; their heat adds.
    """
    drive = _drive(sar, weights)
    value = local_sar(sar, drive).reshape(-1, len(sar.local)).sum(axis=0)
    worst = {}
    for quantity, held in (("local_head_trunk", sar.part != LIMB), ("local_limb", sar.part == LIMB)):
        if held.any():
            candidates = np.flatnonzero(held)
            point = int(candidates[np.argmax(np.where(np.isnan(value[held]), np.inf, value[held]))])
            x, y, z = (float(c) for c in sar.where[point])
            worst[quantity] = Exposure(quantity, float(value[point]), point, None if np.isnan(x) else (x, y, z))
    for quantity, mean in mean_sar(sar, drive).items():
        worst[quantity] = Exposure(quantity, float(np.sum(mean)))
    return worst


def _within(tell: Callable[[float], None], i: int, n: int) -> Callable[[float], None]:
    return lambda share: tell(0.5 + 0.45 * (i + share) / n)


def _count(cubes: Cubes) -> list[int]:
    return [int((cubes.status == status).sum()) for status in (AIR, UNUSED, USED, VALID)]


def _quadratic(matrices: NDArray[np.complex128], drive: NDArray[np.complex128]) -> NDArray[np.float64]:
    """w^H Q w, (drive, point): one product of real arrays, of the n^2 real numbers in each Hermitian matrix."""
    return _packed_drives(drive) @ packed(matrices).T


def _packed_drives(drive: NDArray[np.complex128]) -> NDArray[np.float64]:
    """(drive, tx^2), so that its product with `packed` is the quadratic form."""
    i, j = np.triu_indices(drive.shape[-1], 1)
    product = 2 * drive[:, i].conj() * drive[:, j]  # w_i* Q_ij w_j and its conjugate
    return np.concatenate((np.abs(drive) ** 2, product.real, -product.imag), axis=1)


def _drive(sar: SarModel, weights: ArrayLike) -> NDArray[np.complex128]:
    drive = np.asarray(weights, np.complex128)
    if drive.ndim == 0 or drive.shape[-1] != sar.n_channels:
        raise InputError(
            f"weights have shape {drive.shape}; their last axis must be the model's {sar.n_channels} channels"
        )
    return drive


def _part(part: ArrayLike) -> NDArray[np.uint8]:
    values = np.asarray(part)
    if values.dtype.kind not in "ui" or np.any(values < 0) or np.any(values >= len(PARTS)):
        raise InputError(f"part must be whole numbers from 0 to {len(PARTS) - 1}, indices into {PARTS}")
    return values.astype(np.uint8)


def _matrix(values: ArrayLike | None, name: str) -> NDArray[np.complex128] | None:
    return None if values is None else numbers(values, name)


def _check(sar: SarModel) -> None:
    local = sar.local
    if local.ndim != 3 or local.shape[1] != local.shape[2] or 0 in local.shape:
        raise InputError(f"SAR model: local has shape {local.shape}; it must be (point, tx, tx), not empty")
    n, tx = local.shape[:2]
    if sar.where.shape != (n, 3):
        raise InputError(f"SAR model: where has shape {sar.where.shape}; {n} local matrices need ({n}, 3), in metres")
    if sar.part.shape != (n,) or sar.part.dtype != np.uint8 or int(sar.part.max()) >= len(PARTS):
        raise InputError(
            f"SAR model: part has shape {sar.part.shape} ({sar.part.dtype}); it must be ({n},) uint8, below {len(PARTS)}"
        )
    check_matrices(local, "local")
    for name in ("whole_body", "head", "partial_body"):
        matrix = getattr(sar, name)
        if matrix is None:
            continue
        if matrix.shape != (tx, tx):
            raise InputError(f"SAR model: {name} has shape {matrix.shape}; local has {tx} channels: ({tx}, {tx})")
        check_matrices(matrix[None], name)
    if not 0 < sar.exposed_fraction <= 1:
        raise InputError(f"SAR model: exposed fraction {sar.exposed_fraction}; it must be above 0 and at most 1")
    if not 0 <= sar.overestimation < np.inf:
        raise InputError(f"SAR model: overestimation {sar.overestimation} W/kg per W; it must be finite, not negative")
    if not 1 <= sar.safety_factor < np.inf:
        raise InputError(f"SAR model: safety factor {sar.safety_factor}; below 1 it would hide heat, use 1 for none")
