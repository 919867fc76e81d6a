"""Passes: which spins can answer which readouts.

A program with slice selection is played slice by slice: the readouts after one excitation, by the spins within its
reach, through all the pulses that touch them. A program without selection is one pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.atoms import LOCAL, halfway_error
from lauterbur.acquisition.twin.compile import PulseShape, Timeline
from lauterbur.acquisition.twin.pulses import pulse_maps

Float = NDArray[np.float64]
SPILL = 40  # times the square of the error allowed is what is excited beyond the reach (in the norm): 0.4 % for 1 %
STEPS = 0.03  # of the error allowed is what joining a pulse's steps does
ALIAS = 4  # times what spins are detuned at most is how often a pulse steps at least, lest it excite them again
FINEST = 16  # steps per feature, of which as few as may be are taken
STRIDES = (2, 4, 6, 8, 12, 16)  # even: what lies half-way is known
MOST = 4000  # of them
IDLE = 0.5  # of the error allowed: a pulse that turns less than that everywhere within the reach is left out


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


@dataclass(frozen=True, eq=False)
class Pass:
    timeline: Timeline  # the pulses that act here
    readouts: NDArray[np.intp]  # the readouts it answers
    reach: Reach | None  # None: everywhere
    detail: float  # m, along the axis: how far apart nodes may lie to follow each pulse; inf where nothing selects


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
    return shape.use in ("inversion", "saturation")


def activity(shape: PulseShape, axis: NDArray, u: NDArray, offset: float | NDArray, b1: float) -> NDArray[np.float64]:
    """(u,) how much the pulse turns magnetisation at each place along the axis."""
    n = len(u)
    long = np.full(n, 1e3)
    m = pulse_maps(shape, np.full(n, b1, complex), np.full(n, 0.0) + offset, u[:, None] * axis[None, :], long, long)
    if prepares(shape):
        return np.abs(1 - m[10])
    alpha = m[0] + 1j * m[1]
    return np.hypot(m[4], m[5]) + np.hypot(m[2], m[3]) + np.abs(1 - m[10]) + np.abs(1 - np.abs(alpha))


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


def plan_passes(selection: Selection, margin: float, allowed: float, nodes: float) -> list[Pass]:
    """margin: m added on both sides of a reach; allowed: relative error of the signal's norm; nodes: and of
    interpolation along the axis."""
    timeline, axis = selection.timeline, selection.axis
    listening = np.flatnonzero(timeline.pulse >= 0)
    if not axis.any():
        return [Pass(timeline, listening, None, feature_length(timeline.shapes) / 4)]
    kind = selection.excitations(listening)
    passes = []
    for which in np.unique(kind[kind >= 0]):
        reach = selection.reach(int(which), margin, SPILL * allowed**2)
        acts = np.array([selection.most(i, reach) > IDLE * allowed for i in range(len(timeline.shapes))])
        acts[which] = True
        here = with_shapes(timeline, acts)
        if reach is not None:
            coarser = _coarser(selection, np.flatnonzero(acts), reach, allowed)
            here = replace(here, shapes=tuple(coarser.get(i, shape) for i, shape in enumerate(here.shapes)))
        played = [here.shapes[i] for i in np.unique(here.shape)]
        detail = _detail(played, axis, reach, selection.span, selection.b1, nodes)
        passes.append(Pass(here, listening[kind == which], reach, detail))
    return passes


def mean_gradient(shape: PulseShape) -> NDArray[np.float64]:
    """Hz/m, (3,) under the pulse, where it plays."""
    weight = np.abs(shape.b1) * shape.length
    return np.asarray(weight @ shape.gradient / (weight.sum() or 1.0))


def _within(act: NDArray, spill: float) -> tuple[int, int]:
    """The first and the last place, beyond which lie `spill` of the norm."""
    energy = act.astype(float) ** 2
    below, above = np.cumsum(energy), np.cumsum(energy[::-1])  # both, for 1 - spill**2 would be 1
    low, high = (int(np.searchsorted(x, spill**2 / 2 * x[-1])) for x in (below, above))
    return low, len(act) - 1 - high


def _coarser(selection: Selection, acting: NDArray[np.intp], reach: Reach, allowed: float) -> dict[int, PulseShape]:
    """These shapes, as coarse as the spins within the reach allow: a step of length t is heard at f as sinc(f t).

    What that does to spins far off a pulse's band matters as little as the pulse itself does there.
    """
    heard = {int(i): _detuning(selection, int(i), reach) for i in acting}
    loudest = max((float(power.sum()) for some in heard.values() for _, power in some), default=0.0) or 1.0
    found = {}
    for i, some in heard.items():
        detuned = max(float(power @ f**4 / loudest) ** 0.25 for f, power in some)
        farthest = max(float(np.abs(f).max(initial=1.0)) for f, _ in some)
        longest = min(math.sqrt(6 * STEPS * allowed) / (math.pi * max(detuned, 1.0)), 1 / (ALIAS * farthest))
        found[i] = selection.timeline.shapes[i].coarser(longest)
    return found


def _detuning(selection: Selection, which: int, reach: Reach) -> list[tuple[Float, Float]]:
    """For a few off-resonances: Hz from the pulse's frequency to spins within the reach, and what it does to them, squared."""
    shape, gradient, act = selection.timeline.shapes[which], float(selection.along[which]), selection.activity[which]
    lean = 1 - gradient / reach.gradient  # of a spin's offset, where the reach leans with it
    u = selection.u[(selection.u >= reach.low) & (selection.u <= reach.high)]
    found = []
    for offset in (*selection.offsets, sum(selection.offsets) / 2):
        f = gradient * u + lean * offset - shape.frequency
        if gradient:  # the same pulse, moved by its own gradient
            found.append((f, np.interp(u + lean * offset / gradient, selection.u, act) ** 2))
        else:
            found.append((f, np.full(len(u), act.max() ** 2)))
    return found


def _detail(
    shapes: list[PulseShape],
    axis: NDArray,
    reach: Reach | None,
    span: tuple[float, float],
    b1: float,
    allowed: float,
) -> float:
    """m: the coarsest places between which these pulses' maps may be interpolated."""
    finest = feature_length(tuple(shapes)) / FINEST
    low, high = (reach.low, reach.high) if reach else span
    n = min(int((high - low) / finest) + 1, MOST)
    u = low + (high - low) / n * np.arange(n + 1)
    long, still = np.full(n + 1, 1e3), np.zeros(n + 1)
    kept = []
    for shape in shapes:
        if not mean_gradient(shape) @ axis:
            continue
        maps = pulse_maps(shape, np.full(n + 1, b1, complex), still, u[:, None] * axis[None, :], long, long)
        kept.append(maps[10:11] if prepares(shape) else maps[[*range(6), 10]])
    if not kept:
        return np.inf
    every = np.concatenate(kept).astype(float)
    good = 1
    for stride in STRIDES:
        if stride * LOCAL > n or np.sqrt(np.mean(halfway_error(every, stride) ** 2, axis=1)).max() > allowed:
            break
        good = stride
    return float(good * (high - low) / n)


def with_shapes(timeline: Timeline, acts: NDArray[np.bool_]) -> Timeline:
    """The timeline with only the pulses whose shapes act. Diffusion integrals are joined over the gaps."""
    keep = acts[timeline.shape]
    if keep.all():
        return timeline
    chosen = np.flatnonzero(keep)
    number = np.cumsum(keep) - 1
    last = np.maximum(timeline.pulse, 0)
    pulse = np.where(timeline.pulse >= 0, number[last], -1).astype(np.int32)
    diffusion, heard = np.zeros((len(chosen), 4)), timeline.heard.copy()
    if len(chosen):
        before = np.concatenate(([-1], number[:-1]))  # the kept pulse that an interval follows
        k_before = np.concatenate((timeline.k[:1], timeline.k[:-1]))
        away = k_before - timeline.k[chosen[np.maximum(before, 0)]]
        joined = _seen_from(away, timeline.diffusion, np.diff(timeline.time, prepend=timeline.time[:1]))
        joined[before < 0] = 0.0
        leads = before + 1 < len(chosen)
        np.add.at(diffusion, before[leads] + 1, joined[leads])
        total = np.cumsum(joined, axis=0)
        some = pulse >= 0
        last, origin = last[some], chosen[pulse[some]]
        since = _seen_from(timeline.k[last] - timeline.k[origin], heard[some, 1:], heard[some, 0])
        heard[some, 1:] = since + total[last] - total[origin]
        heard[some, 0] += timeline.time[last] - timeline.time[origin]
    return replace(
        timeline,
        shape=timeline.shape[keep],
        phase=timeline.phase[keep],
        time=timeline.time[keep],
        k=timeline.k[keep],
        diffusion=diffusion,
        heard=heard,
        pulse=pulse,
    )


def _seen_from(away: Float, integrals: Float, dt: Float) -> Float:
    """(n, 4) integrals of K (3) and of its square over intervals, K counted from `away` (n, 3) before their start."""
    part, square = integrals[:, :3], integrals[:, 3]
    more = 2 * (away * part).sum(axis=1) + (away**2).sum(axis=1) * dt
    return np.column_stack((part + away * dt[:, None], square + more))
