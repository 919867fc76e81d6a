"""Maxwell in a body at one frequency: the volume integral equation on a staggered grid, by FFT.

solution = solve(medium, incident_fields(medium, conductors))
solution = solve(medium, incident, cache=folder, progress=print)      # goes on where it was stopped
solution = solve(fine, incident, start=coarse_solution)
solution = solve(medium, incident, shield=lattice)                    # in an RF shield that answers the body's currents
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, ResourceError
from lauterbur.fields.equation import (
    Equation,
    current,
    equation,
    face_permittivity,
    operate,
    precondition,
    spread,
)
from lauterbur.fields.green import magnetic, padded_shape
from lauterbur.fields.incident import Incident, around
from lauterbur.fields.krylov import solved
from lauterbur.fields.lattice import Lattice, body_strength, lattice_electric, lattice_magnetic
from lauterbur.fields.medium import Medium, step
from lauterbur.fields.power import given, radiated
from lauterbur.fields.refine import refined
from lauterbur.fields.store import channel_keys, store, stored
from lauterbur.units import EPSILON_0

TOLERANCE = 1e-4  # of the residual relative to the incident field, in the body
TRIED = 24  # images per channel that memory is set aside for; 17 are usual
FEWEST = 8  # with fewer kept the solver begins anew so often that it takes twice the iterations
MODEST = 2.9 * 2**30  # bytes: rather begin anew than take more; with program and subject below 3.7 GiB
SHARE = 0.8  # of the machine's memory that is used at most, unless said otherwise
CHECKPOINT = 60.0  # s between checkpoints
Progress = Callable[[float, str], None]  # fraction done, what is done


@dataclass(frozen=True, eq=False)
class Solution:
    """The fields of every channel with the body there, per unit of what `incident` was made for (1 A: per ampere)."""

    medium: Medium
    current: NDArray[np.complex64]  # A/m2, (channel, 3, z, y, x): polarisation current on the voxels' upper faces
    e: NDArray[np.complex64]  # V/m, (channel, 3, z, y, x), at voxel centres; 0 outside the body
    b: NDArray[
        np.complex64
    ]  # T, (channel, 3, z, y, x), at voxel centres, in and around the body; without the incident where not given
    absorbed: NDArray[np.complex128]  # W, (channel, channel): absorbed power of drive w is w^H absorbed w
    impedance: NDArray[np.complex128]  # Ohm, (channel, channel): what the body adds to Z of ports that carry 1 A
    residual: NDArray[np.float64]  # (channel,): what the equation is still wrong by, relative to the incident field
    imbalance: float  # largest |given - absorbed - radiated| of a channel, relative to what the incident field gave
    iterations: int  # applications of the operator, all channels together
    history: tuple[float, ...] = ()  # largest residual after each step


def b1_plus(solution: Solution) -> NDArray[np.complex64]:
    """T, (channel, z, y, x)."""
    return ((solution.b[:, 0] + 1j * solution.b[:, 1]) / 2).astype(np.complex64)


def memory_needed(medium: Medium, channels: int, tried: int = TRIED) -> int:
    """Bytes that solve takes besides the medium and what the caller keeps: unknowns, the subspace, transforms or results."""
    unknowns = int(np.count_nonzero(face_permittivity(medium.permittivity) != 1))
    cells = medium.permittivity.size
    z, y, x = padded_shape(medium.permittivity.shape)
    vectors = channels * unknowns * (2 * 16 + 6 * 8) + channels * tried * unknowns * 12
    transform = 3 * medium.permittivity.shape[0] * y * x * 8 * 2 + z * y * x // 8 * 8 + 3 * 2**21 * 8
    potential = cells * 8 * 10
    return max(vectors + transform + potential, 9 * channels * cells * 8 + transform)


def solve(
    medium: Medium,
    incident: Incident,
    *,
    shield: Lattice | None = None,
    tolerance: float = TOLERANCE,
    start: Solution | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
    memory: float | None = None,
) -> Solution:
    """The fields of all channels of `incident` in the medium.

    shield    what sends the fields of the body's own currents back to it (the incident field holds its answer to the coil's)
    start     a solution for the same channels, perhaps on a coarser grid: where to begin
    cache     a folder: what was solved before (same medium, same incident field) is read, what was begun is gone on with
    memory    bytes that may be used; ResourceError, before anything is computed, when that is too little
    """
    channels = len(incident.e)
    _check(medium, incident, tolerance, start)
    capacity = _capacity(medium, channels, memory)
    problem = equation(medium, shield)
    right = incident.e.reshape(channels, -1)[:, problem.where]
    from_outside = incident.b
    del incident  # a whole grid of it is large; a caller that keeps none frees it here
    if not np.isfinite(right).all():
        raise InputError("the incident field is not finite in the body; look at the conductors' places and currents")

    keys = channel_keys(medium, right, shield) if cache else []
    begin = stored(cache, keys, len(problem.where)) if cache else np.zeros(right.shape, np.complex64)
    if start is not None:
        empty = ~begin.any(axis=1)
        begin[empty] = refined(start.medium, start.current[empty], medium, problem.face, problem.where)
    written = time.monotonic()

    def report(solution: Callable[[], NDArray[np.complex128]], norm: NDArray[np.float64], count: int) -> None:
        nonlocal written
        if progress:
            done = np.clip(np.log(np.maximum(norm, tolerance)) / np.log(tolerance), 0, 1).mean()
            progress(float(0.95 * done), f"{count} iterations, {norm.max():.1e} of the incident field left")
        if cache and time.monotonic() - written > CHECKPOINT:
            store(cache, keys, solution())
            written = time.monotonic()

    answer = solved(
        partial(operate, problem),
        partial(precondition, problem),
        right,
        begin,
        capacity,
        tolerance,
        report,
    )
    if cache:
        store(cache, keys, answer.solution)
    made = _results(medium, problem, from_outside, right, answer.solution)
    if progress:
        progress(1.0, f"{channels} channels solved with {answer.iterations} iterations")
    return Solution(medium, *made[:5], answer.residual, made[5], answer.iterations, answer.history)


def _results(
    medium: Medium,
    problem: Equation,
    from_outside: NDArray[np.complex64] | None,
    right: NDArray[np.complex64],
    solution: NDArray[np.complex128],
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray, float]:
    omega, volume = 2 * np.pi * medium.frequency, step(medium) ** 3
    flow, e = np.zeros((2, len(solution), 3, *medium.permittivity.shape), np.complex64)
    b = np.zeros_like(e) if from_outside is None else from_outside.copy()
    near = around(medium)
    for channel, x in enumerate(solution):
        flow[channel] = current(problem, x.astype(np.complex64))
        field = spread(problem, x.astype(np.complex64))
        field *= problem.face  # the flux, which is continuous through faces
        for a in range(3):
            e[channel, a] = (field[a] + np.roll(field[a], 1, 2 - a)) / (2 * medium.permittivity)
        e[channel] *= medium.permittivity != 1
        b[channel][:, near] += magnetic(problem.grid, flow[channel])[:, near]
    # on a face each half loses |D|^2 Im(-1/eps) of its own: together Im(eps) |E|^2 of the face
    loss = 0.5 * omega * EPSILON_0 * volume * problem.contrast.imag.astype(np.float64)
    absorbed = (solution.conj() * loss) @ solution.T
    polarised = (-1j * omega * EPSILON_0 * problem.contrast * solution).astype(np.complex64)
    impedance = -volume * (right.astype(np.complex128) @ polarised.T)
    gave = np.diag(given(medium, right, polarised)).real.copy()
    went = np.diag(absorbed + radiated(medium, flow)).real
    if problem.shield is not None:
        strength = body_strength(medium, problem.shield, flow)
        fields = zip(
            lattice_electric(medium, problem.shield, strength), lattice_magnetic(problem.shield, strength), strict=True
        )
        for channel, (electric, returned) in enumerate(fields):
            b[channel][:, near] += returned[:, near]
            gave[channel] += 0.5 * volume * np.vdot(flow[channel], electric).real
    imbalance = float(np.max(np.abs(gave - went) / np.maximum(np.abs(gave), 1e-300), initial=0.0))
    return flow, e, b, absorbed, impedance, imbalance


def _capacity(medium: Medium, channels: int, memory: float | None) -> int:
    """Vectors of the subspace that fit."""
    allowed = memory if memory is not None else SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for tried in range(TRIED, FEWEST - 1, -1):
        if memory_needed(medium, channels, tried) <= (allowed if tried == FEWEST else min(allowed, MODEST)):
            return channels * tried
    needed = memory_needed(medium, channels, FEWEST)
    raise ResourceError(
        f"Maxwell's equation for {channels} channels on {' x '.join(map(str, medium.permittivity.shape))} voxels of"
        f" {1e3 * step(medium):g} mm needs at least {needed / 2**30:.1f} GiB, better {memory_needed(medium, channels) / 2**30:.1f};"
        f" {allowed / 2**30:.1f} GiB may be used: take larger voxels or fewer channels at a time"
    )


def _check(medium: Medium, incident: Incident, tolerance: float, start: Solution | None) -> None:
    shape = medium.permittivity.shape
    for name, values in (("e", incident.e), ("b", incident.b)):
        if values is None:
            continue
        if values.ndim != 5 or values.shape[1:] != (3, *shape) or len(values) != len(incident.e):
            raise InputError(f"incident field {name} has shape {values.shape}; the medium needs (channel, 3, {shape})")
    if not len(incident.e):
        raise InputError("there is no channel to solve for; give at least one incident field")
    if not 1e-6 <= tolerance < 1:
        raise InputError(f"a tolerance of {tolerance}; it must be between 1e-6 (single-precision transforms) and 1")
    if not (medium.permittivity != 1).any():
        raise InputError("the medium is all air; there is nothing to solve")
    if start is not None and len(start.current) != len(incident.e):
        raise InputError(f"start has {len(start.current)} channels, the incident field {len(incident.e)}")
