"""From fields to a composite pulse: plans of trains, and their design per volume, per slice or for a population."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lauterbur.errors import InputError
from lauterbur.safety.sar import SarModel
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.angles import INSTANT
from lauterbur.shim.budget import Budget, Forms, forms, scaled
from lauterbur.shim.places import design_train
from lauterbur.shim.pulse import CompositePulse
from lauterbur.shim.slices import Slices, members, nearest_filled
from lauterbur.shim.static import best_weights
from lauterbur.shim.target import Site
from lauterbur.shim.train import TURN, Task, Train, Voxels, played
from lauterbur.units import GAMMA_BAR

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]

MARGIN = 0.9  # of gradient amplitude and slew, for steps
LEAST_ANGLE = 0.95  # of the flip angle asked for: below that the limits are too tight, and the design says so


@dataclass(frozen=True)
class TrainPlan:
    flip_angle: float  # rad
    repetition_time: float  # s, between excitations: how often the train heats
    n_points: int = 5
    duration: float = 150e-6  # s, of one pulse
    gap: float = 130e-6  # s, from its end to the start of the next
    step_limit: float = 15.0  # 1/m, per axis, between pulses
    reach: float = 7.0  # 1/m, how far out places begin: about one cycle per wave length in tissue (16 cm at 5 T)
    share: float = 1.0  # of the mean limits that the trains may use; the rest is for the sequence's other pulses
    peak_ratio: float = 1.0  # of the pulse's shape: peak over mean, > 1 for selective pulses
    energy_ratio: float = 1.0  # mean square over square of mean

    def __post_init__(self) -> None:
        wrong = [
            name
            for name in ("flip_angle", "repetition_time", "duration", "step_limit", "reach", "share")
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0)
        ]
        if wrong or not (self.n_points >= 1 and 0 <= self.gap < 1 and self.share <= 1 and self.flip_angle <= np.pi):
            raise InputError(
                f"train plan: {', '.join(wrong) or 'n_points, gap, share or flip_angle'} is out of range: {self}"
            )


def plan_train(
    scanner: Scanner, *, flip_angle: float, tr: float, n_points: int = 5, duration: float = 150e-6, share: float = 1.0
) -> TrainPlan:
    """kT-points on this machine: dead times between pulses, and steps as far as its gradients move in them."""
    tx, g = scanner.transmit, scanner.gradients
    block = up(step_window(scanner) + duration + tx.ringdown_time, scanner.spectrometer.block_raster)
    step = largest_area(step_window(scanner), scanner)
    length = up(duration, max(tx.raster, g.raster))
    return TrainPlan(flip_angle, tr, n_points, length, block - length, step, share=share)


def up(time: float, raster: float) -> float:
    return float(np.ceil(time / raster - 1e-6) * raster)


def step_window(scanner: Scanner) -> float:
    """s: the dead time before a pulse, in which a step is played; at least four raster times."""
    return up(max(scanner.transmit.dead_time, 4 * scanner.gradients.raster), 2 * scanner.gradients.raster)


def slew_and_amplitude(scanner: Scanner) -> tuple[float, float]:
    """Hz/m/s and Hz/m that steps may use: coils, amplifier volts and amps."""
    g = scanner.gradients
    amplitude = min(g.amplitude, g.amplifier_current * g.sensitivity) * MARGIN
    left = (g.amplifier_voltage / g.inductance) * g.sensitivity - g.resistance / g.inductance * amplitude
    return min(g.slew, left) * MARGIN * GAMMA_BAR, amplitude * GAMMA_BAR


def largest_area(time: float, scanner: Scanner, *, is_gentle: bool = False) -> float:
    """1/m: of a lobe that lasts `time` s. is_gentle: as slow as never stimulates nerves, however long (the rheobase)."""
    slew, amplitude = slew_and_amplitude(scanner)
    law = scanner.gradients.stimulation
    if is_gentle and "rheobase" in law and "effective_length" in law:
        slew = min(slew, MARGIN * law["rheobase"] / law["effective_length"] * GAMMA_BAR)
    rise = min(time / 2, amplitude / slew)
    return slew * rise * (time - rise)


def design_composite(
    sites: list[Site],
    models: list[SarModel] | None,
    weights: Complex,
    drive: float,
    plan: TrainPlan,
    budget: Budget | None,
    *,
    mode: str,
    slices: Slices | None,
    seed: int,
) -> CompositePulse:
    """weights: the static ones, (tx,) or (slice, tx), whose reference drive the train shares."""
    kind = "spokes" if mode == "spokes" else "kt-points"
    if kind == "spokes" and slices is None:
        raise InputError(
            "spokes excite slices: say which (slices=Slices(normal, positions, thickness)), or use 'kt-points'"
        )
    where = [Voxels(s.b1 * GAMMA_BAR * drive, s.position, s.off_resonance) for s in sites]
    voxels = Voxels(
        np.concatenate([v.b1 for v in where], axis=1),
        np.concatenate([v.position for v in where]),
        np.concatenate([v.off_resonance for v in where]),
    )
    task = task_for(plan, kind, train_forms(len(sites[0].b1), models, budget, plan, drive), slices)

    if kind == "kt-points":
        references = [np.atleast_2d(weights)[0]]
        free = Forms(np.zeros((0, len(voxels.b1), len(voxels.b1)), complex), (), np.zeros(0), None)
        others = [best_weights(voxels.b1, free, way, seed=seed) for way in ("phase", "cp")]
        trains = [_design(voxels, task, plan, [*references, *others], seed, len(sites))]
        groups = [np.arange(len(voxels.position))]
    else:
        found = members(slices, voxels.position)  # type: ignore[arg-type]
        source = nearest_filled(found)
        groups = [found[i] for i in source]
        references = list(np.atleast_2d(weights)) if weights.ndim == 2 else [weights] * len(groups)
        at = slices.positions  # type: ignore[union-attr]
        made = {
            i: _design(
                _some(voxels, found[i]),
                task,
                plan,
                [references[i]],
                seed,
                where=f"in slice {i + 1} at {1e3 * at[i]:.0f} mm ",
            )
            for i in sorted(set(source))
        }
        trains = [made[i] for i in source]
    rephase = [
        rephasing(t, task, _some(voxels, g), reference)
        for t, g, reference in zip(trains, groups, references, strict=True)
    ]
    return CompositePulse(
        kind,
        np.array([t.weights for t in trains]),
        np.array([t.steps @ task.directions for t in trains]).reshape(len(trains), -1, 3),
        np.array(rephase),
        plan.flip_angle,
        plan.duration,
        plan.gap,
    )


def train_forms(
    n_tx: int, models: list[SarModel] | None, budget: Budget | None, plan: TrainPlan, drive: float
) -> Forms:
    """Limits of one pulse of nominal (mean) amplitude 1 Hz, played once per repetition time; weights relative to nominal."""
    if budget is None:
        return Forms(np.zeros((0, n_tx, n_tx), complex), (), np.zeros(0), None)
    one = replace(
        budget,
        rms_b1=np.sqrt(plan.duration * plan.energy_ratio / plan.repetition_time / plan.share) / GAMMA_BAR,
        peak_b1=plan.peak_ratio / GAMMA_BAR,
        s_matrix=None,  # forms add up over pulses, and volts do not: the forward wave alone is limited
    )
    each = [forms(n_tx, model, one) for model in models or (None,)]
    matrices = np.concatenate([f.matrices for f in each])
    joined = Forms(
        matrices, sum((f.names for f in each), ()), np.concatenate([f.limits for f in each]), each[0].channel
    )
    return scaled(joined, 1 / (drive * GAMMA_BAR))


def task_for(plan: TrainPlan, kind: str, per_pulse: Forms, slices: Slices | None) -> Task:
    if kind == "kt-points":
        return Task(plan.flip_angle, plan.duration, plan.gap, np.eye(3), plan.step_limit, per_pulse)
    assert slices is not None
    _, _, rows = np.linalg.svd(slices.normal[None])
    ratio = INSTANT / plan.duration  # the model's pulse is shorter and stronger than the real one
    channel = None if per_pulse.channel is None else per_pulse.channel / ratio**2
    real = Forms(per_pulse.matrices * ratio**2, per_pulse.names, per_pulse.limits, channel)
    return Task(plan.flip_angle, INSTANT, plan.gap + plan.duration - INSTANT, rows[1:], plan.step_limit, real)


def rephasing(train: Train, task: Task, voxels: Voxels, reference: Complex) -> Float:
    """1/m, (3,): the area that gives M_xy, on average over the voxels, the phase slope of a static excitation."""
    _, transverse = played(train, task, voxels)
    still = Train(reference[None], np.zeros((0, len(task.directions))))
    _, plain = played(still, task, voxels)
    product = transverse * np.conj(plain)
    middle = voxels.position.mean(axis=0)
    along = (voxels.position - middle) @ task.directions.T

    def lost(k: Float) -> float:
        return -float(np.abs(np.mean(product * np.exp(-1j * TURN * (along @ k)))))

    d = len(task.directions)
    grid = np.stack(np.meshgrid(*[np.linspace(-8, 8, 9)] * d, indexing="ij"), axis=-1).reshape(-1, d)
    few = slice(None, None, max(1, len(product) // 1000))
    scores = np.abs(np.exp(-1j * TURN * (along[few] @ grid.T)).T @ product[few])
    best = minimize(lost, grid[int(np.argmax(scores))], method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-9})
    return np.asarray(best.x @ task.directions)


def _design(
    voxels: Voxels, task: Task, plan: TrainPlan, starts: list[Complex], seed: int, n_subjects: int = 1, where: str = ""
) -> Train:
    train = design_train(voxels, task, plan.n_points, starts, reach=plan.reach, n_subjects=n_subjects, seed=seed)
    angle, _ = played(train, task, voxels)
    if not np.mean(angle) >= LEAST_ANGLE * task.angle:
        raise InputError(
            f"{where}the limits allow a mean of {np.degrees(np.mean(angle)):.3g} of {np.degrees(task.angle):.3g} deg with "
            f"{plan.n_points} pulses of {plan.duration * 1e6:.0f} us every {plan.repetition_time * 1e3:.3g} ms; lower the flip "
            "angle, or lengthen the pulses or the repetition time"
        )
    return train


def _some(voxels: Voxels, chosen: NDArray[np.intp]) -> Voxels:
    return Voxels(np.ascontiguousarray(voxels.b1[:, chosen]), voxels.position[chosen], voxels.off_resonance[chosen])
