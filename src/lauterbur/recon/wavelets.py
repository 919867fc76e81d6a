"""Orthogonal wavelets, and the prior that images are sparse in them: transform, threshold and back, each time shifted.

`Wavelet((1, 2))` works on those axes of an image, all others are planes of their own. A new shift in every iteration takes the
place of a redundant transform (shifts.py). Boundaries are periodic; a point left over by an odd
length passes to the next level, so that every length has an orthogonal transform.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.shifts import Shifts

Array = NDArray[np.complexfloating[Any, Any]]
FAMILIES = {"haar": 1, "db2": 2, "db3": 3, "db4": 4}  # name -> vanishing moments; 2 taps for each
COARSEST = 12  # points along an axis below which it is not divided further


@lru_cache(maxsize=8)
def daubechies(n: int) -> NDArray[np.float32]:
    """The 2 n taps of the orthonormal scaling filter with n vanishing moments (Daubechies 1988, Comm Pure Appl Math 41:909)."""
    polynomial = [comb(n - 1 + k, k) for k in range(n)][::-1]  # in y = sin^2(w/2)
    inside = []
    for y in np.roots(polynomial):
        z = np.roots([1, 4 * y - 2, 1])
        inside.append(z[np.argmin(np.abs(z))])
    taps = np.real(np.poly([-1] * n + inside))
    taps = (taps * np.sqrt(2) / taps.sum()).astype(np.float32)
    taps.flags.writeable = False
    return taps


@njit(cache=True, nogil=True, fastmath=True)
def _along_rows(source, target, taps, rows, length, is_inverse):  # type: ignore[no-untyped-def]
    """The last axis: (row, complex as two floats), the first `length` points of the rows [rows[0], rows[1])."""
    half, n_s = length // 2, len(taps) // 2
    even, odd = np.empty(2 * (half + n_s), np.float32), np.empty(2 * (half + n_s), np.float32)
    for row in range(rows[0], rows[1]):
        line, out = source[row], target[row]
        rest = length - 2 * half
        if not is_inverse:
            for k in range(half):
                even[2 * k], even[2 * k + 1] = line[4 * k], line[4 * k + 1]
                odd[2 * k], odd[2 * k + 1] = line[4 * k + 2], line[4 * k + 3]
            for k in range(2 * n_s):
                even[2 * half + k], odd[2 * half + k] = even[k % (2 * half)], odd[k % (2 * half)]
            low, high = out[: 2 * half], out[2 * (half + rest) : 2 * length]
            low[:] = 0
            high[:] = 0
            for s in range(n_s):
                h_e, h_o = taps[2 * s], taps[2 * s + 1]
                g_e, g_o = taps[2 * n_s - 1 - 2 * s], -taps[2 * n_s - 2 - 2 * s]
                for k in range(2 * half):
                    a, b = even[k + 2 * s], odd[k + 2 * s]
                    low[k] += h_e * a + h_o * b
                    high[k] += g_e * a + g_o * b
            if rest:
                out[2 * half], out[2 * half + 1] = line[2 * length - 2], line[2 * length - 1]
        else:
            low, high = even, odd  # with what wraps around in front
            for k in range(2 * half):
                low[2 * n_s + k], high[2 * n_s + k] = line[k], line[2 * (half + rest) + k]
            for k in range(2 * n_s):
                at = (2 * half * n_s + k - 2 * n_s) % (2 * half)
                low[k], high[k] = line[at], line[2 * (half + rest) + at]
            out[: 4 * half] = 0
            for s in range(n_s):
                h_e, h_o = taps[2 * s], taps[2 * s + 1]
                g_e, g_o = taps[2 * n_s - 1 - 2 * s], -taps[2 * n_s - 2 - 2 * s]
                start = 2 * (n_s - s)
                for k in range(half):
                    a, b, c, d = (
                        low[start + 2 * k],
                        low[start + 2 * k + 1],
                        high[start + 2 * k],
                        high[start + 2 * k + 1],
                    )
                    out[4 * k] += h_e * a + g_e * c
                    out[4 * k + 1] += h_e * b + g_e * d
                    out[4 * k + 2] += h_o * a + g_o * c
                    out[4 * k + 3] += h_o * b + g_o * d
            if rest:
                out[2 * length - 2], out[2 * length - 1] = line[2 * half], line[2 * half + 1]


@njit(cache=True, nogil=True, fastmath=True)
def _across_rows(source, target, taps, length, width, is_inverse):  # type: ignore[no-untyped-def]
    """The first axis of (row, float): the first `length` rows, `width` floats of each."""
    half, n_taps = length // 2, len(taps)
    rest = length - 2 * half
    if not is_inverse:
        for k in range(half):
            low, high = target[k], target[half + rest + k]
            low[:width] = 0
            high[:width] = 0
            for t in range(0, n_taps, 2):
                first, second = source[(2 * k + t) % (2 * half)], source[(2 * k + t + 1) % (2 * half)]
                h_e, h_o, g_e, g_o = taps[t], taps[t + 1], taps[n_taps - 1 - t], -taps[n_taps - 2 - t]
                for j in range(width):
                    low[j] += h_e * first[j] + h_o * second[j]
                    high[j] += g_e * first[j] + g_o * second[j]
        if rest:
            target[half, :width] = source[length - 1, :width]
    else:
        for k in range(half):
            even, odd = target[2 * k], target[2 * k + 1]
            even[:width] = 0
            odd[:width] = 0
            for t in range(0, n_taps, 2):
                at = (k - t // 2) % half
                low, high = source[at], source[half + rest + at]
                h_e, h_o, g_e, g_o = taps[t], taps[t + 1], taps[n_taps - 1 - t], -taps[n_taps - 2 - t]
                for j in range(width):
                    even[j] += h_e * low[j] + g_e * high[j]
                    odd[j] += h_o * low[j] + g_o * high[j]
        if rest:
            target[length - 1, :width] = source[half, :width]


@njit(cache=True, nogil=True)
def _step(source, target, taps, extent, axis, is_inverse):  # type: ignore[no-untyped-def]
    """One level along one axis of (a, b, 2c) floats within `extent` (a, b, c); source and target differ."""
    a, b, c = extent
    if axis == 2:
        for i in range(a):
            _along_rows(source[i], target[i], taps, (0, b), c, is_inverse)
    elif axis == 1:
        for i in range(a):
            _across_rows(source[i], target[i], taps, b, 2 * c, is_inverse)
    else:
        for j in range(b):
            _across_rows(source[:, j], target[:, j], taps, a, 2 * c, is_inverse)


@njit(cache=True, nogil=True, fastmath=True)
def _shrink(values, low, threshold):  # type: ignore[no-untyped-def]
    """Soft threshold of the complex (a, b, 2c) floats outside the corner `low` (a, b, c) of the coarsest averages."""
    least = threshold * threshold
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            row = values[i, j]
            start = low[2] if i < low[0] and j < low[1] else 0
            for k in range(start, len(row) // 2):
                power = row[2 * k] * row[2 * k] + row[2 * k + 1] * row[2 * k + 1]
                gain = np.float32(1) - threshold / np.sqrt(max(power, np.float32(1e-37)))
                gain = gain if power > least else np.float32(0)
                row[2 * k] *= gain
                row[2 * k + 1] *= gain


def _extents(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[tuple[int, int, int], tuple[int, ...]]]:
    """Extent before each level, and the axes divided in it."""
    extent = list(shape)
    found: list[tuple[tuple[int, int, int], tuple[int, ...]]] = []
    while True:
        divided = tuple(axis for axis in axes if extent[axis] >= COARSEST)
        if not divided:
            return found
        found.append(((extent[0], extent[1], extent[2]), divided))
        for axis in divided:
            extent[axis] = -(-extent[axis] // 2)


def _transform(volume: NDArray[np.float32], other: NDArray[np.float32], taps: Any, levels: Any) -> Any:
    """Coefficients of (a, b, 2c); both arrays are used up. Returns the one that holds them, and the other."""
    for extent, divided in levels:
        for axis in divided:
            _step(volume, other, taps, extent, axis, False)
            volume, other = _kept(volume, other, extent)
    return volume, other


def _kept(old: NDArray[np.float32], new: NDArray[np.float32], extent: tuple[int, int, int]) -> Any:
    """After a step into `new`, what lies beyond `extent` is still in `old`: put the step back into it unless that was all."""
    a, b, c = extent
    if new.shape == (a, b, 2 * c):
        return new, old
    old[:a, :b, : 2 * c] = new[:a, :b, : 2 * c]
    return old, new


def _inverse(volume: NDArray[np.float32], other: NDArray[np.float32], taps: Any, levels: Any) -> Any:
    for extent, divided in reversed(levels):
        for axis in reversed(divided):
            _step(volume, other, taps, extent, axis, True)
            volume, other = _kept(volume, other, extent)
    return volume, other


@dataclass(frozen=True)
class Wavelet:
    """Soft threshold of the wavelet coefficients over one to three `axes` of the image, each time from another place."""

    axes: tuple[int, ...]
    family: str = "db4"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError(f"wavelet {self.family!r} is not known; choose one of {', '.join(FAMILIES)}")
        if not 1 <= len(self.axes) <= 3:
            raise InputError(f"a wavelet over {len(self.axes)} axes; one to three are possible")

    def _planes(self, image: Array) -> tuple[NDArray[np.complex64], tuple[int, ...]]:
        """(plane, a, b, c) view or copy, and the order of axes it has."""
        axes = tuple(a % image.ndim for a in self.axes)
        order = tuple(a for a in range(image.ndim) if a not in axes) + axes
        moved = image.transpose(order)
        lead, inner = moved.shape[: image.ndim - len(axes)], moved.shape[image.ndim - len(axes) :]
        full = (*[1] * (3 - len(inner)), *inner)
        return np.asarray(moved.reshape(int(np.prod(lead)), *full), np.complex64), order

    def _levels(self, shape: tuple[int, ...]) -> Any:
        return _extents(shape, tuple(range(3 - len(self.axes), 3)))

    def _back(self, planes: NDArray[np.complex64], order: tuple[int, ...], like: Array) -> Array:
        return planes.reshape([like.shape[a] for a in order]).transpose(np.argsort(order))

    def coefficients(self, image: Array) -> Array:
        """The orthonormal transform, unshifted, of the same shape; coarsest averages in the corner at index 0."""
        return self._each_plane(_transform, image)

    def image(self, coefficients: Array) -> Array:
        return self._each_plane(_inverse, coefficients)

    def _each_plane(self, kernel: Any, values: Array) -> Array:
        planes, order = self._planes(values)
        taps, out = daubechies(FAMILIES[self.family]), np.empty_like(planes)
        for i, plane in enumerate(planes):
            first = np.array(plane, np.complex64).view(np.float32)
            out[i] = kernel(first, np.empty_like(first), taps, self._levels(plane.shape))[0].view(np.complex64)
        return self._back(out, order, values)

    def prox(self, image: Array, threshold: float, shifts: Shifts) -> Array:
        planes, order = self._planes(image)
        taps, levels = daubechies(FAMILIES[self.family]), self._levels(planes.shape[1:])
        shift = shifts.next([2 ** len(levels) if n > 1 else 1 for n in planes.shape[1:]])
        low = list(planes.shape[1:])
        for _, divided in levels:
            for axis in divided:
                low[axis] = -(-low[axis] // 2)
        out = np.empty_like(planes)

        def work(i: int) -> None:
            first = _rolled(planes[i], shift).view(np.float32)
            values, spare = _transform(first, np.empty_like(first), taps, levels)
            _shrink(values, (low[0], low[1], low[2]), np.float32(threshold))
            out[i] = _rolled(_inverse(values, spare, taps, levels)[0].view(np.complex64), [-s for s in shift])

        if len(planes) == 1:
            work(0)
        else:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(work, range(len(planes)), chunksize=4))
        return self._back(out, order, image)


def _rolled(plane: NDArray[np.complex64], shift: list[int]) -> NDArray[np.complex64]:
    """A contiguous copy, moved round by `shift`."""
    return np.ascontiguousarray(np.roll(plane, shift, (0, 1, 2)))
