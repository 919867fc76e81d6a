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
from lauterbur.safety.pulses import Pulses, pulses

Float = NDArray[np.float64]
Judge = Callable[[Pulses, float], float]  # pulses and the period of the program, s -> worst value / limit
LONGEST = 1000.0  # times longer than now: beyond that no TR helps
LEAST = 0.01  # of the amplitude now: below that no flip angle helps
ALIKE = 0.05  # of a pause between pulses: by how much the same pause may differ from one repetition to the next
NAMES = {"excitation": "flip_angle", "refocusing": "refocusing_angle"}


def cooler(program: Program, played: Pulses, judge: Judge) -> str:
    """'lengthen tr from 3 to 4.2 s, or lower flip_angle from 90 to 76 deg', whichever of the two help alone."""
    rest = longer(
        program,
        played.start,
        played.end,
        lambda start, end, period: judge(replace(played, start=start, end=end), period),
    )
    helps = ", or ".join(filter(None, (rest, _lower(program, played, judge))))
    return (
        helps or "no repetition time and no flip angle mends this: look at the fields, the reference drive and the shim"
    )


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

    begin, spacing = (np.zeros(1), total) if tr is None else _repetitions(program, tr)
    before = np.maximum(np.searchsorted(begin, start + 1e-9, side="right") - 1, 0)  # repetitions

    def beyond(factor: float) -> float:
        """All moves apart; or, where TR is known, repetitions keep what they hold and move apart. The worse of the two."""
        even = judge(start * factor, start * factor + (end - start), total * factor)
        if tr is None:
            return even
        shift = before * spacing * (factor - 1)
        return float(np.max((even, judge(start + shift, end + shift, total + len(begin) * spacing * (factor - 1)))))

    if not beyond(LONGEST) <= 1:
        return ""
    low, high = 1.0, LONGEST
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if beyond(middle) <= 1 else (middle, high)
    if tr is not None:
        return f"lengthen tr from {tr:.4g} to {up_to(tr * high * 1.002, 4):.4g} s"
    return f"lengthen TR to {up_to(high * 1.002):.3g} times, every pause with it"


def _repetitions(program: Program, tr: float) -> tuple[Float, float]:
    """When repetitions begin, s, and the time from one to the next where they are even.

    A repetition is the least that comes again and again: one slice's train where the trains of all slices are spread over
    TR, a whole TR where a rest follows the last of them. So a longer TR moves trains apart, or whole TRs.
    """
    start = pulses(program).start
    gap = np.diff(start)
    most = int(np.searchsorted(start - start[:1], tr * (1 - ALIKE)))  # pulses in one TR
    for n in range(1, min(most, len(start) // 2) + 1):
        if np.all(np.abs(gap[n:] - gap[:-n]) <= ALIKE * gap[:-n]):
            begin = start[::n]
            spacing = (begin[-1] - begin[0]) / (len(begin) - 1)
            return begin, tr / max(1, round(tr / spacing))
    return tr * np.arange(math.ceil(duration(program) / tr - 1e-9), dtype=np.float64), tr


def _lower(program: Program, played: Pulses, judge: Judge) -> str:
    """Of the kind of pulses that heats most; of all where one kind is not enough."""
    use = np.array([pulse.use for pulse in program.rf])[played.event]
    energy = {name: float(np.sum(played.energy[use == name])) for name in NAMES}
    kind = max(energy, key=lambda name: energy[name])
    of_kind, total = use == kind, duration(program)

    def beyond(factor: float, which: NDArray[np.bool_]) -> float:
        return judge(played.scaled(np.where(which, factor**2, 1.0)), total)

    lowered = next((w for w in (of_kind, np.ones_like(of_kind)) if w.any() and beyond(LEAST, w) <= 1), None)
    if lowered is None:
        return ""
    low, high = LEAST, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle, lowered) <= 1 else (low, middle)
    if lowered is not of_kind:
        return f"play all pulses at {down_to(low * 0.999):.3g} of their amplitude"
    angle = _usual_angle(program, played.only(of_kind))
    if not angle > 0:
        return f"play the {kind} pulses at {down_to(low * 0.999):.3g} of their amplitude"
    return f"lower {NAMES[kind]} from {angle:.4g} to {down_to(angle * low * 0.999):.3g} deg"


def _usual_angle(program: Program, played: Pulses) -> float:
    """deg: of nearly all that these pulses put in; 0 where their angles vary, as in a train that is computed."""
    event, which = np.unique(played.event, return_inverse=True)
    energy = np.bincount(which.reshape(-1), played.energy)
    angle = np.array([flip_angle(program.rf[int(i)]) for i in event])
    usual = float(angle[np.argmax(energy)])
    return usual if energy[np.abs(angle - usual) <= 0.01 * usual].sum() >= 0.9 * energy.sum() else 0.0


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
