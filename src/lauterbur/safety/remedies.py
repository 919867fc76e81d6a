"""What to change, computed: the repetition time or the flip angle with which the same program would pass.

A judge says by how much a sequence of pulses is beyond its limits; here TR is stretched, or the pulses of one kind are
turned down, until the judge is content. Rounded to the safe side, so that what is suggested passes when followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.program import Program, RfPulse, duration, rf_steps
from lauterbur.safety.pulses import Pulses

Float = NDArray[np.float64]
Judge = Callable[[Pulses, float], float]  # pulses and the period of the program, s -> worst value / limit
LONGEST = 1000.0  # times longer than now: beyond that no TR helps
NAMES = {"excitation": "flip_angle", "refocusing": "refocusing_angle"}


def cooler(program: Program, played: Pulses, judge: Judge) -> str:
    """'lengthen tr from 3 to 4.2 s, or lower flip_angle from 90 to 76 deg', whichever of the two help."""
    rest = longer(
        program,
        played.start,
        played.end,
        lambda start, end, period: judge(replace(played, start=start, end=end), period),
    )
    return ", or ".join(filter(None, (rest, _lower(program, played, judge)))) or "lower the flip angles and lengthen TR"


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


def longer(program: Program, start: Float, end: Float, judge: Callable[[Float, Float, float], float]) -> str:
    """'lengthen tr from 3 to 4.2 s', or nothing where that does not help. `judge` is given when all that counts starts and
    ends, s, and the period, and says by how much of its limit it is."""
    total = duration(program)
    tr = _defined(program, "TR")

    def beyond(factor: float) -> float:
        """All moves apart; or, where TR is known, repetitions keep what they hold and move apart. The worse of the two."""
        even = judge(start * factor, start * factor + (end - start), total * factor)
        if tr is None:
            return even
        shift = np.floor((start + 1e-9) / tr) * tr * (factor - 1)
        period = total + math.ceil(total / tr - 1e-9) * tr * (factor - 1)
        return float(np.max((even, judge(start + shift, end + shift, period))))

    if not beyond(LONGEST) <= 1:
        return ""
    low, high = 1.0, LONGEST
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if beyond(middle) <= 1 else (middle, high)
    if tr is not None:
        return f"lengthen tr from {tr:.4g} to {up_to(tr * high * 1.002, 4):.4g} s"
    return f"lengthen TR to {up_to(high * 1.002):.3g} times, every pause with it"


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
