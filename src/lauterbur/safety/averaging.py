"""Absorbed power as matrices of the transmit channels, point by point, and its mean over cubes of tissue.

E = sum_c w_c e_c, and SAR = sigma |E|^2 / (2 rho) = w^H Q w with Q_cd = sigma / (2 rho) conj(e_c) . e_d.

The cubes do not depend on the drive, so the entries of the power matrices are summed with the same weights. A Hermitian
matrix is kept as its tx^2 real numbers (`sar.packed`): diagonal, real parts, imaginary parts above it.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lauterbur.safety.cubes import CENTRED, USED, Cubes, box_edges, whole_voxels

LIMB = 3  # in PARTS


def power_matrices(e: NDArray, conductivity: NDArray, voxel: NDArray) -> NDArray[np.float32]:
    """W/m3 per W, (n, tx^2) packed, of the voxels (n, 3) z, y, x; e (tx, 3, z, y, x) V/m/sqrt(W), conductivity S/m."""
    return _power_matrices(e, np.asarray(conductivity, np.float32), np.ascontiguousarray(voxel, np.int32))


def row_of(shape: tuple[int, ...], voxel: NDArray) -> NDArray[np.int32]:
    """(z, y, x): which row of a list of voxels each one is; -1 where it is not listed."""
    row = np.full(shape, -1, np.int32)
    row[tuple(np.asarray(voxel).T)] = np.arange(len(voxel), dtype=np.int32)
    return row


def cube_means(cubes: Cubes, power: NDArray[np.float32], row: NDArray[np.int32]) -> NDArray[np.float32]:
    """(cube, m): integral of power (n, m) per volume over each cube, over its mass: W/m3 become W/kg."""
    scale = float(np.prod(cubes.spacing)) / cubes.mass
    return _cube_means(cubes.voxel, cubes.direction, cubes.side, cubes.spacing, power, row, scale)


def cube_parts(cubes: Cubes, part: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(cube,): the part its voxel belongs to; but a limb's cube that holds any other tissue is held to that part's limit."""
    return _cube_parts(cubes.voxel, cubes.direction, cubes.side, cubes.spacing, part, tissue)


def spread(cubes: Cubes, value: NDArray) -> NDArray[np.float32]:
    """(z, y, x): in each voxel the largest value (cube,) of the cubes that count for it; 0 in air."""
    out = np.zeros(cubes.status.shape, np.float32)
    _spread_(out, cubes.status, cubes.voxel, cubes.direction, cubes.side, cubes.spacing, np.asarray(value, np.float32))
    return out


@njit(cache=True, parallel=True)
def _power_matrices(e, conductivity, voxel):  # type: ignore[no-untyped-def]
    tx = e.shape[0]
    power = np.zeros((len(voxel), tx * tx), np.float32)
    for n in prange(len(voxel)):
        z, y, x = voxel[n]
        half = conductivity[z, y, x] / 2
        field = e[:, :, z, y, x].copy()
        upper = tx
        n_upper = tx * (tx - 1) // 2
        for c in range(tx):
            total = 0.0
            for axis in range(3):
                total += field[c, axis].real ** 2 + field[c, axis].imag ** 2
            power[n, c] = half * total
            for d in range(c + 1, tx):
                product = 0j
                for axis in range(3):
                    product += np.conj(field[c, axis]) * field[d, axis]
                power[n, upper] = half * product.real
                power[n, upper + n_upper] = half * product.imag
                upper += 1
    return power


@njit(cache=True)
def _shares(low, high, n, start, share):  # type: ignore[no-untyped-def]
    """Voxels from start on that an edge from low to high covers, and how much of each; their number."""
    first = max(int(np.floor(low)), 0)
    last = min(int(np.ceil(high)), n)
    for i in range(first, last):
        share[i - first] = min(high, i + 1.0) - max(low, float(i))
    start[0] = first
    return last - first


@njit(cache=True, parallel=True, fastmath={"reassoc", "contract"})
def _cube_means(voxel, direction, side, spacing, power, row, scale):  # type: ignore[no-untyped-def]
    m = power.shape[1]
    longest = max(row.shape)
    mean = np.empty((len(voxel), m), np.float32)
    for n in prange(len(voxel)):
        low, high = np.empty(3), np.empty(3)
        start = np.empty((3, 1), np.int64)
        share = np.empty((3, longest))
        total = np.zeros(m)
        box_edges(voxel[n, 0], voxel[n, 1], voxel[n, 2], direction[n], side[n], spacing, low, high)
        n_z = _shares(low[0], high[0], row.shape[0], start[0], share[0])
        n_y = _shares(low[1], high[1], row.shape[1], start[1], share[1])
        n_x = _shares(low[2], high[2], row.shape[2], start[2], share[2])
        for a in range(n_z):
            for b in range(n_y):
                for c in range(n_x):
                    at = row[start[0, 0] + a, start[1, 0] + b, start[2, 0] + c]
                    if at >= 0:
                        weight = share[0, a] * share[1, b] * share[2, c]
                        for k in range(m):
                            total[k] += weight * power[at, k]
        for k in range(m):
            mean[n, k] = scale * total[k]
    return mean


@njit(cache=True, parallel=True)
def _cube_parts(voxel, direction, side, spacing, part, tissue):  # type: ignore[no-untyped-def]
    found = np.empty(len(voxel), np.uint8)
    for n in prange(len(voxel)):
        low, high = np.empty(3), np.empty(3)
        found[n] = part[voxel[n, 0], voxel[n, 1], voxel[n, 2]]
        if found[n] == LIMB:
            box_edges(voxel[n, 0], voxel[n, 1], voxel[n, 2], direction[n], side[n], spacing, low, high)
            for z in range(max(int(np.floor(low[0])), 0), min(int(np.ceil(high[0])), part.shape[0])):
                for y in range(max(int(np.floor(low[1])), 0), min(int(np.ceil(high[1])), part.shape[1])):
                    for x in range(max(int(np.floor(low[2])), 0), min(int(np.ceil(high[2])), part.shape[2])):
                        if tissue[z, y, x] and part[z, y, x] != LIMB:
                            found[n] = part[z, y, x]
    return found


@njit(cache=True)
def _spread_(out, status, voxel, direction, side, spacing, value):  # type: ignore[no-untyped-def]
    low, high = np.empty(3), np.empty(3)
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for n in range(len(voxel)):
        z, y, x = voxel[n]
        out[z, y, x] = max(out[z, y, x], value[n])
        if direction[n] == CENTRED:
            box_edges(z, y, x, CENTRED, side[n], spacing, low, high)
            whole_voxels(low, high, first, last)
            for a in range(first[0], last[0]):
                for b in range(first[1], last[1]):
                    for c in range(first[2], last[2]):
                        if status[a, b, c] == USED:
                            out[a, b, c] = max(out[a, b, c], value[n])
