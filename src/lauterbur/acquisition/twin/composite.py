"""Composite pulses: sub-pulses with channel weights of their own and gradient blips between them, which act as one.

Parallel transmission writes an excitation as a few sub-pulses (kT-points, spokes: Cloos et al, Magn Reson Med 67 (2012) 72).
One by one each would double the states of a phase graph; together they are one rotation of each spin.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.played import Played, PulseShape

Float = NDArray[np.float64]
GAP = 1e-3  # s: sub-pulses follow one another more closely than this
TIME, TURN, AREA = 1e-8, 1e-6, 1e-3  # s, rad, 1/m: composites that differ by less are one
SAME = 1e-9  # s


def fused(played: Played, listens: NDArray[np.bool_]) -> Played:
    """Runs of sub-pulses as one pulse each, that acts at the centre of its last. listens: (pulse,) until the next one."""
    n = len(played.time)
    if n < 2:
        return played
    shapes, kind = played.shapes, played.shape
    is_own = np.array([len(np.unique(s.drive)) == 1 for s in shapes])[kind]
    drive = np.array([s.drive[0] for s in shapes])[kind]
    is_shimmed = np.array([d is not None for d in played.drives])[drive] & is_own
    use = np.array([s.use for s in shapes])[kind]
    frequency = np.array([s.frequency for s in shapes])[kind]
    end = played.time + np.array([s.after for s in shapes])[kind]
    start = played.time - np.array([s.before for s in shapes])[kind]
    goes_on = is_shimmed[:-1] & is_shimmed[1:] & (use[:-1] == use[1:]) & (frequency[:-1] == frequency[1:])
    goes_on &= (start[1:] - end[:-1] <= GAP) & ~listens[:-1]
    if not goes_on.any():
        return played
    edges = np.concatenate(([0], np.flatnonzero(~goes_on) + 1, [n]))
    runs = [np.arange(lo, hi) for lo, hi in pairwise(edges)]
    if not any(len(np.unique(drive[run])) > 1 for run in runs):
        return played

    known: dict[bytes, list[tuple[int, Float]]] = {}  # by the kinds of sub-pulses
    found: list[PulseShape] = []
    kinds, heads, lasts = [], [], []
    for run in runs:
        parts = [run] if len(np.unique(drive[run])) > 1 else [run[i : i + 1] for i in range(len(run))]
        for part in parts:
            late = played.time[part] - played.time[part[0]]
            turn = np.angle(np.exp(1j * (played.phase[part] - played.phase[part[0]])))
            away = (played.k[part] - played.k[part[0]]).ravel()
            numbers = np.concatenate((late / TIME, turn / TURN, away / AREA))
            alike = known.setdefault(kind[part].tobytes(), [])
            which = next((i for i, other in alike if np.abs(other - numbers).max() < 1), None)
            if which is None:
                which = len(found)
                alike.append((which, numbers))
                found.append(shapes[kind[part[0]]] if len(part) == 1 else _joined(played, part))
            kinds.append(which)
            heads.append(part[0])
            lasts.append(part[-1])
    last = np.array(lasts)
    return Played(
        tuple(found), np.array(kinds, np.int32), played.phase[heads], played.time[last], played.k[last], played.drives
    )


def _joined(played: Played, run: NDArray[np.intp]) -> PulseShape:
    shapes = [played.shapes[i] for i in played.shape[run]]
    head, tail = shapes[0], shapes[-1]
    begin = played.time[run[0]] - head.before
    length, field, gradient, drive = [], [], [], []
    for i, (pulse, shape) in enumerate(zip(run, shapes, strict=True)):
        if i:
            before, other = run[i - 1], shapes[i - 1]
            gap = (played.time[pulse] - shape.before) - (played.time[before] + other.after)
            moment = (played.k[pulse] - shape.moment_before) - (played.k[before] + other.moment_after)
            if gap > SAME:
                length.append([gap])
                field.append([0j])
                gradient.append((moment / gap)[None, :])
                drive.append(shape.drive[:1])
        # every sub-pulse's frame meets the Larmor frame at its own start; the composite's does at the first one's
        late = played.time[pulse] - shape.before - begin
        turn = played.phase[pulse] - played.phase[run[0]] + 2 * np.pi * shape.frequency * late
        length.append(shape.length)
        field.append(shape.b1 * np.exp(1j * turn))
        gradient.append(shape.gradient)
        drive.append(shape.drive)
    centre, k = played.time[run[-1]], played.k[run[-1]]
    return replace(
        head,
        length=np.concatenate(length),
        b1=np.concatenate(field),
        gradient=np.concatenate(gradient),
        drive=np.concatenate(drive),
        before=float(centre - begin),
        after=tail.after,
        moment_before=k - (played.k[run[0]] - head.moment_before),
        moment_after=tail.moment_after,
    )
