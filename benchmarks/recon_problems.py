"""The problems of recon_speed.py: a phantom seen by receivers, sampled in part, and how wrong an image or a map is."""

from __future__ import annotations

import numpy as np

CENTRE = 24  # lines of the calibration
ELLIPSES = (  # value, half axes, centre, degrees: the phantom of Shepp and Logan (1974) with Toft's contrasts (1996)
    (1.0, 0.69, 0.92, 0.0, 0.0, 0), (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0), (-0.2, 0.11, 0.31, 0.22, 0.0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18), (0.1, 0.21, 0.25, 0.0, 0.35, 0), (0.1, 0.046, 0.046, 0.0, 0.1, 0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0), (0.1, 0.046, 0.023, -0.08, -0.605, 0), (0.1, 0.023, 0.023, 0.0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)  # fmt: skip
SNR = 100  # of the brightest pixel, fully sampled


def grid(*n: int) -> list[np.ndarray]:
    return np.meshgrid(*(2 * (np.arange(k) - k // 2) / k for k in n), indexing="ij")


def phantom(n: int) -> np.ndarray:
    y, x = grid(n, n)
    image = np.zeros((n, n), np.complex64)
    for value, a, b, x_0, y_0, degrees in ELLIPSES:
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        u, v = (x - x_0) * c + (y - y_0) * s, (y - y_0) * c - (x - x_0) * s
        image[(u / a) ** 2 + (v / b) ** 2 <= 1] += value
    return image


def receivers(n_rx: int, *n: int) -> np.ndarray:
    """(rx, ...) of unit norm: bumps on a ring, each with a phase of its own."""
    axes = grid(*n)
    y, x = axes[-2:]
    z = axes[0] if len(n) == 3 else 0
    maps = []
    for i, turn in enumerate(2 * np.pi * np.arange(n_rx) / n_rx):
        a, b, h = 1.1 * np.cos(turn), 1.1 * np.sin(turn), 0.5 * (-1) ** i
        size = np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - h) ** 2 * (len(n) == 3)) / 1.6)
        maps.append(size * np.exp(1j * (turn + 0.8 * (x * np.cos(turn) + y * np.sin(turn)))))
    stack = np.stack(maps)
    return (stack / np.linalg.norm(stack, axis=0)).astype(np.complex64)


def noise_like(values: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ((rng.normal(size=values.shape) + 1j * rng.normal(size=values.shape)) / (SNR * np.sqrt(2))).astype(
        np.complex64
    )


def sampling(n_a: int, n_b: int, fraction: float, seed: int = 1) -> np.ndarray:
    """Variable density with a full centre."""
    a, b = grid(n_a, n_b)
    density = 1 / (0.02 + np.hypot(a, b)) ** 1.2
    low, high = 0.0, 10.0
    for _ in range(40):  # so dense that the fraction comes out
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(1, scale * density).mean() < fraction else (low, scale)
    mask = np.random.default_rng(seed).random((n_a, n_b)) < scale * density
    half = CENTRE // 2
    mask[n_a // 2 - half : n_a // 2 + half, n_b // 2 - half : n_b // 2 + half] = True
    return mask


def error_of(image: np.ndarray, truth: np.ndarray) -> float:
    image = image.reshape(truth.shape)
    scale = np.vdot(image, truth) / np.vdot(image, image)
    return float(np.linalg.norm(scale * image - truth) / np.linalg.norm(truth))


def map_error(maps: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> float:
    maps = maps.reshape(truth.shape)
    maps = maps / np.maximum(np.linalg.norm(maps, axis=0), 1e-12)
    left = truth - np.sum(maps.conj() * truth, axis=0) * maps
    return float(np.sqrt(np.mean(np.sum(np.abs(left[:, inside]) ** 2, axis=0))))


def solid(n: int) -> np.ndarray:
    """(z, y, x): the phantom, smaller towards both ends."""
    plane = phantom(n).real
    out = np.zeros((n, n, n), np.complex64)
    for z in range(n):
        reach = np.sqrt(max(0.0, 1 - (2 * (z - n / 2) / (0.95 * n)) ** 2))
        if reach > 0.05:
            at = np.clip(np.round((np.arange(n) - n / 2) / reach + n / 2).astype(int), 0, n - 1)
            out[z] = plane[np.ix_(at, at)]
    return out
