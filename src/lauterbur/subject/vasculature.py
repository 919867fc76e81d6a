"""Vessels as they truly are: centrelines, lumens, walls, and what is wrong with them - what a detection is scored against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vessel:
    name: str
    centreline: Float  # m, patient, (n, 3), finely stepped
    diameter: Float  # m, (n,), of the lumen without plaques
    wall: float  # m, thickness


@dataclass(frozen=True)
class Plaque:
    """It narrows the lumen from one side, most in the middle of its length, and lies within the vessel's own wall."""

    vessel: str
    position: tuple[float, float, float]  # m, patient: on the centreline, where it is thickest
    towards: tuple[float, float, float]  # unit vector from the centreline to its thickest side
    stenosis: float  # share of the diameter that is lost in the middle
    length: float  # m, along the vessel
    thickness: float  # m, in the middle, on top of the wall


@dataclass(frozen=True)
class Flap:
    """A dissection: a membrane along the vessel that parts the lumen; both sides hold flowing blood."""

    vessel: str
    start: tuple[float, float, float]  # m, patient, on the centreline
    end: tuple[float, float, float]
    normal: tuple[float, float, float]  # unit vector across the membrane, half way
    offset: float  # m, from the centreline, along the normal
    thickness: float  # m


@dataclass(frozen=True, eq=False)
class Vasculature:
    vessels: tuple[Vessel, ...]
    plaques: tuple[Plaque, ...] = ()
    flaps: tuple[Flap, ...] = ()


def lumen_volume(vessel: Vessel) -> float:
    """m3, without its ends: the integral of pi r^2 along the centreline."""
    return float(np.pi / 4 * np.trapezoid(vessel.diameter**2, arc(vessel)))


def arc(vessel: Vessel) -> Float:
    """m, (n,): how far along the vessel each point of its centreline lies."""
    steps = np.linalg.norm(np.diff(vessel.centreline, axis=0), axis=1)
    return np.concatenate(([0.0], np.cumsum(steps)))


def moved(found: Vasculature, move: Float) -> Vasculature:
    """After an affine (4, 4) of patient coordinates, m; sizes grow with its mean scale, directions turn."""
    scale = float(abs(np.linalg.det(move[:3, :3]))) ** (1 / 3)

    def place(point: tuple[float, float, float]) -> tuple[float, float, float]:
        return _vector(move[:3, :3] @ np.array(point) + move[:3, 3])

    def turn(direction: tuple[float, float, float]) -> tuple[float, float, float]:
        turned = move[:3, :3] @ np.array(direction)
        return _vector(turned / np.linalg.norm(turned))

    return Vasculature(
        tuple(
            replace(
                v, centreline=v.centreline @ move[:3, :3].T + move[:3, 3], diameter=v.diameter * scale,
                wall=v.wall * scale,
            )
            for v in found.vessels
        ),
        tuple(
            replace(
                p, position=place(p.position), towards=turn(p.towards), length=p.length * scale,
                thickness=p.thickness * scale,
            )
            for p in found.plaques
        ),
        tuple(
            replace(
                f, start=place(f.start), end=place(f.end), normal=turn(f.normal), offset=f.offset * scale,
                thickness=f.thickness * scale,
            )
            for f in found.flaps
        ),
    )  # fmt: skip


def _vector(values: Float) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
