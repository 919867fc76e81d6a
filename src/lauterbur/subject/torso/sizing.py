"""How a trunk gets its weight and its room to breathe: girth and swell, found on a coarse grid before it is painted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from lauterbur.subject.torso.frame import Frame, frame
from lauterbur.subject.torso.outline import (
    ARM_FAT,
    BOTTOM,
    TOP,
    arms,
    body_distance,
    breasts,
    muscles,
    stack_distance,
    surface,
)  # fmt: skip
from lauterbur.subject.torso.shapes import Axes
from lauterbur.subject.torso.thorax import lungs
from lauterbur.units import mm

MARGIN = 6.0  # mm of air at the sides
COARSE = 8.0  # mm of the grid
# of the body's mass, from the larynx to the seat bones: trunk 0.497, arms 2 x 0.050 less half a hand (Dempster, in Winter,
# Biomechanics and Motor Control of Human Movement), with what those cuts leave of neck and thighs (our estimate, 0.05)
TRUNK_SHARE, ARM_SHARE = 0.545, 0.094
LEAN_DENSITY, FAT_DENSITY, LUNG_DENSITY = 1070.0, 950.0, 382.0  # kg/m3, for finding the girth; bone is in the first
THINNEST, THICKEST = -14.0, 140.0  # mm of girth


def shaped(body: Frame) -> Frame:
    """With the girth that gives its weight, and the swell of the belly that makes room for what the diaphragm displaces."""
    still = replace(body, breathing=0.0, swell=0.0)
    wanted = body.weight * (TRUNK_SHARE + (ARM_SHARE if body.arms else 0))

    def excess(girth: float) -> float:
        return estimated_mass(replace(still, girth=girth)) - wanted

    girth = THINNEST if excess(THINNEST) >= 0 else brentq(excess, THINNEST, THICKEST, xtol=0.05)
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
    lean = lean_distance(body, axes, limbs)
    whole, lean_volume, air = (_volume(d, cell) for d in (outer, np.maximum(lean, outer), lungs(body).distance(axes)))
    return lean_volume * LEAN_DENSITY + (whole - lean_volume) * FAT_DENSITY - air * (LEAN_DENSITY - LUNG_DENSITY)


def tissue_volume(body: Frame) -> float:
    """m3 of the body that are not lung."""
    axes, cell = _coarse(body)
    return _volume(body_distance(body, axes)[0], cell) - _volume(lungs(body).distance(axes), cell)


def lean_distance(body: Frame, axes: Axes, limbs: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """mm outside the muscles' outer surface."""
    lean = stack_distance(muscles(body), axes)
    if limbs is None:
        return lean
    return np.minimum(
        lean, limbs + np.float32(ARM_FAT * (1.3 if body.is_female else 1.0) + max(-3.0, 0.15 * body.girth))
    )


def _volume(distance: NDArray[np.float32], cell: float) -> float:
    return float(np.clip(0.5 - distance / np.float32(COARSE), 0, 1).sum(dtype=np.float64)) * cell


def _coarse(body: Frame) -> tuple[Axes, float]:
    """A grid of COARSE reference mm, and the volume of its cell, m3 of the patient."""
    low, high = extent(body)
    axes = tuple(np.arange(a + COARSE / 2, b, COARSE, dtype=np.float32) for a, b in zip(low, high, strict=True))
    return axes, float(np.prod(body.scale)) * (COARSE * mm) ** 3  # type: ignore[return-value]


def extent(body: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def half_width(**given: object) -> float:
    """m: of the bore that torso() of this sex, height and weight would need, from its own middle to the farthest skin."""
    given.pop("landmark", None)
    body = shaped(frame(**given))  # type: ignore[arg-type]
    axes, _ = _coarse(body)
    inside = (body_distance(body, axes)[0] < 0).any(axis=0)  # seen from the head
    y, x = np.nonzero(inside)
    place = np.stack([axes[0][x] * body.scale[0], axes[1][y] * body.scale[1]], axis=1)
    middle = (place.min(axis=0) + place.max(axis=0)) / 2
    return float(np.hypot(*(place - middle).T).max() + COARSE / 2) * mm
