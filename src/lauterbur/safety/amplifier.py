"""What the gradient coils and their amplifiers can do: amplitude, slew, steps, volts, amps, watts, energy, heat.

    I = G / sensitivity,   V = L dI/dt + R I,   P = |V I|,   all at both ends of every straight piece: |I|, |V| and, but
for the small part that R I has in V, |V I| are largest there. Means over any 10 s: the r.m.s. current, and |V I|, as if
nothing that flows back were recovered. Heat: a store that forgets I^2 with one time constant, warm from the same program
played before without pause.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.findings import Finding
from lauterbur.program import Program
from lauterbur.safety.remedies import Float, down_to, longer
from lauterbur.safety.waveforms import AXES, SAME_TIME, Segments
from lauterbur.safety.worst import Worst, largest, place, settle, worst_window
from lauterbur.scanner.machine import Scanner

HEAT_WINDOW = 10.0  # s, over which the r.m.s. current is taken; the profile's duty cycle is meant over this time


@dataclass
class Amplifiers:
    """Looks at one chunk of segments after the other, then says what it found."""

    program: Program
    scanner: Scanner
    worst: dict[tuple[str, str], Worst] = field(default_factory=dict)
    current_squared: NDArray[np.float64] = field(init=False)  # A2 s, (axis, block)
    energy: NDArray[np.float64] = field(init=False)  # J, (axis, block): integral of |V I|
    active: NDArray[np.float64] = field(init=False)  # s, (axis, block, 2): from the first to the last of its pieces
    _tail: list[tuple[float, float, int]] = field(default_factory=lambda: [(0.0, 0.0, 0)] * 3)

    def __post_init__(self) -> None:
        n = self.program.n_blocks
        self.current_squared, self.energy = np.zeros((3, n)), np.zeros((3, n))
        self.active = np.stack((np.full((3, n), np.inf), np.full((3, n), -np.inf)), axis=2)
        for axis in AXES:
            for quantity in ("amplitude", "slew", "step", "volts", "amps", "watts"):
                self.worst[quantity, axis] = Worst()

    def look(self, chunk: tuple[Segments, Segments, Segments]) -> None:
        for axis, piece in enumerate(chunk):
            if len(piece.start):
                self._look(axis, piece)

    def _look(self, axis: int, piece: Segments) -> None:
        coil = self.scanner.gradients
        length = piece.end - piece.start
        slope = (piece.last - piece.first) / length
        current = np.stack((piece.first, piece.last)) / coil.sensitivity
        volts = coil.inductance * slope / coil.sensitivity + coil.resistance * current
        watts = np.abs(volts * current)
        self._see("amplitude", axis, np.max(np.abs((piece.first, piece.last)), axis=0), piece.block)
        self._see("slew", axis, np.abs(slope), piece.block)
        self._see("volts", axis, np.max(np.abs(volts), axis=0), piece.block)
        self._see("amps", axis, np.max(np.abs(current), axis=0), piece.block)
        self._see("watts", axis, np.max(watts, axis=0), piece.block)

        n = self.program.n_blocks
        a, b = current
        self.current_squared[axis] += np.bincount(piece.block, length * (a * a + a * b + b * b) / 3, minlength=n)
        # the trapezoid rule: V I is a parabola whose curvature R slope^2 adds little, and a change of sign only less
        self.energy[axis] += np.bincount(piece.block, length * (watts[0] + watts[1]) / 2, minlength=n)
        np.minimum.at(self.active[axis, :, 0], piece.block, piece.start)
        np.maximum.at(self.active[axis, :, 1], piece.block, piece.end)

        # steps: from the end of a piece to the start of the next, or to and from zero where they do not touch
        end, last, block = self._tail[axis]
        ends = np.concatenate(([end], piece.end[:-1]))
        lasts = np.concatenate(([last], piece.last[:-1]))
        blocks = np.concatenate(([block], piece.block[:-1]))
        touch = np.abs(piece.start - ends) <= SAME_TIME
        self._see("step", axis, np.where(touch, np.abs(piece.first - lasts), np.abs(piece.first)), piece.block)
        self._see("step", axis, np.where(touch, 0.0, np.abs(lasts)), blocks)
        self._tail[axis] = (float(piece.end[-1]), float(piece.last[-1]), int(piece.block[-1]))

    def _see(self, quantity: str, axis: int, values: NDArray[np.float64], block: NDArray[np.int64]) -> None:
        i = largest(values)
        worst = self.worst[quantity, AXES[axis]]
        if not values[i] <= worst.value:
            worst.see(float(values[i]), place(self.program, int(block[i])))

    def findings(self) -> list[Finding]:
        for axis, (_, last, block) in enumerate(self._tail):
            self._see("step", axis, np.array([abs(last)]), np.array([block]))
        return self._peaks() + [f for axis in range(3) for f in self._means(axis)]

    def _peaks(self) -> list[Finding]:
        coil = self.scanner.gradients
        rules = (
            ("amplitude", "gradient amplitude", "T/m", coil.amplitude, "", "lower the amplitude to"),
            ("slew", "gradient slew", "T/m/s", coil.slew, "", "lengthen the ramps: lower the slew to"),
            ("step", "gradient step", "T/m", coil.slew * coil.raster,
             ": slew times raster, the step Pulseq allows at block borders",
             "ramp the gradient, or let neighbouring blocks meet at one value: lower the step to"),
            ("volts", "gradient amplifier volts", "V", coil.amplifier_voltage, ": V = L dI/dt + R I",
             "ramp slower: lower the slew to"),
            ("amps", "gradient amplifier current", "A", coil.amplifier_current, ": I = G / sensitivity", "lower G to"),
            ("watts", "gradient amplifier power", "W", coil.amplifier_power, ": P = V I", "lower G or its slew to"),
        )  # fmt: skip
        found = []
        for quantity, words, unit, limit, rule, remedy in rules:
            for axis in AXES:
                worst = self.worst[quantity, axis]
                value = settle(worst.value, limit)
                factor = f" {100 * down_to(limit / value):.3g} % of what it is" if value > limit > 0 else ""
                name = f"{self.scanner.name} profile{rule}"
                found.append(Finding(f"{words}, {axis}", value, limit, unit, name, worst.where, remedy + factor))
        return found

    def _means(self, axis: int) -> list[Finding]:
        coil, name = self.scanner.gradients, self.scanner.name
        busy = np.flatnonzero(self.active[axis, :, 0] < np.inf)
        start, end = self.active[axis, busy].T
        squared, where = worst_window(start, end, self.current_squared[axis, busy], HEAT_WINDOW)
        watts, watts_where = worst_window(start, end, self.energy[axis, busy], HEAT_WINDOW)
        heat, heat_where = self._heat(axis)
        rated = coil.duty_cycle * coil.amplifier_current
        duty = f"duty cycle {coil.duty_cycle:g} of {coil.amplifier_current:g} A"
        return [
            Finding(
                f"gradient r.m.s. current, {AXES[axis]}",
                float(np.sqrt(squared)),
                rated,
                "A",
                f"{name} profile: {duty}, any {HEAT_WINDOW:g} s",
                where,
                self._rest(start, end, self.current_squared[axis, busy], squared / rated**2, rated**2),
            ),
            Finding(
                f"gradient heat as r.m.s. current, {AXES[axis]}",
                float(np.sqrt(heat)),
                rated,
                "A",
                f"{name} profile: {duty}, forgotten with {coil.heating_time:g} s; played again and again",
                heat_where,
                self._cooler(start, end, self.current_squared[axis, busy], heat / rated**2, rated**2),
            ),
            Finding(
                f"gradient mean power, {AXES[axis]}",
                watts,
                coil.average_power,
                "W",
                f"{name} profile: |V I| over any {HEAT_WINDOW:g} s",
                watts_where,
                self._rest(start, end, self.energy[axis, busy], watts / coil.average_power, coil.average_power),
            ),
        ]

    def _rest(self, start: Float, end: Float, amount: Float, ratio: float, limit: float) -> str:
        """What mends a mean over any HEAT_WINDOW that is `ratio` times its limit."""
        if not 1 < ratio < np.inf:
            return "lengthen TR or lower the gradients"
        rest = longer(
            self.program, start, end, lambda begin, stop, _: worst_window(begin, stop, amount, HEAT_WINDOW)[0] / limit
        )
        return ", or ".join(filter(None, (rest, _softer(ratio))))

    def _cooler(self, start: Float, end: Float, squared: Float, ratio: float, limit: float) -> str:
        """What mends the heat of a program played again and again, which is `ratio` times its limit."""
        if not 1 < ratio < np.inf:
            return "lengthen TR or lower the gradients"
        tau = self.scanner.gradients.heating_time
        rest = longer(
            self.program, start, end, lambda _, stop, period: float(np.max(_warm(stop, squared, period, tau))) / limit
        )
        return ", or ".join(filter(None, (rest, _softer(ratio))))

    def _heat(self, axis: int) -> tuple[float, str]:
        """A2: the largest content of the store; a block's I^2 comes at its end, where it counts most."""
        end = np.cumsum(self.program.durations)
        if not (len(end) and end[-1] > 0):
            return 0.0, ""
        warm = _warm(end, self.current_squared[axis], float(end[-1]), self.scanner.gradients.heating_time)
        at = largest(warm)
        return float(warm[at]), place(self.program, at)


def _warm(time: Float, squared: Float, period: float, tau: float) -> Float:
    """A2, after each of the times, s, in order, at which `squared`, A2 s, is gained, again and again with this period.

    The content h decays as exp(-t / tau) and gains I^2 dt / tau.
    """
    cold = _store(np.diff(time, prepend=0.0) / tau, squared / tau)
    left = cold[-1] * np.exp(-(period - time[-1]) / tau) / -np.expm1(-period / tau)
    return np.asarray(cold + left * np.exp(-time / tau))


@njit(cache=True)
def _store(passed: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the store holds after each gain; `passed` are the times before each, in time constants."""
    held = np.empty(len(gain))
    content = 0.0
    for i in range(len(gain)):
        content = content * np.exp(-passed[i]) + gain[i]
        held[i] = content
    return held


def _softer(ratio: float) -> str:
    return f"lower the gradients to {down_to(0.995 / np.sqrt(ratio)):.3g} of what they are"
