"""Cartesian and echo-planar raw data to complex volumes: readout transform first, then many small problems along x.

Memory holds the readouts once, cropped of oversampling and mixed to few receivers; everything after works on slabs of x.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import RawData
from lauterbur.recon.coils import CoarseMaps, coarse_maps, low_frequencies, planes_at
from lauterbur.recon.epi import ghost_phases
from lauterbur.recon.fft import fft, ifft, resized
from lauterbur.recon.layout import Axis, Layout
from lauterbur.recon.partial_fourier import projected
from lauterbur.recon.readout import Hybrid, along_readout
from lauterbur.recon.sampling import Sampling, calibration_block, describe, missing_side
from lauterbur.recon.sense import unfolded
from lauterbur.recon.timings import Timings

CALIBRATION_LINES = 32  # more adds time and hardly accuracy
FEWEST_REFERENCE_LINES = 6  # along an undersampled axis
COARSE = 64  # points of the sensitivity maps along each axis, at most
SLAB = 48 * 2**20  # bytes of k-space that one worker holds
LEAST_CONFIDENCE = 0.5  # ESPIRiT eigenvalue below which an aliased pixel counts as empty


@dataclass(frozen=True)
class Volumes:
    pixels: NDArray[np.complex64]  # (frame, z, y, x), oversampling removed; z = slice index for 2D
    g_factor: NDArray[np.float32] | None  # (z, y, x) of the first frame, where undersampled
    sampling: Sampling  # of the first frame and slice
    notes: tuple[str, ...]


def gathered(
    raw: RawData, layout: Layout, which: NDArray[np.intp], mixing: NDArray[Any], phases: NDArray[np.float64]
) -> Hybrid:
    """The readouts `which`, transformed, ghost-corrected and averaged per place in k-space."""
    n_x = layout.readout.n_image
    index = [layout.frame[which], layout.slice[which], layout.section[which], layout.line[which]]
    shape = [int(i.max()) + 1 for i in index]
    place = np.ravel_multi_index(index, shape)
    places, at, count = np.unique(place, return_inverse=True, return_counts=True)
    samples = np.zeros((len(places), len(mixing), n_x), np.complex64)
    centred = np.arange(n_x) - n_x // 2
    per_readout = raw.samples.shape[2] * (raw.n_rx + 2 * len(mixing)) * 8
    chunk = max(1, int(SLAB // per_readout))

    def work(start: int) -> None:
        some = slice(start, start + chunk)
        lines = along_readout(raw, layout, which[some], mixing, n_x)
        terms = phases[which[some]]
        if np.any(terms):
            lines *= np.exp(-1j * (terms[:, :1] + terms[:, 1:] * centred))[:, None, :].astype(np.complex64)
        if (count == 1).all():
            samples[at[some]] = lines
        else:
            np.add.at(samples, at[some], lines)

    starts = range(0, len(which), chunk)
    if (count == 1).all():
        with ThreadPoolExecutor(_workers()) as pool:
            list(pool.map(work, starts))
    else:
        for start in starts:
            work(start)
        samples /= count[:, None, None].astype(np.float32)
    frame, slice_, section, line = np.unravel_index(places, shape)
    return Hybrid(samples, frame, slice_, section, line, count)


def _workers() -> int:
    return min(4, os.cpu_count() or 1)


def _mask(lines: Hybrid, which: NDArray[np.intp], layout: Layout) -> NDArray[np.bool_]:
    mask = np.zeros((layout.n_partitions, layout.phase.n), bool)
    mask[lines.section[which], lines.line[which]] = True
    return mask


def _calibration(lines: Hybrid, which: NDArray[np.intp], layout: Layout) -> NDArray[np.complex64] | None:
    """(rx, kz, ky, kx): the fully sampled centre among the lines `which`; None if there is none."""
    block_z, block_y = calibration_block(_mask(lines, which, layout))
    centre_z, centre_y = layout.n_partitions // 2, layout.phase.n // 2
    half = CALIBRATION_LINES // 2
    low_y, high_y = max(block_y.start, centre_y - half), min(block_y.stop, centre_y + half)
    low_z, high_z = max(block_z.start, centre_z - half), min(block_z.stop, centre_z + half)
    if high_y <= low_y or high_z <= low_z:
        return None
    section, line = lines.section[which], lines.line[which]
    inside = (line >= low_y) & (line < high_y) & (section >= low_z) & (section < high_z)
    chosen = which[inside]
    n_x = min(CALIBRATION_LINES, lines.n_x)
    # symmetric about k = 0, so that index n//2 of the block is the centre
    half_y, half_z = max(centre_y - low_y, high_y - centre_y), max(centre_z - low_z, high_z - centre_z)
    small = low_frequencies(lines.samples[chosen], n_x, -1)
    size_z = 1 if layout.n_partitions == 1 else 2 * half_z
    block = np.zeros((small.shape[1], size_z, 2 * half_y, n_x), np.complex64)
    block[:, lines.section[chosen] - centre_z + size_z // 2, lines.line[chosen] - centre_y + half_y] = small.transpose(
        1, 0, 2
    )
    first_z, first_y = low_z - centre_z + size_z // 2, low_y - centre_y + half_y
    return block[:, first_z : first_z + high_z - low_z, first_y : first_y + high_y - low_y]


def _describe_problem(sampling: Sampling, calibration: NDArray[Any] | None, n_rx: int, layout: Layout) -> None:
    """Refuses what cannot be unfolded, before long work."""
    total = sampling.factors[0] * sampling.factors[1]
    measured = int(sampling.mask.sum())
    pattern = f"{measured} of {sampling.mask.size} phase-encode lines were measured"
    if total == 1 and sampling.is_regular:
        return
    if not sampling.is_regular:
        gaps = np.argwhere(~sampling.mask)
        raise InputError(
            f"{pattern}, in no regular pattern (first gap: partition {gaps[0][0]}, line {gaps[0][1]}); measure the missing "
            "lines, or undersample every R-th line with reference lines"
        )
    pattern += f", every {sampling.factors[0]} x {sampling.factors[1]} (phase x partition)"
    if total > n_rx:
        raise InputError(f"{pattern}; that needs at least {total} receivers but there are {n_rx}; use more receivers")
    for axis, factor, name in ((2, sampling.factors[0], "phase"), (1, sampling.factors[1], "partition")):
        have = 0 if calibration is None else calibration.shape[axis]
        if factor > 1 and have < FEWEST_REFERENCE_LINES:
            raise InputError(
                f"{pattern}, with {have} contiguous reference lines about k = 0 along {name}; at least "
                f"{FEWEST_REFERENCE_LINES} are needed to know the receivers: measure them, or label reference lines REF"
            )


def _grid_for(layout: Layout, n_x: int) -> tuple[int, int, int]:
    """Points of the coarse maps along partition, phase, readout."""
    n_z = layout.n_partitions
    most = COARSE if n_z == 1 else COARSE // 2  # along the readout of a volume every point is a plane to solve
    return (
        1 if n_z == 1 else min(COARSE, max(n_z, 12)),
        min(COARSE, max(layout.phase.n, 12)),
        min(most, max(n_x, 12)),
    )


def _combined(
    lines: Hybrid,
    which: NDArray[np.intp],
    layout: Layout,
    sampling: Sampling,
    maps: CoarseMaps,
    volume: NDArray[np.complex64],
    g_factor: NDArray[np.float32] | None,
) -> None:
    """Fills volume (z, y, x) on the encoded grid from the lines of one frame (3D) or slice (2D)."""
    r_y, r_z = sampling.factors
    n_z, n_y = layout.n_partitions, layout.phase.n
    even_z, even_y = -(-n_z // r_z) * r_z, -(-n_y // r_y) * r_y  # a grid that the factors divide
    on_lattice = sampling.lattice[lines.section[which], lines.line[which]]
    chosen = which[on_lattice]
    section = lines.section[chosen] + even_z // 2 - n_z // 2
    line = lines.line[chosen] + even_y // 2 - n_y // 2
    offsets = (
        (sampling.offsets[0] + even_y // 2 - n_y // 2) % r_y,
        (sampling.offsets[1] + even_z // 2 - n_z // 2) % r_z,
    )
    n_rx, n_x = lines.samples.shape[1:]
    width = max(1, int(SLAB // (n_rx * even_z * even_y * 8)))

    def work(start: int) -> None:
        stop = min(start + width, n_x)
        k_space = np.zeros((stop - start, n_rx, even_z, even_y), np.complex64)
        k_space[:, :, section, line] = lines.samples[chosen, :, start:stop].transpose(2, 1, 0)
        position = (np.arange(start, stop) - n_x // 2) / n_x
        sensitivity, confidence = planes_at(maps, position)
        image, g = unfolded(
            ifft(k_space, (2, 3)),
            sensitivity,
            confidence,
            (r_y, r_z),
            offsets,
            least_confidence=LEAST_CONFIDENCE if r_y * r_z > 1 else 0.0,
        )
        if (even_z, even_y) != (n_z, n_y):
            image = ifft(resized(resized(fft(image, (1, 2)), n_z, 1), n_y, 2), (1, 2))
            rows, columns = np.arange(n_z) * even_z // n_z, np.arange(n_y) * even_y // n_y
            g = g[:, rows][:, :, columns]
        volume[:, :, start:stop] = image.transpose(1, 2, 0)
        if g_factor is not None:
            g_factor[:, :, start:stop] = g.transpose(1, 2, 0)

    with ThreadPoolExecutor(_workers()) as pool:
        list(pool.map(work, range(0, n_x, width)))


def _off_centre_phase(axis: Axis | None) -> NDArray[np.complex64] | None:
    """exp(2 pi i shift dk r): puts lines that lie between grid points where they are."""
    if axis is None or abs(axis.shift) < 1e-3:
        return None
    return np.exp(2j * np.pi * axis.shift * (np.arange(axis.n) - axis.n // 2) / axis.n).astype(np.complex64)


def _measured(lines: Hybrid, layout: Layout, raw: RawData, sampling: Sampling) -> dict[int, NDArray[np.bool_]]:
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


def reconstruct_cartesian(
    raw: RawData,
    layout: Layout,
    mixing: NDArray[Any],
    timings: Timings,
    *,
    partial_fourier: bool = True,
) -> Volumes:
    """Volumes on the image grid, slices in the order of their SLC labels."""
    n_slices, n_frames = len(layout.slices), len(layout.frames)
    with timings.stage("navigators"):
        phases = ghost_phases(raw, layout, mixing)
    with timings.stage("readout transform"):
        lines = gathered(raw, layout, layout.image, mixing, phases)
        reference = gathered(raw, layout, layout.reference, mixing, phases) if len(layout.reference) else None

    n_z, n_y, n_x = layout.n_partitions, layout.phase.n, lines.n_x
    is_volume = layout.partition is not None
    out_z = layout.partition.n_image if layout.partition is not None else n_slices
    pixels = np.zeros((n_frames, out_z, layout.phase.n_image, n_x), np.complex64)
    g_factor: NDArray[np.float32] | None = None
    first_sampling: Sampling | None = None

    plan = []
    for i_slice in range(n_slices):
        of_slice = np.flatnonzero(lines.slice == i_slice)
        calibrating = of_slice[lines.frame[of_slice] == lines.frame[of_slice].min()]
        with timings.stage("sampling"):
            if reference is not None:
                calibration = _calibration(reference, np.flatnonzero(reference.slice == i_slice), layout)
            else:
                calibration = _calibration(lines, calibrating, layout)
            for i_frame in range(n_frames):
                which = of_slice[lines.frame[of_slice] == i_frame]
                if not len(which):
                    raise InputError(
                        f"frame {layout.frames[i_frame]} has no readouts of slice SLC={layout.slices[i_slice]}; "
                        "the scan is incomplete: leave out that frame's readouts"
                    )
                sampling = describe(_mask(lines, which, layout))
                _describe_problem(sampling, calibration, lines.samples.shape[1], layout)
                first_sampling = first_sampling or sampling
                plan.append((i_slice, i_frame, which, sampling, calibration))

    maps: dict[int, CoarseMaps] = {}
    for i_slice, i_frame, which, sampling, calibration in plan:
        if i_slice not in maps:
            with timings.stage("sensitivities"):
                maps = {i_slice: coarse_maps(_or_lone(calibration, lines), _grid_for(layout, n_x))}
        is_first = i_frame == 0 and sampling.factors != (1, 1)
        if is_first and g_factor is None:
            g_factor = np.zeros(pixels.shape[1:], np.float32)
        volume = np.zeros((n_z, n_y, n_x), np.complex64)
        g = np.zeros((n_z, n_y, n_x), np.float32) if is_first else None
        with timings.stage("combination"):
            _combined(lines, which, layout, sampling, maps[i_slice], volume, g)
        if partial_fourier:
            measured = _measured(lines, layout, raw, sampling)
            if measured:
                with timings.stage("partial Fourier"):
                    volume = projected(volume, measured)
        for position, axis in ((0, layout.partition), (1, layout.phase)):
            ramp = _off_centre_phase(axis)
            if ramp is not None:
                volume *= ramp.reshape([-1 if a == position else 1 for a in range(3)])
        volume = resized(volume, layout.phase.n_image, 1)
        if g is not None and g_factor is not None:
            g = resized(g, layout.phase.n_image, 1)
        if is_volume:
            pixels[i_frame] = resized(volume, out_z, 0)
            if g is not None and g_factor is not None:
                g_factor[:] = resized(g, out_z, 0)
        else:
            pixels[i_frame, i_slice] = volume[0]
            if g is not None and g_factor is not None:
                g_factor[i_slice] = g[0]
    assert first_sampling is not None
    return Volumes(pixels, g_factor, first_sampling, layout.notes)


def _or_lone(calibration: NDArray[np.complex64] | None, lines: Hybrid) -> NDArray[np.complex64]:
    """A lone receiver needs no calibration data; several without any is an error."""
    if calibration is not None:
        return calibration
    n_rx = lines.samples.shape[1]
    if n_rx == 1:
        return np.ones((1, 1, 1, 1), np.complex64)
    raise InputError(
        f"no line at the centre of k-space was measured, so {n_rx} receivers cannot be combined; measure k = 0, or label "
        "reference lines REF"
    )
