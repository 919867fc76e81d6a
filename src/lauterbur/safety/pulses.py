"""The RF pulses as they will be played, one after the other, and how much of them falls into any window of time.

A pulse that touches a window counts whole: conservative, by at most one pulse. With a `period` the program is taken to be
repeated without pause, as an operator might.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.program import Column, Program, RfPulse, block_starts

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pulses:
    """All (pulse,), in order of time."""

    start: Float  # s, from the start of the program
    end: Float  # s
    energy: Float  # Hz2 s: integral of |gamma-bar B1|^2, nominal
    peak: Float  # Hz, nominal
    shim: NDArray[np.int64]  # index into Program.shims; -1: all channels alike
    event: NDArray[np.int64]  # index into Program.rf
    block: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def scaled(self, factor: Float | float) -> Pulses:
        """The same with their energies times a factor."""
        return replace(self, energy=self.energy * factor)

    def only(self, which: NDArray[np.bool_]) -> Pulses:
        """Some of them."""
        return Pulses(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def pulses(program: Program) -> Pulses:
    block = np.flatnonzero(program.blocks[:, Column.RF] >= 0)
    event = program.blocks[block, Column.RF].astype(np.int64)
    start = block_starts(program)[block] + np.array([p.delay for p in program.rf])[event]
    return Pulses(
        start=start,
        end=start + np.array([p.duration for p in program.rf])[event],
        energy=np.array([_energy(p) for p in program.rf])[event],
        peak=np.array([_peak(p) for p in program.rf])[event],
        shim=program.blocks[block, Column.SHIM].astype(np.int64),
        event=event,
        block=block,
    )


def _peak(pulse: RfPulse) -> float:
    return float(np.max(np.abs(pulse.waveform), initial=0.0))  # Hz


def _energy(pulse: RfPulse) -> float:
    """Integral of |b1|^2, Hz2 s."""
    w = pulse.waveform
    if pulse.is_stepped:
        return float(np.sum(np.abs(w) ** 2) * pulse.duration / len(w))
    a, b = w[:-1], w[1:]
    return float(np.sum(np.diff(pulse.time) * (np.abs(a) ** 2 + (a * np.conj(b)).real + np.abs(b) ** 2)) / 3)


def most(played: Pulses, amount: Float, window: float, period: float | None = None) -> tuple[float, float]:
    """The largest sum of an amount (pulse,) over the pulses that touch any `window` seconds, and where those begin, s.

    With a `period`, s, the program is played again and again.
    """
    start, end = played.start, played.end
    if not len(start):
        return 0.0, 0.0
    whole = 0.0
    if period is not None:
        if not period > 0:
            return float("nan"), 0.0
        whole = float(np.floor(window / period) * np.sum(amount))
        window = window % period
        start, end = np.concatenate((start, start + period)), np.concatenate((end, end + period))
        amount = np.concatenate((amount, amount))
    total = np.concatenate(([0.0], np.cumsum(amount)))
    if not np.isfinite(total[-1]) or not np.isfinite(whole):
        return float("nan"), 0.0
    first = np.arange(len(start))  # the window begins where this pulse ends
    after = np.searchsorted(start, end + window, side="right")
    touched = total[np.maximum(after, first + 1)] - total[first]
    i = int(np.argmax(touched))
    return whole + float(touched[i]), float(start[i])
