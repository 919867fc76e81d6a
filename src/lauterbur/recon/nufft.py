"""Non-uniform Fourier transforms (finufft, Barnett et al. 2019, SIAM J Sci Comput 41:C479), and the density of samples.

`Nufft` is an operator with an adjoint: image (z, y, x) or (y, x) to samples at any k, both orthonormal in the sense of fft.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import finufft
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.complexfloating[Any, Any]]
ACCURACY = 1e-5  # relative; complex64 itself holds 1e-7


@dataclass(frozen=True)
class Nufft:
    points: NDArray[np.float64]  # (sample, dimension): k times voxel size, in turns, axes in the order of the image
    shape: tuple[int, ...]  # of the image
    accuracy: float = ACCURACY

    def _coordinates(self) -> list[NDArray[np.float32]]:
        return [np.ascontiguousarray(2 * np.pi * p, np.float32) for p in self.points.T]

    def forward(self, image: Array) -> NDArray[np.complex64]:
        """(..., *shape) -> (..., sample): sum over voxels of M exp(-2 pi i k.r) / sqrt(n)."""
        transform = (finufft.nufft1d2, finufft.nufft2d2, finufft.nufft3d2)[len(self.shape) - 1]
        lead = image.shape[: image.ndim - len(self.shape)]
        batch = np.ascontiguousarray(image, np.complex64).reshape(-1, *self.shape)
        out = transform(*self._coordinates(), batch, eps=self.accuracy, isign=-1)
        return (out / np.sqrt(np.prod(self.shape))).astype(np.complex64).reshape(*lead, len(self.points))

    def adjoint(self, samples: Array) -> NDArray[np.complex64]:
        """(..., sample) -> (..., *shape): sum over samples of s exp(+2 pi i k.r) / sqrt(n)."""
        transform = (finufft.nufft1d1, finufft.nufft2d1, finufft.nufft3d1)[len(self.shape) - 1]
        lead = samples.shape[:-1]
        batch = np.ascontiguousarray(samples, np.complex64).reshape(-1, len(self.points))
        out = transform(*self._coordinates(), batch, self.shape, eps=self.accuracy, isign=1)
        return (out / np.sqrt(np.prod(self.shape))).astype(np.complex64).reshape(*lead, *self.shape)


def density_weights(operator: Nufft, iterations: int = 15) -> NDArray[np.float32]:
    """(sample,) weights that flatten the sampling density, w <- w / (C w) (Pipe and Menon 1999, MRM 41:179).

    C convolves with a kernel whose transform is a triangle that ends where the field of view repeats (2D) or half way there
    (3D, to save memory). Weights are 1 for full Cartesian sampling.
    """
    reach = 2 if len(operator.shape) < 3 else 1
    wide = Nufft(operator.points, tuple(reach * n for n in operator.shape))
    window = np.ones((1,) * len(wide.shape), np.float32)
    for axis, n in enumerate(wide.shape):
        triangle = np.maximum(0, 1 - np.abs(np.arange(n) - n // 2) / (n / 2)).astype(np.float32)
        window = window * triangle.reshape([-1 if a == axis else 1 for a in range(len(wide.shape))])
    scale = float(reach ** len(wide.shape))
    weights = np.ones(len(operator.points), np.float32)
    for _ in range(iterations):
        convolved = np.abs(wide.forward(window * wide.adjoint(weights.astype(np.complex64)))) * scale
        weights = (weights / np.maximum(convolved, 1e-6 * convolved.max())).astype(np.float32)
    return weights
