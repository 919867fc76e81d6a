"""How hot does the patient get? SAR of the program as it will be played, by the limits of IEC 60601-2-33.

Every kind of SAR that the model knows is a mean over any 10 s (at most twice the limit) and any 6 min. The program is
taken to be repeated without pause: nobody keeps an operator from it, and so a scan shorter than a window is judged by
its own mean, not by one diluted with silence. A pulse that touches a window counts whole.

    SAR at a point = sum over pulses of  reference_drive^2 * integral |b1|^2 dt * w^H Q w / window,   w the channel weights
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.findings import Finding
from lauterbur.program import Program, duration
from lauterbur.safety.limits import Limits, iec_limits
from lauterbur.safety.pulses import Pulses, most, pulses
from lauterbur.safety.radiofrequency import channel_weights
from lauterbur.safety.remedies import cooler
from lauterbur.safety.sar import LIMB, SarModel, local_sar, mean_sar
from lauterbur.scanner.machine import Scanner

NAMES = {
    "whole_body": "whole-body SAR",
    "head": "head SAR",
    "partial_body": "partial-body SAR",
    "local_head_trunk": "local SAR (10 g), head and trunk",
    "local_limb": "local SAR (10 g), limbs",
}


@dataclass(frozen=True, eq=False)
class _Kind:
    """One kind of SAR at its points, a mean being one point."""

    name: str  # a field of Limits
    per_energy: NDArray[np.float64]  # W/kg per Hz2, (point, shim): safety factor and drive included
    point: NDArray[np.int64]  # index into SarModel.local; -1 for a mean


def exposure_findings(program: Program, scanner: Scanner, sar: SarModel, mode: str) -> list[Finding]:
    """Judged in the operating mode "normal" or "first-level"."""
    played = pulses(program)
    channels = scanner.transmit.channels
    faults = [
        Finding("channels of the SAR model, wrong", float(sar.n_channels != channels), 0.0, "",
                f"the model has {sar.n_channels} channels, {scanner.name} has {channels}", "",
                "solve the fields of this scanner"),
        Finding("prescan missing", float(len(played) > 0 and program.reference_drive is None), 0.0, "",
                "SAR needs Program.reference_drive: how many watts make the nominal B1 in this patient", "",
                "run the prescan and set reference_drive"),
    ]  # fmt: skip
    if not all(fault.ok for fault in faults) or not len(played):
        return faults

    words = {"normal": "normal", "first-level": "first level"}
    switch = scanner.transmit.local_sar_limits
    by_mode = {name: iec_limits(word, sar.exposed_fraction, is_local_transmit=switch) for name, word in words.items()}
    kinds = _kinds(sar, channel_weights(program, channels), float(program.reference_drive or 0.0))
    period = duration(program)
    limits = by_mode[mode]
    windows = ((limits.short_window, limits.short_factor), (limits.long_window, 1.0))
    worst = [
        (kind, window, factor, *_worst(kind, played, window, period)) for kind in kinds for window, factor in windows
    ]

    def judge(pulses_: Pulses, period_: float) -> float:
        shares = [
            most(pulses_, pulses_.energy * kind.per_energy[i, pulses_.shim], window, period_)[0]
            / (window * factor * getattr(limits, kind.name))
            for kind, window, factor, i, _, _ in worst
        ]
        return float(np.max(shares))

    is_beyond = not judge(played, period) <= 1
    remedy = cooler(program, played, judge) if is_beyond and np.isfinite(judge(played, period)) else ""
    return faults + [
        Finding(
            f"{NAMES[kind.name]}, {_window(window)} mean",
            value,
            factor * getattr(limits, kind.name),
            "W/kg",
            f"{limits.sources[kind.name]}; {limits.sources['short_window' if factor > 1 else 'long_window']}; "
            f"safety factor {sar.safety_factor:g}",
            _where(sar, int(kind.point[i]), begin, window),
            remedy,
            _mode(value / factor, kind.name, by_mode),
        )
        for kind, window, factor, i, value, begin in worst
    ]


def checked(sar: SarModel) -> SarModel:
    """The same model, made anew: its arrays may have changed since it was checked; InputError where they may not."""
    return replace(sar)


def not_assessed(sar: SarModel) -> str:
    """Which kinds of SAR this model says nothing of; empty where it knows all."""
    missing = [NAMES[name] for name in ("whole_body", "head", "partial_body") if getattr(sar, name) is None]
    return f"Not assessed, since the SAR model does not hold it: {', '.join(missing)}." if missing else ""


def _kinds(sar: SarModel, weights: NDArray[np.complex128], drive: float) -> list[_Kind]:
    local = local_sar(sar, weights * drive).T  # (point, shim)
    kinds = []
    for name, held in (("local_head_trunk", sar.part != LIMB), ("local_limb", sar.part == LIMB)):
        if held.any():
            kinds.append(_Kind(name, local[held], np.flatnonzero(held)))
    means = mean_sar(sar, weights * drive)
    return [_Kind(name, value[None], np.array([-1])) for name, value in means.items()] + kinds


def _worst(kind: _Kind, played: Pulses, window: float, period: float) -> tuple[int, float, float]:
    """The point, W/kg and the start of the worst window.

    No point can have more than the sum over shims of each shim's own worst window: points are tried in this order, until
    none of those left can be worse than what was found.
    """
    n_shims = kind.per_energy.shape[1]
    alone = [most(played, played.energy * (played.shim % n_shims == i), window, period)[0] for i in range(n_shims)]
    bound = np.asarray(kind.per_energy @ np.array(alone))
    bound = np.where(np.isnan(bound), np.inf, bound)
    found = (int(np.argmax(bound)), -np.inf, 0.0)
    for i in np.argsort(-bound, kind="stable"):
        if bound[i] <= found[1]:
            break
        amount, begin = most(played, played.energy * kind.per_energy[i, played.shim], window, period)
        if np.isnan(amount):
            return int(i), float("nan"), 0.0
        if amount > found[1]:
            found = (int(i), amount, begin)
    return found[0], found[1] / window, found[2]


def _mode(value: float, name: str, by_mode: dict[str, Limits]) -> str:
    for mode, limits in by_mode.items():
        if value <= getattr(limits, name):
            return mode
    return "above first-level"


def _window(window: float) -> str:
    return f"{window / 60:g} min" if window >= 60 else f"{window:g} s"


def _where(sar: SarModel, point: int, begin: float, window: float) -> str:
    time = f"{_window(window)} from {begin:.4g} s"
    if point < 0 or not np.isfinite(sar.where[point]).all():
        return time
    x, y, z = sar.where[point] * 1e3
    return f"({x:.0f}, {y:.0f}, {z:.0f}) mm, {time}"
