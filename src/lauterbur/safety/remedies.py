"""What to change, computed: the repetition time or the flip angle with which the same program would pass.

A judge says by how much a sequence of pulses is beyond its limits; here TR is stretched, or the pulses of one kind are
turned down, until the judge is content. Rounded to the safe side, so that what is suggested passes when followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lauterbur.program import Program, RfPulse, duration, rf_steps
from lauterbur.safety.pulses import Pulses

Judge = Callable[[Pulses, float], float]  # pulses and the period of the program, s -> worst value / limit
LONGEST = 1000.0  # times longer than now: beyond that no TR helps
NAMES = {"excitation": "flip_angle", "refocusing": "refocusing_angle"}


def cooler(program: Program, played: Pulses, judge: Judge) -> str:
    """'lengthen tr from 3 to 4.2 s, or lower flip_angle from 90 to 76 deg', whichever of the two help."""
    longer, lower = _longer(program, played, judge), _lower(program, played, judge)
    return ", or ".join(filter(None, (longer, lower))) or "lower the flip angles and lengthen TR"


def up_to(value: float, digits: int = 3) -> float:
    """Rounded up to so many digits; what is no positive number is left as it is."""
    if not 0 < value < math.inf:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return round(math.ceil(value / step - 1e-9) * step, 12)


def down_to(value: float, digits: int = 3) -> float:
    """Rounded down to so many digits; what is no positive number is left as it is."""
    if not 0 < value < math.inf:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return round(math.floor(value / step + 1e-9) * step, 12)


def _longer(program: Program, played: Pulses, judge: Judge) -> str:
    total = duration(program)
    tr = _defined(program, "TR") or total

    def beyond(factor: float) -> float:
        """Repetitions keep what they hold and move apart; or all moves apart. The worse of the two."""
        count = np.floor((played.start + 1e-9) / tr)
        shift = count * tr * (factor - 1)
        apart = replace(played, start=played.start + shift, end=played.end + shift)
        length = played.end - played.start
        even = replace(played, start=played.start * factor, end=played.start * factor + length)
        period = total + math.ceil(total / tr - 1e-9) * tr * (factor - 1)
        return float(np.max((judge(apart, period), judge(even, total * factor))))

    if not beyond(LONGEST) <= 1:
        return ""
    low, high = 1.0, LONGEST
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if beyond(middle) <= 1 else (middle, high)
    if _defined(program, "TR"):
        return f"lengthen tr from {tr:.4g} to {up_to(tr * high * 1.002, 4):.4g} s"
    return f"play it {up_to(high * 1.002):.3g} times as slowly, with longer pauses"


def _lower(program: Program, played: Pulses, judge: Judge) -> str:
    use = np.array([pulse.use for pulse in program.rf])[played.event]
    energy = {name: float(np.sum(played.energy[use == name])) for name in NAMES}
    kind = max(energy, key=lambda name: energy[name])
    pulse = program.rf[int(played.event[use == kind][0])] if energy[kind] > 0 else None
    total = duration(program)

    def beyond(factor: float) -> float:
        return judge(played.scaled(np.where(use == kind, factor**2, 1.0)), total)

    if pulse is None or not beyond(0.01) <= 1:
        return ""
    low, high = 0.01, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) <= 1 else (low, middle)
    angle = flip_angle(pulse)
    if not angle > 0:
        return f"play the {kind} pulses at {down_to(low * 0.999):.3g} of their amplitude"
    return f"lower {NAMES[kind]} from {angle:.4g} to {down_to(angle * low * 0.999):.3g} deg"


def flip_angle(pulse: RfPulse) -> float:
    """deg: of a spin on resonance at nominal B1, for a pulse whose phase does not turn."""
    length, value = rf_steps(pulse)
    return float(360 * abs(np.sum(length * value)))


def _defined(program: Program, name: str) -> float | None:
    """A number among the definitions, where it makes sense."""
    try:
        value = float(np.ravel(program.definitions[name])[0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return value if 0 < value < np.inf else None
