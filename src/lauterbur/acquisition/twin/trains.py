"""Trains: windows after one pulse that are heard as one long readout, as the lines of an echo-planar image.

Lines that run the same way lie at equal steps in k and in time, so that off-resonance is one shift of the spins for all of
them (course.Drift). One after another they would cost a set of transforms each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.course import Drift
from lauterbur.acquisition.twin.graph import K_GRID

FEWEST = 4  # windows of a train
STEP = 1e-9  # s

Train = NDArray[np.intp]  # (window,) places within the readouts of one pulse


def trains(line: Timeline, readouts: NDArray[np.intp], offset: float) -> list[NDArray[np.intp]]:
    """The readouts (sorted) as trains (window,), most of them of one window. offset: Hz, the largest."""
    edge = np.concatenate(([0], np.flatnonzero(np.diff(line.pulse[readouts])) + 1, [len(readouts)]))
    count = np.diff(edge)
    out = [readouts[i : i + 1] for some in np.flatnonzero(count < FEWEST) for i in range(edge[some], edge[some + 1])]
    known: dict[bytes, list[Train]] = {}
    for some in np.flatnonzero(count >= FEWEST):
        here = readouts[edge[some] : edge[some + 1]]
        pulse = line.pulse[here[0]]
        start, base = line.start[here] - line.time[pulse], line.base[here] - line.k[pulse]
        shape = (
            np.round(start / STEP),
            np.round(base / K_GRID),
            line.window[here],
            line.dwell[here],
            line.n_samples[here],
        )
        key = b"|".join(np.ascontiguousarray(part).tobytes() for part in shape)
        if key not in known:
            known[key] = _split(line, here, start, base, offset)
        out += [here[train] for train in known[key]]
    return out


def _split(line: Timeline, here: NDArray, start: NDArray, base: NDArray, offset: float) -> list[Train]:
    """The readouts of one pulse: runs at equal steps of those that sweep the same way."""
    windows = [line.windows[i] for i in line.window[here]]
    sweep = np.array([w[-1] - w[0] for w in windows])
    first = np.array([w[0] for w in windows]) + base
    way = np.column_stack((np.round(sweep / K_GRID), np.round(line.dwell[here] * 1e12), line.n_samples[here]))
    _, kind = np.unique(way, axis=0, return_inverse=True)
    out: list[Train] = []
    for which in range(int(kind.max()) + 1):
        some = np.flatnonzero(kind.reshape(-1) == which)
        step = np.column_stack((np.round(np.diff(start[some]) / STEP), np.round(np.diff(first[some], axis=0) / K_GRID)))
        at = 0
        while at < len(some):
            end = at + 1
            while end < len(some) and np.array_equal(step[end - 1], step[at]):
                end += 1
            run = some[at:end]
            if len(run) < FEWEST or not _drifts(line, here[run], start[run], base[run], offset):
                run, end = some[at : at + 1], at + 1
            out.append(run)
            at = end
    return out


def _drifts(line: Timeline, readouts: NDArray, start: NDArray, base: NDArray, offset: float) -> bool:
    dwell, n = line.dwell[readouts[0]], line.n_samples[readouts[0]]
    time = (start[:, None] + np.arange(n) * dwell).ravel()
    k = np.concatenate([b + line.windows[w][:n] for b, w in zip(base, line.window[readouts], strict=True)])
    return bool(Drift.of(k[None], time, offset).shift.any())
