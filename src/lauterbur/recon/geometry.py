"""Where pixels lie in the patient.

Image axes are readout, phase, slice: pixels[frame, z, y, x]. Voxel n//2 of an encoded axis is the centre of the field of
view, because k = 0 sits at index n//2; slices lie at their own positions, sorted along the normal directions[2].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import Header


def directions(header: Header) -> NDArray[np.float64]:
    """(3, 3) unit row vectors of readout, phase and slice/partition in the patient."""
    rows = np.asarray(header.directions, float)
    ok = rows.shape == (3, 3) and np.allclose(rows @ rows.T, np.eye(3), atol=1e-3)
    if not ok:
        raise InputError(
            f"header.directions are {header.directions}, which are not three perpendicular unit vectors; "
            "give the directions of readout, phase and slice in patient coordinates"
        )
    return rows


def slice_order(header: Header, slices: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For the SLC values present: their order along the normal, and (slice, 3) centres in that order, m."""
    position = np.asarray(header.position, float)
    normal = directions(header)[2]
    if len(header.slice_positions):
        if not int(slices.max()) < len(header.slice_positions):
            raise InputError(
                f"label SLC reaches {int(slices.max())} but the header has {len(header.slice_positions)} slice "
                "positions; give one per slice"
            )
        centres = np.asarray(header.slice_positions, float)[slices]
    else:
        spacing = header.slice_thickness or header.fov[2] / max(header.matrix[2], 1)
        n = max(int(slices.max()) + 1, header.matrix[2] if header.dimensions == 2 else 1)
        centres = position + np.outer((slices - (n - 1) / 2) * spacing, normal)
    order = np.argsort(centres @ normal, kind="stable")
    return order, centres[order]


def affine_of_volume(
    header: Header, voxel: tuple[float, float, float], shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """(4, 4) from (i_x, i_y, i_z) to patient m, all three axes encoded; `shape` is (x, y, z)."""
    affine = np.eye(4)
    affine[:3, :3] = directions(header).T * np.asarray(voxel)
    affine[:3, 3] = np.asarray(header.position) - affine[:3, :3] @ (np.asarray(shape) // 2)
    return affine


def affine_of_slices(
    header: Header, voxel: tuple[float, float], shape: tuple[int, int], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(4, 4) for slices at `centres` (slice, 3), already sorted; their mean step is the third column."""
    rows = directions(header)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = rows[0] * voxel[0], rows[1] * voxel[1]
    if len(centres) > 1:
        affine[:3, 2] = (centres[-1] - centres[0]) / (len(centres) - 1)
    else:
        affine[:3, 2] = rows[2] * (header.slice_thickness or header.fov[2])
    affine[:3, 3] = centres[0] - affine[:3, :2] @ (np.asarray(shape) // 2)
    return affine


def is_evenly_spaced(centres: NDArray[np.float64]) -> bool:
    """Whether one affine describes the slices: steps equal within 1 % of the mean step."""
    if len(centres) < 3:
        return True
    steps = np.diff(centres, axis=0)
    mean = steps.mean(axis=0)
    return bool(np.max(np.linalg.norm(steps - mean, axis=1)) <= 0.01 * np.linalg.norm(mean))
