"""Receiver sensitivities from the fully sampled centre of k-space, and the combination of receivers.

The maps are ESPIRiT's (espirit.py) on a coarse grid, solved in planes (2D: phase x readout; 3D: partition x phase for every coarse position along the readout). Their
phase is that of a virtual coil whose receivers are in phase at the object's centre (Parker et al. 2014, MRM 72:563), so
that the combined phase is smooth and the same for all echoes. Maps have unit sum of squares: a combined image
is as bright as the root sum of squares, and in SNR units where noise is white.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.espirit import PlaneMaps, plane_maps
from lauterbur.recon.fft import fft, ifft, resized

Array = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True)
class CoarseMaps:
    """Sensitivities over the whole field of view, on a grid that is coarser than the image; periodic."""

    sensitivity: NDArray[np.complex64]  # (x, rx, z, y), unit sum of squares over rx
    confidence: NDArray[np.float32]  # (x, z, y): the eigenvalue, near 1 inside the object, less outside


def reference_receiver(calibration: Array) -> Array:
    """(rx,) receivers' weights that are in phase at the object's centre, from (rx, z, y, x) low frequencies."""
    image = ifft(calibration, (1, 2, 3))
    energy = np.sum(np.abs(image) ** 2, axis=0)
    axes = [np.arange(n) for n in energy.shape]
    total = max(float(energy.sum()), 1e-30)
    centre = [
        round(float(np.sum(energy * c.reshape([-1 if a == i else 1 for a in range(3)]))) / total)
        for i, c in enumerate(axes)
    ]
    near = tuple(slice(max(0, c - 2), c + 3) for c in centre)
    patch = image[(slice(None), *near)].reshape(len(image), -1)
    _, vectors = np.linalg.eigh(patch @ patch.conj().T)
    weights = vectors[:, -1]
    return weights * np.exp(-1j * np.angle(weights[0]))  # receiver 0 sets the phase, the strongest after compression


def positions(n_k: int, n: int) -> NDArray[np.complex64]:
    """(kx, x): from n_k central points of k-space to n places of the field of view; white noise keeps its level."""
    window = np.hanning(n_k + 2)[1:-1]
    turns = np.outer(np.arange(n_k) - n_k // 2, (np.arange(n) - n // 2) / n)
    return (window[:, None] / np.linalg.norm(window) * np.exp(2j * np.pi * turns)).astype(np.complex64)


def coarse_maps(calibration: Array, grid: tuple[int, int, int]) -> CoarseMaps:
    """Maps from a fully sampled block (rx, kz, ky, kx) about k = 0, on `grid` (z, y, x) points of its field of view.

    A block one point thick along z is a 2D slice.
    """
    n_rx = len(calibration)
    if n_rx == 1:
        return CoarseMaps(np.ones((1, 1, 1, 1), np.complex64), np.ones((1, 1, 1), np.float32))
    reference = reference_receiver(calibration)
    if calibration.shape[1] == 1:
        plane = plane_maps(calibration[:, 0], (grid[1], grid[2]), reference=reference, step=1)
        vector = plane.sensitivity[0].transpose(2, 0, 1)[:, :, None]  # (x, rx, z, y)
        value = plane.eigenvalue[0].transpose(1, 0)[:, None]  # (x, z, y)
    else:
        planes = calibration @ positions(calibration.shape[3], grid[2])

        def work(i: int) -> PlaneMaps:
            return plane_maps(planes[..., i], (grid[0], grid[1]), reference=reference, step=1)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            solved = list(pool.map(work, range(grid[2])))
        vector = np.stack([one.sensitivity[0] for one in solved])
        value = np.stack([one.eigenvalue[0] for one in solved])
    return CoarseMaps(np.ascontiguousarray(vector), np.ascontiguousarray(value))


def planes_at(maps: CoarseMaps, position: NDArray[np.float64]) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Maps (n, rx, z, y) and confidence (n, z, y) interpolated at readout positions in fields of view from the centre."""
    n = len(maps.sensitivity)
    at = position * n + n // 2
    low = np.floor(at).astype(int)
    w = (at - low).astype(np.float32)
    a, b = low % n, (low + 1) % n
    sensitivity = maps.sensitivity[a] * (1 - w)[:, None, None, None] + maps.sensitivity[b] * w[:, None, None, None]
    confidence = maps.confidence[a] * (1 - w)[:, None, None] + maps.confidence[b] * w[:, None, None]
    return sensitivity, confidence


def root_sum_of_squares(images: Array, axis: int) -> NDArray[np.floating[Any]]:
    return np.sqrt(np.sum(np.abs(images) ** 2, axis=axis))


def low_frequencies(images: Array, n: int, axis: int) -> Array:
    """The central n points of the transform of an image axis."""
    return resized(fft(images, axis), n, axis)
