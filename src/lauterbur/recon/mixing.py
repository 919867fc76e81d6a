"""From receivers to the virtual receivers that are reconstructed: white in noise, and few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.rawdata import RawData
from lauterbur.recon.compress import compression
from lauterbur.recon.whiten import noise_covariance, noise_samples, whitening

MOST_COILS = 16  # virtual receivers unless asked otherwise; the energy kept is in the provenance
PROBE = 512  # readouts looked at to find the virtual receivers


def receiver_mixing(
    raw: RawData, coils: int | None, noise_whiten: bool, facts: dict[str, Any]
) -> NDArray[np.complex128]:
    """(virtual rx, rx): whitening, then compression to `coils` (default: all, at most 16); `facts` says what was done."""
    noise = noise_samples(raw) if noise_whiten else None
    mixing = np.eye(raw.n_rx, dtype=complex)
    if noise is not None:
        mixing = whitening(noise_covariance(noise))
    facts["whitened"] = noise is not None
    n_virtual = min(raw.n_rx, MOST_COILS if coils is None else coils)
    facts["receivers"] = [raw.n_rx, n_virtual]
    if n_virtual < raw.n_rx:
        signal = np.flatnonzero(raw.label("NOISE") == 0)
        probe = signal[np.unique(np.linspace(0, len(signal) - 1, PROBE).astype(int))]
        block = np.concatenate([mixing @ raw.samples[i] for i in probe], axis=1)
        rows, energy = compression(block, n_virtual)
        facts["energy_kept"] = float(energy[:n_virtual].sum() / max(energy.sum(), 1e-300))
        mixing = rows @ mixing
    return mixing
