"""Values: what every spin brings to every component of a group.

A spin's amplitudes are given as features: each column (state) of the group in a basis of its readouts. With the phase and
decay of its column at a few sample times, and with the polynomials its box makes of them, they are mixed to components.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.boxes import spherical_bessel
from lauterbur.acquisition.twin.ensemble import Ensemble
from lauterbur.acquisition.twin.groups import Group
from lauterbur.acquisition.twin.lifetimes import Lifetimes

Float = NDArray[np.float64]
CHUNK_BYTES = 12e6  # of a part of the spins: it stays in the cache


@numba.njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def _polynomial(z, terms, bessel, out):
    """out[n, p] = sum_l terms[n, p, l] j_l(z)"""
    spherical_bessel(z, bessel)
    for n in range(terms.shape[0]):
        for p in range(terms.shape[1]):
            total = 0j
            for term in range(terms.shape[2]):
                total += terms[n, p, term] * bessel[term]
            out[n, p] = total


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _speak(
    amplitude,
    column,
    tau,
    away,
    time,
    left,
    position,
    offset,
    r2,
    r2_prime,
    slope,
    edges,
    terms_a,
    terms_b,
    terms_c,
    orders,
    weight,
    out,
):
    """out[o, v, f * times + s]: feature f of spin v at time s in polynomial o."""
    n_places, n_spins, n_features = amplitude.shape
    n_columns, n_times, n_orders = len(tau), len(time), len(orders)
    plain = n_places == 1  # then each polynomial has its own Bessel function, and a real factor
    la, lb, lc = len(terms_a), len(terms_b), len(terms_c)
    real_a, real_b, real_c = np.empty(la), np.empty(lb), np.empty(lc)
    if plain:
        for n in range(la):
            real_a[n] = terms_a[n, 0, n].real
        for n in range(lb):
            real_b[n] = terms_b[n, 0, n].real
        for n in range(lc):
            real_c[n] = terms_c[n, 0, n].real
    grows = tau >= 0  # then |tau + t| = |tau| + |t|
    for s in range(n_times):
        grows &= time[s] >= 0
    n_blocks = 64
    for block in numba.prange(n_blocks):
        bessel_a, bessel_b, bessel_c = (
            np.empty(terms_a.shape[2]),
            np.empty(terms_b.shape[2]),
            np.empty(terms_c.shape[2]),
        )
        a = np.empty(terms_a.shape[:2], np.complex128)
        b = np.empty(terms_b.shape[:2], np.complex128)
        c = np.empty(terms_c.shape[:2], np.complex128)
        factor = np.empty((n_columns, n_orders, n_places), np.complex64)
        of_column, of_time = np.empty(n_columns, np.complex128), np.empty(n_times, np.complex128)
        for v in range(block * n_spins // n_blocks, (block + 1) * n_spins // n_blocks):
            for q in range(n_columns):
                turns = offset[v] * tau[q]
                for d in range(3):
                    turns += away[q, d] * position[v, d]
                turn = -2 * math.pi * turns
                size = math.exp(-abs(tau[q]) * r2_prime[v]) if grows[q] else 1.0
                of_column[q] = complex(size * math.cos(turn), size * math.sin(turn)) * weight[v]
            for s in range(n_times):
                turn = -2 * math.pi * offset[v] * left[s]
                size = math.exp(-time[s] * r2[v])
                fades = math.exp(-time[s] * r2_prime[v])
                of_time[s] = complex(size * math.cos(turn), size * math.sin(turn))
                for q in range(n_columns):
                    since = tau[q] + time[s]
                    phase = of_column[q] * of_time[s] * (fades if grows[q] else math.exp(-abs(since) * r2_prime[v]))
                    if len(edges) == 0:
                        for p in range(n_places):
                            factor[q, 0, p] = phase
                        continue
                    za, zb, zc = 0.0, 0.0, 0.0
                    for d in range(3):
                        here = away[q, d] + (slope[v, d] * since if len(slope) else 0.0)
                        za += here * edges[0, d]
                        zb += here * edges[1, d]
                        zc += here * edges[2, d]
                    if plain:
                        spherical_bessel(math.pi * za, bessel_a)
                        spherical_bessel(math.pi * zb, bessel_b)
                        spherical_bessel(math.pi * zc, bessel_c)
                        for o in range(n_orders):
                            na, nb, nc = orders[o, 0], orders[o, 1], orders[o, 2]
                            both = bessel_a[na] * real_a[na] * bessel_b[nb] * real_b[nb]
                            factor[q, o, 0] = phase * (both * bessel_c[nc] * real_c[nc])
                        continue
                    _polynomial(math.pi * za, terms_a, bessel_a, a)
                    _polynomial(math.pi * zb, terms_b, bessel_b, b)
                    _polynomial(math.pi * zc, terms_c, bessel_c, c)
                    for o in range(n_orders):
                        na, nb, nc = orders[o, 0], orders[o, 1], orders[o, 2]
                        p = 0
                        for pa in range(a.shape[1]):
                            for pb in range(b.shape[1]):
                                ab = phase * a[na, pa] * b[nb, pb]
                                for pc in range(c.shape[1]):
                                    factor[q, o, p] = ab * c[nc, pc]
                                    p += 1
                for f in range(n_features):
                    q = column[f]
                    for o in range(n_orders):
                        y = np.complex64(0)
                        for p in range(n_places):
                            y += factor[q, o, p] * amplitude[p, v, f]
                        out[o, v, f * n_times + s] = y


@dataclass(frozen=True, eq=False)
class Voices:
    """How a group's features become components: at which times, in which polynomials, in which mixture."""

    group: Group
    tau: Float  # s, (column,)
    away: Float  # 1/m, (column, 3) from the group's reference
    column: NDArray[np.int64]  # (feature,)
    time: Float  # s since the pulse, (node,)
    left: Float  # s, (node,): of off-resonance that the encoding does not take care of (encode.Drift)
    orders: NDArray[np.int64]  # (order, 3)
    mixing: NDArray[np.complex64]  # (order, feature, node, component), zero-padded
    counts: NDArray[np.int64]  # (order,) components
    lifetimes: Lifetimes

    def values(
        self,
        table: NDArray[np.complex64],
        ensemble: Ensemble,
        which: NDArray,
    ) -> NDArray[np.complex64]:
        """(component, spin) of the spins chosen[which], order after order. table: (atom, feature)."""
        edge = np.concatenate(([0], np.cumsum(self.counts)))
        out = np.empty((int(edge[-1]), len(which)), np.complex64)
        kind = self.lifetimes.which(ensemble.players.spins, ensemble.chosen[which])
        for i in np.unique(kind):
            some = np.flatnonzero(kind == i)
            voices, features = self.spoken_in(self.lifetimes.speaks[i], table)
            n = len(voices.column) * len(self.time)
            for rows, spoken in voices.spoken(features, ensemble, which[some]):
                for o, count in enumerate(self.counts):
                    mix = voices.mixing[o].reshape(n, -1)[:, :count]
                    out[edge[o] : edge[o + 1], some[rows]] = mix.T @ spoken[o].T
        return out

    def spoken_in(
        self, columns: NDArray[np.bool_], table: NDArray[np.complex64]
    ) -> tuple[Voices, NDArray[np.complex64]]:
        """With nothing but these columns, and `table` (atom, feature) of them."""
        if columns.all():
            return self, table
        features = np.flatnonzero(columns[self.column])
        voices = replace(
            self,
            tau=self.tau[columns],
            away=self.away[columns],
            column=(np.cumsum(columns) - 1)[self.column[features]],
            mixing=self.mixing[:, features],
        )
        return voices, np.ascontiguousarray(table[:, features])

    def spoken(
        self,
        table: NDArray[np.complex64],
        ensemble: Ensemble,
        which: NDArray,
        weight: NDArray | None = None,
    ) -> Iterator[tuple[slice, NDArray[np.complex64]]]:
        """Some of the spins after one another: (order, spin, feature and node) before mixing, to be used at once."""
        players, inside = ensemble.players, ensemble.inside
        spins, edges = players.spins, players.place.edges
        slope = spins.off_resonance_gradient
        highest = [int(n) for n in self.orders.max(axis=0)]
        terms = inside.polynomials((highest[0], highest[1], highest[2]))
        size = len(self.column) * max(len(inside.shifts), len(self.orders) * len(self.time))
        step = max(512, int(CHUNK_BYTES / (8 * size)))
        room = np.empty(len(self.orders) * min(step, len(which)) * len(self.column) * len(self.time), np.complex64)
        for lo in range(0, len(which), step):
            rows = slice(lo, lo + step)
            who = ensemble.chosen[which[rows]]
            amplitude = ensemble.amplitudes(table, which[rows])
            shape = len(self.orders), len(who), len(self.column) * len(self.time)
            spoken = room[: math.prod(shape)].reshape(shape)
            _speak(
                amplitude,
                self.column,
                self.tau,
                self.away,
                self.time,
                self.left,
                spins.position[who],
                spins.off_resonance[who],
                1 / spins.t2[who],
                1 / spins.t2_prime[who],
                np.zeros((0, 3)) if slope is None or edges is None else slope[who],
                np.zeros((0, 3)) if edges is None else edges,
                terms[0],
                terms[1],
                terms[2],
                self.orders,
                (players.weight[who] if weight is None else weight[rows]).astype(np.complex128),
                spoken,
            )
            yield rows, spoken
