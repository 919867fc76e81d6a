"""RF pulses: short hard ones, windowed sincs, the adiabatic inversion, the fat saturation.

Waveforms are nominal gamma-bar B1 in Hz, one value per RF raster step, in Pulseq's sense of phase (program.b1 turns them).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lauterbur.errors import ProtocolError
from lauterbur.program import Float, RfPulse
from lauterbur.sequence.limits import Limits, up

TURN = 2 * math.pi


def hard(angle: float, duration: float, limit: Limits, use: str = "excitation") -> RfPulse:
    """A rectangle that turns by `angle` rad."""
    n = max(1, round(duration / limit.rf_raster))
    return _pulse(np.ones(n), angle, limit, use)


def sinc(angle: float, duration: float, time_bandwidth: float, limit: Limits, use: str = "excitation") -> RfPulse:
    """A Hamming-windowed sinc; its bandwidth is time_bandwidth / duration (Bernstein et al. 2004, ch. 2)."""
    n = max(2, round(duration / limit.rf_raster))
    x = (np.arange(n) + 0.5) / n - 0.5
    return _pulse(np.sinc(time_bandwidth * x) * (0.54 + 0.46 * np.cos(TURN * x)), angle, limit, use)


def fat_saturation(shift: float, limit: Limits) -> RfPulse:
    """A Gaussian of 100 degrees at the frequency of fat, `shift` Hz from water; its bandwidth is 0.8 of the shift.

    100 rather than 90 degrees, so that fat is still near zero after the spoiler, a little T1 later.
    """
    duration = up(2.2 / (0.8 * abs(shift)), limit.block_raster)
    n = round(duration / limit.rf_raster)
    t = ((np.arange(n) + 0.5) / n - 0.5) * duration
    sigma = 0.8 * abs(shift) / 2.355  # Hz; the full width at half maximum is 2.355 sigma
    pulse = _pulse(np.exp(-0.5 * (TURN * sigma * t) ** 2), math.radians(100), limit, "saturation")
    return replace(pulse, frequency_offset=shift, phase_offset=-TURN * shift * pulse.center)


def inversion(limit: Limits, *, duration: float = 16e-3, beta: float = 500.0, mu: float = 10.0) -> RfPulse:
    """The hyperbolic secant: B1 sech(beta t)^(1 + i mu) inverts mu beta / pi Hz wherever B1 is high enough.

    Silver, Joseph, Hoult 1984 (J Magn Reson 59:347): adiabatic above gamma B1 = sqrt(mu) beta; 2.4 times that is
    played, less where the machine cannot, so that inversion survives B1 down to 0.6 of nominal. The band, 1.6 kHz, holds
    water and fat at 5 T.
    """
    n = round(duration / limit.rf_raster)
    t = ((np.arange(n) + 0.5) / n - 0.5) * duration
    threshold = math.sqrt(mu) * beta / TURN
    peak = min(2.4 * threshold, 0.98 * limit.peak_b1)
    if not peak >= 1.3 * threshold:
        raise ProtocolError(
            f"the inversion needs a peak of {1.3 * threshold:.0f} Hz; this transmitter gives {limit.peak_b1:.0f} Hz"
        )
    envelope = 1 / np.cosh(beta * t)
    waveform = peak * envelope * np.exp(1j * mu * np.log(envelope))
    return RfPulse(
        waveform.astype(np.complex128),
        _middles(n, limit),
        n * limit.rf_raster,
        center=n * limit.rf_raster / 2,
        use="inversion",
    )


def inversion_bandwidth(beta: float = 500.0, mu: float = 10.0) -> float:
    """Hz"""
    return mu * beta / math.pi


def at_offset(pulse: RfPulse, frequency: float, phase: float = 0.0) -> RfPulse:
    """The pulse at another frequency, Hz, with the phase `phase` at its centre, whatever the frequency."""
    return replace(pulse, frequency_offset=frequency, phase_offset=(phase - TURN * frequency * pulse.center) % TURN)


def _middles(n: int, limit: Limits) -> Float:
    return (np.arange(n, dtype=np.float64) + 0.5) * limit.rf_raster


def _pulse(shape: Float, angle: float, limit: Limits, use: str) -> RfPulse:
    n = len(shape)
    duration = n * limit.rf_raster
    waveform = shape * angle / (TURN * shape.sum() * limit.rf_raster)
    peak = float(np.max(np.abs(waveform)))
    if not peak <= limit.peak_b1:
        raise ProtocolError(
            f"{use}: {math.degrees(angle):.3g} degrees in {duration * 1e3:.3g} ms need a peak B1 of {peak:.0f} Hz; this "
            f"transmitter gives {limit.peak_b1:.0f} Hz: use at most {math.degrees(angle) * limit.peak_b1 / peak:.3g} degrees, "
            f"or at least {duration * peak / limit.peak_b1 * 1e3:.3g} ms"
        )
    return RfPulse(waveform.astype(np.complex128), _middles(n, limit), duration, center=duration / 2, use=use)
