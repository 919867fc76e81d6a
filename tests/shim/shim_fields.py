"""Smooth synthetic fields of eight channels in an ellipsoid: sums of waves from lines around it, as short as at 5 T.

Not a solution of Maxwell's equations; as even or uneven as one, and quick. The SAR model is of the same waves' E field.
"""

import numpy as np

from lauterbur.fields.maps import FieldMaps
from lauterbur.safety.sar import SarModel

WAVE = 0.16  # m, wave length in tissue at 5 T
DECAY = 8.0  # 1/m


def ellipsoid_fields(
    semi_axes=(0.075, 0.09, 0.07), radius=0.15, voxel=0.012, n_tx=8, seed=0, wave=WAVE, shift=(0.0, 0.0, 0.0)
) -> FieldMaps:
    rng = np.random.default_rng(seed)
    axes = [np.arange(-s, s + 1e-9, voxel) for s in semi_axes]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    place = np.stack([x, y, z], axis=-1) + np.array(shift)
    inside = (x / semi_axes[0]) ** 2 + (y / semi_axes[1]) ** 2 + (z / semi_axes[2]) ** 2 <= 1
    b1 = np.zeros((n_tx, *x.shape), complex)
    k = 2 * np.pi / wave + 1j * DECAY
    for c in range(n_tx):
        angle = 2 * np.pi * c / n_tx + 0.1
        for height in np.linspace(-0.1, 0.1, 5):
            source = np.array([radius * np.cos(angle), radius * np.sin(angle), height])
            distance = np.linalg.norm(place - source, axis=-1)
            b1[c] += np.exp(1j * (k * distance + angle)) / distance
    b1 *= inside * 1.2e-8
    off = (100 * np.exp(-np.sum((place - [0, -0.07, -0.02]) ** 2, axis=-1) / 0.03**2) + rng.normal() * z * 100) * inside
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes] + np.array(shift)
    part = inside.astype(np.uint8)
    none = np.zeros((0, *x.shape), np.complex64)
    return FieldMaps(
        affine,
        off.astype(np.float32),
        b1.astype(np.complex64),
        none,
        np.zeros((0, 0), complex),
        density=(1000 * inside).astype(np.float32),
        conductivity=(0.6 * inside).astype(np.float32),
        part=part,
        body_mass=70.0,
        provenance={"source": "synthetic waves"},
    )


def synthetic_sar(n_tx=8, n_points=40, seed=1, size=0.02) -> SarModel:
    """Random positive matrices of low rank, as of hot spots under one or two channels each."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(n_points, 2, n_tx)) + 1j * rng.normal(size=(n_points, 2, n_tx))
    v *= np.exp(-np.abs((np.arange(n_tx) - rng.integers(0, n_tx, (n_points, 1, 1)) + 4) % 8 - 4))
    local = size * np.einsum("krc,krd->kcd", v.conj(), v) / 4
    return SarModel(
        local,
        np.zeros((n_points, 3)),
        np.ones(n_points, np.uint8),
        whole_body=local.mean(axis=0) * 0.05,
        head=local.mean(axis=0) * 0.3,
        provenance={"source": "synthetic"},
    )
