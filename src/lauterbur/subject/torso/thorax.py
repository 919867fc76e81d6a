"""Lungs above a diaphragm with two domes, the mediastinum between them, windpipe and gullet."""

from __future__ import annotations

import numpy as np

from lauterbur.subject.torso.canvas import Canvas, paint_
from lauterbur.subject.torso.frame import Frame, drop
from lauterbur.subject.torso.outline import Stack, rib_cage, stack_distance
from lauterbur.subject.torso.shapes import Axes, Distance, Shape, grown, rounded, smooth_minimum, spread_out
from lauterbur.subject.torso.skeleton import RIB_DEPTH

PLEURA = 1.0  # mm from the ribs' inner side to the lung
DIAPHRAGM = 3.0  # mm of muscle
# top of a dome, x and y of its middle, half-widths, fall to its rim: right, left, and the tendon under the heart
DOMES = ((52.0, -70, 0, 72, 92, 78), (40.0, 72, 4, 72, 92, 78), (24.0, 6, -28, 60, 52, 40))
BACKWARDS = 0.25  # how much lower the diaphragm lies per mm to the back
# z | half-width, front, back, middle of the mediastinum
MEDIASTINUM = np.array([
    (260, 36, 60, 50, 0), (220, 34, 70, 50, 4), (170, 32, 92, 80, 6), (120, 26, 110, 90, 6), (60, 24, 115, 95, 6),
    (0, 26, 100, 95, 10), (-60, 30, 80, 90, 20),
])  # fmt: skip


def diaphragm(frame: Frame) -> Distance:
    """mm above its upper side (negative below); it moves like a piston, so that the lung fills the gap beside it."""

    def distance(axes: Axes) -> np.ndarray:
        x, y, z = spread_out(axes)
        top = np.full(np.broadcast_shapes(x.shape, y.shape), -110.0)
        for peak, cx, cy, rx, ry, fall in DOMES:
            q = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
            dome = peak - fall * q**3 - BACKWARDS * (y - cy)
            top = -smooth_minimum(-top, -dome, 16.0)
        return ((z - top + frame.descent) / 1.25).astype(np.float32)  # 1.25: a usual slope

    return distance


def inner_chest(frame: Frame) -> Distance:
    """mm outside the inner side of the ribs."""
    cage = rib_cage(frame)
    return lambda axes: stack_distance(cage, axes) + np.float32(RIB_DEPTH + PLEURA)


def lungs(frame: Frame) -> Shape:
    chest, floor = inner_chest(frame), diaphragm(frame)
    section = np.concatenate([MEDIASTINUM[::-1, 1:], np.full((len(MEDIASTINUM), 1), 2.2)], axis=1)
    between = Stack(MEDIASTINUM[::-1, 0], section)

    def distance(axes: Axes) -> np.ndarray:
        inside = np.maximum(chest(axes), -floor(axes))
        return -smooth_minimum(-inside, stack_distance(between, axes), 8.0)

    return Shape(distance, np.array([-140.0, -110.0, -125.0]), np.array([140.0, 110.0, 246.0]))


def mediastinum_(target: Canvas, frame: Frame) -> None:
    """Fat between the lungs."""
    chest, floor = inner_chest(frame), diaphragm(frame)
    section = np.concatenate([MEDIASTINUM[::-1, 1:], np.full((len(MEDIASTINUM), 1), 2.2)], axis=1)
    between = Stack(MEDIASTINUM[::-1, 0], section)

    def distance(axes: Axes) -> np.ndarray:
        return np.maximum(np.maximum(chest(axes) + 2, -floor(axes)), stack_distance(between, axes))

    paint_(target, "fat", Shape(distance, np.array([-45.0, -110.0, -70.0]), np.array([45.0, 110.0, 225.0])))


def airways_(target: Canvas, frame: Frame) -> None:
    fork = np.array([0, 8, 135.0]) + 0.5 * drop(frame, "heart")
    throat = np.array([(0, -38, 300), (0, -36, 245), (0, -18, 195), (0, 0, 160), fork])
    pipes = [
        rounded(throat, (10, 9.5, 9, 9, 9)),
        rounded([fork, fork + [-22, 2, -16], fork + [-48, 0, -32]], (8, 7, 5)),
        rounded([fork, fork + [26, 3, -20], fork + [52, 4, -36]], (7.5, 6.5, 5)),
    ]
    for pipe in pipes:
        paint_(target, "cartilage", grown(pipe, 2.0))
    for pipe in pipes:
        paint_(target, "air", pipe)
    gullet = [(2, -20, 300), (4, -6, 230), (8, 20, 170), (8, 28, 100), (14, 26, 40), (30, 18, 22)]
    paint_(target, "muscle", rounded(gullet, 7.5))
