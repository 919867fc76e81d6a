"""The learned prior: small convolutional networks between steps of data consistency, without a training framework.

An unrolled reconstruction (Hammernik et al. 2018, MRM 79:3055; Aggarwal et al. 2019, IEEE TMI 38:394) that starts where a short run of
compressed sensing ends: in turn, a network moves the image towards what images are like, and a few conjugate gradients towards
what was measured. A network works on images folded to half their size, four pixels in the channels (Zhang et al. 2018, IEEE TIP 27:4608): the
present one and that of least squares, in which nothing is smoothed yet. It is told the noise and the part of k-space that was
measured, and hands a memory of some channels to the next turn. Turns may share kernels.

Images are scaled so that the root mean square of their brightest twentieth is 1: weights know no units.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.regularisation import sparse_weight
from lauterbur.recon.solvers import conjugate_gradient, fista
from lauterbur.recon.wavelets import Wavelet

Array = NDArray[np.complexfloating[Any, Any]]
Float = NDArray[np.float32]
FILE = "learned.npz"
SHA256 = "d61da0391194936f84c8437eb406f483c308ae437cce9ff0e12b6a8b48d370a2"
MEMORY = 8  # channels from turn to turn
STEPS = 2  # conjugate gradients of a turn
LEAST_STEPS, LEAST_RIDGE = 8, 0.01  # of least squares, stopped early
SPARSE_STEPS, SPARSE_AVERAGED, SPARSE_FAMILY = (
    40,
    8,
    "db2",
)  # of compressed sensing, from there: fewer leave folds of lattices
TOLD = 18  # channels that a network is given beside its memory: two folded images, noise, fraction
BRIGHTEST = 20  # one in so many pixels sets the scale
ORIENTATIONS = 4  # quarter turns: two tenths of a decibel better than one, for a third more time
LANES = 4  # output channels that the kernel works on at once


@dataclass(frozen=True)
class Turn:
    """One network and its trust in the data."""

    kernels: tuple[Float, ...]  # (out, in, 3, 3) of each layer
    biases: tuple[Float, ...]  # (out,)
    trust: tuple[float, float]  # the ridge of data consistency is exp(a + b log(noise / 0.03))


@dataclass(frozen=True)
class Weights:
    turns: tuple[Turn, ...]
    sha256: str  # of the file


@lru_cache(maxsize=1)
def shipped_weights() -> Weights:
    """The weights of this package; refuses a file that is not the one its code was tested with."""
    return read_weights(resources.files("lauterbur.recon").joinpath("data", FILE).read_bytes(), SHA256)


def read_weights(data: bytes, sha256: str | None = None) -> Weights:
    """Weights of an .npz as training/train.py writes it: group (turn,), kernel_GROUP_LAYER, bias_TURN_LAYER, trust (turn, 2).

    InputError where `sha256` is given and not that of the data.
    """
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise InputError(
            f"the learned weights have SHA-256 {found[:16]}... but {sha256[:16]}... is expected; install lauterbur again"
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        trust = file["trust"].astype(float)
        depth = sum(name.startswith("bias_0_") for name in file.files)
        kernels = [
            tuple(file[f"kernel_{g}_{i}"].astype(np.float32) for i in range(depth))
            for g in range(int(file["group"].max()) + 1)
        ]
        turns = [
            Turn(
                kernels[g], tuple(file[f"bias_{t}_{i}"].astype(np.float32) for i in range(depth)), (float(a), float(b))
            )
            for t, (g, (a, b)) in enumerate(zip(file["group"], trust, strict=True))
        ]
    return Weights(tuple(turns), found)


@njit(cache=True, nogil=True, fastmath=True)
def _convolve(source, kernel, bias, rectify, first, last, out):  # type: ignore[no-untyped-def]
    """Rows [first, last) of out (out, a + 2, b + 2) from source (in, a + 2, b + 2), both with a rim of zeros; `out` in fours."""
    n_in, n_b = source.shape[0], source.shape[2] - 2
    sums = np.empty((4, n_b), np.float32)
    for a in range(first, last):
        for o in range(0, out.shape[0], 4):
            s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
            s0[:] = bias[o]
            s1[:] = bias[o + 1]
            s2[:] = bias[o + 2]
            s3[:] = bias[o + 3]
            for c in range(n_in):
                for d in range(3):
                    line = source[c, a + d]
                    k0, k1, k2, k3 = kernel[o, c, d], kernel[o + 1, c, d], kernel[o + 2, c, d], kernel[o + 3, c, d]
                    l0, l1, l2, l3 = k0[0], k1[0], k2[0], k3[0]
                    m0, m1, m2, m3 = k0[1], k1[1], k2[1], k3[1]
                    r0, r1, r2, r3 = k0[2], k1[2], k2[2], k3[2]
                    for b in range(n_b):
                        left, here, right = line[b], line[b + 1], line[b + 2]
                        s0[b] += l0 * left + m0 * here + r0 * right
                        s1[b] += l1 * left + m1 * here + r1 * right
                        s2[b] += l2 * left + m2 * here + r2 * right
                        s3[b] += l3 * left + m3 * here + r3 * right
            for i in range(4):
                row = out[o + i, a + 1]
                for b in range(n_b):
                    value = sums[i, b]
                    row[b + 1] = max(value, np.float32(0)) if rectify else value


def convolved(source: Float, kernel: Float, bias: Float, *, rectify: bool, workers: int = 1) -> Float:
    """(out, a + 2, b + 2) of (in, a + 2, b + 2): 3 x 3 cross-correlation, zeros beyond the edge, then max(., 0) if `rectify`.

    Both arrays carry a rim of zeros of one pixel, so that layers follow each other without copies.
    """
    n_out = len(kernel)
    lack = -n_out % LANES
    if lack:
        kernel = np.concatenate([kernel, np.zeros((lack, *kernel.shape[1:]), np.float32)])
        bias = np.concatenate([bias, np.zeros(lack, np.float32)])
    out = np.zeros((n_out + lack, *source.shape[1:]), np.float32)
    n_a = source.shape[1] - 2
    if workers == 1:
        _convolve(source, kernel, bias, rectify, 0, n_a, out)
    else:
        edges = np.linspace(0, n_a, workers + 1).astype(int)
        with ThreadPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(_convolve, source, kernel, bias, rectify, int(lo), int(hi), out)
                for lo, hi in pairwise(edges)
            ]
            for job in jobs:
                job.result()
    return out[:n_out]


def folded(image: Float) -> Float:
    """(4 c, a/2, b/2) of (c, a, b): the four pixels of each square as channels, those of a channel side by side."""
    c, a, b = image.shape
    return np.ascontiguousarray(
        image.reshape(c, a // 2, 2, b // 2, 2).transpose(0, 2, 4, 1, 3).reshape(4 * c, a // 2, b // 2)
    )


def unfolded(channels: Float) -> Float:
    """The inverse of `folded`."""
    c, a, b = channels.shape
    return np.ascontiguousarray(
        channels.reshape(c // 4, 2, 2, a, b).transpose(0, 3, 1, 4, 2).reshape(c // 4, 2 * a, 2 * b)
    )


def denoised(
    image: NDArray[np.complex64],
    least: NDArray[np.complex64],
    memory: Float,
    turn: Turn,
    noise: float,
    fraction: float,
    *,
    workers: int = 1,
) -> tuple[NDArray[np.complex64], Float]:
    """One network: `image` and least squares (a, b) with even a and b, and the memory (MEMORY, a/2, b/2); image and memory anew."""
    parts = folded(np.stack([image.real, image.imag, least.real, least.imag]))
    a, b = parts.shape[1:]
    layer = np.zeros((TOLD + MEMORY, a + 2, b + 2), np.float32)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    layer[inner][:16] = parts
    layer[inner][16] = told_noise(noise)
    layer[inner][17] = fraction
    layer[inner][TOLD:] = memory
    last = len(turn.kernels) - 1
    for i, (kernel, bias) in enumerate(zip(turn.kernels, turn.biases, strict=True)):
        layer = convolved(layer, kernel, bias, rectify=i < last, workers=workers)
    layer = layer[inner]
    real, imaginary = unfolded(layer[:8])
    return image + (real + 1j * imaginary).astype(np.complex64), np.ascontiguousarray(layer[8:])


def told_noise(noise: float) -> float:
    """What the network is told of the noise, relative to the image's scale."""
    return float(np.log(min(max(noise, 3e-3), 0.3) / 0.03))


def least_squares(sense: CartesianSense, right: Array) -> Array:
    """(plane, set, a, b) by few conjugate gradients: true to the data, noisy, and folded where they do not suffice."""
    return conjugate_gradient(sense.normal, right, iterations=LEAST_STEPS, ridge=LEAST_RIDGE, tolerance=0.0)


def first_image(sense: CartesianSense, right: Array, noise: float, least: Array) -> Array:
    """What the first turn starts from: compressed sensing, its weight by the rule of regularisation.py, begun at `least`."""
    weight = sparse_weight(noise, float(sense.mask.mean()))
    return fista(
        sense.normal, right, Wavelet((2, 3), SPARSE_FAMILY), weight,
        iterations=SPARSE_STEPS, start=least, averaged=SPARSE_AVERAGED,
    )  # fmt: skip


def scale_of(image: Array) -> float:
    """The root mean square of the brightest twentieth of the pixels; 1 of an empty image."""
    energy = (np.abs(image) ** 2).ravel()
    n = max(energy.size // BRIGHTEST, 1)
    return float(np.sqrt(np.mean(np.partition(energy, energy.size - n)[-n:]))) or 1.0


def unrolled(
    sense: CartesianSense,
    right: NDArray[np.complex64],
    noise: float,
    weights: Weights,
    *,
    least: Array | None = None,
    start: Array | None = None,
    scale: float | None = None,
    orientations: int = ORIENTATIONS,
    workers: int = 1,
    watch: Callable[[int, Array], object] | None = None,
) -> NDArray[np.complex64]:
    """(plane, set, a, b) from A' y of one plane and one set of maps; `noise` is a sample's standard deviation.

    `least`, `start` and `scale` are those of `least_squares`, `first_image` and `scale_of` unless given: planes of a volume share a scale.
    Networks see the image in quarter turns, `orientations` of them, and their answers are averaged: what they would say of directions or of the
    fold alone cancels. `watch(i, image)` is called after every turn, in the units of `right`.
    """
    least = least_squares(sense, right) if least is None else least
    scale = scale_of(least) if scale is None else scale
    image = (first_image(sense, right, noise, least) if start is None else start) / np.float32(scale)
    shape = right.shape[2:]
    inside = np.any(sense.maps[0, 0] != 0, axis=0)
    right = right / np.float32(scale)
    level, fraction = noise / scale, float(sense.mask.mean())
    given = _evened(least[0, 0] / np.float32(scale))
    half = (given.shape[0] // 2, given.shape[1] // 2)
    memory = [np.zeros((MEMORY, *(half[::-1] if q % 2 else half)), np.float32) for q in range(orientations)]
    for i, turn in enumerate(weights.turns):
        seen, better = _evened(image[0, 0]), np.zeros_like(given)
        for q in range(orientations):
            answer, memory[q] = denoised(
                np.rot90(seen, q), np.rot90(given, q), memory[q], turn, level, fraction, workers=workers
            )
            better += np.rot90(answer, -q) / np.float32(orientations)
        better = better[: shape[0], : shape[1]] * inside
        ridge = float(np.exp(turn.trust[0] + turn.trust[1] * told_noise(level)))
        image = conjugate_gradient(
            sense.normal, right + np.float32(ridge) * better[None, None], iterations=STEPS, ridge=ridge,
            start=better[None, None], tolerance=0.0,
        ).astype(np.complex64)  # fmt: skip
        if watch is not None:
            watch(i, image * np.float32(scale))
    return image * np.float32(scale)


def _evened(image: Array) -> NDArray[np.complex64]:
    """(a, b) with a line of zeros where a length is odd."""
    out = np.zeros([n + n % 2 for n in image.shape], np.complex64)
    out[: image.shape[0], : image.shape[1]] = image
    return out
