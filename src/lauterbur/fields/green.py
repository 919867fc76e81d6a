"""What currents on the faces of a grid radiate: convolution with one scalar Green kernel, by FFT.

The kernel is the Green function of the grid itself, (div grad + k^2) g = -delta / h^3 with differences for derivatives,
so that discrete fields keep the laws of continuous ones: div D = 0, power in equals power out. With exp(-i omega t):

    scattered E = (k^2 + grad div) (g * P) / eps0,     P = polarisation, component x, y, z on upper x, y, z faces
    B           = curl mu0 (g * J) at the voxels' centres (each curl, on the edges, averaged over the four around a centre)

g = exp(i k R) / R / 4 pi, and near zero the correction of the static lattice: exact sums of Bessel functions (Joyce,
J Phys A 1973, 6:L65) within NEAR nodes, beyond them the first term of its expansion. In the FFT the derivatives are
factors, so that single precision does not lose digits to differences. Each axis is padded only when its turn comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import fft, special

from lauterbur.units import MU_0

NEAR = 12  # nodes
FAR = 1e6
WORKERS = 2
CHUNK = 2**21  # complex numbers of one component that are transformed along the last axis at a time


@dataclass(frozen=True, eq=False)
class Green:
    shape: tuple[int, int, int]  # z, y, x of the grid
    padded: tuple[int, int, int]  # of the transform
    step: float  # m
    wavenumber: float  # 1/m, in vacuum
    spectrum: NDArray[np.complex64]  # m2, (z, y, x) of h^3 g, frequencies from 0 to half the padded size: g is even


def green(shape: tuple[int, ...], step: float, wavenumber: float) -> Green:
    padded = padded_shape(shape)
    kernel = lattice_kernel([n // 2 + 1 for n in padded], wavenumber * step) * step**2
    spectrum = fft.dctn(kernel.real, type=1, workers=WORKERS) + 1j * fft.dctn(kernel.imag, type=1, workers=WORKERS)
    z, y, x = shape
    return Green((z, y, x), padded, step, wavenumber, spectrum.astype(np.complex64))


def padded_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = (2 * fft.next_fast_len(n) for n in shape)
    return z, y, x


def lattice_kernel(shape: list[int], kh: float) -> NDArray[np.complex128]:
    """h g at nodes (z, y, x) from 0 to shape - 1 along each axis, for k h well below 1."""
    square = [np.arange(n, dtype=float) ** 2 for n in shape]
    r2 = square[0][:, None, None] + square[1][:, None] + square[2]
    r4 = (square[0] ** 2)[:, None, None] + (square[1] ** 2)[:, None] + square[2] ** 2
    r2[0, 0, 0] = 1
    r = np.sqrt(r2)
    static = (1 + (5 * r4 / r2**2 - 3) / (8 * r2)) / (4 * np.pi * r)
    near = tuple(slice(min(n, NEAR)) for n in shape)
    static[near] = _static_lattice(NEAR)[near]
    r[0, 0, 0] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel = static + (np.exp(1j * kh * r) - 1) / (4 * np.pi * r)
    kernel[0, 0, 0] = static[0, 0, 0] + 1j * kh / (4 * np.pi)
    return kernel


def _static_lattice(n: int) -> NDArray[np.float64]:
    """integral from 0 to infinity of prod exp(-2 t) I_n(2 t) dt: the static lattice's Green function, (n, n, n)."""
    node, weight = np.polynomial.legendre.leggauss(400)
    u = (node + 1) / 2  # t = (u / (1 - u))^2
    t = (u / (1 - u)) ** 2
    weight = weight * u / (1 - u) ** 3
    order = np.arange(n)[:, None]
    bessel = special.ive(order, np.minimum(2 * t, FAR))  # beyond FAR its asymptote, Abramowitz and Stegun 9.7.1
    bessel = np.where(2 * t < FAR, bessel, (1 - (4 * order**2 - 1) / (16 * t)) / np.sqrt(4 * np.pi * t))
    return np.einsum("at,bt,ct,t->abc", bessel, bessel, bessel, weight, optimize=True)


def scattered(grid: Green, polarisation: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """E / (P / eps0), (3, z, y, x): (k^2 + grad div) g * P on the faces."""
    return _convolved(grid, polarisation, 0)


def magnetic(grid: Green, current: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """T, (3, z, y, x), at voxel centres, of J in A/m2 on the faces."""
    return _convolved(grid, current, 1) * np.complex64(MU_0)


def _convolved(grid: Green, source: NDArray[np.complex64], kind: int) -> NDArray[np.complex64]:
    (nz, ny, nx), (mz, my, mx) = grid.shape, grid.padded
    half = fft.fft(source, n=mx, axis=3, workers=WORKERS)
    half = fft.fft(half, n=my, axis=2, workers=WORKERS, overwrite_x=True)
    sz, sy, sx = ((np.exp(2j * np.pi * np.arange(m) / m)).astype(np.complex64) for m in (mz, my, mx))
    chunk = max(1, CHUNK // (mz * mx))
    for first in range(0, my, chunk):
        last = min(first + chunk, my)
        slab = fft.fft(half[:, :, first:last], n=mz, axis=1, workers=WORKERS)
        if kind == 0:
            _electric_(slab, grid.spectrum, sz, sy, sx, first, grid.wavenumber**2, 1 / grid.step)
        else:
            _magnetic_(slab, grid.spectrum, sz, sy, sx, first, 1 / grid.step)
        half[:, :, first:last] = fft.ifft(slab, axis=1, workers=WORKERS, overwrite_x=True)[:, :nz]
    half = fft.ifft(half, axis=2, workers=WORKERS, overwrite_x=True)[:, :, :ny]
    return fft.ifft(half, axis=3, workers=WORKERS)[..., :nx]


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _electric_(slab, spectrum, sz, sy, sx, first, k2, inverse):  # type: ignore[no-untyped-def]
    """(k^2 + grad div) g in the transform: d = (s - 1) / h the forward difference, -conj(d) the backward one."""
    _, mz, ny, mx = slab.shape
    my = len(sy)
    one, k2, inverse = np.complex64(1), np.float32(k2), np.float32(inverse)
    for i in prange(mz):
        z = np.int64(i)
        g_z = min(z, mz - z)
        d_z = (sz[z] - one) * inverse
        for j in range(ny):
            y = first + j
            g_y = min(y, my - y)
            d_y = (sy[y] - one) * inverse
            for x in range(mx):
                g = spectrum[g_z, g_y, min(x, mx - x)]
                d_x = (sx[x] - one) * inverse
                p_x, p_y, p_z = slab[0, z, j, x], slab[1, z, j, x], slab[2, z, j, x]
                div = np.conj(d_x) * p_x + np.conj(d_y) * p_y + np.conj(d_z) * p_z
                slab[0, z, j, x] = g * (k2 * p_x - d_x * div)
                slab[1, z, j, x] = g * (k2 * p_y - d_y * div)
                slab[2, z, j, x] = g * (k2 * p_z - d_z * div)


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _magnetic_(slab, spectrum, sz, sy, sx, first, inverse):  # type: ignore[no-untyped-def]
    """curl g in the transform, moved from the edges to the voxels' centres by means over two neighbours."""
    _, mz, ny, mx = slab.shape
    my = len(sy)
    one, half, inverse = np.complex64(1), np.float32(0.5), np.float32(inverse)
    for i in prange(mz):
        z = np.int64(i)
        g_z = min(z, mz - z)
        d_z, m_z = (sz[z] - one) * inverse, (one + np.conj(sz[z])) * half
        for j in range(ny):
            y = first + j
            g_y = min(y, my - y)
            d_y, m_y = (sy[y] - one) * inverse, (one + np.conj(sy[y])) * half
            for x in range(mx):
                g = spectrum[g_z, g_y, min(x, mx - x)]
                d_x, m_x = (sx[x] - one) * inverse, (one + np.conj(sx[x])) * half
                p_x, p_y, p_z = slab[0, z, j, x], slab[1, z, j, x], slab[2, z, j, x]
                slab[0, z, j, x] = g * m_y * m_z * (d_y * p_z - d_z * p_y)
                slab[1, z, j, x] = g * m_z * m_x * (d_z * p_x - d_x * p_z)
                slab[2, z, j, x] = g * m_x * m_y * (d_x * p_y - d_y * p_x)
