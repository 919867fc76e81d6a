"""The fields that conductors make where there is no body: thin straight segments with given currents, retarded.

    A = mu0 / 4 pi sum I u integral exp(i k R) / R dl,   phi = 1 / (4 pi eps0) sum lambda integral exp(i k R) / R dl,
    E = i omega A - grad phi,   B = curl A;   all with exp(-i omega t), for peak currents in A.

A segment's current is that in its middle. Where it changes at a joint, the charge that collects there, i dI / omega, is
spread over the halves of the segments that meet (Harrington, Field Computation by Moment Methods, 1968, chapter 4), and the
current changes evenly from middle to middle, to zero at an open end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lauterbur.errors import InputError
from lauterbur.fields.coarse import MARGIN
from lauterbur.fields.medium import Medium, centres, step
from lauterbur.fields.retarded import curl, potentials
from lauterbur.units import EPSILON_0, MU_0

SAME = 1e-7  # m: ends nearer than this are one joint
CHARGE = 1e-9  # of the largest current: a smaller change at a joint is rounding


@dataclass(frozen=True, eq=False)
class Conductor:
    segments: NDArray[np.float64]  # m, (n, 2, 3), patient: from -> to; ends that coincide are joined
    currents: NDArray[np.complex128]  # A, (n,), peak, in the middle of each, along from -> to
    radius: float = 1e-3  # m

    def __post_init__(self) -> None:
        segments, currents = np.asarray(self.segments, np.float64), np.asarray(self.currents, np.complex128)
        if segments.ndim != 3 or segments.shape[1:] != (2, 3) or currents.shape != segments.shape[:1]:
            raise InputError(
                f"conductor: segments {segments.shape} and currents {currents.shape}; they must be (n, 2, 3) and (n,)"
            )
        if not (np.isfinite(segments).all() and np.isfinite(currents).all() and self.radius > 0):
            raise InputError("conductor: segments and currents must be finite, its radius positive")
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "currents", currents)


@dataclass(frozen=True, eq=False)
class Incident:
    """What excites the body, per channel, on the medium's grid; zero where it was not asked for."""

    e: NDArray[np.complex64]  # V/m, (channel, 3, z, y, x): component x, y, z on the voxel's upper face of that axis
    b: NDArray[np.complex64] | None = None  # T, (channel, 3, z, y, x): at voxel centres; None: not asked for


def incident_fields(medium: Medium, conductors: Sequence[Conductor]) -> Incident:
    """One channel per conductor: e on the faces of the body's voxels, b in the body and MARGIN voxels around."""
    return Incident(electric(medium, conductors), magnetic(medium, conductors))


def electric(medium: Medium, conductors: Sequence[Conductor]) -> NDArray[np.complex64]:
    """V/m, (channel, 3, z, y, x), on the upper faces of the body's voxels."""
    body = medium.permittivity != 1
    _check_outside(medium, body, conductors)
    omega, size = 2 * np.pi * medium.frequency, step(medium)
    k = float(omega * np.sqrt(EPSILON_0 * MU_0))
    e = np.zeros((len(conductors), 3, *body.shape), np.complex64)
    halves = [_halves(conductor, omega) for conductor in conductors]
    lines = [half[0] for half in halves]
    currents, charges = [half[1] for half in halves], [half[2] for half in halves]
    radii = [conductor.radius for conductor in conductors]

    for a in range(3):
        faces = body | np.roll(body, -1, 2 - a)
        place = centres(medium, faces)
        place[:, a] += size / 2
        along = [segments[:, 1, a] - segments[:, 0, a] for segments in lines]
        length = [np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1) for segments in lines]
        share = [np.divide(x, d, out=np.zeros_like(x), where=d > 0) for x, d in zip(along, length, strict=True)]
        weights = [current * part for current, part in zip(currents, share, strict=True)]
        e[:, a, faces] = (1j * omega * MU_0 / (4 * np.pi)) * potentials(lines, weights, radii, place, k)

    if any(density.any() for density in charges):
        near = ndimage.binary_dilation(body, ndimage.generate_binary_structure(3, 1))
        scalar = potentials(lines, charges, radii, centres(medium, near), k)
        phi = np.zeros(body.shape, np.complex128)
        for channel, values in enumerate(scalar):
            phi[near] = values / (4 * np.pi * EPSILON_0)
            for a in range(3):
                faces = body | np.roll(body, -1, 2 - a)
                e[channel, a, faces] -= ((np.roll(phi, -1, 2 - a) - phi) / size)[faces]
    return e


def magnetic(medium: Medium, conductors: Sequence[Conductor]) -> NDArray[np.complex64]:
    """T, (channel, 3, z, y, x), at the centres of voxels in the body and MARGIN around."""
    k = float(2 * np.pi * medium.frequency * np.sqrt(EPSILON_0 * MU_0))
    near = around(medium)
    places = centres(medium, near)
    b = np.zeros((len(conductors), 3, *near.shape), np.complex64)
    for channel, conductor in enumerate(conductors):
        segments, current, _ = _halves(conductor, 2 * np.pi * medium.frequency)
        wide = max(conductor.radius, step(medium) / 2)  # voxels nearer to a wire lie in air: no spikes to interpolate
        b[channel][:, near] = (MU_0 / (4 * np.pi)) * curl([segments], [current], [wide], places, k)[0].T
    return b


def around(medium: Medium) -> NDArray[np.bool_]:
    """(z, y, x): where B is wanted, the body and MARGIN voxels."""
    return ndimage.binary_dilation(medium.permittivity != 1, np.ones((3, 3, 3), bool), MARGIN)


def _halves(
    conductor: Conductor, omega: float
) -> tuple[NDArray[np.float64], NDArray[np.complex128], NDArray[np.complex128]]:
    """Half segments (n, 2, 3), the mean current A in each, its charge per length C/m; whole ones where no charge collects."""
    segments, currents = conductor.segments, conductor.currents
    ends = np.round(segments.reshape(-1, 3) / SAME).astype(np.int64)
    _, joint = np.unique(ends, axis=0, return_inverse=True)
    joint = joint.reshape(-1, 2)
    length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
    inflow, room = np.zeros(joint.max(initial=-1) + 1, complex), np.zeros(joint.max(initial=-1) + 1)
    np.add.at(inflow, joint[:, 1], currents)
    np.add.at(inflow, joint[:, 0], -currents)
    np.add.at(room, joint.reshape(-1), np.repeat(length / 2, 2))
    if not (np.abs(inflow) > CHARGE * np.abs(currents).max(initial=0)).any():
        return segments, currents, np.zeros(len(currents), complex)
    charge = 1j / omega * inflow / np.maximum(room, 1e-300)  # C/m around each joint
    middle = segments.mean(axis=1)
    halves = np.concatenate([np.stack([segments[:, 0], middle], 1), np.stack([middle, segments[:, 1]], 1)])
    change = 1j * omega * charge[joint] * (length / 4)[:, None]  # dI/dl = i omega charge, to the middle of each half
    mean = np.concatenate([currents - change[:, 0], currents + change[:, 1]])
    return halves, mean, charge[np.concatenate([joint[:, 0], joint[:, 1]])]


def _check_outside(medium: Medium, body: NDArray[np.bool_], conductors: Sequence[Conductor]) -> None:
    if not body.any():
        return
    size = step(medium)
    tree = cKDTree(centres(medium, body))
    for i_conductor, conductor in enumerate(conductors):
        start, end = conductor.segments[:, 0], conductor.segments[:, 1]
        count = max(2, int(np.ceil(np.linalg.norm(end - start, axis=1).max(initial=0) / size)) + 1)
        part = np.linspace(0, 1, count)[:, None, None]
        distance, _ = tree.query((start + part * (end - start)).reshape(-1, 3))
        if not distance.min(initial=np.inf) >= size / 2 + conductor.radius:
            raise InputError(
                f"conductor {i_conductor} comes to {1e3 * distance.min():.1f} mm of the middle of a body voxel; at least"
                f" {1e3 * (size / 2 + conductor.radius):.1f} mm are needed (half a voxel and the wire's radius): move the coil or the subject"
            )
