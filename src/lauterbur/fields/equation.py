"""Maxwell's equation for a body on a grid, as one linear equation: what `integral.solve` solves.

Unknown is E on the faces of the voxels, as good as the continuous flux D = eps E with 1/eps the mean of both sides':

    E - (k^2 + grad div) g * (eps - 1) E - E_shield = E_inc        on the faces of voxels that are not air

E_shield is what an RF shield around sends back of the body's own currents (fields/lattice.py), where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lauterbur.fields.green import Green, green, scattered
from lauterbur.fields.lattice import Lattice, body_strength, lattice_electric
from lauterbur.fields.medium import Medium, step
from lauterbur.fields.static import Level, levels, potential
from lauterbur.units import EPSILON_0, MU_0


@dataclass(frozen=True, eq=False)
class Equation:
    """Unknowns are the faces where the contrast is not zero, in the order of `where`."""

    where: NDArray[np.int64]  # (unknown,): flat index into (3, z, y, x)
    face: NDArray[np.complex64]  # relative permittivity of upper faces, (3, z, y, x)
    contrast: NDArray[np.complex64]  # (unknown,): eps - 1
    grid: Green
    grids: list[Level]
    medium: Medium
    shield: Lattice | None


def equation(medium: Medium, shield: Lattice | None = None) -> Equation:
    face = face_permittivity(medium.permittivity)
    where = np.flatnonzero(face != 1)
    k = 2 * np.pi * medium.frequency * np.sqrt(EPSILON_0 * MU_0)
    grid = green(face.shape[1:], step(medium), float(k))
    return Equation(where, face, face.reshape(-1)[where] - 1, grid, levels(face), medium, shield)


def face_permittivity(permittivity: NDArray) -> NDArray[np.complex64]:
    """(3, z, y, x): of the upper x, y, z face of each voxel; 1/eps is the mean of both sides'."""
    inverse = 1 / permittivity.astype(np.complex128)
    face = np.ones((3, *permittivity.shape), np.complex64)
    for a in range(3):
        mean = (inverse + np.roll(inverse, -1, 2 - a)) / 2
        face[a] = np.where(mean == 1, 1, 1 / mean)
    return face


def operate(problem: Equation, e: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """E minus what its polarisation scatters, and what the shield sends back of it, (vector, unknown)."""
    image = e.copy()
    for row, given in zip(image, e, strict=True):
        row -= scattered(problem.grid, spread(problem, problem.contrast * given)).reshape(-1)[problem.where]
    if problem.shield is not None:
        strength = body_strength(problem.medium, problem.shield, (current(problem, row) for row in e))
        for row, answer in zip(image, lattice_electric(problem.medium, problem.shield, strength), strict=True):
            row -= answer.reshape(-1)[problem.where]
    return image


def current(problem: Equation, e: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """A/m2, (3, z, y, x): the polarisation current of E on the faces, (unknown,)."""
    rate = np.complex64(-2j * np.pi * problem.medium.frequency * EPSILON_0)
    return spread(problem, rate * problem.contrast * e)


def precondition(problem: Equation, f: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """About the E that each right side, (vector, unknown), would make at frequency zero: fields/static.py."""
    answer = f.copy()
    right = np.zeros_like(problem.grids[0].inverse)
    flux = np.zeros((3, *(n + 1 for n in problem.face.shape[1:])), np.complex64)
    gradient = np.empty_like(problem.face)
    for row, given in zip(answer, f, strict=True):
        flux[:, 1:, 1:, 1:] = spread(problem, problem.contrast * given)
        _collect_(right, flux)
        _gradient_(gradient, potential(problem.grids, right))
        row -= gradient.reshape(-1)[problem.where]
    return answer


def spread(problem: Equation, values: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """(unknown,) -> (3, z, y, x), zero elsewhere."""
    full = np.zeros(problem.face.shape, np.complex64)
    full.reshape(-1)[problem.where] = values
    return full


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _collect_(right, flux):  # type: ignore[no-untyped-def]
    """right = minus the flux out of each voxel; flux has a row of zeros before each axis, right a layer all around."""
    _, nz, ny, nx = flux.shape
    for i in prange(1, nz):
        z = np.int64(i)
        for y in range(1, ny):
            for x in range(1, nx):
                right[z, y, x] = (
                    flux[0, z, y, x - 1]
                    - flux[0, z, y, x]
                    + flux[1, z, y - 1, x]
                    - flux[1, z, y, x]
                    + flux[2, z - 1, y, x]
                    - flux[2, z, y, x]
                )


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _gradient_(gradient, phi):  # type: ignore[no-untyped-def]
    """Differences of phi (with a layer around) from each voxel to the next."""
    _, nz, ny, nx = gradient.shape
    for i in prange(nz):
        z = np.int64(i)
        for y in range(ny):
            for x in range(nx):
                here = phi[z + 1, y + 1, x + 1]
                gradient[0, z, y, x] = phi[z + 1, y + 1, x + 2] - here
                gradient[1, z, y, x] = phi[z + 1, y + 2, x + 1] - here
                gradient[2, z, y, x] = phi[z + 2, y + 1, x + 1] - here
