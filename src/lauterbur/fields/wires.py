"""Quasi-static fields of polygons of thin straight wire carrying 1 A: magnetic field and vector potential.

Per segment from a to b, with vectors to the point P and their lengths (Hanson and Hirshman, Phys Plasmas 2002, 9:4410):

    B = mu0 / 4 pi * (ra x rb) (|ra| + |rb|) / (|ra| |rb| (|ra| |rb| + ra . rb))
    A = mu0 / 4 pi * u * ln((|ra| + |rb| + L) / (|ra| + |rb| - L)),   u from a to b, L = |b - a|

Distances below the wire's radius are taken as the radius, so that nothing is infinite on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.scanner.machine import Loop
from lauterbur.units import MU_0


def magnetic_field(loop: Loop, points: NDArray[np.float64], radius: float = 1e-3) -> NDArray[np.float64]:
    """T/A, (n, 3), at points (n, 3) in m."""
    return _fields(loop.points, np.ascontiguousarray(points, np.float64), radius)[0]


def vector_potential(loop: Loop, points: NDArray[np.float64], radius: float = 1e-3) -> NDArray[np.float64]:
    """T m/A, (n, 3), at points (n, 3) in m; of zero divergence."""
    return _fields(loop.points, np.ascontiguousarray(points, np.float64), radius)[1]


def both_fields(
    loops: Sequence[Loop], points: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """b1_minus = (Bx - i By)/2, T/A, (loop, n), and the vector potential, T m/A, (loop, n, 3), of each loop."""
    b1_minus = np.empty((len(loops), len(points)), np.complex64)
    potential = np.empty((len(loops), len(points), 3), np.float32)
    for i_loop, loop in enumerate(loops):
        b, a = _fields(loop.points, points, radius)
        b1_minus[i_loop] = (b[:, 0] - 1j * b[:, 1]) / 2
        potential[i_loop] = a
    return b1_minus, potential


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"})
def _fields(corners, points, radius):  # type: ignore[no-untyped-def]
    n, m = len(points), len(corners)
    b = np.zeros((n, 3))
    a = np.zeros((n, 3))
    for j in range(n):
        for i in range(m):
            ax, ay, az = corners[i, 0], corners[i, 1], corners[i, 2]
            k = i + 1 if i + 1 < m else 0
            ux, uy, uz = corners[k, 0] - ax, corners[k, 1] - ay, corners[k, 2] - az
            length = np.sqrt(ux * ux + uy * uy + uz * uz)
            if length == 0.0:
                continue
            px, py, pz = points[j, 0] - ax, points[j, 1] - ay, points[j, 2] - az
            qx, qy, qz = px - ux, py - uy, pz - uz
            p = np.sqrt(px * px + py * py + pz * pz)
            q = np.sqrt(qx * qx + qy * qy + qz * qz)
            cx, cy, cz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
            # with d the distance from the line, p q + p.q = L^2 d^2 / (p q - p.q): about L^2 d^2 / (2 p q) beside the wire
            product = max(p * q, radius * radius)
            below = max(p * q + px * qx + py * qy + pz * qz, length * length * radius * radius / (2 * product))
            factor = (p + q) / (product * below)
            b[j, 0] += factor * cx
            b[j, 1] += factor * cy
            b[j, 2] += factor * cz
            total = max(p + q, np.sqrt(length * length + 4 * radius * radius))
            weight = np.log((total + length) / (total - length)) / length
            a[j, 0] += weight * ux
            a[j, 1] += weight * uy
            a[j, 2] += weight * uz
    scale = MU_0 / (4 * np.pi)
    return b * scale, a * scale
