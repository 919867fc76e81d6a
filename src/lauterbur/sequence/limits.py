"""What a sequence may ask of the gradients, and trapezoids within that.

Logical axes are readout 0, phase 1, slice 2. Gradients are in Hz/m (gamma-bar G) and areas in 1/m, as in Program.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lauterbur.errors import ProtocolError
from lauterbur.program import Gradient
from lauterbur.scanner.machine import Scanner
from lauterbur.units import GAMMA_BAR

MARGIN = 0.95  # of amplitude, slew and volts: rounding and the response of the system need a little


@dataclass(frozen=True)
class Limits:
    amplitude: float  # Hz/m
    slew: float  # Hz/m/s
    raster: float  # s, of gradient times
    block_raster: float  # s
    voltage_slope: float  # 1/s: the slew that is left falls by this times the amplitude (R I of V = L dI/dt + R I)
    rf_dead: float  # s, before a pulse
    ringdown: float  # s, after it
    rf_raster: float  # s
    peak_b1: float  # Hz
    adc_dead: float  # s, before and after a window
    adc_raster: float  # s
    min_dwell: float  # s
    max_samples: int


def limits(scanner: Scanner, directions: tuple) -> Limits:
    """Along logical axes: where they lie oblique, the sum of all three on one physical axis must still be possible."""
    g, tx, rx = scanner.gradients, scanner.transmit, scanner.spectrometer
    share = 1.0 / max(1.0, float(np.max(np.sum(np.abs(np.array(directions)), axis=0))))
    amplitude = min(g.amplitude, g.amplifier_current * g.sensitivity) * MARGIN
    slew = min(g.slew, g.amplifier_voltage * g.sensitivity / g.inductance) * MARGIN
    volts_left = g.amplifier_voltage * g.sensitivity / g.inductance * MARGIN
    slope = g.resistance / g.inductance
    if slope * amplitude > volts_left - slew:  # R I takes volts: slow down rather than refuse
        slew = max(0.2 * slew, volts_left - slope * amplitude)
    return Limits(
        amplitude=amplitude * share * GAMMA_BAR,
        slew=slew * share * GAMMA_BAR,
        raster=g.raster,
        block_raster=max(rx.block_raster, g.raster),
        voltage_slope=slope,
        rf_dead=tx.dead_time,
        ringdown=tx.ringdown_time,
        rf_raster=tx.raster,
        peak_b1=tx.peak_b1 * GAMMA_BAR,
        adc_dead=rx.adc_dead_time,
        adc_raster=rx.adc_raster,
        min_dwell=rx.min_dwell,
        max_samples=rx.max_samples,
    )


def up(time: float, raster: float) -> float:
    """The next multiple of the raster, rounding forgiven."""
    return math.ceil(time / raster - 1e-6) * raster


def nearest(time: float, raster: float) -> float:
    return round(time / raster) * raster


def ramp(amplitude: float, limit: Limits) -> float:
    """s: the shortest ramp to an amplitude in Hz/m."""
    return max(limit.raster, up(abs(amplitude) / limit.slew, limit.raster))


def trapezoid(amplitude: float, rise: float, flat: float, fall: float | None = None, delay: float = 0.0) -> Gradient:
    fall = rise if fall is None else fall
    if flat > 0:
        times, values = [0.0, rise, rise + flat, rise + flat + fall], [0.0, amplitude, amplitude, 0.0]
    else:
        times, values = [0.0, rise, rise + fall], [0.0, amplitude, 0.0]
    return Gradient(np.round(times, 9), np.array(values), delay)


def area(gradient: Gradient) -> float:
    """1/m"""
    return float(np.trapezoid(gradient.waveform, gradient.time))


def shortest(largest_area: float, limit: Limits) -> float:
    """s: the shortest lobe of this area, 1/m, on the raster."""
    size = abs(largest_area)
    if size == 0:
        return 2 * limit.raster
    rise = ramp(min(math.sqrt(size * limit.slew), limit.amplitude), limit)
    length = max(2 * rise, up(size / limit.amplitude + rise, limit.raster))
    while _rise(size, length, limit) is None:
        length += limit.raster
    return length


def lobe(size: float, length: float, limit: Limits) -> Gradient:
    """A trapezoid of area `size`, 1/m, lasting `length`: gentle, with ramps of about a third of it each."""
    rise = _rise(abs(size), length, limit)
    if rise is None:
        need = shortest(size, limit)
        raise ProtocolError(
            f"a gradient of {size:.0f} 1/m does not fit in {length * 1e3:.3g} ms; {need * 1e3:.3g} ms would"
        )
    return trapezoid(size / (length - rise), rise, length - 2 * rise)


def _rise(size: float, length: float, limit: Limits) -> float | None:
    """The ramp of a lobe, as near to a third of it as the limits let it be; None where there is none."""
    choices = limit.raster * np.arange(1, int(length / 2 / limit.raster + 1e-6) + 1)
    amplitude = size / np.maximum(length - choices, 1e-12)
    fits = (amplitude <= limit.amplitude) & (amplitude <= limit.slew * choices * (1 + 1e-9))
    if not fits.any():
        return None
    good = choices[fits]
    return float(good[np.argmin(np.abs(good - length / 3))])


def gentle(largest_area: float, available: float, limit: Limits) -> float:
    """s: a length for lobes up to this area: three times the shortest, within what is available."""
    need = shortest(largest_area, limit)
    return max(need, min(available, up(3 * need, limit.raster)))


def unit_lobe(largest_area: float, available: float, limit: Limits) -> Gradient:
    """A gentle lobe of area one that may be scaled up to `largest_area`, 1/m."""
    size = max(abs(largest_area), 1.0)
    whole = lobe(size, gentle(size, available, limit), limit)
    return Gradient(whole.time, whole.waveform / size)


def delayed(gradient: Gradient, end: float) -> Gradient:
    """The gradient ending at `end`, s from block start."""
    return replace(gradient, delay=round(end - gradient.duration, 9))


def scaled(gradient: Gradient, factor: float) -> Gradient:
    return replace(gradient, waveform=gradient.waveform * factor)
