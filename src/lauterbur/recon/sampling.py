"""Which lines of the phase x partition plane were measured: all of them, every R-th with reference lines, or any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (partition, phase)
LARGEST_FACTOR = 8


@dataclass(frozen=True)
class Sampling:
    mask: Mask
    factors: tuple[int, int]  # phase, partition; (1, 1) when everything within the extent was measured
    offsets: tuple[int, int]  # of the lattice, in lines
    is_regular: bool  # lattice and calibration block explain every measured line
    extent: tuple[tuple[int, int], tuple[int, int]]  # (first, last) measured line along phase, partition

    @property
    def is_accelerated(self) -> bool:
        """Every R-th line: groups of few aliased pixels."""
        return self.is_regular and self.factors != (1, 1)

    @property
    def lattice(self) -> Mask:
        """The measured lines on the lattice alone."""
        keep = np.zeros_like(self.mask)
        where = (slice(self.offsets[1], None, self.factors[1]), slice(self.offsets[0], None, self.factors[0]))
        keep[where] = self.mask[where]
        return keep


def _inside(n: int, first: int, last: int) -> NDArray[np.float64]:
    """Distance from k = 0 in units of the measured extent on that side."""
    centre = n // 2
    index = np.arange(n)
    reach = np.where(index < centre, max(centre - first, 1), max(last - centre, 1))
    return np.abs(index - centre) / reach


def describe(mask: Mask) -> Sampling:
    """The densest lattice with every point measured within the ellipse of the extent; corners may be cut."""
    n_z, n_y = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    extent = ((int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1])))
    radius = np.hypot(_inside(n_z, *extent[1])[:, None], _inside(n_y, *extent[0])[None, :])
    box = np.zeros_like(mask)
    box[extent[1][0] : extent[1][1] + 1, extent[0][0] : extent[0][1] + 1] = True
    wanted = box & (radius <= (1.0 if n_z > 1 else np.inf))
    factors = [
        (r_y, r_z)
        for r_y in range(1, LARGEST_FACTOR + 1)
        for r_z in range(1, LARGEST_FACTOR + 1)
        if r_y <= n_y and r_z <= n_z
    ]
    for r_y, r_z in sorted(factors, key=lambda f: (f[0] * f[1], f[1])):
        for o_z in range(r_z):
            for o_y in range(r_y):
                part = (slice(o_z, None, r_z), slice(o_y, None, r_y))
                if not wanted[part].any() or not np.all(mask[part] | ~wanted[part]):
                    continue
                found = Sampling(mask, (r_y, r_z), (o_y, o_z), True, extent)
                rest = mask & ~found.lattice
                block = calibration_block(mask)
                rest[block] = False
                return Sampling(mask, (r_y, r_z), (o_y, o_z), not rest.any(), extent)
    return Sampling(mask, (1, 1), (0, 0), False, extent)


def calibration_block(mask: Mask) -> tuple[slice, slice]:
    """The largest block about k = 0 with every line measured: slices along partition and phase; empty if none."""
    centre = [n // 2 for n in mask.shape]
    if not mask[centre[0], centre[1]]:
        return slice(0, 0), slice(0, 0)
    low, high = list(centre), [c + 1 for c in centre]
    grown = True
    while grown:
        grown = False
        for axis in (1, 0):
            for step in (-1, 1):
                trial_low, trial_high = list(low), list(high)
                if step < 0:
                    trial_low[axis] -= 1
                else:
                    trial_high[axis] += 1
                if trial_low[axis] < 0 or trial_high[axis] > mask.shape[axis]:
                    continue
                if mask[trial_low[0] : trial_high[0], trial_low[1] : trial_high[1]].all():
                    low, high, grown = trial_low, trial_high, True
    return slice(low[0], high[0]), slice(low[1], high[1])


def missing_side(extent: tuple[int, int], n: int, factor: int = 1) -> int:
    """How many lines one side of k = 0 lacks against the other (partial Fourier); 0 where symmetric enough."""
    centre = n // 2
    low, high = centre - extent[0], extent[1] - centre + (1 - n % 2)
    lacking = abs(high - low)
    return lacking if lacking > max(2, factor, 0.03 * n) else 0
