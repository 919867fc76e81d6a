"""What every image of a non-Cartesian scan is made of: readouts by slice and frame, stacks of planes, and what is wrong with them.

A stack (of stars, of spirals) plays the same shots in each partition, at even steps along kz: one transform along kz makes it
a pile of planes, each as cheap as a slice. All that can be refused is refused here, before anything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import Header, RawData
from lauterbur.recon.fft import ifft
from lauterbur.recon.geometry import directions
from lauterbur.recon.layout import FRAME_COUNTERS, grid, has_k
from lauterbur.recon.radial import centre_turns

FEWEST_SAMPLES = 16
SAME_SHOT = 0.05  # of a step of k: shots of two partitions that differ by less are one shot
BEYOND = 0.05  # of the samples: more outside the resolution that the header asks for is a mistake
OUT_OF_PLANE = 0.25  # of the largest k in the plane
Int = NDArray[np.intp]
Float = NDArray[np.float64]
Complex = NDArray[np.complex64]


@dataclass(frozen=True)
class Scatter:
    """Which readouts make which image, on which grid."""

    image: Int  # readouts that make images
    frame: Int  # (readout,) of all readouts
    frames: tuple[dict[str, int], ...]
    slice: Int  # (readout,) likewise; 0 in a volume
    slices: Int  # SLC value of every slice
    shape: tuple[int, ...]  # of what is solved at once: (y, x) of slices and stacks, (z, y, x) of other volumes
    rows: Float  # (dimension, 3) patient axes of the same
    voxel: Float  # m, along the same
    partition: Int | None  # (readout,) of a stack: index along kz
    n_planes: int  # of a stack; 1 otherwise

    @property
    def depth(self) -> int:
        """Of the image: slices, planes, or voxels along z."""
        if len(self.shape) == 3:
            return self.shape[0]
        return len(self.slices) if self.partition is None else self.n_planes


@dataclass(frozen=True)
class Samples:
    """What one image is made of, or one pile of planes."""

    points: Float  # (sample, dimension) turns per voxel
    values: Complex  # (plane, rx, sample)
    time: Float  # s, (sample,) since k = 0 of its readout


def scattered(raw: RawData, header: Header) -> Scatter:
    """The plan of all images; refuses trajectories that do not fit the header."""
    if not has_k(raw):
        raise InputError(
            f"a {header.trajectory} trajectory needs k-space as played, but raw.k is zero everywhere; "
            "store the trajectory with the data"
        )
    image = np.flatnonzero((raw.label("NOISE") == 0) & (raw.label("NAV") == 0))
    if not len(image):
        raise InputError("no readout is image data: all are labelled NOISE or NAV; check the labels")
    counters = np.stack([raw.label(name) for name in FRAME_COUNTERS], axis=1)
    frames, frame_of = np.unique(counters[image], axis=0, return_inverse=True)
    frame = np.zeros(raw.n_readouts, np.intp)
    frame[image] = frame_of.ravel()
    named = tuple({name: int(v) for name, v in zip(FRAME_COUNTERS, row, strict=True)} for row in frames)

    axes = directions(header)
    voxel = np.array([header.fov[i] / header.matrix[i] for i in range(3)])
    check_extent(raw, header, image, axes, voxel)
    slices, slice_ = np.zeros(1, np.intp), np.zeros(raw.n_readouts, np.intp)
    partition = None
    if header.dimensions == 2:
        slices = np.unique(raw.label("SLC")[image]).astype(np.intp)
        slice_ = np.minimum(np.searchsorted(slices, raw.label("SLC")), len(slices) - 1)
    else:
        partition = partitions(raw, header, image, frame, axes, voxel)
    is_flat = header.dimensions == 2 or partition is not None
    order = [1, 0] if is_flat else [2, 1, 0]
    return Scatter(
        image=image,
        frame=frame,
        frames=named,
        slice=slice_,
        slices=slices,
        shape=tuple(header.matrix[i] for i in order),
        rows=axes[order],
        voxel=voxel[order],
        partition=partition,
        n_planes=1 if partition is None else header.matrix[2],
    )


def _valid(raw: RawData, which: Int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(raw.samples.shape[2]) < raw.n_samples[which][:, None])


def check_extent(raw: RawData, header: Header, image: Int, axes: Float, voxel: Float) -> None:
    """Refuses k that leaves the plane of a slice, stays in the plane of a volume or on a line, or goes beyond the grid."""
    beyond, n = 0, 0
    extent = np.zeros(3)
    encoded = [0, 1] if header.dimensions == 2 else [0, 1, 2]
    for some in np.array_split(image, len(image) // 1024 + 1):
        k = raw.k[some][_valid(raw, some)].astype(np.float64) @ axes.T
        extent = np.maximum(extent, np.max(np.abs(k), axis=0, initial=0.0))
        beyond += int(np.sum(np.any(np.abs(k[:, encoded] * voxel[encoded]) > 0.5 + 1e-6, axis=1)))
        n += len(k)
    reach = float(np.max(extent[:2]))
    if header.dimensions == 2 and extent[2] > OUT_OF_PLANE * reach:
        raise InputError(
            f"the header says 2D, but k reaches {extent[2]:.4g} 1/m along the slice, {extent[2] / max(reach, 1e-9):.2f} of what it "
            f"reaches in the plane; at most {OUT_OF_PLANE} is expected: check directions, or say dimensions = 3"
        )
    for axis, name in zip(encoded, ("readout", "phase", "partition"), strict=False):
        if header.matrix[axis] > 1 and not extent[axis] * header.fov[axis] >= 0.5:
            raise InputError(
                f"the trajectory does not move along {name}: k reaches {extent[axis]:.3g} 1/m where one step of the field of view is "
                f"{1 / header.fov[axis]:.3g} 1/m; check the header's dimensions, directions and units"
            )
    if not beyond <= BEYOND * n:
        shown = " x ".join(str(header.matrix[i]) for i in encoded)
        need = [2 * int(np.ceil(extent[i] * header.fov[i])) for i in encoded]
        raise InputError(
            f"{100 * beyond / n:.0f} % of the samples lie beyond the resolution of matrix {shown} and fov "
            f"{' x '.join(f'{header.fov[i]:.4g}' for i in encoded)} m, at most {100 * BEYOND:.0f} % may: check the units of the trajectory, "
            f"or give a matrix of {' x '.join(str(m) for m in need)}"
        )


def partitions(raw: RawData, header: Header, image: Int, frame: Int, axes: Float, voxel: Float) -> Int | None:
    """(readout,) index along kz where the scan is a stack of the same shots; else None."""
    n_z, fov_z = header.matrix[2], header.fov[2]
    k_z = np.zeros(raw.n_readouts)
    for some in np.array_split(image, len(image) // 1024 + 1):
        along = raw.k[some].astype(np.float64) @ axes[2]
        valid = _valid(raw, some)
        mean = np.sum(along * valid, axis=1) / valid.sum(axis=1)
        if np.max(np.abs(along - mean[:, None]) * valid) * fov_z > 0.1:
            return None
        k_z[some] = mean
    lattice = grid(k_z[image], 1 / fov_z)
    if lattice is None or abs(lattice[0] * fov_z - 1) > 0.5 / n_z or abs(lattice[1]) > 0.1:
        return None
    index = np.full(raw.n_readouts, -1, np.intp)
    index[image] = lattice[2] + n_z // 2
    if index[image].min() < 0 or index[image].max() >= n_z:
        return None
    counts = np.unique(np.stack([index[image], frame[image]]), axis=1, return_counts=True)
    if len(np.unique(counts[1])) > 1 or counts[0].shape[1] != len(np.unique(index[image])) * (frame[image].max() + 1):
        return None
    for i_frame in range(int(frame[image].max()) + 1):
        piles = piled(raw, image[frame[image] == i_frame], index)
        first = raw.k[piles[0]].astype(np.float64) @ axes[:2].T * voxel[:2]
        for pile in piles[1:]:
            k = raw.k[pile].astype(np.float64) @ axes[:2].T * voxel[:2]
            same = np.array_equal(raw.n_samples[pile], raw.n_samples[piles[0]])
            if not same or np.max(np.abs(k - first) * np.array(header.matrix[:2])) > SAME_SHOT:
                return None
    return index


def piled(raw: RawData, which: Int, partition: Int) -> Int:
    """(partition present, shot): the readouts of each partition in the order of their shots, by line counter, then time."""
    order = np.lexsort((raw.time[which], raw.label("LIN")[which], partition[which]))
    return which[order].reshape(len(np.unique(partition[which])), -1)


def samples_of(
    raw: RawData, plan: Scatter, mixing: NDArray[Any], i_slice: int, i_frame: int, notes: set[str]
) -> Samples:
    """The samples of one slice or volume, mixed; of a stack transformed along kz."""
    which = plan.image[(plan.frame[plan.image] == i_frame) & (plan.slice[plan.image] == i_slice)]
    n_planes = 1
    if plan.partition is not None:
        piles = piled(raw, which, plan.partition)
        n_planes, places = plan.n_planes, plan.partition[piles[:, 0]]
    elif not len(which):
        raise InputError(
            f"frame {plan.frames[i_frame]} has no readouts of slice SLC={plan.slices[i_slice]}; the scan is incomplete: leave "
            "out that frame's readouts"
        )
    else:
        piles, places = which[None], np.zeros(1, np.intp)
    shots = piles[0]
    valid = _valid(raw, shots)
    points = (raw.k[shots][valid].astype(np.float64) @ plan.rows.T) * plan.voxel
    inside = np.all(np.abs(points) <= 0.5 + 1e-6, axis=1)
    points = points[inside]
    if not len(points) >= FEWEST_SAMPLES:
        raise InputError(
            f"slice {plan.slices[i_slice]}, frame {i_frame}: {len(points)} samples lie within the resolution of the header's matrix "
            f"and fov; at least {FEWEST_SAMPLES} are needed: check the header's units"
        )
    values = np.zeros((n_planes, len(mixing), len(points)), np.complex64)
    mixed = mixing.astype(np.complex64)
    for place, pile in zip(places, piles, strict=True):
        block = np.asarray(raw.samples[pile])
        turns = centre_turns(raw, pile, mixing) if plan.partition is None else None
        if turns is not None:
            block = block * turns[:, None, None]
            notes.add("readouts were turned to the same phase at the centre of k-space")
        np.matmul(mixed, block.transpose(1, 0, 2)[:, valid][:, inside], out=values[place])
    if plan.partition is not None:
        values = ifft(values, 0)
        if len(places) < n_planes:
            notes.add(f"{n_planes - len(places)} of {n_planes} partitions were not measured and count as zero")
    sample = np.arange(raw.samples.shape[2])
    time = (sample - raw.center_sample[shots][:, None]) * raw.dwell[shots][:, None]
    return Samples(np.minimum(np.maximum(points, -0.5), 0.5), values, time[valid][inside])
