"""ESPIRiT: what the receivers see, from the fully sampled centre of k-space (Uecker et al. 2014, MRM 71:990).

Patches of the centre span a small space. The operator that projects onto it acts, at every place of the image, on the receivers
alone; its eigenvectors of eigenvalue 1 are the sensitivities - several where the field of view is too small and the
object folds onto itself (soft SENSE). The operator is a trigonometric polynomial of the place, so that any grid shows it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numba import njit
from numpy.typing import NDArray

from lauterbur.recon.fft import fft, ifft, resized

Array = NDArray[np.complexfloating[Any, Any]]
NULL_SPACE = 0.02  # singular values below this part of the largest span the null space; best of 0.005 to 0.08 on a head
MOST_ITERATIONS = 400  # of the power method at one place
STILL = 3e-5  # step of the unit vector that ends them: most places take ten; where the object nearly folds onto itself, hundreds
COARSE_STEP = 4  # pixels: eigenvectors are found on every fourth, and are smooth between
COARSEST = 48  # points of that grid, at least
CROP = 0.8  # eigenvalue below which a place counts as empty: edges of the object have 0.9, noise alone less than 0.7


@dataclass(frozen=True)
class PlaneMaps:
    """Sensitivities in one plane."""

    sensitivity: NDArray[np.complex64]  # (set, rx, a, b), orthonormal over rx, strongest set first
    eigenvalue: NDArray[np.float32]  # (set, a, b): 1 where data support the map, less elsewhere


def noise_edge(n_patches: int, n_elements: int) -> float:
    """The largest singular value of (patch, element) noise of unit variance (Marchenko and Pastur 1967)."""
    return float(np.sqrt(n_patches) + np.sqrt(n_elements))


def spanned(
    patches: NDArray[np.complex64], threshold: float | None = None, noise: float | None = None
) -> NDArray[np.complex64]:
    """Orthonormal columns that span the patches (element, patch), but for their null space.

    `threshold`: singular values below this part of the largest belong to the null space; unless given 0.02 or, where the
    standard deviation `noise` of a sample is known and more, what noise alone would reach.
    """
    unit = float(np.max(np.abs(patches), initial=0.0))
    if unit == 0:  # silence
        return np.zeros((len(patches), 1), np.complex64)
    patches = patches / np.float32(unit)  # squares of energies of any unit are beyond single precision
    noise = None if noise is None else noise / unit
    are_few = patches.shape[1] < patches.shape[0]
    gram = patches.conj().T @ patches if are_few else patches @ patches.conj().T  # the smaller one
    largest = _largest(gram)
    least = (NULL_SPACE if threshold is None else threshold) ** 2 * largest
    if threshold is None and noise is not None:
        least = max(least, (noise * noise_edge(patches.shape[1], patches.shape[0])) ** 2)
    least = min(least, 0.5 * largest)  # one vector remains, whatever the noise
    energy, vectors = scipy.linalg.eigh(
        gram, driver="evr", subset_by_value=(least, np.inf), overwrite_a=True, check_finite=False
    )
    return np.asarray(patches @ (vectors / np.sqrt(energy)) if are_few else vectors, np.complex64)


def signal_space(
    calibration: Array, kernel: tuple[int, int], threshold: float | None = None, noise: float | None = None
) -> NDArray[np.complex64]:
    """(vector, rx, i, j): an orthonormal basis of the patches in a block (rx, a, b)."""
    n_rx = calibration.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(calibration, kernel, axis=(1, 2))
    patches = windows.transpose(0, 3, 4, 1, 2).reshape(n_rx * kernel[0] * kernel[1], -1).astype(np.complex64)
    return spanned(patches, threshold, noise).T.reshape(-1, n_rx, *kernel)


def _largest(gram: NDArray[np.complex64]) -> float:
    """The largest eigenvalue of a positive matrix, from below, by power iteration."""
    vector = gram[:, np.argmax(np.abs(np.diag(gram)))]
    value = 0.0
    for _ in range(12):
        value = float(np.linalg.norm(vector))
        vector = gram @ (vector / max(value, 1e-30))
    return float(np.linalg.norm(vector))


def operator_lags(signal: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """(rx, rx, lag, lag): Fourier coefficients of the operator, from the autocorrelation of the basis of patches."""
    _, n_rx, k_a, k_b = signal.shape
    wide = (2 * k_a, 2 * k_b)
    padded = resized(resized(signal, wide[0], 2), wide[1], 3)
    seen = ifft(padded, (2, 3)).reshape(len(signal), n_rx, -1).transpose(2, 1, 0)  # (place, rx, vector)
    operator = (seen @ seen.conj().transpose(0, 2, 1)).transpose(1, 2, 0).reshape(n_rx, n_rx, *wide)
    return fft(operator * np.complex64(np.sqrt(wide[0] * wide[1]) / (k_a * k_b)), (2, 3))


def plane_operator(lags: NDArray[np.complex64], grid: tuple[int, int]) -> NDArray[np.complex64]:
    """(a, b, rx, rx): at each point of the grid the operator whose eigenvectors of eigenvalue 1 are sensitivities."""
    n_rx = len(lags)
    rows, columns = np.triu_indices(n_rx)
    upper = lags[rows, columns]
    upper = resized(resized(upper, grid[0], 1), grid[1], 2)
    upper = ifft(upper * np.complex64(np.sqrt(grid[0] * grid[1])), (1, 2))
    out = np.empty((grid[0] * grid[1], n_rx, n_rx), np.complex64)
    _fill(upper.reshape(len(rows), -1), rows, columns, out)
    return out.reshape(*grid, n_rx, n_rx)


@njit(cache=True, nogil=True)
def _fill(upper, rows, columns, out):  # type: ignore[no-untyped-def]
    for start in range(0, out.shape[0], 64):
        stop = min(start + 64, out.shape[0])
        for e in range(len(rows)):
            i, j = rows[e], columns[e]
            for p in range(start, stop):
                value = upper[e, p]
                out[p, i, j] = value
                out[p, j, i] = np.conj(value)


@njit(cache=True, nogil=True, fastmath=True)
def _iterate(operator, vectors, values, iterations, tolerance):  # type: ignore[no-untyped-def]
    """Orthogonal iteration at every point: operator (point, rx, rx), vectors (point, set, rx) changed in place."""
    n_points, n_sets, n_rx = vectors.shape
    new = np.empty(n_rx, np.complex64)
    for p in range(n_points):
        for _ in range(iterations):
            moved = np.float32(0)
            for s in range(n_sets):
                for i in range(n_rx):
                    total_r, total_i = np.float32(0), np.float32(0)
                    for j in range(n_rx):
                        a, b = operator[p, i, j], vectors[p, s, j]
                        total_r += a.real * b.real - a.imag * b.imag
                        total_i += a.real * b.imag + a.imag * b.real
                    new[i] = complex(total_r, total_i)
                for earlier in range(s):
                    share = np.complex64(0)
                    for i in range(n_rx):
                        share += np.conj(vectors[p, earlier, i]) * new[i]
                    for i in range(n_rx):
                        new[i] -= share * vectors[p, earlier, i]
                power = np.float32(0)
                for i in range(n_rx):
                    power += new[i].real * new[i].real + new[i].imag * new[i].imag
                length = np.sqrt(power)
                values[p, s] = length
                scale = 1 / max(length, np.float32(1e-20))
                for i in range(n_rx):
                    step = new[i] * scale - vectors[p, s, i]
                    moved += step.real * step.real + step.imag * step.imag
                    vectors[p, s, i] = new[i] * scale
            if moved < tolerance * tolerance:
                break


def leading(
    operator: NDArray[np.complex64], start: NDArray[np.complex64], iterations: int = MOST_ITERATIONS
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Eigenvectors (point, set, rx) and eigenvalues (point, set) of (point, rx, rx), from `start` of the same shape."""
    vectors = np.array(start, np.complex64)
    values = np.zeros(vectors.shape[:2], np.float32)
    _iterate(operator, vectors, values, iterations, np.float32(STILL))
    return vectors, values


def start_vectors(reference: Array, n_sets: int, n_points: int) -> NDArray[np.complex64]:
    """(point, set, rx): the reference and directions of the receivers, the same at every point, independent of each other."""
    n_rx = len(reference)
    frame = np.concatenate([reference[:, None], np.eye(n_rx)], axis=1)
    unitary, triangle = np.linalg.qr(frame)
    unitary = unitary * np.where(np.arange(n_rx) == 0, triangle[0, 0] / max(abs(triangle[0, 0]), 1e-30), 1)
    # no start may be orthogonal to what is sought: each direction has a part of all others
    mixed = unitary[:, :n_sets].T + 0.05 * np.exp(2j * np.pi * np.outer(np.arange(n_sets) + 1, np.arange(n_rx)) / n_rx)
    mixed[0] = unitary[:, 0]
    return np.broadcast_to(mixed.astype(np.complex64), (n_points, n_sets, n_rx))


def enlarging(n: int, coarse: int) -> NDArray[np.float32]:
    """(n, coarse): periodic cubic interpolation (Catmull and Rom 1974) between grids over one field of view."""
    at = (np.arange(n) - n // 2) / n * coarse + coarse // 2
    low = np.floor(at).astype(int)
    t = at - low
    weights = (
        0.5 * (-(t**3) + 2 * t**2 - t),
        0.5 * (3 * t**3 - 5 * t**2 + 2),
        0.5 * (-3 * t**3 + 4 * t**2 + t),
        0.5 * (t**3 - t**2),
    )
    matrix = np.zeros((n, coarse), np.float32)
    for tap, weight in enumerate(weights):
        np.add.at(matrix, (np.arange(n), (low + tap - 1) % coarse), weight)
    return matrix


def enlarged(values: NDArray[Any], grid: tuple[int, int]) -> NDArray[Any]:
    """(a, b, ...) on a finer grid over the same field of view."""
    n_a, n_b = values.shape[:2]
    rows, columns = enlarging(grid[0], n_a), enlarging(grid[1], n_b)
    between = (rows @ values.reshape(n_a, -1)).reshape(grid[0], n_b, -1)
    return np.matmul(columns, between).reshape(*grid, *values.shape[2:])


def kernel_for(calibration: Array) -> int:
    """Patch width: three eighths of the shorter side of the block that has any, between 4 and 8."""
    return int(np.clip((3 * min(n for n in calibration.shape[1:] if n > 1) + 4) // 8, 4, 8))


def plane_maps(
    calibration: Array,
    grid: tuple[int, int],
    *,
    sets: int = 1,
    reference: Array | None = None,
    kernel: int | None = None,
    threshold: float | None = None,
    noise: float | None = None,
    step: int = COARSE_STEP,
) -> PlaneMaps:
    """Maps of `grid` points over the field of view, from a fully sampled block (rx, a, b) about k = 0.

    The first set is in phase with the virtual receiver `reference` (rx,), unless given the strongest mode of the block;
    further sets have their largest component real. One set is found on every `step`-th pixel.
    """
    n_rx = calibration.shape[0]
    width = kernel_for(calibration) if kernel is None else kernel
    widths = tuple(min(width, (n + 1) // 2) for n in calibration.shape[1:])
    lags = operator_lags(signal_space(calibration, (widths[0], widths[1]), threshold, noise))
    if reference is None:
        flat = calibration.reshape(n_rx, -1)
        reference = np.linalg.eigh(flat @ flat.conj().T)[1][:, -1]
    sets = min(sets, n_rx)
    step = step if sets == 1 else 1  # several sets of one eigenvalue turn into each other: no grid is coarse then
    small = grid if step == 1 else tuple(min(n, max(COARSEST, -(-n // step))) for n in grid)
    operator = plane_operator(lags, (small[0], small[1])).reshape(-1, n_rx, n_rx)
    vectors, values = leading(operator, start_vectors(reference, sets, len(operator)))
    vectors = in_phase(vectors, reference).reshape(*small, sets, n_rx)
    values = values.reshape(*small, sets)
    if small != grid:
        vectors, values = enlarged(vectors, grid), enlarged(values, grid)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)
    return PlaneMaps(
        np.ascontiguousarray(vectors.transpose(2, 3, 0, 1), np.complex64),
        np.ascontiguousarray(values.transpose(2, 0, 1), np.float32),
    )


def in_phase(vectors: NDArray[np.complex64], reference: Array) -> NDArray[np.complex64]:
    """The first set turned to the phase of the virtual receiver, the others to that of their largest component."""
    first = vectors[:, :1] @ reference.conj().astype(np.complex64)
    rest = np.take_along_axis(vectors[:, 1:], np.argmax(np.abs(vectors[:, 1:]), axis=2)[..., None], 2)[..., 0]
    phase = np.concatenate([first, rest], axis=1)
    return (vectors * (phase.conj() / np.maximum(np.abs(phase), 1e-20))[..., None]).astype(np.complex64)
