"""Fields to try SAR on without a Maxwell solver: loops around a layered cylinder, E = i w A, and scattered waves.

Not a solution of Maxwell's equations (no charges at borders); as smooth, as local and as many as real ones.
"""

from __future__ import annotations

import numpy as np

from lauterbur.fields.maps import FieldMaps
from lauterbur.fields.wires import vector_potential
from lauterbur.scanner.machine import Loop

OMEGA = 2 * np.pi * 210.76e6  # rad/s
WAVE = 2 * np.pi / 0.16 * (1 + 0.1j)  # 1/m, in muscle


def loop_fields(
    step: float = 5e-3, size=(0.60, 0.26, 0.42), channels: int = 8, arms: bool = True, seed: int = 1
) -> FieldMaps:
    """size m (z, y, x) of an elliptic trunk with skin fat, lungs, spine and organs; 380,000 voxels at 5 mm, arms aside."""
    reach = np.array(size) / 2 + np.array([0, 2 * step, 0.11 if arms else 2 * step])
    axes = [np.arange(-int(r / step), int(r / step) + 1) * step for r in reach]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    half = np.array(size) / 2
    inside = (x / half[2]) ** 2 + (y / half[1]) ** 2
    sigma, density = np.zeros(z.shape, np.float32), np.zeros(z.shape, np.float32)
    part = np.zeros(z.shape, np.uint8)
    layers = [
        (inside <= 1, 0.04, 910, 2),
        (inside <= 0.85, 0.75, 1090, 2),
        (inside <= 0.65, 0.60, 1050, 2),
        (((x - 0.08) / 0.06) ** 2 + (y / 0.08) ** 2 + ((z - 0.12) / 0.12) ** 2 <= 1, 0.34, 400, 2),
        (((x + 0.08) / 0.06) ** 2 + (y / 0.08) ** 2 + ((z - 0.12) / 0.12) ** 2 <= 1, 0.34, 400, 2),
        (((x + 0.02) / 0.04) ** 2 + ((y + 0.03) / 0.04) ** 2 + ((z - 0.1) / 0.05) ** 2 <= 1, 1.1, 1060, 2),
        ((x / 0.02) ** 2 + ((y - 0.6 * half[1]) / 0.02) ** 2 <= 1, 0.08, 1900, 2),
        (((x + 0.1) / 0.05) ** 2 + ((y - 0.06) / 0.03) ** 2 + ((z + 0.1) / 0.06) ** 2 <= 1, 0.95, 1050, 2),
    ]
    if arms:
        for sign in (-1, 1):
            arm = np.hypot(x - sign * (half[2] + 0.055), y) <= 0.045
            layers.append((arm, 0.7, 1080, 3))
    for mask, s, rho, of in layers:
        sigma[mask], density[mask], part[mask] = s, rho, of

    points = np.stack((x, y, z), axis=-1).reshape(-1, 3)
    rng = np.random.default_rng(seed)
    e = np.zeros((channels, 3, *z.shape), np.complex64)
    for c in range(channels):
        angle = 2 * np.pi * (c + 0.5) / channels
        loop, middle = _loop(angle, np.array([0.34, 0.34, 0.34]))
        a = vector_potential(loop, points)
        away = np.linalg.norm(points - middle, axis=1)
        field = 1j * OMEGA * a * np.exp(1j * WAVE * (away - 0.15))[:, None]
        scale = np.abs(field[density.ravel() > 0]).mean() * np.exp(-(away - away.min()) / 0.1)
        for _ in range(6):  # what the body and its borders scatter: plane waves of the tissue's wavelength
            direction, polarisation = rng.normal(size=3), rng.normal(size=3) + 1j * rng.normal(size=3)
            direction *= WAVE.real / np.linalg.norm(direction)
            field += (0.8 * scale * np.exp(1j * points @ direction))[:, None] * polarisation
        e[c] = (0.3 * field).T.reshape(3, *z.shape)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = [axes[2][0], axes[1][0], axes[0][0]]
    empty = np.zeros((1, 1, 1), np.float32)
    return FieldMaps(
        affine=affine,
        off_resonance=empty,
        b1_plus=np.zeros((channels, 1, 1, 1), np.complex64),
        b1_minus=np.zeros((1, 1, 1, 1), np.complex64),
        noise_resistance=np.eye(1, dtype=np.complex128),
        e=e,
        conductivity=sigma,
        density=density,
        part=part,
        body_mass=75.0,
        provenance={"transmit": "loops, E = i w A with a wave's phase: a stand-in for tests"},
    )


def _loop(angle: float, half: np.ndarray) -> tuple[Loop, np.ndarray]:
    """A loop 0.4 m long over an eighth of a cylinder."""
    span = angle + np.linspace(-0.35, 0.35, 9)
    x, y = half[2] * np.cos(span), half[1] * np.sin(span)
    top = np.stack((x, y, np.full(9, 0.2)), axis=1)
    bottom = np.stack((x, y, np.full(9, -0.2)), axis=1)[::-1]
    corners = np.concatenate((top, bottom))
    middle = np.array([half[2] * np.cos(angle), half[1] * np.sin(angle), 0.0])
    return Loop(points=corners), middle
