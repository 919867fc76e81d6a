"""Collective: how loud a component is where the spins sing together.

One voxel alone is heard alike all over k-space; a smooth object is loud near k = 0 only, where the polynomials of a box are
silent. What a spoiler leaves is therefore far less than any voxel alone would show. Judged on a few blocks of the lattice.
Nor are components independent of one another in the sum over all voxels, as they are over voxels heard one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.special
from numpy.typing import NDArray

from lauterbur.acquisition.twin.basis import Components
from lauterbur.acquisition.twin.boxes import box_factor
from lauterbur.acquisition.twin.course import Drift
from lauterbur.acquisition.twin.place import Place

Float = NDArray[np.float64]
BLOCK = 40  # voxels along an edge
BLOCKS = 3
POINTS = 100_000  # of k-space, at most
WAVES = 16  # polynomials of off-resonance, at most, that follow the shift it brings
QUIET = 0.03  # polynomials that are not needed
SOUNDS = 6_000_000  # of all components at all points, at most


@dataclass(frozen=True, eq=False)
class Chorus:
    """Components in the signal of all spins, where they are not independent of one another."""

    products: NDArray[np.complex128]  # (component, component), in the units of their energy

    def energy(self, which: NDArray[np.bool_] | slice = slice(None)) -> float:
        """Of these components together."""
        return max(float(self.products[which][:, which].sum().real), 0.0)

    def needed(self, limit: float) -> NDArray[np.bool_]:
        """(component,) all but the quietest, which together bring no more than `limit` to the norm."""
        order = np.argsort(np.diag(self.products).real)
        both = np.cumsum(np.cumsum(self.products[np.ix_(order, order)].real, axis=0), axis=1)
        too_loud = np.flatnonzero(np.diag(both) > limit**2)
        wanted = np.ones(len(order), bool)
        wanted[order[: too_loud[0] if len(too_loud) else len(order)]] = False
        return wanted


def together(
    found: Components,
    k: Float,
    place: Place,
    offset: Float,
    drift: Drift,
    size: Float,
    values: Callable[[NDArray], NDArray[np.complex64]],
    rng: np.random.Generator,
) -> Chorus:
    """What the components bring to the signal of all spins.

    k (row, sample, 3) 1/m; offset (n,) Hz and size (n,) of the spins, which `drift` shifts; values(which) -> (component, spin).
    """
    n = found.n_components
    lattice = place.grid
    if lattice is None or place.edges is None:
        return Chorus(np.diag(found.energy).astype(complex))
    where = np.stack(np.unravel_index(lattice.index, lattice.shape), axis=1)  # (n, 3) z, y, x
    kappa = (k.reshape(-1, 3) @ lattice.affine[:3, :3])[:, ::-1]
    point, stands_for = _listened(kappa, min(POINTS, SOUNDS // n + 1), rng)
    row, sample = np.divmod(point, k.shape[1])
    shape = tuple(BLOCK if m > BLOCK else max(m, min(2 * m, 48)) for m in lattice.shape)
    cell = np.ravel_multi_index(tuple((np.round(kappa[point] * shape).astype(np.int64) % shape).T), shape)
    middle_offset = (offset.max() + offset.min()) / 2
    half = max(float(np.ptp(offset)) / 2, 1e-9)
    waves = _waves(2 * np.pi * half * (k[row, sample] @ drift.shift))  # (wave, point)
    # what each component does where it is heard: an echo train is loud in one part of k-space and quiet in another
    course = np.empty((n, len(point)), np.complex64)
    evenly = np.empty(n)  # all that is heard, were it equally loud throughout
    for order, some in found.orders():
        box = np.asarray(box_factor(k[row, sample], place.edges, order)) * np.ones(len(point))
        for m in range(some.start, some.stop):
            course[m] = np.einsum("nt,nt->n", found.course.readouts[m][row], found.course.time[m].T[sample])
            evenly[m] = (box**2 @ stands_for) * (np.abs(course[m]) ** 2 @ stands_for) / stands_for.sum()
            course[m] *= box * np.sqrt(stands_for)
    heard, alone = np.zeros((n, n), complex), np.zeros(n)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(BLOCK) + 0.5) / BLOCK)
    fade = [np.ones(m) if m <= BLOCK else hann for m in lattice.shape]
    weight = np.abs(size) / np.abs(size).sum()
    whole = all(m <= BLOCK for m in lattice.shape)
    for _ in range(1 if whole else BLOCKS):
        middle = where[rng.choice(len(where), p=weight)]
        corner = np.array([0 if m <= BLOCK else c - BLOCK // 2 for m, c in zip(lattice.shape, middle, strict=True)])
        inside = where - corner
        which = np.flatnonzero(((inside >= 0) & (inside < [len(f) for f in fade])).all(axis=1))
        flat = np.ravel_multi_index(tuple(inside[which].T), shape)
        soft = np.prod([f[i] for f, i in zip(fade, inside[which].T, strict=True)], axis=0).astype(np.float32)
        sound = values(which) * soft
        alone += np.sum(np.abs(sound) ** 2, axis=1, dtype=float)
        bends = np.polynomial.chebyshev.chebvander((offset[which] - middle_offset) / half, len(waves) - 1).T
        spoken = np.empty_like(course)
        for m in range(n):
            total = np.zeros(len(point), complex)
            for wave, bend in zip(waves, bends, strict=True):
                here, cells = sound[m] * bend, math.prod(shape)  # several spins may share a cell
                image = np.bincount(flat, here.real, cells) + 1j * np.bincount(flat, here.imag, cells)
                spectrum = scipy.fft.fftn(image.astype(np.complex64).reshape(shape), workers=2)
                total += wave * spectrum.ravel()[cell]
            spoken[m] = total * course[m]
        heard += spoken @ spoken.conj().T
    scale = np.sqrt(found.energy / np.maximum(evenly * alone, 1e-30))
    products = heard * scale[:, None] * scale[None, :]
    unknown = np.flatnonzero(alone == 0)  # no spin of the blocks speaks in them
    products[unknown, unknown] = found.energy[unknown]
    return Chorus(products)


def _listened(kappa: Float, n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], Float]:
    """Some points of k-space (point, 3) in cycles per voxel, and how many each stands for: more of them where objects are
    loud, evenly spread over the readouts."""
    if len(kappa) <= n:
        return np.arange(len(kappa)), np.ones(len(kappa))
    away = BLOCK * np.linalg.norm(kappa - np.round(kappa), axis=1)
    often = np.cumsum(1 / (1 + away) ** 2)
    at = (np.arange(n) + rng.random()) * often[-1] / n
    point = np.minimum(np.searchsorted(often, at, side="right"), len(kappa) - 1)
    point, repeated = np.unique(point, return_counts=True)
    return point, repeated * (1 + away[point]) ** 2 * often[-1] / n


def _waves(phase: Float) -> NDArray[np.complex64]:
    """(wave, point): exp(-i phase x) is the sum of these times the Chebyshev polynomials of x in (-1, 1) (Jacobi and Anger;
    Abramowitz and Stegun 9.1.44). Where that takes too many, the shift is not followed."""
    n = np.arange(WAVES + 1)
    size = scipy.special.jv(n[:, None], phase)
    needed = np.sqrt(np.mean(size**2, axis=1)) > QUIET
    if needed[-1]:
        return np.ones((1, len(phase)), np.complex64)
    last = int(np.flatnonzero(needed)[-1])
    factor = np.where(n == 0, 1, 2) * (-1j) ** n
    return (factor[:, None] * size)[: last + 1].astype(np.complex64)
