"""FieldMaps: this scanner's fields inside this subject, whoever computed or measured them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FieldMaps:
    affine: NDArray[np.float64]  # (4, 4): voxel (i_x, i_y, i_z, 1) -> patient m; the grid of every map below
    off_resonance: NDArray[np.float32]  # Hz, (z, y, x), of water; chemical shift comes with the tissue
    b1_plus: NDArray[np.complex64]  # T/sqrt(W), (tx, z, y, x)
    b1_minus: NDArray[np.complex64]  # T/A, (rx, z, y, x)
    noise_resistance: NDArray[np.complex128]  # Ohm, (rx, rx): thermal noise covariance is 4 k T R bandwidth, V^2
    e: NDArray[np.complex64] | None = None  # V/m/sqrt(W), (tx, 3, z, y, x)
    s_matrix: NDArray[np.complex128] | None = None  # (port, port)
    receive_affine: NDArray[np.float64] | None = (
        None  # (4, 4) of b1_minus where it lies on a coarser grid; None = affine
    )
    transmit_affine: NDArray[np.float64] | None = (
        None  # (4, 4) of b1_plus, e and the three maps below where they lie on a coarser grid; None = affine
    )
    conductivity: NDArray[np.float32] | None = None  # S/m, (z, y, x)
    density: NDArray[np.float32] | None = None  # kg/m3, (z, y, x); 0 in air
    part: NDArray[np.uint8] | None = None  # (z, y, x), index into subject.anatomy.PARTS
    shim: NDArray[np.float64] | None = (
        None  # (term,) Hz/m^degree that the shim coils add in off_resonance (harmonics.NAMES); None: nobody says
    )
    body_mass: float | None = None  # kg, of the whole patient, also of what lies outside the grid
    provenance: Mapping[str, Any] = field(
        default_factory=dict
    )  # which solver, with what: "quasi-static", "uniform" ...

    @property
    def transmit_array(self) -> str:
        """Name of the transmit array that made b1_plus; "" where nobody says."""
        told = self.provenance.get("transmit")
        return str(told.get("array", "")) if isinstance(told, Mapping) else ""
