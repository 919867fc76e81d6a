"""Subject and its parts: what lies in the bore, as tissues on a grid and as points finer than the grid.

A voxel holds up to a few compartments, each a tissue and the fraction of the voxel it fills; so borders have partial
volumes, and fat and water may share a voxel. What the fractions (and the points) leave of a voxel is air, tissue 0.
The noun does not depend on the field: `parameters.parameters` gives T1, T2 ... of every occupied compartment at a field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.subject.vasculature import Vasculature

MAP_NAMES = ("proton_density", "t1", "t2", "t2_prime", "off_resonance")
PARTS = ("", "head", "trunk", "limb")  # of a body, that limits on local SAR tell apart
FACES = ("-x", "+x", "-y", "+y", "-z", "+z")


@dataclass(frozen=True)
class PowerLaw:
    """T1 = value * B0^exponent, B0 in T (Bottomley, Med Phys 1984, 11:425)."""

    value: float  # s, at 1 T
    exponent: float


@dataclass(frozen=True)
class LinearRate:
    """R = intercept + slope * B0: how R2 and R2' grow with field."""

    intercept: float  # 1/s
    slope: float  # 1/s/T


@dataclass(frozen=True)
class Spread:
    """Natural variation within a tissue: standard deviations relative to the mean, log-normal."""

    t1: float = 0.0
    t2: float = 0.0
    t2_prime: float = 0.0
    proton_density: float = 0.0


@dataclass(frozen=True)
class Tissue:
    name: str
    proton_density: float  # MR-visible protons relative to water; 0 = gives no signal
    t1: PowerLaw
    r2: LinearRate  # 1/T2
    r2_prime: LinearRate  # 1/T2' within one compartment of a 1 mm voxel; susceptibility on the grid comes on top
    spread: Spread = Spread()
    susceptibility: float = 0.0  # ppm (SI volume), relative to water
    chemical_shift: float = 0.0  # ppm relative to water; fat -3.4 (it precesses more slowly)
    diffusion: float = 0.0  # m2/s
    density: float = 1000.0  # kg/m3
    dielectric: str = ""  # name in the dielectric table (Gabriel)
    field_range: tuple[float, float] = (1.5, 7.0)  # T, where the laws above hold
    sources: Mapping[str, str] = field(default_factory=dict)  # quantity -> where the number comes from


AIR = Tissue("air", 0.0, PowerLaw(math.inf, 0.0), LinearRate(0.0, 0.0), LinearRate(0.0, 0.0), susceptibility=9.4,
             density=1.2, dielectric="air", field_range=(0.0, 100.0),
             sources={"susceptibility": "+0.36 ppm against -9.05 ppm of water: Schenck, Med Phys 1996, 23:815 (unconfirmed)"})  # fmt: skip


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Structures finer than the grid - vessels, lesions, resolution bars - each point a little volume of one tissue."""

    position: NDArray[np.float64]  # m, (n, 3), patient
    volume: NDArray[np.float64]  # m3, (n,)
    tissue: NDArray[np.uint8]  # index into the subject's tissues, (n,)

    def __post_init__(self) -> None:
        position = np.ascontiguousarray(self.position, np.float64)
        if position.ndim != 2 or position.shape[1] != 3 or not np.isfinite(position).all():
            raise InputError(
                f"point cloud: position has shape {position.shape}; it must be (n, 3) and finite, in metres"
            )
        volume = np.ascontiguousarray(np.broadcast_to(np.asarray(self.volume, np.float64), (len(position),)))
        if not (np.isfinite(volume) & (volume > 0)).all():
            raise InputError("point cloud: every volume must be positive and finite, in cubic metres")
        tissue = np.ascontiguousarray(np.broadcast_to(np.asarray(self.tissue, np.uint8), (len(position),)))
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "volume", volume)
        object.__setattr__(self, "tissue", tissue)


@dataclass(frozen=True, eq=False)
class Subject:
    name: str
    labels: NDArray[np.uint8]  # index into tissues, (compartment, z, y, x)
    fraction: NDArray[np.float32]  # of the voxel's volume, 0 to 1, (compartment, z, y, x); the sum is at most 1
    affine: NDArray[np.float64]  # (4, 4): (i_x, i_y, i_z, 1) -> patient m, at voxel centres
    tissues: tuple[Tissue, ...]  # tissues[0] is air
    points: PointCloud | None = None  # they displace what they lie in: make them with points.add_points
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    # ^ (z, y, x), where known per voxel, instead of the tissue's own: proton_density, t1 s, t2 s, t2_prime s, off_resonance Hz
    map_field_strength: float | None = None  # T at which maps of t1, t2, t2_prime, off_resonance hold
    continues: tuple[str, ...] = ()  # faces of the grid where the body goes on beyond it: "-z" where a neck is cut
    seed: int = 0  # of the natural spread: whose tissue texture it is
    source: str = ""
    part: NDArray[np.uint8] | None = None  # (z, y, x), index into PARTS; None where nobody said
    vessels: Vasculature | None = (
        None  # what the points of vessels truly are, for scoring; made by vessels.with_vessels
    )
    body_mass: float | None = None  # kg, of the whole patient, also of what lies outside the grid

    def __post_init__(self) -> None:
        _check(self)


def voxel_volume(subject: Subject) -> float:
    """m3."""
    return float(abs(np.linalg.det(subject.affine[:3, :3])))


def spacing(subject: Subject) -> NDArray[np.float64]:
    """m, (3,): along i_x, i_y, i_z."""
    return np.linalg.norm(subject.affine[:3, :3], axis=0)


def tissue_index(subject: Subject, name: str) -> int:
    for index, tissue in enumerate(subject.tissues):
        if tissue.name == name:
            return index
    raise InputError(
        f"subject {subject.name} has no tissue {name!r}; it has {', '.join(t.name for t in subject.tissues)}"
    )


def tissue_fraction(subject: Subject, name: str) -> NDArray[np.float32]:
    """(z, y, x): how much of each voxel this tissue fills as a compartment; for air, all that nothing else fills."""
    index = tissue_index(subject, name)
    total = np.where(subject.labels == index, subject.fraction, np.float32(0)).sum(axis=0, dtype=np.float32)
    if index == 0:
        taken = subject.fraction.sum(axis=0, dtype=np.float32) + point_share(subject, subject.points)
        total += np.maximum(1 - taken, 0).astype(np.float32)
    return total


def nearest_voxel(subject: Subject, position: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n, 3): i_z, i_y, i_x of the voxel each position (n, 3) m lies in; may lie outside the grid."""
    inverse = np.linalg.inv(subject.affine)
    return np.floor(position @ inverse[:3, :3].T + inverse[:3, 3] + 0.5).astype(np.int64)[:, ::-1]


def point_share(subject: Subject, cloud: PointCloud | None) -> NDArray[np.float64]:
    """(z, y, x): how much of each voxel of the subject's grid these points fill."""
    share = np.zeros(subject.labels.shape[1:])
    if cloud is not None:
        index = nearest_voxel(subject, cloud.position)
        inside = np.all((index >= 0) & (index < share.shape), axis=1)
        np.add.at(share, tuple(index[inside].T), cloud.volume[inside] / voxel_volume(subject))
    return share


def _check(subject: Subject) -> None:
    name = f"subject {subject.name}"
    labels, fraction, affine = subject.labels, subject.fraction, subject.affine
    if labels.ndim != 4 or labels.shape != fraction.shape or 0 in labels.shape:
        raise InputError(
            f"{name}: labels {labels.shape} and fraction {fraction.shape} must both be (compartment, z, y, x), not empty"
        )
    if labels.dtype != np.uint8 or fraction.dtype != np.float32:
        raise InputError(
            f"{name}: labels are {labels.dtype} and fraction {fraction.dtype}; they must be uint8 and float32"
        )
    if not subject.tissues or subject.tissues[0].proton_density != 0:
        raise InputError(f"{name}: tissue 0 must be air, without signal")
    highest = int(labels.max())
    if highest >= len(subject.tissues):
        raise InputError(
            f"{name}: label {highest} has no tissue; the table has {len(subject.tissues)} (0 to {len(subject.tissues) - 1})"
        )
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 0:
        raise InputError(f"{name}: the affine must be an invertible (4, 4) matrix to metres")
    if subject.part is not None and (subject.part.shape != labels.shape[1:] or subject.part.max() >= len(PARTS)):
        raise InputError(
            f"{name}: part has shape {subject.part.shape}; it must be {labels.shape[1:]}, with values below {len(PARTS)}"
        )
    if subject.body_mass is not None and not (np.isfinite(subject.body_mass) and subject.body_mass > 0):
        raise InputError(f"{name}: a body mass of {subject.body_mass} kg; it must be positive")
    for i_z in range(labels.shape[1]):  # slice by slice: a whole-head sum would need another 30 MB for nothing
        part = fraction[:, i_z]
        if not (np.min(part) >= 0 and np.max(part.sum(axis=0)) <= 1 + 1e-4):
            raise InputError(f"{name}: fractions in slice {i_z} must be 0 to 1 and add up to at most 1 in each voxel")
    for key, values in subject.maps.items():
        if key not in MAP_NAMES:
            raise InputError(f"{name}: unknown map {key!r}; known are {', '.join(MAP_NAMES)}")
        if values.shape != labels.shape[1:]:
            raise InputError(f"{name}: map {key} has shape {values.shape}; the grid is {labels.shape[1:]}")
    unknown = set(subject.continues) - set(FACES)
    if unknown:
        raise InputError(f"{name}: unknown faces {sorted(unknown)}; known are {', '.join(FACES)}")
    if (
        subject.points is not None
        and len(subject.points.tissue)
        and int(subject.points.tissue.max()) >= len(subject.tissues)
    ):
        raise InputError(
            f"{name}: a point has tissue {int(subject.points.tissue.max())}; the table has {len(subject.tissues)}"
        )
