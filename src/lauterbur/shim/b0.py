"""Shim of the static field: what the shim coils add so that the off-resonance is small over the target.

    design_b0(fields, target, order=2)                                       # ideal coils up to second order
    design_b0(fields, target, order=2, limits={"z2": 2000})                  # Hz/m^2: what a coil can do
    design_b0(fields, target, order=1, slices=slices)                        # other currents in every slice
    shimmed_fields(fields, b0)                                               # the fields with it on
    solve_currents(field, basis, low, high)                                  # plain arrays: measured coils

Bounded least squares (scipy's lsq_linear). Ideal coils make the solid harmonics (fields/susceptibility.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import lsq_linear

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.fields.susceptibility import solid_harmonics
from lauterbur.shim.slices import Slices, members, nearest_filled, nearest_slice
from lauterbur.shim.target import positions, site

Float = NDArray[np.float64]
NAMES = ("f0", "x", "y", "z", "z2", "xz", "yz", "x2-y2", "xy")
DEGREES = (0, 1, 1, 1, 2, 2, 2, 2, 2)
COUNTS = {0: 1, 1: 4, 2: 9}
SCALE = 0.1  # m: conditions the fit
MOST_VOXELS = 100_000


@dataclass(frozen=True, eq=False)
class B0Shim:
    names: tuple[str, ...]  # of the terms, see NAMES
    coefficients: Float  # Hz/m^degree that the coils add, (term,) or (slice, term)
    slices: Slices | None
    spread_before: float  # Hz, standard deviation over the target
    spread_after: float  # Hz


def design_b0(
    fields: FieldMaps,
    target: NDArray[np.bool_] | str | None = None,
    *,
    order: int = 2,
    limits: Mapping[str, float] | None = None,
    slices: Slices | None = None,
) -> B0Shim:
    if order not in COUNTS:
        raise InputError(f"B0 shim order {order}; possible are 0 (frequency), 1 (linear) and 2 (second order)")
    names = NAMES[: COUNTS[order]]
    unknown = sorted(set(limits or {}) - set(names))
    if unknown:
        raise InputError(f"limits name {', '.join(unknown)}; the terms of order {order} are {', '.join(names)}")
    scale = SCALE ** np.array(DEGREES[: len(names)], float)
    most = np.array([(limits or {}).get(name, np.inf) for name in names]) * scale
    place = site(fields, target)
    basis = np.stack(solid_harmonics(place.position / SCALE, order), axis=-1)
    groups = [np.arange(len(basis))] if slices is None else members(slices, place.position)
    source = nearest_filled(groups)

    found = {}
    left = np.zeros(0)
    for i in sorted(set(source)):
        here = groups[i]
        held = basis[here].copy()
        bound = most.copy()
        spread = np.ptp(held, axis=0)
        bound[1:][spread[1:] < 1e-6 * np.max(np.abs(held), initial=1.0)] = 0.0  # a term that is flat in this slice
        found[i] = solve_currents(place.off_resonance[here], held, -bound, bound)
        left = np.concatenate((left, place.off_resonance[here] + held @ found[i]))
    coefficients = np.array([found[i] for i in source]) / scale
    seen = place.off_resonance[np.unique(np.concatenate([groups[i] for i in sorted(set(source))]))]
    return B0Shim(
        names, coefficients[0] if slices is None else coefficients, slices, float(seen.std()), float(left.std())
    )


def solve_currents(field: ArrayLike, basis: ArrayLike, low: ArrayLike = -np.inf, high: ArrayLike = np.inf) -> Float:
    """(coil,): currents that make field + basis @ currents smallest by least squares; basis (voxel, coil) per unit current."""
    f, a = np.asarray(field, float), np.asarray(basis, float)
    if f.ndim != 1 or a.ndim != 2 or len(a) != len(f) or 0 in a.shape:
        raise InputError(f"field {f.shape} and basis {a.shape} must be (voxel,) and (voxel, coil), not empty")
    if not (np.isfinite(f).all() and np.isfinite(a).all()):
        raise InputError("field or basis holds values that are not finite; mask them out")
    lows, highs = (
        np.broadcast_to(np.asarray(low, float), a.shape[1:]),
        np.broadcast_to(np.asarray(high, float), a.shape[1:]),
    )
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
        scaled = a[:, free] / size[free]
        solved = lsq_linear(scaled, rest, (lows[free] * size[free], highs[free] * size[free]), lsq_solver="exact")
        currents[free] = np.clip(solved.x / size[free], lows[free], highs[free])
    return currents


def shimmed_fields(fields: FieldMaps, b0: B0Shim) -> FieldMaps:
    """The same fields with the shim coils on; between slices as in the nearest one."""
    order = max(DEGREES[NAMES.index(name)] for name in b0.names)
    shape = fields.off_resonance.shape
    rows = np.atleast_2d(b0.coefficients)
    result = np.empty_like(fields.off_resonance)
    for i_z in range(shape[0]):
        index = np.arange(i_z * shape[1] * shape[2], (i_z + 1) * shape[1] * shape[2])
        place = positions(fields.affine, shape, index)
        which = nearest_slice(b0.slices, place)
        terms = np.stack(solid_harmonics(place, order), axis=-1)
        added = np.einsum("vt,vt->v", terms, rows[which])
        result[i_z] = fields.off_resonance[i_z] + added.reshape(shape[1:]).astype(np.float32)
    return replace(fields, off_resonance=result, provenance={**fields.provenance, "b0_shim": list(b0.names)})
