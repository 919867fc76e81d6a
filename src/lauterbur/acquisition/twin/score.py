"""Score: a program written out for isochromats - free precession, pulses and listening, one after the other.

Everything is exact but the pulses, which are cut into steps: constant nominal B1 (as the program has it) and the mean
gradient over the step. All free precession between two events is one entry, however many blocks it spans.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.moments import STILL, Free, Moments
from lauterbur.program import (
    Column,
    Complex,
    Float,
    Program,
    RfPulse,
    adc_blocks,
    b1,
    rf_steps,
    shim_weights,
)

# Steps of a pulse are at most this long: relaxation is split from rotation (Strang), and under a changing gradient the
# mean is used; both errors fall with the square of the step (below 1e-5 of M for any 10 ms pulse with T2 > 10 ms).
_STEP = 5e-6  # s
_STEP_UNDER_RAMP = 1e-6  # s

NOTHING, PULSE, LISTEN, PULSE_AND_LISTEN = range(4)


@dataclass(frozen=True, eq=False)
class Pulse:
    """One distinct pulse with the gradient under it, phase 0, in the frame that turns with its own frequency."""

    duration: Float  # s, (step,)
    b: Complex  # Hz, (step,), nominal
    gradient: Float  # Hz/m, (step, 3)
    frequency: float  # Hz, of the pulse against the Larmor frequency
    turn: Complex  # (2,) the frame's phase factor at the start and at the end: M = M_frame * turn
    weights: Complex | None  # (tx,) channel weights, None = all alike
    sample: NDArray[np.int32]  # (step,), the ADC sample taken at the end of the step, or -1

    def coarser(self, longest: float) -> Pulse:
        """With neighbouring steps joined to their mean, up to this duration (s); a sample ends a step."""
        edge = np.concatenate(([0.0], np.cumsum(self.duration)))
        group = np.floor(edge[:-1] / longest + 1e-6).astype(np.int64)
        group += np.concatenate(([0], np.cumsum(self.sample[:-1] >= 0)))
        first = np.flatnonzero(np.concatenate(([True], np.diff(group) > 0)))
        duration = np.add.reduceat(self.duration, first)
        last = np.append(first[1:], len(group)) - 1
        return replace(
            self,
            duration=duration,
            b=np.asarray(np.add.reduceat(self.b * self.duration, first) / duration, complex),
            gradient=np.add.reduceat(self.gradient * self.duration[:, None], first) / duration[:, None],
            sample=self.sample[last],
        )


@dataclass(frozen=True, eq=False)
class Window:
    """One distinct ADC window, from its start."""

    time: Float  # s, (sample,)
    k: Float  # 1/m, (sample, 3)
    spread: Float  # s/m2, (sample,), integral over t of |k(sample) - k(t)|^2, for diffusion within the window
    is_uniform: bool  # equal steps of k: a geometric series of phasors


@dataclass(frozen=True, eq=False)
class Score:
    """Entry i: precess freely, then do what `kind` says with `item`."""

    duration: Float  # s, (entry,)
    k: Float  # 1/m, (entry, 3)
    k_integral: Float  # s/m, (entry, 3)
    k_squared: Float  # s/m2, (entry,)
    kind: NDArray[np.int64]  # (entry,) NOTHING, PULSE, LISTEN or PULSE_AND_LISTEN
    item: NDArray[np.int64]  # (entry,) index into pulses or windows
    phase: Complex  # (entry,) unit factor on b, for pulses
    readout: NDArray[np.int64]  # (entry,) row of the output, -1 = do not keep
    pulses: tuple[Pulse, ...]
    windows: tuple[Window, ...]


@dataclass
class _Writer:
    """Collects entries and numbers distinct pulses and windows."""

    free: Free = STILL
    entries: list[tuple[Free, int, int, complex, int]] = field(default_factory=list)
    items: dict[Hashable, int] = field(default_factory=dict)
    pulses: list[Pulse] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    def event(self, kind: int, item: int, phase: complex, readout: int) -> None:
        self.entries.append((self.free, kind, item, phase, readout))
        self.free = STILL

    def number(self, item: Pulse | Window) -> int:
        content = hashlib.sha256()
        for value in vars(item).values():
            content.update(b"-" if value is None else np.ascontiguousarray(value).tobytes() + b"|")
        key = (type(item), content.digest())
        if key not in self.items:
            shelf: list = self.pulses if isinstance(item, Pulse) else self.windows
            self.items[key] = len(shelf)
            shelf.append(item)
        return self.items[key]


def score(program: Program, *, larmor_frequency: float = 0.0, readouts: NDArray[np.intp] | None = None) -> Score:
    """The program as entries; `readouts` are those to be kept, in the order of the output (None = all)."""
    listening = adc_blocks(program)
    row_of_block = np.full(program.n_blocks, -1)
    kept = np.arange(len(listening)) if readouts is None else readouts
    row_of_block[listening[kept]] = np.arange(len(kept))

    shape = _pulse_shapes(program, larmor_frequency)
    moments = Moments(program, larmor_frequency)
    phases = [
        complex(b1(p, np.zeros(1), np.ones(1, complex), larmor_frequency=larmor_frequency)[0]) for p in program.rf
    ]
    writer = _Writer()
    known: dict[Hashable, list[tuple[Free, int, int]]] = {}
    for block in range(program.n_blocks):
        row = program.blocks[block]
        i_rf, i_adc = row[Column.RF], row[Column.ADC]
        adc = program.adc[i_adc] if i_adc >= 0 else None
        key = (
            *moments.alike[row[Column.GX : Column.GZ + 1]].tolist(),
            row[Column.ROTATION],
            row[Column.SHIM] if i_rf >= 0 else -1,
            shape[i_rf] if i_rf >= 0 else -1,
            None if adc is None else (adc.n_samples, adc.dwell, adc.delay),
            float(program.durations[block]),
        )
        if key not in known:
            known[key] = _parts(moments, block, writer)
        for free, kind, item in known[key]:
            writer.free = writer.free.then(free)
            if kind == NOTHING or (kind == LISTEN and row_of_block[block] < 0):
                continue
            heard = -1 if kind == PULSE else int(row_of_block[block])
            writer.event(kind, item, phases[i_rf] if i_rf >= 0 else 1.0, heard)

    before = [e[0] for e in writer.entries]
    return Score(
        np.array([f.duration for f in before]),
        np.array([f.k for f in before]).reshape(-1, 3),
        np.array([f.k_integral for f in before]).reshape(-1, 3),
        np.array([f.k_squared for f in before]),
        np.array([e[1] for e in writer.entries], np.int64),
        np.array([e[2] for e in writer.entries], np.int64),
        np.array([e[3] for e in writer.entries], complex),
        np.array([e[4] for e in writer.entries], np.int64),
        tuple(writer.pulses),
        tuple(writer.windows),
    )


def _pulse_shapes(program: Program, larmor_frequency: float) -> list[int]:
    """(rf,) a number for each pulse; those that differ in phase alone share theirs."""
    numbers: dict[Hashable, int] = {}
    shapes = []
    for p in program.rf:
        content = hashlib.sha256(np.ascontiguousarray(p.waveform).tobytes() + np.ascontiguousarray(p.time).tobytes())
        key = (content.digest(), p.duration, p.delay, p.is_stepped, _frequency(p, larmor_frequency))
        shapes.append(numbers.setdefault(key, len(numbers)))
    return shapes


def _frequency(pulse: RfPulse, larmor_frequency: float) -> float:
    return pulse.frequency_offset + pulse.frequency_ppm * 1e-6 * larmor_frequency


def _parts(moments: Moments, block: int, writer: _Writer) -> list[tuple[Free, int, int]]:
    """What one block asks for, in order: free precession, then an event."""
    program = moments.program
    row, length = program.blocks[block], float(program.durations[block])
    pulse = program.rf[row[Column.RF]] if row[Column.RF] >= 0 else None
    adc = program.adc[row[Column.ADC]] if row[Column.ADC] >= 0 else None
    if adc is not None and not adc.n_samples:
        adc = None
    samples = np.zeros(0) if adc is None else adc.delay + (np.arange(adc.n_samples) + 0.5) * adc.dwell

    events: list[tuple[float, float, int, int]] = []  # start, end, kind, item
    if pulse is not None:
        start, end = pulse.delay, pulse.delay + pulse.duration
        overlaps = bool(len(samples)) and samples[0] < end and samples[-1] > start
        if overlaps:
            start, end = min(start, samples[0]), max(end, samples[-1])
        cut = _cut(moments, block, pulse, start, end, samples if overlaps else np.zeros(0))
        events.append((start, end, PULSE_AND_LISTEN if overlaps else PULSE, writer.number(cut)))
        if overlaps:
            adc = None
    if adc is not None:
        window = _window(moments, block, samples, adc.delay)
        events.append((adc.delay, adc.delay, LISTEN, writer.number(window)))
    events.sort()

    parts, now = [], 0.0
    for start, end, kind, item in events:
        parts.append((moments.free(block, now, start), kind, item))
        now = end
    parts.append((moments.free(block, now, max(length, now)), NOTHING, 0))
    return parts


def _window(moments: Moments, block: int, samples: Float, start: float) -> Window:
    k, k_integral, k_squared = (x[1:] for x in moments.integrals(block, np.concatenate([[start], samples])))
    since = samples - start
    spread = np.sum(k * k, axis=1) * since - 2 * np.sum(k * k_integral, axis=1) + k_squared
    line = k[0] + np.arange(len(k))[:, None] * (k[-1] - k[0]) / max(1, len(k) - 1)
    is_uniform = bool(np.abs(k - line).max() <= 1e-10 * np.abs(k).max(initial=1.0))
    return Window(since, k, spread, is_uniform)


def _cut(moments: Moments, block: int, pulse: RfPulse, start: float, end: float, samples: Float) -> Pulse:
    """The pulse from start to end as steps; the samples taken on the way end a step each."""
    lengths, values = rf_steps(pulse)
    envelope = b1(replace(pulse, frequency_offset=0.0, frequency_ppm=0.0), np.zeros(len(values)), values, phase=0.0)
    marks = pulse.delay + np.concatenate([[0.0], np.cumsum(lengths)])
    edge = np.unique(np.clip(np.concatenate([[start, end], marks, samples, *moments.marks(block)]), start, end))
    edge = edge[np.concatenate([[True], np.diff(edge) > 1e-13])]

    def held(at: Float) -> Complex:
        step = np.clip(np.searchsorted(marks, at, side="right") - 1, 0, len(envelope) - 1)
        return np.where((at > marks[0]) & (at < marks[-1]), envelope[step], 0)

    def mean_gradient(edge: Float) -> Float:
        return np.diff(moments.integrals(block, edge)[0], axis=0) / np.diff(edge)[:, None]

    middle, length = (edge[1:] + edge[:-1]) / 2, np.diff(edge)
    halves = mean_gradient(np.sort(np.concatenate([edge, middle])))
    is_ramp = np.any(np.abs(halves[1::2] - halves[::2]) > 1e-9 * np.abs(halves).max(), axis=1)
    longest = np.where(held(middle) == 0, np.inf, np.where(is_ramp, _STEP_UNDER_RAMP, _STEP))
    pieces = np.maximum(1, np.ceil(length / longest - 1e-6)).astype(int)
    first = np.repeat(edge[:-1], pieces)
    within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    edge = np.append(first + within * np.repeat(length / pieces, pieces), edge[-1])

    duration = np.diff(edge)
    sample = np.full(len(duration), -1, np.int32)
    sample[np.clip(np.searchsorted(edge, samples - 1e-13) - 1, 0, None)] = np.arange(len(samples))
    frequency = _frequency(pulse, moments.larmor_frequency)
    turn = np.exp(-2j * np.pi * frequency * (np.array([start, end]) - pulse.delay))
    middle = (edge[1:] + edge[:-1]) / 2
    weights = shim_weights(moments.program, block)
    return Pulse(duration, held(middle), mean_gradient(edge), frequency, turn, weights, sample)
