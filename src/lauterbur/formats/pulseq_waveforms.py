"""Waveforms as Pulseq writes them: an amplitude times a shape whose peak is 1, chosen so that reading gives them back.

The shortest decimals that reproduce every sample exactly are taken. Where none do (an amplitude times a shape cannot
give every float64), real waveforms come back within one rounding and complex ones within 1e-14 of their peak, and what
was read once is written and read exactly from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lauterbur.formats.pulseq_events import turned

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]


def scaled(waveform: Float) -> tuple[float, Float]:
    """(amplitude, shape) of a real waveform."""
    peak = float(np.max(np.abs(waveform)))
    if peak == 0:
        return 0.0, np.zeros(len(waveform))
    some = waveform[_probe(len(waveform))]
    for amplitude in _amplitudes(peak):
        for rounded in _ROUNDINGS:
            if np.array_equal(amplitude * rounded(some / amplitude), some):
                shape = rounded(waveform / amplitude)
                if np.array_equal(amplitude * shape, waveform):
                    return amplitude, shape
    shape = waveform / peak
    for neighbour in (np.nextafter(shape, -np.inf), np.nextafter(shape, np.inf)):
        better = (peak * shape != waveform) & (peak * neighbour == waveform)
        shape[better] = neighbour[better]
    return peak, shape


def polar(waveform: Complex) -> tuple[float, Float, Float]:
    """(amplitude, magnitude, phase in turns) of a complex waveform."""
    if not np.any(waveform.imag):
        amplitude, shape = scaled(waveform.real)
        if np.array_equal(amplitude * np.abs(shape) * turned(np.where(shape < 0, 0.5, 0.0)), waveform):
            return amplitude, np.abs(shape), np.where(shape < 0, 0.5, 0.0)
    size = np.abs(waveform)
    peak = float(np.max(size))
    turns = np.where(size > 0, np.angle(waveform) / (2 * np.pi), 0.0) % 1.0
    probe = _probe(len(waveform))
    for amplitude in _amplitudes(peak):
        magnitude = size / amplitude
        for rounded in _ROUNDINGS:
            some = amplitude * rounded(magnitude[probe]) * turned(rounded(turns[probe]))
            if np.array_equal(some, waveform[probe]):
                shapes = rounded(magnitude), rounded(turns)
                if np.array_equal(amplitude * shapes[0] * turned(shapes[1]), waveform):
                    return amplitude, *shapes
    amplitude = float(f"{peak:.15g}")
    return amplitude, _to_decimals(15, size / amplitude), _to_decimals(15, turns) % 1.0


def _amplitudes(peak: float) -> list[float]:
    """The peak to as many digits as files have, and the peak."""
    return list(dict.fromkeys([*(float(f"{peak:.{digits}g}") for digits in (6, 7, 9, 12)), peak]))


def _probe(n: int) -> NDArray[np.intp]:
    """A few indices on which a rounding must succeed before it is tried on all."""
    return np.unique(np.linspace(0, n - 1, 64).astype(np.intp))


def _to_decimals(decimals: int, values: Float) -> Float:
    return values.round(decimals)


def _to_digits(digits: int, values: Float) -> Float:
    return np.array([float(f"{v:.{digits}g}") for v in values.tolist()])


_ROUNDINGS: tuple[Callable[[Float], Float], ...] = (
    partial(_to_decimals, 9),
    partial(_to_digits, 9),
    partial(_to_digits, 12),
    partial(_to_decimals, 12),
    partial(_to_decimals, 15),
)
