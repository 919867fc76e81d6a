"""Is it a program at all? Shapes, indices and numbers, before any law looks at waveforms.

What fails here is refused at once: no other law could trust what it reads.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lauterbur.findings import Finding
from lauterbur.program import Adc, Column, Gradient, Program, RfPulse
from lauterbur.scanner.machine import Scanner

LONGEST = 86_400.0  # s: a day; up to there double precision keeps every clock to better than 0.1 ns
TURN = 1e-4  # how far a rotation may be from orthogonal: quaternions in files carry a few digits


def shape_findings(program: Program, scanner: Scanner) -> list[Finding]:
    """Shapes and indices: where one is wrong, nothing else can be read."""
    faults = _table_faults(program)
    found = [_finding("faults of the block table", faults, "blocks (n, 9) whole numbers, durations (n,) finite, in s")]
    if faults:
        return found
    events = (*map(_pulse_fits, program.rf), *map(_gradient_fits, program.gradients), *map(_window_fits, program.adc))
    channels = scanner.transmit.channels
    return [
        *found,
        _finding("indices without an event", _missing(program), "every index of a block names an event, or is -1"),
        _finding(
            "events whose arrays do not fit", _count(events), "times and values alike, one-dimensional, not empty"
        ),
        _finding("rotations that do not fit", int(np.shape(program.rotations)[1:] != (3, 3)), "(n, 3, 3)"),
        _finding(
            "shims that do not fit", _misfit_shims(program, channels), f"a weight for each of {channels} channels"
        ),
    ]


def number_findings(program: Program) -> list[Finding]:
    """Numbers that are none, of a program whose shapes are right."""
    finite = (*map(_pulse_is_finite, program.rf), *map(_gradient_is_finite, program.gradients))
    finite += (*map(_window_is_finite, program.adc), bool(np.isfinite(program.shims).all()))
    return [
        _finding("events that hold what is no number", _count(finite), "all times, values and weights are finite"),
        _finding("rotations that do not turn", _bad_rotations(program), f"orthogonal within {TURN:g}"),
        _finding("reference drives that are none", _bad_drive(program.reference_drive), "finite and above 0, or None"),
        Finding(
            "program duration",
            float(np.sum(program.durations)),
            LONGEST,
            "s",
            "ours: clocks keep their nanoseconds for a day",
            "",
            "split the program",
        ),
    ]


def _finding(quantity: str, faults: int, rule: str) -> Finding:
    return Finding(quantity, float(faults), 0.0, "", rule, "", "mend the program")


def _count(is_good: Iterable[bool]) -> int:
    return sum(not good for good in is_good)


def _table_faults(program: Program) -> int:
    blocks, durations = np.asarray(program.blocks), np.asarray(program.durations)
    good = (
        blocks.ndim == 2 and blocks.shape[1] == len(Column) and blocks.dtype.kind == "i",
        durations.ndim == 1 and durations.dtype.kind == "f" and len(durations) == len(blocks),
        bool(durations.dtype.kind == "f" and np.isfinite(durations).all()),
    )
    return _count(good)


def _missing(program: Program) -> int:
    events = {
        Column.RF: program.rf,
        Column.GX: program.gradients,
        Column.GY: program.gradients,
        Column.GZ: program.gradients,
        Column.ADC: program.adc,
        Column.ROTATION: program.rotations,
        Column.SHIM: program.shims,
        Column.TRIGGER: program.triggers,
        Column.SOFT_DELAY: program.soft_delays,
    }
    wrong = [(program.blocks[:, c] < -1) | (program.blocks[:, c] >= len(e)) for c, e in events.items()]
    return int(np.sum(wrong))


def _pulse_fits(pulse: RfPulse) -> bool:
    waveform, time = np.asarray(pulse.waveform), np.asarray(pulse.time)
    if waveform.ndim != 1 or time.shape != waveform.shape or not len(time) or waveform.dtype.kind not in "fc":
        return False
    # not (< 0) and the like: what is not a number is told elsewhere
    inside = pulse.is_stepped or not (time[0] < 0 or time[-1] > pulse.duration + 1e-9 or (np.diff(time) < 0).any())
    return bool(inside and not pulse.duration <= 0)


def _gradient_fits(gradient: Gradient) -> bool:
    time, waveform = np.asarray(gradient.time), np.asarray(gradient.waveform)
    return time.ndim == 1 and time.shape == waveform.shape and waveform.dtype.kind == "f"


def _window_fits(adc: Adc) -> bool:
    modulation = adc.phase_modulation
    return bool(adc.n_samples >= 1) and (modulation is None or np.shape(modulation) == (adc.n_samples,))


def _pulse_is_finite(pulse: RfPulse) -> bool:
    times, phases = (pulse.duration, pulse.delay, pulse.center), (pulse.phase_offset, pulse.phase_ppm)
    numbers = (*times, *phases, pulse.frequency_offset, pulse.frequency_ppm)
    return bool(np.isfinite(numbers).all() and np.isfinite(pulse.waveform).all() and np.isfinite(pulse.time).all())


def _gradient_is_finite(gradient: Gradient) -> bool:
    return bool(np.isfinite((gradient.delay, *gradient.time)).all() and np.isfinite(gradient.waveform).all())


def _window_is_finite(adc: Adc) -> bool:
    numbers = (adc.dwell, adc.delay, adc.frequency_offset, adc.phase_offset, adc.frequency_ppm, adc.phase_ppm)
    return bool(
        np.isfinite(numbers).all() and (adc.phase_modulation is None or np.isfinite(adc.phase_modulation).all())
    )


def _bad_rotations(program: Program) -> int:
    turns = np.asarray(program.rotations)
    off = np.abs(turns @ turns.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2), initial=0.0)
    return int(np.sum(~(off <= TURN)))


def _misfit_shims(program: Program, channels: int) -> int:
    shims = np.asarray(program.shims)
    is_empty = shims.ndim == 2 and not len(shims)
    return int(not is_empty and (shims.ndim != 2 or shims.shape[1] != channels))


def _bad_drive(drive: float | None) -> int:
    return 0 if drive is None or 0 < drive < np.inf else 1
