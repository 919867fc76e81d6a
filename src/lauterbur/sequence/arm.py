"""A readout in the plane on axes of its own, before it is turned: a spoke of a radial scan, or an arm of a spiral.

         along                    turned by an angle a:    readout =  cos a along - sin a across
spoke    /~~~~~~~\\                                          phase   =  sin a along + cos a across
window    | | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.program import Adc, Gradient
from lauterbur.protocol.protocol import Protocol
from lauterbur.sequence.limits import Limits, touching
from lauterbur.sequence.readout import readout
from lauterbur.sequence.table import Events, Int


@dataclass(frozen=True)
class Arm:
    along: Gradient  # Hz/m
    across: Gradient | None  # Hz/m, at the same times; None for a spoke
    n_samples: int
    dwell: float  # s
    delay: float  # s, from block start to the window
    length: float  # s, of the block
    center: float  # s, from block start, when k = 0
    before: float  # 1/m along, from block start until then: what is wound forth before the block
    after: tuple[float, float]  # 1/m along and across, from then to the end of the block: what is wound back
    first_excess: float  # Hz/m, of its first and last ramps (limits.Touching)
    last_excess: float
    k: NDArray[np.float64]  # 1/m, (sample, 2) along and across
    fov: float  # m, that the samples along the readout are fine enough for

    def turned(self, events: Events, angles: NDArray[np.float64]) -> tuple[Int, Int]:
        """Indices (angle,) of the gradients along readout and phase."""
        if self.across is None:
            return events.steps(0, self.along, np.cos(angles)), events.steps(1, self.along, np.sin(angles))
        a, b = self.along.waveform, self.across.waveform
        readouts = [events.gradient(0, replace(self.along, waveform=math.cos(t) * a - math.sin(t) * b)) for t in angles]
        phases = [events.gradient(1, replace(self.along, waveform=math.sin(t) * a + math.cos(t) * b)) for t in angles]
        return np.array(readouts, np.int64), np.array(phases, np.int64)

    def adc(self, offset: tuple[float, float], angle: float) -> Adc:
        """The window of the arm turned by `angle`, tuned so that `offset`, m along readout and phase, is the image's centre."""
        c, s = math.cos(angle), math.sin(angle)
        along, across = c * offset[0] + s * offset[1], -s * offset[0] + c * offset[1]
        window = Adc(self.n_samples, self.dwell, self.delay)
        if along == across == 0:
            return window
        turns = self.k @ np.array([along, across])
        if self.across is not None:
            return replace(window, phase_modulation=2 * np.pi * turns)
        frequency = (turns[-1] - turns[0]) / ((self.n_samples - 1) * self.dwell)  # a spoke runs at one speed
        zero = turns[0] - frequency * 0.5 * self.dwell
        return replace(window, frequency_offset=float(frequency), phase_offset=float(2 * np.pi * (zero % 1.0)))


def turned_areas(area: tuple[float, float], angles: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """(angle,) 1/m along readout and phase."""
    c, s = np.cos(angles), np.sin(angles)
    return c * area[0] - s * area[1], s * area[0] + c * area[1]


def spoke(protocol: Protocol, limit: Limits) -> Arm:
    """A straight line through the centre of k-space, with k = 0 on sample n//2 (readout.py)."""
    echo = readout(protocol, limit)
    touch = touching(limit, echo.gradient, echo.gradient)
    samples = (np.arange(echo.n_samples) - echo.n_samples // 2) * echo.amplitude * echo.dwell
    return Arm(
        along=echo.gradient,
        across=None,
        n_samples=echo.n_samples,
        dwell=echo.dwell,
        delay=echo.delay,
        length=echo.length,
        center=echo.center,
        before=echo.before,
        after=(echo.after, 0.0),
        first_excess=touch.after,
        last_excess=touch.before,
        k=np.stack((samples, np.zeros_like(samples)), axis=1),
        fov=echo.fov,
    )
