"""Virtual observation points: few matrices that bound the local SAR of many, by at most z per watt too high.

    chosen, z = compress(packed, overestimation=0.1)     # V_k = Q_chosen + z; z = 0.1 x the largest eigenvalue of all

For every Q there are shares c_k >= 0, sum 1, with sum c_k V_k >= Q: so no drive's SAR is above the largest w^H V_k w.
The criterion is Lee et al.'s (MRM 2012, 67:1566), that of Eichfelder and Gebhardt (MRM 2011, 66:1468: one V_k for each Q)
the special case `greedy`. Which matrices: by duality every density matrix X needs a V_k with <X, V_k> >= max_Q <X, Q>.
So we collect X, from the proofs that a set of points does not suffice yet, choose few points that serve them all (a set
cover, greedy, then without what is not needed), and repeat; in the end points are only added until every Q is covered.
Iterating towards fewer points: compare Orzada et al. (MRM 2021, 86:561) and Gras et al. (IEEE TMI 2024).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.safety.matrices import unpacked
from lauterbur.safety.semidefinite import COVERED, covered, dominates

ROUNDS = 5  # of choosing anew, before points are only added
SAMPLE = 2500  # points among which the choice is made; all are checked
DIRECTIONS = 300  # density matrices to begin with
EAGER = (
    0.85  # of z: what chosen points may lack in a direction; less each round, since a tight choice is slow to decide
)
CALMER = 0.9
ITERATIONS = 150  # of the solver while choosing
PATIENCE = 250  # at the end; what is undecided then counts as refuted
PASSES = 6  # at the end; what is left then is covered as the plain greedy does
ROUNDING = 1e-5  # of z, kept back


def compress(
    packed: NDArray, *, overestimation: float, z: float | None = None, progress: Callable[[float], None] | None = None
) -> tuple[NDArray[np.intp], float]:
    """Indices of the chosen matrices among packed (n, tx^2), ordered by place, and z in W/kg per W."""
    n_channels = round(packed.shape[1] ** 0.5)
    if not (np.isfinite(overestimation) and overestimation > 0):
        raise InputError(f"overestimation {overestimation}; it must be positive, 0.1 is usual")
    if not np.isfinite(packed).all():
        bad = int(np.argmin(np.isfinite(packed).all(axis=1)))
        raise InputError(f"matrix {bad} of {len(packed)} holds NaN or infinity; SAR needs finite numbers")
    if z is None:
        z = overestimation * largest_eigenvalue(packed)
    if not z > 0:
        return np.arange(1), 0.0  # no heat anywhere: any point stands for all
    hot = np.flatnonzero(packed[:, :n_channels].sum(axis=1) > z)
    if not len(hot):
        return np.array([int(np.argmax(packed[:, :n_channels].sum(axis=1)))]), z
    tell = progress or (lambda _: None)
    q = np.ascontiguousarray(packed[hot])
    sample = np.arange(len(q))
    if len(q) > SAMPLE:
        sample = np.sort(np.random.default_rng(0).choice(len(q), SAMPLE, replace=False))
    directions = _leading(q[sample[:: max(1, len(sample) // DIRECTIONS)]], n_channels)
    if len(q) > SAMPLE:  # what is extreme in some direction belongs to the sample
        extreme = np.concatenate([np.argmax(d @ q.T, axis=1) for d in np.array_split(directions, 8)])
        sample = np.union1d(sample, extreme)
    chosen = sample[_choose(q[sample], z, directions, n_channels)]
    tell(0.3)
    return hot[_complete(q, chosen, z, n_channels, tell)], z


def largest_eigenvalue(packed: NDArray) -> float:
    """Of all matrices; only those whose trace allows it are looked at."""
    n_channels = round(packed.shape[1] ** 0.5)
    trace = packed[:, :n_channels].sum(axis=1, dtype=np.float64)
    best = 0.0
    order = np.argsort(-trace)
    for start in range(0, len(order), 1000):
        some = order[start : start + 1000]
        if trace[some[0]] <= best:
            break
        best = max(best, float(np.linalg.eigvalsh(unpacked(packed[some]))[:, -1].max()))
    return best


def greedy(packed: NDArray, z: float) -> NDArray[np.intp]:
    """Eichfelder and Gebhardt's: the largest left becomes a point, and what it dominates alone leaves. Indices."""
    largest = np.linalg.eigvalsh(unpacked(packed))[:, -1]
    order = np.argsort(-largest)
    order = order[largest[order] > z]
    return _greedy(packed[order].astype(np.float64), z, round(packed.shape[1] ** 0.5), order)


@njit(cache=True)
def _greedy(q, z, n_channels, order):  # type: ignore[no-untyped-def]
    matrix = np.empty((n_channels, n_channels), np.complex128)
    left = np.arange(len(q))
    count, n_chosen = len(q), 0
    chosen = np.empty(len(q), np.intp)
    while count > 0:
        best = left[0]
        chosen[n_chosen] = order[best]
        n_chosen += 1
        kept = 0
        for i in range(1, count):
            if not dominates(q[best], q[left[i]], z, matrix):
                left[kept] = left[i]
                kept += 1
        count = kept
    return chosen[:n_chosen]


def _leading(q: NDArray, n_channels: int) -> NDArray[np.float32]:
    """The drives that heat each of these most, as density matrices packed so that their product with q is a SAR."""
    drive = np.linalg.eigh(unpacked(q))[1][:, :, -1]
    i, j = np.triu_indices(n_channels, 1)
    product = 2 * drive[:, i].conj() * drive[:, j]
    return np.concatenate((np.abs(drive) ** 2, product.real, -product.imag), axis=1).astype(np.float32)


def _check(q: NDArray, v: NDArray, z: float, iterations: int, n_channels: int) -> tuple[NDArray, NDArray]:
    chunk = max(1, min(2000, len(q) // 16))
    return covered(q, v, z * (1 - ROUNDING), iterations, n_channels, chunk)


def _choose(q: NDArray, z: float, directions: NDArray, n_channels: int) -> NDArray[np.intp]:
    """Few of q that serve the directions found; all of q are covered when the rounds suffice."""
    hard = np.arange(len(q))  # what some earlier choice left uncovered
    is_whole = True
    eager = EAGER * z
    chosen = _set_cover(directions, q, eager)
    for _ in range(ROUNDS):
        verdict, proof = _check(q[hard], q[chosen], z, ITERATIONS, n_channels)
        bad = verdict != COVERED
        if not bad.any():
            if is_whole:
                break
            hard, is_whole = np.arange(len(q)), True
            continue
        directions = np.concatenate((directions, proof[bad]))
        eager *= CALMER
        if is_whole:
            hard, is_whole = hard[bad], False
        chosen = _set_cover(directions, q, eager)
    return chosen


def _set_cover(directions: NDArray, q: NDArray, within: float) -> NDArray[np.intp]:
    """Few of q so that in every direction one of them comes within so much of the highest."""
    height = directions @ q.T.astype(np.float32)
    serves = (height >= height.max(axis=1, keepdims=True) - np.float32(within)).astype(np.float32)
    waiting = np.ones(len(serves), np.float32)
    chosen: list[int] = []
    while waiting.any():
        best = int(np.argmax(waiting @ serves))
        chosen.append(best)
        waiting[serves[:, best] > 0] = 0
    count = serves[:, chosen].sum(axis=1)
    for point in chosen[::-1]:
        if np.all(count[serves[:, point] > 0] > 1):
            count -= serves[:, point]
            chosen.remove(point)
    return np.array(chosen)


def _complete(
    q: NDArray, chosen: NDArray, z: float, n_channels: int, tell: Callable[[float], None]
) -> NDArray[np.intp]:
    """Adds points until every one of q is covered."""
    block = max(20_000, len(q) // 10)
    starts = range(0, len(q), block)
    for i, start in enumerate(starts):
        left = np.arange(start, min(start + block, len(q)))
        for _ in range(PASSES):
            verdict, proof = _check(q[left], q[chosen], z, PATIENCE, n_channels)
            bad = np.flatnonzero(verdict != COVERED)
            left, proof = left[bad], proof[bad]
            if not len(left):
                break
            some = slice(None, None, max(1, len(left) // DIRECTIONS))
            chosen = np.union1d(chosen, left[_set_cover(proof[some], q[left], EAGER * z)])
            left = np.setdiff1d(left, chosen, assume_unique=True)  # they cover themselves
            if not len(left):
                break
        if len(left):
            chosen = np.union1d(chosen, left[greedy(q[left], z * (1 - ROUNDING))])
        tell(0.3 + 0.7 * (i + 1) / len(starts))
    return chosen
