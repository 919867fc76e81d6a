"""Columns: what each state of a group does to its readouts, in the fewest vectors that show all sampled spins."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.cast import Cast, Parameters
from lauterbur.acquisition.twin.groups import Group

Float = NDArray[np.float64]
POINTS = 64  # in k-space, where the loudness of a state is judged


@dataclass(frozen=True, eq=False)
class Columns:
    """A group's columns in bases of their readouts."""

    group: Group
    k: Float  # 1/m, (row, sample, 3)
    bases: list[NDArray[np.complex128]]  # per column (entry, rank), orthonormal
    singular: list[Float]

    @property
    def energy(self) -> float:
        return float(sum((s**2).sum() for s in self.singular))

    def truncate(self, allowed: float) -> Columns:
        """Without the vectors that carry less than `allowed` of the norm together."""
        every = np.sort(np.concatenate(self.singular) ** 2)
        n_drop = int(np.searchsorted(np.cumsum(every), allowed**2))
        limit = every[n_drop - 1] if n_drop else -1.0
        ranks = [int(np.count_nonzero(s**2 > limit)) for s in self.singular]
        return Columns(
            self.group,
            self.k,
            [u[:, :n] for u, n in zip(self.bases, ranks, strict=True)],
            [s[:n] for s, n in zip(self.singular, ranks, strict=True)],
        )

    @property
    def column(self) -> NDArray[np.int64]:
        """(feature,)"""
        return np.repeat(np.arange(len(self.bases)), [u.shape[1] for u in self.bases])

    def rows(self) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """All bases side by side as Q R: (row, g) orthonormal, (g, feature)."""
        full = np.zeros((len(self.group.readout), len(self.column)), complex)
        at = 0
        for q, basis in enumerate(self.bases):
            full[self.group.row[self.group.column(q)], at : at + basis.shape[1]] = basis
            at += basis.shape[1]
        if full.shape[1] == 1:
            return full, np.ones((1, 1), complex)
        orthonormal, triangle = np.linalg.qr(full)
        return orthonormal, triangle


def columns_of(
    group: Group,
    k: Float,
    exact: NDArray,
    sampled: Parameters,
    players: Cast,
    who: NDArray,
    places: tuple[int, ...],
    rng: np.random.Generator,
) -> Columns:
    """exact: (record, spin) amplitudes of the sampled spins `who`, drawn by their weight; places: inside a box, per edge."""
    spins = players.spins
    middle = float(group.time[len(group.time) // 2])
    since = group.tau + middle
    size = np.exp(-middle / spins.t2[who][:, None] - np.abs(since)[None, :] / spins.t2_prime[who][:, None])
    edges = players.place.edges
    if edges is not None:
        at = k[rng.integers(len(k), size=POINTS), rng.integers(k.shape[1], size=POINTS)] @ edges.T
        inside = group.away[None] * np.ones((len(who), 1, 1))
        if spins.off_resonance_gradient is not None:
            inside = inside + spins.off_resonance_gradient[who][:, None, :] * since[None, :, None]
        inside = inside @ edges.T
        power = np.zeros(size.shape)
        for turns in at:
            power += np.prod([_share(turns[i] + inside[..., i], n > 1) for i, n in enumerate(places)], axis=0) ** 2
        size *= np.sqrt(power / POINTS)
    strength = size * np.sqrt(np.abs(players.weight[who]) / len(who))[:, None]
    bases, singular = [], []
    for q in range(group.n_columns):
        loud = group.amplitude(q, exact, sampled["diffusion"]) * strength[:, q].astype(np.float32)[None, :]
        u, s = _left(loud)
        bases.append(u)
        singular.append(s * math.sqrt(len(group.time)))
    return Columns(group, k, bases, singular)


def _share(turns: Float, is_uneven: bool) -> Float:
    """How loud a box is that is dephased by so many turns along an edge; at most, where what is in it is uneven."""
    if is_uneven:
        return np.minimum(1, 1 / (math.pi * np.maximum(np.abs(turns), 1e-9)))
    return np.sinc(turns)


def _left(matrix: NDArray) -> tuple[NDArray[np.complex128], Float]:
    """Left singular vectors and values; of a tall matrix through its Gram matrix, whose small values nobody needs."""
    if len(matrix) > 2 * matrix.shape[1]:
        values, vectors = np.linalg.eigh((matrix.conj().T @ matrix).astype(complex))
        s = np.sqrt(np.maximum(values[::-1], 0))
        kept = s > 3e-4 * s[0] if s[0] > 0 else np.arange(len(s)) < 1
        right = vectors[:, ::-1][:, kept] / np.where(s[kept] > 0, s[kept], 1)
        return np.asarray(matrix @ right.astype(matrix.dtype), complex), s[kept]
    u, s, _ = np.linalg.svd(matrix.astype(complex), full_matrices=False)
    return u, s
