"""Echo-planar ghosts: odd and even echoes differ by a constant and a linear phase along the readout.

Both come from navigator lines without phase encoding, played in both directions (Bruder et al. 1992, MRM 23:311; the
slope as the angle of the lag-one autocorrelation, Ahn and Cho 1987, IEEE TMI 6:32).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.rawdata import RawData
from lauterbur.recon.layout import Layout
from lauterbur.recon.readout import along_readout


def reversal_phase(lines: NDArray[np.complexfloating[Any, Any]], is_reversed: NDArray[np.bool_]) -> tuple[float, float]:
    """(constant rad, slope rad per voxel about voxel n//2) of reversed against forward lines (line, rx, x), in time order.

    A line is compared with the mean of its two neighbours where both ran the other way, so that off-resonance between
    the echoes cancels.
    """
    n, n_x = len(lines), lines.shape[2]
    products = np.zeros(n_x, np.complex128)
    for i in range(n):
        near = [j for j in (i - 1, i + 1) if 0 <= j < n and is_reversed[j] != is_reversed[i]]
        if len(near) == 2 or (n == 2 and i == 1 and near):
            product = np.sum(lines[i] * np.conj(np.mean(lines[near], axis=0)), axis=0)
            products += product if is_reversed[i] else product.conj()
    slope = float(np.angle(np.sum(products[1:] * products[:-1].conj())))
    centred = np.arange(n_x) - n_x // 2
    constant = float(np.angle(np.sum(products * np.exp(-1j * slope * centred))))
    return constant, slope


def ghost_phases(raw: RawData, layout: Layout, mixing: NDArray[Any]) -> NDArray[np.float64]:
    """(readout, 2) constant and slope to take off every reversed readout; zeros where no navigator speaks for it."""
    phases = np.zeros((raw.n_readouts, 2))
    if not len(layout.navigators):
        return phases
    is_reversed = layout.lines.step < 0
    segment = raw.label("SEG")
    found: dict[tuple[int, ...], tuple[float, float]] = {}
    navigators = layout.navigators[np.argsort(raw.time[layout.navigators], kind="stable")]
    keys = np.stack([layout.slice, layout.frame, segment], axis=1)
    for key in np.unique(keys[navigators], axis=0):
        mine = navigators[np.all(keys[navigators] == key, axis=1)]
        if np.ptp(is_reversed[mine].astype(int)) == 0:
            continue
        lines = along_readout(raw, layout, mine, mixing, layout.readout.n_image)
        value = reversal_phase(lines, is_reversed[mine])
        for i in range(3, 0, -1):  # for this shot; else for its frame; else for its slice
            found.setdefault(tuple(int(v) for v in key[:i]), value)
    for reversed_readout in np.flatnonzero(is_reversed):
        key = tuple(int(v) for v in keys[reversed_readout])
        for length in (3, 2, 1):
            if key[:length] in found:
                phases[reversed_readout] = found[key[:length]]
                break
    return phases
