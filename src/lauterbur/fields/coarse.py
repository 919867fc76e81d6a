"""The conducting body on a coarse grid: enough for fields that vary over centimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.fields.dielectrics import dielectrics_of
from lauterbur.subject.anatomy import Subject, spacing

MARGIN = 2  # empty nodes around the body, so that cubic interpolation has its neighbours


@dataclass(frozen=True)
class CoarseBody:
    """The conducting body on a coarse grid: each node the mean of a block of the subject's voxels."""

    conductivity: NDArray[np.float32]  # S/m, (z, y, x)
    occupied: NDArray[np.float32]  # part of the block that is not air, (z, y, x)
    affine: NDArray[np.float64]  # (4, 4)


def coarse_body(subject: Subject, frequency: float, step: float) -> CoarseBody:
    """The body in blocks of about `step` m, with MARGIN empty blocks around."""
    block = np.maximum(1, np.round(step / spacing(subject)).astype(int))  # x, y, z
    sigma = dielectrics_of(subject, frequency)[:, 1].astype(np.float32)
    conducting = np.arange(len(subject.tissues)) > 0
    fine_sigma = np.zeros(subject.labels.shape[1:], np.float32)
    fine_body = np.zeros_like(fine_sigma)
    for labels, fraction in zip(subject.labels, subject.fraction, strict=True):
        fine_sigma += sigma[labels] * fraction
        fine_body += conducting[labels] * fraction
    affine = subject.affine.copy()
    affine[:3, :3] = subject.affine[:3, :3] * block
    affine[:3, 3] = subject.affine[:3, :3] @ ((block - 1) / 2 - MARGIN * block) + subject.affine[:3, 3]
    return CoarseBody(_block_mean(fine_sigma, block[::-1]), _block_mean(fine_body, block[::-1]), affine)


def body_volume(subject: Subject) -> float:
    """m3 that are not air."""
    tissue = np.where(subject.labels > 0, subject.fraction, np.float32(0)).sum(dtype=np.float64)
    return float(tissue) * abs(float(np.linalg.det(subject.affine[:3, :3])))


def extended(body: CoarseBody, faces: Sequence[str], depth: float) -> CoarseBody:
    """The body going on for `depth` m beyond these faces of its grid ("-z" where a neck was cut) as it ends there."""
    for face in faces:
        axis = "zyx".index(face[1])
        size = float(np.linalg.norm(body.affine[:3, 2 - axis]))
        count = int(np.ceil(depth / size))
        last = MARGIN if face[0] == "-" else body.occupied.shape[axis] - MARGIN - 1
        below, above = (count, 0) if face[0] == "-" else (0, count)

        def grown(
            values: NDArray, axis: int = axis, last: int = last, below: int = below, above: int = above
        ) -> NDArray:
            copies = np.repeat(np.take(values, [last], axis), below + above, axis)
            at = last if below else last + 1
            return np.concatenate(
                [np.take(values, range(at), axis), copies, np.take(values, range(at, values.shape[axis]), axis)], axis
            )

        affine = body.affine.copy()
        affine[:3, 3] -= below * body.affine[:3, 2 - axis]
        body = replace(body, conductivity=grown(body.conductivity), occupied=grown(body.occupied), affine=affine)
    return body


def _block_mean(fine: NDArray[np.float32], block: NDArray) -> NDArray[np.float32]:
    count = [-(-n // b) for n, b in zip(fine.shape, block, strict=True)]
    whole = np.zeros([n * b for n, b in zip(count, block, strict=True)], np.float32)
    whole[tuple(slice(n) for n in fine.shape)] = fine
    mean = whole.reshape(count[0], block[0], count[1], block[1], count[2], block[2]).mean(axis=(1, 3, 5))
    return np.pad(mean, MARGIN)
