"""Maxwell in a body at one frequency: the volume integral equation on a staggered grid, by FFT.

solution = solve(medium, incident_fields(medium, conductors))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lauterbur.fields.incident import Incident
from lauterbur.fields.medium import Medium

TOLERANCE = 1e-4  # of the residual relative to the incident field, in the body
Progress = Callable[[float, str], None]  # fraction done, what is done


@dataclass(frozen=True, eq=False)
class Solution:
    """The fields of every channel with the body there, per unit of what `incident` was made for (1 A: per ampere)."""

    medium: Medium
    current: NDArray[np.complex64]  # A/m2, (channel, 3, z, y, x): polarisation current on the voxels' upper faces
    e: NDArray[np.complex64]  # V/m, (channel, 3, z, y, x), at voxel centres; 0 outside the body
    b: NDArray[np.complex64]  # T, (channel, 3, z, y, x), at voxel centres: b1_plus = (b[:, 0] + 1j * b[:, 1]) / 2
    absorbed: NDArray[np.complex128]  # W, (channel, channel): absorbed power of drive w is w^H absorbed w
    impedance: NDArray[np.complex128]  # Ohm, (channel, channel): what the body adds to Z of ports that carry 1 A
    residual: NDArray[np.float64]  # (channel,): what the equation is still wrong by, relative to the incident field
    iterations: int  # applications of the operator, all channels together


def solve(
    medium: Medium,
    incident: Incident,
    *,
    tolerance: float = TOLERANCE,
    start: Solution | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Solution:
    """The fields of all channels of `incident` in the medium.

    start     a solution with as many channels, perhaps on a coarser grid: where to begin
    cache     a folder: what was solved before (same medium, same incident field) is read, what was begun is gone on with
    """
    raise NotImplementedError
