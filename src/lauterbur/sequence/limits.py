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
NERVE_MARGIN = 0.95  # of the mean threshold of nerve stimulation, as safety/stimulation.py has it


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
    nerve_slope: float = math.inf  # Hz/m/s: a ramp of t s may swing by nerve_slope (t + nerve_time)
    nerve_time: float = 0.0  # s, the chronaxie

    @property
    def excess(self) -> float:
        """Hz/m: what any ramp swings beyond nerve_slope times its length, so that two that touch stay within the law."""
        return self.nerve_slope * self.nerve_time / 2 if self.nerve_slope < math.inf else 0.0


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
    coil = g.stimulation
    is_known = {"rheobase", "chronaxie", "effective_length"} <= coil.keys()
    threshold = coil["rheobase"] / coil["effective_length"] * NERVE_MARGIN if is_known else math.inf  # T/m/s
    return Limits(
        nerve_slope=threshold * share * GAMMA_BAR,
        nerve_time=coil["chronaxie"] if is_known else 0.0,
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
    """s: the shortest ramp to an amplitude in Hz/m that another one may touch."""
    shortest_for_nerves = (abs(amplitude) - limit.excess) / limit.nerve_slope
    return max(limit.raster, up(max(abs(amplitude) / limit.slew, shortest_for_nerves), limit.raster))


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


@dataclass(frozen=True)
class Touching:
    """Hz/m: what the ramps before and after a lobe may add to its own, each beyond nerve_slope times its length."""

    before: float
    after: float


def touching(limit: Limits, before: Gradient | None, after: Gradient | None) -> Touching:
    """Of the last ramp of the gradient before, and of the first of the gradient after; None where there is none."""

    def excess(gradient: Gradient | None, i: int) -> float:
        if gradient is None:
            return 0.0
        height, length = np.diff(gradient.waveform)[i], np.diff(gradient.time)[i]
        return max(0.0, abs(float(height)) - limit.nerve_slope * float(length))

    return Touching(excess(before, -1), excess(after, 0))


def shortest(largest_area: float, limit: Limits, touch: Touching | None = None) -> float:
    """s: the shortest lobe of this area, 1/m, on the raster."""
    size = abs(largest_area)
    if size == 0:
        return 2 * limit.raster
    length = max(2 * limit.raster, up(size / limit.amplitude, limit.raster))
    while _ramps(size, length, limit, touch) is None:
        length += limit.raster
    return length


def lobe(size: float, length: float, limit: Limits, touch: Touching | None = None) -> Gradient:
    """A trapezoid of area `size`, 1/m, lasting `length`: gentle, with ramps of about a third of it each."""
    ramps = _ramps(abs(size), length, limit, touch)
    if ramps is None:
        need = shortest(size, limit, touch)
        raise ProtocolError(
            f"a gradient of {size:.0f} 1/m does not fit in {length * 1e3:.3g} ms; {need * 1e3:.3g} ms would"
        )
    rise, fall = ramps
    return trapezoid(size / (length - (rise + fall) / 2), rise, length - rise - fall, fall)


def _ramps(size: float, length: float, limit: Limits, touch: Touching | None) -> tuple[float, float] | None:
    """Rise and fall of a lobe, as near to a third of it as the limits let them be; None where there are none."""
    touch = touch or Touching(limit.excess, limit.excess)
    longer = up(abs(touch.after - touch.before) / limit.nerve_slope, limit.raster)
    short = limit.raster * np.arange(1, int((length - longer) / 2 / limit.raster + 1e-6) + 1)
    amplitude = size / np.maximum(length - short - longer / 2, 1e-12)
    felt = amplitude + min(touch.before, touch.after)
    fits = (amplitude <= limit.amplitude) & (amplitude <= limit.slew * short * (1 + 1e-9))
    fits &= felt <= limit.nerve_slope * (short + limit.nerve_time) * (1 + 1e-9)
    if not fits.any():
        return None
    good = short[fits]
    best = float(good[np.argmin(np.abs(good - length / 3))])
    return (best, best + longer) if touch.after > touch.before else (best + longer, best)


def gentle(largest_area: float, available: float, limit: Limits, touch: Touching | None = None) -> float:
    """s: a length for lobes up to this area: three times the shortest, within what is available."""
    need = shortest(largest_area, limit, touch)
    return max(need, min(available, up(3 * need, limit.raster)))


def unit_lobe(largest_area: float, available: float, limit: Limits, touch: Touching | None = None) -> Gradient:
    """A gentle lobe of area one that may be scaled up to `largest_area`, 1/m."""
    size = max(abs(largest_area), 1.0)
    whole = lobe(size, gentle(size, available, limit, touch), limit, touch)
    return Gradient(whole.time, whole.waveform / size)


def delayed(gradient: Gradient, end: float) -> Gradient:
    """The gradient ending at `end`, s from block start."""
    return replace(gradient, delay=round(end - gradient.duration, 9))


def scaled(gradient: Gradient, factor: float) -> Gradient:
    return replace(gradient, waveform=gradient.waveform * factor)
