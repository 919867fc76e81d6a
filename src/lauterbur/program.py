"""Program: what a machine plays - unique events, and the table of blocks that orders them.

A block plays at most one RF pulse, one gradient per axis and one ADC window, all starting with the block; blocks
follow each other without gaps. Gradients are held as gamma-bar G in Hz/m and RF as gamma-bar B1 in Hz, so that no
gyromagnetic ratio hides in a program. Phases and frequencies stand in Pulseq's sense; `b1` and `receiver_phase`
turn them into ours (units.py). Gradient axes x, y, z are the patient axes of a supine, head-first patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]


class Column(IntEnum):
    """Columns of Program.blocks: which unique event a block plays, -1 for none."""

    RF = 0
    GX = 1
    GY = 2
    GZ = 3
    ADC = 4
    ROTATION = 5
    SHIM = 6
    TRIGGER = 7
    SOFT_DELAY = 8


@dataclass(frozen=True, eq=False)
class RfPulse:
    """Nominal gamma-bar B1 in Hz. Either one value per raster step (constant in each) or points joined by lines."""

    waveform: Complex  # Hz, (sample,), before phase and frequency offset, Pulseq's sense
    time: Float  # s, (sample,), from the start of the waveform; middles of the steps, or the points themselves
    duration: float  # s, of the waveform
    delay: float = 0.0  # s, from block start to the start of the waveform
    center: float = 0.0  # s, from the start of the waveform to its effective centre
    frequency_offset: float = 0.0  # Hz
    phase_offset: float = 0.0  # rad
    frequency_ppm: float = 0.0  # ppm of the Larmor frequency, added to frequency_offset
    phase_ppm: float = 0.0  # rad/MHz, times the Larmor frequency, added to phase_offset
    use: str = "undefined"  # excitation, refocusing, inversion, saturation, preparation, other, undefined
    is_stepped: bool = True  # True: waveform[i] holds over step i; False: points joined by straight lines


@dataclass(frozen=True, eq=False)
class Gradient:
    """Points joined by straight lines; zero outside them."""

    time: Float  # s, (point,), non-decreasing, from the start of the waveform
    waveform: Float  # Hz/m, (point,)
    delay: float = 0.0  # s, from block start
    kind: str = "trapezoid"  # trapezoid | arbitrary (raster samples between first and last) | shaped (own time points)

    @property
    def duration(self) -> float:
        return float(self.time[-1]) if len(self.time) else 0.0


@dataclass(frozen=True, eq=False)
class Adc:
    """Sample i lies at delay + (i + 0.5) dwell from the start of the block."""

    n_samples: int
    dwell: float  # s
    delay: float = 0.0  # s, from block start
    frequency_offset: float = 0.0  # Hz
    phase_offset: float = 0.0  # rad
    frequency_ppm: float = 0.0
    phase_ppm: float = 0.0  # rad/MHz
    phase_modulation: Float | None = None  # rad, (sample,)


@dataclass(frozen=True)
class Trigger:
    kind: int  # Pulseq's numbers: 1 output, 2 input
    channel: int
    delay: float  # s
    duration: float  # s


@dataclass(frozen=True)
class SoftDelay:
    number: int
    offset: float  # s
    factor: float
    hint: str  # name the user gives: "TE"


@dataclass(frozen=True)
class Rasters:
    rf: float = 1e-6  # s
    gradient: float = 10e-6
    adc: float = 0.1e-6
    block: float = 10e-6


@dataclass(frozen=True, eq=False)
class Program:
    blocks: NDArray[np.int32]  # (block, len(Column)): indices into the tuples below, -1 for none
    durations: Float  # s, (block,)
    rf: tuple[RfPulse, ...] = ()
    gradients: tuple[Gradient, ...] = ()
    adc: tuple[Adc, ...] = ()
    rotations: Float = field(default_factory=lambda: np.zeros((0, 3, 3)))  # (rotation, 3, 3): played = R @ (gx, gy, gz)
    shims: Complex = field(
        default_factory=lambda: np.zeros((0, 1), complex)
    )  # (shim, tx) weights, Pulseq's phase sense
    triggers: tuple[tuple[Trigger, ...], ...] = ()  # each entry: what one block triggers
    soft_delays: tuple[SoftDelay, ...] = ()
    labels: Mapping[str, NDArray[np.int32]] = field(
        default_factory=dict
    )  # name -> (block,) value in force at the block
    definitions: Mapping[str, Any] = field(default_factory=dict)  # str, or tuple of floats, in Pulseq's units (m, s)
    rasters: Rasters = field(default_factory=Rasters)
    reference_drive: float | None = None  # sqrt(W)/Hz, from prescan

    @property
    def n_blocks(self) -> int:
        return len(self.durations)


def block_starts(program: Program) -> Float:
    """(block + 1,) s: the start of every block, and the end of the last."""
    return np.concatenate(([0.0], np.cumsum(program.durations)))


def duration(program: Program) -> float:
    """Seconds from the first block to the end of the last."""
    return float(np.sum(program.durations))


def adc_blocks(program: Program) -> NDArray[np.intp]:
    """Indices of the blocks that listen, in order: readout i of the raw data is played by block adc_blocks[i]."""
    return np.flatnonzero(program.blocks[:, Column.ADC] >= 0)


def rf_steps(pulse: RfPulse, raster: float = 1e-6) -> tuple[Float, Complex]:
    """The nominal waveform as steps: (step,) durations in s, and (step,) constant values in Hz, without offsets.

    A stepped waveform is returned as it is (neighbouring equal values joined); a pointed one is cut into steps of at
    most `raster` with the value at the middle of each.
    """
    if pulse.is_stepped:
        n = len(pulse.waveform)
        lengths, values = np.full(n, pulse.duration / n), np.asarray(pulse.waveform, complex)
    else:
        edges = [np.array([0.0])]
        points = np.concatenate(([0.0], pulse.time, [pulse.duration]))
        held = np.concatenate(([0.0], pulse.waveform, [0.0]))
        for i in range(len(points) - 1):
            length = points[i + 1] - points[i]
            if length <= 0:
                continue
            n_cuts = 1 if held[i] == held[i + 1] else max(1, int(np.ceil(length / raster - 1e-6)))
            edges.append(points[i] + length * np.arange(1, n_cuts + 1) / n_cuts)
        edge = np.concatenate(edges)
        middle = (edge[1:] + edge[:-1]) / 2
        inside = (middle >= pulse.time[0]) & (middle <= pulse.time[-1])
        values = np.interp(middle, pulse.time, pulse.waveform.real) + 1j * np.interp(
            middle, pulse.time, pulse.waveform.imag
        )
        lengths, values = np.diff(edge), np.where(inside, values, 0)
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return np.add.reduceat(lengths, starts), values[starts]


def b1(
    pulse: RfPulse, time: Float, values: Complex, *, larmor_frequency: float = 0.0, phase: float | None = None
) -> Complex:
    """gamma-bar B1+ in the rotating frame, Hz, in our sense of rotation (units.py), at times from the waveform's start.

    `values` are nominal waveform values at `time`, `rf_steps` gives both. The frequency offset turns the phase from the
    start of the waveform, as Pulseq has it.
    """
    offset = pulse.frequency_offset + pulse.frequency_ppm * 1e-6 * larmor_frequency
    start = pulse.phase_offset + pulse.phase_ppm * 1e-6 * larmor_frequency if phase is None else phase
    return np.conj(values * np.exp(1j * (start + 2 * np.pi * offset * np.asarray(time))))


def receiver_phase(adc: Adc, *, larmor_frequency: float = 0.0) -> Complex:
    """(sample,) unit factors that demodulate M_xy into samples: the same phase on RF and ADC cancels."""
    time = (np.arange(adc.n_samples) + 0.5) * adc.dwell
    offset = adc.frequency_offset + adc.frequency_ppm * 1e-6 * larmor_frequency
    phase = adc.phase_offset + adc.phase_ppm * 1e-6 * larmor_frequency + 2 * np.pi * offset * time
    if adc.phase_modulation is not None:
        phase = phase + adc.phase_modulation
    return np.exp(1j * phase)


def shim_weights(program: Program, block: int) -> Complex | None:
    """(tx,) channel weights of a block in our phase sense, or None where the block drives all channels alike."""
    i = program.blocks[block, Column.SHIM]
    return None if i < 0 else np.conj(program.shims[i])


def gradient_points(program: Program, block: int) -> tuple[Float, Float]:
    """One block's played gradients: (point,) s from block start and (point, 3) Hz/m, rotated, joined by straight lines.

    Points cover the whole block. A jump is two points at one time.
    """
    row = program.blocks[block]
    length = program.durations[block]
    axes = [program.gradients[i] if i >= 0 else None for i in row[Column.GX : Column.GZ + 1]]
    used = [g for g in axes if g is not None and g.duration > 0]  # files do hold gradients of no length
    if not used:
        return np.array([0.0, length]), np.zeros((2, 3))
    marks = np.concatenate([g.delay + g.time for g in used] + [[0.0, length]])
    unique = np.unique(np.round(marks, 12))
    if len(unique) == 1:  # a block without duration plays nothing
        return np.array([0.0, length]), np.zeros((2, 3))
    time = np.repeat(unique, 2)  # just before and just after each mark, so that jumps survive
    values = np.zeros((len(time), 3))
    for axis, gradient in enumerate(axes):
        if gradient is None or not gradient.duration > 0:
            continue
        at = np.round(gradient.delay + gradient.time, 12)
        after = np.searchsorted(at, unique, side="right")  # last point at or before the mark
        before = np.searchsorted(at, unique, side="left")
        inner = np.interp(unique, at, gradient.waveform)
        left = np.where(before < len(at), inner, 0.0)
        hit = (before < len(at)) & (at[np.minimum(before, len(at) - 1)] == unique)
        left = np.where(hit, gradient.waveform[np.minimum(before, len(at) - 1)], left)
        right = np.where(hit, gradient.waveform[np.maximum(after - 1, 0)], inner)
        left = np.where((unique <= at[0]) | (unique > at[-1]), 0.0, left)
        right = np.where((unique < at[0]) | (unique >= at[-1]), 0.0, right)
        values[0::2, axis], values[1::2, axis] = left, right
    keep = np.ones(len(time), bool)
    keep[0] = keep[-1] = False
    same = np.all(values[0::2] == values[1::2], axis=1)
    keep[1:-1:2][same[:-1] & (np.arange(len(unique) - 1) > 0)] = False
    time, values = time[keep], values[keep]
    i = row[Column.ROTATION]
    return time, values @ program.rotations[i].T if i >= 0 else values


def program_hash(program: Program) -> str:
    """A content hash of all that changes what is played or how loud: equal programs hash alike, however they were made.

    Not in it: definitions and rasters, which say how a program was meant or is written, and a gradient's kind.
    """
    digest = hashlib.sha256()

    def add(values: Any, kind: DTypeLike = np.float64) -> None:
        array = np.asarray(values, kind) + 0  # makes negative zeros positive ones
        digest.update(f"{array.shape}".encode())  # so that no number can change its place unseen
        digest.update(np.ascontiguousarray(array).tobytes())

    def name(text: str) -> None:
        digest.update(f"{len(text)}:{text}".encode())

    add(program.blocks, np.int32)
    add(program.durations)
    add(program.rotations)
    add(program.shims, np.complex128)
    add([] if program.reference_drive is None else [program.reference_drive])
    add([len(program.rf), len(program.gradients), len(program.adc), len(program.triggers), len(program.soft_delays)])
    for p in program.rf:
        add(p.waveform, np.complex128)
        add(p.time)
        add([p.duration, p.delay, p.center, p.frequency_offset, p.phase_offset, p.frequency_ppm, p.phase_ppm])
        add([p.is_stepped])
        name(p.use)
    for g in program.gradients:
        add(g.time)
        add(g.waveform)
        add([g.delay])
    for a in program.adc:
        add([a.n_samples, a.dwell, a.delay, a.frequency_offset, a.phase_offset, a.frequency_ppm, a.phase_ppm])
        add([] if a.phase_modulation is None else a.phase_modulation)
    for together in program.triggers:
        add([[t.kind, t.channel, t.delay, t.duration] for t in together])
    for soft in program.soft_delays:
        add([soft.number, soft.offset, soft.factor])
        name(soft.hint)
    for label in sorted(program.labels):
        name(label)
        add(program.labels[label], np.int32)
    return digest.hexdigest()
