"""Where every Cartesian readout belongs: frame, slice, partition, line - from k as played, else from its counters.

k as played is believed before counters: it knows reversed, shifted and reordered lines. Counters separate what shares
one place in k-space: slices (SLC), frames (REP, SET, PHS, ECO); the rest (AVG, SEG) is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, UnsupportedError
from lauterbur.rawdata import Header, RawData
from lauterbur.recon.geometry import directions

FRAME_COUNTERS = ("REP", "SET", "PHS", "ECO")  # the last one runs fastest over frames
OFF_GRID = 0.1  # of a line: further from the grid than this is not Cartesian
Int = NDArray[np.intp]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """A Fourier-encoded axis: k = (index - n//2 + shift) dk."""

    n: int  # points of the encoded grid, oversampling included
    dk: float  # 1/m
    n_image: int  # voxels kept about the centre
    shift: float = 0.0  # of dk

    @property
    def voxel(self) -> float:
        """m"""
        return 1 / (self.n * self.dk)


@dataclass(frozen=True)
class Lines:
    """k of every readout along readout (ends), phase and partition; 1/m, (readout,)."""

    first: Float  # k along the readout at the first sample
    step: Float  # mean step of k along the readout
    bend: Float  # largest distance from a uniform step, in steps
    phase: Float
    partition: Float
    drift: Float  # largest excursion along phase and partition during the readout


@dataclass(frozen=True)
class Layout:
    readout: Axis
    phase: Axis
    partition: Axis | None  # None for 2D
    image: Int  # indices of readouts that make the image
    reference: Int  # indices of readouts labelled to calibrate receivers; some may be image data too
    navigators: Int  # indices of phase-correction readouts
    frame: Int  # (readout,), of all readouts of the raw data, as the next three
    slice: Int
    line: Int
    section: Int  # partition index
    slices: Int  # SLC value of every slice index, as they first sort: 0, 1, ...
    frames: tuple[dict[str, int], ...]  # the counters of every frame
    lines: Lines
    notes: tuple[str, ...] = ()

    @property
    def n_partitions(self) -> int:
        return 1 if self.partition is None else self.partition.n


def has_k(raw: RawData) -> bool:
    """Whether the trajectory as played is known."""
    return bool(np.any(raw.k))


def played_lines(raw: RawData, rows: Float, chunk: int = 1024) -> Lines:
    """The trajectory of every readout on the axes `rows` (3, 3)."""
    n, longest = raw.n_readouts, raw.samples.shape[2]
    first, step, bend, phase, partition, drift = (np.zeros(n) for _ in range(6))
    sample = np.arange(longest)
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        k = raw.k[part].astype(np.float64) @ rows.T
        count = raw.n_samples[part].astype(np.intp)
        valid = sample < count[:, None]
        last = np.maximum(count - 1, 0)
        each = np.arange(len(k))
        first[part] = k[:, 0, 0]
        step[part] = (k[each, last, 0] - k[:, 0, 0]) / np.maximum(last, 1)
        straight = first[part, None] + step[part, None] * sample
        size = np.maximum(np.abs(step[part]), 1e-9)
        bend[part] = np.max(np.abs(k[..., 0] - straight) * valid, axis=1) / size
        for axis, mean in ((1, phase), (2, partition)):
            mean[part] = np.sum(k[..., axis] * valid, axis=1) / np.maximum(count, 1)
            away = np.max(np.abs(k[..., axis] - mean[part, None]) * valid, axis=1)
            drift[part] = np.maximum(drift[part], away)
    return Lines(first, step, bend, phase, partition, drift)


def grid(k: Float, dk: float) -> tuple[float, float, Int] | None:
    """The lattice k = (m + shift) dk that the values lie on: dk refined, shift in [-0.5, 0.5), integer m; or None."""
    values = np.sort(k)
    gaps = np.diff(values)
    large = gaps[gaps > 0.5 * dk]
    if not len(large):
        m = np.zeros(len(k), np.intp) + int(np.round(np.mean(k) / dk))
        return dk, float(np.mean(k) / dk - m[0]), m
    smallest = float(large.min())
    step = smallest / max(1, round(smallest / dk))
    index = np.concatenate(([0], np.cumsum(np.round(gaps / step))))
    slope, offset = np.polyfit(index, values, 1)
    if not np.max(np.abs(values - slope * index - offset)) <= OFF_GRID * slope:
        return None
    origin = int(np.round(offset / slope))
    shift = offset / slope - origin
    return float(slope), float(shift), np.round(k / slope - shift).astype(np.intp)


def _encoded(header: Header, axis: int) -> tuple[int, float]:
    matrix = (header.encoded_matrix or header.matrix)[axis]
    return int(matrix), float((header.encoded_fov or header.fov)[axis])


def _axis(header: Header, axis: int, dk: float, shift: float) -> Axis:
    """The grid that gives the header's voxel size as nearly as whole numbers allow."""
    voxel = header.fov[axis] / header.matrix[axis]
    n = max(1, round(1 / (dk * voxel)))
    n_image = max(1, min(n, round(header.fov[axis] * n * dk)))
    return Axis(n, dk, n_image, shift)


def _encoded_axis(
    header: Header, axis: int, k: Float, counter: NDArray[np.int32], name: str, used: Int, notes: list[str]
) -> tuple[Axis, Int] | None:
    """Axis and index of every readout along phase (1) or partition (2); None where k lies on no grid."""
    matrix, fov = _encoded(header, axis)
    counts = counter[used].astype(np.intp)
    played = k[used]
    index = np.full(len(k), -1, np.intp)
    if np.ptp(played) < 0.1 / fov and (np.ptp(counts) > 0 or not np.any(np.abs(played) * fov > OFF_GRID)):
        if not (counts.min() >= 0 and counts.max() < matrix):
            raise InputError(
                f"counter {name} runs from {counts.min()} to {counts.max()} but the encoded matrix has {matrix} lines "
                f"along that axis; give the trajectory, or an encoded matrix of at least {counts.max() + 1}"
            )
        found = _axis(header, axis, 1 / fov, 0.0)
        single = np.ptp(counts) == 0 and matrix == 1
        index[used] = found.n // 2 if single else counts - matrix // 2 + found.n // 2
    else:
        lattice = grid(played, 1 / fov)
        if lattice is None:
            return None
        dk, shift, m = lattice
        found = _axis(header, axis, dk, shift)
        index[used] = m + found.n // 2
        if np.ptp(counts) > 0 and np.ptp(counts - m) > 0 and np.ptp(counts + m) > 0:
            notes.append(f"counter {name} does not follow the trajectory; the trajectory was believed")
    return found, index


def cartesian_layout(raw: RawData, header: Header) -> Layout | None:
    """The layout, or None where the trajectory as played is not a set of parallel lines on a grid."""
    notes: list[str] = []
    rows = directions(header)
    is_noise, is_navigator = raw.label("NOISE") > 0, raw.label("NAV") > 0
    is_reference = (raw.label("REF") > 0) & ~is_navigator & ~is_noise
    is_image = ~is_noise & ~is_navigator & ~(is_reference & (raw.label("IMA") == 0))
    image, reference = np.flatnonzero(is_image), np.flatnonzero(is_reference)
    if not len(image):
        raise InputError("no readout is image data: all are labelled NOISE, NAV or REF without IMA; check the labels")
    used = np.flatnonzero(is_image | is_reference)

    _, fov_x = _encoded(header, 0)
    if has_k(raw):
        lines = played_lines(raw, rows)
    else:
        step = np.where(raw.label("REV") > 0, -1, 1) / fov_x
        zero = np.zeros(raw.n_readouts)
        lines = Lines(-raw.center_sample * step, step, zero, zero, zero, zero)
    spacing = np.array([1 / _encoded(header, 1)[1], 1 / _encoded(header, 2)[1] if header.dimensions == 3 else np.inf])
    if not np.max(lines.drift[image]) <= 0.25 * spacing.min():
        return None
    step = np.abs(lines.step[image])
    if not np.median(step) > 0:
        return None

    ramps = np.max(lines.bend[image]) > 0.01 or np.ptp(step) > 1e-3 * np.median(step)
    dk = 1 / fov_x if ramps else float(np.median(step))
    readout = _axis(header, 0, dk, 0.0)
    along_phase = _encoded_axis(header, 1, lines.phase, raw.label("LIN"), "LIN", used, notes)
    if along_phase is None:
        return None
    phase, line = along_phase
    partition, section = None, np.zeros(raw.n_readouts, np.intp)
    if header.dimensions == 3:
        along_partition = _encoded_axis(header, 2, lines.partition, raw.label("PAR"), "PAR", used, notes)
        if along_partition is None:
            return None
        partition, section = along_partition

    inside = np.ones(raw.n_readouts, bool)
    for name, axis, index in (("phase", phase, line), ("partition", partition, section)):
        if axis is None:
            continue
        over = np.maximum(-index[used], index[used] - axis.n + 1)
        if np.max(over) > 1:
            raise InputError(
                f"lines reach {int(np.max(over))} steps beyond the encoded {name} matrix of {axis.n}; the header's "
                f"fov {header.fov} m and matrix {header.matrix} do not match the trajectory"
            )
        if np.max(over) == 1:
            inside[used[over == 1]] = False
            notes.append(f"one {name} line beyond the even grid of {axis.n} was left out")
    image, reference = image[inside[image]], reference[inside[reference]]

    counters = np.stack([raw.label(name) for name in FRAME_COUNTERS], axis=1)
    frames, frame_of = np.unique(counters[image], axis=0, return_inverse=True)
    frame = np.zeros(raw.n_readouts, np.intp)
    frame[image] = frame_of.ravel()
    navigators = np.flatnonzero(is_navigator & ~is_noise)
    alone = reference[~is_image[reference]]
    for others in (navigators, alone):
        if len(others):
            frame[others] = _nearest_frame(counters[others], frames)
    slice_label = raw.label("SLC")
    slices = np.unique(slice_label[image])
    if header.dimensions == 3 and len(slices) > 1:
        raise UnsupportedError(
            f"3D data in {len(slices)} slabs (label SLC); reconstruct one slab at a time: select its readouts first"
        )
    which = np.searchsorted(slices, slice_label)
    known = (which < len(slices)) & (slices[np.minimum(which, len(slices) - 1)] == slice_label)
    reference, navigators = reference[known[reference]], navigators[known[navigators]]
    return Layout(
        readout,
        phase,
        partition,
        image,
        reference,
        navigators,
        frame,
        np.minimum(which, len(slices) - 1),
        line,
        section,
        slices.astype(np.intp),
        tuple({name: int(v) for name, v in zip(FRAME_COUNTERS, row, strict=True)} for row in frames),
        lines,
        tuple(notes),
    )


def _nearest_frame(counters: NDArray[np.int32], frames: NDArray[np.int32]) -> Int:
    """The frame that shares most counters with each row; the earlier one where several do."""
    agree = np.sum(counters[:, None, :] == frames[None, :, :], axis=2)
    return np.argmax(agree, axis=1)
