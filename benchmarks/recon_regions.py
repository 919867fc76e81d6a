"""How far the means of regions lie off: of tissues as the subject has them, and of parts of a plane that are alike bright in the truth.

A tissue is a region that a user would draw; its borders know nothing of the image. Regions by brightness are harder on a method: chosen by the truth,
the brightest lose and the darkest gain where texture is smoothed, though the mean over a tissue stays.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from twin_scans import Scan, chosen_slices

from lauterbur.protocol.library import load_protocol
from lauterbur.protocol.protocol import slice_positions
from lauterbur.subject.anatomy import Subject

LEAST_PIXELS = 60  # of a region
SIGNAL = 0.1  # of the brightest: regions fainter than that are empty


def tissues_of(scan: Scan, subject: Subject, n_planes: int) -> np.ndarray:
    """(plane, a, b) of twin_scans.planes_of: the tissue, as numbered by the subject, that fills most of the voxel each pixel lies in."""
    protocol = scan.changes(load_protocol(scan.protocol))
    centres = np.asarray(slice_positions(protocol))
    shape, to_voxel = protocol.matrix[:2], np.linalg.inv(subject.affine)
    along = [
        (np.arange(n) - n // 2)[:, None] * (fov / n) * np.asarray(direction)
        for n, fov, direction in zip(shape, protocol.fov, protocol.directions, strict=False)
    ]
    most = np.argmax(subject.fraction, axis=0)
    labels = np.take_along_axis(subject.labels, most[None], axis=0)[0]
    found = []
    for centre in centres[chosen_slices(len(centres), n_planes)]:
        place = centre + along[0][:, None] + along[1][None]
        index = np.moveaxis(place @ to_voxel[:3, :3].T + to_voxel[:3, 3], -1, 0)[::-1]
        found.append(ndimage.map_coordinates(labels, index, order=0, mode="constant"))
    return np.stack(found)


def tissue_bias(image: np.ndarray, truth: np.ndarray, tissues: np.ndarray) -> tuple[float, float]:
    """Mean and largest size of the bias of means over tissues."""
    size = np.abs(truth)
    regions = [(tissues == label) & (size > 0) for label in np.unique(tissues[tissues > 0])]
    return _biases(image, size, [r for r in regions if np.any(r) and size[r].mean() > SIGNAL * size.max()])


def regional_bias(image: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean and largest size of the bias of means over regions of alike brightness in each quarter."""
    size = np.abs(truth)
    inside = size > SIGNAL * size.max()
    levels = np.digitize(size, np.quantile(size[inside], [0.25, 0.5, 0.75]))
    y, x = np.indices(size.shape)
    centre = ndimage.center_of_mass(inside)
    quarter = 2 * (y > centre[0]) + (x > centre[1])
    return _biases(
        image, size, [inside & (levels == level) & (quarter == part) for level in range(4) for part in range(4)]
    )


def _biases(image: np.ndarray, size: np.ndarray, regions: list[np.ndarray]) -> tuple[float, float]:
    found = [abs(float(np.abs(image)[r].mean() / size[r].mean() - 1)) for r in regions if r.sum() >= LEAST_PIXELS]
    return float(np.mean(found)), max(found)
