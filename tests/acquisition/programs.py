"""Small programs built from the nouns: pulses, delays, gradients and ADC windows, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lauterbur.program import Adc, Column, Gradient, Program, RfPulse


@dataclass
class Builder:
    """builder.pulse(np.pi / 2).wait(5e-3).listen(128, 10e-6, gx=1e4).program()"""

    rows: list[list[int]] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    rf: list[RfPulse] = field(default_factory=list)
    gradients: list[Gradient] = field(default_factory=list)
    adc: list[Adc] = field(default_factory=list)
    shims: list[Sequence[complex]] = field(default_factory=list)

    def block(
        self,
        duration: float,
        *,
        rf: RfPulse | None = None,
        adc: Adc | None = None,
        gradients: Sequence[Gradient | None] = (None, None, None),
        shim: Sequence[complex] | None = None,
    ) -> Builder:
        row = [-1] * len(Column)
        if rf is not None:
            row[Column.RF] = len(self.rf)
            self.rf.append(rf)
        if adc is not None:
            row[Column.ADC] = len(self.adc)
            self.adc.append(adc)
        if shim is not None:
            row[Column.SHIM] = len(self.shims)
            self.shims.append(shim)
        for axis, gradient in enumerate(gradients):
            if gradient is not None:
                row[Column.GX + axis] = len(self.gradients)
                self.gradients.append(gradient)
        self.rows.append(row)
        self.durations.append(duration)
        return self

    def pulse(
        self,
        flip: float,
        phase: float = 0.0,
        duration: float = 100e-6,
        *,
        g: Sequence[float] = (0.0, 0.0, 0.0),
        frequency: float = 0.0,
        use: str = "undefined",
        shim: Sequence[complex] | None = None,
    ) -> Builder:
        """A block pulse of one step, flip and phase (Pulseq's sense) in rad, under constant gradients in Hz/m."""
        rf = hard(flip, phase, duration, frequency=frequency, use=use)
        return self.block(duration, rf=rf, gradients=[flat(x, duration) for x in g], shim=shim)

    def shaped(
        self,
        waveform: np.ndarray,
        duration: float,
        phase: float = 0.0,
        *,
        g: Sequence[float] = (0, 0, 0),
        frequency=0.0,
    ) -> Builder:
        """A stepped waveform in Hz under constant gradients."""
        n = len(waveform)
        time = (np.arange(n) + 0.5) * duration / n
        rf = RfPulse(np.asarray(waveform, complex), time, duration, 0.0, duration / 2, frequency, phase)
        return self.block(duration, rf=rf, gradients=[flat(x, duration) for x in g])

    def wait(self, duration: float, k: Sequence[float] = (0.0, 0.0, 0.0)) -> Builder:
        """A delay in which triangular gradients have the moments k, 1/m."""
        triangles = [
            None if not x else Gradient(np.array([0, duration / 2, duration]), np.array([0, 2 * x / duration, 0]))
            for x in k
        ]
        return self.block(duration, gradients=triangles)

    def listen(
        self, n: int, dwell: float, *, g: Sequence[float] = (0.0, 0.0, 0.0), phase: float = 0.0, frequency: float = 0.0
    ) -> Builder:
        """An ADC window that fills its block, under constant gradients in Hz/m."""
        adc = Adc(n, dwell, 0.0, frequency, phase)
        return self.block(n * dwell, adc=adc, gradients=[flat(x, n * dwell) for x in g])

    def program(self, **more) -> Program:
        return Program(
            np.array(self.rows, np.int32).reshape(-1, len(Column)),
            np.array(self.durations, float),
            tuple(self.rf),
            tuple(self.gradients),
            tuple(self.adc),
            shims=np.array(self.shims, complex) if self.shims else np.zeros((0, 1), complex),
            **more,
        )


def hard(flip: float, phase: float = 0.0, duration: float = 100e-6, *, frequency=0.0, use="undefined") -> RfPulse:
    b = flip / (2 * np.pi * duration)
    return RfPulse(
        np.array([b], complex), np.array([duration / 2]), duration, 0.0, duration / 2, frequency, phase, use=use
    )


def flat(gradient: float, duration: float) -> Gradient | None:
    if not gradient:
        return None
    return Gradient(np.array([0.0, duration]), np.full(2, float(gradient)), kind="shaped")


def sinc(duration: float, flip: float, time_bandwidth: float, n: int = 400) -> np.ndarray:
    """A Hann-windowed sinc, Hz, (n,) steps."""
    t = (np.arange(n) + 0.5) / n - 0.5
    shape = np.sinc(time_bandwidth * t) * (0.5 + 0.5 * np.cos(2 * np.pi * t))
    return shape * flip / (2 * np.pi * shape.sum() * duration / n)
