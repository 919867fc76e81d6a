"""The fields that conductors make where there is no body: thin straight segments with given currents, retarded.

A = mu0 / 4 pi sum I u integral exp(i k R) / R dl,   phi likewise from the charge that collects where the current changes,
E = i omega A - grad phi,   B = curl A;   all with exp(-i omega t), for peak currents in A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.fields.medium import Medium


@dataclass(frozen=True, eq=False)
class Conductor:
    segments: NDArray[np.float64]  # m, (n, 2, 3), patient: from -> to; ends that coincide are joined
    currents: NDArray[np.complex128]  # A, (n,), peak, along from -> to; where they change at a joint, charge collects
    radius: float = 1e-3  # m


@dataclass(frozen=True, eq=False)
class Incident:
    """What excites the body, per channel, on the medium's grid; zero where it was not asked for."""

    e: NDArray[np.complex64]  # V/m, (channel, 3, z, y, x): component x, y, z on the voxel's upper face of that axis
    b: NDArray[np.complex64]  # T, (channel, 3, z, y, x): at voxel centres


def incident_fields(medium: Medium, conductors: Sequence[Conductor]) -> Incident:
    """One channel per conductor: e where the solver needs it, b in the body and two voxels around."""
    raise NotImplementedError
