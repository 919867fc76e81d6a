"""k-space as played: where every sample of a program lies, by exact integrals of its piecewise-linear gradients.

k starts at 0 at the effective centre of each excitation and is negated at the centre of each refocusing pulse;
inversions, saturations and preparations leave it alone. A pulse of unknown use is judged by its flip angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ResourceError
from lauterbur.program import Adc, Column, Float, Program, RfPulse, adc_blocks, block_starts, gradient_points, rf_steps

# Pulseq before 1.5 says nothing about a pulse's use; its readers call a pulse of more than 90.01 deg a refocusing one
# (pulseq/pulseq, matlab/+mr/@Sequence/read.m). We do the same.
_LARGEST_EXCITATION = np.deg2rad(90.01)
_MOST_BYTES = 16 * 2**30


@dataclass(frozen=True, eq=False)
class Trajectory:
    k: NDArray[np.float32]  # 1/m, (readout, sample, 3), patient axes; 0 in the padding
    n_samples: NDArray[np.int32]  # (readout,)
    time: Float  # s, (readout,), of the first sample, from the start of the program
    dwell: Float  # s, (readout,)
    te: Float  # s, (readout,), from the centre of the last excitation to center_sample; NaN before any excitation
    center_sample: NDArray[np.int32]  # (readout,), the sample nearest to k = 0


def moment(time: Float, gradient: Float, at: Float) -> Float:
    """(n, 3) 1/m: the integral from time[0] to each of `at` of (point, 3) Hz/m values joined by straight lines."""
    step = np.diff(time)
    total = np.zeros_like(gradient)
    np.cumsum(step[:, None] * (gradient[1:] + gradient[:-1]) / 2, axis=0, out=total[1:])
    i = np.clip(np.searchsorted(time, at, side="right") - 1, 0, len(time) - 2)
    inside = np.clip(at - time[i], 0.0, step[i])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(step[i][:, None] > 0, (gradient[i + 1] - gradient[i]) / step[i][:, None], 0.0)
    return total[i] + inside * (gradient[i] + inside * slope / 2)


def flip_angle(pulse: RfPulse) -> float:
    """rad, nominal, on resonance with the pulse: 2 pi |integral b dt|."""
    lengths, values = rf_steps(pulse)
    return float(2 * np.pi * abs(np.sum(lengths * values)))


def pulse_use(pulse: RfPulse) -> str:
    """The pulse's use; an undefined one excites up to 90 degrees and refocuses above."""
    if pulse.use not in ("undefined", ""):
        return pulse.use
    return "excitation" if flip_angle(pulse) <= _LARGEST_EXCITATION else "refocusing"


def sample_times(adc: Adc) -> Float:
    """(sample,) s from the start of the block."""
    return adc.delay + (np.arange(adc.n_samples, dtype=np.float64) + 0.5) * adc.dwell


def trajectory(program: Program) -> Trajectory:
    """Where every sample lies; blocks that play the same events are integrated once."""
    listening = adc_blocks(program)
    n_samples = np.array([program.adc[i].n_samples for i in program.blocks[listening, Column.ADC]], np.int32)
    width = int(n_samples.max(initial=0))
    if len(listening) * width * 12 > _MOST_BYTES:
        raise ResourceError(
            f"k-space of {len(listening)} readouts x {width} samples needs {len(listening) * width * 12 / 2**30:.0f} GiB; "
            f"at most {_MOST_BYTES / 2**30:.0f} GiB are used; play fewer or shorter ADC windows"
        )

    kind_of, example = _kinds(program)
    points = [gradient_points(program, int(block)) for block in example]
    totals = np.array([moment(t, g, t[-1:])[0] for t, g in points]).reshape(-1, 3)
    before = np.zeros((program.n_blocks + 1, 3))  # integral of G from the start of the program to each block
    np.cumsum(totals[kind_of], axis=0, out=before[1:])
    starts = block_starts(program)

    base, excited = _offsets(program, kind_of, points, before, starts)

    k = np.zeros((len(listening), width, 3), np.float32)
    time, dwell, te = (np.zeros(len(listening)) for _ in range(3))
    center = np.zeros(len(listening), np.int32)
    for kind in np.unique(kind_of[listening]):
        rows = np.flatnonzero(kind_of[listening] == kind)
        adc = program.adc[program.blocks[example[kind], Column.ADC]]
        at = sample_times(adc)
        if not len(at):
            continue
        shape = moment(points[kind][0], points[kind][1], at)
        for some in np.array_split(rows, max(1, len(rows) * len(at) // 1_000_000)):
            block = listening[some]
            played = shape + (base[block] + before[block])[:, None, :]
            k[some, : len(at)] = played
            center[some] = _nearest_to_zero(played)
            time[some] = starts[block] + at[0]
            dwell[some] = adc.dwell
            te[some] = starts[block] + at[center[some]] - excited[block]
    return Trajectory(k, n_samples, time, dwell, te, center)


def _kinds(program: Program) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(block,) which kind each block is of, and one block of each kind: same gradients, rotation, pulse, ADC, length."""
    columns = [Column.GX, Column.GY, Column.GZ, Column.ROTATION, Column.RF, Column.ADC]
    _, length = np.unique(program.durations, return_inverse=True)
    # A pulse only matters by where its centre lies: events that differ in phase alone are one kind.
    centers = np.array([p.delay + p.center for p in program.rf] + [-1.0])
    _, center = np.unique(centers, return_inverse=True)
    table = np.column_stack([program.blocks[:, columns], length]).astype(np.int64)
    table[:, 4] = center[program.blocks[:, Column.RF]]
    _, example, kind_of = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return kind_of.reshape(-1), example


def _offsets(
    program: Program, kind_of: NDArray[np.intp], points: list[tuple[Float, Float]], before: Float, starts: Float
) -> tuple[Float, Float]:
    """What the pulses add to the running integral: (block, 3) 1/m in force in each block's ADC, and (block,) s, when
    the last excitation was. A pulse that shares its block with an ADC window acts before it."""
    uses = [pulse_use(p) for p in program.rf]
    pulsed = [
        b for b in np.flatnonzero(program.blocks[:, Column.RF] >= 0) if uses[program.blocks[b, Column.RF]] in _ACTS
    ]
    cached: dict[int, Float] = {}
    at_center, when = np.zeros((len(pulsed), 3)), np.zeros(len(pulsed))
    for i, b in enumerate(pulsed):
        kind = int(kind_of[b])
        pulse = program.rf[program.blocks[b, Column.RF]]
        if kind not in cached:
            cached[kind] = moment(points[kind][0], points[kind][1], np.array([pulse.delay + pulse.center]))[0]
        at_center[i] = before[b] + cached[kind]
        when[i] = starts[b] + pulse.delay + pulse.center

    offset, excited = np.zeros((len(pulsed) + 1, 3)), np.full(len(pulsed) + 1, np.nan)
    for i, b in enumerate(pulsed):
        if uses[program.blocks[b, Column.RF]] == "excitation":
            offset[i + 1], excited[i + 1] = -at_center[i], when[i]
        else:
            offset[i + 1], excited[i + 1] = -offset[i] - 2 * at_center[i], excited[i]
    last = np.searchsorted(np.asarray(pulsed, np.intp), np.arange(program.n_blocks), side="right")
    return offset[last], excited[last]


_ACTS = ("excitation", "refocusing")


def _nearest_to_zero(k: Float) -> NDArray[np.intp]:
    """(readout,) the sample of (readout, sample, 3) nearest to k = 0; the later of two that are equally near (the
    centre of an even FFT), the first where k stands still."""
    distance = np.linalg.norm(k, axis=2)
    nearest = np.argmin(distance, axis=1)
    if distance.shape[1] < 2:
        return nearest
    rows = np.arange(len(k))
    later = np.minimum(nearest + 1, distance.shape[1] - 1)
    step = np.linalg.norm(k[rows, later] - k[rows, later - 1], axis=1)
    tied = distance[rows, later] <= distance[rows, nearest] + 1e-3 * step
    still = np.max(np.linalg.norm(np.diff(k, axis=1), axis=2), axis=1) <= 1e-6 * np.maximum(distance.max(axis=1), 1e-3)
    return np.where(still, 0, np.where(tied, later, nearest))
