"""Medium: the complex relative permittivity of a body on an isotropic grid, as Maxwell's solver takes it.

medium = medium_of(subject, scanner.larmor_frequency, 4 * mm)     # tissues averaged by volume, the cut neck going on
medium = Medium(permittivity, affine, frequency)                  # from plain arrays
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.fields.coarse import MARGIN
from lauterbur.fields.dielectrics import dielectrics_of
from lauterbur.subject.anatomy import PARTS, Subject
from lauterbur.units import EPSILON_0

BEYOND = 0.1  # m that a body goes on beyond a face of the subject's grid where it was cut

HALF = 0.4999  # of a voxel filled: it is tissue


@dataclass(frozen=True, eq=False)
class Medium:
    permittivity: NDArray[np.complex64]  # relative, eps_r + i sigma / (omega eps0), (z, y, x); 1 in air
    affine: NDArray[np.float64]  # (4, 4): (i_x, i_y, i_z, 1) -> patient m; isotropic, along the patient's axes
    frequency: float  # Hz
    density: NDArray[np.float32] | None = None  # kg/m3, (z, y, x); 0 in air, and where a cut body is only continued
    part: NDArray[np.uint8] | None = None  # (z, y, x), index into subject.anatomy.PARTS; 0 as density

    def __post_init__(self) -> None:
        _check(self)


def step(medium: Medium) -> float:
    """m, of the grid."""
    return float(medium.affine[0, 0])


def conductivity(medium: Medium) -> NDArray[np.float32]:
    """S/m, (z, y, x): all loss, Im(eps) omega eps0."""
    return (medium.permittivity.imag * np.float32(2 * np.pi * medium.frequency * EPSILON_0)).astype(np.float32)


def centres(medium: Medium, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """m, (n, 3): the centres of these voxels, in the order of np.argwhere."""
    return np.argwhere(mask)[:, ::-1] * step(medium) + medium.affine[:3, 3]


def medium_of(subject: Subject, frequency: float, size: float, *, beyond: float = BEYOND) -> Medium:
    """The subject in voxels of `size` m, each the mean of the tissue in it, with MARGIN empty voxels around.

    A voxel that is less than half filled is air: thinning tissue with air makes charges at the surface that heat it (a sphere
    absorbs 6 % too much at 5 mm, 0.6 % too little so). Points (PointCloud) are left out. Where the subject continues beyond
    its grid the body goes on for `beyond` m as it ends, with density 0 and part 0 there: it bends the fields but is nobody's.
    """
    scale = np.diag(subject.affine[:3, :3])
    if not (np.isfinite(size) and size > 0):
        raise InputError(f"a voxel of {size} m; it must be positive")
    if not np.allclose(subject.affine[:3, :3], np.diag(scale), rtol=0, atol=1e-6 * abs(scale).max()):
        raise InputError(
            f"subject {subject.name}: its grid is turned against the patient's axes; the Maxwell solver needs them parallel:"
            " resample it first"
        )
    relative, sigma = dielectrics_of(subject, frequency).T
    electric = (relative + 1j * sigma / (2 * np.pi * frequency * EPSILON_0)).astype(np.complex64)
    mass = np.array([0.0, *(tissue.density for tissue in subject.tissues[1:])], np.float32)
    susceptibility = np.zeros(subject.labels.shape[1:], np.complex64)
    density = np.zeros(subject.labels.shape[1:], np.float32)
    filled = np.zeros(subject.labels.shape[1:], np.float32)
    for labels, fraction in zip(subject.labels, subject.fraction, strict=True):
        susceptibility += (electric - 1)[labels] * fraction
        density += mass[labels] * fraction
        filled += (labels > 0) * fraction

    weights, first = [], np.zeros(3)
    for axis in range(3):  # x, y, z
        spacing, count = abs(scale[axis]), subject.labels.shape[3 - axis]
        ends = subject.affine[axis, 3] + scale[axis] * np.array([-0.5, count - 0.5])
        going_on = any(face[1] == "xyz"[axis] for face in subject.continues)
        weight = _overlap(count, spacing, size, going_on)
        weights.append(weight[:, ::-1] if scale[axis] < 0 else weight)
        first[axis] = ends.min() + (0.5 - MARGIN) * size

    def coarse(fine: NDArray) -> NDArray:
        for axis in range(3):
            fine = np.moveaxis(np.tensordot(weights[axis].astype(fine.real.dtype), fine, (1, 2 - axis)), 0, 2 - axis)
        return np.pad(np.ascontiguousarray(fine), MARGIN)

    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = first
    occupied = coarse(filled)
    scale_up = np.where(occupied >= HALF, 1 / np.maximum(occupied, HALF), 0).astype(np.float32)
    part = np.zeros(occupied.shape, np.uint8)
    if subject.part is not None:
        share = np.stack([coarse(((subject.part == i) & (density > 0)).astype(np.float32)) for i in range(len(PARTS))])
        part = np.where((scale_up > 0) & (share[1:].max(axis=0) > 0), share[1:].argmax(axis=0) + 1, 0).astype(np.uint8)
    maps: list[NDArray] = [1 + coarse(susceptibility) * scale_up, coarse(density) * scale_up, part]
    for face in subject.continues:
        maps, affine = _grown(maps, affine, face, int(np.ceil(beyond / size)))
    return Medium(maps[0], affine, frequency, maps[1], maps[2])


def _overlap(count: int, spacing: float, size: float, whole: bool) -> NDArray[np.float64]:
    """(coarse, fine): the part of each coarse cell that each fine cell fills; `whole`: of what the fine grid covers of it."""
    fine = np.arange(count + 1) * spacing
    coarse = np.arange(int(np.ceil(fine[-1] / size - 1e-6)) + 1) * size
    inside = np.minimum(coarse[1:, None], fine[None, 1:]) - np.maximum(coarse[:-1, None], fine[None, :-1])
    inside = np.maximum(inside, 0)
    return inside / (inside.sum(axis=1, keepdims=True) if whole else size)


def _grown(maps: list[NDArray], affine: NDArray, face: str, count: int) -> tuple[list[NDArray], NDArray]:
    """The body's last layer at this face repeated `count` times: permittivity alone, the other maps stay empty there."""
    axis, below = "zyx".index(face[1]), face[0] == "-"
    last = MARGIN if below else maps[0].shape[axis] - MARGIN - 1
    at = last if below else last + 1
    grown = []
    for i_map, values in enumerate(maps):
        layer = np.take(values, [last], axis)
        copies = np.repeat(layer if i_map == 0 else np.zeros_like(layer), count, axis)
        before, after = np.split(values, [at], axis)
        grown.append(np.concatenate([before, copies, after], axis))
    if below:
        affine = affine.copy()
        affine[2 - axis, 3] -= count * affine[2 - axis, 2 - axis]
    return grown, affine


def _check(medium: Medium) -> None:
    permittivity, affine = medium.permittivity, medium.affine
    if permittivity.ndim != 3 or not np.iscomplexobj(permittivity):
        raise InputError(
            f"medium: permittivity is {permittivity.dtype} {permittivity.shape}; it must be complex (z, y, x)"
        )
    good = (permittivity.real > 0) & (permittivity.imag >= 0) & np.isfinite(permittivity)
    if not good.all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        raise InputError(
            f"medium: a relative permittivity of {permittivity[where]} at voxel (z, y, x) = {where}, and {int((~good).sum())} such in all;"
            " the real part must be positive, the imaginary part (loss) not negative; look at the tissue's dielectric values"
        )
    if not (np.isfinite(medium.frequency) and medium.frequency > 0):
        raise InputError(f"medium: a frequency of {medium.frequency} Hz; it must be positive")
    size = affine[0, 0] if affine.shape == (4, 4) else np.nan
    if not (size > 0 and np.allclose(affine[:3, :3], size * np.eye(3), rtol=0, atol=1e-6 * size)):
        raise InputError(
            "medium: the affine must be isotropic along the patient's axes: (h, h, h) on its diagonal, h > 0"
        )
    if not np.isfinite(affine).all():
        raise InputError("medium: the affine has places that are not finite")
    inner = permittivity[1:-1, 1:-1, 1:-1]
    if np.count_nonzero(permittivity != 1) != np.count_nonzero(inner != 1):
        raise InputError("medium: the body touches the border of its grid; pad it with at least one layer of 1 (air)")
    for name, values in (("density", medium.density), ("part", medium.part)):
        if values is not None and values.shape != permittivity.shape:
            raise InputError(f"medium: {name} has shape {values.shape}; the grid is {permittivity.shape}")
