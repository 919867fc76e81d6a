"""What the gradient coils and their amplifiers can do: amplitude, slew, steps, volts, amps, watts, heat.

    I = G / sensitivity,   V = L dI/dt + R I,   P = |V I|,   all at both ends of every straight piece: |I|, |V| and, but
for the small part that R I has in V, |V I| are largest there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lauterbur.findings import Finding
from lauterbur.program import Program
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
    _tail: list[tuple[float, float, int]] = field(default_factory=lambda: [(0.0, 0.0, 0)] * 3)

    def __post_init__(self) -> None:
        self.current_squared = np.zeros((3, self.program.n_blocks))
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
        self._see("amplitude", axis, np.max(np.abs((piece.first, piece.last)), axis=0), piece.block)
        self._see("slew", axis, np.abs(slope), piece.block)
        self._see("volts", axis, np.max(np.abs(volts), axis=0), piece.block)
        self._see("amps", axis, np.max(np.abs(current), axis=0), piece.block)
        self._see("watts", axis, np.max(np.abs(volts * current), axis=0), piece.block)

        a, b = current
        heat = length * (a * a + a * b + b * b) / 3
        self.current_squared[axis] += np.bincount(piece.block, heat, minlength=self.program.n_blocks)

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
        coil, name = self.scanner.gradients, self.scanner.name
        for axis, (_, last, block) in enumerate(self._tail):
            self._see("step", axis, np.array([abs(last)]), np.array([block]))
        rules = (
            ("amplitude", "gradient amplitude", "T/m", coil.amplitude, "profile", "lower the amplitude"),
            ("slew", "gradient slew", "T/m/s", coil.slew, "profile", "lengthen the ramps"),
            (
                "step",
                "gradient step",
                "T/m",
                coil.slew * coil.raster,
                "profile: slew times raster, the step Pulseq allows at block borders",
                "ramp the gradient, or let neighbouring blocks meet at one value",
            ),
            (
                "volts",
                "gradient amplifier volts",
                "V",
                coil.amplifier_voltage,
                "profile: V = L dI/dt + R I",
                "ramp slower",
            ),
            (
                "amps",
                "gradient amplifier current",
                "A",
                coil.amplifier_current,
                "profile: I = G / sensitivity",
                "lower G",
            ),
            ("watts", "gradient amplifier power", "W", coil.amplifier_power, "profile: P = V I", "lower G or its slew"),
        )
        found = []
        for quantity, words, unit, limit, rule, remedy in rules:
            for name_of_axis in AXES:
                worst = self.worst[quantity, name_of_axis]
                found.append(
                    Finding(
                        f"{words}, {name_of_axis}",
                        settle(worst.value, limit),
                        limit,
                        unit,
                        f"{name} {rule}",
                        worst.where,
                        remedy,
                    )
                )
        for name_of_axis, squared in zip(AXES, self.current_squared, strict=True):
            mean, where = worst_window(self.program, squared, HEAT_WINDOW)
            found.append(
                Finding(
                    f"gradient r.m.s. current, {name_of_axis}",
                    float(np.sqrt(mean)),
                    coil.duty_cycle * coil.amplifier_current,
                    "A",
                    f"{name} profile: duty cycle {coil.duty_cycle:g} of {coil.amplifier_current:g} A, any {HEAT_WINDOW:g} s",
                    where,
                    "lengthen TR or lower the gradients",
                )
            )
        return found
