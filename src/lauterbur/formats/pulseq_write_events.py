"""RF, gradient, ADC and shape sections of a Pulseq file to be written."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, UnsupportedError
from lauterbur.formats.pulseq_events import Float, Version, steps
from lauterbur.formats.pulseq_gradients import GradientEvents, continuous, extrapolated, raster_marks
from lauterbur.formats.pulseq_shapes import encoded
from lauterbur.formats.pulseq_waveforms import polar, scaled
from lauterbur.program import Column, Gradient, Program, RfPulse

EDGE_TOLERANCE = (
    0.01  # of the peak, by which an edge value that 1.4.1 leaves to the reader may differ from what it infers
)


def number(value: float) -> str:
    """The shortest text that reads back as exactly this number."""
    value = float(value)
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def micro(seconds: float) -> str:
    return number(round(seconds * 1e6, 6))


class ShapeLibrary:
    """Shapes by content: equal ones are written once."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._samples: list[Float] = []

    def add(self, samples: Float) -> int:
        key = np.ascontiguousarray(samples, np.float64).tobytes()
        if key not in self._ids:
            self._ids[key] = len(self._samples) + 1
            self._samples.append(samples)
        return self._ids[key]

    def lines(self) -> list[str]:
        if not self._samples:
            return []
        parts = ["# Sequence shapes\n[SHAPES]\n"]
        for i, samples in enumerate(self._samples, 1):
            code = encoded(samples)
            values = "\n".join(map(number, (samples if code is None else code).tolist()))
            parts.append(f"shape_id {i}\nnum_samples {len(samples)}\n{values}\n")
        return parts


def check_portable(program: Program, version: Version) -> None:
    """Refuse what this version of the format cannot say, by name, and what no version can."""
    kinds: tuple[tuple[str, tuple[RfPulse | Gradient, ...]], ...] = (
        ("gradient", program.gradients),
        ("RF pulse", program.rf),
    )
    for what, events in kinds:
        finite: set[int] = set()
        for i, event in enumerate(events, 1):
            for array in (event.waveform, event.time):
                if id(array) not in finite and not np.all(np.isfinite(array)):
                    raise InputError(f"{what} {i} is not finite and cannot be written")
                finite.add(id(array))
    if version >= (1, 5, 0):
        return
    features = {
        "rotations": bool(np.any(program.blocks[:, Column.ROTATION] >= 0)),
        "RF shims": bool(np.any(program.blocks[:, Column.SHIM] >= 0)),
        "soft delays": bool(np.any(program.blocks[:, Column.SOFT_DELAY] >= 0)),
        "RF offsets in ppm": any(p.frequency_ppm or p.phase_ppm for p in program.rf),
        "ADC offsets in ppm": any(a.frequency_ppm or a.phase_ppm for a in program.adc),
        "ADC phase modulation": any(a.phase_modulation is not None for a in program.adc),
    }
    missing = [feature for feature, is_used in features.items() if is_used]
    if missing:
        raise UnsupportedError(f"Pulseq 1.4.1 cannot hold {', '.join(missing)}; write version 1.5.0")


# ---- RF


def rf_lines(program: Program, version: Version, shapes: ShapeLibrary) -> list[str]:
    if not program.rf:
        return []
    if version >= (1, 5, 0):
        lines = ["# id amp mag_id phase_id time_id center delay freqPPM phasePPM freq phase use\n[RF]"]
    else:
        lines = ["# id amp mag_id phase_id time_id delay freq phase\n[RF]"]
    known: dict[tuple[int, int, float], tuple[str, int, int, int]] = {}
    for i, pulse in enumerate(program.rf, 1):
        key = (id(pulse.waveform), id(pulse.time), pulse.duration)
        if key not in known:
            amplitude, magnitude, turns = polar(pulse.waveform)
            time_id = _rf_time(pulse, i, program.rasters.rf, version, shapes)
            known[key] = number(amplitude), shapes.add(magnitude), shapes.add(turns), time_id
        shape = " ".join(map(str, known[key]))
        offsets = f"{number(pulse.frequency_offset)} {number(pulse.phase_offset)}"
        if version >= (1, 5, 0):
            ppm = f"{number(pulse.frequency_ppm)} {number(pulse.phase_ppm)}"
            lines.append(f"{i} {shape} {micro(pulse.center)} {micro(pulse.delay)} {ppm} {offsets} {pulse.use[0]}")
        else:
            lines.append(f"{i} {shape} {micro(pulse.delay)} {offsets}")
    return ["\n".join(lines) + "\n"]


def _rf_time(pulse: RfPulse, i: int, raster: float, version: Version, shapes: ShapeLibrary) -> int:
    """Id of the time shape; 0 for raster steps, -1 for half steps."""
    n = len(pulse.waveform)
    if pulse.is_stepped:
        step = pulse.duration / n / raster
        if abs(step - 1) < 1e-6:
            return 0
        return shapes.add(_tidy(np.asarray(np.arange(n) + 0.5, float) * step))
    points = _tidy(pulse.time / raster)
    if abs(pulse.duration / raster - math.ceil(points[-1] - 1e-6)) > 1e-6 and not _is_half_steps(pulse, raster):
        problem = f"RF pulse {i} lasts {pulse.duration * 1e6:g} us, its points end at {pulse.time[-1] * 1e6:g} us"
        raise UnsupportedError(f"{problem}; Pulseq has a pulse of points end with the last: add one of value 0")
    if _is_half_steps(pulse, raster):
        if version < (1, 5, 0):
            raise UnsupportedError("Pulseq 1.4.1 cannot hold oversampled RF pulses; write version 1.5.0")
        return -1
    return shapes.add(points)


def _is_half_steps(pulse: RfPulse, raster: float) -> bool:
    n = len(pulse.time)
    is_half = np.allclose(pulse.time / raster, (np.arange(n) + 1) / 2, rtol=0, atol=1e-6)
    return n % 2 == 1 and is_half and abs(pulse.duration / raster - (n + 1) // 2) < 1e-6


def _tidy(points: Float) -> Float:
    """Raster steps without the noise of dividing decimals."""
    return points.round(9)


# ---- gradients


def gradient_lines(program: Program, version: Version, shapes: ShapeLibrary) -> list[str]:
    has_edges = version >= (1, 5, 0)
    trapezoids, arbitrary = [], []
    known: dict[tuple[int, int, bool], tuple[str, str, int, int]] = {}
    is_raster = np.zeros(len(program.gradients), bool)
    for i, gradient in enumerate(program.gradients):
        rows = _trapezoid(gradient)
        if rows is not None:
            trapezoids.append(f"{i + 1} {rows}")
            continue
        layout = _layout(gradient, program.rasters.gradient)
        is_raster[i] = layout <= 0
        if layout < 0 and not has_edges:
            raise UnsupportedError("Pulseq 1.4.1 cannot hold oversampled gradients; write version 1.5.0")
        key = (id(gradient.waveform), id(gradient.time), layout > 0)
        if key not in known:
            inner = gradient.waveform if layout > 0 else gradient.waveform[1:-1]
            amplitude, shape = scaled(inner)
            time_id = shapes.add(_tidy(gradient.time / program.rasters.gradient)) if layout > 0 else layout
            edges = f"{number(gradient.waveform[0])} {number(gradient.waveform[-1])} "
            known[key] = number(amplitude), edges, shapes.add(shape), time_id
        amplitude_text, edges, shape_id, time_id = known[key]
        row = f"{i + 1} {amplitude_text} {edges if has_edges else ''}{shape_id} {time_id} {micro(gradient.delay)}"
        arbitrary.append(row)
    if not has_edges:
        _check_edges(program, is_raster)
    columns = "amp first last shape_id time_id delay" if has_edges else "amp shape_id time_id delay"
    sections = []
    if arbitrary:
        sections.append(f"# id {columns}\n[GRADIENTS]\n" + "\n".join(arbitrary) + "\n")
    if trapezoids:
        sections.append("# id amp rise flat fall delay\n[TRAP]\n" + "\n".join(trapezoids) + "\n")
    return sections


def _trapezoid(gradient: Gradient) -> str | None:
    """amp rise flat fall delay of a trapezoid of four points (or three, without a plateau)."""
    time, waveform = gradient.time.tolist(), gradient.waveform.tolist()
    if gradient.kind != "trapezoid" or len(time) not in (3, 4) or time[0] != 0 or waveform[0] != 0 or waveform[-1] != 0:
        return None
    if len(time) == 3:
        time, waveform = [*time[:2], *time[1:]], [*waveform[:2], *waveform[1:]]
    if waveform[1] != waveform[2]:
        return None
    marks = [round(t * 1e6, 6) for t in time]
    lengths = " ".join(number(round(b - a, 6)) for a, b in itertools.pairwise(marks))
    return f"{number(waveform[1])} {lengths} {micro(gradient.delay)}"


def _layout(gradient: Gradient, raster: float) -> int:
    """0: samples at middles of raster cells between two edges; -1: at half steps; 1: points at their own times."""
    n = len(gradient.time) - 2
    if gradient.kind == "arbitrary" and n >= 1:
        for is_oversampled in (False, True):
            marks = raster_marks(n, oversampled=is_oversampled)
            if np.array_equal(gradient.time, steps(marks, raster)) or np.allclose(
                gradient.time / raster, marks, 0, 1e-6
            ):
                return -int(is_oversampled)
    return 1


def _check_edges(program: Program, is_raster: NDArray[np.bool_]) -> None:
    """A reader of 1.4.1 infers the edges of raster gradients; refuse a program whose edges it would get wrong."""
    if not np.any(is_raster):
        return
    n = len(program.gradients)
    end, first, last = np.zeros(n), np.zeros(n), np.zeros(n)
    inferred = []
    for i, gradient in enumerate(program.gradients):
        waveform = gradient.waveform
        if is_raster[i]:
            edges = extrapolated(waveform[1:-1])
            waveform = np.concatenate((edges[:1], waveform[1:-1], edges[1:]))
        end[i] = (gradient.delay + gradient.duration) * 1e9
        first[i] = waveform[0] if gradient.delay == 0 and gradient.time[0] == 0 else 0.0
        last[i] = waveform[-1]
        inferred.append(Gradient(gradient.time, waveform, gradient.delay, gradient.kind))
    events = GradientEvents(np.arange(n), end, tuple(inferred), first, last, is_raster)
    axes = program.blocks[:, Column.GX : Column.GZ + 1].astype(np.int64)
    read, places = continuous(events, axes, program.durations * 1e9)
    pairs = np.unique(np.column_stack([axes.ravel(), places.ravel()])[(axes >= 0).ravel()], axis=0)
    for mine, theirs in pairs[is_raster[pairs[:, 0]]].tolist():
        wanted, got = program.gradients[mine].waveform[[0, -1]], read.gradients[theirs].waveform[[0, -1]]
        peak = np.max(np.abs(program.gradients[mine].waveform))
        if np.any(np.abs(wanted - got) > EDGE_TOLERANCE * peak):
            problem = f"edge values of gradients (gradient {mine + 1}: {wanted[0]:g} and {wanted[1]:g} Hz/m"
            raise UnsupportedError(
                f"Pulseq 1.4.1 cannot hold {problem}, a reader infers {got[0]:g} and {got[1]:g}); write version 1.5.0"
            )


# ---- ADC


def adc_lines(program: Program, version: Version, shapes: ShapeLibrary) -> list[str]:
    if not program.adc:
        return []
    has_ppm = version >= (1, 5, 0)
    head = "# id num dwell delay freqPPM phasePPM freq phase phase_id" if has_ppm else "# id num dwell delay freq phase"
    lines = [f"{head}\n[ADC]"]
    for i, window in enumerate(program.adc, 1):
        row = f"{i} {window.n_samples} {number(round(window.dwell * 1e9, 6))} {micro(window.delay)}"
        offsets = f"{number(window.frequency_offset)} {number(window.phase_offset)}"
        if has_ppm:
            shape_id = 0 if window.phase_modulation is None else shapes.add(window.phase_modulation)
            row += f" {number(window.frequency_ppm)} {number(window.phase_ppm)} {offsets} {shape_id}"
        else:
            row += f" {offsets}"
        lines.append(row)
    return ["\n".join(lines) + "\n"]
