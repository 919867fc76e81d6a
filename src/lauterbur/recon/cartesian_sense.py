"""SENSE on a Cartesian mask, fast: shifts folded into the maps, a few receivers at a time in cache, no needless transforms.

`CartesianSense` is an operator as in operators.py. Its normal operator skips axes along which the mask does not change, since
there the transform undoes itself (the readout of any Cartesian scan), and needs no centring: ramps cancel or are in the maps.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.fft import fft, ifft, plain, ramp

Array = NDArray[np.complexfloating[Any, Any]]
CACHE = 2**19  # bytes of receivers' images that are worked on at once, of each thread


@njit(cache=True, nogil=True, fastmath=True)
def _seen(maps, image, out):  # type: ignore[no-untyped-def]
    """out (rx, n) = sum over sets of maps (set, rx, n) image (set, n)."""
    n_sets, n_rx, n = maps.shape
    for c in range(n_rx):
        for i in range(n):
            a, b = maps[0, c, i], image[0, i]
            out[c, i] = complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)
        for s in range(1, n_sets):
            for i in range(n):
                out[c, i] += maps[s, c, i] * image[s, i]


@njit(cache=True, nogil=True, fastmath=True)
def _combined(maps, seen, out):  # type: ignore[no-untyped-def]
    """out (set, n) += sum over receivers of conj(maps) (set, rx, n) seen (rx, n)."""
    n_sets, n_rx, n = maps.shape
    for s in range(n_sets):
        for c in range(n_rx):
            for i in range(n):
                a, b = maps[s, c, i], seen[c, i]
                out[s, i] += complex(a.real * b.real + a.imag * b.imag, a.real * b.imag - a.imag * b.real)


@njit(cache=True, nogil=True, fastmath=True)
def _masked(values, mask):  # type: ignore[no-untyped-def]
    for c in range(values.shape[0]):
        for i in range(values.shape[1]):
            values[c, i] *= mask[i]


@dataclass(frozen=True)
class CartesianSense:
    """Images (plane, set, a, b) to centred k-space (plane, rx, a, b) under one mask (a, b) of any pattern."""

    maps: NDArray[np.complex64]  # (plane, set, rx, a, b), orthonormal over rx
    mask: NDArray[np.bool_]  # (a, b)
    workers: int = os.cpu_count() or 1  # threads of the normal operator
    axes: tuple[int, ...] = field(init=False)  # of (a, b), that the normal operator must transform
    _turned: NDArray[np.complex64] = field(init=False, repr=False)  # maps times ramps

    def __post_init__(self) -> None:
        if self.maps.ndim != 5 or self.maps.shape[3:] != self.mask.shape:
            raise InputError(
                f"maps of shape {self.maps.shape} and a mask of shape {self.mask.shape}; (plane, set, rx, a, b) and the same (a, b) "
                "are expected"
            )
        axes = tuple(
            axis
            for axis in (0, 1)
            if self.mask.shape[axis] > 1 and np.any(self.mask != np.take(self.mask, [0], axis=axis))
        )
        turned = self.maps
        for axis in axes:
            turned = turned * ramp(self.mask.shape[axis], False).reshape((-1, 1) if axis == 0 else (1, -1))
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "_turned", np.ascontiguousarray(turned, np.complex64))

    def forward(self, image: Array) -> Array:
        return fft(np.sum(self.maps * image[:, :, None], axis=1), (2, 3)) * self.mask.astype(np.float32)

    def adjoint(self, samples: Array) -> Array:
        return np.sum(self.maps.conj() * ifft(samples * self.mask.astype(np.float32), (2, 3))[:, None], axis=2)

    def normal(self, image: Array) -> Array:
        n_planes, n_sets, n_rx, n_a, n_b = self.maps.shape
        n = n_a * n_b
        most = max(1, CACHE // (8 * n))
        step = -(-n_rx // (-(-n_rx // most)))  # blocks of receivers of nearly the same size
        jobs = [(p, c, min(c + step, n_rx)) for p in range(n_planes) for c in range(0, n_rx, step)]
        n_workers = min(self.workers, len(jobs))
        mask = np.ascontiguousarray(self.mask, np.float32).ravel()
        flat = np.ascontiguousarray(image, np.complex64).reshape(n_planes, n_sets, n)
        share = -(-len(jobs) // n_workers)
        out = np.zeros((n_planes, n_sets, n), np.complex64)
        axes = tuple(axis + 1 for axis in self.axes)

        def work(w: int) -> tuple[int, NDArray[np.complex64]] | None:
            buffer = np.empty((step, n), np.complex64)
            mine = jobs[w * share : (w + 1) * share]
            split = mine[0][1] > 0 or mine[-1][2] < n_rx  # a plane is shared with another worker
            lost = np.zeros((mine[-1][0] - mine[0][0] + 1, n_sets, n), np.complex64) if split else None
            for p, first, last in mine:
                maps = self._turned[p, :, first:last].reshape(n_sets, last - first, n)
                seen = buffer[: last - first]
                _seen(maps, flat[p], seen)
                if axes:
                    k_space = plain(seen.reshape(-1, n_a, n_b), axes, False).reshape(-1, n)
                    _masked(k_space, mask)
                    seen = plain(k_space.reshape(-1, n_a, n_b), axes, True).reshape(-1, n)
                _combined(maps, seen, out[p] if lost is None else lost[p - mine[0][0]])
            return None if lost is None else (mine[0][0], lost)

        if n_workers == 1:
            found = [work(0)]
        else:
            with ThreadPoolExecutor(n_workers) as pool:
                found = list(pool.map(work, range(-(-len(jobs) // share))))
        for part in found:
            if part is not None:
                out[part[0] : part[0] + len(part[1])] += part[1]
        return out.reshape(image.shape)
