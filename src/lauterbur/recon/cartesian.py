"""Cartesian and echo-planar raw data to complex volumes: readout transform first, then many small problems along x.

Memory holds one frame's readouts, cropped of oversampling and mixed to few receivers; everything after works on slabs of x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from lauterbur.recon.checks import check_memory
from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.coils import CoarseMaps, coarse_maps
from lauterbur.recon.combination import combine_, grid_for
from lauterbur.recon.compress import geometric_compression
from lauterbur.recon.encoded import check_maps, coarse_of
from lauterbur.recon.epi import ghost_phases
from lauterbur.recon.fft import resized
from lauterbur.recon.grappa import combine_grappa_
from lauterbur.recon.layout import Axis, Layout
from lauterbur.recon.learned import LearnedFit
from lauterbur.recon.learned_scan import Prior, combine_learned_, prior_of_scan
from lauterbur.recon.methods import WITH_PRIOR
from lauterbur.recon.partial_fourier import projected
from lauterbur.recon.readout import WORKERS, Hybrid, gathered
from lauterbur.recon.regularisation import Fit
from lauterbur.recon.sampling import Sampling, describe, missing_side
from lauterbur.recon.series import combine_series_
from lauterbur.recon.sparse import combine_sparse_
from lauterbur.recon.timings import Timings, silent
from lauterbur.recon.tuning import Tuning


@dataclass(frozen=True)
class Volumes:
    pixels: NDArray[np.complex64]  # (frame, z, y, x), oversampling removed; z = slice index for 2D
    g_factor: NDArray[np.float32] | None  # (z, y, x) of the first frame, where undersampled
    sampling: Sampling  # of the first frame and slice
    notes: tuple[str, ...]
    fits: tuple[Fit | LearnedFit, ...] = ()
    # ^ of regularised methods: per frame and slice, per slice where frames are solved together
    tuning: Tuning | None = None  # of the learned prior


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


def _samplings(layout: Layout, n_rx: int, method: str) -> dict[tuple[int, int], Sampling]:
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
            check_sampling(sampling, block, n_rx, has_prior=method in WITH_PRIOR)
            found[i_frame, i_slice] = sampling
    return found


def _check_method(method: str, samplings: dict[tuple[int, int], Sampling], n_rx: int, n_frames: int) -> None:
    """Refuses a method that the sampling does not suit."""
    if method == "grappa":
        for sampling in samplings.values():
            if not sampling.is_regular:
                raise InputError(
                    "GRAPPA needs every R-th line with reference lines, but the lines were left out in no regular pattern; use "
                    "method='sense' or 'cs'"
                )
        if n_rx == 1:
            raise InputError("GRAPPA needs several receivers but there is one; use method='cs'")
    if method == "low-rank" and n_frames < 2:
        raise InputError(
            "method='low-rank' needs several frames (repetitions, phases, echoes) but there is one; use 'cs'"
        )


def _check_memory(layout: Layout, n_rx: int, method: str) -> None:
    """Lines after the readout transform twice, all frames' images, and maps and transforms of what is solved at once."""
    n_x, n_z, n_y, n_frames = layout.readout.n_image, layout.n_partitions, layout.phase.n, len(layout.frames)
    held = len(layout.image) / (1 if method == "low-rank" else n_frames * (len(layout.slices) if n_z == 1 else 1))
    images = (n_frames + 3) * n_z * n_y * n_x * max(len(layout.slices), 1)
    at_once = (n_x if n_z == 1 else WORKERS) * n_z * n_y * n_rx * 5 * (n_frames if method == "low-rank" else 1)
    kernels = WORKERS * n_z * n_y * n_rx * n_rx if method == "grappa" else 0
    need = 8.0 * (2 * held * n_rx * n_x + images + at_once + kernels)
    check_memory(
        need,
        f"reconstruction by {method} of {n_frames} frames with {n_rx} receivers",
        "compress with coils=, or leave out frames",
    )


def reconstruct_cartesian(
    raw: RawData,
    layout: Layout,
    mixing: NDArray[Any],
    timings: Timings,
    *,
    partial_fourier: bool = True,
    is_white: bool = False,
    method: str = "sense",
    known_maps: CoilMaps | None = None,
    weight: float | None = None,
    along_readout: int | None = None,
    tune: bool = False,
) -> Volumes:
    """Volumes on the image grid, slices in the order of their SLC labels. `is_white`: mixing makes the noise 1.

    `method`: sense, grappa, cs, low-rank or learned. `known_maps` take the place of those from the calibration, `weight` that of the rule.
    `along_readout`: virtual receivers of geometric compression, found anew at every position along the readout.
    `tune`: the learned prior's weights are tuned to this scan first.
    """
    n_slices, n_frames, n_rx = len(layout.slices), len(layout.frames), len(mixing)
    n_x = layout.readout.n_image
    out_z = layout.partition.n_image if layout.partition is not None else n_slices
    with timings.stage("sampling"):
        samplings = _samplings(layout, n_rx, method)
        _check_method(method, samplings, n_rx, n_frames)
        if known_maps is not None:
            depth = layout.n_partitions if layout.partition is not None else n_slices
            check_maps(known_maps, n_rx, (depth, layout.phase.n, n_x))
        _check_memory(layout, n_rx if along_readout is None else along_readout, method)
    with timings.stage("navigators"):
        phases = ghost_phases(raw, layout, mixing)
    turns: dict[int, NDArray[np.complex64]] = {}  # per slice, geometric compression

    def lines_of(which: NDArray[np.intp], i_slice: int | None) -> Hybrid:
        lines = gathered(raw, layout, which, mixing, phases)
        return lines if i_slice is None or i_slice not in turns else mixed_along_readout(lines, turns[i_slice])

    maps: list[CoarseMaps] = []
    blocks: list[NDArray[np.complex64]] = []
    for i_slice in range(n_slices):
        block = lone_receiver()
        if n_rx > 1:
            with timings.stage("readout transform"):
                central = in_block(layout, calibrating_readouts(layout, i_slice))
                if along_readout is not None and along_readout < n_rx:
                    turns[i_slice] = geometric_compression(lines_of(central, None).samples, along_readout)[0]
                block = calibration(lines_of(central, i_slice), i_slice)
        if known_maps is None or len(known_maps.sensitivity) == 1:
            with timings.stage("sensitivities"):
                found = (
                    coarse_maps(block, grid_for(layout, n_x))
                    if known_maps is None
                    else coarse_of(known_maps, i_slice, layout)
                )
                maps.append(found)
        blocks.append(block if method == "grappa" else lone_receiver())

    pixels = np.zeros((n_frames, out_z, layout.phase.n_image, n_x), np.complex64)
    is_accelerated = samplings[0, 0].is_accelerated and method in ("sense", "grappa") and len(maps) > 0
    g_factor = np.zeros(pixels.shape[1:], np.float32) if is_accelerated else None
    fits: list[Fit | LearnedFit] = []
    notes = list(layout.notes)

    def put_(volume: NDArray[np.complex64], i_frame: int, i_slice: int) -> None:
        measured = _measured(layout, raw, samplings[i_frame, i_slice]) if partial_fourier else {}
        if measured:
            with timings.stage("partial Fourier"):
                volume = projected(volume, measured)
        for position, axis in ((0, layout.partition), (1, layout.phase)):
            ramp = _off_centre_phase(axis)
            if ramp is not None:
                volume = volume * ramp.reshape([-1 if a == position else 1 for a in range(3)])
        pixels[i_frame, _place(layout, i_slice)] = _on_image_grid(volume, layout)

    prior: Prior | None = None
    n_parts = n_frames * n_slices + int(tune)
    if method == "learned":
        with timings.stage("withheld samples"):
            found_maps = maps if known_maps is None else [known_maps]
            prior = prior_of_scan(
                lines_of, layout, found_maps, is_white=is_white, tune=tune,
                told=timings.part(0, n_parts) if tune else silent,
            )  # fmt: skip
            notes += prior.notes

    shape = (layout.n_partitions, layout.phase.n, n_x)
    if method == "low-rank":
        with timings.stage("readout transform"):
            everything = {i: lines_of(layout.image[layout.slice[layout.image] == i], i) for i in range(n_slices)}
        for i_slice, lines in everything.items():
            volumes = np.zeros((n_frames, *shape), np.complex64)
            used: CoarseMaps | CoilMaps = maps[i_slice] if known_maps is None else known_maps
            with timings.stage("combination"):
                which = [np.flatnonzero(lines.frame == i) for i in range(n_frames)]
                fits.append(
                    combine_series_(
                        lines,
                        which,
                        layout,
                        used,
                        i_slice,
                        volumes,
                        weight=weight,
                        is_white=is_white,
                        told=timings.part(i_slice, n_slices),
                    )
                )
            for i_frame in range(n_frames):
                put_(volumes[i_frame], i_frame, i_slice)
        return Volumes(pixels, None, samplings[0, 0], layout.notes, tuple(fits))

    for i_frame in range(n_frames):
        of_frame = layout.image[layout.frame[layout.image] == i_frame]
        together: Hybrid | None = None
        for i_slice in range(n_slices):
            if together is None or turns:  # geometric compression differs between slices
                with timings.stage("readout transform"):
                    some = of_frame if not turns else of_frame[layout.slice[of_frame] == i_slice]
                    together = lines_of(some, i_slice)
            sampling = samplings[i_frame, i_slice]
            volume = np.zeros(shape, np.complex64)
            g = np.zeros(shape, np.float32) if i_frame == 0 and g_factor is not None else None
            mine = np.flatnonzero(together.slice == i_slice)
            told = timings.part(i_frame * n_slices + i_slice + int(tune), n_parts)
            with timings.stage("combination"):
                if method == "grappa" and sampling.is_accelerated:
                    noise = np.zeros(shape, np.float32) if g is None else g
                    used = maps[i_slice] if known_maps is None else known_maps
                    combine_grappa_(together, mine, layout, sampling, used, i_slice, blocks[i_slice], volume, noise)
                elif prior is not None:
                    used = maps[i_slice] if known_maps is None else known_maps
                    fit, note = combine_learned_(
                        together, mine, layout, used, i_slice, volume, prior, is_white=is_white, told=told
                    )
                    fits.append(fit)
                    if note is not None and note not in notes:
                        notes.append(note)
                elif method == "cs" or (method == "sense" and not maps):  # several sets of maps: least squares
                    used = maps[i_slice] if known_maps is None else known_maps
                    chosen = weight if method == "cs" else 0.0
                    fits.append(
                        combine_sparse_(
                            together, mine, layout, used, i_slice, volume, weight=chosen, is_white=is_white, told=told
                        )
                    )
                else:
                    combine_(together, mine, layout, sampling, maps[i_slice], volume, g, is_white=is_white)
            told(1.0)
            put_(volume, i_frame, i_slice)
            if g is not None and g_factor is not None:
                g_factor[_place(layout, i_slice)] = _on_image_grid(g, layout)
        del together
    tuning = None if prior is None else prior.tuning
    return Volumes(pixels, g_factor, samplings[0, 0], tuple(notes), tuple(fits), tuning)


def _place(layout: Layout, i_slice: int) -> slice:
    return slice(None) if layout.partition is not None else slice(i_slice, i_slice + 1)


def _on_image_grid(volume: NDArray[Any], layout: Layout) -> NDArray[Any]:
    depth = layout.partition.n_image if layout.partition is not None else 1
    return resized(resized(volume, layout.phase.n_image, 1), depth, 0)


def mixed_along_readout(lines: Hybrid, mixing: NDArray[np.complex64]) -> Hybrid:
    """Lines (place, rx, x) mixed by (x, virtual rx, rx)."""
    samples = np.matmul(mixing, lines.samples.transpose(2, 1, 0))  # (x, virtual rx, place)
    return replace(lines, samples=np.ascontiguousarray(samples.transpose(2, 1, 0)))
