"""Bases: a group's signal over readouts, time and polynomials, in the fewest components that show all sampled spins.

Each column's readouts first (singular vectors over a few spins played exactly), the time course within a window next (a few
of its samples determine the rest: pivoted QR, the discrete empirical interpolation of Chaturantabut and Sorensen, SIAM J
Sci Comput 32 (2010) 2737), then everything together, polynomial by polynomial, which takes fewer components than the
product. What is dropped is the smallest of all, up to the error allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from lauterbur.acquisition.twin.boxes import HIGHEST, PLAIN, Order, box_factor, leftover
from lauterbur.acquisition.twin.cast import Cast
from lauterbur.acquisition.twin.columns import Columns
from lauterbur.acquisition.twin.course import Course, Drift
from lauterbur.acquisition.twin.ensemble import Ensemble
from lauterbur.acquisition.twin.lifetimes import Lifetimes
from lauterbur.acquisition.twin.values import Voices

Float = NDArray[np.float64]
LOW: tuple[Order, ...] = (PLAIN, (1, 0, 0), (0, 1, 0), (0, 0, 1))  # polynomials whose courses are asked
COURSES = 1e5  # samples of all courses that decide on a readout's nodes
MOMENTS = 256  # of a readout, among which the nodes are chosen
SPINS = 2048  # that decide on the components
FIRST = 48  # projections that are tried first
SELDOM = 0.1  # of what may be dropped, what a spin may lose of the columns that hardly any spin speaks in
UNSEEN = 0.01  # of the energy that may be dropped, what no projection needs to have shown


@dataclass(frozen=True, eq=False)
class Components:
    """A group's signal, ready to be encoded: values by `voices`, each order's components with their course."""

    voices: Voices
    course: Course
    energy: Float  # (component,) were the spins heard one by one

    def subset(self, which: NDArray[np.bool_]) -> Components:
        v = self.voices
        edge = np.concatenate(([0], np.cumsum(v.counts)))
        parts = [which[lo:hi] for lo, hi in pairwise(edge)]
        counts = np.array([int(part.sum()) for part in parts])
        live = np.flatnonzero(counts)
        mixing = np.zeros((len(live), *v.mixing.shape[1:3], max(1, int(counts.max(initial=0)))), np.complex64)
        for i, o in enumerate(live):
            mixing[i, :, :, : counts[o]] = v.mixing[o][:, :, : len(parts[o])][:, :, parts[o]]
        voices = replace(v, orders=v.orders[live], mixing=mixing, counts=counts[live])
        return Components(voices, self.course.subset(np.flatnonzero(which)), self.energy[which])

    @property
    def n_components(self) -> int:
        return int(self.voices.counts.sum())

    def orders(self) -> list[tuple[Order, slice]]:
        edge = np.concatenate(([0], np.cumsum(self.voices.counts)))
        found = []
        for order, lo, hi in zip(self.voices.orders, edge[:-1], edge[1:], strict=True):
            if hi > lo:
                found.append(((int(order[0]), int(order[1]), int(order[2])), slice(int(lo), int(hi))))
        return found


def components_of(
    columns: Columns,
    drift: Drift,
    table: NDArray[np.complex64],
    ensemble: Ensemble,
    allowed: float,
    rng: np.random.Generator,
) -> Components | None:
    """allowed: norm of the signal that may be lost. None where nothing louder is left."""
    group, players, chosen = columns.group, ensemble.players, ensemble.chosen
    weight = np.abs(players.weight[chosen])
    n = min(SPINS, int(np.count_nonzero(weight)))
    which = np.sort(rng.choice(len(chosen), n, replace=False, p=weight / weight.sum()))
    who = chosen[which]
    loud = np.sqrt(weight[which] / n)
    nodes, course = _time_nodes(columns, drift, players, who, loud, allowed)
    orders, hearing = _orders(
        columns, players, who, ensemble.inside.counts, rng, 0.03 * allowed / math.sqrt(columns.energy)
    )
    n_features = len(columns.column)
    plain = Voices(
        group,
        group.tau,
        group.away,
        columns.column,
        group.time[nodes],
        drift.time[nodes],
        np.array(orders, np.int64),
        np.zeros((len(orders), n_features, len(nodes), 0), np.complex64),
        np.zeros(len(orders), np.int64),
        Lifetimes.of(table, ensemble, columns.column, group.tau, SELDOM * allowed / math.sqrt(len(group.time))),
    )
    parts = [part.copy() for _, part in plain.spoken(table, ensemble, which, weight=loud)]
    y = np.concatenate(parts, axis=1).reshape(len(orders), n, n_features, len(nodes)).astype(complex)
    rows, to_rows = columns.rows()
    lower, in_time = scipy.linalg.rq(course, mode="economic")
    found = []
    for i in range(len(orders)):
        flat = np.matmul(to_rows, np.matmul(y[i], lower)).reshape(n, -1)
        found.append(strongest(flat * hearing[i], UNSEEN * allowed**2 / len(orders), rng))
    every = np.sort(np.concatenate([values for values, _ in found]))
    n_drop = int(np.searchsorted(np.cumsum(every), (1 - UNSEEN) * allowed**2))
    limit = max(every[n_drop - 1] if n_drop else 0.0, 1e-13 * every[-1])
    counts = np.array([int(np.count_nonzero(values > limit)) for values, _ in found])
    if not counts.any():
        return None
    mixing = np.zeros((len(orders), n_features, len(nodes), counts.max()), np.complex64)
    readouts, times = [], []
    for i, (values, vectors) in enumerate(found):
        p = vectors[:, : counts[i]].reshape(to_rows.shape[0], lower.shape[1], counts[i])
        mixing[i, :, :, : counts[i]] = np.einsum("gf,sl,glm->fsm", to_rows, lower, p, optimize=True)
        for m in range(counts[i]):
            u, s, vh = np.linalg.svd(p[:, :, m].conj(), full_matrices=False)  # (g, node): in_time is orthonormal
            worth = math.sqrt(values[m]) * s
            kept = max(
                1, int(np.count_nonzero(np.sqrt(np.cumsum(worth[::-1] ** 2)[::-1]) > 0.2 * allowed / len(found)))
            )
            readouts.append(rows @ (u[:, :kept] * s[:kept]))
            times.append(vh[:kept] @ in_time)
    live = counts > 0
    return Components(
        replace(plain, orders=np.array(orders, np.int64)[live], mixing=mixing[live], counts=counts[live]),
        _course(readouts, times),
        np.concatenate([values[:n] for (values, _), n in zip(found, counts, strict=True)]),
    )


def strongest(
    matrix: NDArray[np.complex128], rest: float, rng: np.random.Generator
) -> tuple[Float, NDArray[np.complex128]]:
    """Eigenvalues, falling, and eigenvectors (column, value) of matrix^H matrix; the others have less than `rest` together.

    Of a large matrix by random projections, more and more of them until what is missing is little enough: its energy is
    known. Halko, Martinsson, Tropp, SIAM Rev 53 (2011) 217.
    """
    n, size = FIRST, min(matrix.shape)
    energy = float(np.vdot(matrix, matrix).real)
    while 3 * n < size:
        seeds = rng.standard_normal((matrix.shape[1], n))
        basis = np.linalg.qr(matrix @ seeds)[0]
        basis = np.linalg.qr(matrix @ (basis.conj().T @ matrix).conj().T)[0]
        _, s, vh = np.linalg.svd(basis.conj().T @ matrix, full_matrices=False)
        if energy - float((s**2).sum()) < rest:
            return s**2, vh.conj().T
        n *= 4
    if matrix.shape[0] < matrix.shape[1]:
        _, s, vh = np.linalg.svd(matrix, full_matrices=False)
        return s**2, vh.conj().T
    values, vectors = np.linalg.eigh(matrix.conj().T @ matrix)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _course(readouts: list[NDArray], times: list[NDArray]) -> Course:
    terms = np.array([len(t) for t in times], np.int64)
    r = np.zeros((len(terms), len(readouts[0]), terms.max()), np.complex64)
    t = np.zeros((len(terms), terms.max(), times[0].shape[1]), np.complex64)
    for m, n in enumerate(terms):
        r[m, :, :n], t[m, :n] = readouts[m], times[m]
    return Course(r, t, terms)


def _time_nodes(
    columns: Columns, drift: Drift, players: Cast, who: NDArray, loud: Float, allowed: float
) -> tuple[NDArray[np.intp], NDArray[np.complex128]]:
    """Samples (node,) whose values determine every course, and the matrix (node, sample) that does it."""
    group, spins = columns.group, players.spins
    pick = slice(None, None, max(1, len(who) // int(np.clip(COURSES / len(group.time), 48, 192))))
    who, loud = who[pick], loud[pick] * math.sqrt(len(who) / len(who[pick]))
    norm = np.array([math.sqrt(float((s**2).sum())) for s in columns.singular])
    loudest_columns = np.argsort(-norm)[:3]
    t = group.time
    loudest = norm.max() / math.sqrt(len(group.time))
    parts = []
    for here, away in zip(group.tau[loudest_columns], group.away[loudest_columns], strict=True):
        decay = -t[None, :] / spins.t2[who][:, None] - np.abs(here + t)[None, :] / spins.t2_prime[who][:, None]
        course = np.exp(decay - 2j * np.pi * spins.off_resonance[who][:, None] * (drift.time - drift.time[0])[None, :])
        course *= loud[:, None]
        if spins.off_resonance_gradient is None or players.place.edges is None:
            parts.append(course)
            continue
        dephased = away + spins.off_resonance_gradient[who][:, None, :] * (here + t)[None, :, None]
        for order in LOW:
            parts.append(course * box_factor(dephased, players.place.edges, order) * (3 if any(order) else 1))
    courses = np.concatenate(parts)
    courses *= loudest / (
        float(np.linalg.norm(courses[: len(who), len(t) // 2])) or 1.0
    )  # the plain one of the loudest
    some = np.unique(np.linspace(0, len(t) - 1, MOMENTS).astype(int))
    r, pivots = scipy.linalg.qr(courses[:, some], mode="r", pivoting=True)
    size = np.abs(np.diag(r[:, : min(r.shape)])) * math.sqrt(len(group.time))
    nodes = np.sort(some[pivots[: max(1, int(np.count_nonzero(size > allowed)))]])
    return nodes, np.linalg.lstsq(courses[:, nodes], courses, rcond=1e-7)[0]


def _orders(
    columns: Columns, players: Cast, who: NDArray, places: tuple[int, ...], rng: np.random.Generator, floor: float
) -> tuple[list[Order], Float]:
    """Polynomials that may be heard, and how well each is: r.m.s. of the box's factor over the group's k-space.

    places: (axis,) places inside the box, which may speak in that many polynomials whatever their dephasing.
    """
    group, edges = columns.group, players.place.edges
    if edges is None:
        return [PLAIN], np.ones(1)
    spins = players.spins
    n = 4000
    at = columns.k[rng.integers(len(columns.k), size=n), rng.integers(columns.k.shape[1], size=n)] @ edges.T
    hear = np.array([[leftover(at[:, axis], order) for order in range(HIGHEST + 1)] for axis in range(3)])
    pick = who[:: max(1, len(who) // 256)]
    norm = np.array([math.sqrt(float((s**2).sum())) for s in columns.singular])
    loud = np.flatnonzero(norm > floor * norm.max())
    inside = group.away[None, loud] * np.ones((len(pick), 1, 1))
    if spins.off_resonance_gradient is not None:
        for t in (group.time[0], group.time[-1]):  # where the box is dephased most
            since = (group.tau[loud] + t)[None, :, None]
            other = group.away[None, loud] + spins.off_resonance_gradient[pick][:, None, :] * since
            inside = np.where(np.abs(other) > np.abs(inside), other, inside)
    inside = inside @ edges.T  # (spin, column, axis)
    speak = np.array([[(2 * m + 1) * leftover(inside[:, :, axis], m) for m in range(HIGHEST + 1)] for axis in range(3)])
    for axis, count in enumerate(places):
        if count > 1:
            speak[axis, :count] = 1.0
    share = norm[loud] / math.sqrt(float((norm[loud] ** 2).sum()))
    found: list[Order] = []
    hearing = []
    for order in product(range(HIGHEST + 1), repeat=3):
        if sum(order) > HIGHEST:
            continue
        heard = math.sqrt(float(np.mean(np.prod([hear[i, m] for i, m in enumerate(order)], axis=0) ** 2)))
        spoken = np.prod([speak[i, m] for i, m in enumerate(order)], axis=0) ** 2
        if order == PLAIN or heard * math.sqrt(float((spoken.mean(axis=0) * share**2).sum())) > floor:
            found.append((order[0], order[1], order[2]))
            hearing.append(heard)
    return found, np.array(hearing)
