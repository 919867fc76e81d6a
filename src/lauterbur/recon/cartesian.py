"""Cartesian and echo-planar raw data to complex volumes: readout transform first, then many small problems along x.

Memory holds one frame's readouts, cropped of oversampling and mixed to few receivers; everything after works on slabs of x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import RawData
from lauterbur.recon.calibration import (
    calibrating_readouts,
    calibration,
    central_block,
    check_sampling,
    in_block,
    lone_receiver,
    mask_of,
)
from lauterbur.recon.coils import CoarseMaps, coarse_maps
from lauterbur.recon.combination import combine_, grid_for
from lauterbur.recon.epi import ghost_phases
from lauterbur.recon.fft import resized
from lauterbur.recon.layout import Axis, Layout
from lauterbur.recon.partial_fourier import projected
from lauterbur.recon.readout import gathered
from lauterbur.recon.sampling import Sampling, describe, missing_side
from lauterbur.recon.timings import Timings


@dataclass(frozen=True)
class Volumes:
    pixels: NDArray[np.complex64]  # (frame, z, y, x), oversampling removed; z = slice index for 2D
    g_factor: NDArray[np.float32] | None  # (z, y, x) of the first frame, where undersampled
    sampling: Sampling  # of the first frame and slice
    notes: tuple[str, ...]


def _off_centre_phase(axis: Axis | None) -> NDArray[np.complex64] | None:
    """exp(2 pi i shift dk r): puts lines that lie between grid points where they are."""
    if axis is None or abs(axis.shift) < 1e-3:
        return None
    return np.exp(2j * np.pi * axis.shift * (np.arange(axis.n) - axis.n // 2) / axis.n).astype(np.complex64)


def _measured(layout: Layout, raw: RawData, sampling: Sampling) -> dict[int, NDArray[np.bool_]]:
    """Per axis of (z, y, x) that lacks one side of k-space: which points were measured."""
    found = {}
    for position, axis, extent, factor in (
        (0, layout.partition, sampling.extent[1], sampling.factors[1]),
        (1, layout.phase, sampling.extent[0], sampling.factors[0]),
    ):
        if axis is not None and missing_side(extent, axis.n, factor):
            index = np.arange(axis.n)
            found[position] = (index >= extent[0]) & (index <= extent[1])
    first, step = layout.lines.first[layout.image], layout.lines.step[layout.image]
    last = first + step * (raw.n_samples[layout.image] - 1)
    low = float(np.max(np.minimum(first, last)))
    high = float(np.min(np.maximum(first, last)))
    dk = 1 / (layout.readout.voxel * layout.readout.n_image)  # of the cropped field of view
    n = layout.readout.n_image
    extent_x = (max(0, int(np.ceil(low / dk - 0.5)) + n // 2), min(n - 1, int(np.floor(high / dk + 0.5)) + n // 2))
    if extent_x[0] <= n // 2 <= extent_x[1] and missing_side(extent_x, n):
        index = np.arange(n)
        found[2] = (index >= extent_x[0]) & (index <= extent_x[1])
    return found


def _samplings(layout: Layout, n_rx: int) -> dict[tuple[int, int], Sampling]:
    """What every frame and slice measured; refuses what is incomplete before anything is computed."""
    found = {}
    for i_slice in range(len(layout.slices)):
        block = central_block(mask_of(layout, calibrating_readouts(layout, i_slice)))
        of_slice = layout.image[layout.slice[layout.image] == i_slice]
        for i_frame, frame in enumerate(layout.frames):
            which = of_slice[layout.frame[of_slice] == i_frame]
            if not len(which):
                raise InputError(
                    f"frame {frame} has no readouts of slice SLC={layout.slices[i_slice]}; the scan is incomplete: "
                    "leave out that frame's readouts"
                )
            sampling = describe(mask_of(layout, which))
            check_sampling(sampling, block, n_rx)
            found[i_frame, i_slice] = sampling
    return found


def reconstruct_cartesian(
    raw: RawData,
    layout: Layout,
    mixing: NDArray[Any],
    timings: Timings,
    *,
    partial_fourier: bool = True,
    is_white: bool = False,
) -> Volumes:
    """Volumes on the image grid, slices in the order of their SLC labels. `is_white`: mixing makes the noise 1."""
    n_slices, n_frames, n_rx = len(layout.slices), len(layout.frames), len(mixing)
    n_z, n_y, n_x = layout.n_partitions, layout.phase.n, layout.readout.n_image
    is_volume = layout.partition is not None
    out_z = layout.partition.n_image if layout.partition is not None else n_slices
    with timings.stage("sampling"):
        samplings = _samplings(layout, n_rx)
    with timings.stage("navigators"):
        phases = ghost_phases(raw, layout, mixing)
    maps: list[CoarseMaps] = []
    for i_slice in range(n_slices):
        block = lone_receiver()
        if n_rx > 1:
            with timings.stage("readout transform"):
                central = in_block(layout, calibrating_readouts(layout, i_slice))
                block = calibration(gathered(raw, layout, central, mixing, phases), i_slice)
        with timings.stage("sensitivities"):
            maps.append(coarse_maps(block, grid_for(layout, n_x)))

    pixels = np.zeros((n_frames, out_z, layout.phase.n_image, n_x), np.complex64)
    is_accelerated = samplings[0, 0].is_accelerated
    g_factor = np.zeros(pixels.shape[1:], np.float32) if is_accelerated else None
    for i_frame in range(n_frames):
        with timings.stage("readout transform"):
            lines = gathered(raw, layout, layout.image[layout.frame[layout.image] == i_frame], mixing, phases)
        for i_slice in range(n_slices):
            sampling = samplings[i_frame, i_slice]
            volume = np.zeros((n_z, n_y, n_x), np.complex64)
            g = np.zeros((n_z, n_y, n_x), np.float32) if i_frame == 0 and is_accelerated else None
            with timings.stage("combination"):
                mine = np.flatnonzero(lines.slice == i_slice)
                combine_(lines, mine, layout, sampling, maps[i_slice], volume, g, is_white=is_white)
            measured = _measured(layout, raw, sampling) if partial_fourier else {}
            if measured:
                with timings.stage("partial Fourier"):
                    volume = projected(volume, measured)
            for position, axis in ((0, layout.partition), (1, layout.phase)):
                ramp = _off_centre_phase(axis)
                if ramp is not None:
                    volume *= ramp.reshape([-1 if a == position else 1 for a in range(3)])
            place = slice(None) if is_volume else slice(i_slice, i_slice + 1)
            depth = out_z if is_volume else 1
            pixels[i_frame, place] = resized(resized(volume, layout.phase.n_image, 1), depth, 0)
            if g is not None and g_factor is not None:
                g_factor[place] = resized(resized(g, layout.phase.n_image, 1), depth, 0)
        del lines
    return Volumes(pixels, g_factor, samplings[0, 0], layout.notes)
