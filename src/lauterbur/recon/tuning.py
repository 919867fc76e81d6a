"""Fine-tuning of the learned prior on the scan itself, without a truth, and only where it foretells samples better.

Of some planes of the scan a part of the samples is withheld altogether. What is left is split at random, again and again: from one part the
network makes an image, and is corrected by how well that image foretells the other (Yaman et al. 2020, MRM 84:3172; zero-shot with withheld
samples that end it: Yaman et al., ICLR 2022). The weights that foretell the withheld samples best are kept; the shipped ones,
where none do.

Needs torch (pip install "lauterbur[train]"); images do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.coils import CoarseMaps
from lauterbur.recon.encoded import encoded, measured_planes, slab_of_maps
from lauterbur.recon.layout import Layout
from lauterbur.recon.learned import out_of_range
from lauterbur.recon.learned_network import (
    Weights,
    first_image,
    least_squares,
    read_weights,
    scale_of,
    shipped_weights,
    told_noise,
)
from lauterbur.recon.readout import Hybrid
from lauterbur.recon.sparse import LEAST_CONFIDENCE, noise_of
from lauterbur.recon.timings import Told, silent

Complex = NDArray[np.complex64]
Bool = NDArray[np.bool_]
PLANES = 4  # of a volume, or slices, that are learned from
WITHHELD = 0.1  # of the places outside the centre: they judge
FORETOLD = 0.3  # of the rest: they correct
SPLITS = 6  # of each plane
CENTRE = 0.08  # of each axis, at least one place: always given
STEPS, EVERY, PATIENCE = 240, 20, 3  # of training; between judgements; judgements without gain that end it
RATE = 2e-4
LEAST_GAIN = 1e-3  # of the error of the withheld samples: less is chance


@dataclass(frozen=True)
class Measured:
    """One plane as it was measured."""

    maps: Complex  # (rx, a, b)
    samples: Complex  # (rx, a, b), zero where not measured
    mask: Bool  # (a, b)
    noise: float  # standard deviation of a sample
    scale: float  # of its brightness: learned_network.scale_of


@dataclass(frozen=True)
class Tuning:
    """What it brought: errors of the withheld samples, as a part of their root mean square."""

    steps: int  # that the weights in use have had; 0 where the shipped ones were kept
    before: float
    after: float
    withheld: int  # samples, of all receivers
    weights: str  # SHA-256


def tuned_to_scan(
    lines_of: Callable[[NDArray[np.intp], int], Hybrid],
    layout: Layout,
    maps: Sequence[CoarseMaps | CoilMaps],
    *,
    is_white: bool = False,
    told: Told = silent,
) -> tuple[Weights, Tuning | None, str | None]:
    """From some planes of the first frame; the shipped weights, and why, where the learned prior does not apply.

    `lines_of(readouts, slice)` are those of a slice, `maps` one of each slice, or one of all.
    """
    is_volume = layout.partition is not None
    n_x, n_slices = layout.readout.n_image, len(layout.slices)
    planes: list[Measured] = []
    for i_slice in _spread(1 if is_volume else n_slices):
        of_slice = layout.slice[layout.image] == i_slice
        lines = lines_of(layout.image[of_slice & (layout.frame[layout.image] == 0)], i_slice)
        which = np.arange(len(lines.line))
        noise, scales = noise_of(lines, which, layout, is_white), []
        for start in _spread(n_x) if is_volume else [0]:
            stop = start + 1 if is_volume else n_x
            slab = slab_of_maps(maps[min(i_slice, len(maps) - 1)], i_slice, layout, start, stop, LEAST_CONFIDENCE)
            problem = encoded(lines, which, layout, slab, start, stop)
            scale = scale_of(least_squares(problem.sense, problem.right))
            why = out_of_range(problem.sense, noise, scale)
            if why is not None:
                continue
            scales.append(scale)
            samples, mask = measured_planes(lines, which, layout, start, stop)
            planes.append(Measured(problem.sense.maps[0, 0], samples[0], mask, noise, scale))
    if not planes:
        return shipped_weights(), None, f"the learned prior was not tuned: {why}"
    if is_volume:  # its planes share a brightness
        planes = [replace(plane, scale=max(scales)) for plane in planes]
    return *tuned(planes, shipped_weights(), told=told), None


def _spread(n: int) -> list[int]:
    """At most PLANES of n, away from the ends."""
    return sorted({round(n * (i + 1) / (PLANES + 1) - 0.5) for i in range(PLANES)})


def tuned(
    planes: Sequence[Measured], weights: Weights, *, seed: int = 0, told: Told = silent
) -> tuple[Weights, Tuning]:
    """Weights for these planes and their like."""
    import torch

    from lauterbur.recon.learned_torch import network_of, packed

    rng = np.random.default_rng([seed, 0x7E57])
    judges, lessons = [], []
    for plane in planes:
        given, withheld = split(rng, plane.mask, WITHHELD)
        judges.append(_lesson(plane, given, withheld))
        for _ in range(SPLITS):
            lessons.append(_lesson(plane, *split(rng, given, FORETOLD)))
    torch.manual_seed(seed)
    network = network_of(weights)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)

    def judged() -> float:
        with torch.no_grad():
            left, whole = (sum(values) for values in zip(*(_foretold(network, one) for one in judges), strict=True))
        return float(np.sqrt(float(left) / max(float(whole), 1e-30)))

    before = judged()
    best, kept, waited, step = before * (1 - LEAST_GAIN), None, 0, 0
    while step < STEPS and waited < PATIENCE:
        for i in rng.integers(len(lessons), size=EVERY):
            left, whole = _foretold(network, lessons[i])
            loss = torch.log(left / whole)
            optimiser.zero_grad()
            loss.backward()
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)):
                optimiser.step()
            step += 1
        error = judged()
        if error < best:
            best, kept, waited = error, (step, packed(network)), 0
        else:
            waited += 1
        told(step / STEPS)
    n_withheld = sum(int(one.foretold.sum()) * len(one.samples) for one in judges)
    if kept is None:
        return weights, Tuning(0, before, before, n_withheld, weights.sha256)
    steps, data = kept
    found = read_weights(data)
    return found, Tuning(steps, before, best, n_withheld, found.sha256)


def split(rng: np.random.Generator, mask: Bool, part: float) -> tuple[Bool, Bool]:
    """The mask in two, the second of a `part` of its places outside the centre; whole lines, where the mask is of lines."""
    is_of_lines = np.array_equal(mask, np.broadcast_to(mask[:1], mask.shape))
    places = mask[:1] if is_of_lines else mask
    centre = np.ones_like(places)
    for axis, n in enumerate(mask.shape):
        if places.shape[axis] > 1:
            near = np.abs(np.arange(n) - n // 2) <= max(CENTRE * n / 2, 0.5)
            centre &= near[:, None] if axis == 0 else near
    free = np.flatnonzero(places & ~centre)
    second = np.zeros(places.size, bool)
    second[rng.choice(free, min(len(free), max(1, round(part * len(free)))), replace=False)] = True
    second = np.broadcast_to(second.reshape(places.shape), mask.shape)
    return mask & ~second, mask & second


@dataclass(frozen=True)
class _Lesson:
    """In units of the scale."""

    inputs: tuple[Any, ...]  # of the network in torch, a batch of one
    maps: Any
    samples: Any  # (rx, a, b), torch
    foretold: Any  # (a, b), torch


def _lesson(plane: Measured, given: Bool, foretold: Bool) -> _Lesson:
    import torch

    scale = np.float32(plane.scale)
    sense = CartesianSense(np.ascontiguousarray(plane.maps[None, None]), given)
    right = sense.adjoint((plane.samples * given)[None])
    least = least_squares(sense, right)
    start = first_image(sense, right, plane.noise, least)
    images = [torch.from_numpy((one[0, 0][None] / scale).astype(np.complex64)) for one in (least, start, right)]
    maps = torch.from_numpy(plane.maps)[None]
    mask = torch.from_numpy(np.fft.ifftshift(given).astype(np.float32))[None]
    told, fraction = (
        torch.tensor([one], dtype=torch.float32) for one in (told_noise(plane.noise / plane.scale), given.mean())
    )
    samples = np.fft.ifftshift(plane.samples / scale, axes=(1, 2))
    return _Lesson(
        (*images, maps, mask, told, fraction),
        maps[0],
        torch.from_numpy(samples.astype(np.complex64)),
        torch.from_numpy(np.fft.ifftshift(foretold)),
    )


def _foretold(network: Any, lesson: _Lesson) -> tuple[Any, Any]:
    """Squared error of the foretold samples, and their energy."""
    import torch

    image = network(*lesson.inputs)[-1][0]
    seen = torch.fft.fft2(torch.fft.ifftshift(lesson.maps * image, dim=(1, 2)), norm="ortho")
    apart = (seen - lesson.samples)[:, lesson.foretold]
    return (apart.abs() ** 2).sum(), (lesson.samples[:, lesson.foretold].abs() ** 2).sum()
