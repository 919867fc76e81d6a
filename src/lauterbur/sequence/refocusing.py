"""Refocusing angles that make the echoes of a long train as strong as prescribed, by the extended phase graph.

Mugler et al. (Proc. ISMRM 2000, 687) prescribe the signal of one tissue and calculate the angles; Busse et al. (MRM 2006,
55:1030) begin with a quick approach to the steady state, so that low angles keep their signal. Weigel (JMRI 2015, 41:266) has
the graph. Here each angle follows in closed form from the states before it: the echo is a sinusoid of the angle.

    prescribed   \\______________________   strong at first, then level
    angles       \\__________------------   as low as the level allows, rising as the graph empties
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError

Float = NDArray[np.float64]
FIRST = 0.5  # of the way from all that was excited to the level: the first echo (Busse 2006: about halving)
APPROACH = 0.2  # of the way to the level that is left after each echo: 1 % less level than at 0.5, three echoes sooner
LEAST = 0.02  # of the excited magnetisation: below this there is nothing to hear
SEARCH = 50  # halvings of the level


@dataclass
class _Graph:
    """States just before a refocusing pulse of a CPMG train, (state,): dephased by half-odd turns of one echo spacing.

    With the pulses along the echoes' phase all states are real.
    """

    ahead: Float  # F+
    behind: Float  # F-
    along: Float  # Z

    @classmethod
    def excited(cls, n: int, decay: float) -> _Graph:
        """After an excitation by 90 degrees and half a spacing."""
        graph = cls(np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1))
        graph.ahead[0] = decay
        return graph

    def angle_for(self, echo: float) -> float:
        """rad: the smallest angle that refocuses this much; as much as possible where no angle does."""
        mean, half = (self.ahead[0] + self.behind[0]) / 2, (self.ahead[0] - self.behind[0]) / 2
        size, phase = math.hypot(half, self.along[0]), math.atan2(self.along[0], half)
        cosine = (mean - echo) / size
        if not cosine > -1:
            return math.nan
        turns = [phase + math.acos(min(1.0, cosine)), phase - math.acos(min(1.0, cosine))]
        return min(turn % (2 * math.pi) for turn in turns)

    def refocus_(self, angle: float, decay: float, recovery: float) -> float:
        """Play one pulse and the spacing after it; the echo. `decay` is of transverse states in half a spacing."""
        cos2, sin2, sin = math.cos(angle / 2) ** 2, math.sin(angle / 2) ** 2, math.sin(angle)
        ahead = cos2 * self.ahead + sin2 * self.behind + sin * self.along
        behind = sin2 * self.ahead + cos2 * self.behind - sin * self.along
        self.along = ((self.behind - self.ahead) * sin / 2 + self.along * math.cos(angle)) * recovery
        self.ahead = np.concatenate((behind[:1], ahead[:-1])) * decay**2
        self.behind = np.concatenate((behind[1:], [0.0])) * decay**2
        return float(behind[0]) * decay


def echo_signals(angles: Float, spacing: float, t1: float, t2: float) -> Float:
    """(echo,) of a train after 90 degrees, relative to the magnetisation that was excited; spacing, t1, t2 in s."""
    decay, recovery = math.exp(-spacing / 2 / t2), math.exp(-spacing / t1)
    graph = _Graph.excited(len(angles), decay)
    return np.array([graph.refocus_(float(angle), decay, recovery) for angle in angles])


def refocusing_angles(n: int, spacing: float, t1: float, t2: float, highest: float) -> Float:
    """(n,) rad: angles of at most `highest` whose echoes of this tissue approach a level and stay there.

    The level is the highest that these angles can hold to the end of the train. Times in s.
    """
    strongest = math.exp(-spacing / t2) * math.sin(highest / 2) ** 2  # that a first echo can be
    lower, upper = 0.0, 1.0
    best: Float | None = None
    for _ in range(SEARCH):
        level = (lower + upper) / 2
        angles = _angles_for(prescribed(n, level, min(level + FIRST * (1 - level), strongest)), spacing, t1, t2)
        if np.max(angles) <= highest + 1e-9:  # NaN, where an echo is out of reach, never is
            lower, best = level, angles
        else:
            upper = level
    if best is None or not lower > LEAST:
        raise ProtocolError(
            f"refocusing angles of at most {math.degrees(highest):.4g} degrees cannot hold a train of {n} echoes "
            f"{spacing * 1e3:.3g} ms apart, as echoes of {t2 * 1e3:.3g} ms fade; allow higher angles, or play fewer echoes"
        )
    return best


def prescribed(n: int, level: float, first: float) -> Float:
    """(n,) echoes, each with a part APPROACH left of the way to the level."""
    return level + (first - level) * np.power(APPROACH, np.arange(float(n)))


def _angles_for(echoes: Float, spacing: float, t1: float, t2: float) -> Float:
    decay, recovery = math.exp(-spacing / 2 / t2), math.exp(-spacing / t1)
    graph = _Graph.excited(len(echoes), decay)
    angles = np.full(len(echoes), math.nan)
    for i, echo in enumerate(echoes):
        angles[i] = graph.angle_for(float(echo) / decay)
        if not angles[i] <= math.pi:
            break
        graph.refocus_(float(angles[i]), decay, recovery)
    return angles
