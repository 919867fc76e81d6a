"""Low rank over frames: image series whose courses in time are few, locally or everywhere, with or without a sparse rest.

Images are (frame, ...). `LocallyLowRank` shrinks the singular values of blocks x frames, the blocks each time elsewhere
(Zhang et al. 2015, MRM 73:655); `low_rank_plus_sparse` splits a still background from what moves (Otazo et al. 2015, MRM 73:1125).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.shifts import Shifts
from lauterbur.recon.solvers import Array, Normal, Prior, Watch


def shrunk(matrices: NDArray[Any], threshold: float) -> NDArray[Any]:
    """(..., frame, n) with singular values shrunk by `threshold`, through the small Gram matrix of frames."""
    gram = matrices @ matrices.conj().swapaxes(-1, -2)
    energy, vectors = np.linalg.eigh(gram)
    value = np.sqrt(np.maximum(energy, 0))
    gain = np.maximum(1 - threshold / np.maximum(value, 1e-20), 0)
    keep = (vectors * gain[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
    return np.asarray(keep @ matrices, matrices.dtype)


@dataclass(frozen=True)
class LocallyLowRank:
    """Blocks of `block` voxels along every spatial axis longer than that, all frames (axis 0) of each."""

    block: int = 8

    def prox(self, image: Array, threshold: float, shifts: Shifts) -> Array:
        shape = image.shape[1:]
        width = [min(self.block, n) for n in shape]
        axes = tuple(range(1, image.ndim))
        shift = shifts.next(shape)
        pad = [(-n) % w for n, w in zip(shape, width, strict=True)]
        moved = np.pad(np.roll(image, shift, axes), [(0, 0), *[(0, p) for p in pad]])
        split = [n for m, w in zip(moved.shape[1:], width, strict=True) for n in (m // w, w)]
        order = [1 + 2 * i for i in range(len(shape))] + [0] + [2 + 2 * i for i in range(len(shape))]
        blocks = moved.reshape(len(image), *split).transpose(order)
        matrices = blocks.reshape(int(np.prod(blocks.shape[: len(shape)])), len(image), -1)
        back = shrunk(matrices, threshold).reshape(blocks.shape).transpose(np.argsort(order)).reshape(moved.shape)
        inner = (slice(None), *[slice(0, n) for n in shape])
        return np.roll(back[inner], [-s for s in shift], axes)


@dataclass(frozen=True)
class LowRank:
    """All voxels x frames (axis 0) as one matrix."""

    def prox(self, image: Array, threshold: float, shifts: Shifts) -> Array:
        return shrunk(image.reshape(len(image), -1), threshold).reshape(image.shape)


@dataclass(frozen=True)
class SparseInTime:
    """Few temporal frequencies: soft threshold of the transform along frames (axis 0)."""

    def prox(self, image: Array, threshold: float, shifts: Shifts) -> Array:
        spectrum = np.fft.fft(image, axis=0, norm="ortho")
        size = np.abs(spectrum)
        spectrum *= np.maximum(1 - threshold / np.maximum(size, 1e-20), 0)
        return np.asarray(np.fft.ifft(spectrum, axis=0, norm="ortho"), image.dtype)


def low_rank_plus_sparse(
    normal: Normal,
    right: Array,
    *,
    low_rank: float,
    sparse: float,
    iterations: int = 50,
    lipschitz: float = 1.0,
    rest: Prior | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> tuple[Array, Array]:
    """Background and dynamics (frame, ...), their sum fitting the data: proximal gradients on both, half a step each.

    `low_rank` is the weight of the background's singular values, `sparse` that of `rest` (unless given sparse in time).
    """
    shifts = Shifts(seed)
    still, moving = LowRank(), SparseInTime() if rest is None else rest
    step = np.float32(0.5 / lipschitz)  # the sum of two images doubles the curvature
    background, dynamics = right * step, np.zeros_like(right)
    for i in range(iterations):
        gradient = step * (normal(background + dynamics) - right)
        background = still.prox(background - gradient, low_rank * float(step), shifts)
        dynamics = moving.prox(dynamics - gradient, sparse * float(step), shifts)
        if watch is not None:
            watch(i, background + dynamics)
    return background, dynamics
