"""Selection: which pulses act where along the axis that they select."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.played import PREPARING, PulseShape
from lauterbur.acquisition.twin.pulses import pulse_maps

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reach:
    """Where a selective excitation acts on spins on resonance, m along the axis; others are moved by the gradient."""

    low: float
    high: float
    gradient: float  # Hz/m along the axis

    @property
    def lean(self) -> float:
        """m/Hz: a spin off resonance is excited like one on resonance that lies this much further along the axis."""
        return 1 / self.gradient

    def holds(self, u: NDArray, offset: NDArray) -> NDArray[np.bool_]:
        there = u + offset * self.lean
        return np.asarray((there >= self.low) & (there <= self.high))

    def place(self, fraction: float, offset: NDArray) -> NDArray[np.float64]:
        """m, for each offset (Hz): this far through the reach."""
        return self.low + fraction * (self.high - self.low) - offset * self.lean


def selected_axis(shapes: tuple[PulseShape, ...]) -> NDArray[np.float64] | None:
    """(3,) the one axis all selective pulses share; zeros where none selects; None where there are several."""
    found = np.zeros(3)
    for shape in shapes:
        axis = shape.direction
        if axis is None:
            return None
        if not axis.any():
            continue
        if not found.any():
            found = axis if axis[np.argmax(np.abs(axis))] > 0 else -axis
        elif abs(abs(axis @ found) - 1) > 1e-9:
            return None
    return found


def feature_length(shapes: tuple[PulseShape, ...]) -> float:
    """m: the finest detail a slice profile can have, one over the k-space that the longest selection gradient spans."""
    span = max((np.abs(np.linalg.norm(s.gradient, axis=1) * s.length).sum() for s in shapes), default=0.0)
    return 1 / span if span > 0 else np.inf


def prepares(shape: PulseShape) -> bool:
    """Whether only longitudinal magnetisation matters: what such a pulse does to the rest is spoiled."""
    return shape.use in PREPARING


def activity(shape: PulseShape, axis: NDArray, u: NDArray, offset: float | NDArray, b1: float) -> NDArray[np.float64]:
    """(u,) how much the pulse turns magnetisation at each place along the axis."""
    n = len(u)
    long = np.full(n, 1e3)
    m = pulse_maps(shape, np.full(n, b1, complex), np.full(n, 0.0) + offset, u[:, None] * axis[None, :], long, long)
    if prepares(shape):
        return np.abs(1 - m[10])
    alpha = m[0] + 1j * m[1]
    return np.hypot(m[4], m[5]) + np.hypot(m[2], m[3]) + np.abs(1 - m[10]) + np.abs(1 - np.abs(alpha))


def mean_gradient(shape: PulseShape) -> NDArray[np.float64]:
    """Hz/m, (3,) under the pulse, where it plays."""
    weight = np.abs(shape.b1) * shape.length
    return np.asarray(weight @ shape.gradient / (weight.sum() or 1.0))


@dataclass(frozen=True, eq=False)
class Selection:
    """Which pulses of a timeline act where along the axis they select."""

    timeline: Timeline
    axis: Float  # (3,)
    span: tuple[float, float]  # m, the spins' extent along the axis
    offsets: tuple[float, float]  # Hz, their range
    b1: float  # relative, the strongest

    @staticmethod
    def of(timeline: Timeline, axis: Float, u: Float, offset: Float, b1: float) -> Selection:
        """u: m, of the spins along the axis; offset: Hz, theirs."""
        span, offsets = (u.min(), u.max()), (offset.min(), offset.max())
        return Selection(timeline, axis, (float(span[0]), float(span[1])), (float(offsets[0]), float(offsets[1])), b1)

    @cached_property
    def along(self) -> Float:
        """Hz/m, (shape,) gradient along the axis."""
        return np.array([mean_gradient(s) @ self.axis for s in self.timeline.shapes])

    @cached_property
    def step(self) -> float:
        return min(feature_length(self.timeline.shapes) / 3, (self.span[1] - self.span[0] + 1e-3) / 64)

    @cached_property
    def u(self) -> Float:
        """m: places where spins may seem to lie, their off-resonance taken for a place."""
        slack = max(np.abs(self.offsets)) / max(np.abs(self.along).min(where=self.along != 0, initial=np.inf), 1e-9)
        return np.arange(self.span[0] - slack - 2 * self.step, self.span[1] + slack + 2 * self.step, self.step)

    @cached_property
    def activity(self) -> list[Float]:
        """Per shape (u,), what it does on resonance. Pulses that differ in frequency alone are one, moved."""
        known: dict[bytes, tuple[Float, Float]] = {}
        found = []
        moves = [s.frequency / g if g else 0.0 for s, g in zip(self.timeline.shapes, self.along, strict=True)]
        most = max(np.abs(moves), default=0.0)
        for shape, move in zip(self.timeline.shapes, moves, strict=True):
            key = b"|".join(np.ascontiguousarray(x).tobytes() for x in (shape.b1, shape.length, shape.gradient))
            if not move:
                found.append(activity(shape, self.axis, self.u, 0.0, self.b1))
                continue
            if key not in known:
                wide = np.arange(self.u[0] - most, self.u[-1] + most + self.step, self.step)
                known[key] = wide, activity(replace(shape, frequency=0.0), self.axis, wide, 0.0, self.b1)
            found.append(np.interp(self.u - move, *known[key]))
        return found

    def excitations(self, readouts: NDArray[np.intp]) -> NDArray[np.int64]:
        """(readout,) the shape that excited what each hears, -1 if none."""
        shapes, played = self.timeline.shapes, self.timeline.shape
        excites = np.array([s.use in ("excitation", "undefined", "other") for s in shapes])
        if not excites.any():
            excites[:] = True
        last = np.maximum.accumulate(np.where(excites[played], np.arange(len(played)), -1))
        parent = last[self.timeline.pulse[readouts]]
        return np.where(parent >= 0, played[np.maximum(parent, 0)], -1)

    def reach(self, which: int, margin: float, spill: float) -> Reach | None:
        """Of an excitation; None where it does not select. margin: m on both sides; spill: part of the norm beyond."""
        if not self.along[which]:
            return None
        low, high = _within(self.activity[which], spill)
        more = self.step + margin
        return Reach(float(self.u[low] - more), float(self.u[high] + more), float(self.along[which]))

    def most(self, which: int, reach: Reach | None) -> float:
        """The most that a pulse does to any spin within the reach."""
        shape, gradient, act = self.timeline.shapes[which], self.along[which], self.activity[which]
        if reach is None:
            return float(act.max())
        low, high = self.offsets
        if not gradient:  # selects by frequency, if at all
            tones = np.linspace(low, high, 2 + math.ceil(4 * (high - low) * shape.length.sum()))
            return float(activity(shape, self.axis, np.zeros(len(tones)), tones, self.b1).max())
        most = 0.0
        for offset in (low, (low + high) / 2, high):
            moved = offset * reach.lean
            there = (self.u >= reach.low - moved) & (self.u <= reach.high - moved)
            if there.any():  # the same pulse, moved by its own gradient
                most = max(most, float(np.interp(self.u[there] + offset / gradient, self.u, act).max()))
        return most


def _within(act: NDArray, spill: float) -> tuple[int, int]:
    """The first and the last place, beyond which lie `spill` of the norm."""
    energy = act.astype(float) ** 2
    below, above = np.cumsum(energy), np.cumsum(energy[::-1])  # both, for 1 - spill**2 would be 1
    low, high = (int(np.searchsorted(x, spill**2 / 2 * x[-1])) for x in (below, above))
    return low, len(act) - 1 - high
