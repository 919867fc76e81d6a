"""Reconstruction with a learned prior: in its range an unrolled network, outside compressed sensing; always true to what was measured.

    image, fit = learned_image(CartesianSense(maps, mask), samples, noise=1.0)     # on plain arrays

The network's image is mixed with that of compressed sensing, from which it started, by what withheld samples say of both (withheld.py).
The last word is the data's: conjugate gradients start from the network's image and go on until no more is left of the samples than their
noise, or than least squares leaves of them where maps are less exact than the noise (Morozov 1966). Where that is not reached, the image is
mixed with that of least squares until it is: whatever a network says, what was measured stays. What was not is its guess; what
it was trained on, where it works and where it fails stands in docs/learned.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.encoded import Planes, squared_residual
from lauterbur.recon.learned_network import Weights, first_image, least_squares, scale_of, shipped_weights, unrolled
from lauterbur.recon.solvers import dot
from lauterbur.recon.withheld import Foretold, Measured, foretold, spread

Array = NDArray[np.complex64]
MATRIX = (56, 512)  # points along each axis of a plane
ACCELERATION = (
    1.3,
    14.0,
)  # points of the covered k-space per measured one, and no more than the receivers can tell apart
PER_RECEIVER = 4.0  # acceleration that each receiver may bear: one alone was trained up to this
SIGNAL_TO_NOISE = 6.0  # of the brightest twentieth of the pixels, had all been measured
CONSISTENCY_STEPS = 8  # of conjugate gradients at the end, at most


@dataclass(frozen=True)
class LearnedFit:
    """How an image with a learned prior fits the data."""

    noise: float  # standard deviation of a sample that was assumed
    residual: float  # root mean square of what is left of the samples: at most that of noise or least squares
    least_squares: float  # root mean square of what least squares alone leaves of them
    moved: float  # by the last steps towards the data, relative to the image
    weights: str  # SHA-256 of the weights
    foretold: Foretold  # what withheld samples say of the network


@dataclass(frozen=True)
class Part:
    """Of the fit: one plane's."""

    residual: float  # squared
    least: float  # squared residual of least squares
    n_samples: int
    moved: float
    size: float


def out_of_range(sense: CartesianSense, noise: float, scale: float) -> str | None:
    """Why the learned prior does not apply, or None: of one plane, its noise and its brightness (scale_of)."""
    n_sets, n_rx = sense.maps.shape[1:3]
    if n_sets != 1:
        return f"there are {n_sets} sets of maps and it knows one"
    for n in sense.mask.shape:
        if not MATRIX[0] <= n <= MATRIX[1]:
            return f"a plane of {sense.mask.shape[0]} x {sense.mask.shape[1]} points has an axis outside {MATRIX[0]} to {MATRIX[1]}"
    factor = sense.mask.size / max(int(np.count_nonzero(sense.mask)), 1)
    most = min(ACCELERATION[1], PER_RECEIVER * n_rx)
    if not ACCELERATION[0] <= factor <= most:
        return f"one in {factor:.2f} samples was measured with {n_rx} receivers; one in {ACCELERATION[0]:g} to {most:g} is its range"
    if not noise > 0:
        return "the noise of the samples is not known"
    if not scale >= SIGNAL_TO_NOISE * noise:
        return f"the signal to noise ratio is {scale / noise:.1f}; at least {SIGNAL_TO_NOISE:g} is its range"
    return None


def learned_image(
    sense: CartesianSense, samples: Array, *, noise: float, weights: Weights | None = None
) -> tuple[Array, LearnedFit]:
    """Images (plane, set, a, b) from k-space (plane, rx, a, b) under the mask; `noise` is a sample's standard deviation.

    InputError where the problem is out of the learned prior's range; `reconstruct` falls back to compressed sensing then.
    `weights`: other ones of the same kind, read by learned_network.read_weights.
    """
    if samples.shape != (sense.maps.shape[0], *sense.maps.shape[2:]):
        raise InputError(
            f"samples have shape {samples.shape} but maps {sense.maps.shape}; (plane, rx, a, b) and (plane, set, rx, a, b) are expected"
        )
    if not np.isfinite(samples).all():
        raise InputError("the samples hold NaN or infinite values; leave them out of the mask and set them to 0")
    weights = shipped_weights() if weights is None else weights
    measured = samples * sense.mask.astype(np.float32)
    planes = []
    for p in range(len(samples)):
        one = CartesianSense(sense.maps[p : p + 1], sense.mask, sense.workers)
        energy = float(np.linalg.norm(measured[p]) ** 2)
        n_samples = int(sense.mask.sum()) * samples.shape[1]
        planes.append(Planes(one, one.adjoint(measured[p : p + 1]), energy, n_samples))
    leasts = [least_squares(p.sense, p.right) for p in planes]
    scale = scale_of(np.stack(leasts))
    why = out_of_range(planes[0].sense, noise, scale)
    if why is not None:
        raise InputError(f"the learned prior does not apply: {why}; use compressed sensing (fista with Wavelet)")
    asked = [p for p in spread(len(samples)) if np.any(planes[p].right)]
    judges = [Measured(sense.maps[p, 0], measured[p], sense.mask, noise, scale) for p in asked]
    said = foretold(judges, weights, workers=sense.workers)
    images, parts = [], []
    for plane, least in zip(planes, leasts, strict=True):
        image, part = solved(plane, noise, scale, weights, said.share, least, sense.workers)
        images.append(image[0])
        parts.append(part)
    return np.stack(images), fit_of(parts, noise, weights, said)


def solved(
    problem: Planes, noise: float, scale: float, weights: Weights, share: float, least: Array, workers: int
) -> tuple[Array, Part]:
    """(plane, set, a, b) of one plane, true to its samples; `share` of it the network's, `least` its image by least squares."""
    if not np.any(problem.right):  # nothing was seen
        return np.zeros_like(problem.right), Part(problem.energy, problem.energy, problem.n_samples, 0.0, 0.0)
    left = squared_residual(problem, least)
    image = start = first_image(problem.sense, problem.right, noise, least)
    if share > 0:
        image = unrolled(
            problem.sense, problem.right, noise, weights, least=least, start=start, scale=scale, workers=workers
        )
        image = np.float32(share) * image + np.float32(1 - share) * start
    allowed = max(noise**2 * problem.n_samples, left)
    true, residual = mixed(problem, *consistent(problem, image, allowed), least, left, allowed)
    moved, size = float(np.linalg.norm(true - image)), float(np.linalg.norm(true))
    return true, Part(residual, left, problem.n_samples, moved, size)


def consistent(problem: Planes, image: Array, allowed: float) -> tuple[Array, float]:
    """The image moved until the squared residual |A x - y|^2 is `allowed`, no further; and that residual.

    Conjugate gradients from `image` on the normal equations: the directions that the data know best come first.
    """
    image, residual = image.copy(), squared_residual(problem, image)
    gradient = problem.right - problem.sense.normal(image)
    direction, slope = gradient.copy(), dot(gradient, gradient)
    for _ in range(CONSISTENCY_STEPS):
        if not residual > allowed:
            break
        turned = problem.sense.normal(direction)
        curvature = dot(direction, turned)
        if not curvature > 0:
            break
        step = slope / curvature
        gain = step * slope  # a part t of the step takes (2 t - t^2) of it from the squared residual
        part = 1.0 if residual - gain >= allowed else 1 - float(np.sqrt(max(0.0, 1 - (residual - allowed) / gain)))
        image += np.float32(part * step) * direction
        if part < 1:
            break
        residual -= gain
        gradient -= np.float32(step) * turned
        before, slope = slope, dot(gradient, gradient)
        direction = gradient + np.float32(slope / before) * direction
    return image, squared_residual(problem, image)


def mixed(
    problem: Planes, image: Array, residual: float, true: Array, least: float, allowed: float
) -> tuple[Array, float]:
    """As much of `image` in the mixture with `true` (of squared residual `least`) as leaves a squared residual of `allowed`."""
    if residual <= allowed * (1 + 1e-3):
        return image, residual
    # of true + t (image - true) it is least + 2 t slope + t^2 curve
    change = image - true
    seen = problem.sense.normal(change)
    curve = dot(change, seen)
    slope = dot(change, problem.sense.normal(true) - problem.right)
    part = (-slope + float(np.sqrt(max(slope**2 + curve * max(allowed - least, 0.0), 0.0)))) / max(curve, 1e-300)
    found = (true + np.float32(np.clip(part, 0, 1)) * change).astype(np.complex64)
    return found, squared_residual(problem, found)


def fit_of(parts: list[Part], noise: float, weights: Weights, said: Foretold) -> LearnedFit:
    count = max(sum(p.n_samples for p in parts), 1)
    moved, size = (float(np.linalg.norm([getattr(p, name) for p in parts])) for name in ("moved", "size"))
    left, least = (float(np.sqrt(sum(getattr(p, name) for p in parts) / count)) for name in ("residual", "least"))
    return LearnedFit(noise, left, least, moved / max(size, 1e-30), weights.sha256, said)
