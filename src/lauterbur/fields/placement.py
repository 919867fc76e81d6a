"""How a receive array lies on this subject: a helmet is slid over the head, a flexible panel is drawn around the body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lauterbur.errors import InputError
from lauterbur.scanner.machine import Array, Loop, Scanner

STEP = 2e-3  # m: how finely a helmet is slid up until nothing touches
FARTHEST = 0.06  # m: how far, before saying that the head does not fit


@dataclass(frozen=True)
class Placement:
    array: Array  # where it lies, patient coordinates
    origin: tuple[float, float, float]  # m, where the array's own origin came to lie
    stretch: tuple[float, float, float]  # factors along x, y, z; 1 for a rigid array
    distance: float  # m, from the body to the nearest conductor


def place(scanner: Scanner, body: NDArray[np.float64], array: Array | str | None = None) -> Placement:
    """The array around a body, given as points (n, 3) m of its surface.

    place(scanner, body)                    # the scanner's first array that fits
    place(scanner, body, "body24")          # that one, or an InputError that says by how much it does not fit
    """
    radius = float(
        np.hypot(*((body[:, axis] - (body[:, axis].min() + body[:, axis].max()) / 2) for axis in (0, 1))).max()
    )
    if not radius <= scanner.bore / 2:
        raise InputError(
            f"the subject needs a bore of {2 * radius:.2f} m; that of scanner {scanner.name} is {scanner.bore:g} m wide"
        )
    if isinstance(array, Array):
        return _placed(array, body)
    named = {known.name: known for known in scanner.receive}
    if array is not None:
        if array not in named:
            raise InputError(
                f"scanner {scanner.name} has no receive array {array!r}; it has {', '.join(named) or 'none'}"
            )
        return _placed(named[array], body)
    problems = []
    for known in scanner.receive:
        try:
            return _placed(known, body)
        except InputError as problem:
            problems.append(str(problem))
    raise InputError("; ".join(problems) or f"scanner {scanner.name} has no receive array; add one to its profile")


def _placed(array: Array, body: NDArray[np.float64]) -> Placement:
    if array.flexible:
        return _around(array, body)
    return _over(array, body) if all(array.semi_axes) else _moved(array, body, np.zeros(3), np.ones(3))


def _over(array: Array, body: NDArray[np.float64]) -> Placement:
    """The crown as high in the dome as its housing allows, centred left-right and front-back on the head's upper half."""
    top = body[:, 2].max()
    upper = body[body[:, 2] > top - array.semi_axes[2]]
    middle = (upper.min(axis=0) + upper.max(axis=0)) / 2
    tried = np.arange(0, FARTHEST, STEP) + array.clearance
    for gap in tried:
        offset = np.array([middle[0], middle[1], top + gap - array.semi_axes[2]])
        scaled = (body - offset) / array.semi_axes
        inside = np.hypot(scaled[:, 0], scaled[:, 1]) ** 2 + np.maximum(scaled[:, 2], 0) ** 2 < 1
        lowest = min(float(loop.points[:, 2].min()) for loop in array.loops)
        in_housing = (
            inside | (body[:, 2] - offset[2] < lowest) | (scaled[:, 1] < 0)
        )  # the face looks out of its opening
        if in_housing.all():
            placed = _moved(array, body, offset, np.ones(3), refuse=False)
            if placed.distance >= array.clearance:
                return placed
    width, depth = np.ptp(upper[:, 0]), np.ptp(upper[:, 1])
    raise InputError(
        f"a body {width * 100:.1f} cm wide and {depth * 100:.1f} cm deep does not fit into receive array {array.name}"
        f" ({200 * array.semi_axes[0]:.1f} cm by {200 * array.semi_axes[1]:.1f} cm, {1000 * array.clearance:g} mm housing); choose a flexible one"
    )


def _around(array: Array, body: NDArray[np.float64]) -> Placement:
    """Centred on the body, and the ellipse the loops lie on stretched until it holds the body and the padding."""
    middle = (body.min(axis=0) + body.max(axis=0)) / 2
    under = body[np.abs(body[:, 2] - middle[2]) <= array.semi_axes[2]] - middle
    half = np.maximum(np.ptp(under[:, :2], axis=0) / 2, 1e-3)
    grown = half * np.hypot(under[:, 0] / half[0], under[:, 1] / half[1]).max() + array.clearance
    for extra in np.arange(0, FARTHEST, STEP):
        stretch = np.array([*(grown + extra) / array.semi_axes[:2], 1.0])
        placed = _moved(array, body, middle, stretch, refuse=False)
        if placed.distance >= array.clearance:
            return placed
    return _moved(array, body, middle, stretch)


def _moved(array: Array, body: NDArray, offset: NDArray, stretch: NDArray, *, refuse: bool = True) -> Placement:
    loops = tuple(Loop(loop.points * stretch + offset) for loop in array.loops)
    wire = np.concatenate([_subdivided(loop.points) for loop in loops])
    distance = float(cKDTree(body).query(wire)[0].min())
    if refuse and not distance >= array.clearance:
        raise InputError(
            f"receive array {array.name} comes within {distance * 1e3:.1f} mm of the body; it needs {array.clearance * 1e3:g} mm"
        )
    return Placement(replace(array, loops=loops), tuple(map(float, offset)), tuple(map(float, stretch)), distance)  # type: ignore[arg-type]


def _subdivided(corners: NDArray) -> NDArray:
    """The corners and the middles between them."""
    return np.concatenate([corners, (corners + np.roll(corners, -1, axis=0)) / 2])
