"""Cubes of a given mass around every voxel of a body: where to average SAR, after IEC/IEEE 62704-1.

    cubes = averaging_cubes(density, spacing, 10e-3)

A cube grows evenly around its voxel, in fractions of voxels, until it holds the mass. It is valid with at most 10 % of
its volume in air and tissue behind each face. A voxel wholly inside a valid cube is used and adds no cube of its own (it
takes the largest SAR of the cubes that hold it). For each voxel left over, six cubes grow from one of its outer faces,
whatever their air; those at most 5 % larger than the smallest count. Read in the description and the code of two open
implementations (INRIM's IEC-IEEE-62704-1-spatial-average-SAR; openEMS); the standard's own text was not at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lauterbur.errors import InputError

AIR, UNUSED, USED, VALID = 0, 1, 2, 3
AIR_SHARE = 0.10  # of a valid cube's volume, at most
LARGER = 1.05  # times the smallest of the six: volumes that still count
MASS_TOLERANCE = 1e-9  # of the mass; the standard asks for 1e-6 (as openEMS implements it)
CENTRED = 6  # directions 0 to 5: from the voxel's outer face along +z, -z, +y, -y, +x, -x


@dataclass(frozen=True, eq=False)
class Cubes:
    voxel: NDArray[np.int32]  # (cube, 3): i_z, i_y, i_x of the voxel it grew from
    direction: NDArray[np.int8]  # (cube,): CENTRED, or which way it grew
    side: NDArray[np.float64]  # m, (cube,)
    status: NDArray[np.uint8]  # (z, y, x): AIR, UNUSED, USED or VALID
    spacing: NDArray[np.float64]  # m, (3,): along z, y, x
    mass: float  # kg, of each cube


def averaging_cubes(density: NDArray, spacing: NDArray, mass: float) -> Cubes:
    """density kg/m3 (z, y, x), 0 in air; spacing m (3,) along z, y, x."""
    spacing = np.ascontiguousarray(spacing, np.float64)
    voxel_mass = np.asarray(density, np.float64) * np.prod(spacing)
    total = float(voxel_mass.sum())
    if not (np.isfinite(mass) and mass > 0):
        raise InputError(f"averaging mass {mass} kg; it must be positive")
    if not total >= 2 * mass:  # then one of two opposite directions from any voxel holds the mass
        raise InputError(
            f"the tissue on the grid weighs {total * 1e3:.4g} g; averaging over {mass * 1e3:g} g needs twice that"
        )
    tissue = voxel_mass > 0
    mass_below, tissue_below = _sums_below(voxel_mass), _sums_below(tissue)
    voxel = np.argwhere(tissue).astype(np.int32)

    side, is_valid = _centred(voxel, mass_below, tissue_below, spacing, mass)
    status = np.where(tissue, np.uint8(UNUSED), np.uint8(AIR))
    _mark_used_(status, voxel[is_valid], side[is_valid], spacing)
    status[tuple(voxel[is_valid].T)] = VALID

    unused = voxel[status[tuple(voxel.T)] == UNUSED]
    sides = _from_faces(unused, mass_below, spacing, mass)
    counts = sides**3 <= LARGER * (sides**3).min(axis=1, keepdims=True)
    which, direction = np.nonzero(counts)
    return Cubes(
        voxel=np.concatenate((voxel[is_valid], unused[which])),
        direction=np.concatenate((np.full(is_valid.sum(), CENTRED), direction)).astype(np.int8),
        side=np.concatenate((side[is_valid], sides[counts])),
        status=status,
        spacing=spacing,
        mass=mass,
    )


def cube_centres(cubes: Cubes) -> NDArray[np.float64]:
    """(cube, 3): z, y, x of the middle of each cube, in voxels."""
    centre = cubes.voxel.astype(np.float64)
    grown = np.flatnonzero(cubes.direction < CENTRED)
    axis, backward = np.divmod(cubes.direction[grown], 2)
    reach = cubes.side[grown] / cubes.spacing[axis] / 2 - 0.5
    centre[grown, axis] += np.where(backward == 1, -reach, reach)
    return centre


def _sums_below(values: NDArray) -> NDArray[np.float64]:
    """(z + 1, y + 1, x + 1): the sum of all voxels below each corner, so that any box is eight look-ups."""
    below = np.zeros(tuple(n + 1 for n in values.shape))
    np.cumsum(values, axis=0, out=below[1:, 1:, 1:])
    for axis in (1, 2):
        np.cumsum(below[1:, 1:, 1:], axis=axis, out=below[1:, 1:, 1:])
    return below


@njit(cache=True)
def box_edges(i_z, i_y, i_x, direction, side, spacing, low, high):  # type: ignore[no-untyped-def]
    """Edges of a cube in voxels, voxel i from i to i + 1, written to low (3,) and high (3,)."""
    for axis in range(3):
        start = (i_z, i_y, i_x)[axis]
        length = side / spacing[axis]
        if direction == 2 * axis:
            low[axis], high[axis] = start, start + length
        elif direction == 2 * axis + 1:
            low[axis], high[axis] = start + 1 - length, start + 1
        else:
            low[axis], high[axis] = start + 0.5 - length / 2, start + 0.5 + length / 2


@njit(cache=True)
def _box_sum(below, low, high):  # type: ignore[no-untyped-def]
    """The integral of a piecewise constant density over a box: `below` is exactly linear inside a voxel."""
    index = np.empty((3, 4), np.int64)
    weight = np.empty((3, 4))
    for axis in range(3):
        last = below.shape[axis] - 1
        for end in range(2):
            at = min(max(high[axis] if end else low[axis], 0.0), float(last))
            i = min(int(at), last - 1)
            sign = 1.0 if end else -1.0
            index[axis, 2 * end], index[axis, 2 * end + 1] = i, i + 1
            weight[axis, 2 * end], weight[axis, 2 * end + 1] = sign * (1 - (at - i)), sign * (at - i)
    total = 0.0
    for a in range(4):
        for b in range(4):
            row = 0.0
            for c in range(4):
                row += weight[2, c] * below[index[0, a], index[1, b], index[2, c]]
            total += weight[0, a] * weight[1, b] * row
    return total


@njit(cache=True)
def _grow(i_z, i_y, i_x, direction, below, spacing, mass, low, high):  # type: ignore[no-untyped-def]
    """The side at which the cube holds the mass, m, or infinity: a bracket, then the Illinois secant in the cube's volume."""
    for axis in range(3):
        low[axis] = (i_z, i_y, i_x)[axis]
        high[axis] = low[axis] + 1
    reach = 2 * max(below.shape[0] * spacing[0], below.shape[1] * spacing[1], below.shape[2] * spacing[2])
    own = _box_sum(below, low, high)  # of the voxel itself: a first guess
    small, large = 0.0, mass / own * spacing[0] * spacing[1] * spacing[2]  # m3
    excess_small, excess_large = -mass, -mass
    while True:
        box_edges(i_z, i_y, i_x, direction, large ** (1 / 3), spacing, low, high)
        excess_large = _box_sum(below, low, high) - mass
        if excess_large >= 0:
            break
        if large ** (1 / 3) > reach:
            return np.inf  # away from the body: there is no such cube
        small, excess_small = large, excess_large
        large *= 1.5
    side = 0
    for _ in range(200):
        if abs(excess_large) <= MASS_TOLERANCE * mass:
            break
        middle = large - excess_large * (large - small) / (excess_large - excess_small)
        if not small < middle < large:
            middle = (small + large) / 2
        box_edges(i_z, i_y, i_x, direction, middle ** (1 / 3), spacing, low, high)
        excess = _box_sum(below, low, high) - mass
        if abs(excess) <= MASS_TOLERANCE * mass:
            large = middle
            break
        if excess > 0:
            large, excess_large = middle, excess
            if side == 1:
                excess_small /= 2
            side = 1
        else:
            small, excess_small = middle, excess
            if side == -1:
                excess_large /= 2
            side = -1
    return large ** (1 / 3)


@njit(cache=True)
def _faces_touch_tissue(below, low, high):  # type: ignore[no-untyped-def]
    """Is there tissue in the layer of voxels behind each of the six faces?"""
    a, b = np.empty(3), np.empty(3)
    for axis in range(3):
        n = below.shape[axis] - 1
        for end in range(2):
            for other in range(3):
                a[other], b[other] = low[other], high[other]
            layer = np.ceil(high[axis] - 1e-9) - 1 if end else np.floor(low[axis] + 1e-9)
            if layer < 0 or layer >= n:
                return False
            a[axis], b[axis] = layer, layer + 1
            if _box_sum(below, a, b) < 1e-9:
                return False
    return True


@njit(cache=True, parallel=True)
def _centred(voxel, mass_below, tissue_below, spacing, mass):  # type: ignore[no-untyped-def]
    side = np.empty(len(voxel))
    is_valid = np.zeros(len(voxel), np.bool_)
    for i in prange(len(voxel)):
        low, high = np.empty(3), np.empty(3)
        z, y, x = voxel[i]
        side[i] = _grow(z, y, x, CENTRED, mass_below, spacing, mass, low, high)
        box_edges(z, y, x, CENTRED, side[i], spacing, low, high)
        volume = (high[0] - low[0]) * (high[1] - low[1]) * (high[2] - low[2])
        filled = _box_sum(tissue_below, low, high) / volume
        is_valid[i] = filled >= 1 - AIR_SHARE - 1e-12 and _faces_touch_tissue(tissue_below, low, high)
    return side, is_valid


@njit(cache=True)
def whole_voxels(low, high, first, last):  # type: ignore[no-untyped-def]
    """Voxels first to last - 1 lie wholly inside the edges."""
    for axis in range(3):
        first[axis], last[axis] = int(np.ceil(low[axis] - 1e-9)), int(np.floor(high[axis] + 1e-9))


@njit(cache=True)
def _mark_used_(status, voxel, side, spacing):  # type: ignore[no-untyped-def]
    low, high = np.empty(3), np.empty(3)
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(len(voxel)):
        box_edges(voxel[i, 0], voxel[i, 1], voxel[i, 2], CENTRED, side[i], spacing, low, high)
        whole_voxels(low, high, first, last)
        for z in range(first[0], last[0]):
            for y in range(first[1], last[1]):
                for x in range(first[2], last[2]):
                    if status[z, y, x] == UNUSED:
                        status[z, y, x] = USED


@njit(cache=True, parallel=True)
def _from_faces(voxel, mass_below, spacing, mass):  # type: ignore[no-untyped-def]
    side = np.empty((len(voxel), 6))
    for i in prange(len(voxel)):
        low, high = np.empty(3), np.empty(3)
        z, y, x = voxel[i]
        for direction in range(6):
            side[i, direction] = _grow(z, y, x, direction, mass_below, spacing, mass, low, high)
    return side
