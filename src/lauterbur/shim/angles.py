"""What a composite pulse does to spins: the flip angle and the phase of M_xy, from its weights, steps and waits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.shim.pulse import CompositePulse
from lauterbur.shim.spinor import flip_angles

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]
TURN = 2 * np.pi
INSTANT = 10e-6  # s: a spoke turns at its centre; only the time between centres lets off-resonance act


def composite_angles(
    relative: Complex, position: Float, off_resonance: Float, pulse: CompositePulse, i: int, nominal: float
) -> tuple[Float, Complex]:
    """rad and M_xy (voxel,) of slice i, rephasing included, for relative B1+ (tx, voxel): 1 is nominal."""
    n = pulse.n_points
    is_hard = pulse.kind == "kt-points"
    length = pulse.duration if is_hard else INSTANT
    b = nominal / (TURN * n * length) * (pulse.weights[i] @ relative).T
    wait = pulse.gap + pulse.duration - length
    phase = TURN * (position @ pulse.steps[i].T + off_resonance[:, None] * wait)
    angle, transverse = flip_angles(
        np.ascontiguousarray(b), np.full(n, length), np.ascontiguousarray(off_resonance), np.ascontiguousarray(phase)
    )
    return angle, transverse * np.exp(-1j * TURN * (position @ pulse.rephasing[i]))
