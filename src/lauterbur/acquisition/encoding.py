"""What a program encodes: the header and the counters of its readouts.

Our own programs say it themselves (definition "LauterburHeader", and labels). For other people's .seq files it is
inferred from k as played, the excitations, and the definition FOV where there is one.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.excitations import Excitations, excitations
from lauterbur.acquisition.sampling import Grid, Sampling, full_size, grid, sampling
from lauterbur.acquisition.timing import timing_of
from lauterbur.acquisition.trajectory import Trajectory
from lauterbur.errors import InputError
from lauterbur.program import Column, Float, Program, adc_blocks
from lauterbur.rawdata import COUNTERS, FLAGS, Header, header_from_json
from lauterbur.units import GAMMA_BAR

Labels = dict[str, NDArray[np.int32]]
_WIDEST = 0.55  # m
_IN_MILLIMETRES = 5.0  # a "field of view" of more than five metres was meant in mm (JEMRIS writes them so)


def header(program: Program, trajectory: Trajectory, *, larmor_frequency: float | None = None) -> Header:
    """What is true of the whole acquisition, as the program says or as its k-space shows."""
    written = program.definitions.get("LauterburHeader")
    if isinstance(written, str):
        found = header_from_json(written)
    else:
        found = _infer(program, trajectory, larmor_frequency or 0.0).header
    if larmor_frequency and found.larmor_frequency is None:
        found = replace(found, larmor_frequency=larmor_frequency, field_strength=larmor_frequency / GAMMA_BAR)
    return found


def labels(program: Program, trajectory: Trajectory) -> Labels:
    """(readout,) counters and flags, as the program labels its blocks, or as its k-space shows."""
    listening = adc_blocks(program)
    given = {
        name: np.asarray(program.labels[name], np.int32)[listening]
        for name in (*COUNTERS, *FLAGS)
        if name in program.labels
    }
    if isinstance(program.definitions.get("LauterburHeader"), str) and given:
        return given
    shown = _infer(program, trajectory, 0.0).labels
    if "LIN" in given or "PAR" in given:  # it counts its own lines: only what it cannot have meant otherwise is added
        return {**{name: shown[name] for name in ("SLC", "NAV", "REV") if name in shown}, **given}
    return {**shown, **given}


@dataclass(frozen=True, eq=False)
class _Encoding:
    header: Header
    labels: Labels


def _infer(program: Program, trajectory: Trajectory, larmor_frequency: float) -> _Encoding:
    if not len(trajectory.n_samples):
        raise InputError("the program has no ADC window: it yields no data, so there is nothing to encode")
    excited = excitations(program, larmor_frequency=larmor_frequency)
    used = np.unique(excited.of_readout[excited.of_readout >= 0])
    normal = excited.normal[used[0]] if len(used) else np.zeros(3)
    how = sampling(trajectory, normal)
    sizes = _defined_fov(program)
    found = _cartesian(how, sizes, trajectory) if how.kind == "cartesian" else _other(how, sizes, trajectory)

    slices, centres = _slices(excited, how)
    counters = {"LIN": found.line, "PAR": found.partition, "SLC": slices}
    nav = _navigators(counters, excited) if how.kind == "cartesian" else np.zeros(len(slices), np.intp)
    echo, repetition = _occurrences(_place_keys(how, counters), excited, nav)
    counters |= {"ECO": echo, "REP": repetition, "NAV": nav}
    if how.kind == "cartesian":
        counters["REV"] = (how.lines.direction @ how.axes[0] * _sense(how) < -0.5).astype(np.intp)
    axes = how.axes.copy()
    is_epi = how.kind == "cartesian" and _is_epi(excited, found.line, nav)

    n_slices = len(centres)
    thickness = _typical(excited.thickness[used]) if len(used) else None
    if how.n_axes < 3:
        spacing = float(np.median(np.linalg.norm(np.diff(centres, axis=0), axis=1))) if n_slices > 1 else thickness
        depth = n_slices * (spacing or (sizes[2] if sizes is not None else 0.0) or 1.0)
        found = replace(
            found,
            matrix=(*found.matrix[:2], n_slices),
            fov=(*found.fov[:2], depth),
            encoded_matrix=(*found.encoded_matrix[:2], n_slices),
            encoded_fov=(*found.encoded_fov[:2], depth),
        )
    if how.kind == "cartesian":
        centres = centres + _readout_shift(program, trajectory, how, larmor_frequency) * how.axes[0]
    middle = tuple(float(x) for x in np.mean(centres, axis=0))
    timing = timing_of(trajectory, excited, echo, slices, nav, how)
    sampled = float(np.median(trajectory.dwell))
    described = Header(
        matrix=found.matrix,
        fov=found.fov,
        encoded_matrix=found.encoded_matrix,
        encoded_fov=found.encoded_fov,
        directions=tuple((float(r[0]), float(r[1]), float(r[2])) for r in axes),
        position=(middle[0], middle[1], middle[2]),
        slice_positions=() if how.n_axes == 3 else tuple((float(c[0]), float(c[1]), float(c[2])) for c in centres),
        slice_thickness=thickness,
        trajectory="epi" if is_epi else how.kind,
        dimensions=3 if how.n_axes == 3 else 2,
        te=timing.te,
        tr=timing.tr,
        ti=timing.ti,
        flip_angle=_typical(excited.flip_angle[used]) if len(used) else None,
        echo_spacing=timing.echo_spacing,
        bandwidth=1 / (sampled * found.encoded_matrix[0]) if how.kind == "cartesian" and sampled > 0 else None,
        acceleration=found.acceleration,
        protocol=str(program.definitions.get("Name", "")),
    )
    return _Encoding(described, {name: values.astype(np.int32) for name, values in counters.items()})


@dataclass(frozen=True, eq=False)
class _Sizes:
    matrix: tuple[int, int, int]
    fov: tuple[float, float, float]  # m
    encoded_matrix: tuple[int, int, int]
    encoded_fov: tuple[float, float, float]
    acceleration: tuple[int, int]
    line: NDArray[np.intp]  # (readout,)
    partition: NDArray[np.intp]


def _defined_fov(program: Program) -> Float | None:
    """(3,) m, of the definition FOV, along the gradient axes; None where it is absent or makes no sense."""
    value = program.definitions.get("FOV")
    if isinstance(value, str) or value is None:
        return None
    fov = np.atleast_1d(np.asarray(value, float))
    if fov.shape != (3,) or not (np.isfinite(fov).all() and (fov > 0).all()):
        return None
    return fov * 1e-3 if fov.max() > _IN_MILLIMETRES else fov


def _fov_along(sizes: Float | None, how: Sampling, axis: int) -> float | None:
    """Of the gradient axis nearest to this one; of the logical axis where a rotation leaves none near."""
    if sizes is None:
        return None
    direction = np.abs(how.axes[axis])
    return float(sizes[np.argmax(direction)] if direction.max() > 0.99 else sizes[axis])


def _cartesian(how: Sampling, sizes: Float | None, trajectory: Trajectory) -> _Sizes:
    lines = how.lines
    fov_x = _fov_along(sizes, how, 0)
    dk = float(np.median(lines.step[lines.length > 0.5 * lines.length.max()]))
    if not np.all(lines.is_even[lines.length > 0.5 * lines.length.max()]):
        dk = min(dk, 1 / fov_x) if fov_x else dk  # sampled on the ramps: the densest grid that is asked for
    ends = np.stack([lines.first @ how.axes[0], lines.last @ how.axes[0]])
    longest = np.argsort(np.abs(ends[1] - ends[0]))[-min(64, ends.shape[1]) :]
    n_x = int(np.median([full_size(ends[:, i], dk) for i in longest]))  # line by line: reversed ones may lie a step off
    if fov_x is None or not 1 / dk >= 0.98 * fov_x:
        fov_x = 1 / dk if 1 / dk <= _WIDEST else 0.5 / dk  # wider than a patient: two-fold oversampled
    n, fov, encoded_fov, grids = [n_x], [fov_x], [1 / dk], []
    for axis in (1, 2):
        size = _fov_along(sizes, how, axis)
        if axis < how.n_axes:
            values = lines.middle @ how.axes[axis]
            lattice = grid(values, size)
        else:
            lattice = Grid(0.0, 1, np.zeros(len(lines.length), np.intp))
        encoded = 1 / lattice.dk if lattice.dk else (size or 1.0)
        grids.append(lattice)
        n.append(lattice.n)
        encoded_fov.append(encoded)
        fov.append(size if size is not None and encoded >= 0.98 * size else encoded)
    voxels = [max(1, round(n[i] * fov[i] / encoded_fov[i])) for i in range(3)]
    return _Sizes(
        (voxels[0], voxels[1], voxels[2]),
        (fov[0], fov[1], fov[2]),
        (n[0], n[1], n[2]),
        (encoded_fov[0], encoded_fov[1], encoded_fov[2]),
        (grids[0].acceleration, grids[1].acceleration),
        grids[0].index,
        grids[1].index,
    )


def _other(how: Sampling, sizes: Float | None, trajectory: Trajectory) -> _Sizes:
    """Spokes and spirals: a square field; one line after the other."""
    n_readouts = len(trajectory.n_samples)
    count = np.arange(n_readouts)
    reach = np.array([np.abs(trajectory.k.reshape(-1, 3) @ axis).max(initial=0.0) for axis in how.axes])
    dk = float(np.median(how.lines.step)) if how.kind == "radial" else None
    fov = [_fov_along(sizes, how, axis) or (1 / dk if dk else None) for axis in range(3)]
    if fov[0] is None:
        fov = [_spiral_fov(how, trajectory, reach[0])] * 3 if how.kind == "spiral" else [1.0] * 3
    field = [float(f) if f else 1.0 for f in fov]
    if field[0] == field[1]:
        reach[:2] = reach[:2].max()
    n = [2 * int(np.ceil(reach[i] * field[i] - 0.25)) if reach[i] * field[i] > 0.5 else 1 for i in range(3)]
    count = count if how.n_axes else np.zeros_like(count)
    size, extent = (n[0], n[1], n[2]), (field[0], field[1], field[2])
    return _Sizes(size, extent, size, extent, (1, 1), count, np.zeros(n_readouts, np.intp))


def _spiral_fov(how: Sampling, trajectory: Trajectory, reach: float) -> float:
    """From the number of turns of all interleaves together between the centre and the edge of k-space."""
    k = trajectory.k[0, : trajectory.n_samples[0]] @ how.axes[:2].T
    turns = abs(np.ptp(np.unwrap(np.angle(k[:, 0] + 1j * k[:, 1])))) / (2 * np.pi)
    return float(max(1.0, turns * len(trajectory.k)) / max(reach, 1e-6))


def _readout_shift(program: Program, trajectory: Trajectory, how: Sampling, larmor_frequency: float) -> float:
    """m: a receiver frequency moves the centre of the image along the readout, to where gamma-bar G.r equals it."""
    adc = [program.adc[i] for i in program.blocks[adc_blocks(program), Column.ADC]]
    offset = np.array([a.frequency_offset + a.frequency_ppm * 1e-6 * larmor_frequency for a in adc])
    gradient = ((how.lines.last - how.lines.first) @ how.axes[0]) / np.maximum(trajectory.n_samples - 1, 1)
    gradient = gradient / np.where(trajectory.dwell > 0, trajectory.dwell, np.inf)  # Hz/m, mean over the window
    reads = np.abs(gradient) > 0.5 * np.abs(gradient).max()
    shifts = offset[reads] / gradient[reads]
    agree = np.ptp(shifts) <= 0.01 * np.abs(shifts).max()  # else the frequency serves another purpose
    return float(np.median(shifts)) if agree else 0.0


def _sense(how: Sampling) -> float:
    """+1 or -1: the sense in which most readouts, or else the first, run along the readout axis."""
    signs = np.sign(how.lines.direction @ how.axes[0])
    return 1.0 if signs.sum() > 0 or (signs.sum() == 0 and signs[0] >= 0) else -1.0


def _slices(excited: Excitations, how: Sampling) -> tuple[NDArray[np.intp], Float]:
    """(readout,) slice of each readout, and (slice, 3) m centres along the slice axis, in the order of the axis."""
    if not len(excited.time):
        return np.zeros(len(excited.of_readout), np.intp), np.zeros((1, 3))
    position = excited.position[np.maximum(excited.of_readout, 0)]
    along = np.round(position @ how.axes[2], 6)
    if how.n_axes == 3:
        return np.zeros(len(along), np.intp), position[:1]
    _, first, index = np.unique(along, return_index=True, return_inverse=True)
    return index.reshape(-1), position[first]


def _navigators(counters: dict[str, NDArray[np.intp]], excited: Excitations) -> NDArray[np.intp]:
    """1 for the lines that an echo train plays again and again at one place before it sets out over k-space."""
    navigator = np.zeros(len(excited.of_readout), np.intp)
    for shot in _groups(excited.of_readout):
        place = list(zip(counters["LIN"][shot].tolist(), counters["PAR"][shot].tolist(), strict=True))
        run = 1
        while run < len(place) and place[run] == place[0]:
            run += 1
        rest = place[run:]
        if run > 1 and len(set(rest)) == len(rest) and len(rest) > 1:
            # the last of the run belongs to the image unless the train comes by again
            navigator[shot[:run]] = 1
            if place[0] not in rest:
                navigator[shot[run - 1]] = 0
    return navigator


def _groups(index: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    edges = np.flatnonzero(np.diff(index)) + 1
    return np.split(np.arange(len(index)), edges)


def _place_keys(how: Sampling, counters: dict[str, NDArray[np.intp]]) -> list[Hashable]:
    if how.kind == "cartesian":
        return list(zip(*(counters[name].tolist() for name in ("LIN", "PAR", "SLC")), strict=True))
    ends = np.round(np.hstack([how.lines.first, how.lines.last, how.lines.middle]), 1)
    return [(*row, s) for row, s in zip(ends.tolist(), counters["SLC"].tolist(), strict=True)]


def _occurrences(
    keys: list[Hashable], excited: Excitations, nav: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The same place again after one excitation is another echo; after another excitation, another repetition."""
    echo, repetition = np.zeros(len(keys), np.intp), np.zeros(len(keys), np.intp)
    within: dict[Hashable, int] = {}
    overall: dict[Hashable, int] = {}
    for i, key in enumerate(keys):
        e = within[key, excited.of_readout[i], nav[i]] = within.get((key, excited.of_readout[i], nav[i]), -1) + 1
        if nav[i]:  # navigators of one train are told apart by SEG or order, not as echoes
            e = 0
        echo[i] = e
        repetition[i] = overall[key, e, nav[i]] = overall.get((key, e, nav[i]), -1) + 1
        if nav[i]:
            repetition[i] = 0
    return echo, repetition


def _is_epi(excited: Excitations, line: NDArray[np.intp], nav: NDArray[np.intp]) -> bool:
    """Several lines of k-space after one excitation with no pulse between them."""
    same = (np.diff(excited.of_readout) == 0) & (np.diff(excited.pulses_before) == 0) & (nav[1:] == 0)
    return bool(np.any(same & (np.diff(line) != 0)))


def _typical(values: Float) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None
