"""How near an image comes to the truth: errors, structure, edges, and means of regions.

Magnitudes are compared after one real factor, the least-squares one, because images of different methods have different units.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lauterbur.errors import InputError
from lauterbur.formats.nifti import read_nifti

Volume = NDArray[np.floating[Any]]
SSIM_WIDTH, SSIM_TAPS = (
    1.5,
    11,
)  # pixels, standard deviation and extent of the window (Wang et al. 2004, IEEE TIP 13:600)
SSIM_FLOORS = (0.01, 0.03)  # of the truth's range, same source
HFEN_WIDTH = 1.5  # pixels, of the Laplacian of Gaussian (Ravishankar and Bresler 2011, IEEE TMI 30:1028)
STEEPEST = 0.05  # of the pixels inside: the edges
SAME_PLACE = 0.1  # of a voxel: affines further apart are of different grids


@dataclass(frozen=True)
class Region:
    label: int
    voxels: int
    truth: float  # mean
    image: float  # mean, after the common factor
    bias: float  # (image - truth) / truth
    deviation: float  # standard deviation of image - truth


@dataclass(frozen=True)
class Quality:
    scale: float  # factor that was applied to the image
    nrmse: float  # |image - truth| / |truth|
    psnr: float  # dB, of the truth's largest value
    ssim: float  # mean over pixels, in planes
    hfen: float  # NRMSE of edges and fine structure
    sharpness: float  # slope of the image across the truth's steepest edges, against the truth's: 1 is as sharp
    regions: tuple[Region, ...] = ()


def check_same_grid(
    image: Volume, truth: Volume, affine: NDArray[np.float64], truth_affine: NDArray[np.float64]
) -> None:
    if image.shape != truth.shape:
        raise InputError(
            f"the image has {image.shape} voxels (z, y, x) but the truth {truth.shape}; put both on one grid"
        )
    corners = np.array(np.meshgrid(*((0, n - 1) for n in image.shape[::-1]), [1], indexing="ij")).reshape(4, -1)
    away = np.linalg.norm(((affine - truth_affine) @ corners)[:3], axis=0)
    voxel = float(np.min(np.linalg.norm(truth_affine[:3, :3], axis=0)))
    if not np.max(away) <= SAME_PLACE * voxel:
        raise InputError(
            f"image and truth lie {1e3 * np.max(away):.2f} mm apart in a corner; at most {1e3 * SAME_PLACE * voxel:.2f} mm (a tenth of a voxel) "
            "are allowed: put both on one grid"
        )


def quality(image: Volume, truth: Volume, regions: NDArray[np.integer[Any]] | None = None) -> Quality:
    """Of magnitudes (z, y, x) on one grid; `regions` holds a label above 0 for each voxel that belongs to a region."""
    for name, values in (("image", image), ("truth", truth)):
        if values.ndim != 3 or not values.size:
            raise InputError(f"the {name} has shape {values.shape}; one volume (z, y, x) is expected")
        if not np.isfinite(values).all():
            raise InputError(
                f"the {name} holds NaN or infinite voxels, the first at {tuple(np.argwhere(~np.isfinite(values))[0])}"
            )
    if image.shape != truth.shape:
        raise InputError(
            f"the image has {image.shape} voxels (z, y, x) but the truth {truth.shape}; put both on one grid"
        )
    image, truth = np.abs(image).astype(float), np.abs(truth).astype(float)
    if not truth.max() > 0 or not image.max() > 0:
        raise InputError("image or truth is zero everywhere; there is nothing to compare")
    scale = float(np.vdot(image, truth) / np.vdot(image, image))
    image = image * scale
    error = image - truth
    mean_square = float(np.mean(error**2))
    psnr = float(np.inf) if mean_square == 0 else float(10 * np.log10(truth.max() ** 2 / mean_square))
    return Quality(
        scale,
        float(np.linalg.norm(error) / np.linalg.norm(truth)),
        psnr,
        float(np.mean(similarity(image, truth))),
        _fine_error(error, truth),
        edge_sharpness(image, truth),
        () if regions is None else _regions(image, truth, regions),
    )


def _in_planes(values: Volume, width: float) -> Volume:
    """Smoothed within each plane (y, x)."""
    sigma, radius = (0, width, width), (0, SSIM_TAPS // 2, SSIM_TAPS // 2)
    return np.asarray(ndimage.gaussian_filter(values, sigma, radius=radius, mode="reflect"))


def similarity(image: Volume, truth: Volume) -> Volume:
    """The structural similarity index of every pixel; its mean is SSIM."""
    c_1, c_2 = ((floor * (truth.max() - truth.min())) ** 2 for floor in SSIM_FLOORS)
    mean_i, mean_t = _in_planes(image, SSIM_WIDTH), _in_planes(truth, SSIM_WIDTH)
    var_i = _in_planes(image**2, SSIM_WIDTH) - mean_i**2
    var_t = _in_planes(truth**2, SSIM_WIDTH) - mean_t**2
    both = _in_planes(image * truth, SSIM_WIDTH) - mean_i * mean_t
    index: Volume = ((2 * mean_i * mean_t + c_1) * (2 * both + c_2)) / (
        (mean_i**2 + mean_t**2 + c_1) * (var_i + var_t + c_2)
    )
    return index


def _fine_error(error: Volume, truth: Volume) -> float:
    """In planes: Laplacian of Gaussian of the error against that of the truth."""

    def filtered(values: Volume) -> Volume:
        out = np.empty_like(values)
        for z in range(len(values)):
            out[z] = ndimage.gaussian_laplace(values[z], HFEN_WIDTH)
        return out

    return float(np.linalg.norm(filtered(error)) / max(float(np.linalg.norm(filtered(truth))), 1e-300))


def edge_sharpness(image: Volume, truth: Volume) -> float:
    """Least-squares slope of the image's gradient along the truth's, in planes, where the truth is steepest."""
    slopes: Any = [np.gradient(values, axis=(1, 2)) for values in (truth, image)]
    slope_t, slope_i = (np.stack(one) for one in slopes)
    steep = np.linalg.norm(slope_t, axis=0)
    inside = steep[truth > 0.1 * truth.max()]
    if not inside.size or not steep.max() > 0:
        return 1.0
    edge = steep >= max(float(np.quantile(inside, 1 - STEEPEST)), 1e-12 * float(steep.max()))
    along = np.sum(slope_t[:, edge] * slope_i[:, edge])
    return float(along / np.sum(slope_t[:, edge] ** 2))


def _regions(image: Volume, truth: Volume, labels: NDArray[np.integer[Any]]) -> tuple[Region, ...]:
    if labels.shape != truth.shape:
        raise InputError(
            f"the regions have {labels.shape} voxels (z, y, x) but the truth {truth.shape}; put both on one grid"
        )
    found = []
    for label in np.unique(labels[labels > 0]):
        mine = labels == label
        mean_t, mean_i = float(truth[mine].mean()), float(image[mine].mean())
        bias = (mean_i - mean_t) / mean_t if mean_t > 0 else float("nan")
        deviation = float(np.std(image[mine] - truth[mine]))
        found.append(Region(int(label), int(mine.sum()), mean_t, mean_i, bias, deviation))
    return tuple(found)


def read_and_judge(image: str | Path, truth: str | Path, regions: str | Path | None = None) -> Quality:
    """`quality` of NIfTI files; of series the first frames."""
    pixels, affine = read_nifti(image)
    wanted, truth_affine = read_nifti(truth)
    pixels, wanted = (values[0] if values.ndim == 4 else values for values in (pixels, wanted))
    check_same_grid(pixels, wanted, affine, truth_affine)
    if regions is None:
        return quality(pixels, wanted)
    labels, labels_affine = read_nifti(regions)
    labels = labels[0] if labels.ndim == 4 else labels
    check_same_grid(labels, wanted, labels_affine, truth_affine)
    return quality(pixels, wanted, np.round(labels).astype(np.int64))
