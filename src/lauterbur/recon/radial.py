"""Straight readouts through the centre of k-space all measure the same k = 0: its phase must be the same in all.

Where it is not - receiver phase that did not follow the transmitter, drift - every readout is turned by one angle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.rawdata import RawData

TOLERANCE = 0.2  # rad, root mean square: less is left alone, since turning adds the noise of the centre samples


def centre_turns(raw: RawData, which: NDArray[np.intp], mixing: NDArray[Any]) -> NDArray[np.complex64] | None:
    """(readout,) unit factors that make the phase at k = 0 alike; None where it is already, or is not measured.

    The phase between receivers and the common one is the dominant vector of all centres (rx,).
    """
    distance = np.linalg.norm(raw.k[which].astype(np.float64), axis=2)
    distance[np.arange(raw.samples.shape[2]) >= raw.n_samples[which][:, None]] = np.inf
    ends = raw.k[which, np.maximum(raw.n_samples[which] - 1, 0)] - raw.k[which, 0]
    step = np.linalg.norm(ends, axis=1) / np.maximum(raw.n_samples[which] - 1, 1)
    if not np.all(distance.min(axis=1) <= 0.6 * step) or len(which) < 3:
        return None
    near = distance <= (0.1 * step + distance.min(axis=1))[:, None]  # both neighbours of a centre between samples
    centres = np.einsum("rcs,rs->rc", np.asarray(raw.samples[which]), near) @ mixing.T
    _, vectors = np.linalg.eigh(centres.T @ centres.conj())
    common = centres @ vectors[:, -1].conj()
    mean = common[np.argmax(np.abs(common))]
    turn = np.exp(-1j * np.angle(common * np.conj(mean)))
    weight = np.abs(common) ** 2
    average = np.angle(np.sum(weight * np.conj(turn)))
    scatter = np.angle(np.conj(turn) * np.exp(-1j * average))
    if not np.sqrt(np.sum(weight * scatter**2) / max(float(weight.sum()), 1e-30)) > TOLERANCE:
        return None
    return turn.astype(np.complex64)
