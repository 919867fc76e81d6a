"""What shim coils make: solid harmonics, and the currents in coils that leave least of a field, within their limits.

    terms = best_terms(field, position, 2)                        # of ideal coils, Hz/m^degree each: what they add
    terms = best_terms(field, position, 2, limits={"z2": 2000})   # Hz/m^2: what a coil can do
    with_terms(off_resonance, affine, terms)                      # the map with them on
    solve_currents(field, basis, low, high)                       # measured coils, plain arrays

Bounded least squares (scipy's lsq_linear).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import lsq_linear

from lauterbur.errors import InputError
from lauterbur.scanner.machine import Scanner
from lauterbur.units import GAMMA_BAR

Float = NDArray[np.float64]

NAMES = ("f0", "x", "y", "z", "z2", "xz", "yz", "x2-y2", "xy")
DEGREES = (0, 1, 1, 1, 2, 2, 2, 2, 2)
COUNTS = {0: 1, 1: 4, 2: 9}  # terms up to an order
SCALE = 0.1  # m: conditions the fit
MOST_VOXELS = 200_000
RIDGE = 1e-7  # of a column's norm: terms that nothing tells apart share what they make


def solid_harmonics(position: NDArray, order: int) -> list[NDArray]:
    """The real solid harmonics up to an order of 0 to 2 at (..., 3) in m: what shim coils make (Romeo and Hoult, MRM 1984, 1:44)."""
    x, y, z = (position[..., axis] for axis in range(3))
    terms = [np.ones_like(x)]
    if order >= 1:
        terms += [x, y, z]
    if order >= 2:
        terms += [z**2 - (x**2 + y**2) / 2, x * z, y * z, x**2 - y**2, x * y]
    return terms


def best_terms(
    field: ArrayLike,
    position: Float,
    order: int,
    *,
    limits: Mapping[str, float] | None = None,
    usual: Float | None = None,
) -> Float:
    """(term,) Hz/m^degree, as NAMES: what coils add so that field (voxel,) Hz at position (voxel, 3) m is smallest by least squares.

    order: 0 (frequency), 1 (linear) or 2; limits: the largest of a term either way, Hz/m^degree. A term that is flat over
    the voxels stays at its `usual` value, else at 0: the frequency does the same.
    """
    names = names_of(order)
    unknown = sorted(set(limits or {}) - set(names))
    if unknown:
        raise InputError(f"limits name {', '.join(unknown)}; the terms of order {order} are {', '.join(names)}")
    scale = SCALE ** np.array(DEGREES[: len(names)], float)
    most = np.array([(limits or {}).get(name, np.inf) for name in names]) * scale
    basis = np.stack(solid_harmonics(position / SCALE, order), axis=-1)
    start = np.zeros(len(names)) if usual is None else usual * scale
    low, high = -most - start, most - start
    flat = np.ptp(basis, axis=0) < 1e-6 * np.max(np.abs(basis), initial=1.0)
    flat[0] = False
    low[flat] = high[flat] = 0.0
    return (start + solve_currents(np.asarray(field, float) + basis @ start, basis, low, high)) / scale


def names_of(order: int) -> tuple[str, ...]:
    if order not in COUNTS:
        raise InputError(f"B0 shim order {order}; possible are 0 (frequency), 1 (linear) and 2 (second order)")
    return NAMES[: COUNTS[order]]


def shim_limits(scanner: Scanner, order: int) -> dict[str, float]:
    """Hz/m^degree, of the terms up to an order that have a limit."""
    if not order <= scanner.shim_coils.order:
        raise InputError(
            f"B0 shim order {order}; scanner {scanner.name} has shim coils up to order {scanner.shim_coils.order}"
        )
    return {n: most * GAMMA_BAR for n, most in scanner.shim_coils.limits.items() if n in names_of(order)}


def solve_currents(field: ArrayLike, basis: ArrayLike, low: ArrayLike = -np.inf, high: ArrayLike = np.inf) -> Float:
    """(coil,): currents that make field + basis @ currents smallest by least squares; basis (voxel, coil) per unit current."""
    f, a = np.asarray(field, float), np.asarray(basis, float)
    if f.ndim != 1 or a.ndim != 2 or len(a) != len(f) or 0 in a.shape:
        raise InputError(f"field {f.shape} and basis {a.shape} must be (voxel,) and (voxel, coil), not empty")
    if not (np.isfinite(f).all() and np.isfinite(a).all()):
        raise InputError("field or basis holds values that are not finite; mask them out")
    lows, highs = (np.broadcast_to(np.asarray(limit, float), a.shape[1:]) for limit in (low, high))
    if not np.all(lows <= highs):
        raise InputError("a lower limit of a current lies above its upper limit")
    step = max(1, len(f) // MOST_VOXELS)
    f, a = f[::step], a[::step]
    fixed = lows == highs
    currents = np.where(fixed, lows, 0.0)
    free = ~fixed
    size = np.maximum(np.linalg.norm(a, axis=0), 1e-300)
    if free.any():
        rest = -f - a[:, fixed] @ currents[fixed]
        n = int(free.sum())
        scaled = np.concatenate((a[:, free] / size[free], RIDGE * np.eye(n)))
        bounds = (lows[free] * size[free], highs[free] * size[free])
        solved = lsq_linear(scaled, np.concatenate((rest, np.zeros(n))), bounds, lsq_solver="exact")
        currents[free] = np.clip(solved.x / size[free], lows[free], highs[free])
    return currents


def with_terms(
    off_resonance: NDArray[np.float32],
    affine: NDArray[np.float64],
    terms: Float,
    which: Callable[[Float], NDArray[np.intp]] | None = None,
) -> NDArray[np.float32]:
    """The map (z, y, x) Hz with what coils add: terms (term,) Hz/m^degree, or (row, term) and `which` row acts at (voxel, 3) m."""
    rows = np.atleast_2d(terms)
    order = {count: order for order, count in COUNTS.items()}[rows.shape[1]]
    result = np.empty_like(off_resonance)
    i_y, i_x = np.meshgrid(*(np.arange(n) for n in off_resonance.shape[1:]), indexing="ij")
    for i_z in range(len(result)):
        place = np.stack([i_x, i_y, np.full_like(i_x, i_z)], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
        here = rows[0] if which is None else rows[which(place.reshape(-1, 3))].reshape(*i_x.shape, -1)
        harmonics = solid_harmonics(place, order)
        added = sum(here[..., i] * term for i, term in enumerate(harmonics))
        result[i_z] = off_resonance[i_z] + added
    return result


def adjusted(
    off_resonance: NDArray[np.float32],
    region: NDArray[np.bool_],
    affine: NDArray[np.float64],
    order: int,
    limits: Mapping[str, float] | None = None,
) -> tuple[NDArray[np.float32], Float]:
    """The map (z, y, x) after a shim over the region (z, y, x), and what the coils add to it, as `best_terms`."""
    used = thinned(np.flatnonzero(region))
    if not len(used):
        raise InputError("nothing in the subject gives signal where the shim should be adjusted")
    index = np.stack(np.unravel_index(used, off_resonance.shape)[::-1], axis=-1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    terms = best_terms(off_resonance.reshape(-1)[used], place, order, limits=limits)
    return with_terms(off_resonance, affine, terms), terms


def thinned(index: NDArray[np.intp]) -> NDArray[np.intp]:
    """Every so many, where they are very many."""
    return index[:: max(1, len(index) // MOST_VOXELS)]
