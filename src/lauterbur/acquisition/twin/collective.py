"""Collective: how loud a component is where the spins sing together.

One voxel alone is heard alike all over k-space; a smooth object is loud near k = 0 only, where the polynomials of a box are
silent. What a spoiler leaves is therefore far less than any voxel alone would show. Judged on a few blocks of the lattice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lauterbur.acquisition.twin.basis import Components
from lauterbur.acquisition.twin.boxes import box_factor
from lauterbur.acquisition.twin.place import Place

Float = NDArray[np.float64]
BLOCK = 40  # voxels along an edge
BLOCKS = 3
POINTS = 100_000  # of k-space


def together(
    found: Components,
    k: Float,
    place: Place,
    size: Float,
    values: Callable[[NDArray], NDArray[np.complex64]],
    rng: np.random.Generator,
) -> Float:
    """(component,) energy in the signal of all spins over what it would be if they were heard one by one, equally well
    in all readouts.

    k (row, sample, 3) 1/m; size (n,) of the spins; values(which) -> (component, spin).
    """
    ratio = np.ones(found.n_components)
    lattice = place.grid
    if lattice is None or place.edges is None:
        return ratio
    where = np.stack(np.unravel_index(lattice.index, lattice.shape), axis=1)  # (n, 3) z, y, x
    points = len(k) * k.shape[1]
    listened = np.arange(points) if points <= POINTS else rng.integers(points, size=POINTS)
    row, sample = np.divmod(listened, k.shape[1])
    at = k[row, sample]
    kappa = (at @ lattice.affine[:3, :3])[:, ::-1]
    cell = np.ravel_multi_index(tuple((np.round(kappa * BLOCK).astype(np.int64) % BLOCK).T), (BLOCK,) * 3)
    # where each component is heard: an echo train is loud in one part of k-space and quiet in another
    ears, evenly = [], []  # (component,) what each cell of k-space hears; all of it, were it equally loud throughout
    for order, some in found.orders():
        power = np.asarray(box_factor(at, place.edges, order)) ** 2
        for m in range(some.start, some.stop):
            course = found.course.readouts[m][row], found.course.time[m].T[sample]
            strength = np.abs(np.einsum("nt,nt->n", *course)) ** 2
            ears.append(np.bincount(cell, power * strength, minlength=BLOCK**3).astype(np.float32))
            evenly.append(max(float(power.sum()) * float(strength.mean()), 1e-30))
    heard, alone = np.zeros(len(ratio)), np.zeros(len(ratio))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(BLOCK) + 0.5) / BLOCK)
    fade = [np.ones(BLOCK) if n <= BLOCK else hann for n in lattice.shape]
    weight = np.abs(size) / np.abs(size).sum()
    whole = all(n <= BLOCK for n in lattice.shape)
    for _ in range(1 if whole else BLOCKS):
        middle = where[rng.choice(len(where), p=weight)]
        corner = np.array([0 if n <= BLOCK else m - BLOCK // 2 for n, m in zip(lattice.shape, middle, strict=True)])
        inside = where - corner
        which = np.flatnonzero(((inside >= 0) & (inside < BLOCK)).all(axis=1))
        flat = np.ravel_multi_index(tuple(inside[which].T), (BLOCK,) * 3)
        soft = np.prod([f[i] for f, i in zip(fade, inside[which].T, strict=True)], axis=0).astype(np.float32)
        sound = values(which) * soft
        for m, (ear, even) in enumerate(zip(ears, evenly, strict=True)):
            image = np.bincount(flat, sound[m].real, BLOCK**3) + 1j * np.bincount(flat, sound[m].imag, BLOCK**3)
            power = np.abs(scipy.fft.fftn(image.astype(np.complex64).reshape((BLOCK,) * 3), workers=2)) ** 2
            heard[m] += float(power.ravel() @ ear) / even
            alone[m] += float(np.sum(np.abs(sound[m]) ** 2, dtype=float))
    return np.where(alone > 0, heard / np.where(alone > 0, alone, 1), 1.0)
