"""Passes: which spins can answer which readouts.

A program with slice selection is played slice by slice: the readouts after one excitation, by the spins within its
reach, through all the pulses that touch them. A program without selection is one pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.compile import PulseShape, Timeline
from lauterbur.acquisition.twin.pulses import pulse_maps

REACH = 3e-4  # a pulse acts where it turns more than this part of what it turns at most
IDLE = 1e-5  # and is left out altogether where it does less than this


@dataclass(frozen=True, eq=False)
class Pass:
    timeline: Timeline  # the pulses that act here
    readouts: NDArray[np.intp]  # the readouts it answers
    reach: tuple[float, float] | None  # m along the selected axis; None: everywhere


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


def activity(shape: PulseShape, axis: NDArray, u: NDArray, offset: float, b1: float) -> NDArray[np.float64]:
    """(u,) how much the pulse turns magnetisation at each place along the axis."""
    n = len(u)
    long = np.full(n, 1e3)
    m = pulse_maps(shape, np.full(n, b1, complex), np.full(n, offset), u[:, None] * axis[None, :], long, long)
    alpha = m[0] + 1j * m[1]
    return np.hypot(m[4], m[5]) + np.hypot(m[2], m[3]) + np.abs(1 - m[10]) + np.abs(1 - np.abs(alpha))


def plan_passes(
    timeline: Timeline, axis: NDArray, span: tuple[float, float], offsets: tuple[float, float], b1: float, margin: float
) -> list[Pass]:
    """span: m, the spins' extent along the axis; offsets: Hz, their range; margin: m added on both sides of a reach."""
    listening = np.flatnonzero(timeline.pulse >= 0)
    if not axis.any():
        return [Pass(timeline, listening, None)]
    step = min(feature_length(timeline.shapes) / 3, (span[1] - span[0] + 1e-3) / 64)
    u = np.arange(span[0] - 2 * step, span[1] + 2 * step, step)
    act = np.array(
        [
            np.max(
                [activity(s, axis, u, f, b1) for f in {offsets[0], (offsets[0] + offsets[1]) / 2, offsets[1]}], axis=0
            )
            for s in timeline.shapes
        ]
    )
    excites = np.array([s.use in ("excitation", "undefined", "other") for s in timeline.shapes])
    if not excites.any():
        excites[:] = True
    is_excitation = excites[timeline.shape]
    last = np.maximum.accumulate(np.where(is_excitation, np.arange(len(timeline.shape)), -1))
    parent = last[timeline.pulse[listening]]
    kind = np.where(parent >= 0, timeline.shape[np.maximum(parent, 0)], -1)
    passes = []
    for which in np.unique(kind):
        if which < 0:
            continue
        reached = np.flatnonzero(act[which] > REACH * min(1.0, float(act[which].max())))
        if not len(reached):
            continue
        lo, hi = u[reached[0]] - step - margin, u[reached[-1]] + step + margin
        inside = (u >= lo) & (u <= hi)
        acts = act[:, inside].max(axis=1) > IDLE
        acts[which] = True
        passes.append(Pass(_only(timeline, acts), listening[kind == which], (float(lo), float(hi))))
    return passes


def _only(timeline: Timeline, acts: NDArray[np.bool_]) -> Timeline:
    """The timeline with only the pulses whose shapes act. Diffusion integrals are joined over the gaps."""
    keep = acts[timeline.shape]
    if keep.all():
        return timeline
    chosen = np.flatnonzero(keep)
    number = np.cumsum(keep) - 1
    pulse = np.where(timeline.pulse >= 0, number[np.maximum(timeline.pulse, 0)], -1).astype(np.int32)
    diffusion = np.zeros((len(chosen), 4))
    if timeline.diffusion.any():
        dt = np.diff(timeline.time, prepend=timeline.time[:1])
        group = np.concatenate(([0], number[:-1] + 1)) if len(number) else number  # the kept pulse an interval leads to
        group = np.minimum(group, len(chosen) - 1)
        origin = np.maximum(group - 1, 0)
        start = np.concatenate((timeline.k[:1], timeline.k[:-1]))
        away = start - timeline.k[chosen[origin]]
        part = timeline.diffusion[:, :3] + away * dt[:, None]
        square = (
            timeline.diffusion[:, 3] + 2 * (away * timeline.diffusion[:, :3]).sum(axis=1) + (away**2).sum(axis=1) * dt
        )
        np.add.at(diffusion, group, np.column_stack((part, square)))
    return replace(
        timeline,
        shape=timeline.shape[keep],
        phase=timeline.phase[keep],
        time=timeline.time[keep],
        k=timeline.k[keep],
        diffusion=diffusion,
        pulse=pulse,
    )
