"""Receive maps of an array of loops, quasi-static: as if the body did not bend the field.

b1_minus = (Bx - i By) / 2 of 1 A in the loop (units.py draws the signs); a voxel's voltage follows by reciprocity
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lauterbur.fields.coarse import MARGIN, CoarseBody
from lauterbur.fields.wires import magnetic_field
from lauterbur.scanner.machine import Array


def receive_maps(body: CoarseBody, array: Array) -> NDArray[np.complex64]:
    """b1_minus T/A, (rx, z, y, x) on the coarse grid; zero farther than MARGIN nodes from the body."""
    near = ndimage.binary_dilation(body.occupied > 0, np.ones((3, 3, 3), bool), MARGIN)
    place = np.argwhere(near)[:, ::-1] @ body.affine[:3, :3].T + body.affine[:3, 3]
    cell = float(np.linalg.norm(body.affine[:3, :3], axis=0).max())
    radius = max(array.conductor_radius, cell)  # nodes nearer to a wire lie in air: no spikes for the interpolation
    b1_minus = np.zeros((len(array.loops), *near.shape), np.complex64)
    for i_loop, loop in enumerate(array.loops):
        b = magnetic_field(loop, place, radius)
        b1_minus[i_loop, near] = (b[:, 0] - 1j * b[:, 1]) / 2
    return b1_minus
