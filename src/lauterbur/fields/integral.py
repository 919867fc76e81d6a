"""Maxwell in a body at one frequency: the volume integral equation on a staggered grid, by FFT.

solution = solve(medium, incident_fields(medium, conductors))

Unknown is E on the faces of the voxels, as good as the continuous flux D = eps E with 1/eps the mean of both sides':

    E - (k^2 + grad div) g * (eps - 1) E = E_inc        on faces of voxels that are not air
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lauterbur.fields.green import Green, green, magnetic, scattered
from lauterbur.fields.incident import Incident
from lauterbur.fields.krylov import Space, solved
from lauterbur.fields.medium import Medium, step
from lauterbur.fields.static import Level, levels, potential
from lauterbur.units import EPSILON_0, MU_0

TOLERANCE = 1e-4  # of the residual relative to the incident field, in the body
Progress = Callable[[float, str], None]  # fraction done, what is done


@dataclass(frozen=True, eq=False)
class Solution:
    """The fields of every channel with the body there, per unit of what `incident` was made for (1 A: per ampere)."""

    medium: Medium
    current: NDArray[np.complex64]  # A/m2, (channel, 3, z, y, x): polarisation current on the voxels' upper faces
    e: NDArray[np.complex64]  # V/m, (channel, 3, z, y, x), at voxel centres; 0 outside the body
    b: NDArray[np.complex64]  # T, (channel, 3, z, y, x), at voxel centres: b1_plus = (b[:, 0] + 1j * b[:, 1]) / 2
    absorbed: NDArray[np.complex128]  # W, (channel, channel): absorbed power of drive w is w^H absorbed w
    impedance: NDArray[np.complex128]  # Ohm, (channel, channel): what the body adds to Z of ports that carry 1 A
    residual: NDArray[np.float64]  # (channel,): what the equation is still wrong by, relative to the incident field
    iterations: int  # applications of the operator, all channels together
    history: tuple[float, ...] = ()  # largest residual after each step


@dataclass(frozen=True, eq=False)
class Equation:
    """The discrete equation: unknowns are the faces where `contrast` is not zero, in the order of `where`."""

    where: NDArray[np.int64]  # (unknown,): flat index into (3, z, y, x)
    face: NDArray[np.complex64]  # relative permittivity, (3, z, y, x)
    contrast: NDArray[np.complex64]  # (unknown,): eps - 1
    grid: Green
    grids: list[Level]


def equation(medium: Medium) -> Equation:
    face = face_permittivity(medium.permittivity)
    where = np.flatnonzero(face != 1)
    k = 2 * np.pi * medium.frequency * np.sqrt(EPSILON_0 * MU_0)
    grid = green(face.shape[1:], step(medium), float(k))
    return Equation(where, face, face.reshape(-1)[where] - 1, grid, levels(face))


def face_permittivity(permittivity: NDArray) -> NDArray[np.complex64]:
    """(3, z, y, x): of the upper x, y, z face of each voxel; 1/eps is the mean of both sides'."""
    inverse = 1 / permittivity.astype(np.complex128)
    face = np.ones((3, *permittivity.shape), np.complex64)
    for a in range(3):
        mean = (inverse + np.roll(inverse, -1, 2 - a)) / 2
        face[a] = np.where(mean == 1, 1, 1 / mean)
    return face


def operate(problem: Equation, e: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """E minus what its polarisation scatters, (unknown,)."""
    return e - scattered(problem.grid, spread(problem, problem.contrast * e)).reshape(-1)[problem.where]


def precondition(problem: Equation, f: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """About the E that this right side would make at frequency zero: fields/static.py."""
    right = np.zeros_like(problem.grids[0].inverse)
    _collect_(right, spread(problem, problem.contrast * f))
    phi = potential(problem.grids, right)
    gradient = np.empty_like(problem.face)
    _gradient_(gradient, phi)
    return f - gradient.reshape(-1)[problem.where]


def spread(problem: Equation, values: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """(unknown,) -> (3, z, y, x), zero elsewhere."""
    full = np.zeros(problem.face.shape, np.complex64)
    full.reshape(-1)[problem.where] = values
    return full


def solve(
    medium: Medium,
    incident: Incident,
    *,
    tolerance: float = TOLERANCE,
    start: Solution | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Solution:
    """The fields of all channels of `incident` in the medium.

    start     a solution with as many channels, perhaps on a coarser grid: where to begin
    cache     a folder: what was solved before (same medium, same incident field) is read, what was begun is gone on with
    """
    problem = equation(medium)
    channels = len(incident.e)
    right = incident.e.reshape(channels, -1)[:, problem.where]
    space = Space(400)
    answer = solved(lambda e: operate(problem, e), lambda f: precondition(problem, f), right, None, space, tolerance)
    omega = 2 * np.pi * medium.frequency
    volume = step(medium) ** 3
    shape = (channels, 3, *medium.permittivity.shape)
    current, e, b = (np.zeros(shape, np.complex64) for _ in range(3))
    for channel, x in enumerate(answer.solution):
        field = spread(problem, x.astype(np.complex64))
        current[channel] = np.complex64(-1j * omega * EPSILON_0) * (problem.face - 1) * field
        for a in range(3):
            flux = problem.face[a] * field[a]
            e[channel, a] = (flux + np.roll(flux, 1, 2 - a)) / (2 * medium.permittivity)
        e[channel] *= medium.permittivity != 1
        b[channel] = incident.b[channel] + magnetic(problem.grid, current[channel])
    loss = 0.5 * omega * EPSILON_0 * volume * problem.contrast.imag.astype(np.float64)
    absorbed = (answer.solution.conj() * loss) @ answer.solution.T
    polarised = -1j * omega * EPSILON_0 * problem.contrast * answer.solution
    impedance = -volume * (right @ polarised.T)
    return Solution(medium, current, e, b, absorbed, impedance, answer.residual, answer.iterations, answer.history)


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _collect_(right, flux):  # type: ignore[no-untyped-def]
    """right (with a layer around) = minus the flux out of each voxel."""
    _, nz, ny, nx = flux.shape
    for i in prange(nz - 1):
        z = np.int64(i) + 1
        for y in range(1, ny):
            for x in range(1, nx):
                right[z + 1, y + 1, x + 1] = (
                    flux[0, z, y, x - 1]
                    - flux[0, z, y, x]
                    + flux[1, z, y - 1, x]
                    - flux[1, z, y, x]
                    + flux[2, z - 1, y, x]
                    - flux[2, z, y, x]
                )
        # row 0 of each axis is air: no flux
    for i in prange(nz):
        z = np.int64(i)
        for y in range(ny):
            right[z + 1, y + 1, 1] = -flux[0, z, y, 0]
        for x in range(nx):
            right[z + 1, 1, x + 1] = -flux[1, z, 0, x]
    for y in range(ny):
        for x in range(nx):
            right[1, y + 1, x + 1] = -flux[2, 0, y, x]


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _gradient_(gradient, phi):  # type: ignore[no-untyped-def]
    _, nz, ny, nx = gradient.shape
    for i in prange(nz):
        z = np.int64(i)
        for y in range(ny):
            for x in range(nx):
                here = phi[z + 1, y + 1, x + 1]
                gradient[0, z, y, x] = phi[z + 1, y + 1, x + 2] - here
                gradient[1, z, y, x] = phi[z + 1, y + 2, x + 1] - here
                gradient[2, z, y, x] = phi[z + 2, y + 1, x + 1] - here
