"""Values: what every spin brings to every component of a group.

A spin's amplitudes are given as features: each column (state) of the group in a basis of its readouts. With the phase and
decay of its column at a few sample times, and with the polynomials its box makes of them, they are mixed to components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.boxes import Inside, spherical_bessel
from lauterbur.acquisition.twin.cast import Cast, ExactAtoms
from lauterbur.acquisition.twin.groups import Group
from lauterbur.acquisition.twin.nodes import LeafAtoms

Float = NDArray[np.float64]
CHUNK_BYTES = 48e6


@numba.njit(cache=True, inline="always")
def _polynomial(z, terms, bessel, out):
    """out[n, p] = sum_l terms[n, p, l] j_l(z)"""
    spherical_bessel(z, bessel)
    for n in range(terms.shape[0]):
        for p in range(terms.shape[1]):
            total = 0j
            for term in range(terms.shape[2]):
                total += terms[n, p, term] * bessel[term]
            out[n, p] = total


@numba.njit(parallel=True, cache=True)
def _mix(
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
    mixing,
    first,
    weight,
    out,
):
    """out[first[o] + m, v] = weight[v] sum_fs y[o, f, s] mixing[o, f, s, m], y: feature f of v at time s in polynomial o."""
    n_places, n_spins, n_features = amplitude.shape
    n_columns, n_times, n_orders = len(tau), len(time), len(orders)
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
        factor = np.empty((n_orders, n_places, n_columns), np.complex64)
        for v in range(block * n_spins // n_blocks, (block + 1) * n_spins // n_blocks):
            total = np.zeros(first[n_orders], np.complex64)
            for s in range(n_times):
                for q in range(n_columns):
                    turns = offset[v] * (tau[q] + left[s])
                    for d in range(3):
                        turns += away[q, d] * position[v, d]
                    since = tau[q] + time[s]
                    size = math.exp(-time[s] * r2[v] - abs(since) * r2_prime[v])
                    turn = -2 * math.pi * turns
                    phase = complex(size * math.cos(turn), size * math.sin(turn))
                    if len(edges) == 0:
                        for p in range(n_places):
                            factor[0, p, q] = phase
                        continue
                    za, zb, zc = 0.0, 0.0, 0.0
                    for d in range(3):
                        here = away[q, d] + (slope[v, d] * since if len(slope) else 0.0)
                        za += here * edges[0, d]
                        zb += here * edges[1, d]
                        zc += here * edges[2, d]
                    _polynomial(math.pi * za, terms_a, bessel_a, a)
                    _polynomial(math.pi * zb, terms_b, bessel_b, b)
                    _polynomial(math.pi * zc, terms_c, bessel_c, c)
                    for o in range(n_orders):
                        na, nb, nc = orders[o, 0], orders[o, 1], orders[o, 2]
                        p = 0
                        for pa in range(a.shape[1]):
                            for pb in range(b.shape[1]):
                                for pc in range(c.shape[1]):
                                    factor[o, p, q] = phase * a[na, pa] * b[nb, pb] * c[nc, pc]
                                    p += 1
                for o in range(n_orders):
                    n_mixed = first[o + 1] - first[o]
                    for f in range(n_features):
                        y = np.complex64(0)
                        for p in range(n_places):
                            y += factor[o, p, column[f]] * amplitude[p, v, f]
                        for m in range(n_mixed):
                            total[first[o] + m] += y * mixing[o, f, s, m]
            for m in range(len(total)):
                out[m, v] = weight[v] * total[m]


@dataclass(frozen=True, eq=False)
class Voices:
    """How a group's features become components: at which times, in which polynomials, in which mixture."""

    group: Group
    column: NDArray[np.int64]  # (feature,)
    time: Float  # s since the pulse, (node,)
    left: Float  # s, (node,): of off-resonance that the encoding does not take care of (encode.Drift)
    orders: NDArray[np.int64]  # (order, 3)
    mixing: NDArray[np.complex64]  # (order, feature, node, component), zero-padded
    counts: NDArray[np.int64]  # (order,) components

    def values(
        self,
        table: NDArray[np.complex64],
        atoms: LeafAtoms | ExactAtoms,
        players: Cast,
        chosen: NDArray,
        which: NDArray,
        inside: Inside,
        along: Float,
        weight: NDArray | None = None,
    ) -> NDArray[np.complex64]:
        """(component, spin) of the spins chosen[which], order after order. table: (atom, feature)."""
        first = np.concatenate(([0], np.cumsum(self.counts)))
        out = np.empty((int(first[-1]), len(which)), np.complex64)
        spins, edges = players.spins, players.place.edges
        slope = spins.off_resonance_gradient
        highest = [int(n) for n in self.orders.max(axis=0)]
        terms = inside.polynomials((highest[0], highest[1], highest[2]))
        step = max(512, int(CHUNK_BYTES / (8 * len(inside.shifts) * max(1, len(self.column)))))
        for lo in range(0, len(which), step):
            rows = slice(lo, lo + step)
            who = chosen[which[rows]]
            amplitude = np.empty((len(inside.shifts), len(who), len(self.column)), np.complex64)
            for p, shift in enumerate(inside.shifts):
                amplitude[p] = atoms.values(table, players.parameters(who, shift, along), p, which[rows])
            mixed = np.empty((len(out), len(who)), np.complex64)
            _mix(
                amplitude,
                self.column,
                self.group.tau,
                self.group.away,
                self.time,
                self.left,
                spins.position[who],
                spins.off_resonance[who],
                1 / spins.t2[who],
                1 / spins.t2_prime[who],
                np.zeros((0, 3)) if slope is None or edges is None else slope[who],
                np.zeros((0, 3)) if edges is None else edges,
                *terms,
                self.orders,
                self.mixing,
                first,
                (players.weight[who] if weight is None else weight[rows]).astype(np.complex64),
                mixed,
            )
            out[:, rows] = mixed
        return out
