"""Coils around a body: incident fields and impedances per port with the shield, then the body, and the shield again.

`coil` is all that does not need the body's own field. That field meets the shield too: what the shield sends back of the currents in the
body is part of what excites it. `coil_and_body` finds both together, first on a coarse grid (the shield's answer is smooth), then on
the fine one, and repeats until what is left is small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lauterbur.fields.conductors import impedance, pieces
from lauterbur.fields.incident import Conductor as Wire
from lauterbur.fields.incident import Incident, incident_fields
from lauterbur.fields.integral import TOLERANCE, Solution, face_permittivity, solve
from lauterbur.fields.lattice import Lattice, body_strength, lattice_around, lattice_fields, lattice_weights
from lauterbur.fields.medium import Medium, centres, step
from lauterbur.fields.shield import shield_impedance, source_strength, waves
from lauterbur.scanner.machine import Conductor
from lauterbur.units import EPSILON_0

Progress = Callable[[float, str], None]
ENOUGH = 2e-3  # of the incident field: a weaker answer of the shield is not solved for
PASSES = 8  # of shield and body answering each other; each is weaker, as `shield_answer` says


@dataclass(frozen=True, eq=False)
class Coil:
    """Conductors in their shield, per port and ampere."""

    incident: Incident  # in the medium
    impedance: NDArray[np.complex128]  # Ohm, (port, port), without body; its real part is loss and radiation
    loss: NDArray[np.float64]  # Ohm, (port,), of the conductors and their capacitors
    wires: list[Wire]  # per port
    lattice: Lattice | None = None  # where there is a shield
    strength: NDArray[np.complex128] | None = None  # (2, port, kz, m): of the shield's waves


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
    wires = _wires(conductors, modes, conductor_radius)
    lattice, strength = None, None
    if shield_radius:
        ends = np.concatenate([segments.start, segments.end])
        outer = float(np.hypot(ends[:, 0] - centre[0], ends[:, 1] - centre[1]).max())
        span = float(np.ptp(ends[:, 2]))
        near_by = waves(shield_radius, centre, frequency, inner=outer, outer=outer, span=span)  # coil to coil
        induced = induced + shield_impedance(near_by, source_strength(near_by, segments), omega)
        lattice = lattice_around(medium, shield_radius, centre, outer, (ends[:, 2].min(), ends[:, 2].max()))
        strength = np.einsum("cp,wckm->wpkm", modes, source_strength(lattice.columns.basis, segments))
    port = modes.T @ (induced + charged) @ modes
    reactance = np.abs(np.diag(modes.T @ induced @ modes).imag)
    loss = reactance / unloaded_q if unloaded_q else resistance * (modes**2).sum(axis=0)
    incident = _incident(medium, wires, lattice, strength)
    return Coil(incident, port + np.diag(loss), loss, wires, lattice, strength)


def clear_of(medium: Medium, conductors: tuple[Conductor, ...], radius: float) -> Medium:
    """The medium without the voxels that a wire would run through: on a coarse grid those that hold a sliver of skin."""
    body = medium.permittivity != 1
    if not body.any():
        return medium
    size, segments = step(medium), pieces(conductors)
    count = 2 + int(np.linalg.norm(segments.end - segments.start, axis=1).max() / size)
    part = np.linspace(0, 1, count)[:, None, None]
    wire = (segments.start + part * (segments.end - segments.start)).reshape(-1, 3)
    near = cKDTree(wire).query(centres(medium, body), distance_upper_bound=size / 2 + 1.1 * radius)[0] < np.inf
    permittivity = medium.permittivity.copy()
    permittivity[tuple(np.argwhere(body)[near].T)] = 1
    return replace(medium, permittivity=permittivity)


def on_grid(coil: Coil, medium: Medium) -> Coil:
    """The same coil, its incident field in the same body on another grid."""
    lattice = (
        None
        if coil.lattice is None
        else replace(coil.lattice, weights=lattice_weights(medium, coil.lattice.affine, coil.lattice.shape))
    )
    return replace(coil, lattice=lattice, incident=_incident(medium, coil.wires, lattice, coil.strength))


def coil_and_body(
    medium: Medium,
    coil: Coil,
    *,
    coarse: Medium | None = None,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Loaded:
    """Maxwell in the body, the shield's answer to the body's own currents included.

    coarse: the same body on a coarser grid, where to begin; without a shield it is where the solver starts from.
    """
    sent, start, iterations = None, None, 0
    if coarse is not None:
        begun, sent, _ = _settled(coarse, on_grid(coil, coarse), None, None, 10 * tolerance, None, None)
        start, iterations = begun, begun.iterations
    solution, sent, answers = _settled(medium, coil, sent, start, tolerance, progress, cache)
    cell = step(medium) ** 3
    flow = solution.current.reshape(len(solution.current), -1)
    z_body = -cell * (coil.incident.e.reshape(len(flow), -1).astype(np.complex128) @ flow.T.astype(np.complex128))
    impedance = coil.impedance + (z_body + z_body.T) / 2
    return Loaded(
        solution.e, solution.b, impedance, _absorbed(medium, flow), iterations + solution.iterations, tuple(answers)
    )


def _settled(
    medium: Medium,
    coil: Coil,
    sent: NDArray[np.complex128] | None,
    start: Solution | None,
    tolerance: float,
    progress: Progress | None,
    cache: Path | None,
) -> tuple[Solution, NDArray[np.complex128] | None, list[float]]:
    """Body and shield in turn, from an answer `sent` of the shield that is known about: the sum of all passes; what the shield sends in
    the end; by how much, of the incident field, each answer differed from the one before."""
    incident = coil.incident
    answers: list[float] = []
    scale = np.linalg.norm(incident.e.reshape(-1))
    if sent is not None and coil.lattice is not None:
        known = lattice_fields(medium, coil.lattice, sent)
        incident = Incident(incident.e + known.e, incident.b + known.b)
        del known
    total = solve(medium, incident, tolerance=tolerance, start=start, progress=progress, cache=cache)
    del incident
    lattice = coil.lattice
    if lattice is None:
        return total, None, answers
    sent = np.zeros_like(body_strength(medium, lattice, total.current)) if sent is None else sent
    while True:
        left = body_strength(medium, lattice, total.current) - sent  # of waves the shield should send and does not yet
        answer = lattice_fields(medium, lattice, left)
        answers.append(float(np.linalg.norm(answer.e.reshape(-1)) / scale))
        if answers[-1] <= ENOUGH or len(answers) > PASSES:
            return total, sent, answers
        more = solve(medium, answer, tolerance=min(0.1, max(tolerance, ENOUGH / 10) / answers[-1]), cache=cache)
        again = lattice_fields(medium, lattice, body_strength(medium, lattice, more.current))
        part = _least(answer.e, answer.e - again.e)
        for whole, field in ((total.e, more.e), (total.b, more.b), (total.current, more.current)):
            for axis in range(3):
                whole[:, axis] += np.tensordot(part.astype(np.complex64), field[:, axis], axes=1)
        sent = sent + np.einsum("ij,wjkm->wikm", part, left)
        total = replace(total, iterations=total.iterations + more.iterations)


def _least(wanted: NDArray[np.complex64], images: NDArray[np.complex64]) -> NDArray[np.complex128]:
    """(port, port): of which images (port, ...) each row of `wanted` is best made, by least squares.

    A body that nearly lets a wave run along the shield answers itself almost as strongly as it was asked; all ports' answers are then
    the same few waves, and this sums the whole series of them at once (a step of block conjugate residuals, as in krylov.py).
    """
    tall = images.reshape(len(images), -1)
    scale = 1 / np.maximum(np.linalg.norm(tall, axis=1), 1e-300)
    gram = np.conj(tall) @ tall.T * scale[:, None] * scale
    right = np.conj(tall) @ wanted.reshape(len(wanted), -1).T * scale[:, None]
    return (np.linalg.lstsq(gram.astype(np.complex128), right.astype(np.complex128), rcond=1e-5)[0] * scale[:, None]).T


def _absorbed(medium: Medium, flow: NDArray[np.complex64]) -> NDArray[np.complex128]:
    """W, (port, port): sigma |E|^2 / 2 on the faces, from the polarisation current J = -i w eps0 (eps - 1) E."""
    face = face_permittivity(medium.permittivity).reshape(-1)
    omega = 2 * np.pi * medium.frequency
    inside = face != 1
    weight = face[inside].imag / (2 * omega * EPSILON_0 * np.abs(face[inside] - 1) ** 2) * step(medium) ** 3
    used = flow[:, inside].astype(np.complex128)
    return (used.conj() * weight) @ used.T


def _incident(
    medium: Medium, wires: list[Wire], lattice: Lattice | None, strength: NDArray[np.complex128] | None
) -> Incident:
    free = incident_fields(medium, wires)
    if lattice is None or strength is None:
        return free
    added = lattice_fields(medium, lattice, strength)
    return Incident(free.e + added.e, free.b + added.b)


def _wires(conductors: tuple[Conductor, ...], modes: NDArray[np.float64], radius: float) -> list[Wire]:
    """One wire per port: all its conductors, end to end or apart, each with its part of the current."""
    wires = []
    for port in modes.T:
        some = pieces([each for each, share in zip(conductors, port, strict=True) if share])
        currents = some.current * port[port != 0][some.owner]
        wires.append(Wire(np.stack([some.start, some.end], axis=1), currents.astype(np.complex128), radius))
    return wires
