"""Radial, spiral and any other trajectory, slice by slice, plane by plane of a stack, or as a volume.

nufft       density-compensated adjoint transform, receivers combined by their maps
sense       weighted least squares by conjugate gradients; auto takes it where several receivers are known from the centre
cs          sparse in wavelets
low-rank    frames together

Two echoes of one scan tell the off-resonance (field_map.py); where it blurs, all methods encode with it. Gradient delays are
not looked for: k is believed as it stands in the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import Header, RawData
from lauterbur.recon.checks import check_memory
from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.encoded import check_maps
from lauterbur.recon.espirit import PlaneMaps
from lauterbur.recon.field_map import BLURS, echo_pair, off_resonance_of
from lauterbur.recon.gridding import Grid, full_radius, volume_map
from lauterbur.recon.regularisation import Fit
from lauterbur.recon.scattered import Scatter, scattered
from lauterbur.recon.scattered_maps import Piece, piece_of, receivers_in_planes, receivers_in_volume
from lauterbur.recon.scattered_sense import Problem, problem_of, solved_alone, solved_together
from lauterbur.recon.sparse import LEAST_CONFIDENCE
from lauterbur.recon.timings import Timings

METHODS = ("nufft", "sense", "cs", "low-rank")
BRIGHT = 0.1  # of the brightest voxel: what counts as object when it is asked how far off resonance it is


@dataclass(frozen=True)
class Gridded:
    pixels: NDArray[np.complex64]  # (frame, z, y, x); z = slice index for 2D
    slices: NDArray[np.intp]  # SLC values in that order
    frames: tuple[dict[str, int], ...]
    frame: NDArray[np.intp]  # (readout,)
    image: NDArray[np.intp]  # readouts used
    method: str  # of METHODS
    samples_per_voxel: float
    undersampling: float  # of the first frame
    notes: tuple[str, ...] = ()
    fits: tuple[Fit, ...] = ()  # of iterative methods, per slice and frame
    off_resonance: NDArray[np.float32] | None = None  # Hz, (z, y, x), where it was corrected


@dataclass
class _Work:
    """What is gathered on the way."""

    plan: Scatter
    method: str
    weight: float | None
    is_white: bool
    te: tuple[float, ...]
    pixels: NDArray[np.complex64]
    off_resonance: NDArray[np.float32] | None = None
    fits: list[Fit] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)


def reconstruct_noncartesian(
    raw: RawData,
    header: Header,
    mixing: NDArray[Any],
    timings: Timings,
    *,
    method: str = "auto",
    is_white: bool = False,
    known_maps: CoilMaps | None = None,
    weight: float | None = None,
) -> Gridded:
    """`method`: auto, or one of METHODS. `is_white`: mixing makes the noise 1. `weight` of cs and low-rank, None for the rule."""
    n_rx = len(mixing)
    with timings.stage("layout"):
        plan = scattered(raw, header)
        if method == "low-rank" and len(plan.frames) < 2:
            raise InputError(
                "method='low-rank' needs several frames (repetitions, phases, echoes) but there is one; use 'cs'"
            )
        if known_maps is not None:
            check_maps(known_maps, n_rx, (plan.depth, *plan.shape[-2:]))
        _check_memory(raw, plan, n_rx, method)
    is_volume = len(plan.shape) == 3
    pixels = np.zeros((len(plan.frames), plan.depth, *plan.shape[-2:]), np.complex64)
    work = _Work(plan, method, weight, is_white, header.te, pixels)
    known: dict[bytes, Grid] = {}
    coverage: tuple[float, float] | None = None

    for i_slice in range(len(plan.slices)):
        with timings.stage("gathering"):
            piece = piece_of(raw, plan, mixing, i_slice, known, work.notes)
        grid = piece.grids[0]
        if coverage is None:
            coverage = len(grid.operator.points) / float(np.prod(plan.shape)), grid.undersampling
        if work.method == "auto":
            can = not is_volume and n_rx > 1 and (known_maps is not None or full_radius(grid) >= 6)
            work.method = "sense" if can else "nufft"
        with timings.stage("sensitivities"):
            strict = work.method != "nufft"
            planes: list[NDArray[np.complex64]] = []  # maps (set, rx, *image)
            if known_maps is not None and not is_volume:
                at = range(plan.n_planes) if plan.partition is not None else [i_slice]
                planes = [known_maps.sensitivity[:, :, z] for z in at]
            elif not is_volume:
                noise = 1.0 if is_white else None
                found = receivers_in_planes(piece, plan, noise=noise, is_strict=strict)
                planes = [_cropped(one, LEAST_CONFIDENCE if strict else 0.0) for one in found]
        with timings.stage("combination"):
            if is_volume:
                _volume_(work, piece, n_rx, known_maps)
            else:
                for z, maps in enumerate(planes):
                    _plane_(work, piece, maps, z, z if plan.partition is not None else i_slice)
                    timings.part(i_slice, len(plan.slices))((z + 1) / len(planes))
    assert coverage is not None
    return Gridded(
        work.pixels, plan.slices, plan.frames, plan.frame, plan.image, work.method, *coverage,
        tuple(sorted(work.notes)), tuple(work.fits), work.off_resonance,
    )  # fmt: skip


def _cropped(maps: PlaneMaps, least: float) -> NDArray[np.complex64]:
    return np.asarray(maps.sensitivity * (maps.eigenvalue >= least)[:, None], np.complex64)


def _check_memory(raw: RawData, plan: Scatter, n_rx: int, method: str) -> None:
    """All images, one slice's samples twice, and receivers' images on twice the grid."""
    voxels = float(np.prod(plan.shape))
    images = (len(plan.frames) + 2.0) * plan.depth * float(np.prod(plan.shape[-2:]))
    samples = 2.0 * len(plan.image) / len(plan.slices) * raw.samples.shape[2] * n_rx
    at_once = 2 ** len(plan.shape) * voxels * 4
    at_once += voxels * n_rx * (1 if method in ("auto", "nufft") and len(plan.shape) == 3 else 3) * plan.n_planes
    check_memory(
        8 * (images + samples + at_once),
        f"reconstruction of {len(plan.frames)} frames with {n_rx} receivers",
        "compress with coils=, or leave out frames",
    )


def _plane_(work: _Work, piece: Piece, maps: NDArray[np.complex64], z: int, place: int) -> None:
    """All frames of one plane; `z` of the piece, `place` in the image."""
    frequency = _off_resonance(work, piece, maps, z)
    if frequency is not None:
        if work.off_resonance is None:
            work.off_resonance = np.zeros(work.pixels.shape[1:], np.float32)
        work.off_resonance[place] = frequency
    problems = (
        problem_of(grid, one.values[z], maps, is_white=work.is_white, off_resonance=frequency, time=one.time)
        for grid, one in zip(piece.grids, piece.frames, strict=True)
    )
    for i_frame, image in enumerate(_solved(work, problems, place)):
        work.pixels[i_frame, place] = image


def _solved(work: _Work, problems: Iterator[Problem], seed: int) -> Iterator[NDArray[np.complex64]]:
    if work.method == "low-rank":
        series, fit = solved_together(list(problems), work.weight, seed=seed)
        work.fits.append(fit)
        yield from series
        return
    for problem in problems:
        if work.method == "nufft":
            yield problem.right[0]
        else:
            image, fit = solved_alone(problem, work.weight if work.method == "cs" else 0.0, seed=seed)
            work.fits.append(fit)
            yield image


def _off_resonance(work: _Work, piece: Piece, maps: NDArray[np.complex64], z: int) -> NDArray[np.float32] | None:
    """Hz, (y, x), where two echoes tell it and it blurs."""
    pair = echo_pair(work.plan.frames, work.te)
    if pair is None:
        return None
    first, second = (np.sum(maps[0].conj() * piece.grids[i].images(piece.frames[i].values[z]), axis=0) for i in pair)
    frequency = off_resonance_of(first, second, work.te[1] - work.te[0])
    size = np.abs(first)
    object_ = size > BRIGHT * size.max()
    length = float(np.ptp(piece.frames[pair[0]].time))
    if not object_.any() or not np.quantile(np.abs(frequency[object_]), 0.95) * length > BLURS:
        return None
    low, high = np.quantile(frequency[object_], (0.005, 0.995))
    return np.clip(frequency, low, high).astype(np.float32)


def _volume_(work: _Work, piece: Piece, n_rx: int, known: CoilMaps | None) -> None:
    """All frames of a volume of no parallel planes. nufft takes one receiver at a time: two volumes of memory, however many."""
    strict = work.method != "nufft"
    coarse = receivers_in_volume(piece, work.plan, is_strict=strict) if known is None else None

    def map_of(i_rx: int) -> NDArray[np.complex64]:
        assert coarse is not None
        return volume_map(coarse, i_rx, work.plan.shape, LEAST_CONFIDENCE if strict else 0.0)

    if not strict:
        for i_frame, (grid, one) in enumerate(zip(piece.grids, piece.frames, strict=True)):
            power = np.zeros(work.plan.shape, np.float32)
            for i_rx in range(n_rx):
                sensitivity = map_of(i_rx)
                work.pixels[i_frame] += sensitivity.conj() * grid.images(one.values[0, i_rx])
                power += np.abs(sensitivity) ** 2
            work.pixels[i_frame] /= np.sqrt(np.maximum(power, 1e-12))
        return
    maps = np.stack([map_of(i) for i in range(n_rx)])[None] if known is None else known.sensitivity
    problems = (
        problem_of(grid, one.values[0], maps, is_white=work.is_white)
        for grid, one in zip(piece.grids, piece.frames, strict=True)
    )
    for i_frame, image in enumerate(_solved(work, problems, 0)):
        work.pixels[i_frame] = image
