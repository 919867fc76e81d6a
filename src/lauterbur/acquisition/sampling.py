"""How a program samples k-space: along parallel lines, spokes or spirals, on which axes and how densely.

Inferred from k alone, for programs that do not say it themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.trajectory import Trajectory
from lauterbur.program import Float

_BENT = 0.05  # of its length: a readout that leaves its straight line further is curved
_PARALLEL = 0.999  # cosine
_NOTHING = 1.0  # 1/m: k below this encodes nothing smaller than a metre
Int = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Lines:
    """Each readout as a straight line."""

    first: Float  # 1/m, (readout, 3)
    last: Float  # 1/m, (readout, 3)
    middle: Float  # 1/m, (readout, 3), at the centre sample
    direction: Float  # (readout, 3) unit, 0 where k stands still
    length: Float  # 1/m, (readout,)
    bend: Float  # 1/m, (readout,), largest distance from the line
    step: Float  # 1/m, (readout,), largest step between samples
    is_even: NDArray[np.bool_]  # (readout,), equal steps


@dataclass(frozen=True, eq=False)
class Grid:
    """Values on a lattice of spacing dk."""

    dk: float  # 1/m; 0 where all values are one
    n: int  # points of the full lattice, partial Fourier filled
    index: Int  # (value,) from 0
    acceleration: int = 1


@dataclass(frozen=True, eq=False)
class Sampling:
    kind: str  # cartesian | radial | spiral | other
    axes: Float  # (3, 3) unit rows: readout, phase, partition or slice
    n_axes: int  # how many of them are encoded
    lines: Lines


def lines_of(trajectory: Trajectory, chunk: int = 2000) -> Lines:
    n = len(trajectory.n_samples)
    first, last, middle, direction = (np.zeros((n, 3)) for _ in range(4))
    length, bend, step = (np.zeros(n) for _ in range(3))
    is_even = np.ones(n, bool)
    for start in range(0, n, chunk):
        part = slice(start, min(n, start + chunk))
        k = trajectory.k[part].astype(float)
        count = trajectory.n_samples[part].astype(np.intp)
        each, end = np.arange(len(k)), np.maximum(count - 1, 0)
        if not k.shape[1]:
            continue
        first[part], last[part] = k[:, 0], k[each, end]
        middle[part] = k[each, trajectory.center_sample[part]]
        way = last[part] - first[part]
        length[part] = np.linalg.norm(way, axis=1)
        direction[part] = way / np.where(length[part] > 0, length[part], 1)[:, None]
        valid = np.arange(k.shape[1]) < count[:, None]
        from_first = k - first[part][:, None]
        along = np.einsum("rsa,ra->rs", from_first, direction[part])
        away = np.linalg.norm(from_first - along[..., None] * direction[part][:, None], axis=2)
        bend[part] = np.max(away * valid, axis=1)
        steps = np.linalg.norm(np.diff(k, axis=1), axis=2)
        inner = valid[:, 1:]
        step[part] = np.max(steps * inner, axis=1, initial=0.0)
        smallest = np.min(np.where(inner, steps, np.inf), axis=1, initial=np.inf)
        is_even[part] = smallest >= step[part] * 0.98 - 1e-3
    return Lines(first, last, middle, direction, length, bend, step, is_even)


def sampling(trajectory: Trajectory, normal: Float) -> Sampling:
    """`normal` (3,) is the slice-selection direction, 0 if there is none."""
    lines = lines_of(trajectory)
    ends = np.concatenate([lines.first, lines.last, lines.middle])
    extent = float(np.linalg.norm(ends, axis=1).max(initial=0.0))
    if lines.step.max(initial=0.0) == 0.0 or max(extent, float(lines.bend.max(initial=0.0))) < _NOTHING:
        return Sampling("other", _completed([normal] if normal.any() else []), 0, lines)
    moving = lines.length + lines.bend > 0.05 * (lines.length + lines.bend).max()
    straight = lines.bend <= _BENT * lines.length
    if np.mean(straight[moving]) < 0.9:
        axes, n_axes = _plane(_some_points(trajectory), normal)
        return Sampling("spiral", axes, n_axes, lines)
    main = lines.direction[np.argmax(lines.length * straight)]
    aligned = np.abs(lines.direction @ main) > _PARALLEL
    if np.mean(aligned[moving & straight]) >= 0.9:
        axes, n_axes = _cartesian_axes(lines, main, normal)
        return Sampling("cartesian", axes, n_axes, lines)
    axes, n_axes = _plane(np.concatenate([lines.first[moving], lines.last[moving]]), normal)
    passing = np.linalg.norm(lines.middle[moving] @ axes[: min(n_axes, 2)].T, axis=1)  # a stack keeps its partition
    is_radial = bool(np.median(passing) <= 0.1 * extent)
    return Sampling("radial" if is_radial else "other", axes, n_axes, lines)


def grid(values: Float, fov: float | None) -> Grid:
    """The lattice that values of k (1/m) lie on, k = 0 among its points; `fov` (m) tells undersampling from a small field."""
    span = float(np.ptp(values)) if len(values) else 0.0
    if span < _NOTHING:
        return Grid(0.0, 1, np.zeros(len(values), np.intp))
    ordered = np.sort(values)
    gaps = np.diff(ordered)
    gaps = gaps[gaps > 1e-4 * span]
    gaps = gaps[gaps > 0.2 * np.median(gaps)]
    step = float(gaps.min())
    index = np.round((values - ordered[0]) / step)
    slope = float(np.polyfit(index, values, 1)[0])
    step = slope if abs(slope - step) < 0.1 * step else step
    undersampling = 1
    if fov is not None:
        ratio = step * fov
        if ratio > 1.5 and abs(ratio - round(ratio)) < 0.05 * ratio:
            undersampling = round(ratio)
    typical = float(np.median(gaps))
    dk = step / undersampling
    n = full_size(values, dk)
    position = np.round(values / dk).astype(np.intp) + n // 2
    position -= min(0, int(position.min())) + max(0, int(position.max()) - n + 1)
    return Grid(dk, n, position, max(1, round(typical / dk)))


def full_size(values: Float, dk: float) -> int:
    """How many points the lattice has when the shorter side of a partial Fourier acquisition is filled."""
    above, below = float(values.max()) / dk, -float(values.min()) / dk
    if abs(above - below) <= 1.5:
        return max(1, round(above + below) + 1)
    return max(1, 2 * round(below) if below > above else 2 * (round(above) + 1))


def _some_points(trajectory: Trajectory) -> Float:
    rows = np.unique(np.linspace(0, len(trajectory.k) - 1, 200).astype(int))
    columns = np.unique(np.linspace(0, max(0, int(trajectory.n_samples.min()) - 1), 500).astype(int))
    return trajectory.k[np.ix_(rows, columns)].reshape(-1, 3).astype(float)


def _plane(points: Float, normal: Float) -> tuple[Float, int]:
    """Axes of points that fill a plane or a volume; in-plane axes as near to the patient's as can be."""
    _, size, rows = np.linalg.svd(points, full_matrices=False)
    n_axes = int(np.sum(size > 0.02 * size[0]))
    third = rows[2] if n_axes == 2 else normal if normal.any() else np.array([0.0, 0.0, 1.0])
    third = np.where(np.abs(third) < 1e-6, 0.0, third) / np.linalg.norm(third)
    third = third * np.sign(third[np.argmax(np.abs(third))])
    nearest = np.eye(3)[np.argmin(np.abs(third))] if abs(third[0]) > 0.7 else np.eye(3)[0]
    first = nearest - third * (nearest @ third)
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(third, first), third]), n_axes


def _cartesian_axes(lines: Lines, main: Float, normal: Float) -> tuple[Float, int]:
    """Readout along the lines, phase towards the nearest neighbour of a line, and the third at right angles."""
    readout = main * np.sign(main[np.argmax(np.abs(main))])
    readout = _clean(readout)
    across = lines.middle - np.outer(lines.middle @ readout, readout)
    across = across - across[0]
    size = np.linalg.svd(across, full_matrices=False)[1] if len(across) > 1 else np.zeros(3)
    n_across = int(np.sum(size > max(1e-3 * size[0], _NOTHING)))
    if n_across == 0:
        known = [readout]
        if normal.any() and abs(normal @ readout) < 0.05:
            known = [readout, _clean(np.cross(normal, readout))]
        return _completed(known), 1
    if n_across == 1:
        phase = np.linalg.svd(across, full_matrices=False)[2][0]
    else:
        phase = _neighbour(across, readout)
    phase = _clean(phase - readout * (phase @ readout))
    phase = phase * np.sign(phase[np.argmax(np.abs(phase))])
    return np.array([readout, phase, np.cross(readout, phase)]), 1 + n_across


def _neighbour(across: Float, readout: Float) -> Float:
    """The axis of a two-dimensional lattice along which the lines lie: a patient axis where the lattice has one."""
    for axis in np.eye(3):
        if abs(axis @ readout) < 1e-3:
            values = across @ axis
            other = across @ np.cross(readout, axis)
            n_values = len(np.unique(np.round(values / max(np.ptp(values), 1e-9), 4)))
            n_other = len(np.unique(np.round(other / max(np.ptp(other), 1e-9), 4)))
            if n_values * n_other <= 4 * len(across):
                return axis
    unique = np.unique(np.round(across, 2), axis=0)[:2000]
    distance = np.linalg.norm(unique - unique[len(unique) // 2], axis=1)
    nearest = np.argsort(distance)[1]
    return unique[nearest] - unique[len(unique) // 2]


def _clean(direction: Float) -> Float:
    """A unit vector without the dust of rounding."""
    unit = direction / np.linalg.norm(direction)
    unit = np.where(np.abs(unit) < 1e-4, 0.0, unit)
    cleaned: Float = unit / np.linalg.norm(unit)
    return cleaned


def _completed(known: list[Float]) -> Float:
    """Three perpendicular axes, right-handed, from none, one or two of them."""
    if not known:
        return np.eye(3)
    axes = [_clean(known[0])]
    for other in [*known[1:], *np.eye(3)]:
        rest = other - sum(a * (a @ other) for a in axes)
        if len(axes) < 2 and np.linalg.norm(rest) > 0.5:
            axes.append(_clean(rest))
    return np.array([*axes, np.cross(axes[0], axes[1])])
