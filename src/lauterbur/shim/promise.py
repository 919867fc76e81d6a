"""What a shim promises: uniformity before and after, heat against every limit, watts and volts, by names people read.

variation, variation of cp          of |B1+| over the target (CoV)
flip-angle variation, mean          of a composite pulse, from spinors
local SAR ... / share of limit      at the budget's r.m.s. B1, or of the trains alone, safety factor included
peak power, peak voltage            of the busiest channel
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.safety.sar import SarModel
from lauterbur.shim.angles import composite_angles
from lauterbur.shim.budget import Budget, plug_rows, sar_forms
from lauterbur.shim.composite import TrainPlan
from lauterbur.shim.pulse import CompositePulse
from lauterbur.shim.slices import Slices, members, nearest_filled, nearest_slice
from lauterbur.shim.static import circular
from lauterbur.shim.target import Site
from lauterbur.units import GAMMA_BAR

Complex = NDArray[np.complex128]
TURN = 2 * np.pi


def promise(
    sites: list[Site],
    models: list[SarModel] | None,
    weights: Complex,
    drive: float,
    budget: Budget | None,
    *,
    parts: list | None,
    pulse: CompositePulse | None,
    plan: TrainPlan | None,
    slices: Slices | None,
) -> dict[str, float]:
    b1 = np.concatenate([s.b1 for s in sites], axis=1)
    middle = np.concatenate([s.middle for s in sites])
    figures = {"variation of cp": _spread(np.abs(circular(b1, middle) @ b1))}
    if parts is None:
        figures["variation"] = _spread(np.abs(weights @ b1))
    else:
        filled = sorted(set(nearest_filled(parts)))
        size = [np.abs(weights[i] @ b1[:, parts[i]]) for i in filled]
        figures["variation"] = _spread(np.concatenate(size))
        figures["variation, worst slice"] = max(_spread(s) for s in size)
    if pulse is not None:
        figures |= _angles(sites, drive, pulse, slices)

    if budget is not None:
        if pulse is not None and plan is not None:
            amplitude = pulse.flip_angle / (TURN * pulse.n_points * pulse.duration)
            mean_square = plan.duration * plan.energy_ratio / plan.repetition_time * amplitude**2
            watts, peak = pulse.weights, plan.peak_ratio * amplitude
        else:
            mean_square = (budget.rms_b1 * GAMMA_BAR) ** 2
            watts, peak = np.atleast_2d(weights)[:, None], budget.peak_b1 * GAMMA_BAR
        figures |= _cost(models, watts, drive, budget, mean_square, peak)
    return figures


def _angles(sites: list[Site], drive: float, pulse: CompositePulse, slices: Slices | None) -> dict[str, float]:
    """Over the target, and for a population the worst subject."""
    each = []
    for s in sites:
        seen = np.arange(len(s.position)) if slices is None else np.unique(np.concatenate(members(slices, s.position)))
        which = nearest_slice(slices if len(pulse.weights) > 1 else None, s.position[seen])
        angle = np.zeros(len(seen))
        for i in np.unique(which):
            here = seen[which == i]
            relative = s.b1[:, here] * (GAMMA_BAR * drive)
            angle[which == i], _ = composite_angles(
                relative, s.position[here], s.off_resonance[here], pulse, int(i), pulse.flip_angle
            )
        each.append(angle)
    together = np.concatenate(each)
    return {
        "flip-angle variation": _spread(together),
        "flip-angle variation, worst subject": max(_spread(a) for a in each),
        "mean flip angle, deg": float(np.degrees(together.mean())),
    }


def _cost(models, weights: Complex, drive: float, budget: Budget, mean_square: float, peak: float) -> dict[str, float]:
    """weights (slice, point, tx): every slice is held to the limits as if it were played all the time."""
    square = np.abs(weights) ** 2 * drive**2
    power = float(square.max() * peak**2)
    figures = {
        "peak power, W": power,
        "peak voltage, V": float(np.max(np.abs(weights @ plug_rows(budget, weights.shape[-1]).T)) * drive * peak),
        "mean power, W": float(square.sum(axis=(1, 2)).max() * mean_square),
    }
    for c, most in enumerate((square.max(axis=(0, 1)) * peak**2).tolist()):
        figures[f"peak power, channel {c + 1}, W"] = most
    for name, limit in (("peak power", budget.peak_power), ("mean power", budget.average_power)):
        if limit is not None:
            figures[f"{name}, share of limit"] = figures[f"{name}, W"] / limit
    if budget.peak_voltage is not None:
        figures["peak voltage, share of limit"] = figures["peak voltage, V"] / budget.peak_voltage
    if budget.limits is None:
        return figures
    for model in models or []:
        q, names, limits = sar_forms(model, budget.limits)
        w = weights * drive * np.sqrt(mean_square)
        sar = np.einsum("sjc,kcd,sjd->sk", w.conj(), q, w, optimize=True).real.max(axis=0)
        for name in dict.fromkeys(names):
            these = np.array([n == name for n in names])
            share = float(np.max(sar[these] / limits[these]))
            figures[f"{name}, W/kg"] = max(figures.get(f"{name}, W/kg", 0.0), float(sar[these].max()))
            figures[f"{name}, share of limit"] = max(figures.get(f"{name}, share of limit", 0.0), share)
    return figures


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.std() / values.mean())
