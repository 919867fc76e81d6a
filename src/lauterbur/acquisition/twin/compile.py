"""Program to timeline: where each pulse acts, which k-space moments lie between pulses, and when the twin listens.

A pulse is thought to act at its effective centre. K(t) is the running integral of gamma-bar G since the start of the
program, in 1/m; only differences of K matter. Everything is computed once per distinct event and gathered per block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.composite import fused
from lauterbur.acquisition.twin.played import PREPARING, Played, PulseShape
from lauterbur.errors import UnsupportedError
from lauterbur.program import Column, Gradient, Program, RfPulse, adc_blocks, b1, block_starts, receiver_phase, rf_steps

Float = NDArray[np.float64]


LONGEST_STEP = 8e-6  # s, of a pulse: in its own frame its spins are within some kHz of resonance
EXTENT = 0.8  # m; steps excite again 1 / step away in frequency, which must be farther than this under the gradient


@dataclass(frozen=True, eq=False)
class Timeline(Played):
    diffusion: (
        Float  # (pulse, 4): over the interval that ends at this pulse, integral of K - K_start (3) and of its square
    )
    heard: Float  # (readout, 5): from the last pulse to the window's middle: time, integral of K - K_pulse (3), of its square
    pulse: NDArray[np.int32]  # (readout,) the last pulse before it, -1 if none
    start: Float  # s, (readout,) first sample
    dwell: Float  # s, (readout,)
    n_samples: NDArray[np.int32]  # (readout,)
    base: Float  # 1/m, (readout, 3): K at the start of its block
    window: NDArray[np.int32]  # (readout,) which of the windows below
    windows: tuple[Float, ...]  # each 1/m, (sample, 3): K since the start of the block
    receiver: tuple[NDArray[np.complex128], ...]  # demodulation, (sample,), by adc event
    adc: NDArray[np.int32]  # (readout,)

    def k_since_pulse(self, readouts: NDArray, n_samples: int) -> Float:
        """(readout, sample, 3) 1/m gathered since the last pulse's centre."""
        k = np.empty((len(readouts), n_samples, 3))
        base = self.base[readouts] - self.k[self.pulse[readouts]]
        kinds = self.window[readouts]
        for kind in np.unique(kinds):
            rows = np.flatnonzero(kinds == kind)
            k[rows] = base[rows, None, :] + self.windows[kind][None, :n_samples]
        return k

    def b_value(self, readout: NDArray, k: Float) -> Float:
        """(n,) s/m2: what a state that is dephased by k (n, 3) after the last pulse diffuses until it is heard."""
        heard = self.heard[readout]
        still, turned = (k**2).sum(axis=1) * heard[:, 0], 2 * (k * heard[:, 1:4]).sum(axis=1)
        return np.asarray(4 * np.pi**2 * (still + turned + heard[:, 4]))


def _integral(gradient: Gradient, time: Float) -> Float:
    """Integral of one gradient's waveform from its block's start to each time, exact for straight lines."""
    points, values = gradient.delay + gradient.time, gradient.waveform
    if not len(points):
        return np.zeros(len(time))
    total = np.concatenate(([0.0], np.cumsum(np.diff(points) * (values[1:] + values[:-1]) / 2)))
    at = np.clip(time, points[0], points[-1])
    i = np.clip(np.searchsorted(points, at, side="right") - 1, 0, max(len(points) - 2, 0))
    if len(points) == 1:
        return np.zeros(len(time))
    span = points[i + 1] - points[i]
    fraction = np.where(span > 0, (at - points[i]) / np.where(span > 0, span, 1), 0)
    here = values[i] + fraction * (values[i + 1] - values[i])
    return total[i] + (at - points[i]) * (values[i] + here) / 2


def _block_integrals(program: Program, rows: NDArray, times: Float) -> Float:
    """(time, 3) K since the block's start for one representative block."""
    out = np.zeros((len(times), 3))
    for axis in range(3):
        g = rows[Column.GX + axis]
        if g >= 0:
            out[:, axis] = _integral(program.gradients[g], times)
    r = rows[Column.ROTATION]
    return out @ program.rotations[r].T if r >= 0 else out


def _shape_key(pulse: RfPulse, larmor_frequency: float) -> tuple:
    offset = pulse.frequency_offset + pulse.frequency_ppm * 1e-6 * larmor_frequency
    return (
        np.ascontiguousarray(pulse.waveform).tobytes(),
        np.ascontiguousarray(pulse.time).tobytes(),
        round(pulse.duration * 1e12),
        round(pulse.delay * 1e12),
        round(pulse.center * 1e12),
        offset,
        pulse.use,
    )


def timeline(program: Program, *, larmor_frequency: float = 0.0, with_diffusion: bool = False) -> Timeline:
    starts = block_starts(program)[:-1]
    blocks = program.blocks
    gradient_columns = [Column.GX, Column.GY, Column.GZ, Column.ROTATION]

    # K at block starts: whole-block moments, one per distinct gradient and axis
    totals = np.zeros(len(program.gradients) + 1)
    for i, g in enumerate(program.gradients):
        totals[i] = _integral(g, np.array([np.inf]))[0] if len(g.time) else 0.0
    moment = totals[blocks[:, Column.GX : Column.GZ + 1]]  # index -1 gathers the trailing zero
    for r in np.unique(blocks[:, Column.ROTATION]):
        if r >= 0:
            rows = blocks[:, Column.ROTATION] == r
            moment[rows] = moment[rows] @ program.rotations[r].T
    k_start = np.concatenate((np.zeros((1, 3)), np.cumsum(moment, axis=0)))[:-1]

    # pulses
    pulse_blocks = np.flatnonzero(blocks[:, Column.RF] >= 0)
    keys: dict[tuple, int] = {}
    canonical = np.array([keys.setdefault(_shape_key(p, larmor_frequency), len(keys)) for p in program.rf], np.int32)
    drives, drive_of = _drives(program, pulse_blocks)
    rf, under = canonical[blocks[pulse_blocks, Column.RF]], blocks[pulse_blocks][:, gradient_columns]
    under[:, :3] = _alike(program, under[:, :3])
    columns = np.column_stack((rf, under, drive_of)) if len(pulse_blocks) else np.zeros((0, 6), np.int32)
    _, first, shape = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    shapes, center_moment = [], np.zeros((len(first), 3))
    for n, block in enumerate(pulse_blocks[first]):
        pulse = program.rf[blocks[block, Column.RF]]
        length, values = rf_steps(pulse, program.rasters.rf)
        edges = np.concatenate(([0.0], np.cumsum(length)))
        plain = replace(pulse, frequency_offset=0.0, frequency_ppm=0.0)
        field = b1(plain, (edges[1:] + edges[:-1]) / 2, values, phase=0.0)
        if not len(length):
            length, field, edges = np.array([pulse.duration]), np.zeros(1, complex), np.array([0, pulse.duration])
        long = length > 20 * program.rasters.rf
        offset = pulse.frequency_offset + pulse.frequency_ppm * 1e-6 * larmor_frequency
        if long.any():  # relaxation, and a changing gradient, are split from the rotation step by step
            n_cuts = np.where(long, np.ceil(length / (5 * program.rasters.rf)), 1).astype(int)
            length, values = np.repeat(length / n_cuts, n_cuts), np.repeat(values, n_cuts)
            edges = np.concatenate(([0.0], np.cumsum(length)))
            field = b1(plain, (edges[1:] + edges[:-1]) / 2, values, phase=0.0)
        steepest = max(
            (
                np.abs(program.gradients[g].waveform).max(initial=0.0)
                for g in blocks[block, Column.GX : Column.GZ + 1]
                if g >= 0
            ),
            default=0.0,
        )
        at = np.concatenate((pulse.delay + edges, [pulse.delay + pulse.center]))
        inside = _block_integrals(program, blocks[block], at)
        center_moment[n] = inside[-1]
        shapes.append(
            PulseShape(
                length,
                field,
                offset,
                np.diff(inside[:-1], axis=0) / length[:, None],
                pulse.center,
                pulse.duration - pulse.center,
                inside[-1] - inside[0],
                inside[-2] - inside[-1],
                np.full(len(length), drive_of[first[n]]),
                pulse.use,
            ).coarser(min(LONGEST_STEP, 1 / max(steepest * EXTENT, 1.0)))
        )
    kind = shape.astype(np.int32).reshape(-1)
    events = [program.rf[i] for i in blocks[pulse_blocks, Column.RF]]
    time = starts[pulse_blocks] + np.array([p.delay + p.center for p in events])
    k = k_start[pulse_blocks] + center_moment[kind]
    phase = -np.array([p.phase_offset + p.phase_ppm * 1e-6 * larmor_frequency for p in events])
    listening = adc_blocks(program)
    adcs = np.searchsorted(listening, np.append(pulse_blocks, program.n_blocks))
    played = fused(Played(tuple(shapes), kind, phase, time, k, drives), np.diff(adcs) > 0)
    time, k = played.time, played.k

    # readouts
    adc = blocks[listening, Column.ADC].astype(np.int32)
    n_samples = np.array([program.adc[i].n_samples for i in adc], np.int32)
    dwell = np.array([program.adc[i].dwell for i in adc], float)
    start = starts[listening] + np.array([program.adc[i].delay for i in adc], float) + dwell / 2
    _, first, window = np.unique(
        np.column_stack((adc, blocks[listening][:, gradient_columns])), axis=0, return_index=True, return_inverse=True
    )
    windows = []
    for block in listening[first]:
        a = program.adc[blocks[block, Column.ADC]]
        windows.append(_block_integrals(program, blocks[block], a.delay + (np.arange(a.n_samples) + 0.5) * a.dwell))
    before = (np.searchsorted(time, start, side="right") - 1).astype(np.int32)
    _refuse_overlap(played.shapes, played.shape, time, before, start, dwell, n_samples, listening)

    diffusion, heard = np.zeros((len(time), 4)), np.zeros((len(start), 5))
    if with_diffusion and len(time):
        diffusion, heard = _diffusion(program, starts, k_start, time, k, start + (n_samples - 1) * dwell / 2, before)
    return Timeline(
        played.shapes,
        played.shape,
        played.phase,
        time,
        k,
        drives,
        diffusion,
        heard,
        before,
        start,
        dwell,
        n_samples,
        k_start[listening],
        window.astype(np.int32).reshape(-1),
        tuple(windows),
        tuple(receiver_phase(a, larmor_frequency=larmor_frequency) for a in program.adc),
        adc,
    )


def _alike(program: Program, events: NDArray) -> NDArray:
    """These gradient events (pulse, axis), each by the first that is alike."""
    known: dict[bytes, int] = {}
    first = np.full(len(program.gradients) + 1, -1)
    for i in np.unique(events[events >= 0]):
        g = program.gradients[i]
        key = np.concatenate(([g.delay, len(g.time)], g.time, g.waveform)).tobytes()
        first[i] = known.setdefault(key, int(i))
    return first[events]


def _drives(
    program: Program, pulse_blocks: NDArray
) -> tuple[tuple[NDArray[np.complex128] | None, ...], NDArray[np.intp]]:
    """The distinct channel weights of these blocks' pulses, None where all channels are driven alike, and which of them each
    has; those of excitations come first."""
    shim = program.blocks[pulse_blocks, Column.SHIM]
    excites = np.array([p.use not in PREPARING for p in program.rf] + [True])[program.blocks[pulse_blocks, Column.RF]]
    known: dict[bytes, int] = {}
    drives: list[NDArray[np.complex128] | None] = []
    used = dict.fromkeys([*np.unique(shim[excites]).tolist(), *np.unique(shim).tolist()])
    number = {}
    for row in used:
        weights = np.conj(program.shims[row]) if row >= 0 else None
        key = b"" if weights is None else (weights + 0).tobytes()
        if key not in known:
            known[key] = len(drives)
            drives.append(weights)
        number[row] = known[key]
    return tuple(drives), np.array([number[row] for row in shim.tolist()], np.intp)


def _refuse_overlap(shapes, kind_of, time, before, start, dwell, n_samples, listening) -> None:
    if not len(time) or not len(start):
        return
    after = np.array([s.after for s in shapes])[kind_of]
    lead = np.array([s.before for s in shapes])[kind_of]
    end = start + (n_samples - 1) * dwell
    has = before >= 0
    early = np.zeros(len(start), bool)
    early[has] = start[has] < (time + after)[before[has]] - 1e-9
    has_next = before + 1 < len(time)
    late = np.zeros(len(start), bool)
    late[has_next] = end[has_next] > (time - lead)[before[has_next] + 1] + 1e-9
    if (early | late).any():
        i = int(np.flatnonzero(early | late)[0])
        raise UnsupportedError(
            f"the fast engine cannot listen while a pulse plays: block {listening[i] + 1} samples at "
            f"{start[i]:.6f} s, during an RF pulse; use engine='reference'"
        )


def _diffusion(
    program: Program, starts: Float, k_start: Float, time: Float, k: Float, middle: Float, before: NDArray
) -> tuple[Float, Float]:
    """Integrals of K - K(previous pulse) and of its square over each interval between pulses (pulse, 4), and from the
    pulse `before` each readout to the middle of its window (readout, 5). Gauss points on every straight piece."""
    marks = [starts, starts + program.durations, time, middle]
    for axis in range(3):
        column = program.blocks[:, Column.GX + axis]
        for g in np.unique(column[column >= 0]):
            points = program.gradients[g].delay + program.gradients[g].time
            if len(points) <= 64:
                marks.append((starts[column == g][:, None] + points[None, :]).ravel())
            else:
                marks.append((starts[column == g][:, None] + np.linspace(points[0], points[-1], 65)[None, :]).ravel())
    edges = np.unique(np.round(np.concatenate(marks), 12))
    edges = edges[(edges >= (time[0] if len(time) else 0))]
    nodes, weights = np.polynomial.legendre.leggauss(3)
    span = np.diff(edges)
    at = edges[:-1, None] + span[:, None] * (nodes + 1)[None, :] / 2
    block = np.clip(np.searchsorted(starts, at.ravel(), side="right") - 1, 0, len(starts) - 1)
    inside = np.zeros((at.size, 3))
    for axis in range(3):
        column = program.blocks[block, Column.GX + axis]
        for g in np.unique(column[column >= 0]):
            rows = column == g
            inside[rows, axis] = _integral(program.gradients[g], at.ravel()[rows] - starts[block[rows]])
    for r in np.unique(program.blocks[block, Column.ROTATION]):
        if r >= 0:
            rows = program.blocks[block, Column.ROTATION] == r
            inside[rows] = inside[rows] @ program.rotations[r].T
    here = (k_start[block] + inside).reshape(*at.shape, 3)
    previous = np.clip(np.searchsorted(time, at[:, 1], side="right") - 1, 0, None)
    away = here - k[previous][:, None, :]
    value = np.concatenate((away, (away**2).sum(axis=2, keepdims=True)), axis=2)
    integral = (value * weights[None, :, None]).sum(axis=1) * span[:, None] / 2
    out = np.zeros((len(time), 4))
    np.add.at(out, np.minimum(previous + 1, len(time) - 1), np.where((previous + 1 < len(time))[:, None], integral, 0))
    until = np.concatenate((np.zeros((1, 4)), np.cumsum(integral, axis=0)))
    last = time[np.maximum(before, 0)]
    from_, to = (np.searchsorted(edges, np.round(t, 12) - 5e-13) for t in (last, middle))
    heard = np.column_stack((middle - last, until[np.minimum(to, len(span))] - until[np.minimum(from_, len(span))]))
    heard[before < 0] = 0
    return out, heard
