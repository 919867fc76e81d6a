"""Radial, spiral and any other trajectory: density-compensated adjoint transform, receivers combined by their maps.

Two passes: a coarse image of every receiver gives the maps, then one receiver at a time is transformed and added up, so
that memory holds two volumes whatever the number of receivers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import Header, RawData
from lauterbur.recon.coils import CoarseMaps, coarse_maps
from lauterbur.recon.fft import fft, resized
from lauterbur.recon.geometry import directions
from lauterbur.recon.layout import FRAME_COUNTERS, has_k
from lauterbur.recon.nufft import Nufft, density_weights
from lauterbur.recon.radial import centre_turns
from lauterbur.recon.timings import Timings

COARSE = 48  # points of the low-resolution images that give the maps
FEWEST_SAMPLES = 16


@dataclass(frozen=True)
class Gridded:
    pixels: NDArray[np.complex64]  # (frame, z, y, x); z = slice index for 2D
    slices: NDArray[np.intp]  # SLC values in that order
    frames: tuple[dict[str, int], ...]
    frame: NDArray[np.intp]  # (readout,)
    image: NDArray[np.intp]  # readouts used
    coverage: float  # samples per voxel
    notes: tuple[str, ...] = ()


def _linear(n: int, coarse: int) -> NDArray[np.float32]:
    """(n, coarse) periodic linear interpolation between grids over one field of view."""
    at = (np.arange(n) - n // 2) / n * coarse + coarse // 2
    low = np.floor(at).astype(int)
    matrix = np.zeros((n, coarse), np.float32)
    np.add.at(matrix, (np.arange(n), low % coarse), 1 - (at - low))
    np.add.at(matrix, (np.arange(n), (low + 1) % coarse), at - low)
    return matrix


def map_on_grid(maps: CoarseMaps, i_rx: int, shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    """One receiver's sensitivity on (z, y, x) voxels."""
    coarse: NDArray[Any] = maps.sensitivity[:, i_rx].transpose(1, 2, 0)
    for axis, n in enumerate(shape):
        coarse = np.moveaxis(np.tensordot(_linear(n, coarse.shape[axis]), coarse, axes=(1, axis)), 0, axis)
    return coarse.astype(np.complex64)


def _low_resolution(
    samples: NDArray[np.complex64], points: NDArray[np.float64], weights: NDArray[np.float32], shape: tuple[int, ...]
) -> NDArray[np.complex64]:
    """(rx, kz, ky, kx) Cartesian low frequencies of every receiver, by gridding the centre of k-space."""
    small = tuple(min(COARSE, n) for n in shape)
    scaled = points * (np.array(shape) / np.array(small))
    near = np.all(np.abs(scaled) < 0.5, axis=1)
    images = Nufft(scaled[near], small).adjoint(samples[:, near] * weights[near])
    k_space = fft(images, tuple(range(1, images.ndim)))
    for axis, n in enumerate(small):  # gridding blurs the outermost points
        k_space = resized(k_space, max(1, (2 * n) // 3), axis + 1)
    return k_space if k_space.ndim == 4 else k_space[:, None]


def reconstruct_noncartesian(raw: RawData, header: Header, mixing: NDArray[Any], timings: Timings) -> Gridded:
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
    is_slices = header.dimensions == 2
    slices = np.unique(raw.label("SLC")[image]) if is_slices else np.zeros(1, np.int32)
    n_x, n_y, n_z = header.matrix
    shape: tuple[int, ...] = (n_y, n_x) if is_slices else (n_z, n_y, n_x)
    voxel = np.array([header.fov[i] / header.matrix[i] for i in ((1, 0) if is_slices else (2, 1, 0))])
    rows = directions(header)[[1, 0] if is_slices else [2, 1, 0]]
    pixels = np.zeros((len(frames), len(slices) if is_slices else n_z, n_y, n_x), np.complex64)
    known: dict[bytes, NDArray[np.float32]] = {}
    coverage = 0.0
    notes: set[str] = set()

    for i_slice, slice_label in enumerate(slices):
        maps: CoarseMaps | None = None
        for i_frame in range(len(frames)):
            mine = image[frame_of.ravel() == i_frame]
            if is_slices:
                mine = mine[raw.label("SLC")[mine] == slice_label]
            valid = np.arange(raw.samples.shape[2]) < raw.n_samples[mine][:, None]
            k = raw.k[mine][valid].astype(np.float64)
            points = (k @ rows.T) * voxel
            inside = np.all(np.abs(points) <= 0.5, axis=1)
            points = points[inside]
            if not len(points) >= FEWEST_SAMPLES:
                raise InputError(
                    f"slice {slice_label}, frame {i_frame}: {len(points)} samples lie within the resolution of matrix "
                    f"{header.matrix} and fov {header.fov} m; at least {FEWEST_SAMPLES} are needed: check the header's units"
                )
            coverage = coverage or len(points) / float(np.prod(shape))
            operator = Nufft(points, shape)
            with timings.stage("density"):
                key = np.round(points * 1e5).astype(np.int32).tobytes()
                weights = known.get(key)
                if weights is None:
                    weights = known[key] = density_weights(operator)
            with timings.stage("gridding"):
                samples = np.empty((len(mixing), len(points)), np.complex64)
                turns = centre_turns(raw, mine, mixing)
                block = np.asarray(raw.samples[mine])
                if turns is not None:
                    block = block * turns[:, None, None]
                    notes.add("readouts were turned to the same phase at the centre of k-space")
                mixed = mixing.astype(np.complex64)
                flat = block.transpose(1, 0, 2)[:, valid][:, inside]
                np.matmul(mixed, flat, out=samples)
            if maps is None:
                with timings.stage("sensitivities"):
                    low = _low_resolution(samples, points, weights, shape)
                    grid = tuple(min(64, max(n, 12)) for n in (shape if len(shape) == 3 else (1, *shape)))
                    maps = coarse_maps(low, (grid[0] if len(shape) == 3 else 1, grid[1], grid[2]))
            with timings.stage("gridding"):
                full = shape if len(shape) == 3 else (1, *shape)
                total = np.zeros(full, np.complex64)
                power = np.zeros(full, np.float32)
                for i_rx in range(len(samples)):
                    sensitivity = map_on_grid(maps, i_rx, (full[0], full[1], full[2]))
                    total += sensitivity.conj() * operator.adjoint(samples[i_rx] * weights).reshape(full)
                    power += np.abs(sensitivity) ** 2
                total /= np.sqrt(np.maximum(power, 1e-12))
            if is_slices:
                pixels[i_frame, i_slice] = total[0]
            else:
                pixels[i_frame] = total
    named = tuple({name: int(v) for name, v in zip(FRAME_COUNTERS, row, strict=True)} for row in frames)
    return Gridded(pixels, slices.astype(np.intp), named, frame, image, coverage, tuple(sorted(notes)))
