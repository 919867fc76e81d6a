"""A smooth map on a coarse grid, read anywhere: cubic Lagrange interpolation between the four nearest nodes per axis.

On a lattice whose axes are the grid's the three axes separate into small matrix products: whole heads in tens of milliseconds.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.errors import InputError


def sample(
    values: NDArray[np.complex64], affine: NDArray[np.float64], position: NDArray[np.float64]
) -> NDArray[np.complex64]:
    """values (z, y, x) at positions (n, 3) m."""
    inverse = np.linalg.inv(affine)
    index = position @ inverse[:3, :3].T + inverse[:3, 3]
    for axis in range(3):
        _check(index[:, axis], values.shape[2 - axis])
    return _gather(values, index)


def is_aligned(affine: NDArray[np.float64], lattice_affine: NDArray[np.float64]) -> bool:
    """Do both grids have the same axes in the same order (at any spacing)?"""
    between = (np.linalg.inv(affine) @ lattice_affine)[:3, :3]
    return bool(np.abs(between - np.diag(np.diag(between))).max() <= 1e-9 * np.abs(between).max())


def axis_weights(
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    lattice_shape: tuple[int, int, int],
    lattice_affine: NDArray[np.float64],
) -> list[NDArray[np.float32]]:
    """Per axis z, y, x a matrix (lattice, grid) that interpolates; the two grids must be aligned."""
    between = np.linalg.inv(affine) @ lattice_affine
    matrices = []
    for axis, (count, fine) in enumerate(zip(shape, lattice_shape, strict=True)):
        place = between[2 - axis, 2 - axis] * np.arange(fine) + between[2 - axis, 3]
        _check(place, count)
        base, weights = _cubic(place, count)
        matrix = np.zeros((fine, count), np.float32)
        for tap in range(4):
            matrix[np.arange(fine), base + tap] = weights[:, tap]
        matrices.append(matrix)
    return matrices


def sample_lattice(values: NDArray[np.complex64], matrices: list[NDArray[np.float32]]) -> NDArray[np.complex64]:
    """values (z, y, x) on the whole lattice."""
    pairs = np.ascontiguousarray(values).view(np.float32).reshape(*values.shape, 2)  # real matrices: keep products real
    along_z = np.tensordot(matrices[0], pairs, axes=(1, 0))  # (Z, y, x, 2)
    along_y = np.matmul(matrices[1], along_z.reshape(*along_z.shape[:2], -1)).reshape(
        len(along_z), -1, *along_z.shape[2:]
    )
    real, imaginary = (np.matmul(along_y[..., part], matrices[2].T) for part in (0, 1))
    result = np.empty(real.shape, np.complex64)
    result.real, result.imag = real, imaginary
    return result


def _check(place: NDArray, count: int) -> None:
    if count < 4:
        raise InputError(f"a map of {count} nodes along one axis is too small to interpolate; it needs 4")
    if len(place) and not (place.min() >= -1e-6 and place.max() <= count - 1 + 1e-6):
        raise InputError(
            f"spins lie up to {max(-place.min(), place.max() - count + 1):.3g} cells outside the solved receive maps;"
            " solve the fields for the subject these spins are of"
        )


def _cubic(place: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First of the four nodes, and their weights (n, 4); towards the rim the four stay inside."""
    base = np.clip(np.floor(place).astype(np.int64) - 1, 0, count - 4)
    t = place - base  # of nodes 0, 1, 2, 3
    weights = np.stack(
        [
            -(t - 1) * (t - 2) * (t - 3) / 6,
            t * (t - 2) * (t - 3) / 2,
            -t * (t - 1) * (t - 3) / 2,
            t * (t - 1) * (t - 2) / 6,
        ],
        axis=1,
    )
    return base, weights


@njit(cache=True, nogil=True)
def _gather(values, index):  # type: ignore[no-untyped-def]
    n = len(index)
    result = np.empty(n, np.complex64)
    weights = np.empty((3, 4))
    base = np.empty(3, np.int64)
    for i in range(n):
        for axis in range(3):
            count = values.shape[2 - axis]
            first = min(max(int(np.floor(index[i, axis])) - 1, 0), count - 4)
            t = index[i, axis] - first
            base[axis] = first
            weights[axis, 0] = -(t - 1) * (t - 2) * (t - 3) / 6
            weights[axis, 1] = t * (t - 2) * (t - 3) / 2
            weights[axis, 2] = -t * (t - 1) * (t - 3) / 2
            weights[axis, 3] = t * (t - 1) * (t - 2) / 6
        total = 0j
        for k in range(4):
            for j in range(4):
                row = 0j
                for m in range(4):
                    row += weights[0, m] * values[base[2] + k, base[1] + j, base[0] + m]
                total += weights[2, k] * weights[1, j] * row
        result[i] = total
    return result
