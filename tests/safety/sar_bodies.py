"""Small bodies with smooth random fields, for the laws of SAR."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lauterbur.fields.maps import FieldMaps


def body_fields(
    shape=(14, 12, 16), step=(5e-3, 5e-3, 5e-3), channels=4, seed=0, density=1000.0, conductivity=0.7
) -> FieldMaps:
    """An ellipsoid that fills the grid but for a layer of air; step m (3,) along z, y, x; e is a sum of plane waves."""
    rng = np.random.default_rng(seed)
    axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, step, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    half = [(n / 2 - 1) * d for n, d in zip(shape, step, strict=True)]
    inside = (z / half[0]) ** 2 + (y / half[1]) ** 2 + (x / half[2]) ** 2 <= 1
    e = np.zeros((channels, 3, *shape), np.complex64)
    for c in range(channels):
        for _ in range(3):
            k, v = rng.normal(size=3) * 30, rng.normal(size=3) + 1j * rng.normal(size=3)
            e[c] += v[:, None, None, None] * np.exp(1j * (k[0] * z + k[1] * y + k[2] * x))
    affine = np.diag([step[2], step[1], step[0], 1.0])
    affine[:3, 3] = [axes[2][0], axes[1][0], axes[0][0]]
    rho = np.where(inside, density * rng.uniform(0.9, 1.1, shape), 0).astype(np.float32)
    return FieldMaps(
        affine=affine,
        off_resonance=np.zeros(shape, np.float32),
        b1_plus=np.zeros((channels, *shape), np.complex64),
        b1_minus=np.zeros((1, *shape), np.complex64),
        noise_resistance=np.eye(1, dtype=np.complex128),
        e=e,
        conductivity=np.where(inside, conductivity, 0).astype(np.float32),
        density=rho,
        part=np.where(inside, 2, 0).astype(np.uint8),
    )


def mirrored(fields: FieldMaps) -> FieldMaps:
    """Left and right exchanged: voxels in x, and the x component of E."""
    e = fields.e[..., ::-1].copy()
    e[:, 0] *= -1
    maps = {name: getattr(fields, name)[..., ::-1].copy() for name in ("conductivity", "density", "part")}
    affine = fields.affine.copy()
    affine[0, 3] = -(fields.affine[0, 3] + fields.affine[0, 0] * (fields.density.shape[2] - 1))
    return replace(fields, e=e, affine=affine, **maps)


def random_drives(n: int, channels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n, channels)) + 1j * rng.normal(size=(n, channels))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def random_matrices(n: int, channels: int, seed: int, rank: int = 3) -> np.ndarray:
    """(n, tx, tx), positive semi-definite, with a spread of sizes."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, channels, rank)) + 1j * rng.normal(size=(n, channels, rank))
    return a @ a.conj().swapaxes(1, 2) * rng.uniform(0.2, 1, n)[:, None, None] ** 2
