"""Slices: the layers that slice-wise shims are made for, in the order of the program's SLC label.

Slices(normal=(0, 0, 1), positions=[-0.01, 0, 0.01], thickness=5e-3)
slices_of(program)                                                     # those a 2D program excites
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.program import Program


@dataclass(frozen=True, eq=False)
class Slices:
    normal: NDArray[np.float64]  # (3,), unit length, patient
    positions: NDArray[np.float64]  # m, (slice,), of their middles along the normal, from the isocentre
    thickness: float  # m

    def __post_init__(self) -> None:
        normal = np.asarray(self.normal, float)
        if normal.shape != (3,) or not np.isfinite(normal).all() or not np.linalg.norm(normal) > 0:
            raise InputError(f"slices: the normal is {self.normal}; it must be three finite numbers, not all zero")
        at = np.atleast_1d(np.asarray(self.positions, float))
        if not len(at) or not np.isfinite(at).all() or not (np.isfinite(self.thickness) and self.thickness > 0):
            raise InputError(
                f"slices: positions {at} and thickness {self.thickness} must be finite, the latter positive"
            )
        object.__setattr__(self, "normal", normal / np.linalg.norm(normal))
        object.__setattr__(self, "positions", at)


def slices_of(program: Program) -> Slices:
    """From the header that our own sequences write into their programs."""
    try:
        header = json.loads(program.definitions.get("LauterburHeader", ""))
        normal = np.array(header["directions"], float)[2]
        positions = np.array(header["slice_positions"], float) @ normal
        return Slices(normal, positions, float(header["slice_thickness"]))
    except (KeyError, TypeError, ValueError, IndexError):
        raise InputError(
            "this program does not say which slices it excites (it is 3D, or of other origin); give Slices(normal, positions, "
            "thickness) in the order of its SLC label"
        ) from None


def members(slices: Slices, position: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Per slice the voxels whose middles lie in it; where there are none and it meets what the voxels span, those nearest to it."""
    along = position @ slices.normal
    low, high = along.min(initial=np.inf), along.max(initial=-np.inf)
    found = []
    for middle in slices.positions:
        away = np.abs(along - middle)
        inside = np.flatnonzero(away <= slices.thickness / 2)
        if not len(inside) and low - slices.thickness <= middle <= high + slices.thickness:
            inside = np.flatnonzero(away <= np.min(away) + slices.thickness / 2)
        found.append(inside)
    if not any(len(m) for m in found):
        raise InputError(
            f"none of the {len(found)} slices meets the target: it reaches from {low:.4g} to {high:.4g} m along "
            f"their normal, they lie from {slices.positions.min():.4g} to {slices.positions.max():.4g} m"
        )
    return found


def nearest_filled(found: list[NDArray[np.intp]]) -> list[int]:
    """For each slice itself, or, where it is empty, the nearest that is not: it will play that one's shim."""
    filled = np.flatnonzero([len(m) > 0 for m in found])
    return [int(filled[np.argmin(np.abs(filled - i))]) for i in range(len(found))]


def nearest_slice(slices: Slices | None, position: NDArray[np.float64]) -> NDArray[np.intp]:
    """(voxel,): 0 everywhere where there is but one shim."""
    if slices is None:
        return np.zeros(len(position), np.intp)
    return np.asarray(np.argmin(np.abs((position @ slices.normal)[:, None] - slices.positions), axis=1))
