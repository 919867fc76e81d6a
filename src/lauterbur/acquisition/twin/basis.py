"""Bases: a group's signal over readouts and time, in the fewest components that show all sampled spins.

Readouts first (singular vectors), the time course within a window next (a few of its samples determine the rest: pivoted
QR, the discrete empirical interpolation of Chaturantabut and Sorensen, SIAM J Sci Comput 32 (2010) 2737), then both
together, which takes fewer components than their product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from lauterbur.acquisition.twin.cast import Cast, Parameters
from lauterbur.acquisition.twin.encode import Course
from lauterbur.acquisition.twin.groups import Group


@dataclass(frozen=True, eq=False)
class Joint:
    course: Course
    mixing: NDArray[np.complex64]  # (rank, node, component)
    nodes: NDArray[np.intp]  # (node,) the samples whose time course is needed

    @property
    def n_components(self) -> int:
        return self.mixing.shape[2]


@dataclass(frozen=True, eq=False)
class Basis:
    """A group's signal over readouts and time, for the sampled spins."""

    readouts: NDArray[np.complex128]  # (row, rank) orthonormal
    singular: NDArray[np.float64]
    sampled: NDArray[np.complex128]  # (row, spin) without the time course
    loudness: NDArray[np.float64]  # (spin,) weight of each sampled spin
    courses: NDArray[np.complex128]  # (spin, sample): h
    energy: float

    @property
    def rank(self) -> int:
        return self.readouts.shape[1]

    def truncate(self, allowed: float) -> Basis:
        tail = np.sqrt(np.cumsum(self.singular[::-1] ** 2)[::-1])
        n = int(np.count_nonzero(tail > allowed))
        return Basis(self.readouts[:, :n], self.singular[:n], self.sampled, self.loudness, self.courses, self.energy)

    def nodes(self, allowed: float) -> NDArray[np.intp]:
        """Sample indices whose values determine every course: pivoted QR (discrete empirical interpolation)."""
        strength = self.loudness * np.linalg.norm(self.readouts.conj().T @ self.sampled, axis=0)
        weighted = self.courses * (strength / math.sqrt(self.courses.shape[1]))[:, None]
        r, pivots = scipy.linalg.qr(weighted, mode="r", pivoting=True)
        size = np.abs(np.diag(r[:, : min(r.shape)]))
        return np.sort(pivots[: max(1, int(np.count_nonzero(size * math.sqrt(self.courses.shape[1]) > allowed)))])

    def joint(self, allowed: float) -> Joint:
        """Readouts and time together: the fewest components for all sampled spins. `allowed`: as in truncate."""
        nodes = self.nodes(allowed)
        n_time = self.courses.shape[1]
        x = self.readouts.conj().T @ self.sampled  # (rank, spin)
        strength = self.loudness * np.linalg.norm(x, axis=0)
        keep = strength > 1e-6 * strength.max()
        at_nodes = self.courses[:, nodes]
        scale = strength[keep, None]
        course = np.linalg.lstsq(at_nodes[keep] * scale, self.courses[keep] * scale, rcond=1e-7)[0]  # (node, sample)
        lower, basis = scipy.linalg.rq(course, mode="economic")
        y = np.einsum("jv,vn,v->vjn", x, at_nodes @ lower, self.loudness)
        flat = y.reshape(len(y), -1) / math.sqrt(n_time)
        _, s, ph = np.linalg.svd(flat, full_matrices=False)
        tail = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
        m = int(np.count_nonzero(tail > allowed))
        p = ph[:m].conj().T.reshape(self.rank, len(lower.T), m)
        mixing = np.einsum("nl,jlm->jnm", lower, p)
        time = np.einsum("jlm,lt->jmt", p.conj(), basis)
        return Joint(
            Course(self.readouts.astype(np.complex64), time.astype(np.complex64)), mixing.astype(np.complex64), nodes
        )


def basis_of(g: Group, exact, sampled: Parameters, players: Cast, who: NDArray) -> Basis:
    t2_prime = players.spins.t2_prime[who]
    gradient = players.spins.off_resonance_gradient
    columns = g.phase(sampled["offset"], t2_prime, None if gradient is None else gradient[who], players.place.edges)
    signal = np.zeros((len(g.readout), len(who)), complex)
    np.add.at(signal, g.row, exact[g.record] * columns[:, g.column].T)
    courses = g.course(np.arange(g.n_samples), sampled["offset"], sampled["t2"], t2_prime)
    middle = np.abs(courses[:, g.n_samples // 2])
    loudness = np.sqrt(np.abs(players.weight[who])) * middle / math.sqrt(len(who))
    loud = signal * loudness[None, :]
    if len(loud) > 2 * loud.shape[1]:  # tall: through the Gram matrix, whose small singular values nobody needs
        values, vectors = np.linalg.eigh(loud.conj().T @ loud)
        s = np.sqrt(np.maximum(values[::-1], 0))
        kept = s > 1e-6 * s[0]
        s, u = s[kept], (loud @ vectors[:, ::-1][:, kept]) / s[kept]
    else:
        u, s, _ = np.linalg.svd(loud, full_matrices=False)
    courses = courses / np.where(middle > 0, middle, 1)[:, None]
    return Basis(
        u, s, signal * middle[None, :], loudness / np.where(middle > 0, middle, 1), courses, float((s**2).sum())
    )
