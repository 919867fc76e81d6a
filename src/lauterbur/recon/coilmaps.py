"""CoilMaps: what the receivers see, on the grid of the image - and calibrate(), which finds them in raw data.

calibrate(raw)                      # whitened, at most 16 virtual receivers, one map of each
calibrate(raw, coils=8, sets=2)     # eight; two sets, for a field of view smaller than the object (soft SENSE)
calibrate(raw, crop=0)              # a map everywhere, also where nothing is seen
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, ResourceError, UnsupportedError
from lauterbur.rawdata import Header, RawData
from lauterbur.recon.calibration import calibrating_readouts, calibration, central_block, in_block, mask_of
from lauterbur.recon.checks import LARGEST_IMAGE, check_header, check_raw
from lauterbur.recon.coils import positions, reference_receiver
from lauterbur.recon.epi import ghost_phases
from lauterbur.recon.espirit import CROP, PlaneMaps, plane_maps
from lauterbur.recon.gridding import Grid
from lauterbur.recon.inference import with_inferred_header
from lauterbur.recon.layout import cartesian_layout
from lauterbur.recon.mixing import receiver_mixing
from lauterbur.recon.readout import gathered
from lauterbur.recon.scattered import scattered
from lauterbur.recon.scattered_maps import piece_of, receivers_in_planes

FEWEST_LINES = 6  # contiguous about k = 0 along each encoded axis


@dataclass(frozen=True)
class CoilMaps:
    """Receivers' sensitivities over the encoded field of view, and the mixing of receivers that they belong to."""

    sensitivity: NDArray[np.complex64]  # (set, rx, z, y, x), orthonormal over rx, zero where empty; z = slice for 2D
    eigenvalue: NDArray[np.float32]  # (set, z, y, x): 1 where the calibration supports the map, less elsewhere
    mixing: NDArray[np.complex128]  # (virtual rx, rx): whitening and compression; rx above are these


def calibrate(
    raw: RawData,
    *,
    coils: int | None = None,
    sets: int = 1,
    noise_whiten: bool = True,
    kernel: int | None = None,
    threshold: float | None = None,
    crop: float = CROP,
) -> CoilMaps:
    """ESPIRiT maps, from reference lines or the fully sampled centre of k-space; of any trajectory in slices or stacks.

    `kernel` (points) and `threshold` (of the largest singular value) are chosen from the size and the noise of the calibration
    unless given (espirit.py). Places whose eigenvalue is below `crop` have no map.
    """
    if not 1 <= sets <= raw.n_rx:
        raise InputError(f"sets={sets}; between 1 and the number of receivers ({raw.n_rx}) are possible")
    if kernel is not None and not 2 <= kernel <= 12:
        raise InputError(f"kernel={kernel} points; between 2 and 12 are possible, 5 to 8 usual")
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"threshold={threshold}; a part of the largest singular value, between 0 and 1, is expected")
    if not 0 <= crop < 1:
        raise InputError(f"crop={crop}; an eigenvalue from 0 (keep all) to below 1 is expected")
    check_raw(raw)
    if raw.header is None:
        raw = with_inferred_header(raw)
    assert raw.header is not None
    check_header(raw.header, 1)
    is_turned = raw.header.trajectory in ("radial", "spiral")
    layout = None if is_turned else cartesian_layout(raw, raw.header)
    facts: dict[str, object] = {}
    mixing = receiver_mixing(raw, coils, noise_whiten, facts)
    if layout is None:
        return _of_any_trajectory(raw, raw.header, mixing, sets, 1.0 if facts["whitened"] else None, crop)
    n_z, n_y, n_x = layout.n_partitions, layout.phase.n, layout.readout.n_image
    depth = len(layout.slices) if layout.partition is None else n_z
    n_rx = len(mixing)
    sets = min(sets, n_rx)
    if not sets * n_rx * depth * n_y * n_x <= LARGEST_IMAGE:
        raise ResourceError(
            f"maps of {sets} x {n_rx} x {depth} x {n_y} x {n_x} points need {sets * n_rx * depth * n_y * n_x * 8 / 2**30:.1f} GiB; at "
            f"most {LARGEST_IMAGE * 8 / 2**30:.0f} are allowed: compress to fewer receivers with coils="
        )
    for i_slice in range(len(layout.slices)):
        block = central_block(mask_of(layout, calibrating_readouts(layout, i_slice)))
        for part, length, name in zip(block, (n_z, n_y), ("partition", "phase"), strict=True):
            have = max(0, part.stop - part.start)
            if n_rx > 1 and have < min(FEWEST_LINES, length):
                raise InputError(
                    f"slice {i_slice} has {have} contiguous lines about k = 0 along {name}; at least {FEWEST_LINES} are needed "
                    "to know the receivers: measure them, or label reference lines REF"
                )
    sensitivity = np.zeros((sets, n_rx, depth, n_y, n_x), np.complex64)
    eigenvalue = np.zeros((sets, depth, n_y, n_x), np.float32)
    phases = ghost_phases(raw, layout, mixing)
    for i_slice in range(len(layout.slices)):
        central = in_block(layout, calibrating_readouts(layout, i_slice))
        block_lines = calibration(gathered(raw, layout, central, mixing, phases), i_slice)
        if not np.any(block_lines):
            raise InputError(
                f"slice {i_slice}: the calibration lines of every receiver are zero; record the scan again"
            )
        # whitened noise is 1 per sample; the readout transform keeps it, averaging lowers it
        noise = 1.0 if facts["whitened"] else None

        def solve(block: NDArray[np.complex64], grid: tuple[int, int], reference: NDArray[np.complex64]) -> PlaneMaps:
            return plane_maps(
                block,
                grid,
                sets=sets,
                reference=reference,
                kernel=kernel,
                threshold=threshold,
                noise=noise,  # noqa: B023
            )

        _fill_(sensitivity, eigenvalue, block_lines, i_slice, (n_z, n_y, n_x), solve, crop)
    return CoilMaps(sensitivity, eigenvalue, mixing)


def _of_any_trajectory(
    raw: RawData, header: Header, mixing: NDArray[np.complex128], sets: int, noise: float | None, crop: float
) -> CoilMaps:
    """From the gridded centre of every slice, or of every plane of a stack."""
    plan = scattered(raw, header)
    if len(plan.shape) == 3:
        raise UnsupportedError(
            "maps of a volume that is no stack of planes are found within reconstruct() only; leave out maps="
        )
    known: dict[bytes, Grid] = {}
    found = []
    for i_slice in range(len(plan.slices)):
        piece = piece_of(raw, plan, mixing, i_slice, known, set())
        found += receivers_in_planes(piece, plan, sets=sets, noise=noise)
    sensitivity = np.stack([one.sensitivity * (one.eigenvalue >= crop)[:, None] for one in found], axis=2)
    return CoilMaps(sensitivity, np.stack([one.eigenvalue for one in found], axis=1), mixing)


def _fill_(
    sensitivity: NDArray[np.complex64],
    eigenvalue: NDArray[np.float32],
    block: NDArray[np.complex64],
    i_slice: int,
    grid: tuple[int, int, int],
    solve: Callable[..., PlaneMaps],
    crop: float,
) -> None:
    """Solves one slice, or a volume plane by plane along the readout, and puts it in its place."""
    n_z, n_y, n_x = grid
    reference = reference_receiver(block)

    def put_(where: tuple[int | slice, ...], plane: PlaneMaps) -> None:
        keep = plane.eigenvalue >= crop
        sensitivity[(slice(None), slice(None), *where)] = plane.sensitivity * keep[:, None]
        eigenvalue[(slice(None), *where)] = plane.eigenvalue

    if block.shape[1] == 1:
        return put_((i_slice,), solve(block[:, 0], (n_y, n_x), reference))
    planes = block @ positions(block.shape[3], n_x)

    def work(x: int) -> None:
        put_((slice(None), slice(None), x), solve(planes[..., x], (n_z, n_y), reference))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(n_x)))
