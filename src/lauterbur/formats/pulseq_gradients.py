"""Gradients of a Pulseq file, 1.2 to 1.5: trapezoids and arbitrary waveforms, and the edges old files do not hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.formats.pulseq_events import (
    MAX_TIME,
    Events,
    Float,
    Int,
    Shapes,
    Version,
    id_column,
    layout,
    shape_samples,
    steps,
    time_points,
)
from lauterbur.formats.pulseq_text import Section, bounded, identified, malformed, table
from lauterbur.program import Gradient, Rasters

MAX_GRADIENT = 1e10  # Hz/m, 235 T/m
MAX_RENDERED = 2**25  # samples of all arbitrary gradients


@dataclass(frozen=True)
class GradientEvents(Events):
    """`first` and `last` are the values at the edges where the waveform begins and ends there (ns and Hz/m)."""

    gradients: tuple[Gradient, ...]
    first: Float  # Hz/m at block start, 0 where the gradient begins later
    last: Float  # Hz/m at `end`
    is_raster: NDArray[np.bool_]  # samples in the middle of raster cells: edges are not part of the shape


def read_gradients(
    arbitrary: Section | None, trapezoids: Section | None, shapes: Shapes, version: Version, rasters: Rasters
) -> GradientEvents:
    """[TRAP] and [GRADIENTS], which share their ids."""
    parts = [_read_trapezoids(trapezoids), _read_arbitrary(arbitrary, shapes, version, rasters)]
    ids = np.concatenate([p.ids for p in parts])
    order = np.argsort(ids, kind="stable")
    twice = np.flatnonzero(np.diff(ids[order]) == 0)
    if len(twice) and arbitrary is not None:
        problem = f"gradient {ids[order[twice[0]]]} is also defined in [TRAP]; expected once"
        raise malformed(arbitrary, arbitrary.first_line, problem)
    events = [g for p in parts for g in p.gradients]
    return GradientEvents(
        ids[order],
        np.concatenate([p.end for p in parts])[order],
        tuple(events[i] for i in order),
        np.concatenate([p.first for p in parts])[order],
        np.concatenate([p.last for p in parts])[order],
        np.concatenate([p.is_raster for p in parts])[order],
    )


def _read_trapezoids(section: Section | None) -> GradientEvents:
    """[TRAP]: id amp rise flat fall delay."""
    rows, ids = identified(table(section, (6,)))
    amplitude = bounded(rows, 1, -MAX_GRADIENT, MAX_GRADIENT, "amplitude in Hz/m")
    rise, flat, fall, delay = (
        bounded(rows, i, 0, MAX_TIME, f"{what} in us") for i, what in enumerate(("rise", "flat", "fall", "delay"), 2)
    )
    marks = np.stack([np.zeros(len(rows)), rise, rise + flat, rise + flat + fall], axis=1)
    times, waveforms = marks / 1e6, amplitude[:, None] * np.array([0.0, 1.0, 1.0, 0.0]) + 0.0  # no negative zeros
    gradients = [
        Gradient(time, waveform, late)
        for time, waveform, late in zip(times, waveforms, (delay / 1e6).tolist(), strict=True)
    ]
    first = np.where((rise == 0) & (delay == 0), amplitude, 0.0)
    last = np.where(fall == 0, amplitude, 0.0)
    end = (marks[:, 3] + delay) * 1e3
    return GradientEvents(ids, end, tuple(gradients), first, last, np.zeros(len(rows), bool))


def _read_arbitrary(section: Section | None, shapes: Shapes, version: Version, rasters: Rasters) -> GradientEvents:
    """[GRADIENTS]: id amp [first last] shape [time] delay."""
    rows, ids = identified(table(section, ((4,), (5,), (7,))[layout(version)]))
    n, has_edges = len(rows), version >= (1, 5, 0)
    amplitude = bounded(rows, 1, -MAX_GRADIENT, MAX_GRADIENT, "amplitude in Hz/m").tolist()
    at_shape = 4 if has_edges else 2
    shape = id_column(rows, at_shape, "shape id", 1)
    time = id_column(rows, at_shape + 1, "time shape id", -1) if version >= (1, 4, 0) else [0] * n
    delay = bounded(rows, rows.values.shape[1] - 1, 0, MAX_TIME, "delay in us")
    first, last = (
        bounded(rows, i, -MAX_GRADIENT, MAX_GRADIENT, f"{what} in Hz/m") if has_edges else np.zeros(n)
        for i, what in ((2, "first"), (3, "last"))
    )
    end, edges = np.zeros(n), np.zeros((2, n))
    gradients: list[Gradient] = []
    total = 0
    for i in range(n):
        samples = amplitude[i] * shape_samples(shapes, rows, i, shape[i], "shape") + 0.0
        total += len(samples)
        if total > MAX_RENDERED:
            raise malformed(
                rows.section, rows.lines[i], f"the gradients have more than {MAX_RENDERED} samples together"
            )
        if not np.all(np.abs(samples) <= MAX_GRADIENT):
            raise malformed(rows.section, rows.lines[i], f"the gradient exceeds {MAX_GRADIENT:g} Hz/m")
        if time[i] > 0:
            marks = time_points(shapes, rows, i, time[i], len(samples))
            waveform, kind = samples, "shaped"
        else:
            marks = raster_marks(len(samples), oversampled=time[i] < 0)
            edge = (first[i], last[i]) if has_edges else extrapolated(samples)
            waveform, kind = np.concatenate((edge[:1], samples, edge[1:])), "arbitrary"
        at = steps(marks, rasters.gradient)
        gradients.append(Gradient(at, waveform, float(delay[i]) / 1e6, kind))
        end[i] = delay[i] * 1e3 + round(float(at[-1]) * 1e9, 3)
        edges[:, i] = waveform[0] if delay[i] == 0 and marks[0] == 0 else 0.0, waveform[-1]
    is_raster = np.array([t <= 0 for t in time], bool)
    return GradientEvents(ids, end, tuple(gradients), edges[0], edges[1], is_raster)


def raster_marks(n: int, *, oversampled: bool) -> Float:
    """(n + 2,) raster steps: the edges, and the samples at middles of raster cells or at every half step between."""
    if oversampled:
        return np.arange(n + 2) / 2
    return np.concatenate(([0.0], np.arange(n) + 0.5, [n]))


def extrapolated(samples: Float) -> tuple[float, float]:
    """Values half a step before the first and after the last sample, on the straight line through the nearest two.

    A line that crosses zero on the way ends at zero: a waveform that starts from rest does not swing back first.
    """
    if len(samples) == 1:
        return float(samples[0]), float(samples[0])
    first, last = 1.5 * samples[0] - 0.5 * samples[1], 1.5 * samples[-1] - 0.5 * samples[-2]
    return (float(first) if first * samples[0] > 0 else 0.0, float(last) if last * samples[-1] > 0 else 0.0)


def continuous(events: GradientEvents, axes: Int, durations: Float) -> tuple[GradientEvents, Int]:
    """Edges of raster gradients of files before 1.5, which do not hold them.

    The extrapolated value stands where the neighbouring block carries the waveform on (its own edge is nearer to it
    than zero is); elsewhere the gradient starts from, or ends at, zero. `axes` (block, 3) are event indices, -1 for
    none, `durations` ns. An event used both ways becomes two.
    """
    if not np.any(events.is_raster):
        return events, axes
    played = np.flatnonzero(durations > 0)
    axes = axes.copy()
    ways = np.zeros((len(played), 3), np.int64)  # 2: the first edge is kept, 1: the last one
    for axis in range(3):
        event = axes[played, axis]
        used = event >= 0
        first = np.where(used, events.first[event], 0.0)
        reaches = used & (np.abs(events.end[event] - durations[played]) < 1)
        last = np.where(reaches, events.last[event], 0.0)
        before, after = np.append(0.0, last[:-1]), np.append(first[1:], 0.0)
        ways[:, axis] = 2 * (np.abs(before - first) < np.abs(first)) + (np.abs(after - last) < np.abs(last))

    event = axes[played]
    old = (event >= 0) & events.is_raster[event]
    variants, first_use, which = np.unique(event[old] * 4 + ways[old], return_index=True, return_inverse=True)
    gradients, ends = list(events.gradients), list(events.end)
    place, taken = np.zeros(len(variants), np.int64), set()
    for i in np.argsort(first_use).tolist():  # the first use keeps its place, others are appended
        source, way = divmod(int(variants[i]), 4)
        gradient = _with_edges(events.gradients[source], way >= 2, way % 2 == 1)
        if source not in taken:
            place[i] = source
            gradients[source] = gradient
            taken.add(source)
        else:
            place[i] = len(gradients)
            gradients.append(gradient)
            ends.append(events.end[source])
    event[old] = place[which]
    axes[played] = event
    return replace(events, gradients=tuple(gradients), end=np.array(ends)), axes


def _with_edges(gradient: Gradient, keep_first: bool, keep_last: bool) -> Gradient:
    waveform = gradient.waveform.copy()
    if not keep_first:
        waveform[0] = 0.0
    if not keep_last:
        waveform[-1] = 0.0
    return replace(gradient, waveform=waveform)
