"""Image: pixels, and where they lie in the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Image:
    pixels: NDArray[np.complexfloating[Any, Any]]  # complex64, (frame, z, y, x): frame = contrast, echo or repetition
    affine: NDArray[np.float64]  # (4, 4): (i_x, i_y, i_z, 1) -> patient m (x left, y back, z head), at voxel centres
    te: tuple[float, ...] = ()  # s, (frame,) where frames are echoes, else one
    tr: float | None = None  # s
    ti: float | None = None  # s
    flip_angle: float | None = None  # rad
    field_strength: float | None = None  # T
    provenance: Mapping[str, Any] = field(
        default_factory=dict
    )  # twin | replay | hardware, program hash, versions, findings
    maps: Mapping[str, NDArray[Any]] = field(
        default_factory=dict
    )  # further maps by name, (z, y, x) or (frame, z, y, x)


def without_timings(provenance: Any) -> Any:
    """The same without what a clock wrote, at any depth, so that the same image gives the same bytes."""
    if isinstance(provenance, Mapping):
        return {str(key): without_timings(value) for key, value in provenance.items() if key != "timings"}
    return [without_timings(value) for value in provenance] if isinstance(provenance, list | tuple) else provenance
