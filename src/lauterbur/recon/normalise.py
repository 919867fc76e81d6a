"""Brightness freed of the receivers' sensitivity: the image divided by its own smooth part.

There is no body coil to compare with, so the smooth part of the object's own brightness goes too; contrast finer than
WIDTH stays. Off unless asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

WIDTH = 0.03  # m, standard deviation of the smoothing: coarser than anatomy, finer than a receiver's fall-off
FOREGROUND = 0.1  # of the 99th percentile: what counts as object


def normalised(pixels: NDArray[np.complexfloating[Any, Any]], affine: NDArray[np.float64]) -> NDArray[np.complex64]:
    """(frame, z, y, x), all frames divided by one field, so that ratios between frames stay; object mean stays too."""
    magnitude = np.sqrt(np.mean(np.abs(pixels) ** 2, axis=0, dtype=np.float32))
    mask = (magnitude > FOREGROUND * np.percentile(magnitude, 99)).astype(np.float32)
    if not mask.any():
        return np.asarray(pixels, np.complex64)
    voxel = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    sigma = [WIDTH / v if n > 1 else 0 for v, n in zip(voxel, magnitude.shape, strict=True)]
    inside = gaussian_filter(mask, sigma, mode="constant", truncate=2.5)
    field = gaussian_filter(magnitude * mask, sigma, mode="constant", truncate=2.5) / np.maximum(inside, 1e-3)
    mean = float(np.sum(field * mask) / np.sum(mask))
    field = np.maximum(field, 0.1 * mean) / mean
    return (pixels / field).astype(np.complex64)
