"""The trunk from neck to pelvis, with arms, of anybody: from sex, height and weight to tissues on a grid.

torso()                                                 # a man of 1.75 m and 75 kg, 2.5 mm
torso(sex="female", height=1.60, weight=90, spacing=5 * mm)
torso(breathing=1.0, heartbeat=0.35)                    # breathed in, at end systole
torso(landmark="heart", arms=False)                     # the heart at the isocentre; arms lie above the head
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from lauterbur.errors import InputError, ResourceError
from lauterbur.subject.anatomy import PARTS, Subject
from lauterbur.subject.tissues import read_tissues
from lauterbur.subject.torso.abdomen import abdomen_
from lauterbur.subject.torso.canvas import Canvas, canvas, everywhere, finish_, paint_, paint_distance_, window
from lauterbur.subject.torso.frame import Frame, frame
from lauterbur.subject.torso.heart import heart_
from lauterbur.subject.torso.outline import (
    ARM_FAT, BOTTOM, SKIN, TOP, arms, body_distance, breasts, cavity, muscles, stack_distance, surface,
)  # fmt: skip
from lauterbur.subject.torso.shapes import Axes, Shape, cut
from lauterbur.subject.torso.skeleton import skeleton_
from lauterbur.subject.torso.thorax import DIAPHRAGM, airways_, diaphragm, lungs, mediastinum_
from lauterbur.subject.torso.vessels import vessels_
from lauterbur.units import mm

# The labels of a torso, in order
TISSUES = (
    "air", "skin", "fat", "muscle", "cortical bone", "cancellous bone", "marrow", "cartilage", "cerebrospinal fluid",
    "spinal cord", "lung", "myocardium", "arterial blood", "venous blood", "vessel wall", "liver", "bile", "spleen", "pancreas",
    "kidney cortex", "kidney medulla", "stomach", "stomach contents", "small intestine", "colon", "bowel contents", "bladder",
    "urine",
)  # fmt: skip
LANDMARKS = {"trunk": 0.0, "heart": 70.0, "liver": -40.0, "pelvis": -300.0}  # mm: the height that comes to the isocentre
MOST_VOXELS = 200_000_000
MARGIN = 6.0  # mm of air at the sides
COARSE = 8.0  # mm, of the grid on which girth and swell are found
# of the body's mass, from the larynx to the seat bones: trunk 0.497, arms 2 x 0.050 less half a hand (Dempster, in Winter,
# Biomechanics and Motor Control of Human Movement), with what those cuts leave of neck and thighs (our estimate, 0.05)
TRUNK_SHARE, ARM_SHARE = 0.545, 0.094
LEAN_DENSITY, FAT_DENSITY, LUNG_DENSITY = 1070.0, 950.0, 382.0  # kg/m3, for finding the girth; bone is in the first


def torso(
    *,
    sex: str = "male",
    height: float = 1.75,
    weight: float = 75.0,
    breathing: float = 0.0,
    heartbeat: float = 0.0,
    arms: bool = True,
    landmark: str = "trunk",
    spacing: float = 2.5 * mm,
    seed: int = 0,
) -> Subject:
    """height m, weight kg; breathing 0 (end of expiration) to 1 (of a quiet inspiration); heartbeat the phase of the cycle.

    The isocentre lies in the midline at the landmark: "trunk" is the xiphoid, between heart and liver.
    """
    body = shaped(frame(sex=sex, height=height, weight=weight, breathing=breathing, heartbeat=heartbeat, arms=arms))
    if landmark not in LANDMARKS:
        raise InputError(f"torso: landmark {landmark!r:.40} is not known; choose one of {', '.join(LANDMARKS)}")
    if not (isinstance(spacing, int | float | np.floating) and 0.5 * mm <= spacing <= 20 * mm):
        raise InputError(f"torso: a voxel of {spacing!r:.40} m; it must be 0.5 to 20 mm")
    axes, affine, step = _grid(body, float(spacing), LANDMARKS[landmark])
    target = canvas(axes, step, TISSUES)
    part = _painted(target, body)
    table = read_tissues()
    return Subject(
        "torso", target.labels, target.fraction, affine, tuple(table[name] for name in TISSUES),
        continues=("-z", "+z"), seed=seed, part=part, body_mass=float(weight),
        source=f"parametric: {sex}, {height:g} m, {weight:g} kg, breathing {breathing:g}, heartbeat {heartbeat:g}",
    )  # fmt: skip


def shaped(body: Frame) -> Frame:
    """With the girth that gives its weight, and the swell of the belly that makes room for what the diaphragm displaces."""
    still = replace(body, breathing=0.0, swell=0.0)
    wanted = body.weight * (TRUNK_SHARE + (ARM_SHARE if body.arms else 0))
    lightest, heaviest = -14.0, 140.0

    def excess(girth: float) -> float:
        return estimated_mass(replace(still, girth=girth)) - wanted

    girth = lightest if excess(lightest) >= 0 else brentq(excess, lightest, heaviest, xtol=0.05)
    body, still = replace(body, girth=girth), replace(still, girth=girth)
    if body.breathing == 0:
        return body
    tissue = tissue_volume(still)
    most = 60.0

    def missing(swell: float) -> float:
        return tissue_volume(replace(body, swell=swell)) - tissue

    return replace(body, swell=0.0 if missing(0) >= 0 else brentq(missing, 0, most, xtol=0.05))


def estimated_mass(body: Frame) -> float:
    """kg, from the volumes of its layers on a coarse grid."""
    axes, cell = _coarse(body)
    outer, limbs = body_distance(body, axes)
    lean = _lean(body, axes, limbs)
    whole, lean_volume, air = (_volume(d, cell) for d in (outer, np.maximum(lean, outer), _lung_distance(body, axes)))
    return lean_volume * LEAN_DENSITY + (whole - lean_volume) * FAT_DENSITY - air * (LEAN_DENSITY - LUNG_DENSITY)


def tissue_volume(body: Frame) -> float:
    """m3 of the body that are not lung."""
    axes, cell = _coarse(body)
    return _volume(body_distance(body, axes)[0], cell) - _volume(_lung_distance(body, axes), cell)


def _painted(target: Canvas, body: Frame) -> NDArray[np.uint8]:
    """All tissues, each over those before it; returns the part of the body of every voxel."""
    outer, limbs = body_distance(body, target.axes)
    paint_distance_(target, "skin", outer)
    paint_distance_(target, "fat", outer + np.float32(SKIN))
    paint_distance_(target, "muscle", np.maximum(_lean(body, target.axes, limbs), outer + np.float32(SKIN)))
    part = _parts(outer, limbs)
    del outer, limbs

    room, floor = cavity(body), diaphragm(body)
    belly = Shape(lambda axes: stack_distance(room, axes), np.array([-220.0, -200.0, -425.0]), np.array([220.0, 150.0, 90.0]))
    paint_(target, "fat", cut(belly, lambda axes: floor(axes) + DIAPHRAGM))
    mediastinum_(target, body)
    paint_(target, "lung", lungs(body))
    airways_(target, body)
    abdomen_(target, body)
    skeleton_(target, body)
    heart_(target, body)
    vessels_(target, body)
    finish_(target)
    part[target.fraction.sum(axis=0) <= 0] = 0
    return part


def _lean(body: Frame, axes: Axes, limbs: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """mm outside the muscles' outer surface."""
    lean = stack_distance(muscles(body), axes)
    if limbs is None:
        return lean
    return np.minimum(lean, limbs + np.float32(ARM_FAT * (1.3 if body.is_female else 1.0) + max(-3.0, 0.15 * body.girth)))


def _parts(outer: NDArray[np.float32], limbs: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """Trunk, neck too; a limb where the arm's own surface is (nearly) the body's."""
    part = np.full(outer.shape, PARTS.index("trunk"), np.uint8)
    if limbs is not None:
        part[limbs < 0] = PARTS.index("limb")
    return part


def _lung_distance(body: Frame, axes: Axes) -> NDArray[np.float32]:
    return lungs(body).distance(axes)


def _volume(distance: NDArray[np.float32], cell: float) -> float:
    return float(np.clip(0.5 - distance / np.float32(COARSE), 0, 1).sum(dtype=np.float64)) * cell


def _coarse(body: Frame) -> tuple[Axes, float]:
    """A grid of COARSE reference mm, and the volume of its cell, m3 of the patient."""
    low, high = _extent(body)
    axes = tuple(np.arange(a + COARSE / 2, b, COARSE, dtype=np.float32) for a, b in zip(low, high, strict=True))
    return axes, float(np.prod(body.scale)) * (COARSE * mm) ** 3  # type: ignore[return-value]


def _extent(body: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mm: the corners of a box around the body."""
    stack = surface(body)
    side = stack.section[:, 0].max()
    low = np.array([-side, (stack.section[:, 3] - stack.section[:, 1]).min(), BOTTOM])
    high = np.array([side, (stack.section[:, 3] + stack.section[:, 2]).max(), TOP])
    chest = breasts(body)
    if chest is not None:
        low[1] = min(low[1], chest.low[1])
    if body.arms:
        shape = arms(body)[0]
        low[:2], high[:2] = np.minimum(low, shape.low)[:2], np.maximum(high, shape.high)[:2]
    return low - [MARGIN, MARGIN, 0], high + [MARGIN, MARGIN, 0]


def _grid(body: Frame, spacing: float, landmark: float) -> tuple[Axes, NDArray[np.float64], float]:
    """Voxel centres in reference mm, the affine to patient metres, and the size of a voxel in reference mm."""
    low, high = _extent(body)
    scale = np.array(body.scale) * mm
    count = np.ceil((high - low) * scale / spacing).astype(int)
    if np.prod(count, dtype=float) > MOST_VOXELS:
        raise ResourceError(
            f"torso: {tuple(int(n) for n in count)} voxels of {spacing / mm:g} mm; at most {MOST_VOXELS:.0e}: choose a coarser spacing"
        )
    first = (low + high) / 2 * scale - (count - 1) / 2 * spacing
    axes = tuple((first[i] + spacing * np.arange(count[i])).astype(np.float64) / scale[i] for i in range(3))
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = first - np.array([0, 0, landmark]) * scale
    return tuple(axis.astype(np.float32) for axis in axes), affine, spacing / float(np.prod(scale) ** (1 / 3))  # type: ignore[return-value]
