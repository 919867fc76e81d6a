"""Shim: what the transmit channels and shim coils play, and what was promised; `design_shim` finds it.

    design_shim(fields)                                            # the most uniform |B1+| in the body, per volume
    design_shim(fields, sar, target=mask, mode="sar", budget=...)  # the same inside the limits of SAR, power and volts
    design_shim(fields, target=mask, slices=Slices(...))           # other weights in every slice
    design_shim(fields, sar, mode="kt-points", plan=plan_train(scanner, flip_angle=..., tr=...), budget=...)
    design_shim([f1, f2, f3], mode="universal", ...)               # one train for many subjects: no calibration

A drive: channel c gets reference_drive x nominal (Hz) x weight_c sqrt(W), so that gamma-bar |B1+| = nominal on average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.safety.sar import SarModel
from lauterbur.shim.b0 import B0Shim, shimmed_fields
from lauterbur.shim.budget import Budget, forms
from lauterbur.shim.composite import TrainPlan, design_composite
from lauterbur.shim.promise import promise
from lauterbur.shim.pulse import CompositePulse
from lauterbur.shim.slices import Slices, members, nearest_filled
from lauterbur.shim.static import STATIC_MODES, best_weights
from lauterbur.shim.target import Site, site
from lauterbur.units import GAMMA_BAR

Complex = NDArray[np.complex128]
Target = NDArray[np.bool_] | str | None
MODES = (*STATIC_MODES, "spokes", "kt-points", "universal")


@dataclass(frozen=True, eq=False)
class Shim:
    mode: str  # one of MODES
    target: str  # in words
    weights: Complex  # (tx,) or (slice, tx): our phase sense; program.shims stores the conjugate. Plays wherever `pulse` does not
    reference_drive: float  # sqrt(W)/Hz: makes the mean |B1+| over the target nominal
    slices: Slices | None = None  # where weights or the pulse are slice-wise
    pulse: CompositePulse | None = None  # kT-points or spokes, in place of excitations
    b0: NDArray[np.float64] | None = None  # coefficients of the B0 shim (see b0.py), or (slice, coefficient)
    promised: Mapping[str, float] = field(default_factory=dict)  # uniformity, SAR, power; see promise.py
    array: str = ""  # transmit array whose channels these are; "": nobody says


def design_shim(
    fields: FieldMaps | Sequence[FieldMaps],
    sar: SarModel | Sequence[SarModel] | None = None,
    *,
    target: Target | Sequence[Target] = None,
    mode: str = "mls",
    budget: Budget | None = None,
    slices: Slices | None = None,
    plan: TrainPlan | None = None,
    b0: B0Shim | None = None,
    seed: int = 0,
) -> Shim:
    """Channel weights, or a train of pulses, that excite evenly within a budget.

    mode: cp (phases aligned in the target's middle), phase, mls (magnitude least squares), sar (mls within the budget);
    spokes and kt-points need a `plan`; universal needs one too, and several subjects' fields, models and targets. b0: a
    shim of the static field (design_b0) that will be on, so that trains meet what it leaves.
    """
    if mode not in MODES:
        raise InputError(f"shim mode {mode!r}; known are {', '.join(MODES)}")
    if mode == "sar" and budget is None:
        raise InputError("mode 'sar' needs a budget: what the sequence plays, and the limits; see Budget and budget_of")
    if mode not in STATIC_MODES and plan is None:
        raise InputError(f"mode {mode!r} needs a plan: flip angle, repetition time, number of points; see plan_train")
    if b0 is not None:
        if not isinstance(fields, FieldMaps):
            raise InputError("a B0 shim belongs to one subject; shim the fields of each first (shimmed_fields)")
        fields = shimmed_fields(fields, b0)
    if budget is not None and budget.peak_voltage is not None and budget.s_matrix is None:
        budget = replace(budget, s_matrix=fields.s_matrix if isinstance(fields, FieldMaps) else None)
    sites, models = _everybody(fields, sar, target, mode)
    n_tx = len(sites[0].b1)
    static_mode = mode if mode in STATIC_MODES else "mls" if budget is None else "sar"

    together = _joined(sites)
    bound = [forms(n_tx, model, budget) for model in models or (None,)]
    whole = static_weights(together, bound, static_mode, seed)
    drive = reference_drive(together.b1, whole)
    weights, parts = whole, None
    if slices is not None:
        parts = members(slices, together.position)
        weights = _by_slice(together, parts, bound, static_mode, whole, drive, seed)

    pulse = None
    if plan is not None and mode not in STATIC_MODES:
        pulse = design_composite(sites, models, weights, drive, plan, budget, mode=mode, slices=slices, seed=seed)
    words = target if isinstance(target, str) else "body" if target is None else "mask"
    figures = promise(sites, models, weights, drive, budget, parts=parts, pulse=pulse, plan=plan, slices=slices)
    if b0 is not None:
        figures |= {
            "off-resonance spread before, Hz": b0.before.rms,
            "off-resonance spread, Hz": b0.after.rms,
        }
    coefficients = None if b0 is None else b0.coefficients
    return Shim(mode, words, weights, drive, slices, pulse, coefficients, figures, _array_of(fields))


def _array_of(fields: FieldMaps | Sequence[FieldMaps]) -> str:
    names = {f.transmit_array for f in ([fields] if isinstance(fields, FieldMaps) else fields)}
    if len(names) > 1:
        raise InputError(
            f"the subjects' fields are of different transmit arrays: {', '.join(repr(n) for n in sorted(names))}"
        )
    return names.pop()


def reference_drive(b1: Complex, weights: Complex) -> float:
    """sqrt(W)/Hz: gamma-bar times the mean |B1+| of this drive is then the nominal amplitude. b1 (tx, voxel) T/sqrt(W)."""
    mean = float(np.mean(np.abs(weights @ b1)))
    if not (np.isfinite(mean) and mean > 0):
        raise InputError("these weights make no transmit field in the target; design them again")
    return 1 / (GAMMA_BAR * mean)


def static_weights(place: Site, bound: list, mode: str, seed: int, starts: list[Complex] | None = None) -> Complex:
    """(tx,), scaled so that the sum of |w|^2 is the number of channels."""
    w = best_weights(place.b1, _all_of(bound), mode, middle=place.middle, starts=starts, seed=seed)
    return np.asarray(w * np.sqrt(len(w)) / np.linalg.norm(w))


def _by_slice(place: Site, parts: list, bound: list, mode: str, whole: Complex, drive: float, seed: int) -> Complex:
    """(slice, tx), at one reference drive: the mean |B1+| over each slice's target is nominal."""
    designed: dict[int, Complex] = {}
    for i in sorted(set(nearest_filled(parts))):
        away = np.linalg.norm(place.position[parts[i]] - place.position[parts[i]].mean(axis=0), axis=1)
        here = Site(
            place.b1[:, parts[i]],
            place.position[parts[i]],
            place.off_resonance[parts[i]],
            away <= np.quantile(away, 0.05),
            place.index[parts[i]],
        )
        w = static_weights(here, bound, mode, seed, None if mode == "cp" else [whole])
        designed[i] = w * reference_drive(here.b1, w) / drive
    return np.array([designed[i] for i in nearest_filled(parts)])


def _all_of(bound: list):
    """Limits of several subjects hold together."""
    first = bound[0]
    matrices = np.concatenate([f.matrices for f in bound])
    return type(first)(
        matrices, sum((f.names for f in bound), ()), np.concatenate([f.limits for f in bound]), first.channel
    )


def _everybody(fields, sar, target, mode: str) -> tuple[list[Site], list[SarModel] | None]:
    many = [fields] if isinstance(fields, FieldMaps) else list(fields)
    if mode == "universal" and len(many) < 2:
        raise InputError(f"a universal pulse is made for a population; {len(many)} subject's fields were given")
    if mode != "universal" and len(many) != 1:
        raise InputError(f"mode {mode!r} is for one subject; {len(many)} were given. Use 'universal' for several")
    is_list = isinstance(target, Sequence) and not isinstance(target, str)
    targets = list(target) if is_list else [target] * len(many)
    models = None if sar is None else [sar] if isinstance(sar, SarModel) else list(sar)
    if len(targets) != len(many) or (models is not None and len(models) != len(many)):
        raise InputError(
            f"{len(many)} subjects need as many targets and SAR models; given are {len(targets)} and "
            f"{0 if models is None else len(models)}"
        )
    sites = [site(f, t) for f, t in zip(many, targets, strict=True)]
    channels = {len(s.b1) for s in sites}
    if len(channels) != 1:
        raise InputError(f"the subjects' fields have different numbers of channels: {sorted(channels)}")
    return sites, models


def _joined(sites: list[Site]) -> Site:
    offset, index = 0, []
    for s in sites:
        index.append(s.index + offset)
        offset += int(s.index.max()) + 1
    return Site(
        np.concatenate([s.b1 for s in sites], axis=1),
        np.concatenate([s.position for s in sites]),
        np.concatenate([s.off_resonance for s in sites]),
        np.concatenate([s.middle for s in sites]),
        np.concatenate(index),
    )
