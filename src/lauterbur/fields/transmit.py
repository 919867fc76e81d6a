"""Coils around a body: incident fields and impedances per port with the shield, then S-matrix and fields per square root of watt.

`Coil` is all that does not depend on the body. The body's own field meets the shield too: `answer` gives what the shield sends back of
currents in the body, as an incident field, and `coil_and_body` repeats the solution with it until what is left is small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lauterbur.fields import conductors as wires
from lauterbur.fields.conductors import Pieces, impedance, pieces
from lauterbur.fields.incident import Incident
from lauterbur.fields.integral import TOLERANCE, Solution, solve
from lauterbur.fields.medium import Medium, step
from lauterbur.fields.sampling import axis_weights, sample_lattice
from lauterbur.fields.shield import (
    Columns,
    columns,
    lattice_strength,
    shield_fields,
    shield_impedance,
    source_strength,
    waves,
)
from lauterbur.scanner.machine import Conductor

Progress = Callable[[float, str], None]
AROUND = 2  # voxels around the body where B is wanted too
SHIELD_ENOUGH = 0.01  # of the incident field (r.m.s. in the body): a shield's answer below this is not solved for again
PASSES = 3


@dataclass(frozen=True, eq=False)
class Lattice:
    """A coarse grid on which the shield's field is computed; it is smooth in the body."""

    columns: Columns
    shape: tuple[int, int, int]  # z, y, x
    used: NDArray[np.bool_]  # (y, x): columns that are computed
    weights: tuple[list[NDArray[np.float32]], ...]  # for voxel centres, then faces x, y, z


@dataclass(frozen=True, eq=False)
class Coil:
    """Conductors in their shield, per port and ampere."""

    incident: Incident  # in the medium
    impedance: NDArray[np.complex128]  # Ohm, (port, port), without body; its real part is loss and radiation
    loss: NDArray[np.float64]  # Ohm, (port,), of the conductors and their capacitors
    lattice: Lattice | None  # where there is a shield
    omega: float


@dataclass(frozen=True, eq=False)
class Loaded:
    """A coil with a body in it, per port and ampere."""

    e: NDArray[np.complex64]  # V/m, (port, 3, z, y, x), voxel centres
    b: NDArray[np.complex64]  # T, (port, 3, z, y, x)
    impedance: NDArray[np.complex128]  # Ohm, (port, port), all in all
    absorbed: NDArray[np.complex128]  # W, (port, port)
    iterations: int
    shield_answer: tuple[float, ...]  # r.m.s. of the shield's answer to the body over the incident field, pass by pass


def coil(
    medium: Medium,
    conductors: tuple[Conductor, ...],
    modes: NDArray[np.float64],
    *,
    conductor_radius: float,
    unloaded_q: float | None = None,
    resistance: float = 0.0,
    shield_radius: float = 0.0,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Coil:
    """The conductors around a medium; their loss from Q (w L / Q of each port), or `resistance` Ohm each."""
    frequency, omega = medium.frequency, 2 * np.pi * medium.frequency
    segments = pieces(conductors)
    induced, charged = impedance(segments, conductor_radius, frequency)
    near = ndimage.binary_dilation(medium.permittivity != 1, np.ones((3, 3, 3), bool), AROUND)
    incident = _free_incident(medium, segments, near, max(conductor_radius, step(medium)))
    lattice = None
    if shield_radius:
        ends = np.concatenate([segments.start, segments.end])
        outer = float(np.hypot(ends[:, 0] - centre[0], ends[:, 1] - centre[1]).max())
        close = waves(
            shield_radius, centre, frequency, inner=outer, outer=outer, span=float(np.ptp(ends[:, 2]))
        )  # coil to coil
        induced = induced + shield_impedance(close, source_strength(close, segments), omega)
        lattice = _lattice(medium, near, shield_radius, centre, outer, (ends[:, 2].min(), ends[:, 2].max()))
        incident = _plus(
            incident, _lattice_fields(lattice, source_strength(lattice.columns.basis, segments), omega), near
        )
    port = modes.T @ (induced + charged) @ modes
    reactance = np.abs(np.diag(modes.T @ induced @ modes).imag)
    loss = reactance / unloaded_q if unloaded_q else resistance * (modes**2).sum(axis=0)
    incident = Incident(_mixed(modes, incident.e), _mixed(modes, incident.b))
    return Coil(incident, port + np.diag(loss), loss, lattice, omega)


def coil_and_body(
    medium: Medium,
    coil: Coil,
    *,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Loaded:
    """Maxwell in the body, the shield's answer to the body's own currents included."""
    incident, answers = coil.incident, []
    solution = solve(medium, incident, tolerance=tolerance, progress=progress, cache=cache)
    e, b, current, iterations = solution.e, solution.b, solution.current, solution.iterations
    latest: Solution = solution
    body = medium.permittivity != 1
    strength = np.linalg.norm(incident.e[:, :, body])
    for _ in range(PASSES if coil.lattice is not None else 0):
        answer = _answer(medium, coil, latest.current)
        answers.append(float(np.linalg.norm(answer.e[:, :, body]) / strength))
        if answers[-1] <= SHIELD_ENOUGH / 10 or len(answers) == PASSES:
            break
        latest = solve(medium, answer, tolerance=min(0.1, tolerance / answers[-1]), cache=cache)
        e, b, current = e + latest.e, b + latest.b, current + latest.current
        iterations += latest.iterations
        if answers[-1] <= SHIELD_ENOUGH:
            break
    cell = step(medium) ** 3
    z_body = -np.einsum("iczyx,jczyx->ij", incident.e, current, dtype=np.complex128, optimize=True) * cell
    z_body = (z_body + z_body.T) / 2
    sigma = medium.permittivity.imag * np.float32(8.8541878128e-12 * coil.omega)
    absorbed = np.einsum("zyx,iczyx,jczyx->ij", sigma / 2 * cell, e.conj(), e, dtype=np.complex128, optimize=True)
    return Loaded(e, b, coil.impedance + z_body, absorbed, iterations, tuple(answers))


def _free_incident(medium: Medium, segments: Pieces, near: NDArray[np.bool_], radius: float) -> Incident:
    shape = (segments.count, 3, *near.shape)
    e, b = np.zeros(shape, np.complex64), np.zeros(shape, np.complex64)
    place = np.argwhere(near)[:, ::-1] * step(medium) + medium.affine[:3, 3]
    for axis in range(3):
        face = place + step(medium) / 2 * np.eye(3)[axis]
        e[:, axis, near] = wires.electric_field(segments, face, medium.frequency, radius)[..., axis]
    b[:, :, near] = np.moveaxis(wires.magnetic_field(segments, place, medium.frequency, radius), 2, 1)
    return Incident(e, b)


def _lattice(
    medium: Medium,
    near: NDArray[np.bool_],
    radius: float,
    centre: tuple[float, float],
    outer: float,
    coil_ends: tuple[float, float],
) -> Lattice:
    size, first, shape = step(medium), medium.affine[:3, 3], near.shape
    body = np.argwhere(near)[:, ::-1] * size + first
    reach = float(np.hypot(body[:, 0] - centre[0], body[:, 1] - centre[1]).max())
    coarse = float(np.clip((radius - reach) / 4, size, 0.025))
    counts = [int(np.ceil((n + 1) * size / coarse)) + 3 for n in shape[::-1]]  # x, y, z
    start = first - coarse
    axes = [start[axis] + coarse * np.arange(counts[axis]) for axis in range(3)]
    grid_y, grid_x = np.meshgrid(axes[1], axes[0], indexing="ij")
    rho = np.hypot(grid_x - centre[0], grid_y - centre[1])
    used = rho <= min(reach + 3 * coarse, 0.985 * radius)
    span = max(coil_ends[1] - body[:, 2].min(), body[:, 2].max() - coil_ends[0], np.ptp(body[:, 2]))
    basis = waves(
        radius, centre, medium.frequency, inner=reach + 0.5 * coarse, outer=max(outer, reach), span=float(span)
    )
    affine = np.diag([coarse, coarse, coarse, 1.0])
    affine[:3, 3] = start
    weights = []
    for offset in np.concatenate([np.zeros((1, 3)), size / 2 * np.eye(3)]):
        fine = medium.affine.copy()
        fine[:3, 3] += offset
        weights.append(axis_weights((counts[2], counts[1], counts[0]), affine, shape, fine))
    at = columns(basis, grid_x[used], grid_y[used], axes[2])
    return Lattice(at, (counts[2], counts[1], counts[0]), used, tuple(weights))


def _lattice_fields(lattice: Lattice, strength: NDArray[np.complex128], omega: float) -> Incident:
    """The shield's field of sources of this strength, on the fine grid."""
    electric, magnetic = shield_fields(lattice.columns, strength, omega)
    shape = tuple(len(matrix) for matrix in lattice.weights[0])
    e, b = (np.empty((len(electric), 3, *shape), np.complex64) for _ in range(2))
    for field, target, shifted in ((electric, e, True), (magnetic, b, False)):
        for i in range(len(field)):
            for axis in range(3):
                coarse = np.zeros(lattice.shape, np.complex64)
                coarse[:, lattice.used] = field[i, axis]
                target[i, axis] = sample_lattice(coarse, lattice.weights[axis + 1 if shifted else 0])
    return Incident(e, b)


def _answer(medium: Medium, coil: Coil, current: NDArray[np.complex64]) -> Incident:
    """What the shield sends back of currents in the body: the transposed interpolation gathers them on the lattice."""
    lattice = coil.lattice
    assert lattice is not None
    cell = np.float32(step(medium) ** 3)
    gathered = np.zeros((len(current), 3, lattice.shape[0], int(lattice.used.sum())), np.complex64)
    for i in range(len(current)):
        for axis in range(3):
            back = [matrix.T for matrix in lattice.weights[axis + 1]]
            gathered[i, axis] = sample_lattice(current[i, axis] * cell, back)[:, lattice.used]
    near = ndimage.binary_dilation(medium.permittivity != 1, np.ones((3, 3, 3), bool), AROUND)
    fields = _lattice_fields(lattice, lattice_strength(lattice.columns, gathered), coil.omega)
    return Incident(fields.e * near, fields.b * near)


def _plus(first: Incident, second: Incident, near: NDArray[np.bool_]) -> Incident:
    return replace(first, e=first.e + second.e * near, b=first.b + second.b * near)


def _mixed(modes: NDArray[np.float64], field: NDArray[np.complex64]) -> NDArray[np.complex64]:
    if np.array_equal(modes, np.eye(len(modes))):
        return field
    return np.tensordot(modes.T.astype(np.float32), field, axes=(1, 0)).astype(np.complex64)
