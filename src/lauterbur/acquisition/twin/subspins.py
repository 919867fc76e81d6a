"""Sub-spins: the isochromats that stand for one spin - spread over its box and over its T2' line.

Positions and line offsets are a rank-1 lattice in four dimensions (Sloan & Joe, Lattice Methods for Multiple
Integration, 1994), shifted at random for each spin (Cranley & Patterson 1976): within a voxel the error falls about as
1/n, and what is left has a random sign from voxel to voxel, so that images and signals converge faster still. The
lattice integrates whole turns of dephasing across a box (spoilers) exactly unless they lie in its dual.
T2' is a Lorentzian line of half width 1 / (2 pi T2'), sampled at quantiles of the Cauchy distribution: its far tails
make the decay over the first T2' / n seconds, where the error is largest, about 1/n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lauterbur.acquisition.twin.spins import Spins
from lauterbur.errors import InputError
from lauterbur.program import Float

AUTOMATIC = 128  # sub-spins of a box, or of a spin with T2' or diffusion, when nobody says how many


@dataclass(frozen=True, eq=False)
class SubSpins:
    """Sub-spin j of spin i is row i * count + j."""

    count: int
    position: Float  # m, (row, 3)
    frequency: Float  # Hz, (row,), with the local gradient of the off-resonance and the T2' line


def count_for(spins: Spins, spins_per_voxel: int | None) -> int:
    """How many isochromats stand for each spin: one where one is exact, else what was asked for, else AUTOMATIC."""
    has_line = bool(np.isfinite(spins.t2_prime).any())
    if spins_per_voxel is not None and spins_per_voxel < 1:
        raise InputError(f"spins_per_voxel is {spins_per_voxel}; it must be at least 1")
    if spins.volume is None and not has_line and not spins.diffusion.any():
        return 1
    if spins_per_voxel == 1 and has_line:
        raise InputError(
            "spins_per_voxel is 1, but these spins have a finite t2_prime, which one isochromat cannot show; "
            f"use at least 2, better {AUTOMATIC}, or set t2_prime to infinity"
        )
    return AUTOMATIC if spins_per_voxel is None else spins_per_voxel


def sub_spins(spins: Spins, chosen: slice, count: int, seed: int) -> SubSpins:
    """The isochromats of spins[chosen]. A spin's own do not depend on which others are asked for."""
    position, first = spins.position[chosen], chosen.start or 0
    n = len(position)
    if count == 1:
        return SubSpins(1, position.copy(), spins.off_resonance[chosen].copy())

    shift = _uniform(np.arange(first, first + n), 4, seed)
    u = np.modf(_lattice(count)[None] + shift[:, None])[0]  # (n, count, 4) in [0, 1)
    inside = np.zeros((n, count, 3))
    if spins.volume is not None:
        if spins.edges is not None:
            inside = (u[..., :3] - 0.5) @ spins.edges
        else:
            inside = (u[..., :3] - 0.5) * np.cbrt(spins.volume[chosen])[:, None, None]
    frequency = np.repeat(spins.off_resonance[chosen], count).reshape(n, count)
    if spins.off_resonance_gradient is not None:
        frequency = frequency + np.einsum("nca,na->nc", inside, spins.off_resonance_gradient[chosen])
    half_width = 1 / (2 * np.pi * spins.t2_prime[chosen])
    frequency = frequency + half_width[:, None] * np.tan(np.pi * (u[..., 3] - 0.5) * (1 - 1e-12))
    return SubSpins(count, (position[:, None] + inside).reshape(-1, 3), frequency.reshape(-1))


def _lattice(count: int) -> Float:
    """(count, 4) in [0, 1): the Korobov lattice j (1, a, a^2, a^3) / count with the smallest P_2 among 64 choices of a."""
    j = np.arange(count, dtype=np.int64)
    best, points = np.inf, np.zeros((count, 4))
    coprime = np.flatnonzero(np.gcd(np.arange(count), count) == 1)  # so that every axis has count different values
    for a in coprime[np.unique(np.linspace(0, len(coprime) - 1, 64).astype(int))]:
        generator = np.array([1, a, a * a % count, a * a % count * a % count])
        x = (j[:, None] * generator % count) / count
        # P_2 by the Bernoulli polynomial B_2 (Sloan & Joe, eq. 4.8)
        p2 = float(np.mean(np.prod(1 + 2 * np.pi**2 * (x * x - x + 1 / 6), axis=1)) - 1)
        if p2 < best:
            best, points = p2, x
    return points


def _uniform(index: np.ndarray, n_axes: int, seed: int) -> Float:
    """(index, axis) in [0, 1), by a hash (splitmix64, Steele et al. 2014), so that each spin has its own numbers."""
    with np.errstate(over="ignore"):
        key = np.uint64(seed % 2**63) * np.uint64(0xD1342543DE82EF95) + np.uint64(1)
        z = (index[:, None] * n_axes + np.arange(n_axes)).astype(np.uint64) + key
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
