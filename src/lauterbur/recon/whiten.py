"""Noise: its covariance between receivers, and the mixing that makes it white with unit variance per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import RawData

# A covariance estimated from fewer samples than this per receiver is too noisy to invert.
SAMPLES_PER_RECEIVER = 8


def noise_samples(raw: RawData) -> NDArray[np.complex64] | None:
    """(rx, sample) of noise alone: the raw data's own noise scan, else its readouts labelled NOISE, else None."""
    if raw.noise is not None:
        return np.asarray(raw.noise)
    lines = np.flatnonzero(raw.label("NOISE"))
    if not len(lines):
        return None
    return np.concatenate([raw.samples[i, :, : raw.n_samples[i]] for i in lines], axis=1)


def noise_covariance(noise: NDArray[np.complexfloating[Any, Any]]) -> NDArray[np.complex128]:
    """(rx, rx) E[n n^H] from (rx, sample)."""
    n_rx, n_samples = noise.shape
    if not n_samples >= SAMPLES_PER_RECEIVER * n_rx:
        raise InputError(
            f"the noise scan has {n_samples} samples for {n_rx} receivers; at least {SAMPLES_PER_RECEIVER * n_rx} are "
            "needed for its covariance; record a longer one or reconstruct with noise_whiten=False"
        )
    noise = noise.astype(np.complex128)
    return noise @ noise.conj().T / n_samples


def whitening(covariance: NDArray[np.complexfloating[Any, Any]]) -> NDArray[np.complex128]:
    """(rx, rx) W with W C W^H = 1, the inverse of the lower Cholesky factor (Pruessmann et al. 2001, MRM 46:638)."""
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise InputError(
            "the noise covariance is not positive definite: a receiver is silent or two are identical; "
            "leave that receiver out or reconstruct with noise_whiten=False"
        ) from error
    return np.asarray(np.linalg.inv(factor), np.complex128)
