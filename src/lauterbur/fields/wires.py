"""Quasi-static fields of polygons of thin straight wire carrying 1 A: magnetic field and vector potential.

Per segment from a to b, with vectors to the point P and their lengths (Hanson and Hirshman, Phys Plasmas 2002, 9:4410):

    B = mu0 / 4 pi * (ra x rb) (|ra| + |rb|) / (|ra| |rb| (|ra| |rb| + ra . rb))
    A = mu0 / 4 pi * u * ln((|ra| + |rb| + L) / (|ra| + |rb| - L)),   u from a to b, L = |b - a|

Distances below the wire's radius are taken as the radius, so that nothing is infinite on the wire.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.scanner.machine import Loop
from lauterbur.units import MU_0


def magnetic_field(loop: Loop, points: NDArray[np.float64], radius: float = 1e-3) -> NDArray[np.float64]:
    """T/A, (n, 3), at points (n, 3) in m."""
    return _magnetic_field(loop.points, np.ascontiguousarray(points, np.float64), radius)


def vector_potential(loop: Loop, points: NDArray[np.float64], radius: float = 1e-3) -> NDArray[np.float64]:
    """T m/A, (n, 3), at points (n, 3) in m; of zero divergence."""
    return _vector_potential(loop.points, np.ascontiguousarray(points, np.float64), radius)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"})
def _magnetic_field(corners, points, radius):  # type: ignore[no-untyped-def]
    b = np.zeros((len(points), 3))
    for j in range(len(points)):
        x, y, z = points[j]
        px, py, pz = x - corners[-1, 0], y - corners[-1, 1], z - corners[-1, 2]
        p = np.sqrt(px * px + py * py + pz * pz)
        for i in range(len(corners)):  # from the last corner to the first, and so on around
            qx, qy, qz = x - corners[i, 0], y - corners[i, 1], z - corners[i, 2]
            q = np.sqrt(qx * qx + qy * qy + qz * qz)
            square = (px - qx) ** 2 + (py - qy) ** 2 + (pz - qz) ** 2
            # with d the distance from the line, p q + p.q = L^2 d^2 / (p q - p.q): about L^2 d^2 / (2 p q) beside the wire
            product = max(p * q, radius * radius)
            below = max(p * q + px * qx + py * qy + pz * qz, square * radius * radius / (2 * product))
            factor = (p + q) / (product * below) if square > 0 else 0.0
            b[j, 0] += factor * (py * qz - pz * qy)
            b[j, 1] += factor * (pz * qx - px * qz)
            b[j, 2] += factor * (px * qy - py * qx)
            px, py, pz, p = qx, qy, qz, q
    return b * (MU_0 / (4 * np.pi))


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"})
def _vector_potential(corners, points, radius):  # type: ignore[no-untyped-def]
    m = len(corners)
    edge = np.empty((m, 3))
    length = np.empty(m)
    for i in range(m):
        edge[i] = corners[i] - corners[i - 1]
        length[i] = np.sqrt((edge[i] ** 2).sum())
    a = np.zeros((len(points), 3))
    for j in range(len(points)):
        x, y, z = points[j]
        p = np.sqrt((x - corners[-1, 0]) ** 2 + (y - corners[-1, 1]) ** 2 + (z - corners[-1, 2]) ** 2)
        for i in range(m):
            q = np.sqrt((x - corners[i, 0]) ** 2 + (y - corners[i, 1]) ** 2 + (z - corners[i, 2]) ** 2)
            if length[i] > 0:
                total = max(p + q, np.sqrt(length[i] ** 2 + 4 * radius * radius))
                weight = np.log((total + length[i]) / (total - length[i])) / length[i]
                for axis in range(3):
                    a[j, axis] += weight * edge[i, axis]
            p = q
    return a * (MU_0 / (4 * np.pi))
