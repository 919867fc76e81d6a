"""GRAPPA: missing lines as sums over their neighbours in all receivers (Griswold et al. 2002, MRM 47:1202), with its g-factor.

Weights come from the fully sampled centre. In the image they are a product, so that one small matrix per voxel takes the aliased
images of the receivers to the combined image, and the noise of that product is the g-factor (Breuer et al. 2009, MRM 62:739).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.coils import CoarseMaps
from lauterbur.recon.encoded import slab_of_maps
from lauterbur.recon.fft import ifft, resized
from lauterbur.recon.layout import Layout
from lauterbur.recon.readout import WORKERS, Hybrid
from lauterbur.recon.sampling import Sampling

SOURCES = 4  # lattice lines along an undersampled axis that a missing line is made of; 3 along an axis that is full
SAMPLES = 5  # along the readout
RIDGE = 1e-4  # of the mean diagonal of the sources' normal matrix


def _offsets(factor: int, missing: int) -> NDArray[np.intp]:
    """Distances from a missing line, `missing` beyond the lattice line before it, to the lattice lines about it."""
    if factor == 1:
        return np.array([-1, 0, 1])
    return (np.arange(SOURCES) - (SOURCES // 2 - 1)) * factor - missing


def kernels(calibration: NDArray[np.complex64], factors: tuple[int, int]) -> NDArray[np.complex64]:
    """(rx to, rx from, z, y, x) convolution that completes k-space zero-filled off the lattice; its centre is at n//2.

    `calibration` (rx, kz, ky, kx) is fully sampled, `factors` are along y and z.
    """
    n_rx, n_z, n_y, n_x = calibration.shape
    r_y, r_z = factors
    reach_z = 0 if n_z == 1 else (SOURCES * r_z if r_z > 1 else 1)
    reach_y = SOURCES * r_y if r_y > 1 else 1
    half = min(SAMPLES, n_x) // 2
    kernel = np.zeros((n_rx, n_rx, 2 * reach_z + 1, 2 * reach_y + 1, 2 * half + 1), np.complex64)
    kernel[np.arange(n_rx), np.arange(n_rx), reach_z, reach_y, half] = 1
    for m_z in range(r_z):
        for m_y in range(r_y):
            if m_z == m_y == 0:
                continue
            off_z = np.array([0]) if n_z == 1 else _offsets(r_z, m_z)
            off_y, off_x = _offsets(r_y, m_y), np.arange(-half, half + 1)
            spans = [
                (int(max(0, -o.min())), int(n - max(0, o.max()))) for o, n in ((off_z, n_z), (off_y, n_y), (off_x, n_x))
            ]
            if any(stop - start < 1 for start, stop in spans):
                raise InputError(
                    f"the calibration of {n_z} x {n_y} lines is too small for GRAPPA every {r_y} x {r_z} (phase x partition): "
                    f"{int(np.ptp(off_z)) + 1} x {int(np.ptp(off_y)) + 1} are needed; measure more reference lines, or use method='sense'"
                )
            (z0, z1), (y0, y1), (x0, x1) = spans
            target = calibration[:, z0:z1, y0:y1, x0:x1].reshape(n_rx, -1)
            sources = np.stack(
                [
                    calibration[:, z0 + dz : z1 + dz, y0 + dy : y1 + dy, x0 + dx : x1 + dx].reshape(n_rx, -1)
                    for dz in off_z
                    for dy in off_y
                    for dx in off_x
                ],
                axis=1,
            ).reshape(-1, target.shape[1])
            normal = (sources @ sources.conj().T).astype(np.complex128)
            normal += RIDGE * np.trace(normal).real / len(normal) * np.eye(len(normal))
            weights = np.linalg.solve(normal, (sources @ target.conj().T).astype(np.complex128)).conj().T
            weights = weights.reshape(n_rx, n_rx, len(off_z), len(off_y), len(off_x))
            # the point at p is made of those at p + offset: a convolution with the offset turned round
            at = np.ix_(np.arange(n_rx), np.arange(n_rx), reach_z - off_z, reach_y - off_y, half - off_x)
            kernel[at] += weights.astype(np.complex64)
    return kernel


def _along_x(kernel: NDArray[np.complex64], n_x: int) -> NDArray[np.complex64]:
    """(x, rx to, rx from, z, y): the kernel at every position along the readout, where it is a product."""
    lag = np.arange(kernel.shape[4]) - kernel.shape[4] // 2
    turns = np.exp(2j * np.pi * np.outer(lag, np.arange(n_x) - n_x // 2) / n_x).astype(np.complex64)
    return np.ascontiguousarray(np.moveaxis(kernel @ turns, -1, 0))


def unmixing(
    at_x: NDArray[np.complex64], combination: NDArray[np.complex64], shape: tuple[int, int]
) -> NDArray[np.complex64]:
    """(rx, z, y) to multiply aliased images with, from the kernel at one x (rx to, rx from, z, y) and weights (rx, z, y)."""
    scale = np.float32(np.sqrt(shape[0] * shape[1]))
    out = np.zeros((at_x.shape[1], *shape), np.complex64)
    for to in range(len(at_x)):
        seen = ifft(resized(resized(at_x[to] * scale, shape[0], 1), shape[1], 2), (1, 2))
        out += combination[to] * seen
    return out


def combine_grappa_(
    lines: Hybrid,
    which: NDArray[np.intp],
    layout: Layout,
    sampling: Sampling,
    maps: CoarseMaps | CoilMaps,
    i_slice: int,
    calibration: NDArray[np.complex64],
    volume: NDArray[np.complex64],
    g_factor: NDArray[np.float32],
) -> None:
    """Fills volume and g-factor (z, y, x) from the lattice lines; receivers are combined by the maps' first set."""
    n_z, n_y, n_x = layout.n_partitions, layout.phase.n, layout.readout.n_image
    at_x = _along_x(kernels(calibration, sampling.factors), n_x)
    chosen = which[sampling.lattice[lines.section[which], lines.line[which]]]
    total = sampling.factors[0] * sampling.factors[1]
    axes: Any = (1, 2)

    def work(x: int) -> None:
        k_space = np.zeros((lines.samples.shape[1], n_z, n_y), np.complex64)
        k_space[:, lines.section[chosen], lines.line[chosen]] = lines.samples[chosen, :, x].T
        combination = slab_of_maps(maps, i_slice, layout, x, x + 1, 0.0)[0, 0].conj()
        weights = unmixing(at_x[x], combination, (n_z, n_y))
        volume[:, :, x] = np.sum(weights * ifft(k_space, axes), axis=0)
        power = np.sum(np.abs(combination) ** 2, axis=0)
        noise = np.sqrt(np.sum(np.abs(weights) ** 2, axis=0) / np.maximum(power, 1e-12)) / total
        g_factor[:, :, x] = np.where(power > 0, noise, 0)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(n_x)))
