"""Solvers on plain arrays: conjugate gradients, FISTA with restart, and a primal-dual one for priors behind an operator.

    conjugate_gradient(normal, right)                       # normal(x) + ridge x = right
    fista(normal, right, Wavelet((1, 2)), weight=0.01)      # least squares + weight * |wavelets of x|_1
    primal_dual(normal, right, TotalVariation((1, 2)), weight=0.01)

All take A' A and A' y, so that no solver knows how data were sampled. Each calls `watch(i, image)` after every iteration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.shifts import Shifts

Array = NDArray[np.complexfloating[Any, Any]]
Normal = Callable[[Array], Array]
Watch = Callable[[int, Array], object]
TINY = 1e-37  # about the smallest number of single precision


@dataclass
class Convergence:
    """A `watch` that keeps how far the last step went, how large the image is, and how many steps there were."""

    moved: float = 0.0  # norm of the last step
    size: float = 0.0  # norm of the image
    steps: int = 0
    last: Array | None = None

    def __call__(self, i: int, image: Array) -> None:
        if self.last is not None:
            self.moved = float(np.linalg.norm(image - self.last))
        self.size, self.steps, self.last = float(np.linalg.norm(image)), i + 1, image.copy()


class Prior(Protocol):
    """What images are like: `prox(x, t)` is the image nearest to x at cost t, in place of x where it can."""

    def prox(self, image: Array, threshold: float, shifts: Shifts) -> Array: ...


class AnalysisPrior(Protocol):
    """What images are like behind a linear operator: `analyse`, its adjoint, and the projection onto the dual ball."""

    squared_norm: float  # of the operator, from above

    def analyse(self, image: Array) -> Array: ...

    def synthesise(self, dual: Array) -> Array: ...

    def project(self, dual: Array, weight: float) -> Array: ...


def dot(a: Array, b: Array) -> float:
    """Re <a, b>, gathered in double precision by BLAS over blocks."""
    x, y = a.ravel(), b.ravel()
    return float(sum(np.vdot(x[i : i + 65536], y[i : i + 65536]).real for i in range(0, x.size, 65536)))


def conjugate_gradient(
    normal: Normal,
    right: Array,
    *,
    iterations: int = 20,
    tolerance: float = 1e-4,
    ridge: float = 0.0,
    start: Array | None = None,
    precondition: Callable[[Array], Array] | None = None,
    watch: Watch | None = None,
    misfit: tuple[float, float] | None = None,
) -> Array:
    """x with normal(x) + ridge x = right (Hestenes and Stiefel 1952); ends when the residual is `tolerance` of `right`.

    `misfit`: |A x - y|^2 at the start, and what noise makes of it; no more than that is left when iterations end (Morozov 1966).
    """
    image = np.zeros_like(right) if start is None else start.copy()
    residual = right.copy() if start is None else right - normal(image) - ridge * image
    turned = residual if precondition is None else precondition(residual)
    direction, slope = turned.copy(), dot(residual, turned)
    enough = tolerance**2 * max(dot(right, right), TINY)
    left, noise = (np.inf, -np.inf) if misfit is None else misfit
    for i in range(iterations):
        if not dot(residual, residual) > enough or left <= noise:
            break
        image_of = normal(direction)
        if ridge:
            image_of = image_of + np.float32(ridge) * direction
        curvature = dot(direction, image_of)
        if not curvature > 0:
            break
        step = np.float32(slope / curvature)
        left -= float(step) * slope  # of the quadratic that every step goes down
        image += step * direction
        residual -= step * image_of
        turned = residual if precondition is None else precondition(residual)
        before, slope = slope, dot(residual, turned)
        direction *= np.float32(slope / before)
        direction += turned
        if watch is not None:
            watch(i, image)
    return image


def largest_eigenvalue(normal: Normal, like: Array, iterations: int = 15, seed: int = 0) -> float:
    """Of a positive normal operator, by power iteration and 2 % above it: the step of the solvers below is its inverse."""
    rng = np.random.default_rng(seed)
    vector = (rng.normal(size=like.shape) + 1j * rng.normal(size=like.shape)).astype(like.dtype)
    value = 0.0
    for _ in range(iterations):
        vector /= max(float(np.linalg.norm(vector)), TINY)
        vector = normal(vector)
        value = float(np.linalg.norm(vector))
    return 1.02 * value


def fista(
    normal: Normal,
    right: Array,
    prior: Prior,
    weight: float,
    *,
    iterations: int = 40,
    lipschitz: float = 1.0,
    start: Array | None = None,
    seed: int = 0,
    tolerance: float = 0.0,
    averaged: int = 1,
    watch: Watch | None = None,
) -> Array:
    """argmin 1/2 |A x - y|^2 + weight * prior(x), by accelerated proximal gradients (Beck and Teboulle 2009, SIAM J Imaging Sci 2:183).

    Momentum restarts where it points uphill (O'Donoghue and Candes 2015, Found Comput Math 15:715). `lipschitz` bounds the
    eigenvalues of `normal`: 1 for orthonormal transforms and maps of unit norm. Ends early when a step is `tolerance` of the image. Of a prior
    whose shifts go round, little of what one of them leaves is left in the mean of the `averaged` last images, which are kept for it.
    """
    shifts, last = Shifts(seed), deque[Array](maxlen=averaged)
    step = np.float32(1 / lipschitz)
    image = (right * step) if start is None else start.copy()
    ahead, momentum = image, 1.0
    for i in range(iterations):
        trial = normal(ahead)
        trial -= right
        trial *= -step
        trial += ahead
        new = prior.prox(trial, weight / lipschitz, shifts)
        change = new - image
        is_uphill = i > 0 and dot(ahead - new, change) > 0
        following = 1.0 if is_uphill else (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new if is_uphill else new + np.float32((momentum - 1) / following) * change
        image, momentum = new, following
        last.append(image)
        if watch is not None:
            watch(i, image)
        if tolerance and dot(change, change) <= tolerance**2 * dot(image, image):
            break
    return image if len(last) < 2 else np.asarray(sum(last) / np.float32(len(last)), image.dtype)


def primal_dual(
    normal: Normal,
    right: Array,
    prior: AnalysisPrior,
    weight: float,
    *,
    iterations: int = 60,
    lipschitz: float = 1.0,
    start: Array | None = None,
    watch: Watch | None = None,
) -> Array:
    """argmin 1/2 |A x - y|^2 + weight * |D x| (Condat 2013, J Optim Theory Appl 158:460; Vu 2013), D the prior's operator."""
    image = right.copy() if start is None else start.copy()
    dual = np.zeros_like(prior.analyse(image))
    sigma = 0.5 * lipschitz / prior.squared_norm
    tau = np.float32(0.99 / (lipschitz / 2 + sigma * prior.squared_norm))
    for i in range(iterations):
        new = image - tau * (normal(image) - right + prior.synthesise(dual))
        dual = prior.project(dual + np.float32(sigma) * prior.analyse(2 * new - image), weight)
        image = new
        if watch is not None:
            watch(i, image)
    return image
