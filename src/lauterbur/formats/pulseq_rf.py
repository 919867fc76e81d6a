"""RF pulses of a Pulseq file, 1.2 to 1.5: columns, waveforms, centres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.formats.pulseq_events import (
    MAX_TIME,
    MAX_VALUE,
    Events,
    Float,
    Shapes,
    Version,
    id_column,
    layout,
    shape_samples,
    steps,
    time_points,
    turned,
)
from lauterbur.formats.pulseq_text import Section, Table, bounded, identified, malformed, table
from lauterbur.program import Rasters, RfPulse

USES = ("excitation", "refocusing", "inversion", "saturation", "preparation", "other", "undefined")
MAX_RF = 1e8  # Hz, 2.3 T
MAX_PULSE = 60e9  # ns, one RF pulse
MAX_RENDERED = 2**25  # samples of all distinct pulses


@dataclass(frozen=True)
class RfEvents(Events):
    pulses: tuple[RfPulse, ...]


def read_rf(section: Section | None, shapes: Shapes, version: Version, rasters: Rasters) -> RfEvents:
    """[RF]: id amp mag phase [time] [center] delay [freqPPM phasePPM] freq phase [use]."""
    has_use = version >= (1, 5, 0)
    rows, ids = identified(table(section, ((7,), (8,), (12,))[layout(version)], word=has_use))
    n = len(rows)
    amplitude = bounded(rows, 1, -MAX_RF, MAX_RF, "amplitude in Hz").tolist()
    magnitude, phase = id_column(rows, 2, "magnitude shape id", 1), id_column(rows, 3, "phase shape id")
    zeros = np.zeros(n)
    if version < (1, 4, 0):
        time, center, at_delay, frequency_ppm, phase_ppm = [0] * n, None, 4, zeros, zeros
    elif not has_use:
        time, center, at_delay, frequency_ppm, phase_ppm = (
            id_column(rows, 4, "time shape id", -1),
            None,
            5,
            zeros,
            zeros,
        )
    else:
        time, at_delay = id_column(rows, 4, "time shape id", -1), 6
        center = (bounded(rows, 5, 0, MAX_TIME, "center in us") / 1e6).tolist()
        frequency_ppm = bounded(rows, 7, -1e6, 1e6, "frequency offset in ppm")
        phase_ppm = bounded(rows, 8, -MAX_VALUE, MAX_VALUE, "phase offset in rad/MHz")
    delay = bounded(rows, at_delay, 0, MAX_TIME, "delay in us")
    frequency = bounded(rows, rows.values.shape[1] - 2, -MAX_VALUE, MAX_VALUE, "frequency offset in Hz")
    offset = bounded(rows, rows.values.shape[1] - 1, -MAX_VALUE, MAX_VALUE, "phase offset in rad")
    use = [_use(rows, i) for i in range(n)] if has_use else ["undefined"] * n

    waveforms: dict[tuple[float, int, int, int], RfPulse] = {}
    total = 0
    pulses, lengths = [], np.zeros(n)
    for i in range(n):
        key = (amplitude[i], magnitude[i], phase[i], time[i])
        shared = waveforms.get(key)
        if shared is None:
            total += len(shapes.get(key[1], ()))
            if total > MAX_RENDERED:
                raise malformed(
                    rows.section, rows.lines[i], f"the pulses have more than {MAX_RENDERED} samples together"
                )
            shared = waveforms[key] = _rf_waveform(shapes, rows, i, key, rasters.rf)
        lengths[i] = round(shared.duration * 1e9, 3)
        if center is not None and not center[i] <= shared.duration + 1e-9:
            problem = f"center is {center[i] * 1e6:g} us; the pulse lasts {shared.duration * 1e6:g} us"
            raise malformed(rows.section, rows.lines[i], problem)
        pulses.append(
            RfPulse(
                waveform=shared.waveform,
                time=shared.time,
                duration=shared.duration,
                delay=float(delay[i]) / 1e6,
                center=shared.center if center is None else center[i],
                frequency_offset=float(frequency[i]),
                phase_offset=float(offset[i]),
                frequency_ppm=float(frequency_ppm[i]),
                phase_ppm=float(phase_ppm[i]),
                use=use[i],
                is_stepped=shared.is_stepped,
            )
        )
    return RfEvents(ids, delay * 1e3 + lengths, tuple(pulses))


def _use(rows: Table, row: int) -> str:
    for use in USES:
        if use.startswith(rows.words[row].lower()):
            return use
    problem = f"use is {rows.words[row][:16]!a}; expected an initial of {', '.join(USES)}"
    raise malformed(rows.section, rows.lines[row], problem)


def _rf_waveform(shapes: Shapes, rows: Table, row: int, key: tuple[float, int, int, int], raster: float) -> RfPulse:
    amplitude, magnitude_id, phase_id, time_id = key
    magnitude = shape_samples(shapes, rows, row, magnitude_id, "magnitude shape")
    n = len(magnitude)
    phase = shape_samples(shapes, rows, row, phase_id, "phase shape") if phase_id else np.zeros(n)
    if len(phase) != n:
        problem = f"the magnitude shape has {n} samples, the phase shape {len(phase)}; expected as many"
        raise malformed(rows.section, rows.lines[row], problem)
    is_stepped = True
    if time_id == 0:
        time, duration = steps(np.arange(0.5, n), raster), float(steps(n, raster))
    elif time_id < 0:  # twice oversampled: samples at every half raster step inside the pulse (from 1.5 on)
        if n % 2 == 0:
            raise malformed(
                rows.section, rows.lines[row], f"an oversampled pulse has {n} samples; expected an odd number"
            )
        time, duration, is_stepped = steps(np.arange(1.0, n + 1) / 2, raster), float(steps((n + 1) // 2, raster)), False
    else:
        points = time_points(shapes, rows, row, time_id, n)
        time = steps(points, raster)
        spacing = points[0] * 2
        if spacing > 0 and np.allclose(points, (np.arange(n) + 0.5) * spacing, rtol=0, atol=1e-6):
            duration = float(steps(n * spacing, raster))  # middles of longer steps
        else:
            duration, is_stepped = float(steps(math.ceil(float(points[-1]) - 1e-6), raster)), False
    if not 0 < duration * 1e9 <= MAX_PULSE:
        raise malformed(
            rows.section, rows.lines[row], f"the pulse lasts {duration:g} s; expected more than 0, at most 60 s"
        )
    waveform = amplitude * magnitude * turned(phase) + 0.0  # no negative zeros
    if not np.all(np.abs(waveform) <= MAX_RF):
        raise malformed(rows.section, rows.lines[row], f"the pulse exceeds {MAX_RF:g} Hz")
    return RfPulse(waveform, time, duration, center=effective_center(waveform, time), is_stepped=is_stepped)


def effective_center(waveform: NDArray[np.complex128], time: Float) -> float:
    """s: the time of the peak of |waveform|, the middle of a plateau; Pulseq's convention where a file does not say."""
    size = np.abs(waveform)
    at_peak = np.flatnonzero(size >= 0.99999 * np.max(size))
    return round(float(time[at_peak[0]] + time[at_peak[-1]]) / 2, 12)
