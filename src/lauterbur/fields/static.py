"""The electric potential of a body by multigrid: what turns Maxwell's equation on tissue into an easy one.

Charges at the borders of tissues make Maxwell's equation stiff, and they are those of electrostatics. So a right side f
is answered with e = f - grad phi, div(eps grad phi) = div((eps - 1) f): the exact answer at frequency zero, about
right at any other. phi is found by a few steps of conjugate gradients for symmetric complex matrices (van der Vorst and
Melissen, IEEE Trans Magn 1990, 26:706), each preconditioned by smoothing with red-black Gauss-Seidel (Brandt, Math Comp 1977,
31:333) and by the same on a grid of cells merged by eight, two steps there: a K-cycle, whose steps gain the same on any grid
(Notay and Vassilevski, Numer Linear Algebra Appl 2008, 15:473). phi is zero around the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

COARSEST = 400  # cells: a grid that small is solved exactly
FACTOR = (
    0.55  # of conductances between merged cells: merging alone makes them too stiff (Braess, Computing 1995, 55:379)
)
SWEEPS = 2  # before and after the coarser grid
STEPS = 4  # on the finest grid: 1e-3 of the right side is left in a torso of 5 mm
COARSER_STEPS = 2


@dataclass(frozen=True, eq=False)
class Level:
    """One grid, with a layer of zeros around: face[0, z, y, x] lies between x and x + 1."""

    face: NDArray[
        np.complex64
    ]  # relative permittivity times area over distance, in units of the fine step; (3, z, y, x)
    inverse: NDArray[np.complex64]  # of the sum over a cell's six faces; (z, y, x)
    exact: NDArray[np.complex64] | None = None  # (cell, cell), of the coarsest grid: phi = exact right


def levels(face: NDArray[np.complex64]) -> list[Level]:
    """Grids from fine to coarse; face as fields/equation.py has it: permittivity at upper faces, (3, z, y, x)."""
    shape = face.shape[1:]
    halvings = 0
    while np.prod([-(-n // 2**halvings) for n in shape]) > COARSEST:
        halvings += 1
    size = [2**halvings * -(-n // 2**halvings) + 2 for n in shape]
    padded = np.ones([3, *size], np.complex64)
    padded[:, 1 : shape[0] + 1, 1 : shape[1] + 1, 1 : shape[2] + 1] = face
    made = [_level(padded)]
    for _ in range(halvings):
        made.append(_level(_merged(made[-1].face)))
    made[-1] = replace(made[-1], exact=_exact(made[-1]))
    return made


def _exact(level: Level) -> NDArray[np.complex64]:
    inside = (slice(1, -1),) * 3
    count = level.inverse[inside].size
    matrix = np.empty((count, count), np.complex128)
    for i_cell, cell in enumerate(np.ndindex(level.inverse[inside].shape)):
        unit = np.zeros_like(level.inverse)
        unit[inside][cell] = 1
        matrix[:, i_cell] = _forward_(np.zeros_like(unit), unit, np.complex64(0), level.face)[inside].reshape(-1)
    return np.linalg.inv(matrix).astype(np.complex64)


def potential(grids: list[Level], right: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """phi, of the shape of grids[0] with its layer of zeros: sum over faces of eps (phi - phi of the neighbour) = right."""
    return _solved(grids, 0, right, STEPS)


def _solved(grids: list[Level], depth: int, right: NDArray[np.complex64], steps: int) -> NDArray[np.complex64]:
    phi = np.zeros_like(right)
    exact = grids[depth].exact
    if exact is not None:
        inside = phi[1:-1, 1:-1, 1:-1]
        inside[...] = (exact @ right[1:-1, 1:-1, 1:-1].reshape(-1)).reshape(inside.shape)
        return phi
    residual = right.copy()
    direction = np.zeros_like(right)
    energy = 0j
    for i_step in range(steps):
        corrected = _cycled(grids, depth, residual)
        before, energy = energy, _product(residual, corrected)
        if energy == 0:
            break
        share = energy / before if i_step else 0j
        forward = _forward_(direction, corrected, np.complex64(share), grids[depth].face)
        _advance_(phi, residual, direction, forward, np.complex64(energy / _product(direction, forward)))
    return phi


def _cycled(grids: list[Level], depth: int, right: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """About phi: smoothed, corrected from the next coarser grid, smoothed in reverse."""
    phi = np.zeros_like(right)
    _smoothed_(phi, right, grids[depth], SWEEPS, (0, 1))
    coarse = _restricted(phi, right, grids[depth].face, grids[depth + 1].inverse.shape)
    _prolong_(phi, _solved(grids, depth + 1, coarse, COARSER_STEPS))
    _smoothed_(phi, right, grids[depth], SWEEPS, (1, 0))
    return phi


def _smoothed_(
    phi: NDArray[np.complex64], right: NDArray[np.complex64], level: Level, sweeps: int, colours: tuple[int, int]
) -> None:
    for _ in range(sweeps):
        for colour in colours:
            _smooth_(phi, right, level.face, level.inverse, colour)


def _level(face: NDArray[np.complex64]) -> Level:
    total = np.ones(face.shape[1:], np.complex64)
    here = (slice(1, -1),) * 3
    total[here] = 0
    for a in range(3):
        below = tuple(slice(0, -2) if axis == 2 - a else slice(1, -1) for axis in range(3))
        total[here] += face[a][here] + face[a][below]
    return Level(face, (1 / total).astype(np.complex64))


def _merged(face: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Between coarse centres: half a face, the face at the border, half a face in series; four such paths side by side."""
    shape = [(n - 2) // 2 + 2 for n in face.shape[1:]]
    coarse = np.ones((3, *shape), np.complex64) * 2
    for a in range(3):
        axis = 2 - a
        flow = np.moveaxis(face[a], axis, 0)[0::2, 1:-1, 1:-1]  # 0-1, 2-3, ...: borders of coarse cells
        four = flow[:, 0::2, 0::2] + flow[:, 1::2, 0::2] + flow[:, 0::2, 1::2] + flow[:, 1::2, 1::2]
        four = four * np.float32(FACTOR)
        np.moveaxis(coarse[a], axis, 0)[:-1, 1:-1, 1:-1] = four
    return coarse


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _smooth_(phi, right, face, inverse, colour):  # type: ignore[no-untyped-def]
    nz, ny, nx = phi.shape
    for i in prange(1, nz - 1):
        z = np.int64(i)
        for y in range(1, ny - 1):
            for x in range(1 + (z + y + colour) % 2, nx - 1, 2):
                phi[z, y, x] = inverse[z, y, x] * (
                    right[z, y, x]
                    + face[0, z, y, x] * phi[z, y, x + 1]
                    + face[0, z, y, x - 1] * phi[z, y, x - 1]
                    + face[1, z, y, x] * phi[z, y + 1, x]
                    + face[1, z, y - 1, x] * phi[z, y - 1, x]
                    + face[2, z, y, x] * phi[z + 1, y, x]
                    + face[2, z - 1, y, x] * phi[z - 1, y, x]
                )


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _restricted(phi, right, face, shape):  # type: ignore[no-untyped-def]
    """What is left of the right side, summed over the eight cells of a coarse one."""
    coarse = np.zeros(shape, np.complex64)
    for i in prange(1, shape[0] - 1):
        k = np.int64(i)
        for dz in range(2):
            z = 2 * k - 1 + dz
            for y in range(1, phi.shape[1] - 1):
                for x in range(1, phi.shape[2] - 1):
                    here = phi[z, y, x]
                    coarse[k, (y + 1) // 2, (x + 1) // 2] += (
                        right[z, y, x]
                        + face[0, z, y, x] * (phi[z, y, x + 1] - here)
                        + face[0, z, y, x - 1] * (phi[z, y, x - 1] - here)
                        + face[1, z, y, x] * (phi[z, y + 1, x] - here)
                        + face[1, z, y - 1, x] * (phi[z, y - 1, x] - here)
                        + face[2, z, y, x] * (phi[z + 1, y, x] - here)
                        + face[2, z - 1, y, x] * (phi[z - 1, y, x] - here)
                    )
    return coarse


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _prolong_(phi, coarse):  # type: ignore[no-untyped-def]
    for i in prange(1, phi.shape[0] - 1):
        z = np.int64(i)
        for y in range(1, phi.shape[1] - 1):
            for x in range(1, phi.shape[2] - 1):
                phi[z, y, x] += coarse[(z + 1) // 2, (y + 1) // 2, (x + 1) // 2]


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _product(a, b):  # type: ignore[no-untyped-def]
    """Sum of a b, without conjugation, in double precision."""
    total = np.zeros(a.shape[0], np.complex128)
    for z in prange(a.shape[0]):
        part = np.complex128(0)
        for y in range(a.shape[1]):
            row = np.complex64(0)
            for x in range(a.shape[2]):
                row += a[z, y, x] * b[z, y, x]
            part += row
        total[z] = part
    return total.sum()


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _forward_(direction, corrected, share, face):  # type: ignore[no-untyped-def]
    """direction = corrected + share direction, and the sum over faces of eps (direction - direction of the neighbour)."""
    nz, ny, nx = direction.shape
    for i in prange(nz):
        z = np.int64(i)
        for y in range(ny):
            for x in range(nx):
                direction[z, y, x] = corrected[z, y, x] + share * direction[z, y, x]
    forward = np.zeros_like(direction)
    for i in prange(1, nz - 1):
        z = np.int64(i)
        for y in range(1, ny - 1):
            for x in range(1, nx - 1):
                here = direction[z, y, x]
                forward[z, y, x] = (
                    face[0, z, y, x] * (here - direction[z, y, x + 1])
                    + face[0, z, y, x - 1] * (here - direction[z, y, x - 1])
                    + face[1, z, y, x] * (here - direction[z, y + 1, x])
                    + face[1, z, y - 1, x] * (here - direction[z, y - 1, x])
                    + face[2, z, y, x] * (here - direction[z + 1, y, x])
                    + face[2, z - 1, y, x] * (here - direction[z - 1, y, x])
                )
    return forward


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _advance_(phi, residual, direction, forward, size):  # type: ignore[no-untyped-def]
    for z in prange(phi.shape[0]):
        for y in range(phi.shape[1]):
            for x in range(phi.shape[2]):
                phi[z, y, x] += size * direction[z, y, x]
                residual[z, y, x] -= size * forward[z, y, x]
