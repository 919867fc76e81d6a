"""Coils around a body: impedances and incident fields per port with the shield, then the body, and the shield again.

`coil` is all that does not need the body's own field. That field meets the shield too: what the shield sends back of the currents in the
body is part of what excites it, and so part of the equation that `coil_and_body` solves, first on a coarse grid, then on the fine one.
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
from lauterbur.fields.incident import Incident, around, electric, magnetic
from lauterbur.fields.integral import TOLERANCE, Solution, solve
from lauterbur.fields.lattice import (
    Lattice,
    lattice_around,
    lattice_electric,
    lattice_magnetic,
    lattice_weights,
)
from lauterbur.fields.medium import Medium, centres, step
from lauterbur.fields.shield import shield_impedance, source_strength, waves
from lauterbur.scanner.machine import Conductor

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Coil:
    """Conductors in their shield, per port and ampere."""

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
    imbalance: float  # of powers given to the body, absorbed and radiated by it, relative to what was given


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
    return Coil(port + np.diag(loss), loss, wires, lattice, strength)


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
    """The same coil around the same body on another grid."""
    if coil.lattice is None:
        return coil
    weights = lattice_weights(medium, coil.lattice.affine, coil.lattice.shape)
    return replace(coil, lattice=replace(coil.lattice, weights=weights))


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

    coarse: the same body on a coarser grid, where the solver begins.
    """
    start = None if coarse is None else begun(coarse, on_grid(coil, coarse), 10 * tolerance)
    iterations = 0 if start is None else start.iterations
    solution = solve(
        medium,
        electric_field(medium, coil),
        shield=coil.lattice,
        tolerance=tolerance,
        start=start,
        progress=progress,
        cache=cache,
    )
    add_magnetic_field_(solution.b, medium, coil)
    impedance = coil.impedance + (solution.impedance + solution.impedance.T) / 2
    return Loaded(
        solution.e, solution.b, impedance, solution.absorbed, iterations + solution.iterations, solution.imbalance
    )


def begun(medium: Medium, coil: Coil, tolerance: float) -> Solution:
    """Where a finer grid begins: the currents, without fields."""
    solution = solve(medium, electric_field(medium, coil), shield=coil.lattice, tolerance=tolerance)
    nothing = np.zeros((0, 3, *medium.permittivity.shape), np.complex64)
    return replace(solution, e=nothing, b=nothing)


def electric_field(medium: Medium, coil: Coil) -> Incident:
    """V/m per ampere in each port, on the faces of the body's voxels: of the conductors, and what the shield adds to it."""
    e = electric(medium, coil.wires)
    if coil.lattice is not None and coil.strength is not None:
        body = medium.permittivity != 1
        faces = np.stack([body | np.roll(body, -1, 2 - axis) for axis in range(3)])
        for whole, added in zip(e, lattice_electric(medium, coil.lattice, coil.strength), strict=True):
            whole += added * faces
    return Incident(e)


def add_magnetic_field_(b: NDArray[np.complex64], medium: Medium, coil: Coil) -> None:
    """The coil's own T per ampere in each port, and what the shield adds to it, in and around the body."""
    near = around(medium)
    for port, wire in enumerate(coil.wires):
        b[port] += magnetic(medium, [wire])[0]
    if coil.lattice is not None and coil.strength is not None:
        for whole, added in zip(b, lattice_magnetic(coil.lattice, coil.strength), strict=True):
            whole += added * near


def _wires(conductors: tuple[Conductor, ...], modes: NDArray[np.float64], radius: float) -> list[Wire]:
    """One wire per port: all its conductors, end to end or apart, each with its part of the current."""
    wires = []
    for port in modes.T:
        some = pieces([each for each, share in zip(conductors, port, strict=True) if share])
        currents = some.current * port[port != 0][some.owner]
        wires.append(Wire(np.stack([some.start, some.end], axis=1), currents.astype(np.complex128), radius))
    return wires
