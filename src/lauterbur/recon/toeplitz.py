"""Normal operators of non-Cartesian sampling without gridding: a convolution on twice the grid (Fessler et al. 2005, IEEE TSP 53:3393).

A' W A of any trajectory is a convolution with a kernel that one adjoint transform of the weights gives; an FFT on twice the grid
applies it, a receiver at a time, exactly up to the accuracy of that transform.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lauterbur.recon.nufft import Nufft

Array = NDArray[np.complex64]


@dataclass(frozen=True)
class ToeplitzSense:
    """A' W A of receivers' maps (set, rx, *image) before a Nufft: image (set, *image) to the same."""

    maps: Array
    transfer: NDArray[np.float32]  # (*2 image), the kernel's spectrum in FFT order

    def normal(self, image: Array) -> Array:
        n_sets, n_rx = self.maps.shape[:2]
        n_workers = min(os.cpu_count() or 1, n_rx)

        def work(first: int) -> Array:
            total = np.zeros_like(image)
            for i in range(first, n_rx, n_workers):
                seen = self.maps[0, i] * image[0]
                for s in range(1, n_sets):
                    seen += self.maps[s, i] * image[s]
                convolved = self._convolved(seen)
                for s in range(n_sets):
                    total[s] += self.maps[s, i].conj() * convolved
            return total

        if n_workers == 1:
            return work(0)
        with ThreadPoolExecutor(n_workers) as pool:
            return np.asarray(sum(pool.map(work, range(n_workers))))

    def _convolved(self, seen: Array) -> Array:
        """Axis by axis, so that rows which only hold padding are never transformed."""
        spectrum = seen
        for axis in reversed(range(seen.ndim)):
            spectrum = scipy.fft.fft(spectrum, n=2 * seen.shape[axis], axis=axis)
        spectrum *= self.transfer
        for axis, n in enumerate(seen.shape):
            spectrum = scipy.fft.ifft(spectrum, axis=axis, overwrite_x=True)
            spectrum = spectrum[(slice(None),) * axis + (slice(0, n),)]
        return spectrum


def toeplitz_transfer(
    points: NDArray[np.float64], shape: tuple[int, ...], weights: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(*2 shape): the kernel's spectrum for a trajectory (sample, dimension) in turns per voxel, weights (sample,) of the data."""
    wide = tuple(2 * n for n in shape)
    ones = np.ones(len(points), np.complex64) if weights is None else weights.astype(np.complex64)
    # kernel(d) = sum_j w exp(2 pi i k d) / n for lags d in [-n, n); Nufft divides by sqrt(prod(wide)), ours is 1/prod(shape)
    lags = Nufft(points, wide).adjoint(ones) * (np.sqrt(np.prod(wide)) / np.prod(shape))
    return np.ascontiguousarray(scipy.fft.fftn(scipy.fft.ifftshift(lags)).real, np.float32)


def toeplitz_sense(
    points: NDArray[np.float64], maps: Array, weights: NDArray[np.float32] | None = None
) -> ToeplitzSense:
    """From the trajectory (sample, dimension) in turns per voxel, maps (set, rx, *image), weights (sample,) of the data."""
    return ToeplitzSense(np.ascontiguousarray(maps, np.complex64), toeplitz_transfer(points, maps.shape[2:], weights))
