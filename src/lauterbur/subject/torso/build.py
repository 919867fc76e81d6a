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

from lauterbur.errors import InputError, ResourceError
from lauterbur.subject.anatomy import PARTS, Subject
from lauterbur.subject.tissues import read_tissues
from lauterbur.subject.torso.abdomen import abdomen_
from lauterbur.subject.torso.canvas import Canvas, canvas, finish_, paint_, paint_distance_
from lauterbur.subject.torso.frame import Frame, frame
from lauterbur.subject.torso.heart import heart_
from lauterbur.subject.torso.outline import SKIN, body_distance, cavity, stack_distance
from lauterbur.subject.torso.shapes import Axes, Shape, cut
from lauterbur.subject.torso.sizing import extent, lean_distance, shaped
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
LANDMARKS = {
    "trunk": 0.0,
    "heart": 70.0,
    "liver": -40.0,
    "pelvis": -300.0,
}  # mm: the height that comes to the isocentre
MOST_VOXELS = 200_000_000


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


def _painted(target: Canvas, body: Frame) -> NDArray[np.uint8]:
    """All tissues, each over those before it; returns the part of the body of every voxel."""
    outer, limbs = body_distance(body, target.axes)
    paint_distance_(target, "skin", outer)
    paint_distance_(target, "fat", outer + np.float32(SKIN))
    paint_distance_(target, "muscle", np.maximum(lean_distance(body, target.axes, limbs), outer + np.float32(SKIN)))
    part = _parts(outer, limbs)
    target = replace(target, within=outer + np.float32(SKIN))  # in a thin body no bone looks out of the skin

    room, floor = cavity(body), diaphragm(body)
    belly = Shape(
        lambda axes: stack_distance(room, axes), np.array([-220.0, -200.0, -425.0]), np.array([220.0, 150.0, 90.0])
    )
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


def _parts(outer: NDArray[np.float32], limbs: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """Trunk, neck too; a limb where the arm's own surface is (nearly) the body's."""
    part = np.full(outer.shape, PARTS.index("trunk"), np.uint8)
    if limbs is not None:
        part[(limbs < 0) | (limbs - outer < 1)] = PARTS.index("limb")
    return part


def _grid(body: Frame, spacing: float, landmark: float) -> tuple[Axes, NDArray[np.float64], float]:
    """Voxel centres in reference mm, the affine to patient metres, and the size of a voxel in reference mm."""
    low, high = extent(body)
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
