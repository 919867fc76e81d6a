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
SHARPNESS = (
    2.3 * WIDTH
)  # exp(SHARPNESS (sqrt(1 - x^2) - 1)): Barnett, Magland, af Klinteberg, SIAM J Sci Comput 41 (2019) C479


@dataclass(frozen=True, eq=False)
class Transform:
    """One axis: index to k. A fast Fourier transform where the k lie on a grid that fits, else a matrix product."""

    matrix: NDArray[np.complex64]  # (k, index)
    n: int = 0  # length of the transform; 0: use the matrix
    bins: NDArray[np.intp] | None = None  # (k,)
    before: NDArray[np.complex64] | None = None  # (index,) phase that brings the first k to bin 0
    after: NDArray[np.complex64] | None = None  # (k,) boxes and the origin's phase

    @staticmethod
    def of(matrix: NDArray[np.complex64], turns: Float) -> Transform:
        size = matrix.shape[1]
        if len(turns) < 24 or size < 24:
            return Transform(matrix)
        base = turns.min()
        away = np.sort(turns - base)
        steps = np.diff(away)
        step = steps[steps > 1e-9].min(initial=np.inf)
        if not np.isfinite(step) or step <= 0:
            return Transform(matrix)
        n = round(1 / step)
        if not size / 4 <= n <= 4 * size:
            return Transform(matrix)
        place = (turns - base) * n
        if np.abs(place - np.round(place)).max() * size / n > 10 * PHASE_TOLERANCE:
            return Transform(matrix)
        before = np.exp(-2j * np.pi * base * np.arange(size))
        bins = np.round(place).astype(np.intp)
        return Transform(matrix, n, bins % n, before.astype(np.complex64), matrix[:, 0].copy())

    def apply(self, array: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
        """The same array with this axis turned from index to k; the axis may be 1, 2 or last."""
        last = axis == array.ndim - 1
        if not self.n:
            if last:
                return np.matmul(array, self.matrix.T)
            if axis == array.ndim - 2:
                return np.matmul(self.matrix, array)
            flat = array.reshape(array.shape[0], array.shape[1], -1)
            return np.matmul(self.matrix, flat).reshape(array.shape[0], -1, *array.shape[2:])
        assert self.before is not None and self.after is not None and self.bins is not None
        along = (-1,) + (1,) * (array.ndim - 1 - axis)
        turned = array * self.before.reshape(along)
        size = array.shape[axis]
        if size > self.n:  # the object is longer than the field of view: it folds
            shape = list(turned.shape)
            shape[axis] = -(-size // self.n) * self.n
            padded = np.zeros(shape, np.complex64)
            padded[(slice(None),) * axis + (slice(0, size),)] = turned
            turned = padded.reshape(*shape[:axis], -1, self.n, *shape[axis + 1 :]).sum(axis=axis)
        out = scipy.fft.fft(turned, self.n, axis=axis, workers=-1, overwrite_x=True)
        if not np.array_equal(self.bins, np.arange(self.n)):
            out = np.take(out, self.bins, axis=axis)
        out *= self.after.reshape(along)
        return out


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
