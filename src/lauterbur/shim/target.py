"""Target: the voxels whose fields a shim makes uniform, with their places, off-resonance and fields side by side.

site(fields)                                    # the whole body
site(fields, "head")                            # a part of the body: head, trunk, limb
site(fields, mask)                              # bool (z, y, x), on the fields' grid or on that of the transmit maps
tissue_mask(subject, "brain")                   # bool (z, y, x) on the subject's grid
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.subject.anatomy import PARTS

Mask = NDArray[np.bool_]
Float = NDArray[np.float64]
MIDDLE = 0.05  # of the target's voxels: those nearest its centre, where circular polarisation aligns the phases


@dataclass(frozen=True, eq=False)
class Site:
    b1: NDArray[np.complex128]  # T/sqrt(W), (tx, voxel)
    position: Float  # m, (voxel, 3), patient
    off_resonance: Float  # Hz, (voxel,)
    middle: Mask  # (voxel,)
    index: NDArray[np.intp]  # (voxel,), flat, into the grid of the transmit maps


def site(fields: FieldMaps, target: Mask | str | None = None) -> Site:
    mask = chosen_voxels(fields, target)
    index = np.flatnonzero(mask)
    affine = transmit_affine(fields)
    place = positions(affine, mask.shape, index)
    b1 = fields.b1_plus.reshape(len(fields.b1_plus), -1)[:, index].astype(np.complex128)
    if not np.isfinite(b1).all():
        raise InputError("b1_plus is not finite everywhere in the target; solve the fields again")
    if not np.any(b1):
        raise InputError("the transmit field vanishes in the whole target; is it inside the coil?")
    away = np.linalg.norm(place - place.mean(axis=0), axis=1)
    return Site(b1, place, off_resonance_at(fields, place), away <= np.quantile(away, MIDDLE), index)


def chosen_voxels(fields: FieldMaps, target: Mask | str | None) -> Mask:
    """bool (z, y, x) on the grid of the transmit maps, body only."""
    inside = body(fields)
    if target is None or (isinstance(target, str) and target == "body"):
        chosen, name = inside, "the body"
    elif isinstance(target, str):
        if target not in PARTS[1:]:
            raise InputError(
                f"target {target!r} is not a part of the body ({', '.join(PARTS[1:])}, body); for an organ give its mask "
                "on the subject's grid"
            )
        if fields.part is None:
            raise InputError(f"these fields do not know where the {target} is (no part map); give a mask")
        chosen, name = fields.part == PARTS.index(target), f"the {target}"
    else:
        chosen, name = _on_transmit_grid(fields, np.asarray(target)), "the target"
    if not chosen.any():
        raise InputError(f"{name} is empty: no voxel of the transmit grid lies in it")
    if not (chosen & inside).any():
        raise InputError(f"{name} lies outside the body: none of its {int(chosen.sum())} voxels holds tissue")
    return np.asarray(chosen & inside)


def body(fields: FieldMaps) -> Mask:
    if fields.density is not None:
        return np.asarray(fields.density > 0)
    return np.any(fields.b1_plus != 0, axis=0)


def transmit_affine(fields: FieldMaps) -> Float:
    return fields.affine if fields.transmit_affine is None else fields.transmit_affine


def positions(affine: Float, shape: tuple[int, ...], index: NDArray[np.intp]) -> Float:
    i_z, i_y, i_x = np.unravel_index(index, shape)
    return np.asarray(np.stack([i_x, i_y, i_z], axis=1) @ affine[:3, :3].T + affine[:3, 3])


def off_resonance_at(fields: FieldMaps, place: Float) -> Float:
    """Hz, linear between voxels; beyond the grid as at its edge."""
    voxel = (place - fields.affine[:3, 3]) @ np.linalg.inv(fields.affine[:3, :3]).T
    return np.asarray(map_coordinates(fields.off_resonance.astype(float), voxel[:, ::-1].T, order=1, mode="nearest"))


def _on_transmit_grid(fields: FieldMaps, mask: Mask) -> Mask:
    grid = fields.b1_plus.shape[1:]
    if mask.dtype != bool:
        raise InputError(f"a target is a mask of bool, not of {mask.dtype}; compare it with something first")
    if mask.shape == grid and (fields.transmit_affine is None or mask.shape != fields.off_resonance.shape):
        return mask
    if mask.shape != fields.off_resonance.shape:
        raise InputError(
            f"the target has shape {mask.shape}; the transmit maps have {grid}, the off-resonance {fields.off_resonance.shape}"
        )
    place = positions(transmit_affine(fields), grid, np.arange(int(np.prod(grid))))
    voxel = np.round((place - fields.affine[:3, 3]) @ np.linalg.inv(fields.affine[:3, :3]).T).astype(int)[:, ::-1]
    inside = np.all((voxel >= 0) & (voxel < mask.shape), axis=1)
    chosen = np.zeros(len(voxel), bool)
    chosen[inside] = mask[tuple(voxel[inside].T)]
    return chosen.reshape(grid)
