"""Spins of a subject in its fields: what the twin's engines play on.

spins = spins_from(subject, fields, scanner)                     # every occupied compartment of every voxel, as boxes
spins = spins_from(subject, fields, scanner, region=slab)        # only where the mask is true, or in a box of corners in m
points = points_from(subject, fields, scanner)                   # the fine structures, or None
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.receiver import MapsAtSpins
from lauterbur.acquisition.twin.spins import Lattice, Spins
from lauterbur.acquisition.twin.transmit import Transmission, transmission
from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.program import Column, Program
from lauterbur.scanner.machine import Scanner
from lauterbur.subject.anatomy import Subject, nearest_voxel, voxel_volume
from lauterbur.subject.parameters import TissueMaps, parameters, point_parameters

NOTHING = Program(np.zeros((0, len(Column)), np.int32), np.zeros(0))


def spins_from(
    subject: Subject,
    fields: FieldMaps,
    scanner: Scanner,
    *,
    seed: int | None = None,
    region: NDArray | None = None,
    transmit: Transmission | None = None,
) -> Spins:
    """One box per occupied (compartment, voxel), on the subject's lattice, in C order of (compartment, voxel).

    A partial volume is a whole box of less proton density (fraction times the tissue's), since engines know one shape of
    box. Off-resonance is the field map at the voxel plus the tissue's chemical shift; inside the box it varies linearly,
    by the map's differences between voxels of the body (air's own field does not reach in). `seed` draws the natural
    spread within tissues; None takes the subject's own. `region`: a mask (z, y, x), or two opposite corners (2, 3) in m.
    `transmit`: what a program's drives make (transmit.transmission); None: all channels alike, 1 on average.
    """
    _same_grid(subject, fields)
    shape = subject.labels.shape[1:]
    material = parameters(subject, scanner.field_strength, seed=seed, region=_mask(subject, region))
    if not len(material.voxel):
        raise InputError(
            f"subject {subject.name} has nothing that gives signal" + (" in that region" if region is not None else "")
        )
    voxel = material.voxel
    i_z, i_y, i_x = np.unravel_index(voxel, shape)
    position = np.stack([i_x, i_y, i_z], axis=1) @ subject.affine[:3, :3].T + subject.affine[:3, 3]
    del i_z, i_y, i_x
    lattice = Lattice((shape[0], shape[1], shape[2]), subject.affine, voxel)
    return Spins(
        position,
        material.proton_density * material.fraction,
        material.t1,
        material.t2,
        material.t2_prime,
        _off_resonance(material, fields, scanner),
        _b1_plus(transmit, subject, fields, position, lattice),
        material.diffusion,
        voxel_volume(subject),
        subject.affine[:3, :3].T,
        _gradient(subject, fields, voxel),
        lattice,
    )


def points_from(
    subject: Subject,
    fields: FieldMaps,
    scanner: Scanner,
    *,
    seed: int | None = None,
    transmit: Transmission | None = None,
) -> Spins | None:
    """The subject's fine structures as points (their volumes are in their weights), or None where there are none."""
    if subject.points is None or not len(subject.points.tissue):
        return None
    _same_grid(subject, fields)
    material = point_parameters(subject, scanner.field_strength, seed=seed)
    return Spins(
        subject.points.position,
        material.proton_density * subject.points.volume,  # protons as a volume of water, m3: points carry no box
        material.t1,
        material.t2,
        material.t2_prime,
        _off_resonance(material, fields, scanner),
        _b1_plus(transmit, subject, fields, subject.points.position, None),
        material.diffusion,
    )


def _b1_plus(
    transmit: Transmission | None, subject: Subject, fields: FieldMaps, position: NDArray, lattice: Lattice | None
) -> NDArray[np.complex128]:
    """(n,) of one channel, or (channel, n)."""
    if transmit is None:
        transmit = transmission(NOTHING, fields, body_of(subject))
    if fields.transmit_affine is None:  # on the subject's own grid: nothing between voxels
        if lattice is not None:
            flat = lattice.index
        else:
            flat = np.ravel_multi_index(tuple(nearest_voxel(subject, position).T), subject.labels.shape[1:])
        maps = transmit.maps.reshape(len(transmit.maps), -1)[:, flat]
    else:
        maps = np.asarray(MapsAtSpins(transmit.maps, transmit.affine, position, lattice))
    return maps[0].astype(complex) if len(maps) == 1 else maps.astype(complex)


def _off_resonance(material: TissueMaps, fields: FieldMaps, scanner: Scanner) -> NDArray[np.float64]:
    shift = material.chemical_shift * (scanner.larmor_frequency * 1e-6)
    return fields.off_resonance.reshape(-1)[material.voxel].astype(np.float64) + shift


def _gradient(subject: Subject, fields: FieldMaps, voxel: NDArray) -> NDArray[np.float64]:
    """Hz/m, (n, 3), along the patient axes: central differences, one-sided where one neighbour is air, none where both are."""
    body = body_of(subject)
    per_index = np.zeros((len(voxel), 3))
    for axis in range(3):  # z, y, x
        step = np.diff(fields.off_resonance, axis=axis)
        lower = [slice(None)] * 3
        upper = [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        both = body[tuple(lower)] & body[tuple(upper)]
        step *= both
        total = np.zeros_like(fields.off_resonance)
        count = np.zeros(total.shape, np.uint8)
        for side in (tuple(lower), tuple(upper)):
            total[side] += step
            count[side] += both
        per_index[:, 2 - axis] = total.reshape(-1)[voxel] / np.maximum(count.reshape(-1)[voxel], 1)
    return per_index @ np.linalg.inv(subject.affine[:3, :3])


def body_of(subject: Subject) -> NDArray[np.bool_]:
    """(z, y, x): where there is more tissue than air."""
    return np.where(subject.labels > 0, subject.fraction, np.float32(0)).sum(axis=0) > 0.5


def _mask(subject: Subject, region: NDArray | None) -> NDArray[np.bool_] | None:
    if region is None:
        return None
    region = np.asarray(region)
    shape = subject.labels.shape[1:]
    if region.dtype == bool:
        if region.shape != shape:
            raise InputError(f"region has shape {region.shape}; the subject's grid is {shape}")
        return region
    if region.shape != (2, 3) or not np.isfinite(region).all():
        raise InputError(f"region has shape {region.shape}; it must be a mask {shape} or two corners (2, 3) in m")
    low, high = region.min(axis=0), region.max(axis=0)
    inside = np.ones(shape, bool)
    index = np.ogrid[tuple(slice(n) for n in shape)]
    for axis in range(3):
        row = subject.affine[axis]
        place = row[0] * index[2] + row[1] * index[1] + row[2] * index[0] + row[3]
        inside &= (place >= low[axis]) & (place <= high[axis])
    return inside


def _same_grid(subject: Subject, fields: FieldMaps) -> None:
    if fields.off_resonance.shape != subject.labels.shape[1:] or not np.allclose(fields.affine, subject.affine):
        raise InputError(
            f"these fields were solved on a grid {fields.off_resonance.shape}, not on that of subject {subject.name},"
            f" {subject.labels.shape[1:]}; call solve_fields(scanner, subject)"
        )
