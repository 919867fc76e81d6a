"""One axis of an encoding at a time: from places on a lattice to k, and between a lattice's points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

Float = NDArray[np.float64]
PHASE_TOLERANCE = 2e-4  # turns: how far a k-space point may lie from the separable grid, times the object's half width
WIDTH = 6  # points of the spreading kernel
OVERSAMPLING = 1.5  # of the finer grid that spins between lattice places are spread to, against the band that is heard
# exp(SHARPNESS (sqrt(1 - x^2) - 1)), and its best sharpness: Barnett, Magland, af Klinteberg, SIAM J Sci Comput 41 (2019) C479
SHARPNESS = 0.98 * math.pi * WIDTH * (1 - 1 / (2 * OVERSAMPLING))
FEW = 24  # below that a matrix product is as good


@dataclass(frozen=True, eq=False)
class Transform:
    """Sum over a lattice index i of exp(-2 pi i k i), for some of the levels of one axis.

    A fast Fourier transform where the levels lie on a grid, else a matrix product. `base` is the same for all transforms
    of an axis and left to the caller: exp(-2 pi i base i) is part of what is transformed.
    """

    levels: NDArray[np.intp]  # which of the axis's levels
    n: int  # length of the transform; 0: the matrix
    at: NDArray[np.intp]  # (level,) where in the result each is
    matrix: NDArray[np.complex64] | None  # (level, index)

    def apply(self, array: NDArray[np.complex64], axis: int, size: int) -> NDArray[np.complex64]:
        """The same array with this axis turned from its first `size` indices to what `at` tells; axis 1, 2 or last.

        A fast transform is done in place, in an array that has room for n along the axis; zeros lie beyond `size`.
        """
        head = (slice(None),) * axis
        if self.matrix is not None:
            array = array[(*head, slice(0, size))]
            if axis == array.ndim - 1:
                return np.matmul(array, self.matrix.T)
            if axis == array.ndim - 2:
                return np.matmul(self.matrix, array)
            flat = array.reshape(array.shape[0], array.shape[1], -1)
            return np.matmul(self.matrix, flat).reshape(array.shape[0], -1, *array.shape[2:])
        for lo in range(self.n, size, self.n):  # the object is longer than the field of view: it folds
            hi = min(lo + self.n, size)
            array[(*head, slice(0, hi - lo))] += array[(*head, slice(lo, hi))]
        return scipy.fft.fft(array[(*head, slice(0, self.n))], axis=axis, workers=-1, overwrite_x=True)


def transforms(turns: Float, size: int, *, together: bool = False) -> tuple[float, list[Transform]]:
    """The base and the transforms that bring `size` indices to these levels, in turns per index; one if `together`."""
    every = np.arange(len(turns))
    base = float(turns.mean()) if len(turns) else 0.0
    whole = [Transform(every, 0, every, _matrix(turns - base, size))]
    if len(turns) < FEW or size < FEW:
        return base, whole
    order = np.argsort(turns)
    step = float(np.median(np.diff(turns[order])))
    if step <= 0:
        return base, whole
    n = round(1 / step)
    if not size / 4 <= n <= 4 * size:
        return base, whole
    first = turns[order[len(turns) // 2]]
    place = (turns - first) * n
    on_grid = np.abs(place - np.round(place)) * size / n <= 10 * PHASE_TOLERANCE
    if np.count_nonzero(on_grid) < (1 if together else 0.6) * len(turns):
        return base, whole
    base = float(first - round(first * n) / n)
    found = []
    if not on_grid.all():
        left = every[~on_grid]
        found.append(Transform(left, 0, np.arange(len(left)), _matrix(turns[left] - base, size)))
    # last, since it is done in place
    found.append(Transform(every[on_grid], n, np.round((turns[on_grid] - base) * n).astype(np.intp) % n, None))
    return base, found


def _matrix(turns: Float, size: int) -> NDArray[np.complex64]:
    return np.exp(-2j * np.pi * turns[:, None] * np.arange(size)[None, :]).astype(np.complex64)


def fineness(turns: Float) -> float:
    """Places per lattice step, enough to hear up to the largest of these turns per step between them."""
    wanted = max(2 * OVERSAMPLING * float(np.abs(turns).max()), 0.1)
    step = float(np.median(np.abs(np.diff(turns)))) if len(turns) > 1 else 0.0
    if step <= 0:
        return wanted
    n = scipy.fft.next_fast_len(math.ceil(wanted / step - 1e-6))
    return n * step


def alike(code: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of 64-bit values that are the same: one of each, and which each row is.

    Told by a 64-bit hash, which sorts faster than rows. Multiplying carries upwards only, so that the high bits, which may
    be all that differs in floating-point numbers, are folded down before.
    """
    bits = code.view(np.uint64)
    mix = np.random.default_rng(0x5EED).integers(2**63, size=bits.shape[1], dtype=np.uint64) | np.uint64(1)
    mixed = (bits ^ (bits >> np.uint64(32))) * mix
    mixed ^= mixed >> np.uint64(29)
    _, first, which = np.unique(mixed.sum(axis=1, dtype=np.uint64), return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def levels(values: Float, quantum: float) -> tuple[Float, NDArray[np.intp]]:
    """Distinct values up to `quantum`, and which each one is."""
    order = np.argsort(values, kind="stable")
    jump = np.concatenate(([True], np.diff(values[order]) > quantum))
    group = np.cumsum(jump) - 1
    index = np.empty(len(values), np.intp)
    index[order] = group
    sums = np.bincount(group, values[order])
    return sums / np.bincount(group), index


def patterns(lines: Float) -> list[NDArray] | None:
    """Rows that share one course along the readout; None where there are many different ones."""
    remaining = np.arange(len(lines))
    found = []
    while len(remaining):
        same = np.abs(lines[remaining] - lines[remaining[0]]).max(axis=1) < PHASE_TOLERANCE
        found.append(remaining[same])
        remaining = remaining[~same]
        if len(found) > 16:
            return None
    return found


@numba.njit(cache=True)
def spreading(place, start, taps):
    """Kernel weights of points between lattice places: start (n,) first place, taps (n, WIDTH)."""
    for v in range(len(place)):
        first = math.ceil(place[v] - WIDTH / 2)
        start[v] = first
        for i in range(WIDTH):
            x = (first + i - place[v]) / (WIDTH / 2)
            taps[v, i] = math.exp(SHARPNESS * (math.sqrt(max(0.0, 1 - x * x)) - 1))


def spread_spectrum(turns: Float) -> Float:
    """What spreading multiplies k-space by, at k in turns per lattice step."""
    x, w = np.polynomial.legendre.leggauss(40)
    kernel = np.exp(SHARPNESS * (np.sqrt(1 - x**2) - 1)) * w * WIDTH / 2
    return np.cos(2 * np.pi * np.abs(turns)[:, None] * x[None, :] * WIDTH / 2) @ kernel
