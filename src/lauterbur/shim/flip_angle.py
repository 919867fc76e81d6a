"""Flip-angle maps of any shim in any fields: hard pulses by their product with B1+, composite pulses by spinors.

flip_angle_map(fields, shim, 0.5)            # rad, (z, y, x) on the grid of the transmit maps, zero outside the body
variation(map[mask])                         # standard deviation over mean
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.shim.angles import composite_angles
from lauterbur.shim.shim import Shim
from lauterbur.shim.slices import nearest_slice
from lauterbur.shim.target import body, off_resonance_at, positions, transmit_affine
from lauterbur.units import GAMMA_BAR

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]


def flip_angle_map(fields: FieldMaps, shim: Shim, nominal: float) -> Float:
    """rad. Voxels between the slices of a slice-wise shim play the nearest slice's."""
    inside = body(fields)
    index = np.flatnonzero(inside)
    b1 = fields.b1_plus.reshape(len(fields.b1_plus), -1)[:, index].astype(complex)
    if b1.shape[0] != shim.weights.shape[-1]:
        raise InputError(
            f"the shim has {shim.weights.shape[-1]} channels, the fields {b1.shape[0]}; they must be the same"
        )
    place = positions(transmit_affine(fields), inside.shape, index)
    result = np.zeros(inside.shape)
    result.reshape(-1)[index] = flip_angle_at(b1, place, off_resonance_at(fields, place), shim, nominal)[0]
    return result


def flip_angle_at(
    b1: Complex, position: Float, off_resonance: Float, shim: Shim, nominal: float
) -> tuple[Float, Complex]:
    """rad and M_xy (voxel,), after everything an excitation of this nominal angle plays, rephasing included."""
    relative = b1 * (GAMMA_BAR * shim.reference_drive)
    chosen = nearest_slice(shim.slices, position)
    if shim.pulse is None:
        weights = np.atleast_2d(shim.weights)
        which = chosen if len(weights) > 1 else np.zeros(len(chosen), int)
        drive = np.einsum("vc,cv->v", weights[which], relative)
        angle = nominal * np.abs(drive)
        return angle, 1j * np.sin(angle) * np.exp(1j * np.angle(drive))
    angle, transverse = np.zeros(len(position)), np.zeros(len(position), complex)
    for i in range(len(shim.pulse.weights)):
        here = np.flatnonzero(chosen == i) if len(shim.pulse.weights) > 1 else np.arange(len(position))
        if len(here):
            angle[here], transverse[here] = composite_angles(
                relative[:, here], position[here], off_resonance[here], shim.pulse, i, nominal
            )
    return angle, transverse


def variation(values: ArrayLike) -> float:
    """Standard deviation over mean."""
    array = np.asarray(values, float)
    mean = float(array.mean())
    return float(array.std() / mean) if mean > 0 else float("nan")
