"""A header for raw data that came without one: matrix and field of view from the trajectory as played.

What the trajectory cannot tell is left at its simplest: the field of view is centred at the isocentre, an oversampled readout
stays oversampled, and places that were all visited equally often are repetitions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import Header, RawData
from lauterbur.recon.layout import has_k, played_lines

Float = NDArray[np.float64]
LARGEST = {1: 4096, 2: 1024, 3: 320}  # points per axis that a guess may reach
SLICE = 5e-3  # m, thickness of a slice that nothing is known of: unconfirmed, a customary value


def _spacing(values: Float, reach: float) -> float:
    """The smallest step between distinct values; 0 where there is one value."""
    gaps = np.diff(np.sort(values))
    gaps = gaps[gaps > 1e-3 * reach]
    return float(gaps.min()) if len(gaps) else 0.0


def _axes(raw: RawData) -> Float:
    """(3, 3) readout, phase, partition: patient axes where the readout follows one, principal axes of k otherwise."""
    last = np.maximum(raw.n_samples - 1, 0)
    chord = (raw.k[np.arange(raw.n_readouts), last] - raw.k[:, 0]).astype(np.float64)
    first = chord[np.argmax(np.linalg.norm(chord, axis=1))]
    readout = first / max(float(np.linalg.norm(first)), 1e-12)
    middle = raw.k[np.arange(raw.n_readouts), last // 2].astype(np.float64)
    across = middle - np.outer(middle @ readout, readout)
    main = int(np.argmax(np.abs(readout)))
    if np.abs(readout[main]) > 0.9998:  # within a degree
        axes = np.eye(3)
        spread = np.ptp(across, axis=0)
        others = sorted((a for a in range(3) if a != main), key=lambda a: -round(float(spread[a]), 3))
        return axes[[main, *others]]
    _, _, principal = np.linalg.svd(across - across.mean(axis=0), full_matrices=False)
    phase = principal[0] - (principal[0] @ readout) * readout
    if not np.linalg.norm(phase) > 0.5:
        phase = np.cross([0, 0, 1] if abs(readout[2]) < 0.9 else [1, 0, 0], readout)
    phase = phase / np.linalg.norm(phase)
    phase = phase * np.sign(phase[np.argmax(np.abs(phase))])
    return np.stack([readout, phase, np.cross(readout, phase)])


def _with_repetitions(raw: RawData, places: NDArray[np.int64]) -> RawData:
    """REP counts the visits where every place was visited equally often and no counter says why."""
    if any(np.any(raw.label(name)) for name in ("REP", "SLC", "ECO", "SET", "PHS", "AVG")):
        return raw
    _, inverse, count = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    if count.max() == 1 or count.min() != count.max():
        return raw
    order = np.argsort(inverse.ravel(), kind="stable")
    visit = np.empty(len(order), np.int32)
    visit[order] = np.arange(len(order)) % count.max()
    return replace(raw, labels={**raw.labels, "REP": visit})


def with_inferred_header(raw: RawData) -> RawData:
    """The raw data with a header, and with repetitions counted where it had no counters at all."""
    if not has_k(raw):
        raise InputError("the raw data has neither a header nor a trajectory; one of them must say what was encoded")
    axes = _axes(raw)
    lines = played_lines(raw, axes)
    reach = float(np.abs(raw.k).max())
    step = np.abs(lines.step)
    steps = np.array([_spacing(lines.phase, reach), _spacing(lines.partition, reach)])
    least = float(np.min(steps[steps > 0])) if np.any(steps > 0) else float(np.median(step))
    is_parallel = np.max(lines.drift) <= 0.25 * least and np.median(step) > 0
    if is_parallel:
        dk = [float(np.median(step)), *steps]
        ends = np.maximum(np.abs(lines.first), np.abs(lines.first + lines.step * (raw.n_samples - 1)))
        extent = [float(ends.max()), float(np.abs(lines.phase).max()), float(np.abs(lines.partition).max())]
        dimensions = 3 if dk[2] > 0 else 2
        trajectory = "epi" if np.any(lines.step < 0) and np.any(lines.step > 0) else "cartesian"
        places = np.round(np.stack([lines.phase, lines.partition], axis=1) / least * 4).astype(np.int64)
        raw = _with_repetitions(raw, places)
    else:
        axes = np.eye(3)
        extent = [float(np.abs(raw.k[..., a]).max()) for a in range(3)]
        used = [a for a in range(3) if extent[a] > 1e-3 * reach]
        dimensions = 3 if len(used) == 3 else 2
        if dimensions == 2:
            missing = next(a for a in (2, 1, 0) if a not in used)
            axes = axes[[a for a in range(3) if a != missing] + [missing]]
            extent = [extent[a] for a in range(3) if a != missing] + [0.0]
        along = np.linalg.norm(np.diff(raw.k, axis=1), axis=2)
        valid = np.arange(1, raw.k.shape[1]) < raw.n_samples[:, None]
        dk = [float(np.max(along[valid]))] * 3
        trajectory = "other"
    matrix, fov = [], []
    for axis in range(3):
        if dk[axis] <= 0 or (axis == 2 and dimensions == 2):
            matrix.append(1)
            fov.append(SLICE if axis == 2 else 1 / float(np.median(step)))
            continue
        n = max(1, 2 * int(np.ceil(extent[axis] / dk[axis] - 1e-3)))
        n = n if n <= LARGEST[dimensions] else LARGEST[dimensions]
        matrix.append(n)
        fov.append(1 / dk[axis])
    rows = tuple((float(r[0]), float(r[1]), float(r[2])) for r in axes)
    header = Header(
        matrix=(matrix[0], matrix[1], matrix[2]),
        fov=(fov[0], fov[1], fov[2]),
        directions=rows,
        trajectory=trajectory,
        dimensions=dimensions,
        slice_thickness=SLICE if dimensions == 2 else None,
    )
    return replace(raw, header=header)
