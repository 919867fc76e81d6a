"""Weights and places of a train of short pulses - kT-points or spokes - that turn by one angle everywhere, within limits.

The flip angle is computed with spinors, so nothing is lost at large angles; weights and gradient steps are found together
by Gauss-Newton steps on a log barrier of every limit. Small-tip theory only says where to start (`places.py`).
kT-points: Cloos et al., MRM 2012, 67:72; joint design of places and weights: Grissom et al., MRM 2012, 68:1553; spinors
with explicit limits: Hoyos-Idrobo et al., IEEE TMI 2014, 33:739.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.shim.budget import Forms
from lauterbur.shim.interior import real_matrices
from lauterbur.shim.spinor import flip_angles, flip_slopes

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

TURN = 2 * np.pi
INSIDE = 0.9  # of every limit: where a start is scaled to
SETTLED = 3e-5  # relative gain of a step below which the next mu begins
MUS = (1e-3, 1e-4, 1e-5, 1e-6)  # squared relative error of the flip angle that an active limit may leave on the table


@dataclass(frozen=True, eq=False)
class Voxels:
    """What a train plays on; several subjects are one after the other."""

    b1: Complex  # (tx, voxel), relative: gamma-bar B1+ of a drive w is nominal * (w @ b1)
    position: Float  # m, (voxel, 3)
    off_resonance: Float  # Hz, (voxel,)


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of a train. Every pulse has the same nominal amplitude: angle / (2 pi n duration)."""

    angle: float  # rad
    duration: float  # s, of one pulse
    gap: float  # s, from its end to the start of the next
    directions: Float  # (d, 3), rows of unit length: where steps may go
    step_limit: float  # 1/m, per axis, between neighbours
    per_pulse: Forms  # limits of one pulse of nominal amplitude 1 Hz: sums over pulses of w^H Q w, and |w|^2


@dataclass(frozen=True, eq=False)
class Train:
    weights: Complex  # (pulse, tx), relative to nominal
    steps: Float  # 1/m, (pulse - 1, d), along the task's directions


def nominal(task: Task, n_pulses: int) -> float:
    """Hz"""
    return task.angle / (TURN * n_pulses * task.duration)


def played(train: Train, task: Task, voxels: Voxels) -> tuple[Float, Complex]:
    """Flip angle, rad, and M_xy, (voxel,)."""
    return flip_angles(*_arguments(train, task, voxels))


def _arguments(train: Train, task: Task, voxels: Voxels) -> tuple[Complex, Float, Float, Float]:
    n = len(train.weights)
    b = nominal(task, n) * (train.weights @ voxels.b1).T
    moment = voxels.position @ (train.steps @ task.directions).T  # turns
    phase = TURN * (moment + voxels.off_resonance[:, None] * task.gap)
    return np.ascontiguousarray(b), np.full(n, task.duration), voxels.off_resonance, np.ascontiguousarray(phase)


def residuals(train: Train, task: Task, voxels: Voxels) -> tuple[Float, Float]:
    """Flip angle relative to the task's, less 1; and its derivatives (voxel, parameter), ordered as `_pack` does."""
    angle, slope, turned = flip_slopes(*_arguments(train, task, voxels))
    n, n_tx = train.weights.shape
    scale = nominal(task, n) / task.angle
    by_weight = np.empty((len(angle), n, 2, n_tx))
    for j in range(n):
        each = voxels.b1.T * (slope[:, j] * scale)[:, None]
        by_weight[:, j, 0] = each.real
        by_weight[:, j, 1] = -each.imag
    along = voxels.position @ task.directions.T * (TURN / task.angle)
    by_step = turned[:, :, None] * along[:, None, :]
    jacobian = np.concatenate((by_weight.reshape(len(angle), -1), by_step.reshape(len(angle), -1)), axis=1)
    return angle / task.angle - 1, jacobian


class Barrier:
    """How near a train is to each limit, t (limit,) < 1, and -sum log(1 - t) with its derivatives."""

    def __init__(self, task: Task, n_pulses: int, n_tx: int):
        amplitude = nominal(task, n_pulses)
        self.stack = real_matrices(task.per_pulse.matrices * amplitude**2)
        channel = task.per_pulse.channel
        self.channel = np.inf if channel is None else channel / amplitude**2
        self.axes = np.abs(task.directions).max(axis=0) > 1e-12
        self.directions = task.directions[:, self.axes] / task.step_limit
        self.n, self.n_tx = n_pulses, n_tx

    def shares(self, train: Train) -> Float:
        x = np.stack((train.weights.real, train.weights.imag), axis=1).reshape(self.n, -1)
        heat = np.einsum("ja,kab,jb->k", x, self.stack, x, optimize=True)
        power = np.abs(train.weights).ravel() ** 2 / self.channel
        return np.concatenate((heat, power, (train.steps @ self.directions).ravel() ** 2))

    def derivatives(self, train: Train) -> tuple[Float, Float]:
        n, width = self.n, 2 * self.n_tx
        x = np.stack((train.weights.real, train.weights.imag), axis=1).reshape(n, width)
        size = n * width + train.steps.size
        gradient, hessian = np.zeros(size), np.zeros((size, size))
        if len(self.stack):
            y = self.stack.reshape(-1, width) @ x.T  # (form * width, pulse)
            y = np.moveaxis(y.reshape(len(self.stack), width, n), 2, 1)  # (form, pulse, width)
            slope = 2 * y.reshape(len(self.stack), -1)
            first = 1 / (1 - np.einsum("kja,ja->k", y, x))
            gradient[: n * width] += first @ slope
            hessian[: n * width, : n * width] += (slope * first[:, None] ** 2).T @ slope
            bend = 2 * np.tensordot(first, self.stack, 1)
            for j in range(n):
                hessian[j * width : (j + 1) * width, j * width : (j + 1) * width] += bend
        if np.isfinite(self.channel):
            parts = x.reshape(n, 2, self.n_tx)
            first = 1 / (1 - np.sum(parts**2, axis=1) / self.channel)  # (pulse, tx)
            slope = 2 * parts / self.channel
            gradient[: n * width] += (first[:, None] * slope).ravel()
            index = np.arange(n * width).reshape(n, 2, self.n_tx)
            for a in range(2):
                for b in range(2):
                    hessian[index[:, a], index[:, b]] += slope[:, a] * slope[:, b] * first**2
                hessian[index[:, a], index[:, a]] += 2 * first / self.channel
        if train.steps.size:
            s = train.steps @ self.directions  # (step, axis)
            first = 1 / (1 - s**2)
            d = self.directions
            gradient[n * width :] += ((2 * s * first) @ d.T).ravel()
            curve = 2 * first + 4 * s**2 * first**2
            for j in range(len(s)):
                at = n * width + j * len(d)
                hessian[at : at + len(d), at : at + len(d)] += (d * curve[j]) @ d.T
        return gradient, hessian


def refine(train: Train, task: Task, voxels: Voxels, *, mus: tuple[float, ...] = MUS, n_steps: int = 25) -> Train:
    """From any start, scaled inside the limits, to the most uniform train nearby."""
    barrier = Barrier(task, *train.weights.shape)
    train = _inside(train, barrier)
    damping = 1e-3
    for mu in mus:
        error, jacobian = residuals(train, task, voxels)
        value = _value(error, barrier.shares(train), mu)
        for _ in range(n_steps):
            gradient, hessian = barrier.derivatives(train)
            gradient = mu * gradient + 2 / len(error) * (jacobian.T @ error)
            hessian = mu * hessian + 2 / len(error) * (jacobian.T @ jacobian)
            scale = np.diag(hessian).copy()
            scale = np.maximum(scale, 1e-9 * scale.max())
            before = value
            for _ in range(12):
                step: Float = np.asarray(np.linalg.solve(hessian + np.diag(damping * scale), -gradient), float)
                moved = _moved(train, step)
                shares = barrier.shares(moved)
                if np.all(shares < 1):
                    angle, _ = played(moved, task, voxels)
                    new_value = _value(angle / task.angle - 1, shares, mu)
                    if new_value < value:
                        train, value = moved, new_value
                        damping = max(damping / 4, 1e-7)
                        break
                damping = min(damping * 4, 1e6)
            if not before - value > SETTLED * max(value, mu):
                break
            error, jacobian = residuals(train, task, voxels)
    return train


def _value(error: Float, shares: Float, mu: float) -> float:
    return float(np.mean(error**2) - mu * np.sum(np.log1p(-shares)))


def _moved(train: Train, step: Float) -> Train:
    n, n_tx = train.weights.shape
    change = step[: 2 * n * n_tx].reshape(n, 2, n_tx)
    return Train(
        train.weights + change[:, 0] + 1j * change[:, 1],
        train.steps + step[2 * n * n_tx :].reshape(train.steps.shape),
    )


def _inside(train: Train, barrier: Barrier) -> Train:
    n_steps = train.steps.shape[0] * int(barrier.axes.sum())
    shares = barrier.shares(train)
    cut = len(shares) - n_steps
    drive = float(np.max(shares[:cut], initial=0.0))
    steps = float(np.max(shares[cut:], initial=0.0))
    return Train(
        train.weights * min(1.0, np.sqrt(INSIDE / max(drive, 1e-30))),
        train.steps * min(1.0, np.sqrt(INSIDE / max(steps, 1e-30))),
    )
