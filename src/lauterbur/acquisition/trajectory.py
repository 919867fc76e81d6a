"""k-space as played: where every sample of a program lies, by exact integrals of its piecewise-linear gradients.

k starts at 0 at the effective centre of each excitation and is negated at the centre of each refocusing pulse;
inversions, saturations and preparations leave it alone. A pulse of unknown use is judged by its flip angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ResourceError
from lauterbur.program import Adc, Column, Float, Gradient, Program, RfPulse, adc_blocks, block_starts, rf_steps

# Pulseq before 1.5 says nothing about a pulse's use; its readers call a pulse of more than 90.01 deg a refocusing one
# (pulseq/pulseq, matlab/+mr/@Sequence/read.m, from memory: unconfirmed). We do the same.
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


def moment(gradient: Gradient, at: Float) -> Float:
    """(n,) 1/m: the integral of one gradient from the start of its block to each of `at`, s from there."""
    time, value = gradient.delay + gradient.time, gradient.waveform
    if len(time) < 2:
        return np.zeros(len(at))
    step = np.diff(time)
    total = np.concatenate([[0.0], np.cumsum(step * (value[1:] + value[:-1]) / 2)])
    i = np.clip(np.searchsorted(time, at, side="right") - 1, 0, len(step) - 1)
    inside = np.clip(at - time[i], 0.0, step[i])
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(step[i] > 0, (value[i + 1] - value[i]) / step[i], 0.0)
    return total[i] + inside * (value[i] + inside * slope / 2)


def flip_angle(pulse: RfPulse) -> float:
    """rad, nominal, on resonance with the pulse: 2 pi |integral b dt|."""
    lengths, values = rf_steps(pulse)
    return float(2 * np.pi * abs(np.sum(lengths * values)))


def pulse_use(pulse: RfPulse) -> str:
    """The pulse's use; an undefined one excites up to 90 degrees and refocuses above."""
    if pulse.use not in ("undefined", ""):
        return pulse.use
    return "excitation" if flip_angle(pulse) <= _LARGEST_EXCITATION else "refocusing"


def pulse_uses(program: Program) -> list[str]:
    """Of every RF event; equal waveforms are judged once."""
    known: dict[tuple[str, bytes, float], str] = {}
    uses = []
    for pulse in program.rf:
        key = (pulse.use, pulse.waveform.tobytes(), pulse.duration)
        if key not in known:
            known[key] = pulse_use(pulse)
        uses.append(known[key])
    return uses


def sample_times(adc: Adc) -> Float:
    """(sample,) s from the start of the block."""
    return adc.delay + (np.arange(adc.n_samples, dtype=np.float64) + 0.5) * adc.dwell


def trajectory(program: Program) -> Trajectory:
    """Where every sample lies."""
    listening = adc_blocks(program)
    lengths = [program.adc[i].n_samples for i in program.blocks[listening, Column.ADC]]
    width = max(lengths, default=0)
    if len(listening) * width * 12 > _MOST_BYTES:
        raise ResourceError(
            f"k-space of {len(listening)} readouts x {width} samples needs {len(listening) * width * 12 / 2**30:.0f} GiB; "
            f"at most {_MOST_BYTES / 2**30:.0f} GiB are used; play fewer or shorter ADC windows"
        )

    n_samples = np.array(lengths, np.int32)
    starts = block_starts(program)
    before = np.zeros((program.n_blocks + 1, 3))  # integral of G from the start of the program to each block
    np.cumsum(_areas(program), axis=0, out=before[1:])
    played_in = _Moments(program)
    offset, excited = _offsets(program, played_in, before, starts)

    k = np.zeros((len(listening), width, 3), np.float32)
    time, dwell, te = (np.zeros(len(listening)) for _ in range(3))
    center = np.zeros(len(listening), np.int32)
    gradients = program.blocks[listening][:, [Column.GX, Column.GY, Column.GZ, Column.ROTATION]]
    i_adc = program.blocks[listening, Column.ADC]
    for i in np.unique(i_adc):
        adc, at = program.adc[i], sample_times(program.adc[i])
        if not len(at):
            continue
        rows = np.flatnonzero(i_adc == i)
        for some in np.array_split(rows, len(rows) * len(at) // 1_000_000 + 1):
            block = listening[some]
            _, example, kind = np.unique(gradients[some], axis=0, return_index=True, return_inverse=True)
            shapes = np.array([played_in(int(b), at) for b in block[example]])
            played = shapes[kind.reshape(-1)] + (offset[block] + before[block])[:, None, :]
            k[some, : len(at)] = played
            center[some] = _nearest_to_zero(played)
            time[some] = starts[block] + at[0]
            dwell[some] = adc.dwell
            te[some] = starts[block] + at[center[some]] - excited[block]
    return Trajectory(k, n_samples, time, dwell, te, center)


def _areas(program: Program) -> Float:
    """(block, 3) 1/m, played."""
    areas_of = [float(np.diff(g.time) @ (g.waveform[1:] + g.waveform[:-1])) / 2 for g in program.gradients]
    area = np.array([*areas_of, 0.0])  # -1 finds the last: none
    areas = area[program.blocks[:, Column.GX : Column.GZ + 1]]
    turned = np.flatnonzero(program.blocks[:, Column.ROTATION] >= 0)
    turns = program.rotations[program.blocks[turned, Column.ROTATION]]
    areas[turned] = np.einsum("bij,bj->bi", turns, areas[turned])
    return areas


class _Moments:
    """Moments within a block; one gradient at the same times is integrated once."""

    def __init__(self, program: Program):
        self.program = program
        self.known: dict[tuple[int, bytes], Float] = {}
        first: dict[tuple[bytes, bytes, float], int] = {}
        contents = [(g.time.tobytes(), g.waveform.tobytes(), g.delay) for g in program.gradients]
        self.alike = [first.setdefault(c, i) for i, c in enumerate(contents)]

    def __call__(self, block: int, at: Float) -> Float:
        """(n, 3) 1/m played in this block until each of `at`."""
        row, when = self.program.blocks[block], at.tobytes()
        played = np.zeros((len(at), 3))
        for axis, i in enumerate(row[Column.GX : Column.GZ + 1].tolist()):
            if i >= 0:
                key = (self.alike[i], when)
                if key not in self.known:
                    self.known[key] = moment(self.program.gradients[i], at)
                played[:, axis] = self.known[key]
        turn = row[Column.ROTATION]
        return played @ self.program.rotations[turn].T if turn >= 0 else played


def _offsets(program: Program, played_in: _Moments, before: Float, starts: Float) -> tuple[Float, Float]:
    """What the pulses add to the running integral: (block, 3) 1/m in force in each block's ADC, and (block,) s, when
    the last excitation was. A pulse that shares its block with an ADC window acts before it."""
    uses = pulse_uses(program)
    i_rf = program.blocks[:, Column.RF]
    pulsed = np.array([b for b in np.flatnonzero(i_rf >= 0) if uses[i_rf[b]] in ("excitation", "refocusing")], np.intp)
    at_center, when = np.zeros((len(pulsed), 3)), np.zeros(len(pulsed))
    for i, b in enumerate(pulsed):
        center = program.rf[i_rf[b]].delay + program.rf[i_rf[b]].center
        at_center[i] = before[b] + played_in(int(b), np.array([center]))[0]
        when[i] = starts[b] + center

    offset, excited = np.zeros((len(pulsed) + 1, 3)), np.full(len(pulsed) + 1, np.nan)
    for i, b in enumerate(pulsed):
        if uses[i_rf[b]] == "excitation":
            offset[i + 1], excited[i + 1] = -at_center[i], when[i]
        else:
            offset[i + 1], excited[i + 1] = -offset[i] - 2 * at_center[i], excited[i]
    last = np.searchsorted(pulsed, np.arange(program.n_blocks), side="right")
    return offset[last], excited[last]


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
