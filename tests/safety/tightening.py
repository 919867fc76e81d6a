"""One limit at a time, moved to what a program has: just above it passes, just below it is refused.

    with tightened(finding, room) as machine:            # the finding's value is now 1 / room of its limit
        clear(plan, machine, None, sar)

Limits of the machine are numbers of its profile. Those of a standard are constants of the gate, changed for the moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from lauterbur.findings import Finding
from lauterbur.protocol.library import load_protocol
from lauterbur.protocol.protocol import Protocol
from lauterbur.safety import exposure, gate, soundness, stimulation
from lauterbur.safety.limits import Limits, iec_limits
from lauterbur.safety.sar import SarModel, sar_from_matrices
from lauterbur.scanner.machine import Scanner
from lauterbur.scanner.profiles import load_scanner

MACHINE = load_scanner("5T")
TX = MACHINE.transmit.channels
LINES, PARTITIONS, SLICES = 16, 8, 14  # of the small protocols


def small(name: str) -> Protocol:
    """A protocol of the library with fewer lines, partitions and slices: the field of view shrinks with them, so that
    gradients, pulses and repetition times stay what they are."""
    whole = load_protocol(name)
    if whole.trajectory != "cartesian":  # a disc stays a disc: fewer shots, partitions and slices
        partitions = min(whole.matrix[2], PARTITIONS)
        return replace(
            whole,
            matrix=(*whole.matrix[:2], partitions),
            fov=(*whole.fov[:2], whole.fov[2] * partitions / whole.matrix[2]),
            shots=min(whole.shots, LINES),
            slices=min(whole.slices, SLICES),
            dummies=min(whole.dummies, 1),
        )
    lines, partitions = min(whole.matrix[1], LINES), min(whole.matrix[2], PARTITIONS)
    return replace(
        whole,
        matrix=(whole.matrix[0], lines, partitions),
        fov=(whole.fov[0], whole.fov[1] * lines / whole.matrix[1], whole.fov[2] * partitions / whole.matrix[2]),
        reference_lines=(min(whole.reference_lines[0], 6), min(whole.reference_lines[1], 4)),
        slices=min(whole.slices, SLICES),
        undersampling=min(whole.undersampling, 3.0),
        dummies=min(whole.dummies, 1),
        frames=min(whole.frames, 4),
    )


def warm_body(seed: int = 0) -> SarModel:
    """Random positive semi-definite matrices in head, trunk and limbs, and means of every kind."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(12, TX, TX)) + 1j * rng.normal(size=(12, TX, TX))
    local = a @ a.conj().swapaxes(1, 2) * 1e-6
    mean = local.mean(axis=0) / 10
    return sar_from_matrices(
        local, part=np.arange(12) % 3 + 1, whole_body=mean, head=2 * mean, partial_body=3 * mean, exposed_fraction=0.3
    )


def family(finding: Finding) -> str:
    """The quantity without its axis and band: those share one limit."""
    return re.sub(r"[\d.]+-[\d.]+ Hz", "a band", re.sub(r", [xyz]$", "", finding.quantity))


def worst_of_each(found: Iterable[Finding]) -> dict[str, Finding]:
    """Of each limit the finding nearest to it; what is told only is left out."""
    worst: dict[str, Finding] = {}
    for finding in found:
        before = worst.get(family(finding))
        if not finding.is_advice and (before is None or finding.value > before.value):
            worst[family(finding)] = finding
    return worst


@dataclass(frozen=True)
class Tightening:
    change: Callable[[pytest.MonkeyPatch, Finding, float], Scanner]  # the machine whose limit leaves so much room
    is_alone: bool = True  # no other limit moves with it: with room, the whole program is cleared


@contextmanager
def tightened(finding: Finding, room: float) -> Iterator[Scanner]:
    """The machine for which a finding of MACHINE stands at 1 / room of its limit."""
    with pytest.MonkeyPatch.context() as patch:
        yield LIMITS[family(finding)].change(patch, finding, room)


def _number(
    room: str, key: str, of: Callable[[float], float] = lambda limit: limit, *, is_alone: bool = True
) -> Tightening:
    """A limit that follows from a number of the profile; `of` is that number for a limit."""

    def change(_: pytest.MonkeyPatch, finding: Finding, share: float) -> Scanner:
        return replace(MACHINE, **{room: replace(getattr(MACHINE, room), **{key: of(finding.value * share)})})

    return Tightening(change, is_alone)


def _dead_time(room: str, key: str, *, is_alone: bool = True) -> Tightening:
    """The value is what the profile asks for, the limit what the program leaves free."""

    def change(_: pytest.MonkeyPatch, finding: Finding, share: float) -> Scanner:
        return replace(MACHINE, **{room: replace(getattr(MACHINE, room), **{key: finding.limit / share})})

    return Tightening(change, is_alone)


def _constant(module: object, name: str, *, of_share: bool = False) -> Tightening:
    """A constant of the gate; `of_share`: the finding is a share of it."""

    def change(patch: pytest.MonkeyPatch, finding: Finding, share: float) -> Scanner:
        now = getattr(module, name) if of_share else 1.0
        patch.setattr(module, name, now * finding.value * share)
        return MACHINE

    return Tightening(change)


def _band(_: pytest.MonkeyPatch, finding: Finding, share: float) -> Scanner:
    """One threshold serves all bands: this one alone is kept."""
    bands = MACHINE.gradients.forbidden_bands
    this = next(band for band in bands if f"in {band[0]:.0f}-{band[1]:.0f} Hz" in finding.quantity)
    gradients = replace(MACHINE.gradients, forbidden_bands=(this,), band_threshold=finding.value * share)
    return replace(MACHINE, gradients=gradients)


def _nerves(_: pytest.MonkeyPatch, finding: Finding, share: float) -> Scanner:
    """The threshold of the law, which the finding is a share of."""
    law = MACHINE.gradients.stimulation
    lower = law | {"rheobase": law["rheobase"] * finding.value * share}
    return replace(MACHINE, gradients=replace(MACHINE.gradients, stimulation=lower))


def _safe_model(_: pytest.MonkeyPatch, finding: Finding, share: float) -> Scanner:
    """The threshold of the SAFE model, which the finding is a share of."""
    axes = tuple(replace(axis, limit=axis.limit * finding.value * share) for axis in MACHINE.gradients.safe)
    return replace(MACHINE, gradients=replace(MACHINE.gradients, safe=axes))


def _sar(name: str, *, is_short: bool) -> Tightening:
    """One of the standard's limits, or the factor by which 10 s may exceed it."""

    def change(patch: pytest.MonkeyPatch, finding: Finding, share: float) -> Scanner:
        def limits(*given: object, **options: object) -> Limits:
            whole = iec_limits(*given, **options)  # type: ignore[arg-type]
            others = {each.name: np.inf for each in fields(Limits) if each.name in exposure.NAMES and each.name != name}
            alone = replace(whole, **others)
            if is_short:
                return replace(alone, short_factor=finding.value * share / getattr(whole, name))
            return replace(alone, short_factor=np.inf, **{name: finding.value * share})

        patch.setattr(exposure, "iec_limits", limits)
        return MACHINE

    return Tightening(change)


_RATED = MACHINE.gradients.amplifier_current
LIMITS = {
    "static field": _constant(gate, "STATIC_FIELD_LIMIT"),
    "program duration": _constant(soundness, "LONGEST"),
    "dead time needed before an RF pulse": _dead_time("transmit", "dead_time"),
    "ringdown time needed after an RF pulse": _dead_time("transmit", "ringdown_time"),
    "dead time needed before an ADC window": _dead_time("spectrometer", "adc_dead_time", is_alone=False),
    "dead time needed after an ADC window": _dead_time("spectrometer", "adc_dead_time", is_alone=False),
    "samples in one ADC window": _number("spectrometer", "max_samples", int),
    "ADC sampling rate": _number("spectrometer", "min_dwell", lambda limit: 1 / limit),
    "gradient amplitude": _number("gradients", "amplitude"),
    "gradient slew": _number("gradients", "slew"),
    "gradient amplifier volts": _number("gradients", "amplifier_voltage"),
    "gradient amplifier current": _number("gradients", "amplifier_current", is_alone=False),
    "gradient amplifier power": _number("gradients", "amplifier_power"),
    "gradient r.m.s. current": _number("gradients", "duty_cycle", lambda limit: limit / _RATED, is_alone=False),
    "gradient heat as r.m.s. current": _number("gradients", "duty_cycle", lambda limit: limit / _RATED, is_alone=False),
    "gradient mean power": _number("gradients", "average_power"),
    "gradient power in a band, share": Tightening(_band),
    "nerve stimulation, share of the mean threshold": Tightening(_nerves),
    "nerve stimulation by the SAFE model": Tightening(_safe_model),
    "dB/dt, share of the cardiac limit": _constant(stimulation, "CARDIAC_RATE", of_share=True),
    "RF peak B1": _number("transmit", "peak_b1"),
    "RF pulse length": _number("transmit", "max_duration"),
    "RF peak power per channel": _number("transmit", "peak_power"),
    "RF voltage at a plug": _number("transmit", "peak_voltage"),
    "RF mean power": _number("transmit", "average_power", is_alone=False),
    "RF mean power per channel": _number("transmit", "average_power", lambda limit: limit * TX, is_alone=False),
    "RF duty cycle": _number("transmit", "duty_cycle"),
    **{
        f"{words}, {window} mean": _sar(name, is_short=window == "10 s")
        for name, words in exposure.NAMES.items()
        for window in ("10 s", "6 min")
    },
}
HEATS = {  # what more rest or softer pulses mend
    name for name in LIMITS if "SAR" in name or "mean power" in name or "r.m.s." in name or name == "RF duty cycle"
}
