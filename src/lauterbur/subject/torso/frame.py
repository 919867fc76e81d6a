"""Whose trunk it is, and in which phase of breath and heartbeat: what every organ's shape is a function of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError

REFERENCE_HEIGHT, REFERENCE_WEIGHT = 1.76, 73.0  # m, kg: ICRP Publication 89, reference man
REFERENCE_BMI = REFERENCE_WEIGHT / REFERENCE_HEIGHT**2
HEIGHTS = (1.2, 2.2)  # m: outside, proportions of an adult do not hold
WEIGHTS = (30.0, 250.0)  # kg
BODY_MASS_INDICES = (15.0, 45.0)  # kg/m2
EXCURSION = 15.0  # mm of the diaphragm in quiet breathing: 10 to 20 mm (unconfirmed)
SYSTOLE = 0.35  # of the cycle, from end diastole to end systole at 60 to 70 beats a minute (unconfirmed)

# How far organs follow the diaphragm (unconfirmed: liver and spleen with it, kidneys 0.7, heart about half)
FOLLOWS = {"liver": 1.0, "spleen": 1.0, "stomach": 0.9, "kidneys": 0.7, "pancreas": 0.6, "heart": 0.5, "bowel": 0.3}


@dataclass(frozen=True)
class Frame:
    sex: str  # "male" or "female"
    height: float  # m
    weight: float  # kg
    breathing: float  # 0 end of expiration ... 1 end of a quiet inspiration
    heartbeat: float  # phase of the cycle: 0 end diastole, SYSTOLE end systole, 1 = 0
    arms: bool
    scale: tuple[float, float, float]  # patient mm per reference mm, along x, y, z
    girth: float = 0.0  # mm more than the reference man at the flanks, of fat mostly
    swell: float = 0.0  # mm the belly rises by breathing in

    @property
    def descent(self) -> float:
        """mm: how far the diaphragm has come down."""
        return EXCURSION * self.breathing

    @property
    def contraction(self) -> float:
        """0 end diastole ... 1 end systole."""
        phase = self.heartbeat % 1.0
        if phase < SYSTOLE:
            return 0.5 * (1 - math.cos(math.pi * phase / SYSTOLE))
        return 0.5 * (1 + math.cos(math.pi * (phase - SYSTOLE) / (1 - SYSTOLE)))

    @property
    def is_female(self) -> bool:
        return self.sex == "female"


def drop(frame: Frame, organ: str) -> NDArray[np.float64]:
    """mm, (3,): where breathing has moved an organ from its place at end expiration."""
    return np.array([0.0, 0.0, -frame.descent * FOLLOWS[organ]])


def frame(
    *, sex: str, height: float, weight: float, breathing: float = 0.0, heartbeat: float = 0.0, arms: bool = True
) -> Frame:
    if sex not in ("male", "female"):
        raise InputError(f"torso: sex is {sex!r:.40}; 'male' or 'female', after which its proportions are chosen")
    _within("height", height, *HEIGHTS, "m")
    _within("weight", weight, *WEIGHTS, "kg")
    index = weight / height**2
    low, high = (limit * height**2 for limit in BODY_MASS_INDICES)
    if not BODY_MASS_INDICES[0] <= index <= BODY_MASS_INDICES[1]:
        raise InputError(
            f"torso: {weight:g} kg at {height:g} m is a body mass index of {index:.1f} kg/m2; from {BODY_MASS_INDICES[0]:g} to "
            f"{BODY_MASS_INDICES[1]:g}, that is {low:.0f} to {high:.0f} kg at this height, can be shaped"
        )
    _within("breathing", breathing, 0.0, 1.0, "(0 end of expiration, 1 end of inspiration)")
    _within("heartbeat", heartbeat, 0.0, 1.0, "(phase of the cycle, 0 end diastole)")
    tall, stout = height / REFERENCE_HEIGHT, index / REFERENCE_BMI
    wide = tall**0.8 * stout**0.2  # so that organs are lighter in a lighter body, less than in proportion
    return Frame(
        sex, float(height), float(weight), float(breathing), float(heartbeat), bool(arms),
        (wide, wide, tall),
    )  # fmt: skip


def _within(name: str, value: float, least: float, most: float, unit: str) -> None:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and least <= value <= most):
        raise InputError(f"torso: {name} is {value!r:.40}; it must be a number from {least:g} to {most:g} {unit}")
