"""The reference engine: isochromats, the Bloch equation through every step of every pulse. Slow, obvious, the judge.

play(program, spins)                            # points: one isochromat each; boxes, T2' and diffusion: 128 each
play(program, spins, spins_per_voxel=1000)      # better
play(program, spins, readouts=[0, 5])           # everything is played, two readouts are heard

- A distinct pulse (waveform, offset frequency, channel weights, gradients under it) is integrated once per isochromat,
  as the affine map M -> A M + c, and used again. A pulse of phase p is the same map between turns of M_xy by -p and p:
  relaxation and precession commute with them, so this is exact.
- Between pulses precession and relaxation are exact, however many blocks lie between.
- Diffusion (isotropic, free) is a random walk of the isochromats: exact in distribution between pulses and in ADC windows,
  frozen during pulses (they walk that time at its end), and noisy, about 1 / sqrt(isochromats). They leave their box for good: it
  blurs over a long program, where in tissue others would walk in.
- Within a spin T1, T2, B1+ and the receive sensitivity are constant. The error of the isochromats is in subspins.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lauterbur.acquisition.twin import bloch
from lauterbur.acquisition.twin.score import PULSE, PULSE_AND_LISTEN, Score, score
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.subspins import count_for, sub_spins
from lauterbur.errors import InputError, ResourceError
from lauterbur.program import Column, Complex, Program, adc_blocks, receiver_phase

_STATE_BYTES = 128 * 2**20  # isochromats and their maps held at once
_LANE_BYTES = 64 * 2**20  # signals summed at once
_MOST_BYTES = 16 * 2**30  # of the result


def play(
    program: Program,
    spins: Spins,
    receive: ArrayLike | None = None,
    *,
    larmor_frequency: float = 0.0,
    spins_per_voxel: int | None = None,
    seed: int = 0,
    readouts: ArrayLike | None = None,
    pulse_step: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.complex64]:
    """(readout, rx, sample) signals, zero-padded where readouts differ in length.

    receive: complex (rx, n) sensitivities at the spins, None for one coil of sensitivity 1. larmor_frequency (Hz) is
    for events given in ppm. progress is told the fraction done.
    pulse_step (s): neighbouring steps of a pulse are played as their mean up to this long, an error of its square.
    """
    n_spins = len(spins)
    coils = np.ones((1, n_spins), complex) if receive is None else np.ascontiguousarray(receive, np.complex128)
    if coils.ndim != 2 or coils.shape[1] != n_spins:
        raise InputError(f"receive has shape {coils.shape}; it must be (rx, {n_spins}), one column per spin")
    listening = adc_blocks(program)
    kept = np.arange(len(listening)) if readouts is None else _valid_readouts(readouts, len(listening))
    adcs = [program.adc[i] for i in program.blocks[listening[kept], Column.ADC]]
    width = max((a.n_samples for a in adcs), default=0)
    n_bytes = 8 * len(kept) * len(coils) * width
    if not n_bytes <= _MOST_BYTES:
        raise ResourceError(
            f"{len(kept)} readouts x {len(coils)} channels x {width} samples need {n_bytes / 2**30:.0f} GiB; at most "
            f"{_MOST_BYTES / 2**30:.0f} GiB are used; choose readouts or fewer channels"
        )

    written = score(program, larmor_frequency=larmor_frequency, readouts=kept)
    if pulse_step > 0:
        written = replace(written, pulses=tuple(pulse.coarser(pulse_step) for pulse in written.pulses))
    drive = np.array([_drive(pulse.weights, spins.b1_plus) for pulse in written.pulses]).reshape(-1, n_spins)
    count = count_for(spins, spins_per_voxel)
    out = np.zeros((len(kept), len(coils), width), np.complex64)
    per_spin = count * (96 * len(written.pulses) + 200)
    chunk = max(1, min(n_spins, _STATE_BYTES // per_spin)) if n_spins else 1
    for start in range(0, n_spins, chunk):
        some = slice(start, min(n_spins, start + chunk))
        _play_chunk(out, written, spins, coils, drive, some, count, seed)
        if progress is not None:
            progress(min(n_spins, start + chunk) / n_spins)

    for signal, adc in zip(out, adcs, strict=True):
        signal[:, : adc.n_samples] *= receiver_phase(adc, larmor_frequency=larmor_frequency).astype(np.complex64)
    return out


def _valid_readouts(readouts: ArrayLike, n_readouts: int) -> NDArray[np.intp]:
    kept = np.atleast_1d(np.asarray(readouts, np.intp))
    if kept.size and not (kept.min() >= 0 and kept.max() < n_readouts and len(np.unique(kept)) == len(kept)):
        raise InputError(f"readouts must be different indices from 0 to {n_readouts - 1}; got {kept.tolist()[:8]}")
    return kept


def _drive(weights: Complex | None, b1_plus: Complex) -> Complex:
    """(n,) B1+ of each spin relative to nominal, all channels together."""
    if b1_plus.ndim == 1:
        b1_plus = b1_plus[None]
    if weights is None:
        return b1_plus.sum(axis=0)
    if len(weights) != len(b1_plus):
        raise InputError(
            f"the program weighs {len(weights)} transmit channels, but b1_plus has {len(b1_plus)}; "
            f"give b1_plus the shape ({len(weights)}, n)"
        )
    return weights @ b1_plus


def _play_chunk(
    out: NDArray[np.complex64],
    written: Score,
    spins: Spins,
    coils: Complex,
    drive: Complex,
    chosen: slice,
    count: int,
    seed: int,
) -> None:
    """Plays the whole score on some spins and adds their signal to out (readout, rx, sample)."""
    own = sub_spins(spins, chosen, count, seed)
    rate1, rate2, diffusion = 1 / spins.t1[chosen], 1 / spins.t2[chosen], spins.diffusion[chosen]
    weight = spins.weight[chosen] / count
    here = np.ascontiguousarray(drive[:, chosen])
    maps = np.zeros((len(written.pulses), len(own.position), 3, 4))
    rows = np.repeat(np.arange(len(weight)), count)
    where_at_all = [(diffusion == 0) | ~pulse.gradient.any() for pulse in written.pulses]
    mapped = np.array(where_at_all).reshape(-1, len(weight))
    for i, pulse in enumerate(written.pulses):
        mapped[i] &= ~np.any(pulse.sample >= 0)
    for i, pulse in enumerate(written.pulses):
        if not mapped[i].any():
            continue  # stepped through afresh each time
        bloch.pulse_maps(
            maps[i], pulse.duration, pulse.b, pulse.gradient, pulse.frequency, pulse.turn,
            here[i, rows], own.position, own.frequency, rate1[rows], rate2[rows],
        )  # fmt: skip

    state = np.zeros((len(own.position), 3))
    state[:, 2] = 1.0
    pulses, windows = _flat_pulses(written), _flat_windows(written)
    lengths = np.array([pulse.duration.sum() for pulse in written.pulses] + [0.0])
    is_pulse = (written.kind == PULSE) | (written.kind == PULSE_AND_LISTEN)
    stood = lengths[np.where(is_pulse, written.item, -1)]
    walked = written.duration + np.concatenate(([0.0], stood[:-1]))
    per_readout = 16 * bloch.LANES * max(1, out.shape[1] * out.shape[2])
    for first, last in _stretches(written.readout, max(1, _LANE_BYTES // per_readout)):
        some = slice(first, last)
        heard = written.readout[some]
        rows_out = heard[heard >= 0]
        local = np.where(heard >= 0, np.cumsum(heard >= 0) - 1, -1)
        lanes = np.zeros((bloch.LANES, len(rows_out), out.shape[1], out.shape[2]), np.complex128)
        bloch.play_lanes(
            lanes, state, own.position, own.frequency, rate1, rate2, diffusion, here, weight,
            np.ascontiguousarray(coils[:, chosen]), count, maps, mapped, seed % 2**63, chosen.start * count, first,
            written.duration[some], walked[some], written.k[some], written.k_integral[some], written.k_squared[some],
            written.kind[some], written.item[some], written.phase[some], local, *pulses, *windows,
        )  # fmt: skip
        out[rows_out] += lanes.sum(axis=0).astype(np.complex64)


def _stretches(readout: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Cuts the entries into stretches with at most `most` readouts each."""
    heard = np.cumsum(readout >= 0)
    edges = [
        0,
        *np.searchsorted(heard, np.arange(most, heard[-1] if len(heard) else 0, most), side="right"),
        len(readout),
    ]
    return [(int(a), int(b)) for a, b in pairwise(edges) if b > a]


def _joined(parts: list[NDArray], like: NDArray) -> NDArray:
    return np.concatenate(parts) if parts else like


def _flat_pulses(written: Score) -> tuple[NDArray, ...]:
    """All pulses end to end: first step of each, then the steps; frequency and turn per pulse."""
    p = written.pulses
    return (
        np.cumsum([0] + [len(x.duration) for x in p]),
        _joined([x.duration for x in p], np.zeros(0)),
        _joined([x.b for x in p], np.zeros(0, complex)),
        _joined([x.gradient for x in p], np.zeros((0, 3))),
        np.array([x.frequency for x in p], float),
        np.array([x.turn for x in p], complex).reshape(-1, 2),
        _joined([x.sample for x in p], np.zeros(0, np.int32)),
    )


def _flat_windows(written: Score) -> tuple[NDArray, ...]:
    w = written.windows
    return (
        np.cumsum([0] + [len(x.time) for x in w]),
        _joined([x.time for x in w], np.zeros(0)),
        _joined([x.k for x in w], np.zeros((0, 3))),
        _joined([x.spread for x in w], np.zeros(0)),
        np.array([x.is_uniform for x in w], bool),
    )
