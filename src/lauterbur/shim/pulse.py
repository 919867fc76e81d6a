"""CompositePulse: kT-points or spokes - short pulses with steps in k-space between them, in place of one excitation.

pulse    __|~|______|~|______|~|__          every pulse of the same nominal amplitude, with its own channel weights
steps    ______/\\______/\\_________/\\_      between pulses; after the last one what rephases
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError

KINDS = ("kt-points", "spokes")


@dataclass(frozen=True, eq=False)
class CompositePulse:
    kind: str  # "kt-points": hard pulses; "spokes": the program's own selective pulse, once per spoke
    weights: NDArray[
        np.complex128
    ]  # (slice, point, tx), our phase sense, of the shim's reference drive; one slice: all
    steps: NDArray[np.float64]  # 1/m, (slice, point - 1, 3), patient axes: gradient area between neighbours
    rephasing: NDArray[np.float64]  # 1/m, (slice, 3): area after the last pulse
    flip_angle: float  # rad, that it was designed for
    duration: float  # s, of one pulse
    gap: float  # s, from the end of one to the start of the next

    def __post_init__(self) -> None:
        w, s, r = self.weights, self.steps, self.rephasing
        if self.kind not in KINDS:
            raise InputError(f"composite pulse: kind {self.kind!r}; known are {', '.join(KINDS)}")
        if w.ndim != 3 or s.shape != (w.shape[0], w.shape[1] - 1, 3) or r.shape != (w.shape[0], 3) or 0 in w.shape:
            raise InputError(
                f"composite pulse: weights {w.shape}, steps {s.shape} and rephasing {r.shape} do not fit together"
            )
        if not all(np.isfinite(v).all() for v in (w, s, r)):
            raise InputError("composite pulse: weights, steps and rephasing must be finite")
        if not (0 < self.flip_angle <= np.pi and 0 < self.duration < 1 and 0 <= self.gap < 1):
            raise InputError(
                f"composite pulse: flip angle {self.flip_angle:.4g} rad, duration {self.duration:.4g} s, gap {self.gap:.4g} s"
            )

    @property
    def n_points(self) -> int:
        return int(self.weights.shape[1])
