"""The one door for Fourier transforms: centred, orthonormal, complex64, with the fastest library present.

Index n//2 of either side is zero. `ifft` takes k-space to the image, exp(+2 pi i k r), and `fft` back. Centring costs
two multiplications by a ramp (signs for even lengths) instead of four copies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

try:
    import mkl_fft
except ImportError:  # an extra; scipy's pocketfft is always there
    mkl_fft = None

LIBRARY = "scipy" if mkl_fft is None else "mkl_fft"
Array = NDArray[np.complexfloating[Any, Any]]


@lru_cache(maxsize=64)
def ramp(n: int, inverse: bool) -> NDArray[Any]:
    """exp(-+2 pi i c j / n) with c = n//2: what moves index 0 to index c on the other side."""
    if n % 2 == 0:
        ramp: NDArray[Any] = np.where(np.arange(n) % 2, -1, 1).astype(np.float32)
    else:
        ramp = np.exp((-2j if inverse else 2j) * np.pi * (n // 2) * np.arange(n) / n).astype(np.complex64)
    ramp.flags.writeable = False
    return ramp


def _constant(n: int, inverse: bool) -> complex:
    """exp(+-2 pi i c c / n), what two ramps about c = n//2 leave over."""
    if n % 2 == 0:
        return 1.0 if n % 4 == 0 else -1.0
    return complex(np.exp((2j if inverse else -2j) * np.pi * (n // 2) ** 2 / n))


def plain(x: Array, axes: Sequence[int], inverse: bool, *, workers: int = 1) -> Array:
    """Orthonormal, index 0 is zero on both sides; x may be overwritten. For those who fold the centring into their own factors."""
    if mkl_fft is not None:
        # its norm="ortho" takes the size of the whole batch for that of the axes (2.3), so the scale is ours
        scale = np.sqrt(np.prod([x.shape[axis] for axis in axes])) ** (1 if inverse else -1)
        out = np.asarray((mkl_fft.ifftn if inverse else mkl_fft.fftn)(x, axes=tuple(axes)))
        out *= out.real.dtype.type(scale)
        return out
    transform = scipy.fft.ifftn if inverse else scipy.fft.fftn
    return transform(x, axes=axes, norm="ortho", overwrite_x=True, workers=workers)


def _centred(x: Array, axes: int | Sequence[int], inverse: bool) -> Array:
    axes = [axes] if isinstance(axes, int) else list(axes)
    x = np.array(x, dtype=np.complex128 if x.dtype == np.complex128 else np.complex64)
    axes = [a % x.ndim for a in axes if x.shape[a] > 1]
    if not axes or not x.size:
        return x
    ramps = []
    constant = 1.0 + 0.0j
    for axis in axes:
        n = x.shape[axis]
        ramps.append(ramp(n, inverse).reshape([n if a == axis else 1 for a in range(x.ndim)]))
        constant *= _constant(n, inverse)
    for one in ramps:
        x *= one
    x = plain(x, axes, inverse, workers=os.cpu_count() or 1)
    for i, one in enumerate(ramps):
        x *= one * np.complex64(constant) if i == 0 and constant != 1 else one
    return x


def fft(x: Array, axes: int | Sequence[int]) -> Array:
    """Image to k-space: X[m] = sum_j x[j] exp(-2 pi i (m - c)(j - c) / n) / sqrt(n), c = n//2."""
    return _centred(x, axes, inverse=False)


def ifft(x: Array, axes: int | Sequence[int]) -> Array:
    """k-space to image: x[j] = sum_m X[m] exp(+2 pi i (m - c)(j - c) / n) / sqrt(n), c = n//2."""
    return _centred(x, axes, inverse=True)


def resized(x: NDArray[Any], n: int, axis: int) -> NDArray[Any]:
    """Cropped or zero-filled about the centre to n points along one axis: index n//2 stays the centre."""
    have = x.shape[axis]
    if have == n:
        return x
    x = np.moveaxis(x, axis, -1)
    start = have // 2 - n // 2
    if n < have:
        x = x[..., start : start + n]
    else:
        full = np.zeros((*x.shape[:-1], n), x.dtype)
        full[..., -start : -start + have] = x
        x = full
    return np.moveaxis(x, -1, axis)
