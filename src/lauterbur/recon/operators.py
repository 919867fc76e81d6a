"""Operators on plain arrays: each has `forward` and `adjoint`, some a faster `normal`; `Chain` composes them.

    encoding = Chain(Sampled(mask), Fourier((1, 2)), Sensitivity(maps))   # right to left, as in a formula
    image = conjugate_gradient(normal_of(encoding), encoding.adjoint(samples))

Images are (..., z, y, x) or (..., y, x) with any leading axes; transforms are orthonormal and centred as in fft.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from lauterbur.recon.fft import fft, ifft

Array = NDArray[np.complexfloating[Any, Any]]


class Operator(Protocol):
    """A linear map and its adjoint: <A x, y> = <x, A' y>."""

    def forward(self, image: Array) -> Array: ...

    def adjoint(self, samples: Array) -> Array: ...


@dataclass(frozen=True)
class Chain:
    """The product of operators: the last is applied first."""

    operators: tuple[Operator, ...]

    def __init__(self, *operators: Operator):
        object.__setattr__(self, "operators", operators)

    def forward(self, image: Array) -> Array:
        for one in reversed(self.operators):
            image = one.forward(image)
        return image

    def adjoint(self, samples: Array) -> Array:
        for one in self.operators:
            samples = one.adjoint(samples)
        return samples


def normal_of(operator: Operator) -> Callable[[Array], Array]:
    """A' A: the operator's own where it has one, else forward and adjoint."""
    own = getattr(operator, "normal", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    return lambda image: operator.adjoint(operator.forward(image))


@dataclass(frozen=True)
class Fourier:
    """The centred orthonormal transform along `axes`: image to k-space."""

    axes: tuple[int, ...]

    def forward(self, image: Array) -> Array:
        return fft(image, self.axes)

    def adjoint(self, samples: Array) -> Array:
        return ifft(samples, self.axes)


@dataclass(frozen=True)
class Sampled:
    """What was measured: values where the mask is true, else 0. The mask is broadcast from the right."""

    mask: NDArray[Any]

    def forward(self, image: Array) -> Array:
        return image * self.mask.astype(np.float32)

    def adjoint(self, samples: Array) -> Array:
        return samples * self.mask.astype(np.float32)


@dataclass(frozen=True)
class Sensitivity:
    """Receivers' views (..., rx, *image) of images (..., set, *image): the sum over sets of maps (set, rx, *image) times image."""

    maps: NDArray[np.complex64]

    def forward(self, image: Array) -> Array:
        axis = image.ndim - (self.maps.ndim - 2) - 1  # of the sets
        return np.sum(self.maps * np.expand_dims(image, axis + 1), axis=axis)

    def adjoint(self, samples: Array) -> Array:
        axis = samples.ndim - (self.maps.ndim - 2) - 1  # of the receivers
        return np.sum(self.maps.conj() * np.expand_dims(samples, axis), axis=axis + 1)


@dataclass(frozen=True)
class Subspace:
    """Coefficients (component, ...) to frames (frame, ...): the course of the signal in an orthonormal basis (frame, component).

    Decay or recovery curves of all tissues lie near few dimensions (Tamir et al. 2017, MRM 77:180).
    """

    basis: NDArray[np.complex64]

    def forward(self, image: Array) -> Array:
        return np.tensordot(self.basis, image, axes=(1, 0))

    def adjoint(self, samples: Array) -> Array:
        return np.tensordot(self.basis.conj().T, samples, axes=(1, 0))


@dataclass(frozen=True)
class Phase:
    """A real image to a complex one of known phase (y, x) or (z, y, x): partial Fourier as a linear problem.

    The adjoint keeps the real part, so adjointness holds over the reals: Re<A x, y> = <x, A' y>.
    """

    phase: NDArray[np.complex64]  # of modulus 1

    def forward(self, image: Array) -> Array:
        return self.phase * image.real

    def adjoint(self, samples: Array) -> Array:
        return np.asarray((self.phase.conj() * samples).real + 0j, samples.dtype)


@dataclass(frozen=True)
class OffResonance:
    """Encoding while spins precess: sum over segments of weights (segment, time) times `encode` of image times turns.

    exp(-2 pi i f(r) t) is a short sum of products of functions of r and of t (time segmentation, Noll et al. 1991, IEEE TMI 10:629; here with
    the least-squares weights of Sutton et al. 2003, IEEE TMI 22:178). `encode` maps (*image) to (..., time).
    """

    encode: Operator
    turns: NDArray[np.complex64]  # (segment, *image)
    weights: NDArray[np.complex64]  # (segment, time)

    def forward(self, image: Array) -> Array:
        total: Any = 0
        for turn, weight in zip(self.turns, self.weights, strict=True):
            total = total + weight * self.encode.forward(turn * image)
        return np.asarray(total)

    def adjoint(self, samples: Array) -> Array:
        total: Any = 0
        for turn, weight in zip(self.turns, self.weights, strict=True):
            total = total + turn.conj() * self.encode.adjoint(weight.conj() * samples)
        return np.asarray(total)


def off_resonance_operator(
    encode: Operator, frequency: NDArray[np.floating[Any]], time: NDArray[np.floating[Any]], tolerance: float = 1e-3
) -> OffResonance:
    """`encode` with off-resonance `frequency` (*image) Hz at the `time` (time,) s of each sample; as many segments as needed.

    A positive frequency turns as exp(-2 pi i f t), in the sense of the gradients. `tolerance`: root mean square error over
    the frequencies present.
    """
    time, each = np.unique(np.round(np.asarray(time, float), 9), return_inverse=True)  # readouts share their times
    span = float(np.ptp(time))
    low, high = float(np.min(frequency)), float(np.max(frequency))
    bins = np.linspace(low, high, 256) if high > low else np.array([low])
    exact = np.exp(-2j * np.pi * np.outer(bins, time))
    for n in range(1, 257):
        nodes = np.min(time) + span * (np.arange(n) + 0.5) / n
        at_nodes = np.exp(-2j * np.pi * np.outer(bins, nodes))
        weights = scipy.linalg.lstsq(at_nodes, exact, cond=1e-7)[0]
        if np.sqrt(np.mean(np.abs(at_nodes @ weights - exact) ** 2)) <= tolerance:
            break
    turns = np.exp(-2j * np.pi * frequency * nodes.reshape(-1, *[1] * frequency.ndim)).astype(np.complex64)
    return OffResonance(encode, turns, weights[:, each.ravel()].astype(np.complex64))


def subspace_basis(curves: NDArray[np.floating[Any]], n_components: int) -> NDArray[np.complex64]:
    """(frame, component): the strongest directions of signal curves (curve, frame), e.g. exp(-te / T2) of many T2."""
    return np.linalg.svd(curves, full_matrices=False)[2][:n_components].T.astype(np.complex64)
