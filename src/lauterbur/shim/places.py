"""Where in k-space the pulses of a train begin their way: one more place at a time, each the most useful by small-tip theory.

Small-tip: M_xy ~ sum_j exp(-2 pi i kappa_j.r) w_j.b1, kappa_j the gradient area still to come after pulse j; weights for a
set of places by magnitude least squares (Setsompop et al., MRM 2008, 59:908). A train with one more pulse is never worse:
it may also begin as the shorter one after a pulse of nothing.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from lauterbur.shim.train import TURN, Task, Train, Voxels, played, refine

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

SOME = 1000  # voxels of a subject that a train is designed on; what is promised is computed on all
MANY = 2500  # the same of all subjects together
LAST_MU = 1e-6
GOOD = 2e-3  # relative error of the flip angle below which more pulses are not looked for
TRIALS = 6  # best candidates that are tried in earnest for every new place
TIKHONOV = 1e-3  # of the mean diagonal: keeps small-tip weights modest


def design_train(
    voxels: Voxels,
    task: Task,
    n_pulses: int,
    starts: list[Complex],
    *,
    reach: float,
    n_subjects: int = 1,
    seed: int = 0,
) -> Train:
    """The most uniform train of n_pulses.

    starts: static weights (tx,), each a way of its own; reach: 1/m, how far from zero places may begin.
    """
    some = thinned(voxels, min(SOME * n_subjects, MANY), np.random.default_rng(seed))
    ways = [_grown(some, task, n_pulses, start, reach) for start in starts]
    return min(ways, key=lambda way: _error(way, task, some))


def _grown(voxels: Voxels, task: Task, n_pulses: int, start: Complex, reach: float) -> Train:
    train = refine(Train(start[None], np.zeros((0, len(task.directions)))), task, voxels)
    candidates = _lattice(reach, len(task.directions))
    for n in range(2, n_pulses + 1):
        starts = [_split(train, n), _preceded(train, n)]
        if not _error(train, task, voxels) < GOOD**2:
            starts += [_extended(train, task, voxels, k) for k in _useful(train, task, voxels, candidates)]
        quick = [refine(s, task, voxels, mus=(1e-4, 1e-5), n_steps=12) for s in starts]
        order = np.argsort([_error(t, task, voxels) for t in quick])
        best = [refine(quick[i], task, voxels, mus=(1e-5, LAST_MU), n_steps=60) for i in order[:2]]
        train = min(best, key=lambda t: _error(t, task, voxels))
    return train


def thinned(voxels: Voxels, n: int, rng: np.random.Generator) -> Voxels:
    total = voxels.b1.shape[1]
    if total <= n:
        return voxels
    chosen = np.sort(rng.choice(total, n, replace=False))
    return Voxels(np.ascontiguousarray(voxels.b1[:, chosen]), voxels.position[chosen], voxels.off_resonance[chosen])


def _error(train: Train, task: Task, voxels: Voxels) -> float:
    angle, _ = played(train, task, voxels)
    return float(np.mean((angle / task.angle - 1) ** 2))


def _lattice(reach: float, d: int) -> Float:
    """(candidate, d) 1/m: a grid within a ball, its middle left out."""
    side = np.linspace(-1, 1, 7 if d < 3 else 5)
    points = np.array(list(itertools.product(side, repeat=d)))
    length = np.linalg.norm(points, axis=1)
    return points[(length > 0) & (length <= 1.01)] * reach


def _kappa(train: Train) -> Float:
    """(pulse, d): area still to come after each pulse; the last is zero."""
    n, d = len(train.weights), train.steps.shape[1]
    return np.concatenate((np.cumsum(train.steps[::-1], axis=0)[::-1], np.zeros((1, d)))).reshape(n, d)


def _columns(kappa: Float, task: Task, voxels: Voxels) -> Complex:
    """(voxel, pulse * tx)"""
    phase = np.exp(-1j * TURN * (voxels.position @ (kappa @ task.directions).T))
    return (phase[:, :, None] * voxels.b1.T[:, None, :]).reshape(len(phase), -1)


def _magnitude_least_squares(a: Complex, goal: Complex, n_steps: int) -> tuple[Complex, Complex, float]:
    gram = a.conj().T @ a
    gram[np.diag_indices(len(gram))] += TIKHONOV * np.trace(gram).real / len(gram)
    inverse = np.linalg.inv(gram)
    w = np.zeros(a.shape[1], complex)
    for _ in range(n_steps):
        w = inverse @ (a.conj().T @ goal)
        z = a @ w
        goal = z / np.maximum(np.abs(z), 1e-12)
    z = a @ w
    return w, goal, float(np.mean((np.abs(z) - 1) ** 2))


def _useful(train: Train, task: Task, voxels: Voxels, candidates: Float) -> Float:
    """The candidates that lower the error of small-tip theory most. Each becomes the first pulse of the longer train."""
    kappa = _kappa(train)
    have = _columns(kappa, task, voxels)
    z = have @ train.weights.ravel()
    goal = z / np.maximum(np.abs(z), 1e-12)
    errors = [
        _magnitude_least_squares(np.concatenate((_columns(k[None], task, voxels), have), axis=1), goal, 3)[2]
        for k in candidates
    ]
    return np.asarray(candidates[np.argsort(errors)[:TRIALS]])


def _extended(train: Train, task: Task, voxels: Voxels, k: Float) -> Train:
    n, n_tx = train.weights.shape
    kappa = _kappa(train)
    have = _columns(kappa, task, voxels)
    z = have @ train.weights.ravel()
    goal = z / np.maximum(np.abs(z), 1e-12)
    a = np.concatenate((_columns(k[None], task, voxels), have), axis=1)
    w, _, _ = _magnitude_least_squares(a, goal, 15)
    steps = np.concatenate(((k - kappa[0])[None], train.steps))
    return Train(w.reshape(n + 1, n_tx) * (n + 1), steps)


def _preceded(train: Train, n: int) -> Train:
    """The same rotations after a pulse of nothing: each lasts as long, so all amplitudes follow the nominal one."""
    weights = np.pad(train.weights, ((1, 0), (0, 0))) * (n / (n - 1))
    return Train(weights, np.concatenate((np.zeros((1, train.steps.shape[1])), train.steps)))


def _split(train: Train, n: int) -> Train:
    """The same with its last pulse in two, which off-resonance turns between them."""
    weights = np.concatenate((train.weights[:-1], train.weights[-1:] / 2, train.weights[-1:] / 2)) * (n / (n - 1))
    return Train(weights, np.concatenate((train.steps, np.zeros((1, train.steps.shape[1])))))
