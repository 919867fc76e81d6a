"""Shapes as distances to their surface, negative inside, each within a box: ellipsoid, tube, and what is made of them.

The distances are exact for tubes and right near the surface for the rest; a voxel's share of a shape needs no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

Axes = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]  # x (x,), y (y,), z (z,), mm
Distance = Callable[[Axes], NDArray[np.float32]]  # mm, (z, y, x)


@dataclass(frozen=True)
class Shape:
    distance: Distance
    low: NDArray[np.float64]  # mm, (3,): the corners of a box that holds it
    high: NDArray[np.float64]


def ellipsoid(centre: ArrayLike, semi_axes: ArrayLike, turn: ArrayLike | None = None) -> Shape:
    """turn: (3, 3), its rows the directions of the semi-axes."""
    middle, semi = np.asarray(centre, float), np.asarray(semi_axes, float)
    rows = np.eye(3) if turn is None else np.asarray(turn, float)
    reach = np.sqrt(((rows * semi[:, None]) ** 2).sum(axis=0))

    def distance(axes: Axes) -> NDArray[np.float32]:
        return _ellipsoid(*axes, middle, semi, rows)

    return Shape(distance, middle - reach, middle + reach)


def tube(points: ArrayLike, radii: ArrayLike) -> Shape:
    """A chain of round cones through points (n, 3) with these radii, (n,) or one for all."""
    chain = np.asarray(points, float)
    radius = np.broadcast_to(np.asarray(radii, float), (len(chain),)).copy()

    def distance(axes: Axes) -> NDArray[np.float32]:
        return _tube(*axes, chain, radius)

    return Shape(distance, (chain - radius[:, None]).min(axis=0), (chain + radius[:, None]).max(axis=0))


def plate(first: ArrayLike, second: ArrayLike, radius: float) -> Shape:
    """A sheet 2 radius thick between two curves, each given by its points: straight tubes side by side."""
    curves = [np.asarray(curve, float) for curve in (first, second)]
    longest = max(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum() for curve in curves)
    share = np.linspace(0, 1, 2 + int(longest / radius))
    start, end = (smooth_curve(curve, share) for curve in curves)
    return union([tube(np.stack(pair), radius) for pair in zip(start, end, strict=True)], 0.6 * radius)


def smooth_curve(points: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3): at these shares of the way along points, rounded at the corners (Catmull-Rom)."""
    place = share * (len(points) - 1)
    i = np.minimum(place.astype(int), len(points) - 2)
    t = (place - i)[:, None]
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def rounded(points: ArrayLike, radii: ArrayLike, *, per: int = 4) -> Shape:
    """A tube whose path is rounded between its points."""
    given = np.asarray(points, float)
    radius = np.broadcast_to(np.asarray(radii, float), (len(given),))
    share = np.linspace(0, 1, per * (len(given) - 1) + 1)
    return tube(smooth_curve(given, share), np.interp(share * (len(given) - 1), np.arange(len(given)), radius))


def union(shapes: Sequence[Shape], blend: float = 0.0) -> Shape:
    """All of them; borders within `blend` mm of each other run together."""

    def distance(axes: Axes) -> NDArray[np.float32]:
        found = shapes[0].distance(axes)
        for shape in shapes[1:]:
            found = smooth_minimum(found, shape.distance(axes), blend)
        return found

    low = np.min([shape.low for shape in shapes], axis=0) - blend
    return Shape(distance, low, np.max([shape.high for shape in shapes], axis=0) + blend)


def grown(shape: Shape, by: float) -> Shape:
    return Shape(lambda axes: shape.distance(axes) - np.float32(by), shape.low - by, shape.high + by)


def moved(shape: Shape, by: ArrayLike) -> Shape:
    step = np.asarray(by, float)

    def distance(axes: Axes) -> NDArray[np.float32]:
        x, y, z = (axis - np.float32(s) for axis, s in zip(axes, step, strict=True))
        return shape.distance((x, y, z))

    return Shape(distance, shape.low + step, shape.high + step)


def mirrored(shape: Shape) -> Shape:
    """The same on the other side."""

    def distance(axes: Axes) -> NDArray[np.float32]:
        return shape.distance((-axes[0], axes[1], axes[2]))

    low, high = shape.low.copy(), shape.high.copy()
    low[0], high[0] = -shape.high[0], -shape.low[0]
    return Shape(distance, low, high)


def cut(shape: Shape, *others: Distance) -> Shape:
    """What lies in the shape and in all others."""

    def distance(axes: Axes) -> NDArray[np.float32]:
        found = shape.distance(axes)
        for other in others:
            found = np.maximum(found, other(axes))
        return found

    return Shape(distance, shape.low, shape.high)


def without(shape: Shape, *others: Distance) -> Shape:
    return cut(shape, *((lambda axes, other=other: -other(axes)) for other in others))


def smooth_minimum(a: NDArray, b: NDArray, blend: float | NDArray) -> NDArray[np.float32]:
    """min(a, b), lower by at most blend / 4 where they are equal: the polynomial form."""
    if isinstance(blend, int | float) and not blend > 0:
        return np.minimum(a, b)
    width = np.maximum(blend, 1e-3)
    h = np.maximum(width - np.abs(a - b), 0) / width
    return (np.minimum(a, b) - h * h * width * 0.25).astype(np.float32)


def spread_out(axes: Axes) -> Axes:
    """x, y, z that broadcast to (z, y, x)."""
    x, y, z = axes
    return x[None, None, :], y[None, :, None], z[:, None, None]


@njit(cache=True)
def _ellipsoid(x, y, z, middle, semi, rows):  # type: ignore[no-untyped-def]
    found = np.empty((len(z), len(y), len(x)), np.float32)
    for k in range(len(z)):
        for j in range(len(y)):
            for i in range(len(x)):
                px, py, pz = x[i] - middle[0], y[j] - middle[1], z[k] - middle[2]
                near, steep = 0.0, 0.0
                for axis in range(3):
                    p = (rows[axis, 0] * px + rows[axis, 1] * py + rows[axis, 2] * pz) / semi[axis]
                    near += p * p
                    steep += p * p / (semi[axis] * semi[axis])
                near = np.sqrt(near)
                found[k, j, i] = near * (near - 1) / max(np.sqrt(steep), 1e-9) if near > 1e-6 else -semi.min()
    return found


@njit(cache=True)
def _tube(x, y, z, chain, radius):  # type: ignore[no-untyped-def]
    found = np.full((len(z), len(y), len(x)), np.float32(1e4))
    for s in range(len(chain) - 1):
        ax, ay, az = chain[s]
        bx, by, bz = chain[s + 1] - chain[s]
        length = bx * bx + by * by + bz * bz + 1e-12
        for k in range(len(z)):
            for j in range(len(y)):
                for i in range(len(x)):
                    px, py, pz = x[i] - ax, y[j] - ay, z[k] - az
                    t = min(1.0, max(0.0, (px * bx + py * by + pz * bz) / length))
                    dx, dy, dz = px - t * bx, py - t * by, pz - t * bz
                    d = np.sqrt(dx * dx + dy * dy + dz * dz) - radius[s] - t * (radius[s + 1] - radius[s])
                    if d < found[k, j, i]:
                        found[k, j, i] = d
    return found
