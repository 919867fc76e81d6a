"""The SAFE model of nerve stimulation: what past slews leave behind, on every axis and on all together.

    s = (a1 |L1(dG/dt)| + a2 L2(|dG/dt|) + a3 |L3(dG/dt)|) / limit      L: first-order low pass with time constant tau

Hebrank and Gebhardt, "SAFE-Model: a new method for predicting peripheral nerve stimulations in MRI", Proc. ISMRM 2000,
2007. Axes add as sqrt(sum (w s)^2) (IEC 60601-2-33, quoted in Pulseq's PNS tools; unconfirmed). The coefficients are the
coil's and stand in the profile. Slews are constant between corners of the waveform, so the low passes are exact there;
between two corners each term is taken at its larger end, which can only overstate their sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.program import Program
from lauterbur.safety.waveforms import AXES, SAME_TIME, Segments
from lauterbur.safety.worst import Worst, place
from lauterbur.scanner.machine import Scanner

_Events = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
# (event,) time s, axis, slew from then on T/m/s, jump of the gradient T/m, block


@dataclass
class Safe:
    """Looks at one chunk of segments after the other; worst holds the shares of x, y, z and of all together."""

    program: Program
    scanner: Scanner
    worst: list[Worst] = field(default_factory=lambda: [Worst() for _ in (*AXES, "all")])
    _tail: list[tuple[float, float, int] | None] = field(default_factory=lambda: [None] * 3)  # end, last, block
    _waiting: list[_Events] = field(default_factory=list)  # later than the end of some tail

    def __post_init__(self) -> None:
        axes = self.scanner.gradients.safe
        self.is_known = len(axes) == 3
        if self.is_known:
            self._a = np.array([axis.a for axis in axes])
            self._tau = np.array([axis.tau for axis in axes])
            self._limit = np.array([axis.limit for axis in axes])
            self._weight = np.array([axis.weight for axis in axes])
        self._state = np.zeros((3, 3))  # T/m/s, (axis, low pass)
        self._slew = np.zeros(3)
        self._now = np.zeros(1)

    def look(self, chunk: tuple[Segments, Segments, Segments]) -> None:
        if not self.is_known:
            return
        for axis, piece in enumerate(chunk):
            self._waiting.append(_events(axis, self._tail[axis], piece))
            self._tail[axis] = _last(piece)
        self._play(min((tail[0] for tail in self._tail if tail is not None), default=np.inf) - SAME_TIME)

    def finish(self) -> None:
        if self.is_known:
            none = np.zeros(0)
            nothing = Segments(none, none, none, none, np.zeros(0, np.int64))
            self.look((nothing, nothing, nothing))
            self._play(np.inf)

    def _play(self, until: float) -> None:
        time, axis, slew, jump, block = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        order = np.argsort(time, kind="stable")
        late = order[~(time[order] <= until)] if until < np.inf else order[:0]
        order = order[: len(order) - len(late)]
        self._waiting = [(time[late], axis[late], slew[late], jump[late], block[late])]
        value, at = np.array([worst.value for worst in self.worst]), np.full(4, -1)
        events = (time[order], axis[order], slew[order], jump[order], block[order])
        _walk(*events, self._state, self._slew, self._now, self._a, self._tau, self._limit, self._weight, value, at)
        for worst, share, i in zip(self.worst, value, at, strict=True):
            if i >= 0:
                worst.see(float(share), place(self.program, int(i)))


def _last(piece: Segments) -> tuple[float, float, int] | None:
    return (float(piece.end[-1]), float(piece.last[-1]), int(piece.block[-1])) if len(piece.end) else None


def _events(axis: int, tail: tuple[float, float, int] | None, piece: Segments) -> _Events:
    """Where the slew of an axis changes: at the start of every piece, and at the end of those that nothing touches."""
    before_end, before, before_block = tail if tail is not None else (-np.inf, 0.0, 0)
    end = np.concatenate(([before_end], piece.end[:-1]))
    last = np.concatenate(([before], piece.last[:-1]))
    block = np.concatenate(([before_block], piece.block[:-1]))
    if not len(piece.end):
        end, last, block = np.array([before_end]), np.array([before]), np.array([before_block])
        touch = np.zeros(1, bool)
    else:
        end, last, block = end[: len(piece.end)], last[: len(piece.end)], block[: len(piece.end)]
        touch = np.abs(piece.start - end) <= SAME_TIME
    ends = ~touch & (end > -np.inf)
    time = np.concatenate((end[ends], piece.start))
    slew = np.concatenate((np.zeros(ends.sum()), (piece.last - piece.first) / (piece.end - piece.start)))
    jump = np.concatenate((-last[ends], piece.first - np.where(touch, last, 0.0) if len(piece.end) else np.zeros(0)))
    return time, np.full(len(time), axis), slew, jump, np.concatenate((block[ends], piece.block))


@njit(cache=True)
def _walk(time, axis, slew, jump, block, state, now_slew, now, a, tau, limit, weight, value, at):  # type: ignore[no-untyped-def]
    """From event to event; changes state, now_slew, now, and value and at where something larger is met."""
    for event in range(len(time)):
        passed = time[event] - now[0]
        total = 0.0
        for i in range(3):
            stimulus = 0.0
            for k in range(3):
                drive = abs(now_slew[i]) if k == 1 else now_slew[i]
                before = state[i, k]
                after = drive + (before - drive) * np.exp(-passed / tau[i, k]) if passed > 0 else before
                state[i, k] = after
                stimulus += a[i, k] * (abs(before) if abs(before) > abs(after) else abs(after))
            share = stimulus / limit[i]
            total += (weight[i] * share) ** 2
            if not share <= value[i] and value[i] == value[i]:
                value[i], at[i] = share, block[event]
        total = np.sqrt(total)
        if not total <= value[3] and value[3] == value[3]:
            value[3], at[3] = total, block[event]
        now[0] = max(now[0], time[event])
        i = axis[event]
        now_slew[i] = slew[event]
        for k in range(3):
            state[i, k] += (abs(jump[event]) if k == 1 else jump[event]) / tau[i, k]
