"""The fields of a scanner inside a subject, first form: dipole kernel, quasi-static receive loops, uniform transmit.

fields = solve_fields(scanner, subject)                    # the first array that fits, second-order shim
fields = solve_fields(scanner, subject, array="body24", shim_order=0)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.fields.coarse import CoarseBody, body_volume, coarse_body, extended
from lauterbur.fields.maps import FieldMaps
from lauterbur.fields.noise import noise_resistance
from lauterbur.fields.placement import place
from lauterbur.fields.receive import receive_maps
from lauterbur.fields.susceptibility import adjusted, dipole_field, in_tissue
from lauterbur.scanner.machine import Array, Scanner, Transmit
from lauterbur.subject.anatomy import Subject, voxel_volume
from lauterbur.subject.parameters import nearest_voxel, susceptibility

RECEIVE_STEP = 4e-3  # m, of the grid of receive maps: they vary over centimetres
NOISE_CELLS = 10_000  # of the body, for its noise: 8 mm in a head
BEYOND = 0.1  # m of neck that still makes noise where a head was cut
BRAIN = ("Brain", "Cerebellum")  # how the dielectric names of tissues begin that an operator lays the shim volume on


def solve_fields(
    scanner: Scanner,
    subject: Subject,
    *,
    array: Array | str | None = None,
    shim_order: int = 2,
    shim_region: NDArray[np.bool_] | None = None,
) -> FieldMaps:
    """off_resonance after the scanner's own shim, b1_minus of an array placed on the subject, its noise, uniform b1_plus.

    The shim is ideal, of order 0 (centre frequency), 1 or 2, over shim_region (z, y, x): by default the brain where there
    is one, else all that gives signal. A subject that brings its own off-resonance map keeps it, unshimmed.
    """
    body = coarse_body(subject, scanner.larmor_frequency, RECEIVE_STEP)
    placement = place(scanner, surface(body), array)
    b1_minus = receive_maps(body, placement.array)
    noise_step = (body_volume(subject) / NOISE_CELLS) ** (1 / 3)
    lossy = extended(coarse_body(subject, scanner.larmor_frequency, noise_step), subject.continues, BEYOND)
    resistance = noise_resistance(lossy, placement.array, scanner.larmor_frequency)
    shape = subject.labels.shape[1:]

    if "off_resonance" in subject.maps:
        off_resonance = subject.maps["off_resonance"].astype(np.float32)
        static: dict[str, Any] = {"method": "the subject's own map"}
    else:
        chi = susceptibility(subject)
        chi -= np.float32(subject.tissues[0].susceptibility)  # air lies around the grid
        off_resonance = in_tissue(dipole_field(chi, subject.affine, subject.continues), _filled(subject))
        off_resonance *= np.float32(scanner.larmor_frequency * 1e-6)
        weight = _shim_weight(subject) if shim_region is None else shim_region
        off_resonance, removed = adjusted(off_resonance, weight, subject.affine, shim_order)
        static = {
            "method": "dipole kernel, FFT; at borders the field on the tissue's side",
            "shim_order": shim_order,
            "shimmed_out": removed,
        }

    return FieldMaps(
        affine=subject.affine,
        off_resonance=off_resonance,
        b1_plus=np.broadcast_to(np.complex64(uniform_transmit(scanner.transmit)), (scanner.transmit.channels, *shape)),
        b1_minus=b1_minus,
        noise_resistance=resistance.astype(np.complex128),
        receive_affine=body.affine,
        provenance={
            "static": static,
            "transmit": "uniform: all channels together reach peak_b1 at peak_power",
            "receive": "quasi-static loops (Biot-Savart), perfect preamplifier decoupling",
            "noise": "quasi-static conduction in the body, and the loops' own loss",
            "array": placement.array.name,
            "channels": len(placement.array.loops),
            "array_origin": placement.origin,
            "array_stretch": placement.stretch,
            "nearest_conductor": placement.distance,
            "receive_step": RECEIVE_STEP,
            "noise_step": noise_step,
        },
    )


def uniform_transmit(transmit: Transmit) -> float:
    """T/sqrt(W) per channel, such that all channels in phase at peak power make peak_b1."""
    return transmit.peak_b1 / (transmit.channels * math.sqrt(transmit.peak_power))


def surface(body: CoarseBody) -> NDArray[np.float64]:
    """m, (n, 3): the nodes at least half filled that have an emptier neighbour."""
    filled = body.occupied >= 0.5
    if not filled.any():
        filled = body.occupied > 0
    inner = filled.copy()
    for axis in range(3):
        inner &= np.roll(filled, 1, axis) & np.roll(filled, -1, axis)  # the margin keeps the roll from wrapping
    return np.argwhere(filled & ~inner)[:, ::-1] @ body.affine[:3, :3].T + body.affine[:3, 3]


def _filled(subject: Subject) -> NDArray[np.float32]:
    """(z, y, x): how much of each voxel is not air, points included."""
    filled = np.where(subject.labels > 0, subject.fraction, np.float32(0)).sum(axis=0)
    if subject.points is not None:
        index = nearest_voxel(subject, subject.points.position)
        inside = np.all((index >= 0) & (index < filled.shape), axis=1)
        np.add.at(
            filled, tuple(index[inside].T), (subject.points.volume / voxel_volume(subject))[inside].astype(np.float32)
        )
    return filled


def _shim_weight(subject: Subject) -> NDArray[np.float32]:
    density = np.array([tissue.proton_density for tissue in subject.tissues], np.float32)
    brain = np.array([tissue.dielectric.startswith(BRAIN) for tissue in subject.tissues])
    if np.isin(np.flatnonzero(brain), subject.labels[0]).any():
        density *= brain
    weight = np.zeros(subject.labels.shape[1:], np.float32)
    for labels, fraction in zip(subject.labels, subject.fraction, strict=True):
        weight += density[labels] * fraction
    return weight
