"""ADC windows of a Pulseq file, 1.2 to 1.5."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lauterbur.formats.pulseq_events import MAX_TIME, MAX_VALUE, Events, Shapes, Version, id_column, shape_samples
from lauterbur.formats.pulseq_text import Section, bounded, identified, malformed, table, whole
from lauterbur.program import Adc

MAX_ADC_SAMPLES = 2**24


@dataclass(frozen=True)
class AdcEvents(Events):
    windows: tuple[Adc, ...]


def read_adc(section: Section | None, shapes: Shapes, version: Version) -> AdcEvents:
    """[ADC]: id num dwell delay [freqPPM phasePPM] freq phase [phase shape]."""
    has_ppm = version >= (1, 5, 0)
    rows, ids = identified(table(section, (9,) if has_ppm else (6,)))
    n = len(rows)
    samples = whole(rows, 1, 1, MAX_ADC_SAMPLES, "number of samples")
    dwell = bounded(rows, 2, 0, MAX_TIME * 1e3, "dwell in ns")
    if np.any(dwell <= 0):
        raise malformed(rows.section, rows.lines[np.flatnonzero(dwell <= 0)[0]], "dwell is 0; expected more than 0 ns")
    delay = bounded(rows, 3, 0, MAX_TIME, "delay in us")
    ppm = (
        [bounded(rows, i, -MAX_VALUE, MAX_VALUE, "ppm offset").tolist() for i in (4, 5)] if has_ppm else [[0.0] * n] * 2
    )
    at = 6 if has_ppm else 4
    frequency = bounded(rows, at, -MAX_VALUE, MAX_VALUE, "frequency offset in Hz").tolist()
    phase = bounded(rows, at + 1, -MAX_VALUE, MAX_VALUE, "phase offset in rad").tolist()
    phase_shape = id_column(rows, 8, "phase shape id") if has_ppm else [0] * n
    windows = []
    for i, (count, step, late) in enumerate(
        zip(samples.tolist(), (dwell / 1e9).tolist(), (delay / 1e6).tolist(), strict=True)
    ):
        modulation = None
        if phase_shape[i]:  # rad per sample; unconfirmed, as no file of data/sequences has one
            modulation = shape_samples(shapes, rows, i, phase_shape[i], "phase shape")
            if len(modulation) != count:
                problem = f"the phase shape has {len(modulation)} samples, the ADC {count}; expected as many"
                raise malformed(rows.section, rows.lines[i], problem)
        windows.append(Adc(count, step, late, frequency[i], phase[i], ppm[0][i], ppm[1][i], modulation))
    return AdcEvents(ids, delay * 1e3 + samples * dwell, tuple(windows))
