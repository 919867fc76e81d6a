"""Vessels in a subject: lumen, wall, plaques and flaps as points on a fine lattice, which displace what they lie in.

    with_vessels(head(), circle_of_willis())

A cell of the lattice (about 0.25 mm, a whole part of the voxel) that a surface cuts is shared by how far the surface is
from its middle, so that volumes and thicknesses far below the cell come out right; its points lie in its middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from lauterbur.errors import InputError
from lauterbur.scanner.table import read_toml
from lauterbur.subject.anatomy import PointCloud, Subject, spacing
from lauterbur.subject.points import add_points
from lauterbur.subject.tissues import read_tissues
from lauterbur.subject.vasculature import Flap, Plaque, Vasculature, Vessel, arc
from lauterbur.units import mm

Float = NDArray[np.float64]
FILE = Path(__file__).parent / "data" / "vessels.toml"
CELL = 0.25 * mm  # at most
STEP = 0.05 * mm  # of centrelines
LEAST = 1e-3  # of a cell: less is left out
BLOOD, WALL, PLAQUE = "flowing blood", "vessel wall", "plaque"
# vessel, place along it (0 to 1), side (rad about the vessel), stenosis of the diameter, length m
PLAQUES = (
    ("right middle cerebral M1", 0.50, 0.5, 0.30, 5 * mm),
    ("left middle cerebral M1", 0.55, 2.5, 0.50, 6 * mm),
    ("basilar", 0.45, 4.0, 0.40, 7 * mm),
    ("left internal carotid", 0.55, 1.0, 0.25, 6 * mm),
    ("right posterior cerebral P2", 0.40, 3.0, 0.60, 4 * mm),
    ("left anterior cerebral A2", 0.45, 5.0, 0.20, 4 * mm),
)
# vessel, from and to (0 to 1 along it), side (rad), offset of the radius, thickness m
FLAPS = (
    ("right vertebral", 0.25, 0.75, 1.2, 0.15, 0.4 * mm),
    ("right internal carotid", 0.25, 0.75, 0.6, 0.1, 0.4 * mm),
)


def circle_of_willis(*, diseased: bool = True) -> Vasculature:
    """The vessels of the head that comes with Lauterbur, with the plaques and the flap above unless they are healthy."""
    vessels = []
    for name, entry in read_toml(FILE)["vessel"].items():
        places = np.array(entry["points_mm"]) * mm
        first, last = entry["diameter_mm"]
        vessels.append(vessel(name, places, first * mm, last * mm, entry["wall_mm"] * mm))
    found = Vasculature(tuple(vessels))
    if not diseased:
        return found
    by_name = {v.name: v for v in vessels}
    return replace(
        found,
        plaques=tuple(_plaque(by_name[name], *rest) for name, *rest in PLAQUES),
        flaps=tuple(_flap(by_name[name], *rest) for name, *rest in FLAPS),
    )


def vessel(name: str, points: Float, first: float, last: float, wall: float) -> Vessel:
    """A smooth vessel through points (n, 3), m, whose lumen goes from one diameter to the other, m."""
    points = np.asarray(points, float)
    chords = np.linalg.norm(np.diff(points, axis=0), axis=1)
    if not (len(points) >= 2 and np.all(chords > 0) and min(first, last, wall) > 0):
        raise InputError(f"vessel {name}: two or more different points, and positive diameters and wall, are needed")
    along = np.concatenate(([0.0], np.cumsum(chords)))
    n = max(2, math.ceil(along[-1] / STEP) + 1)
    at = np.linspace(0, along[-1], n)
    line = CubicSpline(along, points, bc_type="natural")(at)
    return Vessel(name, line, np.linspace(first, last, n), wall)


def with_vessels(subject: Subject, vasculature: Vasculature) -> Subject:
    """The subject with the vessels in it, as points that displace what they lie in, and with the list of what is true."""
    table = read_tissues()
    names = [tissue.name for tissue in subject.tissues]
    tissues = subject.tissues + tuple(table[name] for name in (BLOOD, WALL, PLAQUE) if name not in names)
    subject = replace(subject, tissues=tissues)
    cloud = vessel_points(subject, vasculature)
    return replace(add_points(subject, cloud), vessels=vasculature)


def vessel_points(subject: Subject, vasculature: Vasculature) -> PointCloud:
    names = [tissue.name for tissue in subject.tissues]
    parts = np.ceil(spacing(subject) / CELL - 1e-9).astype(int)
    shape = np.array(subject.labels.shape[:0:-1]) * parts  # x, y, z
    inner = subject.affine[:3, :3] / parts
    corner = subject.affine[:3, 3] + subject.affine[:3, :3] @ (0.5 / parts - 0.5)
    size = float(np.max(np.linalg.norm(inner, axis=0)))

    found = []
    for one in vasculature.vessels:
        cells = _cells_near(one, inner, corner, shape, size)
        place = np.stack(np.unravel_index(cells, shape), axis=1) @ inner.T + corner
        found.append((cells, _shares(one, vasculature, place, size)))
    index = np.unique(np.concatenate([cells for cells, _ in found]))
    shares = {name: np.zeros(len(index)) for name in (BLOOD, PLAQUE, "flap", "all")}
    for cells, mine in found:  # where vessels meet, lumens join and walls between them go
        at = np.searchsorted(index, cells)
        for name, share in mine.items():
            shares[name][at] = np.maximum(shares[name][at], share)
    solid = shares[PLAQUE] + shares["flap"]
    blood = np.minimum(shares[BLOOD], np.maximum(0, shares["all"] - solid))
    each = {BLOOD: blood, PLAQUE: shares[PLAQUE], WALL: np.maximum(0, shares["all"] - blood - shares[PLAQUE])}

    volume = abs(float(np.linalg.det(inner))) * (1 - 1e-9)  # a hair less, so that a full voxel is never overfull
    place = np.stack(np.unravel_index(index, shape), axis=1) @ inner.T + corner
    kept = {name: share > LEAST for name, share in each.items()}
    return PointCloud(
        np.concatenate([place[keep] for keep in kept.values()]),
        np.concatenate([each[name][keep] * volume for name, keep in kept.items()]),
        np.concatenate([np.full(int(keep.sum()), names.index(name), np.uint8) for name, keep in kept.items()]),
    )


def _cells_near(one: Vessel, inner: Float, corner: Float, shape: NDArray[np.int64], size: float) -> NDArray[np.int64]:
    """Flat indices of all cells that the vessel may reach; it must lie within the grid."""
    reach = float(np.max(one.diameter)) / 2 + one.wall + size
    coarse = one.centreline[:: max(1, round(size / STEP))]
    centre = np.unique(np.round((coarse - corner) @ np.linalg.inv(inner).T).astype(np.int64), axis=0)
    n = math.ceil(reach / size * (np.max(np.linalg.norm(inner, axis=0)) / np.min(np.linalg.norm(inner, axis=0)))) + 1
    ball = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    ball = ball[np.linalg.norm(ball @ inner.T, axis=1) <= reach + size]
    cells = [np.empty((0,), np.int64)]
    for chunk in np.array_split(centre, max(1, len(centre) // 16)):
        index = (chunk[:, None] + ball).reshape(-1, 3)
        if not np.all((index >= 0) & (index < shape)):
            raise InputError(f"vessel {one.name} leaves the grid of the subject; cut it, or take a larger subject")
        cells.append(np.unique(np.ravel_multi_index(tuple(index.T), tuple(shape))))
    return np.unique(np.concatenate(cells))


def _shares(one: Vessel, vasculature: Vasculature, place: Float, size: float) -> dict[str, Float]:
    """(cell,) what share of each cell is blood, plaque, flap, and anything of this vessel."""
    distance, nearest = cKDTree(one.centreline).query(place)
    radius = one.diameter[nearest] / 2
    from_axis = place - one.centreline[nearest]
    narrow, pushed = radius.copy(), np.zeros_like(from_axis)
    for plaque in (p for p in vasculature.plaques if p.vessel == one.name):
        depth = radius * plaque.stenosis * _profile(one, plaque)[nearest]
        narrow -= depth
        pushed -= depth[:, None] * np.array(plaque.towards)
    whole = _inside(radius - distance, size)
    blood = np.minimum(whole, _inside(narrow - np.linalg.norm(from_axis - pushed, axis=1), size))
    membrane = np.zeros(len(place))
    for flap in (f for f in vasculature.flaps if f.vessel == one.name):
        across = np.abs(from_axis @ np.array(flap.normal) - flap.offset)
        is_along = _between(one, flap)[nearest]
        membrane = np.maximum(membrane, np.where(is_along, _inside(flap.thickness / 2 - across, size), 0.0))
    membrane = np.minimum(membrane, blood)
    return {BLOOD: blood - membrane, PLAQUE: whole - blood, "flap": membrane, "all": _inside(radius + one.wall - distance, size)}  # fmt: skip


def _inside(depth: Float, size: float) -> Float:
    """Share of a cell inside a surface that lies `depth` outside of its middle."""
    return np.clip(depth / size + 0.5, 0.0, 1.0)


def _profile(one: Vessel, plaque: Plaque) -> Float:
    """(point of the centreline,) 1 in the middle of the plaque, 0 from its ends on."""
    along = arc(one)
    middle = along[_at(one, plaque.position)]
    turn = np.clip((along - middle) / plaque.length, -0.5, 0.5)
    return np.cos(np.pi * turn) ** 2


def _between(one: Vessel, flap: Flap) -> NDArray[np.bool_]:
    index = np.arange(len(one.centreline))
    found: NDArray[np.bool_] = (index >= _at(one, flap.start)) & (index <= _at(one, flap.end))
    return found


def _at(one: Vessel, position: tuple[float, float, float]) -> int:
    return int(np.argmin(np.linalg.norm(one.centreline - np.array(position), axis=1)))


@dataclass(frozen=True)
class _Cut:
    """A cross-section: its index along the vessel and two unit vectors across."""

    index: int
    across: Float
    other: Float

    def side(self, angle: float) -> tuple[float, float, float]:
        x, y, z = (float(v) for v in math.cos(angle) * self.across + math.sin(angle) * self.other)
        return x, y, z


def _cut(one: Vessel, share: float) -> _Cut:
    i = round(share * (len(one.centreline) - 1))
    ahead, behind = min(i + 20, len(one.centreline) - 1), max(i - 20, 0)
    along = one.centreline[ahead] - one.centreline[behind]
    along /= np.linalg.norm(along)
    across = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    across /= np.linalg.norm(across)
    return _Cut(i, across, np.cross(along, across))


def _point(one: Vessel, index: int) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in one.centreline[index])
    return x, y, z


def _plaque(one: Vessel, share: float, angle: float, stenosis: float, length: float) -> Plaque:
    cut = _cut(one, share)
    thickness = stenosis * float(one.diameter[cut.index])
    return Plaque(one.name, _point(one, cut.index), cut.side(angle), stenosis, length, thickness)


def _flap(one: Vessel, start: float, end: float, angle: float, offset: float, thickness: float) -> Flap:
    first, middle, last = (_cut(one, share) for share in (start, (start + end) / 2, end))
    aside = offset * float(one.diameter[middle.index]) / 2
    return Flap(one.name, _point(one, first.index), _point(one, last.index), middle.side(angle), aside, thickness)
