"""Receiver sensitivities from the fully sampled centre of k-space, and the combination of receivers.

The maps are ESPIRiT's (Uecker et al. 2014, MRM 71:990) on a coarse grid: dominant eigenvectors of the space of k-space
patches, solved in planes (2D: phase x readout; 3D: partition x phase for every coarse position along the readout). Their
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

from lauterbur.recon.fft import fft, ifft, resized

Array = NDArray[np.complexfloating[Any, Any]]
KERNEL = 6  # patch width in k-space points, as in the paper; 5 is twice as fast and a third worse at factor 3
NULL_SPACE = 0.02  # singular values below this part of the largest span the null space; best of 0.005 to 0.08 on a head
POWER_ITERATIONS = 20


@dataclass(frozen=True)
class CoarseMaps:
    """Sensitivities over the whole field of view, on a grid that is coarser than the image; periodic."""

    sensitivity: NDArray[np.complex64]  # (x, rx, z, y), unit sum of squares over rx
    confidence: NDArray[np.float32]  # (x, z, y): the eigenvalue, near 1 inside the object, less outside


def _patches(calibration: Array, kernel: tuple[int, int]) -> Array:
    """(patch, rx * kernel) rows of every window in (rx, a, b)."""
    windows = np.lib.stride_tricks.sliding_window_view(calibration, kernel, axis=(1, 2))
    return windows.transpose(1, 2, 0, 3, 4).reshape(-1, calibration.shape[0] * kernel[0] * kernel[1])


def _span(patches: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Orthonormal columns that span the patches (element, patch), but for their null space."""
    are_few = patches.shape[1] < patches.shape[0]
    gram = patches.conj().T @ patches if are_few else patches @ patches.conj().T  # the smaller one
    energy, vectors = np.linalg.eigh(gram)
    loud = energy > NULL_SPACE**2 * max(float(energy[-1]), 1e-30)
    return patches @ (vectors[:, loud] / np.sqrt(energy[loud])) if are_few else vectors[:, loud]


def _plane_operator(calibration: Array, grid: tuple[int, int]) -> NDArray[np.complex64]:
    """(a, b, rx, rx): at each point of the grid the operator whose eigenvectors of eigenvalue 1 are sensitivities."""
    n_rx = calibration.shape[0]
    k_a, k_b = (min(KERNEL, (n + 1) // 2) for n in calibration.shape[1:])
    rows = _patches(calibration, (k_a, k_b)).astype(np.complex64)
    signal = _span(rows.T)
    projector = (signal @ signal.conj().T).reshape(n_rx, k_a, k_b, n_rx, k_a, k_b)
    lags = np.zeros((n_rx, n_rx, 2 * k_a - 1, 2 * k_b - 1), np.complex64)
    for i in range(k_a):
        for j in range(k_b):  # lag = p - q of patch points p, q
            lags[:, :, k_a - 1 - i : 2 * k_a - 1 - i, k_b - 1 - j : 2 * k_b - 1 - j] += projector[
                :, :, :, :, i, j
            ].transpose(0, 3, 1, 2)
    padded = resized(resized(lags, grid[0], 2), grid[1], 3)
    scale = np.sqrt(grid[0] * grid[1]) / (k_a * k_b)
    return ifft(padded * np.complex64(scale), (2, 3)).transpose(2, 3, 0, 1)


def _dominant(operator: NDArray[np.complex64], start: Array) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Eigenvector (..., rx) and eigenvalue of the largest eigenvalue, by power iteration."""
    vector = np.broadcast_to(start, operator.shape[:-1]).astype(np.complex64)
    value = np.zeros(operator.shape[:-2], np.float32)
    for _ in range(POWER_ITERATIONS):
        vector = (operator @ vector[..., None])[..., 0]
        value = np.linalg.norm(vector, axis=-1)
        vector = vector / np.maximum(value, 1e-20)[..., None]
    return vector, value


def _reference(calibration: Array) -> Array:
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


def _positions(n_k: int, n: int) -> NDArray[np.complex64]:
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
    reference = _reference(calibration)
    if calibration.shape[1] == 1:
        operator = _plane_operator(calibration[:, 0], (grid[1], grid[2]))
        vector, value = _dominant(operator, reference)
        vector, value = vector[None].transpose(2, 3, 0, 1), value[None].transpose(2, 0, 1)  # (x, rx, z, y), (x, z, y)
    else:
        planes = calibration @ _positions(calibration.shape[3], grid[2])

        def work(i: int) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
            return _dominant(_plane_operator(planes[..., i], (grid[0], grid[1])), reference)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            solved = list(pool.map(work, range(grid[2])))
        vector = np.stack([v.transpose(2, 0, 1) for v, _ in solved])
        value = np.stack([w for _, w in solved])
    phase = np.einsum("xczy,c->xzy", vector, reference.conj())
    vector = vector * np.exp(-1j * np.angle(phase))[:, None]
    return CoarseMaps(vector.astype(np.complex64), value.astype(np.float32))


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
