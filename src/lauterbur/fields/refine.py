"""A solution on one grid as a beginning on another: the flux D, which is continuous through faces, interpolated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lauterbur.fields.equation import face_permittivity
from lauterbur.fields.medium import Medium, step
from lauterbur.units import EPSILON_0


def refined(
    coarse: Medium,
    current: NDArray[np.complex64],
    fine: Medium,
    face: NDArray[np.complex64],
    where: NDArray[np.int64],
) -> NDArray[np.complex64]:
    """E on the fine medium's faces `where`, (channel, unknown), from the currents on the coarse one's faces.

    Faces beyond the coarse body take the flux of the nearest face inside.
    """
    begin = np.zeros((len(current), len(where)), np.complex64)
    if not len(current):
        return begin
    contrast = face_permittivity(coarse.permittivity)
    axis, index = np.divmod(where, fine.permittivity.size)
    place = np.stack(np.unravel_index(index, fine.permittivity.shape)).astype(float)  # z, y, x
    ratio = step(fine) / step(coarse)
    shift = (fine.affine[:3, 3] - coarse.affine[:3, 3])[::-1] / step(coarse)
    for a in range(3):
        mine = axis == a
        half = np.array([0.5 if 2 - i == a else 0.0 for i in range(3)])[:, None]
        at = (place[:, mine] + half) * ratio + shift[:, None] - half
        known = contrast[a] != 1
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        flux = np.zeros(known.shape, np.complex64)
        for channel in range(len(current)):
            ratio_d = contrast[a][known] / (contrast[a][known] - 1) / (-2j * np.pi * coarse.frequency * EPSILON_0)
            flux[known] = current[channel, a][known] * ratio_d
            filled = flux[tuple(nearest)]
            value = ndimage.map_coordinates(filled, at, order=1, mode="nearest")
            begin[channel, mine] = value / face.reshape(-1)[where[mine]]
    return begin
