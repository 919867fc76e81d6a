"""Clocks: durations on their rasters, events inside their blocks, dead times, and what the receiver can sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.findings import Finding
from lauterbur.program import Column, Program, block_starts
from lauterbur.safety.worst import largest, place, settle
from lauterbur.scanner.machine import Scanner

TOLERANCE = 1e-9  # s: Pulseq writes ns (ADC) and us (all else); less than this is rounding


def timing_findings(program: Program, scanner: Scanner) -> list[Finding]:
    return [
        *_order(program),
        *_rasters(program, scanner),
        *_coverage(program),
        *_dead_times(program, scanner),
        *_receiver(program, scanner),
    ]


def _off_raster(time: NDArray[np.float64], raster: float) -> NDArray[np.float64]:
    """Distance to the nearest multiple of the raster, s; what double precision cannot say is taken off."""
    return np.maximum(np.abs(time - raster * np.round(time / raster)) - 4 * np.spacing(np.abs(time)), 0)


def _first_block(program: Program, columns: list[Column], event: int) -> int:
    hits = np.flatnonzero((program.blocks[:, columns] == event).any(axis=1))
    return int(hits[0]) if len(hits) else 0


_GRADIENTS = [Column.GX, Column.GY, Column.GZ]


def _rasters(program: Program, scanner: Scanner) -> list[Finding]:
    found = []

    def judge(what: str, deviation: NDArray[np.float64], raster: float, columns: list[Column] | None) -> None:
        if not len(deviation):
            return
        i = largest(deviation)
        block = i if columns is None else _first_block(program, columns, i)
        found.append(
            Finding(
                f"{what}, distance from the raster",
                float(deviation[i]),
                TOLERANCE,
                "s",
                f"{scanner.name} profile: raster {raster * 1e6:g} us",
                place(program, block) if not deviation[i] <= 0 else "",
                f"round the times to multiples of {raster * 1e6:g} us",
            )
        )

    raster = scanner.spectrometer.block_raster
    judge("block duration", _off_raster(program.durations, raster), raster, None)

    raster = scanner.gradients.raster
    deviation = np.zeros(len(program.gradients))
    for i, g in enumerate(program.gradients):
        # arbitrary waveforms have their samples in the middles of the steps; only their borders are on the raster
        marks = g.delay + (g.time[[0, -1]] if g.kind == "arbitrary" and len(g.time) else g.time)
        deviation[i] = np.max(_off_raster(np.append(marks, g.delay), raster))
    judge("gradient times", deviation, raster, _GRADIENTS)

    raster = scanner.transmit.raster
    steps = np.array(
        [p.duration / len(p.waveform) if p.is_stepped and len(p.waveform) else p.duration for p in program.rf]
    )
    delays = np.array([p.delay for p in program.rf])
    judge("RF times", np.maximum(_off_raster(steps, raster), _off_raster(delays, raster)), raster, [Column.RF])

    raster = scanner.spectrometer.adc_raster
    dwell = np.array([a.dwell for a in program.adc])
    judge("ADC dwell", _off_raster(dwell, raster), raster, [Column.ADC])
    return found


def _coverage(program: Program) -> list[Finding]:
    """Every event ends no later than its block."""
    if not program.n_blocks:
        return []
    ends = {
        Column.RF: np.array([p.delay + p.duration for p in program.rf] + [0.0]),
        Column.ADC: np.array([a.delay + a.n_samples * a.dwell for a in program.adc] + [0.0]),
    }
    ends |= dict.fromkeys(_GRADIENTS, np.array([g.delay + g.duration for g in program.gradients] + [0.0]))
    needed = np.max([ends[column][program.blocks[:, column]] for column in ends], axis=0)
    missing = np.maximum(needed - program.durations, 0)
    i = largest(missing)
    durations = Finding(
        "time by which an event outlasts its block",
        float(missing[i]),
        TOLERANCE,
        "s",
        "Pulseq specification: a block is at least as long as each of its events",
        place(program, i) if not missing[i] <= 0 else "",
        f"lengthen the block from {program.durations[i]:.6g} to {needed[i]:.6g} s",
    )
    return [durations]


def backward(program: Program) -> float:
    """The largest step back in time, s; 0 for a program whose times run forward, NaN where one is not a number."""
    delays = [e.delay for events in (program.rf, program.adc, program.gradients) for e in events]
    steps = [-np.array([0.0, *delays]), -program.durations, *(-np.diff(g.time, prepend=0.0) for g in program.gradients)]
    worst = float(np.max(np.concatenate(steps)))
    return worst + 0.0 if np.isfinite(worst) else float("nan")  # + 0.0: no minus zero


def _order(program: Program) -> list[Finding]:
    rule = "times are finite and run forward"
    return [Finding("step back in time", backward(program), 0.0, "s", rule, "", "check delays and time points")]


def _dead_times(program: Program, scanner: Scanner) -> list[Finding]:
    """Free time around pulses and ADC windows, over block borders, since the hardware knows no blocks."""
    start = block_starts(program)
    rf, adc = program.blocks[:, Column.RF], program.blocks[:, Column.ADC]
    transmits, listens = np.flatnonzero(rf >= 0), np.flatnonzero(adc >= 0)
    pulse = np.array([[p.delay, p.delay + p.duration] for p in program.rf]).reshape(-1, 2)
    window = np.array([[a.delay, a.delay + a.n_samples * a.dwell] for a in program.adc]).reshape(-1, 2)
    span = np.concatenate((start[transmits, None] + pulse[rf[transmits]], start[listens, None] + window[adc[listens]]))
    is_rf = np.arange(len(span)) < len(transmits)
    block = np.concatenate((transmits, listens))
    if not len(span):
        return []

    order = np.lexsort((span[:, 0],))
    span, is_rf, block = span[order], is_rf[order], block[order]
    before = span[:, 0] - np.concatenate(([0.0], span[:-1, 1]))
    after = np.concatenate((span[1:, 0], [start[-1]])) - span[:, 1]
    tx, rx = scanner.transmit, scanner.spectrometer
    found = []
    for what, needed, free, mask in (
        ("dead time needed before an RF pulse", tx.dead_time, before, is_rf),
        ("ringdown time needed after an RF pulse", tx.ringdown_time, after, is_rf),
        ("dead time needed before an ADC window", rx.adc_dead_time, before, ~is_rf),
        ("dead time needed after an ADC window", rx.adc_dead_time, after, ~is_rf),
    ):
        if not mask.any():
            continue
        i = np.flatnonzero(mask)[largest(-free[mask])]
        free = np.where(np.abs(free - needed) <= TOLERANCE, needed, free)  # the rounding of long sums is forgiven
        found.append(
            Finding(
                what,
                needed,
                float(free[i]),
                "s",
                f"{scanner.name} profile; the limit is the shortest free time in the program",
                place(program, int(block[i])),
                f"leave {needed * 1e6:g} us free",
            )
        )
    return found


def _receiver(program: Program, scanner: Scanner) -> list[Finding]:
    if not program.adc:
        return []
    rx = scanner.spectrometer
    samples = np.array([float(a.n_samples) for a in program.adc])
    rate = np.array([1 / a.dwell if a.dwell > 0 else np.inf if a.dwell == 0 else np.nan for a in program.adc])
    i, j = largest(samples), largest(rate)
    return [
        Finding(
            "samples in one ADC window",
            float(samples[i]),
            float(rx.max_samples),
            "",
            f"{scanner.name} profile",
            place(program, _first_block(program, [Column.ADC], i)),
            "listen in several windows, or sample more slowly",
        ),
        Finding(
            "ADC sampling rate",
            settle(float(rate[j]), 1 / rx.min_dwell),
            1 / rx.min_dwell,
            "Hz",
            f"{scanner.name} profile: shortest dwell {rx.min_dwell * 1e6:g} us",
            place(program, _first_block(program, [Column.ADC], j)),
            "lower the bandwidth",
        ),
    ]
