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


def geometric_compression(
    samples: NDArray[np.complexfloating[Any, Any]], n_virtual: int
) -> tuple[NDArray[np.complex64], float]:
    """(x, n_virtual, rx) mixing for every position along the readout, from (place, rx, x), and the part of energy it keeps.

    Each position has its own strongest modes, turned so that neighbours are alike (geometric coil compression, Zhang et al. 2013,
    MRM 69:571): fewer virtual receivers are needed than with one mixing for all, and maps stay smooth along the readout.
    """
    at = np.ascontiguousarray(samples.transpose(2, 1, 0), np.complex64)  # (x, rx, place)
    energy, vectors = np.linalg.eigh((at @ at.conj().transpose(0, 2, 1)).astype(np.complex128))
    mixing = vectors[:, :, ::-1][:, :, :n_virtual].conj().transpose(0, 2, 1)
    centre = len(mixing) // 2
    for x in (*range(centre + 1, len(mixing)), *range(centre - 1, -1, -1)):
        neighbour = mixing[x - 1 if x > centre else x + 1]
        left, _, right = np.linalg.svd(neighbour @ mixing[x].conj().T)
        mixing[x] = left @ right @ mixing[x]
    kept = float(energy[:, ::-1][:, :n_virtual].sum() / max(float(energy.sum()), 1e-300))
    return mixing.astype(np.complex64), kept
