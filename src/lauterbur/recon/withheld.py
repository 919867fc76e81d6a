"""What withheld samples say of the learned prior: how much of its image foretells them best, the rest being compressed sensing's.

Of some planes of a scan a part of the samples is withheld, the rest reconstructed. Whichever mixture of the network's image and of what it
started from comes nearest to the withheld samples is used for the whole scan (stacking: Wolpert, Neural Networks 1992, 5:241). The error of
a sample that was never seen is its noise plus the image's own, so that the best mixture of the one is the best of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.fft import fft
from lauterbur.recon.learned_network import Array, Weights, first_image, least_squares, unrolled

Bool = NDArray[np.bool_]
WITHHELD = 0.1  # of the places outside the centre: they judge
CENTRE = 0.08  # of each axis, at least one place: always given
PLANES = 4  # of a volume, or slices, that are asked


@dataclass(frozen=True)
class Measured:
    """One plane as it was measured."""

    maps: NDArray[np.complex64]  # (rx, a, b)
    samples: NDArray[np.complex64]  # (rx, a, b), zero where not measured
    mask: Bool  # (a, b)
    noise: float  # standard deviation of a sample
    scale: float  # of its brightness: learned_network.scale_of


@dataclass(frozen=True)
class Foretold:
    """Errors of the withheld samples, as a part of their root mean square; their own noise is in all of them."""

    share: float  # of the network's image in what is used, 0 to 1; the rest is compressed sensing's
    learned: float
    sparse: float
    mixed: float
    withheld: int  # samples, of all receivers


def spread(n: int) -> list[int]:
    """At most PLANES of n, away from the ends."""
    return sorted({round(n * (i + 1) / (PLANES + 1) - 0.5) for i in range(PLANES)})


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


def judges(planes: Sequence[Measured], seed: int = 0) -> list[tuple[Bool, Bool]]:
    """What each plane gives and what it withholds; the same for equal seeds."""
    rng = np.random.default_rng([seed, 0xF07E])
    return [split(rng, plane.mask, WITHHELD) for plane in planes]


def foretold(planes: Sequence[Measured], weights: Weights, *, seed: int = 0, workers: int = 1) -> Foretold:
    """The best share of the network's image, over all planes together."""
    energy, by_learned, by_sparse, apart, count = 0.0, 0.0, 0.0, 0.0, 0
    for plane, (given, held) in zip(planes, judges(planes, seed), strict=True):
        sense = CartesianSense(np.ascontiguousarray(plane.maps[None, None]), given, workers)
        right = sense.adjoint((plane.samples * given)[None])
        least = least_squares(sense, right)
        start = first_image(sense, right, plane.noise, least)
        image = unrolled(
            sense, right, plane.noise, weights, least=least, start=start, scale=plane.scale, workers=workers
        )
        true = plane.samples[:, held].astype(np.complex128)
        learned, sparse = (_samples(plane, one, held) for one in (image, start))
        energy += float(np.linalg.norm(true) ** 2)
        by_learned += float(np.linalg.norm(learned - true) ** 2)
        by_sparse += float(np.linalg.norm(sparse - true) ** 2)
        apart += float(np.linalg.norm(learned - sparse) ** 2)
        count += true.size
    # of sparse + t (learned - sparse) the squared error is by_sparse (1 - t) + by_learned t - apart t (1 - t)
    share = 1.0 if apart == 0 else float(np.clip(0.5 + (by_sparse - by_learned) / (2 * apart), 0, 1))
    mixed = by_sparse * (1 - share) + by_learned * share - apart * share * (1 - share)

    def relative(squared: float) -> float:
        return float(np.sqrt(max(squared, 0.0) / max(energy, 1e-30)))

    return Foretold(share, relative(by_learned), relative(by_sparse), relative(mixed), count)


def _samples(plane: Measured, image: Array, where: Bool) -> NDArray[np.complex128]:
    """(rx, place) of an image (plane, set, a, b) of one plane and set."""
    return fft(plane.maps * image[0, 0], (1, 2))[:, where].astype(np.complex128)
