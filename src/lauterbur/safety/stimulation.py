"""Nerves and heart: what the ramps of the gradients may do to them, by the simple laws for one monotonic ramp.

    dB/dt = |slew| x effective length,   t = how long the ramp goes one way (on one axis, through zero too)
    nerve threshold:  rheobase (1 + chronaxie / t)              IEC 60601-2-33 default: 20 T/s, 0.36 ms   (unconfirmed)
    cardiac limit:    20 T/s / (1 - exp(-t / 3 ms))             the same standard                         (unconfirmed)

Each axis is judged by itself, and each ramp as a whole and piece by piece. The cardiac limit refuses. The nerve law is
told in a note and does not refuse: its length and its threshold are the standard's defaults, not this coil's, and
programs that scanners play every day (spoilers, echo-planar ramps) lie above it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lauterbur.findings import Finding
from lauterbur.program import Program
from lauterbur.safety.waveforms import AXES, SAME_TIME, Segments, join
from lauterbur.safety.worst import Worst, largest, place
from lauterbur.scanner.machine import Scanner

NORMAL_MODE = 0.8  # of the mean nerve threshold, IEC 60601-2-33
FIRST_LEVEL = 1.0  # of the same
CARDIAC_RATE = 20.0  # T/s, IEC 60601-2-33, unconfirmed
CARDIAC_TIME = 3e-3  # s, the same
SAME_GRADIENT = 1e-6  # T/m: neighbouring pieces that differ by less meet


@dataclass
class Stimulation:
    """Looks at one chunk of segments after the other, then says what it found."""

    program: Program
    scanner: Scanner
    nerve: list[Worst] = field(default_factory=lambda: [Worst() for _ in AXES])  # shares of the threshold
    heart: list[Worst] = field(default_factory=lambda: [Worst() for _ in AXES])  # shares of the limit
    _held: list[Segments | None] = field(default_factory=lambda: [None] * 3)  # the last ramp, which may go on

    def look(self, chunk: tuple[Segments, Segments, Segments]) -> None:
        for axis, piece in enumerate(chunk):
            if len(piece.start):
                piece = join(self._held[axis], piece)
                begins = _ramps(piece)
                self._judge(axis, piece, begins[:-1], begins[1:] - 1)
                self._held[axis] = piece.after(int(begins[-1]))

    def _judge(self, axis: int, piece: Segments, begin: NDArray[np.int64], end: NDArray[np.int64]) -> None:
        """Ramps from the start of piece `begin` to the end of piece `end`, and each of their pieces."""
        if not len(begin):
            return
        inside = np.arange(begin[0], end[-1] + 1)
        begin, end = np.concatenate((begin, inside)), np.concatenate((end, inside))
        time = piece.end[end] - piece.start[begin]
        swing = np.abs(piece.last[end] - piece.first[begin])
        coil = self.scanner.gradients.stimulation
        rate = swing / time * coil.get("effective_length", np.nan)
        threshold = coil.get("rheobase", np.nan) * (1 + coil.get("chronaxie", np.nan) / time)
        limit = CARDIAC_RATE / -np.expm1(-time / CARDIAC_TIME)
        for worst, share in ((self.nerve[axis], rate / threshold), (self.heart[axis], rate / limit)):
            i = largest(share)
            if not share[i] <= worst.value:
                ramp = f"{swing[i] * 1e3:.3g} mT/m in {time[i] * 1e3:.3g} ms"
                worst.see(float(share[i]), f"{ramp}, {place(self.program, int(piece.block[begin[i]]))}")

    def _finish(self) -> None:
        for axis, piece in enumerate(self._held):
            if piece is not None:
                self._judge(axis, piece, np.array([0]), np.array([len(piece.start) - 1]))
        self._held = [None] * 3

    def findings(self) -> list[Finding]:
        """Cardiac stimulation, which refuses; none where the profile has no effective length."""
        self._finish()
        if "effective_length" not in self.scanner.gradients.stimulation:
            return []
        return [
            Finding(
                f"dB/dt, share of the cardiac limit, {axis}",
                worst.value,
                1.0,
                "",
                "IEC 60601-2-33, 20 T/s / (1 - exp(-t / 3 ms)) for a ramp of length t, unconfirmed",
                worst.where,
                "ramp slower, or swing less at once",
            )
            for axis, worst in zip(AXES, self.heart, strict=True)
        ]

    def note(self) -> str:
        """What the law for nerves says, in a sentence."""
        self._finish()
        coil = self.scanner.gradients.stimulation
        if not {"rheobase", "chronaxie", "effective_length"} <= coil.keys():
            return "Nerve stimulation was not assessed: the profile lacks rheobase, chronaxie or effective length."
        axis = largest(np.array([worst.value for worst in self.nerve]))
        share, where = self.nerve[axis].value, self.nerve[axis].where
        if share <= NORMAL_MODE:
            mode = "normal operating mode"
        elif share <= FIRST_LEVEL:
            mode = "first-level controlled operating mode"
        else:
            mode = "above the first-level controlled operating mode; it would have to be played slower on a person"
        at = f" on {AXES[axis]} ({where})" if where else ""
        return (
            f"Nerve stimulation, unconfirmed and no reason to refuse: {share:.2f} of the mean threshold{at}, {mode}. "
            f"Law: {coil['rheobase']:g} T/s (1 + {coil['chronaxie'] * 1e3:g} ms / t), with dB/dt = slew x "
            f"{coil['effective_length']:g} m, each axis by itself (IEC 60601-2-33 defaults)."
        )


def _ramps(piece: Segments) -> NDArray[np.int64]:
    """Where each monotonic run of touching pieces begins."""
    way = np.sign(piece.last - piece.first)
    touch = np.abs(piece.start[1:] - piece.end[:-1]) <= SAME_TIME
    meet = np.abs(piece.first[1:] - piece.last[:-1]) <= SAME_GRADIENT
    goes_on = touch & meet & (way[1:] == way[:-1]) & (way[1:] != 0)
    return np.flatnonzero(np.concatenate(([True], ~goes_on)))
