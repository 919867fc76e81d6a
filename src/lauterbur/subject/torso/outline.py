"""The trunk's layers as stacks of cross-sections - skin, muscle, rib cage, cavity - and the arms beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from lauterbur.subject.torso.frame import Frame
from lauterbur.subject.torso.shapes import Axes, Shape, ellipsoid, smooth_minimum, tube, union

TOP, BOTTOM = 285.0, -435.0  # mm: neck at the larynx, pelvis at the seat bones
SKIN = 2.0  # mm
LEAST_FAT = 4.0  # mm, with the skin
VISCERAL = 0.3  # of what a larger girth adds, inside the muscles
ARM_GAP = 5.0  # mm of air between arm and flank
ARM_FAT = 7.0  # mm, with the skin

# z | half-width, to the front, to the back, y of the middle, exponent of the superellipse
SURFACE = np.array([
    (290, 57, 57, 60, -2, 2.0), (270, 58, 58, 60, 0, 2.0), (252, 70, 62, 62, 6, 2.0), (235, 100, 68, 70, 10, 2.0),
    (218, 134, 77, 80, 10, 2.1), (200, 154, 88, 92, 8, 2.2), (175, 160, 100, 104, 4, 2.3), (140, 160, 110, 112, 2, 2.4),
    (100, 160, 115, 114, 2, 2.5), (50, 158, 115, 113, 2, 2.5), (0, 152, 112, 110, 2, 2.5), (-60, 146, 108, 106, 2, 2.4),
    (-110, 144, 107, 104, 3, 2.4), (-160, 149, 108, 104, 5, 2.4), (-210, 160, 110, 108, 8, 2.3), (-260, 169, 110, 114, 12, 2.3),
    (-310, 174, 108, 120, 14, 2.3), (-350, 177, 104, 122, 16, 2.3), (-390, 177, 102, 116, 16, 2.4), (-440, 175, 100, 106, 16, 2.5),
])  # fmt: skip
# z | fat with skin at the side, in front, behind; then how much of the girth goes there
FAT = np.array([
    (290, 6, 5, 7, 0.25, 0.25, 0.2), (200, 8, 8, 10, 0.4, 0.4, 0.4), (100, 9, 9, 10, 0.6, 0.6, 0.5),
    (0, 12, 12, 11, 0.8, 1.0, 0.6), (-110, 15, 17, 13, 1.0, 1.4, 0.6), (-160, 17, 20, 15, 1.0, 1.5, 0.6),
    (-210, 17, 21, 17, 1.0, 1.4, 0.7), (-260, 17, 18, 22, 0.9, 1.1, 0.8), (-310, 16, 14, 25, 0.8, 0.8, 0.8),
    (-350, 16, 12, 26, 0.8, 0.6, 0.8), (-440, 14, 12, 20, 0.7, 0.6, 0.7),
])  # fmt: skip
RIBS = np.array([
    (252, 32, 26, 24, 24, 2.0), (230, 58, 42, 36, 19, 2.0), (205, 86, 62, 52, 14, 2.0), (175, 108, 76, 68, 10, 2.1),
    (135, 124, 86, 79, 6, 2.2), (85, 134, 92, 85, 3, 2.3), (35, 138, 93, 86, 2, 2.3), (-15, 136, 91, 86, 2, 2.3),
    (-65, 131, 88, 84, 3, 2.3), (-125, 124, 84, 80, 4, 2.3), (-180, 118, 80, 74, 4, 2.3),
])  # fmt: skip
CAVITY = np.array([
    (100, 124, 80, 74, 3, 2.3), (60, 126, 82, 76, 3, 2.3), (0, 126, 80, 76, 3, 2.3), (-60, 119, 79, 72, 3, 2.3),
    (-110, 113, 78, 62, 2, 2.3), (-160, 115, 77, 58, 2, 2.3), (-210, 116, 76, 54, 2, 2.3), (-250, 106, 73, 58, 4, 2.2),
    (-290, 84, 70, 66, 6, 2.1), (-330, 67, 62, 66, 8, 2.1), (-370, 54, 52, 58, 12, 2.0), (-400, 36, 34, 38, 14, 2.0),
    (-420, 12, 12, 14, 14, 2.0),
])  # fmt: skip
# of the reference man's widths and depths, in a woman: z | half-width, front, back
FEMALE = np.array([
    (290, 0.90, 0.90, 0.90), (200, 0.92, 0.95, 0.95), (100, 0.95, 0.96, 0.96), (-60, 0.96, 0.97, 0.98), (-160, 1.02, 0.98, 1.0),
    (-260, 1.07, 1.0, 1.02), (-350, 1.09, 1.0, 1.04), (-440, 1.09, 1.0, 1.04),
])  # fmt: skip
FEMALE_FAT = 1.2  # of the man's thickness


@dataclass(frozen=True, eq=False)
class Stack:
    """Cross-sections at rising z: half-width, front, back, middle, exponent; (z, 5) mm."""

    z: NDArray[np.float64]
    section: NDArray[np.float64]


def stack_distance(stack: Stack, axes: Axes) -> NDArray[np.float32]:
    """mm to the surface, corrected for its slope along all three axes."""
    curve = PchipInterpolator(stack.z, stack.section, axis=0)
    z = np.clip(axes[2], stack.z[0], stack.z[-1])
    return _stack(*axes, curve(z), curve(z, 1))


def surface(frame: Frame) -> Stack:
    return _layers(frame)[0]


def muscles(frame: Frame) -> Stack:
    """Where fat ends and muscle begins."""
    return _layers(frame)[1]


def rib_cage(frame: Frame) -> Stack:
    """The outer surface of the ribs; they rise a little in front with each breath."""
    section = RIBS[::-1, 1:].copy()
    section[:, 1] += 0.4 * frame.swell
    return Stack(RIBS[::-1, 0], section)


def cavity(frame: Frame) -> Stack:
    """Below the diaphragm, inside the muscles of the belly and the pelvis."""
    z = CAVITY[::-1, 0]
    share = _at(FAT, z)[:, 3:]
    section = CAVITY[::-1, 1:].copy()
    if frame.is_female:
        section[:, :2] *= np.clip(_at(FEMALE, z)[:, :2], 0.97, 1.04)
    more = VISCERAL * max(frame.girth, 0.0)
    section[:, 0] += more * share[:, 0]
    section[:, 1] += more * share[:, 1] + frame.swell * _belly(z)
    return Stack(z, section)


def arms(frame: Frame) -> tuple[Shape, NDArray[np.float64], NDArray[np.float64]]:
    """Both arms as one shape, and the path (n, 3) and radii (n,) of the left one."""
    z = np.array([190, 150, 110, 60, 0, -60, -95, -150, -210, -270, -335, -380, -445.0])
    radius = np.array([47, 46, 45, 45, 44, 41, 39, 39, 35, 30, 25, 26, 25.0]) * (0.86 if frame.is_female else 1.0)
    radius += 0.3 * np.maximum(frame.girth, -15) * np.where(z > -335, 1.0, 0.4)
    y = np.array([8, 10, 12, 13, 14, 14, 12, 4, -4, -12, -20, -22, -24.0])
    side = PchipInterpolator(surface(frame).z, surface(frame).section[:, 0])(z)
    lean = max(0.0, np.max((side + ARM_GAP + radius)[2:7]))
    x = np.maximum(side + ARM_GAP + radius, np.where(z < -50, lean - 8, lean))
    shoulder = side[0] + 13
    x[0], x[1] = shoulder, 0.4 * shoulder + 0.6 * x[2]
    path = np.stack([x, y, z], axis=1)
    both = union([tube(path, radius), tube(path * [-1, 1, 1], radius)])
    return both, path, radius


def breasts(frame: Frame) -> Shape | None:
    if not frame.is_female:
        return None
    stack = surface(frame)
    front = PchipInterpolator(stack.z, stack.section[:, 3] - stack.section[:, 1])(92.0)
    size = 1 + 0.012 * frame.girth
    halves = [ellipsoid((side * 72, front + 22, 92), np.array([58, 46, 56]) * size) for side in (-1, 1)]
    return union(halves)


def body_distance(frame: Frame, axes: Axes) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """mm to the skin of trunk and arms together, and to the arms alone."""
    trunk = stack_distance(surface(frame), axes)
    chest = breasts(frame)
    if chest is not None:
        trunk = smooth_minimum(trunk, chest.distance(axes), 18.0)
    if not frame.arms:
        return trunk, None
    limbs = arms(frame)[0].distance(axes)
    blend = np.interp(axes[2], (105, 150), (0, 35))[:, None, None]
    return smooth_minimum(trunk, limbs, blend), limbs


def _layers(frame: Frame) -> tuple[Stack, Stack]:
    z = SURFACE[::-1, 0]
    section = SURFACE[::-1, 1:].copy()
    depth = _at(FAT, z)
    fat, share = depth[:, :3], depth[:, 3:]
    if frame.is_female:
        section[:, :3] *= _at(FEMALE, z)
        fat = fat * FEMALE_FAT
    outside = section.copy()
    outside[:, :3] += frame.girth * share
    thickness = np.maximum(LEAST_FAT, fat + (1 - VISCERAL * (frame.girth > 0)) * frame.girth * share)
    inside = outside.copy()
    inside[:, :3] -= thickness
    for layer in (outside, inside):
        layer[:, 1] += frame.swell * np.maximum(_belly(z), 0.4 * ((z > -40) & (z < 200)))
    return Stack(z, outside), Stack(z, inside)


def _belly(z: NDArray) -> NDArray[np.float64]:
    """How much of the swell each height shows."""
    return np.interp(z, (-300, -220, -120, -40, 30), (0.0, 0.6, 1.0, 0.8, 0.4))


def _at(table: NDArray[np.float64], z: NDArray) -> NDArray[np.float64]:
    return PchipInterpolator(table[::-1, 0], table[::-1, 1:], axis=0)(np.clip(z, table[-1, 0], table[0, 0]))


@njit(cache=True)
def _stack(x, y, z, section, slope):  # type: ignore[no-untyped-def]
    found = np.empty((len(z), len(y), len(x)), np.float32)
    for k in range(len(z)):
        a, front, back, middle, n = section[k]
        da, dfront, dback, dmiddle, _ = slope[k]
        p = np.abs(x) / a
        p_n = p**n
        for j in range(len(y)):
            v = y[j] - middle
            b, db = (front, dfront) if v < 0 else (back, dback)
            q = abs(v) / b
            q_n = q**n
            steeper = q * db + (dmiddle if v > 0 else -dmiddle)
            for i in range(len(x)):
                total = p_n[i] + q_n
                if total < 1e-6:
                    found[k, j, i] = -min(a, b)
                    continue
                near = total ** (1 / n)  # 1 on the surface
                u = p_n[i] / p[i] * near / total if p[i] > 0 else 0.0  # d near / d p, d near / d q
                w = q_n / q * near / total if q > 0 else 0.0
                along = u * p[i] * da / a + w * steeper / b
                found[k, j, i] = (near - 1) / np.sqrt((u / a) ** 2 + (w / b) ** 2 + along**2)
    return found
