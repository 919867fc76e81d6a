"""Shim of the static field: what the shim coils add so that the off-resonance is small over the target.

    design_b0(fields, target, order=2)                                       # ideal coils up to second order
    design_b0(fields, target, order=2, limits={"z2": 2000})                  # Hz/m^2: what a coil can do
    design_b0(fields, target, order=1, slices=slices)                        # other currents in every slice
    prescan_b0(fields, scanner, target)                                      # this scanner's coils, within their limits
    prescan_b0(fields, scanner, target, slices=slices)                       # what can be switched, slice by slice
    shimmed_fields(fields, b0)                                               # the fields with it on
    solve_currents(field, basis, low, high)                                  # plain arrays: measured coils

Coils that are on already (`fields.shim`) are adjusted anew: what is told and limited is all that they add. Ideal coils make
the solid harmonics (fields/harmonics.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.fields.harmonics import (
    DEGREES,
    NAMES,
    best_terms,
    names_of,
    shim_limits,
    solid_harmonics,
    solve_currents,
    thinned,
    with_terms,
)
from lauterbur.fields.maps import FieldMaps
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.slices import Slices, members, nearest_filled, nearest_slice
from lauterbur.shim.target import chosen_voxels, off_resonance_at, positions, transmit_affine
from lauterbur.units import GAMMA_BAR

__all__ = [
    "DEGREES",
    "NAMES",
    "B0Shim",
    "Spread",
    "b0_figures",
    "design_b0",
    "prescan_b0",
    "shimmed_fields",
    "solve_currents",
]
Float = NDArray[np.float64]
B0_SHIMS = ("volume", "slices", "off")  # of a scan: one for all, another in every slice, the frequency alone
SWITCHED = 1  # order that a machine changes from slice to slice: frequency and gradient offsets; coils of higher order are slow
SAME = 1e-3  # Hz at RADIUS, of a term: no other shim
RADIUS = 0.1  # m


@dataclass(frozen=True)
class Spread:
    """How far the off-resonance over a target is from nothing, Hz."""

    rms: float
    percentile95: float  # of its size


@dataclass(frozen=True, eq=False)
class B0Shim:
    names: tuple[str, ...]  # of the terms, see NAMES
    coefficients: Float  # Hz/m^degree that the coils add, (term,) or (slice, term)
    slices: Slices | None
    before: Spread  # at the best frequency, without current in any coil
    after: Spread
    limits: Mapping[str, float]  # Hz/m^degree, of the terms that have one


def design_b0(
    fields: FieldMaps,
    target: NDArray[np.bool_] | str | None = None,
    *,
    order: int = 2,
    limits: Mapping[str, float] | None = None,
    slices: Slices | None = None,
) -> B0Shim:
    names = names_of(order)
    place, field = _unshimmed(fields, target)
    if slices is None:
        terms = best_terms(field, place, order, limits=limits)
        left = field + np.stack(solid_harmonics(place, order), axis=-1) @ terms
        return B0Shim(names, terms, None, _spread(field - field.mean()), _spread(left), dict(limits or {}))
    return _slice_wise(place, field, names, slices, order, limits)


def prescan_b0(
    fields: FieldMaps,
    scanner: Scanner,
    target: NDArray[np.bool_] | str | None = None,
    *,
    order: int | None = None,
    slices: Slices | None = None,
) -> B0Shim:
    """Over the whole target, by the scanner's coils within their limits; order 0: only its frequency is adjusted.

    With slices frequency and gradient offsets are then adjusted anew in each of them; coils of higher order stay as for the volume.
    Where what is on already is the best, it stays as it is, to the bit.
    """
    order = scanner.shim_coils.order if order is None else order
    limits = shim_limits(scanner, order)
    b0 = design_b0(fields, target, order=order, limits=limits)
    if slices is not None:
        place, field = _unshimmed(fields, target)
        switched = min(order, SWITCHED)
        return _slice_wise(place, field, b0.names, slices, switched, limits, b0.coefficients)
    if fields.shim is not None and len(fields.shim) == len(b0.coefficients):
        reach = RADIUS ** np.array(DEGREES[: len(b0.coefficients)], float)
        if np.all(np.abs(b0.coefficients - fields.shim) * reach < SAME):
            return replace(b0, coefficients=fields.shim)
    return b0


def shimmed_fields(fields: FieldMaps, b0: B0Shim) -> FieldMaps:
    """The same fields with the shim coils on; between slices as in the nearest one."""
    rows = np.atleast_2d(b0.coefficients)
    change = rows if fields.shim is None else _less(rows, fields.shim)
    if not np.any(change):
        return fields
    which = None if b0.slices is None else lambda place: nearest_slice(b0.slices, place)
    told = dict(zip(b0.names, b0.coefficients.T.tolist(), strict=True))
    return replace(
        fields,
        off_resonance=with_terms(fields.off_resonance, fields.affine, change, which),
        shim=b0.coefficients if b0.slices is None else None,
        provenance={**fields.provenance, "b0_shim": told},
    )


def b0_figures(b0: B0Shim) -> dict[str, Any]:
    """Hz over the target before and after, T/m^degree of the coils, and shares of their limits; slice by slice the largest."""
    largest = np.max(np.abs(np.atleast_2d(b0.coefficients)), axis=0)
    added = b0.coefficients if b0.slices is None else largest
    return {
        "before, Hz": asdict(b0.before),
        "after, Hz": asdict(b0.after),
        "frequency, Hz": float(added[0]),
        "coils, T/m^n": {n: float(c / GAMMA_BAR) for n, c in zip(b0.names[1:], added[1:], strict=True)},
        "share of limit": {
            n: float(c / b0.limits[n]) for n, c in zip(b0.names, largest, strict=True) if b0.limits.get(n, 0.0) > 0
        },
    }


def _slice_wise(
    place: Float,
    field: Float,
    names: tuple[str, ...],
    slices: Slices,
    order: int,
    limits: Mapping[str, float] | None,
    held: Float | None = None,
) -> B0Shim:
    """Other terms up to the order in every slice, near those `held` (term,), of which the rest is on in all."""
    n_free = len(names_of(order))
    free = {name: most for name, most in (limits or {}).items() if name not in names[n_free:]}
    groups = members(slices, place)
    source = nearest_filled(groups)
    filled = sorted(set(source))
    harmonics = np.stack(solid_harmonics(place, DEGREES[len(names) - 1]), axis=-1)
    common = field if held is None else field + harmonics[:, n_free:] @ held[n_free:]
    left = common.copy()
    rows = np.zeros((len(source), len(names))) if held is None else np.tile(held, (len(source), 1))
    for i in filled:
        here = groups[i]
        rows[i, :n_free] = best_terms(common[here], place[here], order, limits=free, usual=rows[i, :n_free])
        left[here] = common[here] + harmonics[here, :n_free] @ rows[i, :n_free]
    seen = np.unique(np.concatenate([groups[i] for i in filled]))
    before = _spread(field[seen] - field[seen].mean())
    return B0Shim(names, rows[source], slices, before, _spread(left[seen]), dict(limits or {}))


def _unshimmed(fields: FieldMaps, target: NDArray[np.bool_] | str | None) -> tuple[Float, Float]:
    """m, (voxel, 3), and Hz, (voxel,), of the target without current in any coil."""
    grid = fields.off_resonance.shape
    if isinstance(target, np.ndarray) and target.dtype == bool and target.shape == grid:
        density = fields.density
        index = thinned(np.flatnonzero(target if density is None or density.shape != grid else target & (density > 0)))
        if not len(index):
            raise InputError("the target is empty, or lies outside the body: there is nothing to shim for")
        place, field = positions(fields.affine, grid, index), fields.off_resonance.reshape(-1)[index].astype(float)
    else:
        mask = chosen_voxels(fields, target)
        place = positions(transmit_affine(fields), mask.shape, np.flatnonzero(mask))
        field = off_resonance_at(fields, place)
    if fields.shim is not None:
        order = max(DEGREES[: len(fields.shim)])
        field = field - np.stack(solid_harmonics(place, order), axis=-1) @ fields.shim
    return place, field


def _less(rows: Float, terms: Float) -> Float:
    """rows - terms, of which either may have more terms."""
    longest = max(rows.shape[1], len(terms))
    return np.pad(rows, ((0, 0), (0, longest - rows.shape[1]))) - np.pad(terms, (0, longest - len(terms)))


def _spread(field: Float) -> Spread:
    return Spread(float(np.sqrt(np.mean(field**2))), float(np.quantile(np.abs(field), 0.95)))
