"""What RF pulses, gradients and ADC windows of a Pulseq file have in common: ids, units and time rasters.

Column orders, units and time rasters follow the published format specification (pulseq.github.io, 1.2 to 1.5.1):
RF in Hz, gradients in Hz/m, times in us, dwell times in ns, shapes of time in raster steps, shapes of phase in turns.
Ends of events are kept in ns, in which the decimal numbers of a file are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.formats.pulseq_text import MAX_ID, Table, malformed, whole

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Shapes = Mapping[int, Float]
Version = tuple[int, int, int]


# Sanity, not physics: what lies beyond these is a damaged or hostile file.
MAX_TIME = 86400e6  # us, one day
MAX_VALUE = 1e12  # Hz, rad and the like


@dataclass(frozen=True)
class Events:
    """Events of one kind, sorted by id; `end` in ns from block start."""

    ids: Int
    end: Float


def steps(count: Float | Int | float, raster: float) -> Float:
    """count * raster, as the decimal number nearest to it: 18 * 10 us is 1.8e-4 and not 1.7999999999999998e-4."""
    per_second = round(1 / raster)
    if abs(per_second * raster - 1) < 1e-9:
        return np.asarray(count, float) / per_second
    return np.asarray(count, float) * raster


def turned(turns: Float) -> NDArray[np.complex128]:
    """exp(2 pi i turns), exact at quarter turns, so that real waveforms stay real."""
    part = turns - np.floor(turns)
    phasor = np.exp(2j * np.pi * part)
    for quarter, value in ((0.0, 1), (0.25, 1j), (0.5, -1), (0.75, -1j)):
        phasor[part == quarter] = value
    return phasor


def shape_samples(shapes: Shapes, rows: Table, row: int, shape_id: int, what: str) -> Float:
    if shape_id not in shapes:
        raise malformed(rows.section, rows.lines[row], f"{what} {shape_id} is not defined in [SHAPES]")
    return shapes[shape_id]


def id_column(rows: Table, column: int, what: str, low: int = 0) -> list[int]:
    return whole(rows, column, low, MAX_ID, what).tolist()


def time_points(shapes: Shapes, rows: Table, row: int, time_id: int, n: int) -> Float:
    points = shape_samples(shapes, rows, row, time_id, "time shape")
    if len(points) != n:
        problem = f"the time shape has {len(points)} samples, the waveform {n}; expected as many"
        raise malformed(rows.section, rows.lines[row], problem)
    if points[0] < 0 or np.any(np.diff(points) < 0):
        raise malformed(rows.section, rows.lines[row], f"time shape {time_id} runs backwards")
    return points


def layout(version: Version) -> int:
    return 0 if version < (1, 4, 0) else 1 if version < (1, 5, 0) else 2
