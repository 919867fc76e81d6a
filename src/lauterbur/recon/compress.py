"""Coil compression: fewer virtual receivers that keep nearly all of the signal (Buehrer et al. 2007, MRM 57:1131)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def compression(
    samples: NDArray[np.complexfloating[Any, Any]], n_virtual: int
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """(n_virtual, rx) mixing from whitened samples (rx, sample), strongest first, and the energy of every mode (rx,).

    Rows are orthonormal, so white noise stays white.
    """
    samples = samples.astype(np.complex128)
    energy, vectors = np.linalg.eigh(samples @ samples.conj().T)
    order = np.argsort(energy)[::-1]
    strongest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(energy))]
    vectors = vectors * (np.conj(strongest) / np.abs(strongest))  # a phase that does not depend on the solver
    return vectors[:, order[:n_virtual]].conj().T, np.maximum(energy[order], 0)
