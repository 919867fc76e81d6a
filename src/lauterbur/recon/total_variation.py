"""Total variation: images that are flat in pieces (Rudin et al. 1992, Physica D 60:259), isotropic over the axes, periodic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True)
class TotalVariation:
    axes: tuple[int, ...]

    @property
    def squared_norm(self) -> float:
        return 4.0 * len(self.axes)

    def analyse(self, image: Array) -> Array:
        """(axis, ...) differences to the next voxel."""
        return np.stack([np.roll(image, -1, axis) - image for axis in self.axes])

    def synthesise(self, dual: Array) -> Array:
        total: Any = 0
        for part, axis in zip(dual, self.axes, strict=True):
            total = total + np.roll(part, 1, axis) - part
        return np.asarray(total)

    def project(self, dual: Array, weight: float) -> Array:
        """Gradients no longer than `weight`."""
        length = np.sqrt(np.sum(np.abs(dual) ** 2, axis=0))
        return np.asarray(dual / np.maximum(length / np.float32(max(weight, 1e-30)), 1), dual.dtype)
