"""Pulses as they are played: each distinct one with the gradient under it, and when which acts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
PREPARING = ("inversion", "saturation")  # pulses of which only the longitudinal effect matters: the rest is spoiled


@dataclass(frozen=True, eq=False)
class PulseShape:
    """One distinct pulse with the gradient under it, its phase taken out."""

    length: Float  # s, (step,)
    b1: NDArray[np.complex128]  # Hz, (step,), our sense, in the frame that turns with the pulse's frequency
    frequency: float  # Hz, of the pulse against the Larmor frequency; the frames meet at the start of the waveform
    gradient: Float  # Hz/m, (step, 3), mean over each step
    before: float  # s from the start of the waveform to the centre
    after: float  # s from the centre to the end
    moment_before: Float  # 1/m, (3,)
    moment_after: Float
    drive: NDArray[np.intp]  # (step,) whose channel weights of Played.drives
    use: str

    def coarser(self, longest: float) -> PulseShape:
        """Neighbouring steps as their mean, up to this long (s): an error of the length's square."""
        edge = np.cumsum(self.length) - self.length
        is_new = np.diff(np.floor(edge / longest + 1e-6), prepend=-1.0) != 0
        is_new[1:] |= np.diff(self.drive) != 0
        first = np.flatnonzero(is_new)
        length = np.add.reduceat(self.length, first)
        field = np.add.reduceat(self.b1 * self.length, first) / length
        gradient = np.add.reduceat(self.gradient * self.length[:, None], first) / length[:, None]
        return replace(self, length=length, b1=np.asarray(field, complex), gradient=gradient, drive=self.drive[first])

    @property
    def direction(self) -> Float | None:
        """(3,) unit vector of the gradient under the pulse; zeros without one, None if it turns during the pulse."""
        size = np.linalg.norm(self.gradient, axis=1)
        if not size.max() > 0:
            return np.zeros(3)
        axis = self.gradient[np.argmax(size)] / size.max()
        across = self.gradient - np.outer(self.gradient @ axis, axis)
        return axis if np.abs(across).max() <= 1e-6 * size.max() else None


@dataclass(frozen=True, eq=False)
class Played:
    """Which pulses a program plays, and when."""

    shapes: tuple[PulseShape, ...]
    shape: NDArray[np.int32]  # (pulse,)
    phase: Float  # rad, (pulse,): the pulse's field is its shape's times exp(i phase), our sense
    time: Float  # s, (pulse,), centres
    k: Float  # 1/m, (pulse, 3): K at the centres
    drives: tuple[NDArray[np.complex128] | None, ...]  # each (tx,) channel weights; None: all channels alike
