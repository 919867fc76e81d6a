"""Forbidden acoustic bands: a gradient train must not drive a resonance of the coil and its mount.

The rule is FACTS' one rule for the 5 T machine (forbidden echo spacings of the Skope hardware table): a periodic train
whose spectrum peaks in a band above the profile's threshold is refused. In numbers: of the power that an axis has above
100 Hz in 50 ms, the share inside the band, widened by the 20 Hz that 50 ms can resolve. A single lobe spreads its power
over more than a kilohertz and a gradient echo over many harmonics of 1/TR (shares below 0.3); only a train, which gathers
it in one line, comes near 1.

All windows that hold any gradient are looked at, none is taken as representative. Windows are Hann-weighted, overlap
by half, and are sampled at 20 kHz: bands lie below 2 kHz, and what a trapezoid has above 18 kHz is below 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft, rfftfreq

from lauterbur.errors import ResourceError
from lauterbur.findings import Finding
from lauterbur.program import Program
from lauterbur.safety.remedies import down_to, up_to
from lauterbur.safety.waveforms import AXES, Segments, join
from lauterbur.safety.worst import Worst, largest
from lauterbur.scanner.machine import Scanner

WINDOW = 0.05  # s
HOP = WINDOW / 2  # s
STEP = 50e-6  # s, between samples
ROOM = 25.0  # Hz that a line should keep off a band, which 50 ms blur by 20 Hz
LOWEST = 100.0  # Hz: slower than this is no train within 50 ms
SILENCE = 1e-6  # T/m
MOST_WINDOWS = 1_000_000  # 7 hours of gradients
_PER_HOP = round(HOP / STEP)
_BATCH = 2048  # windows transformed at once
_LENGTH = 2048  # of the transform: the window, padded so that no line falls between two bins
_FREQUENCY = rfftfreq(_LENGTH, STEP)  # Hz


@dataclass
class Acoustics:
    """Looks at one chunk of segments after the other, then says what it found."""

    program: Program
    scanner: Scanner
    worst: dict[tuple[float, float], Worst] = field(default_factory=dict)
    n_windows: int = 0
    _held: list[Segments | None] = field(default_factory=lambda: [None] * 3)  # what the next windows still need
    _next: list[int] = field(default_factory=lambda: [0] * 3)  # the first window not yet judged

    def __post_init__(self) -> None:
        self.worst = {band: Worst() for band in self.scanner.gradients.forbidden_bands}
        edges = [(max(low - 1 / WINDOW, LOWEST), high + 1 / WINDOW) for low, high in self.worst]
        inside = [(_FREQUENCY >= low) & (_FREQUENCY <= high) for low, high in edges]
        self._inside = np.array(inside, np.float32).reshape(-1, len(_FREQUENCY)).T  # (frequency, band)

    def look(self, chunk: tuple[Segments, Segments, Segments]) -> None:
        for axis, piece in enumerate(chunk):
            if self.worst and len(piece.start):
                self._look(axis, join(self._held[axis], piece), is_last=False)

    def _look(self, axis: int, piece: Segments, is_last: bool) -> None:
        active = _active_windows(piece)
        complete = int(piece.end[-1] // HOP) - 1  # windows before this one can gain nothing from later chunks
        active = active[(active >= self._next[axis]) & (is_last | (active < complete))]
        self.n_windows += len(active)
        if self.n_windows > MOST_WINDOWS:
            raise ResourceError(
                f"the program plays gradients for more than {MOST_WINDOWS * HOP / 3600:.0f} hours; "
                "the acoustic check would not end. Split the program"
            )
        for begin in range(0, len(active), _BATCH):
            self._judge(axis, active[begin : begin + _BATCH], piece)
        self._next[axis] = max(self._next[axis], complete)
        late = int(np.searchsorted(piece.end, self._next[axis] * HOP))
        self._held[axis] = piece.after(late)

    def _judge(self, axis: int, windows: NDArray[np.int64], piece: Segments) -> None:
        hops = np.union1d(windows, windows + 1)
        time = (hops[:, None] * HOP + (np.arange(_PER_HOP) + 0.5) * STEP).ravel()
        sampled = piece.sample(time).reshape(len(hops), _PER_HOP)
        at = np.searchsorted(hops, windows)
        wave = np.concatenate((sampled[at], sampled[at + 1]), axis=1)

        taper = np.hanning(wave.shape[1] + 1)[:-1]
        wave = wave - (wave @ taper / taper.sum())[:, None]
        heard = ~(
            np.max(np.abs(wave * taper), axis=1) <= SILENCE
        )  # what stands at a window's edge is heard by the next
        if not heard.any():
            return
        power = np.abs(rfft((wave[heard] / SILENCE * taper).astype(np.float32), _LENGTH, axis=1)) ** 2
        share = power @ self._inside / np.sum(power[:, _FREQUENCY >= LOWEST], axis=1)[:, None]
        start = windows[heard] * HOP
        for i_band, worst in enumerate(self.worst.values()):
            i = largest(share[:, i_band])
            if not share[i, i_band] <= worst.value:
                peak = _FREQUENCY[np.argmax(power[i] * self._inside[:, i_band])]
                window = f"{WINDOW * 1e3:g} ms from {start[i]:.4g} s"
                worst.see(float(share[i, i_band]), f"{peak:.0f} Hz on {AXES[axis]}, {window}")

    def findings(self) -> list[Finding]:
        for axis, piece in enumerate(self._held):
            if piece is not None and len(piece.start):
                self._look(axis, piece, is_last=True)
        threshold = self.scanner.gradients.band_threshold
        return [
            Finding(
                f"gradient power in {low:.0f}-{high:.0f} Hz, share",
                worst.value,
                threshold,
                "",
                f"{self.scanner.name} profile: forbidden acoustic band",
                worst.where,
                self._quieter(low, high),
            )
            for (low, high), worst in self.worst.items()
        ]

    def _quieter(self, low: float, high: float) -> str:
        """The nearest frequencies below and above a band that keep off all bands."""
        covered: list[tuple[float, float]] = []
        for a, b in sorted((a - ROOM, b + ROOM) for a, b in self.scanner.gradients.forbidden_bands):
            if covered and a <= covered[-1][1]:
                a, b = covered[-1][0], max(b, covered.pop()[1])
            covered.append((a, b))
        below, above = next((a, b) for a, b in covered if a <= low and high <= b)
        return (
            f"move the line below {below:.0f} or above {above:.0f} Hz: an echo train to a spacing of "
            f"{up_to(0.5e3 / below) if below > LOWEST else np.inf:.4g} ms or more, or of {down_to(0.5e3 / above):.4g} ms or less"
        )


def _active_windows(piece: Segments) -> NDArray[np.int64]:
    """Indices of the windows that hold some gradient; window i begins at i HOP and lasts two."""
    first = np.floor(piece.start / HOP).astype(np.int64) - 1
    last = np.floor(piece.end / HOP).astype(np.int64)
    if last[-1] - first[0] <= 4 * MOST_WINDOWS:  # count coverings by +1 and -1 marks
        base = first[0]
        mark = np.zeros(int(last.max() - base) + 2, np.int64)
        np.add.at(mark, first - base, 1)
        np.add.at(mark, last - base + 1, -1)
        active = np.flatnonzero(np.cumsum(mark) > 0) + base
    else:
        if np.sum(last - first) > MOST_WINDOWS:
            return np.arange(MOST_WINDOWS + 1)
        active = np.unique(np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]))
    return active[active >= 0]
