"""Course: how components change from readout to readout, and from sample to sample within one.

While k runs straight and steadily, off-resonance is a shift of the spins along it (Drift), which costs no components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.transform import PHASE_TOLERANCE

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drift:
    """Off-resonance f during a straight readout: the spin is heard as if at r + f shift, off resonance for `time` alone."""

    shift: Float  # m/Hz, (3,)
    time: Float  # s since the pulse, (sample,): what is left for the time course

    @staticmethod
    def none(time: Float) -> Drift:
        return Drift(np.zeros(3), time)

    @staticmethod
    def of(k: Float, time: Float, offset: float) -> Drift:
        """k (row, sample, 3) 1/m since the pulse, time (sample,) s, offset: Hz, the largest."""
        if len(time) < 8:
            return Drift.none(time)
        shift = np.linalg.lstsq(k[0] - k[0].mean(axis=0), time - time.mean(), rcond=1e-6)[0]
        if not shift.any():
            return Drift.none(time)
        along = k @ shift
        if np.abs(along - along[:1]).max() * offset > PHASE_TOLERANCE:
            return Drift.none(time)
        left = time - along.mean(axis=0)
        return Drift(shift, left) if np.ptp(left) < 0.3 * np.ptp(time) else Drift.none(time)


@dataclass(frozen=True, eq=False)
class Course:
    """How loud each component is in each readout and sample: W[r, t, m] = sum_j readouts[m, r, j] time[m, j, t]."""

    readouts: NDArray[np.complex64]  # (component, row, term)
    time: NDArray[np.complex64]  # (component, term, sample)
    terms: NDArray[np.int64]  # (component,) how many terms each has

    def subset(self, which: NDArray) -> Course:
        return Course(self.readouts[which], self.time[which], self.terms[which])

    def of(self, rows: NDArray | slice) -> NDArray[np.complex64]:
        """(row, component, sample)"""
        return np.einsum("mrj,mjt->rmt", self.readouts[:, rows], self.time, optimize=True)
