"""Organs of belly and pelvis: each keeps its own shape, and so its volume, where breathing moves it.

Liver, spleen and stomach are cut to the rib cage and the diaphragm as they lie at the end of expiration, then moved.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lauterbur.subject.torso.canvas import Canvas, paint_
from lauterbur.subject.torso.frame import Frame, drop
from lauterbur.subject.torso.outline import cavity, stack_distance
from lauterbur.subject.torso.shapes import (
    Axes,
    Distance,
    Shape,
    cut,
    ellipsoid,
    grown,
    mirrored,
    moved,
    rounded,
    smooth_curve,
    smooth_minimum,
    spread_out,
    tube,
)  # fmt: skip
from lauterbur.subject.torso.thorax import DIAPHRAGM, diaphragm, inner_chest

LIVER_LOW = (-84.0, 0.68, 0.42)  # mm at x = -60 and y = 0, and how its lower side rises to the left and to the back
STOMACH_WALL, BOWEL_WALL, BLADDER_WALL = 4.5, 2.5, 3.0  # mm
CORTEX = 6.0  # mm of kidney cortex outside the pyramids


def abdomen_(target: Canvas, frame: Frame) -> None:
    muscles_(target)
    bowel_(target, frame)
    bladder_(target)
    stomach_(target, frame)
    paint_(target, "spleen", spleen(frame))
    paint_(target, "pancreas", pancreas(frame))
    paint_(target, "liver", liver(frame))
    paint_(target, "bile", moved(ellipsoid((-58, -48, -78), (14, 15, 27)), drop(frame, "liver")))
    for kidney in kidneys(frame):
        kidney_(target, kidney)


def below_diaphragm(frame: Frame, gap: float) -> Distance:
    """mm outside the room under the diaphragm and inside the ribs at end expiration, `gap` mm from both."""
    still = replace(frame, breathing=0.0, swell=0.0)
    chest, floor = inner_chest(still), diaphragm(still)

    def distance(axes: Axes) -> np.ndarray:
        return -smooth_minimum(-(chest(axes) + np.float32(gap)), -(floor(axes) + np.float32(DIAPHRAGM + gap)), 14.0)

    return distance


def liver(frame: Frame) -> Shape:
    room = below_diaphragm(frame, 1.5)
    level, left, back = LIVER_LOW

    def distance(axes: Axes) -> np.ndarray:
        x, y, z = spread_out(axes)
        lower = (level + left * (x + 60) + back * y - z) / np.sqrt(1 + left**2 + back**2)
        edges = -smooth_minimum(-lower, -(x - 64 + 0.25 * np.abs(y + 40)), 20.0)
        spine = 36 - np.hypot(x - 4, 0.9 * (y - 44)) + 0 * z
        return -smooth_minimum(smooth_minimum(-room(axes), -edges, 16.0), -spine, 10.0)

    whole = Shape(distance, np.array([-135.0, -95.0, -150.0]), np.array([75.0, 95.0, 60.0]))
    return moved(whole, drop(frame, "liver"))


def spleen(frame: Frame) -> Shape:
    long = np.array([0.55, -0.45, -0.70])
    outward = np.array([0.72, 0.66, 0.14])
    rows = [long / np.linalg.norm(long)]
    rows.append(outward - outward @ rows[0] * rows[0])
    rows[1] /= np.linalg.norm(rows[1])
    rows.append(np.cross(rows[0], rows[1]))
    shape = ellipsoid((84, 44, -26), (54, 23, 34), np.array(rows))
    return moved(cut(shape, below_diaphragm(frame, 1.5)), drop(frame, "spleen"))


def pancreas(frame: Frame) -> Shape:
    path = [(-34, -16, -92), (-16, -22, -84), (12, -26, -74), (44, -6, -62), (68, 16, -50)]
    return moved(rounded(path, (21, 18, 15, 15, 12)), drop(frame, "pancreas"))


def stomach_(target: Canvas, frame: Frame) -> None:
    path = [(62, 26, 12), (72, 10, -18), (66, -18, -50), (40, -44, -78), (8, -50, -86), (-20, -38, -76)]
    outer = cut(rounded(path, (38, 39, 33, 27, 21, 12)), below_diaphragm(frame, 1.0))
    shift = drop(frame, "stomach")
    inner = moved(grown(outer, -STOMACH_WALL), shift)
    paint_(target, "stomach", moved(outer, shift))
    paint_(target, "stomach contents", inner)
    gas = cut(inner, _before(-38.0))  # in front where one lies on the back
    paint_(target, "air", gas)


def kidneys(frame: Frame) -> tuple[Shape, Shape]:
    """The right one lies lower, under the liver."""
    lean = np.array([(-0.18, 0.26, 0.95), (0.45, 0.86, -0.15)])  # length: the upper pole behind and near the spine
    shift = drop(frame, "kidneys")
    found = []
    for side, centre in ((-1, (-63, 26, -112)), (1, (66, 28, -100))):
        long = lean[0] / np.linalg.norm(lean[0])
        flat = lean[1] - lean[1] @ long * long
        rows = np.stack([long, flat / np.linalg.norm(flat), np.cross(long, flat / np.linalg.norm(flat))])
        found.append(moved(ellipsoid(centre, (57, 22, 29), rows * [side, 1, 1]), shift))
    return found[0], found[1]


def kidney_(target: Canvas, shape: Shape) -> None:
    """Cortex, ten pyramids of medulla with columns of cortex between, and the fat of the sinus."""
    centre = (shape.low + shape.high) / 2
    side = np.sign(centre[0])
    paint_(target, "fat", grown(shape, 6.0))  # the capsule of fat
    paint_(target, "kidney cortex", shape)
    sinus = centre + [-8 * side, -3, 0]
    inside = grown(shape, -CORTEX)
    for height in (-36, -18, 0, 18, 36):
        for forward in (-1, 1):
            outer = centre + np.array([(13 - 0.18 * abs(height)) * side, forward * 13 + 0.2 * height, height])
            cone = tube([sinus + [0, 0.2 * height, 0.62 * height], outer], (4.5, 11.0))
            paint_(target, "kidney medulla", cut(cone, inside.distance))
    paint_(target, "fat", rounded([sinus + [0, -5, -24], sinus, sinus + [0, 5, 24]], (5, 8, 5)))
    paint_(target, "urine", tube([sinus, sinus + [-16 * side, -2, -10]], (6, 3)))


def muscles_(target: Canvas) -> None:
    """Psoas and the diaphragm's crura, beside the spine."""
    psoas = rounded([(32, 30, -50), (42, 18, -140), (56, -2, -225), (78, -30, -310), (96, -36, -350), (122, 4, -400)],
                    (9, 20, 25, 23, 17, 12))  # fmt: skip
    flank = rounded([(62, 52, -50), (78, 44, -130), (92, 42, -200)], (9, 16, 18))
    for shape in (psoas, flank):
        paint_(target, "muscle", shape)
        paint_(target, "muscle", mirrored(shape))


def bowel_(target: Canvas, frame: Frame) -> None:
    shift = 1.0 * drop(frame, "bowel") - [0, 0.6 * frame.swell, 0]
    room = cavity(frame)

    def inside(axes: Axes) -> np.ndarray:
        return stack_distance(room, axes) + 1.0

    for path, radius in small_bowel():
        loop = moved(cut(rounded(path, radius), lambda axes: inside(_back(axes, shift))), shift)
        paint_(target, "small intestine", loop)
        paint_(target, "bowel contents", grown(loop, -BOWEL_WALL - 2.0))
    for course, radii in large_bowel():
        share = np.linspace(0, 1, 6 * len(course))
        sacs = np.interp(share, np.linspace(0, 1, len(course)), radii) + 1.8 * np.cos(np.arange(len(share)) * 2.1)
        sacked = tube(smooth_curve(np.array(course, float), share), sacs)
        loop = moved(cut(sacked, lambda axes: inside(_back(axes, shift))), shift)
        hollow = grown(loop, -BOWEL_WALL - 0.8)
        paint_(target, "colon", loop)
        paint_(target, "bowel contents", hollow)
        if course[0][2] > -160:  # gas lies in front in the transverse part
            paint_(target, "air", cut(hollow, _before(-66.0)))


def _before(y: float) -> Distance:
    """In front of this y."""
    return lambda axes: (spread_out(axes)[1] - np.float32(y)).astype(np.float32)


def _back(axes: Axes, shift: np.ndarray) -> Axes:
    return tuple(axis + np.float32(s) for axis, s in zip(axes, shift, strict=True))  # type: ignore[return-value]


def small_bowel() -> list[tuple[np.ndarray, float]]:
    """Rows to and fro in three layers, a little disordered: about 2.7 m, as living bowel shows on images."""
    found = []
    for layer, (y, width, rows, top) in enumerate(((-54, 66, 6, -164), (-29, 70, 6, -158), (-6, 74, 4, -172))):
        path = []
        for row in range(rows):
            z = top - 23.5 * row
            for along in np.linspace(-1, 1, 5) * (1 if row % 2 == 0 else -1):
                wave = np.sin(2.1 * row + 5.3 * along + 1.7 * layer)
                x = width * along * (1 - 0.05 * max(0, row - 3))
                behind = abs(x) < 30 and layer == 2  # aorta and vena cava run there
                path.append((x, y + 4 * wave - (14 if behind else 0), z + 5 * np.cos(1.3 * row + 4.1 * along)))
        found.append((np.array(path), 11.3))
    return found


def large_bowel() -> list[tuple[list[tuple[float, float, float]], np.ndarray]]:
    """Ascending, transverse, descending with sigmoid, rectum."""
    return [
        ([(-72, -34, -262), (-90, -28, -235), (-97, -8, -185), (-94, 2, -150), (-88, -18, -128)], np.array([15, 21, 21, 20, 18])),
        ([(-88, -22, -126), (-62, -54, -124), (-10, -62, -136), (42, -58, -118), (84, -22, -82), (98, 8, -66)], np.array([18, 17, 17, 16, 15, 14])),
        ([(98, 10, -66), (101, 18, -120), (98, 10, -190), (84, -6, -240), (52, -22, -282), (20, -4, -300), (-8, 26, -296), (0, 52, -312)], np.array([13, 13, 13, 12, 12, 13, 13, 14])),
        ([(0, 52, -312), (0, 66, -340), (0, 56, -372), (0, 42, -402)], np.array([16, 18, 17, 9])),
    ]  # fmt: skip


def bladder_(target: Canvas) -> None:
    inner = ellipsoid((0, -26, -345), (36, 29, 30))
    paint_(target, "bladder", grown(inner, BLADDER_WALL))
    paint_(target, "urine", inner)
