"""Where the receivers are seen: the fully sampled centre of k-space, and whether it suffices for what was left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.coils import low_frequencies
from lauterbur.recon.layout import Layout
from lauterbur.recon.readout import Hybrid
from lauterbur.recon.sampling import Mask, Sampling, calibration_block

CALIBRATION_LINES = 32  # more adds time and hardly accuracy
CALIBRATION_SAMPLES = 96  # along the readout of a volume, solved plane by plane: thick planes mix unlike sensitivities
FEWEST_REFERENCE_LINES = 6  # along an undersampled axis


def mask_of(layout: Layout, which: NDArray[np.intp]) -> Mask:
    """(partition, phase): the places that these readouts measured."""
    mask = np.zeros((layout.n_partitions, layout.phase.n), bool)
    mask[layout.section[which], layout.line[which]] = True
    return mask


def calibrating_readouts(layout: Layout, i_slice: int) -> NDArray[np.intp]:
    """Reference readouts of a slice, else its image readouts; of the earliest frame that has any."""
    for candidates in (layout.reference, layout.image):
        mine = candidates[layout.slice[candidates] == i_slice]
        if len(mine):
            return mine[layout.frame[mine] == layout.frame[mine].min()]
    return np.zeros(0, np.intp)


def central_block(mask: Mask) -> tuple[slice, slice]:
    """The fully sampled block about k = 0, no larger than is useful: slices along partition and phase."""
    found = []
    for block, n in zip(calibration_block(mask), mask.shape, strict=True):
        half = CALIBRATION_LINES // 2
        found.append(slice(max(block.start, n // 2 - half), min(block.stop, n // 2 + half)))
    return found[0], found[1]


def in_block(layout: Layout, which: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of the readouts that lie in their central block."""
    block_z, block_y = central_block(mask_of(layout, which))
    section, line = layout.section[which], layout.line[which]
    inside = (line >= block_y.start) & (line < block_y.stop) & (section >= block_z.start) & (section < block_z.stop)
    return which[inside]


def calibration(lines: Hybrid, i_slice: int) -> NDArray[np.complex64]:
    """(rx, kz, ky, kx) of the central block, from its lines alone."""
    mine = np.flatnonzero(lines.slice == i_slice)
    section, line = lines.section[mine], lines.line[mine]
    n_samples = CALIBRATION_SAMPLES if np.ptp(section) else CALIBRATION_LINES
    small = low_frequencies(lines.samples[mine], min(n_samples, lines.n_x), -1)
    block = np.zeros((small.shape[1], int(np.ptp(section)) + 1, int(np.ptp(line)) + 1, small.shape[2]), np.complex64)
    block[:, section - section.min(), line - line.min()] = small.transpose(1, 0, 2)
    return block


def check_sampling(sampling: Sampling, block: tuple[slice, slice], n_rx: int, *, has_prior: bool = False) -> None:
    """Refuses what cannot be unfolded or combined. With a prior, lines in no pattern may be sparser than receivers alone allow."""
    total = sampling.factors[0] * sampling.factors[1]
    pattern = f"{int(sampling.mask.sum())} of {sampling.mask.size} phase-encode lines were measured"
    have = [max(0, b.stop - b.start) for b in block]
    if not sampling.is_regular:
        return _check_irregular(sampling, pattern, have, n_rx, has_prior)
    if n_rx > 1 and min(have) == 0:
        raise InputError(
            f"{pattern}, but none at the centre of k-space, so {n_rx} receivers cannot be combined; measure k = 0, or label "
            "reference lines REF"
        )
    if total == 1:
        return
    pattern += f", every {sampling.factors[0]} x {sampling.factors[1]} (phase x partition)"
    if total > n_rx:
        raise InputError(f"{pattern}; that needs at least {total} receivers but there are {n_rx}; use more receivers")
    for axis, factor, name in ((1, sampling.factors[0], "phase"), (0, sampling.factors[1], "partition")):
        if factor > 1 and have[axis] < FEWEST_REFERENCE_LINES:
            raise InputError(
                f"{pattern}, with {have[axis]} contiguous reference lines about k = 0 along {name}; at least "
                f"{FEWEST_REFERENCE_LINES} are needed to know the receivers: measure them, or label reference lines REF"
            )


def _check_irregular(sampling: Sampling, pattern: str, have: list[int], n_rx: int, has_prior: bool) -> None:
    gaps = np.argwhere(~sampling.mask)
    pattern += f", in no regular pattern (first gap: partition {gaps[0][0]}, line {gaps[0][1]})"
    remedy = "measure the missing lines, or undersample every R-th line with reference lines"
    if n_rx == 1 and not has_prior:
        raise InputError(f"{pattern}; with one receiver nothing tells what they held: {remedy}")
    reached = [last - first + 1 for first, last in sampling.extent]
    factor = reached[0] * reached[1] / sampling.mask.sum()
    if factor > n_rx and not has_prior:
        raise InputError(
            f"{pattern}; that needs at least {factor:.1f} receivers but there are {n_rx}: use method='cs', or {remedy}"
        )
    for n, length, name in zip(have, sampling.mask.shape, ("partition", "phase"), strict=True):
        if n < min(FEWEST_REFERENCE_LINES, length):
            raise InputError(
                f"{pattern}, with {n} contiguous lines about k = 0 along {name}; at least {FEWEST_REFERENCE_LINES} are "
                f"needed to know the receivers: measure them, or label reference lines REF; or {remedy}"
            )


def lone_receiver() -> NDArray[Any]:
    """The calibration of a single receiver: nothing to know."""
    return np.ones((1, 1, 1, 1), np.complex64)
