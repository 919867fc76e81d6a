"""Laws that hold for whole families, stated once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def random_complex(shape: tuple[int, ...], seed: int, dtype: type = np.complex64) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def assert_adjoint(
    forward: Callable[[NDArray[Any]], NDArray[Any]],
    adjoint: Callable[[NDArray[Any]], NDArray[Any]],
    domain: tuple[int, ...],
    codomain: tuple[int, ...],
    *,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> None:
    """<A x, y> = <x, A' y> for random x and y."""
    x, y = random_complex(domain, seed), random_complex(codomain, seed + 1)
    ax, aty = forward(x), adjoint(y)
    assert ax.shape == codomain and aty.shape == domain
    left, right = np.vdot(y, ax), np.vdot(aty, x)
    assert abs(left - right) <= tolerance * np.linalg.norm(ax) * np.linalg.norm(y)


def assert_unitary(
    forward: Callable[[NDArray[Any]], NDArray[Any]],
    inverse: Callable[[NDArray[Any]], NDArray[Any]],
    shape: tuple[int, ...],
    *,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> None:
    """The inverse is the adjoint, and energy is kept (Parseval)."""
    x = random_complex(shape, seed)
    there = forward(x)
    assert np.allclose(inverse(there), x, atol=tolerance * np.abs(x).max())
    assert np.isclose(np.linalg.norm(there), np.linalg.norm(x), rtol=tolerance)
    assert_adjoint(forward, inverse, shape, shape, seed=seed, tolerance=tolerance)
