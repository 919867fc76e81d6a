"""Density of samples, images by gridding, and what the receivers see in the fully sampled centre of any trajectory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.calibration import CALIBRATION_LINES
from lauterbur.recon.coils import CoarseMaps, coarse_maps, reference_receiver
from lauterbur.recon.espirit import PlaneMaps, enlarging, plane_maps
from lauterbur.recon.fft import fft, resized
from lauterbur.recon.nufft import Nufft, density_weights
from lauterbur.recon.toeplitz import toeplitz_transfer

COARSE = 48  # points of the low-resolution images that give the maps
COVERED = 0.8  # of a shell of k-space: where samples stand for less, it is undersampled
FEWEST_CELLS = (
    3  # steps of the field of view from k = 0: a centre that is fully sampled no further tells no sensitivities
)
Float = NDArray[np.float64]
Complex = NDArray[np.complex64]


@dataclass(frozen=True)
class Grid:
    """A trajectory on a grid of voxels: its transform, and what each sample stands for."""

    operator: Nufft
    weights: NDArray[np.float32]  # (sample,) parts of a cell of k-space
    transfer: NDArray[np.float32] = field(repr=False)  # of the weighted normal operator (toeplitz.py)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.operator.shape

    @property
    def covered(self) -> float:
        """Of all cells of k-space, which part the samples stand for."""
        return float(self.weights.sum()) / float(np.prod(self.shape))

    @property
    def undersampling(self) -> float:
        """Cells of the ellipse that the samples reach, per cell that they stand for; 1 is full sampling."""
        reach = np.max(np.abs(self.operator.points), axis=0) * np.array(self.shape)
        ball = np.pi if len(self.shape) == 2 else 4 / 3 * np.pi
        return max(1.0, ball * float(np.prod(reach)) / float(self.weights.sum()))

    def images(self, values: Complex) -> Complex:
        """(..., sample) to (..., *shape), density compensated."""
        return self.operator.adjoint(values * self.weights)


def gridded(points: Float, shape: tuple[int, ...]) -> Grid:
    operator = Nufft(points, shape)
    weights = density_weights(operator)
    return Grid(operator, weights, toeplitz_transfer(points, shape, weights))


def full_radius(grid: Grid) -> int:
    """Steps of the field of view from k = 0 up to which every shell is fully sampled."""
    cells = grid.operator.points * np.array(grid.shape)
    radius = np.linalg.norm(cells, axis=1)
    most = max(grid.shape) // 2
    edges = np.arange(most + 1)
    have = np.histogram(radius, edges, weights=grid.weights)[0]
    dims = len(grid.shape)
    size = (np.pi if dims == 2 else 4 / 3 * np.pi) * np.diff(edges.astype(float) ** dims)
    three = np.ones(min(3, most))  # shells together: one alone holds few samples
    share = np.convolve(have, three, "valid") / np.convolve(size, three, "valid")
    short = np.flatnonzero(share < COVERED)
    return int(short[0]) + 1 if len(short) else most


def centre(grid: Grid, values: Complex, radius: int) -> Complex:
    """(..., rx, k...) Cartesian low frequencies of (..., rx, sample), within `radius` steps of k = 0."""
    small = tuple(min(COARSE, n) for n in grid.shape)
    scaled = grid.operator.points * (np.array(grid.shape) / np.array(small))
    near = np.all(np.abs(scaled) < 0.5, axis=1)
    images = Nufft(scaled[near], small).adjoint(values[..., near] * grid.weights[near])
    dims = len(small)
    k_space = fft(images, tuple(range(images.ndim - dims, images.ndim)))
    for axis, n in enumerate(small):  # gridding blurs the outermost points
        width = max(1, min(2 * radius, CALIBRATION_LINES, (2 * n) // 3))
        k_space = resized(k_space, width, images.ndim - dims + axis)
    return k_space


def noise_of_centre(grid: Grid, radius: int) -> float:
    """Standard deviation of the noise in `centre`, in units of that of a sample: less where samples lie densely."""
    cells = np.linalg.norm(grid.operator.points * np.array(grid.shape), axis=1)
    w = grid.weights[cells <= radius].astype(np.float64)
    return float(np.sqrt(np.sum(w**2) / max(float(np.sum(w)), 1e-30)))


def check_centre(grid: Grid, n_rx: int, what: str) -> int:
    """The radius of the fully sampled centre; refuses one that tells nothing of several receivers."""
    radius = full_radius(grid)
    if n_rx > 1 and radius < min(FEWEST_CELLS, min(grid.shape) // 2):
        raise InputError(
            f"{what}: the centre of k-space is fully sampled up to {radius} steps of the field of view from k = 0; at least "
            f"{FEWEST_CELLS} are needed to know {n_rx} receivers: play more shots through the centre, join frames, or use method='nufft'"
        )
    return radius


def maps_of_planes(
    blocks: Complex, shape: tuple[int, int], sets: int = 1, noise: float | None = None
) -> list[PlaneMaps]:
    """ESPIRiT's maps of every plane from centres (plane, rx, ky, kx), in phase with one virtual receiver of all planes."""
    n_planes, n_rx = blocks.shape[:2]
    if n_rx == 1:
        ones = np.ones((1, 1, *shape), np.complex64)
        return [PlaneMaps(ones, np.ones((1, *shape), np.float32))] * n_planes
    volume = fft(blocks.transpose(1, 0, 2, 3), 1) if n_planes > 1 else blocks.transpose(1, 0, 2, 3)
    reference = reference_receiver(volume)
    return [plane_maps(block, shape, sets=sets, reference=reference, noise=noise) for block in blocks]


def maps_of_volume(block: Complex, shape: tuple[int, ...]) -> CoarseMaps:
    """Coarse maps from a centre (rx, kz, ky, kx); `volume_map` puts a receiver's on voxels."""
    z, y, x = (min(COARSE, max(n, 12)) for n in shape)
    return coarse_maps(block, (z, y, x))


def volume_map(maps: CoarseMaps, i_rx: int, shape: tuple[int, ...], least: float) -> Complex:
    """(z, y, x): one receiver's sensitivity, zero where the calibration's eigenvalue is below `least`."""
    if maps.confidence.size == 1:
        return np.ones(shape, np.complex64)
    value: NDArray[Any] = maps.sensitivity[:, i_rx].transpose(1, 2, 0)
    confidence: NDArray[Any] = maps.confidence.transpose(1, 2, 0)
    for axis, n in enumerate(shape):
        matrix = enlarging(n, value.shape[axis])
        value = np.moveaxis(np.tensordot(matrix, value, axes=(1, axis)), 0, axis)
        confidence = np.moveaxis(np.tensordot(matrix, confidence, axes=(1, axis)), 0, axis)
    return np.where(confidence >= least, value, 0).astype(np.complex64)
