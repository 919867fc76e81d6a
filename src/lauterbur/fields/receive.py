"""Receive maps and thermal noise of an array of loops, quasi-static: as if the body did not bend the field.

    b1_minus = (Bx - i By) / 2 of 1 A in the loop (units.py draws the signs); a voxel's voltage follows by reciprocity
    R_ij = integral of sigma E_i . E_j dV for 1 A each, plus each loop's own loss (Roemer et al., MRM 1990, 16:192)

E is taken as w A, without the charges that gather where conductivity changes. The true E adds the gradient that makes
the loss least, so R here is an upper bound for every combination of coils (displacement currents neglected): noise is
never underestimated. Exact for loops that face the centre of a uniform sphere (no charges gather there), good where loops
lie flat on the body; the Maxwell solver replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lauterbur.fields.dielectrics import dielectric
from lauterbur.fields.wires import both_fields
from lauterbur.scanner.machine import Array
from lauterbur.subject.anatomy import Subject, spacing

MARGIN = 2  # cells of the coarse grid around the body, so that cubic interpolation has its neighbours


@dataclass(frozen=True)
class CoarseBody:
    """The conducting body on a coarse grid: each node the mean of a block of the subject's voxels."""

    conductivity: NDArray[np.float32]  # S/m, (z, y, x)
    occupied: NDArray[np.float32]  # part of the block that is not air, (z, y, x)
    affine: NDArray[np.float64]  # (4, 4)


def coarse_body(subject: Subject, frequency: float, step: float) -> CoarseBody:
    """The body in blocks of about `step` m, with MARGIN empty blocks around."""
    block = np.maximum(1, np.round(step / spacing(subject)).astype(int))  # x, y, z
    sigma = np.array([dielectric(tissue.dielectric, frequency)[1] for tissue in subject.tissues], np.float32)
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


def solve_receive(
    body: CoarseBody, array: Array, frequency: float
) -> tuple[NDArray[np.complex64], NDArray[np.complex128]]:
    """b1_minus T/A (rx, z, y, x) on the coarse grid, zero far from the body, and the noise resistance Ohm (rx, rx)."""
    near = ndimage.binary_dilation(body.occupied > 0, np.ones((3, 3, 3), bool), MARGIN)
    place = np.argwhere(near)[:, ::-1] @ body.affine[:3, :3].T + body.affine[:3, 3]
    cell = float(
        np.linalg.norm(body.affine[:3, :3], axis=0).max()
    )  # nodes nearer to a wire lie in air: no spikes for the interpolation
    values, potential = both_fields(array.loops, np.ascontiguousarray(place), max(array.conductor_radius, cell))
    b1_minus = np.zeros((len(array.loops), *near.shape), np.complex64)
    b1_minus[:, near] = values

    sigma = body.conductivity[near]
    lossy = sigma > 0
    volume = abs(np.linalg.det(body.affine[:3, :3]))
    e = potential[:, lossy] * (2 * np.pi * frequency * np.sqrt(sigma[lossy] * volume))[:, None].astype(np.float32)
    e = e.reshape(len(array.loops), -1)
    resistance = np.zeros((len(e), len(e)))
    for start in range(0, e.shape[1], 100_000):  # in double precision, a piece at a time
        piece = e[:, start : start + 100_000].astype(np.float64)
        resistance += piece @ piece.T
    return b1_minus, (resistance + array.resistance * np.eye(len(e))).astype(np.complex128)


def _block_mean(fine: NDArray[np.float32], block: NDArray) -> NDArray[np.float32]:
    count = [-(-n // b) for n, b in zip(fine.shape, block, strict=True)]
    whole = np.zeros([n * b for n, b in zip(count, block, strict=True)], np.float32)
    whole[tuple(slice(n) for n in fine.shape)] = fine
    mean = whole.reshape(count[0], block[0], count[1], block[1], count[2], block[2]).mean(axis=(1, 3, 5))
    return np.pad(mean, MARGIN)
