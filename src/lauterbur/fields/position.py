"""Where a transmit array lies around this subject: a head coil below the crown, a bore's coil around the middle of the body.

Nothing is moved to make it fit: what leaves the coil, or the bore, is an error that says where and by how much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lauterbur.errors import InputError
from lauterbur.fields.placement import place
from lauterbur.scanner.machine import Array, Conductor, Loop, Scanner, TransmitArray


@dataclass(frozen=True, eq=False)
class Position:
    array: TransmitArray  # where it lies, patient coordinates
    centre: tuple[float, float, float]  # m, of the coil, patient
    distance: float  # m, from the body to the nearest conductor


def position(
    scanner: Scanner,
    body: NDArray[np.float64],
    array: TransmitArray | str | None = None,
    isocentre: tuple[float, float, float] | None = None,
) -> Position:
    """The transmit array around a body, given as points (n, 3) m of its surface.

    position(scanner, body)                              # the scanner's first array that fits
    position(scanner, body, "body8", (0, 0, -0.1))       # that one, its middle at this point of the patient
    """
    known = {each.name: each for each in scanner.transmit.arrays}
    if isinstance(array, TransmitArray):
        return _positioned(scanner, body, array, isocentre)
    if array is not None:
        if array not in known:
            raise InputError(
                f"scanner {scanner.name} has no transmit array {array!r}; it has {', '.join(known) or 'none'}"
            )
        return _positioned(scanner, body, known[array], isocentre)
    problems = []
    for each in known.values():
        try:
            return _positioned(scanner, body, each, isocentre)
        except InputError as problem:
            problems.append(str(problem))
    raise InputError(
        "; ".join(problems)
        or f"scanner {scanner.name} has no transmit array: add one to its profile, or ask for quasi-static"
    )


def _positioned(
    scanner: Scanner, body: NDArray, array: TransmitArray, isocentre: tuple[float, float, float] | None
) -> Position:
    if array.flexible:
        return _around(scanner, body, array)
    centre = np.array(isocentre, np.float64) if isocentre is not None else _centre(body, array)
    if centre.shape != (3,) or not np.isfinite(centre).all():
        raise InputError(f"isocentre is {isocentre}; it must be three finite numbers, m, in the patient")
    from_axis = np.hypot(body[:, 0] - centre[0], body[:, 1] - centre[1])
    _refuse(body, from_axis, scanner.bore / 2, f"the bore of scanner {scanner.name}")
    if array.shield_radius:
        _refuse(body, from_axis, array.shield_radius, f"the shield of transmit array {array.name}")
    if array.radius:
        within = np.abs(body[:, 2] - centre[2]) <= array.length / 2 + array.clearance
        if not within.any():
            raise InputError(
                f"no part of the body lies in transmit array {array.name}: it spans z = {(centre[2] - array.length / 2) * 100:.1f} to"
                f" {(centre[2] + array.length / 2) * 100:.1f} cm, the body {body[:, 2].min() * 100:.1f} to {body[:, 2].max() * 100:.1f} cm"
            )
        allowed = array.radius - array.clearance
        _refuse(body[within], from_axis[within], allowed, f"transmit array {array.name}")
    moved = tuple(replace(each, points=each.points + centre) for each in array.conductors)
    distance = _distance(body, moved)
    if not distance >= array.clearance:
        raise InputError(
            f"transmit array {array.name} comes within {distance * 1e3:.1f} mm of the body; it needs {array.clearance * 1e3:g} mm"
        )
    return Position(replace(array, conductors=moved), (float(centre[0]), float(centre[1]), float(centre[2])), distance)


def _centre(body: NDArray, array: TransmitArray) -> NDArray[np.float64]:
    """A head coil: its middle `depth` below the crown, over the head's middle; others: the middle of the body."""
    if not array.depth:
        return (body.min(axis=0) + body.max(axis=0)) / 2
    crown = body[:, 2].max()
    upper = body[body[:, 2] > crown - array.depth]
    middle = (upper.min(axis=0) + upper.max(axis=0)) / 2
    return np.array([middle[0], middle[1], crown - array.depth])


def _refuse(body: NDArray, from_axis: NDArray, allowed: float, what: str) -> None:
    if not from_axis.max() <= allowed:
        x, y, z = body[from_axis.argmax()] * 1e3
        raise InputError(
            f"the body leaves {what}: at ({x:.0f}, {y:.0f}, {z:.0f}) mm it is {from_axis.max() * 100:.1f} cm from the axis,"
            f" at most {allowed * 100:.1f} cm is allowed; move the subject or choose a wider coil"
        )


def _around(scanner: Scanner, body: NDArray, array: TransmitArray) -> Position:
    """A flexible array is stretched around the body, by the same rule as a receive array."""
    loops = tuple(Loop(each.points) for each in array.conductors)
    like = Array(array.name, loops, semi_axes=array.semi_axes, flexible=True, clearance=array.clearance)
    placed = place(scanner, body, like)
    moved = tuple(Conductor(loop.points, np.ones(len(loop.points))) for loop in placed.array.loops)
    return Position(replace(array, conductors=moved), placed.origin, placed.distance)


def _distance(body: NDArray, conductors: tuple[Conductor, ...]) -> float:
    return float(cKDTree(body).query(np.concatenate([each.points for each in conductors]))[0].min())
