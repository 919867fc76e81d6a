"""What each bit of a subject is at a field: proton density, T1, T2, T2' with the spread that living tissue has.

Flat arrays over the occupied (compartment, voxel) pairs, since most of a grid is air and most voxels hold one tissue.
The spread is a log-normal factor, half of it smooth over centimetres and half voxel by voxel, the same for the same seed
wherever the grid is cut; T1, T2 and water content rise and fall together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import Subject, Tissue, nearest_voxel, spacing, voxel_volume

CORRELATION = 0.7  # of log T2 with log T1, and of log water content with log T1: our choice, unconfirmed
SMOOTH_SHARE = 0.5  # of the variance that is smooth: our choice, unconfirmed
KNOT_SPACING = 12e-3  # m between knots of the smooth part: our choice, unconfirmed


@dataclass(frozen=True, eq=False)
class TissueMaps:
    """One entry per occupied compartment of a voxel, in C order of (compartment, voxel), or one per point."""

    voxel: NDArray[np.int64]  # flat C-order index into (z, y, x), (n,); of points, the voxel they lie in
    tissue: NDArray[np.uint8]  # index into subject.tissues, (n,)
    fraction: NDArray[np.float32]  # of the voxel's volume, (n,)
    proton_density: NDArray[np.float32]  # relative to water, not yet times fraction, (n,)
    t1: NDArray[np.float32]  # s, (n,)
    t2: NDArray[np.float32]  # s, (n,)
    t2_prime: NDArray[np.float32]  # s, (n,), inf = none
    chemical_shift: NDArray[np.float32]  # ppm relative to water, (n,)
    diffusion: NDArray[np.float32]  # m2/s, (n,)
    off_resonance: NDArray[np.float32] | None = None  # Hz, (n,): only where the subject brings its own map


def relaxation(tissue: Tissue, field_strength: float) -> tuple[float, float, float]:
    """T1, T2, T2' in s: T1 = a B0^b, R2 and R2' linear in B0."""
    lowest, highest = tissue.field_range
    if not lowest <= field_strength <= highest:
        raise InputError(
            f"tissue {tissue.name}: relaxation times hold from {lowest:g} to {highest:g} T, not at {field_strength:g} T;"
            " give a tissue table for that field"
        )
    r2 = tissue.r2.intercept + tissue.r2.slope * field_strength
    r2_prime = tissue.r2_prime.intercept + tissue.r2_prime.slope * field_strength
    t1 = tissue.t1.value * field_strength**tissue.t1.exponent
    return t1, 1 / r2 if r2 > 0 else np.inf, 1 / r2_prime if r2_prime > 0 else np.inf


def parameters(
    subject: Subject, field_strength: float, *, seed: int | None = None, region: NDArray[np.bool_] | None = None
) -> TissueMaps:
    """Every compartment that gives signal, in the whole grid or where region (z, y, x) is true.

    parameters(subject, 4.95)                       # with the subject's own seed
    parameters(subject, 4.95, region=mask, seed=7)  # another texture; the same values as without the mask
    """
    signal = np.array([tissue.proton_density > 0 for tissue in subject.tissues])
    occupied = signal[subject.labels] & (subject.fraction > 0)
    if region is not None:
        if region.shape != subject.labels.shape[1:]:
            raise InputError(f"region has shape {region.shape}; the subject's grid is {subject.labels.shape[1:]}")
        occupied &= region
    flat = np.flatnonzero(occupied)
    voxel = flat % subject.labels[0].size
    tissue = subject.labels.reshape(-1)[flat]
    return _fill(subject, field_strength, seed, voxel, tissue, subject.fraction.reshape(-1)[flat])


def point_parameters(subject: Subject, field_strength: float, *, seed: int | None = None) -> TissueMaps:
    """One entry per point of subject.points, in its order; fraction is the point's volume over the voxel's."""
    if subject.points is None:
        raise InputError(f"subject {subject.name} has no points")
    index = nearest_voxel(subject, subject.points.position)
    shape = subject.labels.shape[1:]
    voxel = np.ravel_multi_index(tuple(np.clip(index[:, axis], 0, shape[axis] - 1) for axis in range(3)), shape)
    fraction = subject.points.volume / voxel_volume(subject)
    return _fill(subject, field_strength, seed, voxel, subject.points.tissue, fraction)


def susceptibility(subject: Subject) -> NDArray[np.float32]:
    """ppm (SI volume) relative to water, (z, y, x): the mean over compartments, points and the air that is left."""
    table = np.array([tissue.susceptibility for tissue in subject.tissues], np.float32)
    air = table[0]
    total = np.full(subject.labels.shape[1:], air, np.float32)
    for labels, fraction in zip(subject.labels, subject.fraction, strict=True):
        total += fraction * (table[labels] - air)
    if subject.points is not None:
        index = nearest_voxel(subject, subject.points.position)
        inside = np.all((index >= 0) & (index < total.shape), axis=1)
        share = subject.points.volume / voxel_volume(subject) * (table[subject.points.tissue] - air)
        np.add.at(total, tuple(index[inside].T), share[inside].astype(np.float32))
    return total


def _fill(
    subject: Subject,
    field_strength: float,
    seed: int | None,
    voxel: NDArray[np.int64],
    tissue: NDArray[np.uint8],
    fraction: NDArray,
) -> TissueMaps:
    if (
        subject.maps
        and subject.map_field_strength is not None
        and abs(subject.map_field_strength - field_strength) > 0.05 * field_strength
    ):
        raise InputError(
            f"subject {subject.name}: its parameter maps hold at {subject.map_field_strength:g} T, not at {field_strength:g} T;"
            " scan it on a scanner of that field, or give maps for this one"
        )
    present = np.unique(tissue)
    table = np.full((len(subject.tissues), 4), np.nan)
    for i_tissue in present:
        chosen = subject.tissues[i_tissue]
        mapped = {"t1", "t2", "t2_prime"} <= set(subject.maps)
        table[i_tissue] = [
            chosen.proton_density,
            *((1.0, 1.0, np.inf) if mapped else relaxation(chosen, field_strength)),
        ]
    values = {
        name: table[:, column].astype(np.float32)[tissue]
        for column, name in enumerate(("proton_density", "t1", "t2", "t2_prime"))
    }

    spread = np.array([[getattr(t.spread, name) for name in values] for t in subject.tissues], np.float32)
    if spread[present].any():
        normal = _texture(subject, subject.seed if seed is None else seed, voxel)
        for column, name in enumerate(values):
            sigma = np.sqrt(np.log1p(spread[:, column] ** 2))[tissue]
            values[name] *= np.exp(sigma * normal(name) - sigma**2 / 2)  # the mean stays the table's value

    own = None
    for name, given in subject.maps.items():
        if name == "off_resonance":
            own = given.reshape(-1)[voxel]
        else:
            values[name] = given.reshape(-1)[voxel]
    shift = np.array([t.chemical_shift for t in subject.tissues], np.float32)[tissue]
    diffusion = np.array([t.diffusion for t in subject.tissues], np.float32)[tissue]
    return TissueMaps(
        voxel,
        tissue,
        fraction.astype(np.float32),
        **values,
        chemical_shift=shift,
        diffusion=diffusion,
        off_resonance=own,
    )


def _texture(subject: Subject, seed: int, voxel: NDArray[np.int64]) -> Callable[[str], NDArray[np.float32]]:
    """name -> standard normal (n,); t2 and proton_density lean on t1 by CORRELATION, t2_prime stands alone."""

    def draw(name: str) -> NDArray[np.float32]:
        stream = ("t1", "t2", "t2_prime", "proton_density").index(name)
        smooth = smooth_normal(subject.labels.shape[1:], spacing(subject)[::-1], seed, stream).reshape(-1)[voxel]
        rough = voxel_normal(seed, stream, voxel)
        return np.float32(SMOOTH_SHARE**0.5) * smooth + np.float32((1 - SMOOTH_SHARE) ** 0.5) * rough

    leader = draw("t1")

    def normal(name: str) -> NDArray[np.float32]:
        if name == "t1":
            return leader
        if name == "t2_prime":
            return draw(name)
        return np.float32(CORRELATION) * leader + np.float32((1 - CORRELATION**2) ** 0.5) * draw(name)

    return normal


def smooth_normal(shape: tuple[int, ...], step: NDArray[np.float64], seed: int, stream: int) -> NDArray[np.float32]:
    """(z, y, x) standard normal everywhere: cubic B-splines on random knots, counted from the grid's outer corner in m."""
    weights = []
    for count, size in zip(shape, step, strict=True):
        place = (np.arange(count) + 0.5) * min(size / KNOT_SPACING, 1.0)  # coarse voxels: a knot in each
        first = np.floor(place).astype(int)
        distance = np.abs(place[:, None] - np.arange(-1, first[-1] + 3))  # knots -1 ... last + 2
        spline = np.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6)
        weights.append((spline / np.linalg.norm(spline, axis=1, keepdims=True)).astype(np.float32))
    field = np.random.default_rng([seed, stream]).standard_normal([w.shape[1] for w in weights], np.float32)
    for weight in weights:  # each turn contracts the first axis and appends it as the last
        field = np.tensordot(field, weight, axes=(0, 1))
    return field


def voxel_normal(seed: int, stream: int, voxel: NDArray[np.int64]) -> NDArray[np.float32]:
    """Standard normal (n,) from a hash of the voxel's index, so that any part of the grid can be drawn alone."""
    key = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):  # SplitMix64, Steele et al., OOPSLA 2014
        bits = voxel.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    radius = ((bits >> np.uint64(32)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    angle = (bits & np.uint64(0xFFFFFFFF)).astype(np.float32) * np.float32(2 * np.pi * 2.0**-32)
    return np.sqrt(-2 * np.log(radius)) * np.cos(angle)  # Box-Muller
