"""Noise of any reconstruction, by playing it again with noise added (pseudo-replica, Robson et al. 2008, MRM 60:895).

noise_by_replicas(raw, method="cs")     # (z, y, x) standard deviation of the first frame, in units of the image
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import RawData
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.recon.whiten import noise_covariance, noise_samples

REPLICAS = 32  # the standard deviation is then known to an eighth in every pixel


def noise_by_replicas(
    raw: RawData, *, replicas: int = REPLICAS, seed: int = 0, frame: int = 0, **options: Any
) -> NDArray[np.float32]:
    """(z, y, x): standard deviation of a pixel over `replicas` reconstructions, each with the receivers' noise added anew.

    Real and imaginary part together. `options` go to `reconstruct`. Reference lines that are no
    image data stay as they are; maps given as `maps=calibrate(raw)` too, else their noise counts. Methods that are not linear see
    twice the noise of the data, so that theirs is an estimate.
    """
    if not replicas >= 2:
        raise InputError(f"replicas={replicas}; at least 2 are needed for a standard deviation")
    noise = noise_samples(raw)
    if noise is None:
        raise InputError("the raw data hold no noise scan, so that the receivers' noise is not known; record one")
    factor = np.linalg.cholesky(noise_covariance(noise))
    rng = np.random.default_rng(seed)
    is_image = (raw.label("REF") == 0) | (raw.label("IMA") > 0)
    valid = (np.arange(raw.samples.shape[2]) < raw.n_samples[:, None]) & is_image[:, None]
    total: Any = 0.0
    squares: Any = 0.0
    plain = reconstruct(raw, **options).pixels[frame]
    for _ in range(replicas):
        white = rng.normal(size=(2, *raw.samples.shape)).astype(np.float32)
        added = factor.astype(np.complex64) @ ((white[0] + 1j * white[1]) / np.float32(np.sqrt(2)))
        played = replace(raw, samples=(raw.samples + added * valid[:, None]).astype(np.complex64))
        change = reconstruct(played, **options).pixels[frame] - plain
        total = total + change
        squares = squares + np.abs(change) ** 2
    variance = (squares - np.abs(total) ** 2 / replicas) / (replicas - 1)
    return np.sqrt(np.maximum(variance, 0)).astype(np.float32)
