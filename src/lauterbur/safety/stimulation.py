"""Nerves and heart: what the ramps of the gradients may do to them.

    dB/dt = |slew| x effective length,   t = how long the ramp goes one way (on one axis, through zero too)
    nerve threshold:  rheobase (1 + chronaxie / t)              IEC 60601-2-33 default: 20 T/s, 0.36 ms   (unconfirmed)
    cardiac limit:    20 T/s / (1 - exp(-t / 3 ms))             the same standard                         (unconfirmed)

Three judgements refuse: the laws for nerves and heart, of each ramp as a whole and piece by piece, and the SAFE model
(safe.py), which remembers what came before; each on every axis by itself. Up to 80 % of the mean nerve threshold is the
normal operating mode, up to 100 % the first-level controlled one. SAFE of all axes together is told only, until its
coefficients and weights are those of the coil (no longer marked unconfirmed in the profile): then it refuses too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lauterbur.findings import Finding
from lauterbur.program import Program
from lauterbur.safety.remedies import down_to, up_to
from lauterbur.safety.safe import Safe
from lauterbur.safety.waveforms import AXES, SAME_TIME, Segments, join
from lauterbur.safety.worst import Worst, largest, place
from lauterbur.scanner.machine import Scanner

NORMAL_MODE = 0.8  # of the mean nerve threshold, IEC 60601-2-33
FIRST_LEVEL = 1.0  # of the same
CARDIAC_RATE = 20.0  # T/s, IEC 60601-2-33, unconfirmed
CARDIAC_TIME = 3e-3  # s, the same, unconfirmed
SAME_GRADIENT = 1e-6  # T/m: neighbouring pieces that differ by less meet


@dataclass
class Stimulation:
    """Looks at one chunk of segments after the other, then says what it found."""

    program: Program
    scanner: Scanner
    nerve: list[Worst] = field(default_factory=lambda: [Worst() for _ in AXES])  # shares of the threshold
    heart: list[Worst] = field(default_factory=lambda: [Worst() for _ in AXES])  # shares of the limit
    mode: str = "first-level"
    safe: Safe = field(init=False)
    _held: list[Segments | None] = field(default_factory=lambda: [None] * 3)  # the last ramp, which may go on

    def __post_init__(self) -> None:
        self.safe = Safe(self.program, self.scanner)
        self._ramp = {"nerve": [(0.0, 0.0)] * 3, "heart": [(0.0, 0.0)] * 3}  # T/m and s of the worst ramps

    def look(self, chunk: tuple[Segments, Segments, Segments]) -> None:
        self.safe.look(chunk)
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
        for name, worst, share in (
            ("nerve", self.nerve[axis], rate / threshold),
            ("heart", self.heart[axis], rate / limit),
        ):
            i = largest(share)
            if not share[i] <= worst.value:
                self._ramp[name][axis] = (float(swing[i]), float(time[i]))
                ramp = f"{swing[i] * 1e3:.3g} mT/m in {time[i] * 1e3:.3g} ms"
                worst.see(float(share[i]), f"{ramp}, {place(self.program, int(piece.block[begin[i]]))}")

    def _finish(self) -> None:
        for axis, piece in enumerate(self._held):
            if piece is not None:
                self._judge(axis, piece, np.array([0]), np.array([len(piece.start) - 1]))
        self._held = [None] * 3

    def findings(self) -> list[Finding]:
        """None where the profile says nothing of the coil: `note` tells it."""
        self._finish()
        self.safe.finish()
        coil = self.scanner.gradients.stimulation
        most = NORMAL_MODE if self.mode == "normal" else FIRST_LEVEL
        found: list[Finding] = []
        if {"rheobase", "chronaxie", "effective_length"} <= coil.keys():
            rule = (
                f"IEC 60601-2-33, default law {coil['rheobase']:g} T/s (1 + {coil['chronaxie'] * 1e3:g} ms / t), "
                f"dB/dt = slew x {coil['effective_length']:g} m, unconfirmed"
            )
            found += [
                Finding(
                    f"nerve stimulation, share of the mean threshold, {axis}",
                    worst.value,
                    most,
                    "",
                    rule,
                    worst.where,
                    _slower(*ramp, lambda t: coil["rheobase"] * (1 + coil["chronaxie"] / t) * most, coil),
                    operating_mode(worst.value),
                )
                for axis, worst, ramp in zip(AXES, self.nerve, self._ramp["nerve"], strict=True)
            ]
        if "effective_length" in coil:
            found += [
                Finding(
                    f"dB/dt, share of the cardiac limit, {axis}",
                    worst.value,
                    1.0,
                    "",
                    "IEC 60601-2-33, 20 T/s / (1 - exp(-t / 3 ms)) for a ramp of length t, unconfirmed",
                    worst.where,
                    _slower(*ramp, lambda t: CARDIAC_RATE / -np.expm1(-t / CARDIAC_TIME), coil),
                )
                for axis, worst, ramp in zip(AXES, self.heart, self._ramp["heart"], strict=True)
            ]
        if self.safe.is_known:
            sources = self.scanner.sources
            is_confirmed = not any("safe" in key and text.startswith("unconfirmed") for key, text in sources.items())
            found += [
                Finding(
                    f"nerve stimulation by the SAFE model, {axis}",
                    worst.value,
                    most,
                    "",
                    "Hebrank and Gebhardt, ISMRM 2000, 2007"
                    + ("" if is_confirmed else "; coefficients unconfirmed")
                    + ("; axes add as sqrt(sum (w s)^2)" if axis == "all" else ""),
                    worst.where,
                    f"ramp at {down_to(99.9 * most / max(worst.value, most)):.3g} % of the slew",
                    operating_mode(worst.value),
                    is_advice=axis == "all" and not is_confirmed,
                )
                for axis, worst in zip((*AXES, "all"), self.safe.worst, strict=True)
            ]
        return found

    def note(self) -> str:
        """The operating mode of the gradients, in a sentence."""
        self._finish()
        coil = self.scanner.gradients.stimulation
        if not {"rheobase", "chronaxie", "effective_length"} <= coil.keys():
            return "Nerve stimulation was not assessed: the profile lacks rheobase, chronaxie or effective length."
        axis = largest(np.array([worst.value for worst in self.nerve]))
        share, where = self.nerve[axis].value, self.nerve[axis].where
        at = f" on {AXES[axis]} ({where})" if where else ""
        together = self.safe.worst[-1]
        said = f"; all axes together {together.value:.2f} by the SAFE model" if self.safe.is_known else ""
        return (
            f"Nerve stimulation: {share:.2f} of the mean threshold{at}{said}; {operating_mode(share)} operating mode. "
            f"Law: {coil['rheobase']:g} T/s (1 + {coil['chronaxie'] * 1e3:g} ms / t), with dB/dt = slew x "
            f"{coil['effective_length']:g} m (IEC 60601-2-33 defaults, not this coil's own, unconfirmed)."
        )


def operating_mode(share: float) -> str:
    if share <= NORMAL_MODE:
        return "normal"
    return "first-level" if share <= FIRST_LEVEL else "above first-level"


def _slower(swing: float, time: float, allowed: Callable[[float], float], coil: dict[str, float]) -> str:
    """How long the ramp would have to be, s; `allowed` is dB/dt in T/s for a ramp of that length."""
    rate = swing * coil["effective_length"]
    if not (np.isfinite(rate) and time > 0 and rate / time > allowed(time)):
        return "ramp slower, or swing less at once"
    low, high = time, time
    while rate / high > allowed(high) and high < 1.0:
        low, high = high, 2 * high
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if rate / middle > allowed(middle) else (low, middle)
    return f"ramp {swing * 1e3:.3g} mT/m in {up_to(high * 1.0005) * 1e3:.4g} ms or more, or swing less at once"


def _ramps(piece: Segments) -> NDArray[np.int64]:
    """Where each monotonic run of touching pieces begins."""
    way = np.sign(piece.last - piece.first)
    touch = np.abs(piece.start[1:] - piece.end[:-1]) <= SAME_TIME
    meet = np.abs(piece.first[1:] - piece.last[:-1]) <= SAME_GRADIENT
    goes_on = touch & meet & (way[1:] == way[:-1]) & (way[1:] != 0)
    return np.flatnonzero(np.concatenate(([True], ~goes_on)))
