"""The transform along the readout: samples to positions x, mixed down to virtual receivers, cropped of oversampling.

Uniform samples take an FFT, whatever their direction and wherever k = 0 falls between them; ramp samples take the
regularised least-squares inverse of their own Fourier sums, with k as played.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.rawdata import RawData
from lauterbur.recon.fft import ifft, resized
from lauterbur.recon.layout import Axis, Layout, has_k

Array = NDArray[np.complex64]
WORKERS = min(4, os.cpu_count() or 1)
SLAB = 48 * 2**20  # bytes of k-space that one worker holds
RIDGE = 1e-4  # of the largest eigenvalue of the ramp samples' normal matrix: damps directions that were not measured


@dataclass(frozen=True)
class Hybrid:
    """Readouts after their own transform, one per place in k-space, averages taken."""

    samples: Array  # (place, rx, x)
    frame: NDArray[np.intp]  # (place,)
    slice: NDArray[np.intp]
    section: NDArray[np.intp]
    line: NDArray[np.intp]
    averages: NDArray[np.intp]

    @property
    def n_x(self) -> int:
        return self.samples.shape[2]


def regridding(k: NDArray[np.float64], axis: Axis) -> NDArray[np.complex128]:
    """(x, sample): the ridge-regularised inverse of s_j = sum_x m_x exp(-2 pi i k_j x) / sqrt(n)."""
    position = (np.arange(axis.n) - axis.n // 2) * axis.voxel
    encoding = np.exp(-2j * np.pi * np.outer(k, position)) / np.sqrt(axis.n)
    normal = encoding.conj().T @ encoding
    ridge = RIDGE * np.linalg.norm(normal, 2)
    return np.linalg.solve(normal + ridge * np.eye(axis.n), encoding.conj().T)


def along_readout(raw: RawData, layout: Layout, which: NDArray[np.intp], mixing: NDArray[Any], n_x: int) -> Array:
    """(readout, virtual rx, x) of the readouts `which`; reads them from the raw data as one block."""
    lines, axis = layout.lines, layout.readout
    samples = mixing.astype(np.complex64) @ np.asarray(raw.samples[which])
    count, step, first = raw.n_samples[which], lines.step[which], lines.first[which]
    is_uniform = (lines.bend[which] <= 0.01) & (np.abs(np.abs(step) / axis.dk - 1) <= 0.5 / axis.n)
    is_uniform |= not has_k(raw)
    out = np.empty((len(which), samples.shape[1], n_x), np.complex64)

    centre = np.zeros(len(which), np.intp)
    centre[is_uniform] = np.round(-first[is_uniform] / step[is_uniform])
    kinds = np.stack([count, centre, np.sign(step)], axis=1)
    position = (np.arange(n_x) - n_x // 2) * axis.voxel
    for kind in np.unique(kinds[is_uniform], axis=0):
        rows = np.flatnonzero(is_uniform & np.all(kinds == kind, axis=1))
        n, c, sign = (int(v) for v in kind)
        group = samples[rows, :, :n]
        if sign < 0:
            group, c = group[..., ::-1], n - 1 - c
        placed = np.zeros((*group.shape[:2], axis.n), np.complex64)
        start, stop = max(0, c - axis.n // 2), min(n, c - axis.n // 2 + axis.n)
        if start < stop:
            offset = axis.n // 2 - c
            placed[..., start + offset : stop + offset] = group[..., start:stop]
        image = resized(ifft(placed, -1), n_x, -1)
        left_over = first[rows] + centre[rows] * step[rows]  # 1/m, k of the sample put at k = 0
        if np.any(np.abs(left_over) > 1e-4 * axis.dk):
            image = image * np.exp(2j * np.pi * np.outer(left_over, position))[:, None, :].astype(np.complex64)
        out[rows] = image

    others = np.flatnonzero(~is_uniform)
    if len(others):
        assert raw.header is not None
        direction = np.asarray(raw.header.directions[0], float)
        k = raw.k[which[others]].astype(np.float64) @ direction
        shape = np.round(k * (100 / axis.dk)).astype(np.int64)  # equal to a hundredth of a sample
        keys = np.concatenate([shape, count[others, None]], axis=1)
        _, member, group_of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        for g, representative in enumerate(member):
            n = int(count[others[representative]])
            matrix = resized(regridding(k[representative, :n], axis), n_x, 0).astype(np.complex64)
            rows = others[group_of.ravel() == g]
            out[rows] = samples[rows, :, :n] @ matrix.T
    return out


def gathered(
    raw: RawData, layout: Layout, which: NDArray[np.intp], mixing: NDArray[Any], phases: NDArray[np.float64]
) -> Hybrid:
    """The readouts `which`, transformed, ghost-corrected and averaged per place in k-space."""
    n_x = layout.readout.n_image
    index = [layout.frame[which], layout.slice[which], layout.section[which], layout.line[which]]
    shape = [int(i.max()) + 1 for i in index]
    place = np.ravel_multi_index(index, shape)
    places, at, count = np.unique(place, return_inverse=True, return_counts=True)
    samples = np.zeros((len(places), len(mixing), n_x), np.complex64)
    centred = np.arange(n_x) - n_x // 2
    per_readout = raw.samples.shape[2] * (raw.n_rx + 2 * len(mixing)) * 8
    chunk = max(1, int(SLAB // per_readout))

    def work(start: int) -> None:
        some = slice(start, start + chunk)
        lines = along_readout(raw, layout, which[some], mixing, n_x)
        terms = phases[which[some]]
        if np.any(terms):
            lines *= np.exp(-1j * (terms[:, :1] + terms[:, 1:] * centred))[:, None, :].astype(np.complex64)
        if (count == 1).all():
            samples[at[some]] = lines
        else:
            np.add.at(samples, at[some], lines)

    starts = range(0, len(which), chunk)
    if (count == 1).all():
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, starts))
    else:
        for start in starts:
            work(start)
        samples /= count[:, None, None].astype(np.float32)
    frame, slice_, section, line = np.unravel_index(places, shape)
    return Hybrid(samples, frame, slice_, section, line, count)
