"""The prescan of the transmitter: how much drive makes the nominal B1+, and what a B1 mapping scan would have shown.

prescan_drive(fields, weights, target)               # sqrt(W)/Hz
seen = mapped(fields, signal_to_noise=50, seed=1)    # the fields as a mapping scan measures them: plan with these
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.shim.shim import reference_drive
from lauterbur.shim.static import circular
from lauterbur.shim.target import body, site


def prescan_drive(
    fields: FieldMaps, weights: ArrayLike | None = None, target: NDArray[np.bool_] | str | None = None
) -> float:
    """sqrt(W)/Hz that makes the mean |B1+| over the target nominal; weights (tx,), None: all channels alike, in phase."""
    place = site(fields, target)
    w = np.ones(len(place.b1), complex) if weights is None else np.asarray(weights, complex)
    if w.shape != (len(place.b1),):
        raise InputError(f"weights have shape {w.shape}; the fields have {len(place.b1)} channels")
    return reference_drive(place.b1, w)


def mapped(fields: FieldMaps, *, signal_to_noise: float, seed: int) -> FieldMaps:
    """The fields with complex Gaussian noise on every channel's b1_plus, in the body only.

    signal_to_noise: mean |B1+| of all channels aligned, over the noise of one channel's map (its real and imaginary part
    each). Noise of this kind is what relative maps of interferometric mapping carry (Brunner and Pruessmann, MRM 2009,
    61:1480).
    """
    if not (np.isfinite(signal_to_noise) and signal_to_noise > 0):
        raise InputError(f"signal to noise {signal_to_noise}; it must be positive and finite")
    inside = body(fields)
    place = site(fields)
    aligned = circular(place.b1, place.middle)
    aligned = aligned / np.abs(aligned[0])
    sigma = float(np.mean(np.abs(aligned @ place.b1))) / signal_to_noise
    rng = np.random.default_rng(seed)
    shape = (len(fields.b1_plus), int(inside.sum()))
    b1 = fields.b1_plus.copy()
    b1[:, inside] += (sigma * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(np.complex64)
    note = f"mapped with a signal-to-noise ratio of {signal_to_noise:g}, seed {seed}"
    return replace(fields, b1_plus=b1, provenance={**fields.provenance, "transmit_mapping": note})
