"""Fine-tuning of the learned prior on the scan itself, without a truth, and only where it foretells samples better.

Of some planes of the scan a part of the samples is withheld altogether. What is left is split at random, again and again: from one part the
network makes an image, and is corrected by how well that image foretells the other (Yaman et al. 2020, MRM 84:3172; zero-shot with withheld
samples that end it: Yaman et al., ICLR 2022). The weights that foretell the withheld samples best are kept; the shipped ones,
where none do.

Needs torch (pip install "lauterbur[train]"); images do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.learned_network import Weights, first_image, least_squares, read_weights, told_noise
from lauterbur.recon.timings import Told, silent
from lauterbur.recon.withheld import Bool, Measured, judges, split

FORETOLD = 0.3  # of the rest: they correct
SPLITS = 6  # of each plane
STEPS, EVERY, PATIENCE = 240, 20, 3  # of training; between judgements; judgements without gain that end it
RATE = 2e-4
LEAST_GAIN = 1e-3  # of the error of the withheld samples: less is chance


@dataclass(frozen=True)
class Tuning:
    """What it brought: errors of the withheld samples, as a part of their root mean square."""

    steps: int  # that the weights in use have had; 0 where the shipped ones were kept
    before: float
    after: float
    withheld: int  # samples, of all receivers
    weights: str  # SHA-256


def tuned(
    planes: Sequence[Measured], weights: Weights, *, seed: int = 0, told: Told = silent
) -> tuple[Weights, Tuning]:
    """Weights for these planes and their like."""
    import torch

    from lauterbur.recon.learned_torch import network_of, packed

    rng = np.random.default_rng([seed, 0x7E57])
    judged_by, lessons = [], []
    for plane, (given, withheld) in zip(planes, judges(planes, seed), strict=True):
        judged_by.append(_lesson(plane, given, withheld))
        for _ in range(SPLITS):
            lessons.append(_lesson(plane, *split(rng, given, FORETOLD)))
    torch.manual_seed(seed)
    network = network_of(weights)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)

    def judged() -> float:
        with torch.no_grad():
            left, whole = (sum(values) for values in zip(*(_foretold(network, one) for one in judged_by), strict=True))
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
    n_withheld = sum(int(one.foretold.sum()) * len(one.samples) for one in judged_by)
    if kept is None:
        return weights, Tuning(0, before, before, n_withheld, weights.sha256)
    steps, data = kept
    found = read_weights(data)
    return found, Tuning(steps, before, best, n_withheld, found.sha256)


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
