"""Passes: which spins can answer which readouts.

A program with slice selection is played slice by slice: the readouts after one excitation, by the spins within its
reach, through all the pulses that touch them. A program without selection is one pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.atoms import LOCAL, halfway_error
from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.played import PulseShape
from lauterbur.acquisition.twin.pulses import pulse_maps
from lauterbur.acquisition.twin.selection import Reach, Selection, feature_length, mean_gradient, prepares

Float = NDArray[np.float64]
SPILL = 40  # times the square of the error allowed is what is excited beyond the reach (in the norm): 0.4 % for 1 %
STEPS = 0.03  # of the error allowed is what joining a pulse's steps does
ALIAS = 4  # times what spins are detuned at most is how often a pulse steps at least, lest it excite them again
FINEST = 16  # steps per feature, of which as few as may be are taken
STRIDES = (2, 4, 6, 8, 12, 16)  # even: what lies half-way is known
MOST = 4000  # of them
IDLE = 0.5  # of the error allowed: a pulse that turns less than that everywhere within the reach is left out


@dataclass(frozen=True, eq=False)
class Pass:
    timeline: Timeline  # the pulses that act here
    readouts: NDArray[np.intp]  # the readouts it answers
    reach: Reach | None  # None: everywhere
    detail: float  # m, along the axis: how far apart nodes may lie to follow each pulse; inf where nothing selects

    def driven_alike(self) -> Pass:
        """With one drive for all pulses: the first of those that the spins then know."""
        shapes = tuple(replace(shape, drive=np.zeros_like(shape.drive)) for shape in self.timeline.shapes)
        return replace(self, timeline=replace(self.timeline, shapes=shapes))


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
