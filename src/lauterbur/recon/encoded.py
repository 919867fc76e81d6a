"""From lines and maps to linear problems on planes: what sparse and low-rank methods solve.

A slice is one plane (x, y), a volume one plane (z, y) for each position along the readout. The readout transform is done
already, so that only phase-encoded axes remain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.coils import CoarseMaps, planes_at
from lauterbur.recon.fft import fft, ifft
from lauterbur.recon.irregular import on_grid
from lauterbur.recon.layout import Layout
from lauterbur.recon.readout import Hybrid

Complex = NDArray[np.complex64]


@dataclass(frozen=True)
class Planes:
    """A' A, A' y and |y|^2 of some positions along the readout."""

    sense: CartesianSense
    right: Complex  # (plane, set, a, b)
    energy: float
    n_samples: int


def check_maps(maps: CoilMaps, n_rx: int, grid: tuple[int, ...]) -> None:
    """Refuses maps of another grid (z or slice, y, x) or of other receivers, and maps of nothing."""
    want = (n_rx, *grid)
    if maps.sensitivity.ndim != 5 or maps.sensitivity.shape[1:] != want:
        raise InputError(
            f"maps have shape {maps.sensitivity.shape}; the data need (set, {', '.join(str(n) for n in want)}): calibrate from raw "
            "data of the same matrix, with the same coils="
        )
    if not np.isfinite(maps.sensitivity).all():
        raise InputError("the maps hold NaN or infinite values; calibrate again")
    if not np.any(maps.sensitivity):
        raise InputError("the maps are zero everywhere; calibrate with a smaller crop=")


def slab_of_maps(
    maps: CoarseMaps | CoilMaps, i_slice: int, layout: Layout, start: int, stop: int, least: float
) -> Complex:
    """(x, set, rx, z, y) on the encoded grid of positions [start, stop) along the readout."""
    if isinstance(maps, CoilMaps):
        part = maps.sensitivity[..., start:stop]
        if layout.partition is None:
            part = part[:, :, i_slice : i_slice + 1]
        return np.ascontiguousarray(part.transpose(4, 0, 1, 2, 3))
    n_x = layout.readout.n_image
    sensitivity, confidence = planes_at(maps, (np.arange(start, stop) - n_x // 2) / n_x)
    return on_grid(sensitivity, confidence, (layout.n_partitions, layout.phase.n), least)[:, None]


def encoded(
    lines: Hybrid, which: NDArray[np.intp], layout: Layout, maps: Complex, start: int, stop: int, *, workers: int = 1
) -> Planes:
    """The problem of positions [start, stop), from maps (x, set, rx, z, y) of the same."""
    n_z, n_y = layout.n_partitions, layout.phase.n
    k_space, mask = _measured(lines, which, layout, start, stop)
    energy = float(np.linalg.norm(k_space) ** 2)
    n_samples = int(mask.sum()) * lines.samples.shape[1] * (stop - start)
    axes = (2, 3) if n_z > 1 else (3,)
    right = np.sum(maps.conj() * ifft(k_space, axes)[:, None], axis=2)
    if n_z > 1:
        return Planes(CartesianSense(maps, mask, workers), right, energy, n_samples)
    whole = np.ascontiguousarray(maps[:, :, :, 0].transpose(1, 2, 0, 3))[None]  # one plane (x, y)
    mask = np.broadcast_to(mask[0], (stop - start, n_y))
    return Planes(CartesianSense(whole, mask, workers), right[:, :, 0].transpose(1, 0, 2)[None], energy, n_samples)


def measured_planes(
    lines: Hybrid, which: NDArray[np.intp], layout: Layout, start: int, stop: int
) -> tuple[Complex, NDArray[np.bool_]]:
    """(plane, rx, a, b) k-space of positions [start, stop), and where it was measured (a, b): what `encoded` folds into A' y."""
    k_space, mask = _measured(lines, which, layout, start, stop)
    if layout.n_partitions > 1:
        return k_space, mask
    plane = np.ascontiguousarray(k_space[:, :, 0].transpose(1, 0, 2))[None]
    return fft(plane, 2), np.broadcast_to(mask[0], (stop - start, layout.phase.n))


def _measured(
    lines: Hybrid, which: NDArray[np.intp], layout: Layout, start: int, stop: int
) -> tuple[Complex, NDArray[np.bool_]]:
    """(x, rx, z, y) samples, zero where there are none, and where there are (z, y)."""
    n_z, n_y = layout.n_partitions, layout.phase.n
    k_space = np.zeros((stop - start, lines.samples.shape[1], n_z, n_y), np.complex64)
    section, line = lines.section[which], lines.line[which]
    k_space[:, :, section, line] = lines.samples[which, :, start:stop].transpose(2, 1, 0)
    mask = np.zeros((n_z, n_y), bool)
    mask[section, line] = True
    return k_space, mask


def volume_of(planes: Complex, layout: Layout) -> Complex:
    """(set, z, y, x) of solved planes (plane, set, a, b)."""
    if layout.partition is not None:
        return planes.transpose(1, 2, 3, 0)
    return planes[0].transpose(0, 2, 1)[:, None]


def squared_residual(problem: Planes, image: Complex) -> float:
    """|A x - y|^2, from the normal equations."""
    cross = float(np.vdot(image, problem.right).real)
    return max(problem.energy - 2 * cross + float(np.vdot(image, problem.sense.normal(image)).real), 0.0)


def coarse_of(maps: CoilMaps, i_slice: int, layout: Layout) -> CoarseMaps:
    """The first set of a slice, or of the volume, for the methods of one set; empty places have no confidence."""
    part = slice(None) if layout.partition is not None else slice(i_slice, i_slice + 1)
    sensitivity = maps.sensitivity[0, :, part]
    confidence = np.linalg.norm(sensitivity, axis=0).astype(np.float32)
    return CoarseMaps(np.ascontiguousarray(sensitivity.transpose(3, 0, 1, 2)), confidence.transpose(2, 0, 1))
