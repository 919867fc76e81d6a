"""The heart: four chambers' blood and the myocardium around them, over one beat.

Blood volumes follow the contraction; the muscle keeps its own volume and so thickens; the base comes down to the apex.
Volumes are those of a healthy man by cine MRI (left ventricle 140 -> 55 ml: Maceira et al., JCMR 2006, 8:417, unconfirmed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from lauterbur.subject.torso.canvas import Canvas, paint_
from lauterbur.subject.torso.frame import Frame, drop
from lauterbur.subject.torso.shapes import Axes, Shape, ellipsoid, grown, moved, rounded, union, without

# ml at end diastole and at end systole
LEFT_VENTRICLE, RIGHT_VENTRICLE, LEFT_ATRIUM, RIGHT_ATRIUM = (140.0, 55.0), (155.0, 68.0), (40.0, 84.0), (52.0, 108.0)
LEFT_WALL, RIGHT_WALL, ATRIAL_WALL = 148.0, 60.0, 3.0  # ml, ml, mm
SHORTENING = 0.15  # of the left ventricle's length
LENGTH = 49.0  # mm: half the left ventricle's cavity at end diastole
AXIS = np.array([0.62, -0.55, -0.56]) / np.linalg.norm([0.62, -0.55, -0.56])  # from base to apex
APEX = np.array([40.0, -36.0, 66.0]) + LENGTH * AXIS  # of the cavity; it stays where it is
EPICARDIAL_FAT = 4.0  # mm


@dataclass(frozen=True, eq=False)
class Heart:
    left_ventricle: Shape  # blood
    right_ventricle: Shape
    left_atrium: Shape
    right_atrium: Shape
    left_wall: Shape  # all within the epicardium, blood too
    right_wall: Shape
    base: np.ndarray  # mm, (3,): how far the valves have come down from end diastole


def heart(frame: Frame) -> Heart:
    c = frame.contraction
    left, right, behind, beside = (
        start + c * (end - start) for start, end in (LEFT_VENTRICLE, RIGHT_VENTRICLE, LEFT_ATRIUM, RIGHT_ATRIUM)
    )
    length = LENGTH * (1 - SHORTENING * c)
    width = np.sqrt(left * 1e3 / (4 / 3 * np.pi * length))
    centre = APEX - length * AXIS
    rows = turn(AXIS)
    cavity = ellipsoid(centre, (length, width, width), rows)
    wall = brentq(lambda t: 4e-3 / 3 * np.pi * (length + 0.7 * t) * (width + t) ** 2 - left - LEFT_WALL, 1, 40)
    outer = ellipsoid(centre, (length + 0.7 * wall, width + wall, width + wall), rows)

    base = 2 * (LENGTH - length) * AXIS  # the valves' plane comes down by the whole shortening
    at = np.array([14.0, -58.0, 68.0]) + 0.6 * base
    across = turn(np.array([0.80, -0.25, -0.54]))

    def right_outline(size: float) -> Shape:
        return ellipsoid(at, np.array([47.0, 27.0, 40.0]) * size, across)

    size = brentq(lambda s: volume(without(right_outline(s), outer.distance)) - right, 0.5, 1.6, xtol=1e-3)
    right_cavity = without(right_outline(size), outer.distance)
    thickness = brentq(
        lambda t: volume(without(grown(right_outline(size), t), outer.distance)) - right - RIGHT_WALL,
        0.5,
        15,
        xtol=1e-2,
    )
    return Heart(
        cavity,
        right_cavity,
        _round(np.array([6.0, 5.0, 95.0]) + 0.35 * base, (34, 22, 29), behind),
        _round(np.array([-28.0, -27.0, 80.0]) + 0.35 * base, (24, 27, 37), beside),
        outer,
        grown(right_outline(size), thickness),
        base,
    )


def heart_(target: Canvas, frame: Frame) -> None:
    h, shift = heart(frame), drop(frame, "heart")
    chambers = [h.left_wall, h.right_wall, grown(h.left_atrium, ATRIAL_WALL), grown(h.right_atrium, ATRIAL_WALL)]
    paint_(target, "fat", moved(grown(union(chambers, 14.0), EPICARDIAL_FAT), shift))
    for shape in chambers:
        paint_(target, "myocardium", moved(shape, shift))
    for tissue, shape in (
        ("venous blood", h.right_atrium),
        ("arterial blood", h.left_atrium),
        ("venous blood", h.right_ventricle),
        ("myocardium", h.left_wall),
        ("arterial blood", h.left_ventricle),
    ):
        paint_(target, tissue, moved(shape, shift))
    valves = [  # mitral and tricuspid, open while the ventricles fill; aortic and pulmonary while they empty
        ("arterial blood", h.left_atrium, h.left_ventricle, 11.0),
        ("venous blood", h.right_atrium, h.right_ventricle, 12.0),
    ]
    if frame.contraction < 0.5:
        for tissue, above, below, radius in valves:
            ends = np.array([(shape.low + shape.high) / 2 for shape in (above, below)])
            paint_(target, tissue, moved(rounded(ends[0] + np.outer([0.1, 0.75], ends[1] - ends[0]), radius), shift))


def turn(first: np.ndarray) -> np.ndarray:
    """(3, 3) rows at right angles, the first along this direction, the last as upright as can be."""
    a = first / np.linalg.norm(first)
    b = np.cross([0, 0, 1.0], a)
    b /= np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)])


def volume(shape: Shape, step: float = 2.5) -> float:
    """ml, by counting points with partial shares."""
    axes: Axes = tuple(
        np.arange(low - step, high + step, step, dtype=np.float32)
        for low, high in zip(shape.low, shape.high, strict=True)
    )  # type: ignore[assignment]
    return float(np.clip(0.5 - shape.distance(axes) / step, 0, 1).sum(dtype=np.float64) * step**3 * 1e-3)


def _round(centre: np.ndarray, proportions: tuple[float, float, float], blood: float) -> Shape:
    semi = np.array(proportions, float)
    return ellipsoid(centre, semi * (blood * 1e3 / (4 / 3 * np.pi * semi.prod())) ** (1 / 3))
