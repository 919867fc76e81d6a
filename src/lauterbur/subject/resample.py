"""The same subject on another grid: every tissue's volume goes where it lies, so partial volumes stay true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from lauterbur.errors import InputError, ResourceError
from lauterbur.subject.anatomy import Subject, spacing
from lauterbur.units import mm

MOST_VOXELS = 200_000_000


def resample(subject: Subject, step: ArrayLike, *, compartments: int = 3) -> Subject:
    """On voxels of step (m, one number or one for each of i_x, i_y, i_z), the outer corner kept.

    Where more tissues meet in a voxel than compartments, the smallest give their share to the others.
    """
    new = np.broadcast_to(np.asarray(step, float), (3,))
    old = spacing(subject)
    if not (np.isfinite(new).all() and (new >= 1e-5).all() and (new <= 0.05).all()):
        raise InputError(f"resample: steps of {new} m; each must be 0.01 to 50 mm")
    count = np.maximum(1, np.ceil(np.array(subject.labels.shape[:0:-1]) * old / new - 1e-6)).astype(int)
    if np.prod(count, dtype=float) > MOST_VOXELS:
        raise ResourceError(
            f"resample: {tuple(count)} voxels of {new / mm} mm; at most {MOST_VOXELS:.0e}: choose larger steps"
        )
    overlap = [
        _overlap(size, float(old[axis]), int(count[axis]), float(new[axis]))
        for axis, size in zip((2, 1, 0), subject.labels.shape[1:], strict=True)
    ]

    shape = tuple(int(n) for n in count[::-1])
    labels, fraction = np.zeros((compartments, *shape), np.uint8), np.zeros((compartments, *shape), np.float32)
    total = np.zeros(shape, np.float32)
    for index in np.unique(subject.labels):
        if index == 0:
            continue
        share = _spread(np.where(subject.labels == index, subject.fraction, 0).sum(axis=0, dtype=np.float32), overlap)
        total += share
        label = np.full(shape, index, np.uint8)
        for place in range(compartments):  # insertion into the largest so far
            larger = share > fraction[place]
            fraction[place], share = np.where(larger, share, fraction[place]), np.where(larger, fraction[place], share)
            labels[place], label = np.where(larger, label, labels[place]), np.where(larger, labels[place], label)
    kept = fraction.sum(axis=0)
    fraction *= np.divide(np.minimum(total, 1), kept, out=np.zeros_like(total), where=kept > 0)

    affine = subject.affine.copy()
    ratio = new / old
    affine[:3, :3] = subject.affine[:3, :3] * ratio
    affine[:3, 3] = subject.affine[:3, 3] + subject.affine[:3, :3] @ ((ratio - 1) / 2)
    part = None if subject.part is None else _parts(subject.part, overlap)
    return replace(subject, labels=labels, fraction=fraction, affine=affine, maps=_maps(subject, overlap), part=part)


def _overlap(n_old: int, old: float, n_new: int, new: float) -> sparse.csr_array:
    """(n_new, n_old): how much of each new voxel along one axis each old one fills."""
    edge_old, edge_new = np.arange(n_old + 1) * old, np.arange(n_new + 1) * new
    lower = np.maximum(edge_new[:-1, None], edge_old[None, :-1])
    upper = np.minimum(edge_new[1:, None], edge_old[None, 1:])
    return sparse.csr_array(np.clip(upper - lower, 0, None) / new).astype(np.float32)


def _spread(values: NDArray[np.float32], overlap: list[sparse.csr_array]) -> NDArray[np.float32]:
    for matrix in overlap:  # each turn replaces the first axis and puts it last
        rest = values.shape[1:]
        values = np.moveaxis((matrix @ values.reshape(len(values), -1)).reshape(-1, *rest), 0, -1)
        values = np.ascontiguousarray(values)
    return values


def _parts(part: NDArray[np.uint8], overlap: list[sparse.csr_array]) -> NDArray[np.uint8]:
    """The part of the body that fills most of each new voxel; nothing only where there is no body at all."""
    found, most = None, None
    for index in (i for i in np.unique(part) if i > 0):
        share = _spread((part == index).astype(np.float32), overlap)
        if found is None or most is None:
            found, most = np.zeros(share.shape, np.uint8), np.zeros(share.shape, np.float32)
        larger = share > most
        found[larger], most[larger] = index, share[larger]
    if found is None:
        return np.zeros([matrix.shape[0] for matrix in overlap], np.uint8)
    return found


def _maps(subject: Subject, overlap: list[sparse.csr_array]) -> dict[str, NDArray[np.float32]]:
    """Means weighted by the protons: of the rates for relaxation times."""
    density = subject.maps.get("proton_density")
    filled = subject.fraction.sum(axis=0)
    weight = filled if density is None else density * filled
    norm = _spread(weight, overlap)
    made = {}
    for name, values in subject.maps.items():
        if name == "proton_density":
            per, whole = values * filled, _spread(filled, overlap)
        else:
            rate = name in ("t1", "t2", "t2_prime")
            per, whole = (1 / np.maximum(values, np.float32(1e-9)) if rate else values) * weight, norm
        mean = np.divide(_spread(per.astype(np.float32), overlap), whole, out=np.zeros_like(whole), where=whole > 0)
        if name in ("t1", "t2", "t2_prime"):
            mean = np.divide(1, mean, out=np.full_like(mean, np.inf if name == "t2_prime" else 1), where=mean > 0)
        made[name] = mean
    return made
