"""Bones: spine with its canal and cord, ribs, sternum, shoulder girdle, pelvis, thigh and arm bones.

Places after an atlas and the Visible Human's pelvis and spinal cord, by eye; a shell of cortical bone around cancellous bone.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.interpolate import PchipInterpolator

from lauterbur.subject.torso.canvas import Canvas, paint_
from lauterbur.subject.torso.frame import Frame
from lauterbur.subject.torso.outline import Stack, arms, rib_cage, stack_distance
from lauterbur.subject.torso.shapes import (
    Axes,
    Distance,
    Shape,
    cut,
    ellipsoid,
    grown,
    mirrored,
    plate,
    rounded,
    spread_out,
    tube,
    union,
)  # fmt: skip

SHELL = 1.2  # mm of cortical bone around cancellous bone
RIB_DEPTH, RIB_HEIGHT, RIB_SPACING, FIRST_RIB, N_RIBS = 8.0, 13.0, 24.0, 236.0, 12
RIB_SLOPE = 0.30  # how much lower a rib lies per mm to the front
CANAL_RADIUS, CORD_RADIUS = 9.0, 5.0
# z | y of the canal's middle, half-width and half-depth of the vertebral body, half-height of the disc
SPINE = np.array([
    (300, 8, 13, 8, 2.5), (250, 20, 13, 8, 2.5), (200, 42, 14, 10, 2.5), (150, 58, 15, 12, 2.5), (100, 65, 16, 14, 2.5),
    (50, 67, 17, 15, 3.0), (0, 64, 19, 16, 3.5), (-50, 58, 21, 17, 4.5), (-100, 52, 23, 17, 5.0), (-150, 47, 24, 18, 5.5),
    (-206, 51, 25, 18, 5.5), (-260, 80, 25, 16, 5.0),
])  # fmt: skip
DISCS = (288, 271, 254, 232, 210, 187, 164, 141, 117, 93, 69, 44, 19, -8, -36, -68, -101, -135, -170, -206)


def spine_at(z: float | np.ndarray) -> np.ndarray:
    """(..., 4): y of the canal, half-width and half-depth of the body, half-height of a disc."""
    return PchipInterpolator(SPINE[::-1, 0], SPINE[::-1, 1:], axis=0)(z)


def bone_(target: Canvas, shape: Shape, *, shell: float = SHELL, inside: str = "cancellous bone") -> None:
    paint_(target, "cortical bone", shape)
    paint_(target, inside, grown(shape, -shell))


def skeleton_(target: Canvas, frame: Frame) -> None:
    ribs_(target, frame)
    spine_(target)
    girdle_(target, frame)
    pelvis_(target, frame)
    if frame.arms:
        arm_bones_(target, frame)


def spine_(target: Canvas) -> None:
    z = np.linspace(300, -215, 60)[::-1]
    canal, width, depth, _ = spine_at(z).T
    middle = canal - CANAL_RADIUS - depth
    section = np.stack([width, depth, depth, middle, np.full_like(z, 2.3)], axis=1)
    column = Stack(z, section)
    low, high = np.array([-40.0, -30.0, -215.0]), np.array([40.0, 110.0, 300.0])
    whole = Shape(lambda axes: stack_distance(column, axes), low, high)
    paint_(target, "cartilage", cut(whole, lambda axes: spread_out(axes)[2] * -1 - 212))
    for upper, lower in itertools.pairwise(DISCS):
        centre, half = (upper + lower) / 2, (upper - lower) / 2
        canal_y, body_width, _, disc = spine_at(centre)
        half -= disc
        body = cut(whole, _slab(centre, half))
        bone_(target, Shape(body.distance, np.array([-40, -30, centre - half]), np.array([40, 110, centre + half])))
        process = [
            tube([(0, canal_y + 11, centre), (0, canal_y + 26, centre - 12)], (5, 4)),
            tube([(-body_width - 16, canal_y + 8, centre), (body_width + 16, canal_y + 8, centre)], 4.5),
            tube([(0, canal_y, centre - 0.5 * half), (0, canal_y, centre + 0.6 * half)], CANAL_RADIUS + 4),
        ]
        bone_(target, union(process, 3.0), shell=1.5)
    path = np.stack([np.zeros(40), spine_at(np.linspace(310, -215, 40))[:, 0], np.linspace(310, -215, 40)], axis=1)
    paint_(target, "cerebrospinal fluid", tube(path, CANAL_RADIUS))
    paint_(target, "spinal cord", tube(path[path[:, 2] > -45], CORD_RADIUS))  # ends at L1


def _slab(centre: float, half: float) -> Distance:
    """Between two heights."""
    return lambda axes: (np.abs(spread_out(axes)[2] - np.float32(centre)) - np.float32(half)).astype(np.float32)


def ribs_(target: Canvas, frame: Frame) -> None:
    cage = rib_cage(frame)

    def distance(axes: Axes) -> np.ndarray:
        x, y, z = spread_out(axes)
        along = z + RIB_SLOPE * (75 - y) - 0.45 * np.maximum(0, 62 - np.abs(x)) * (y < -20)
        number = np.clip(np.round((FIRST_RIB - along) / RIB_SPACING), 0, N_RIBS - 1)
        off = along - (FIRST_RIB - number * RIB_SPACING)
        depth = stack_distance(cage, axes) + RIB_DEPTH / 2
        near = np.sqrt((depth / (RIB_DEPTH / 2)) ** 2 + (off / (RIB_HEIGHT / 2)) ** 2)
        rib = (near - 1) * (RIB_DEPTH / 2)
        arch = 2 - 0.72 * np.abs(x) - z + 0 * y  # below the costal arch there is none in front
        rib = np.where(y < 10, np.maximum(rib, arch), rib)
        floating = np.where(number == N_RIBS - 1, 42, np.where(number == N_RIBS - 2, 15, -200)) - y
        return np.maximum(rib, floating).astype(np.float32)

    low, high = np.array([-145.0, -110.0, -90.0]), np.array([145.0, 110.0, 250.0])
    all_ribs = Shape(distance, low, high)
    bone_(target, all_ribs)

    def in_front(axes: Axes) -> np.ndarray:
        x, y, z = spread_out(axes)
        return np.maximum(y + 40, np.abs(x) - 78) + 0 * z

    paint_(target, "cartilage", cut(Shape(distance, low, np.array([145.0, -30.0, 250.0])), in_front))
    y = [
        float(cage.section[np.searchsorted(cage.z, z), 3] - cage.section[np.searchsorted(cage.z, z), 1]) + 4
        for z in (175, 85, 35)
    ]
    breast_bone = [
        plate([(-17, y[0], 178), (17, y[0], 178)], [(-12, y[1], 85), (12, y[1], 85)], 5.5),
        plate([(-12, y[1], 85), (12, y[1], 85)], [(-11, y[2], 12), (11, y[2], 12)], 5.0),
    ]
    bone_(target, union(breast_bone, 4.0))


def girdle_(target: Canvas, frame: Frame) -> None:
    wide = 0.93 if frame.is_female else 1.0
    collar = rounded([(22, -60, 184), (66, -70, 196), (110, -38, 206), (146 * wide, -4, 206)], (7, 5.5, 5.5, 6))
    medial = [(72, 84, 172), (78, 92, 115), (88, 92, 62)]
    lateral = [(140 * wide, 24, 186), (134 * wide, 48, 150), (114, 80, 82)]
    blade = union([plate(medial, lateral, 3.5), tube([(78, 92, 165), (146 * wide, 20, 206)], 5.0)], 4.0)
    for shape in (collar, blade):
        bone_(target, shape)
        bone_(target, mirrored(shape))


def pelvis_(target: Canvas, frame: Frame) -> None:
    wide = 1.04 if frame.is_female else 1.0

    def at(*points: tuple[float, float, float]) -> np.ndarray:
        return np.array(points) * [wide, 1, 1]

    crest = at((42, 84, -258), (72, 84, -222), (108, 58, -204), (132, 14, -210), (136, -28, -238))
    root = at((48, 70, -292), (60, 56, -316), (78, 32, -334), (92, 4, -338), (98, -26, -326))
    wing = plate(crest, root, 7.0)
    socket = ellipsoid(at((88, 4, -354))[0], (33, 33, 33))
    pubis = rounded(at((84, -18, -348), (45, -42, -362), (8, -42, -378)), (13, 9, 11))
    lower = rounded(at((9, -40, -384), (32, -14, -412), (62, 26, -428)), (8, 7, 11))
    seat = rounded(at((86, 30, -356), (80, 46, -392), (68, 40, -425)), (19, 16, 15))
    half = union([wing, socket, pubis, lower, seat], 6.0)
    for shape in (half, mirrored(half)):
        bone_(target, shape, shell=1.6)
    paint_(target, "cartilage", tube([(0, -43, -366), (0, -38, -390)], 5.0))

    edge = at((50, 46, -224), (50, 74, -262), (30, 94, -304), (10, 90, -345))
    bone_(target, plate(edge, edge * [-1, 1, 1], 12.0), shell=1.6)

    head = at((90, 4, -354))[0]
    for side in (1, -1):
        sign = np.array([side, 1, 1])
        paint_(target, "cartilage", ellipsoid(head * sign, (26.5, 26.5, 26.5)))
        bone_(target, ellipsoid(head * sign, (24, 24, 24)))
        neck = at((90, 4, -354), (132, 18, -380), (142, 20, -395), (138, 18, -460))
        bone_(target, tube(neck[:2] * sign, (15, 17)), shell=2.0)
        bone_(target, tube(neck[1:] * sign, (20, 18, 14)), shell=4.0)


def arm_bones_(target: Canvas, frame: Frame) -> None:
    _, path, _ = arms(frame)
    head = path[0] + [-8, 0, 0]
    elbow, wrist, hand = path[6], path[10], path[12]
    thin = 0.88 if frame.is_female else 1.0
    for sign in (np.array([1, 1, 1]), np.array([-1, 1, 1])):
        bone_(target, ellipsoid(head * sign, np.full(3, 23.0 * thin)))
        shaft = np.array([head + [6, 0, -15], path[2] + [-8, 2, 0], path[4] + [-4, 2, 0], elbow])
        bone_(target, rounded(shaft * sign, np.array([16, 11, 11, 17]) * thin), shell=4.0, inside="marrow")
        for shift in ([-11, 6, 0], [11, -3, 0]):
            bone_(target, tube(np.array([elbow + shift, wrist + shift]) * sign, 6.5 * thin), shell=2.5, inside="marrow")
        for aside in (-13, 0, 13):
            bone_(target, tube(np.array([wrist + [0, 0, -22], hand]) * sign + [0, aside, 0], 4.0 * thin))
