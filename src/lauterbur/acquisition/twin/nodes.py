"""Choosing the atoms: as few as the accuracy allows, or every spin its own where that is cheaper.

The spins are first cut into leaves, like the cells of a k-d tree, since tissues cluster: inside a leaf every parameter
spans little, so that few nodes interpolate it well. How many is measured per leaf and parameter, on a few spins played
exactly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.atoms import CANDIDATES, AtomGrid, Dimension, Extent, local
from lauterbur.acquisition.twin.boxes import Inside, inside_of
from lauterbur.acquisition.twin.cast import Cast, ExactAtoms, Parameters, exact_atoms, joined
from lauterbur.acquisition.twin.ensemble import LeafAtoms
from lauterbur.acquisition.twin.passes import Pass
from lauterbur.acquisition.twin.rehearsal import NAMES, Rehearsal, unlike
from lauterbur.errors import ResourceError

MAX_ATOMS = 600_000
FEW_ATOMS = 2000  # need no interpolation
TRAIN = 5  # times finer than a pulse's are the details that a train of pulses may have
LEAVES = 12, 36  # of a field that all pulses share; and where what prepares has another
SHOWN_SPINS = 100_000  # that the cuts are judged by
FEW_SPINS = 3000  # below that a leaf is not worth cutting
FIRST = 5  # of the candidates are tried before the others
ALL = 64  # spins that tell how loud a spin is


def choose_atoms(
    part: Pass,
    rehearsal: Rehearsal,
    players: Cast,
    chosen: NDArray,
    axis: NDArray | None,
    allowed: float,
    rng: np.random.Generator,
) -> tuple[LeafAtoms | ExactAtoms, Inside]:
    """allowed: relative error of the interpolation, per parameter."""
    along = np.zeros(3) if axis is None else axis
    needs_own = axis is None or not players.is_shared_field
    inside = inside_of(players.place.edges, axis, part.detail / (1 if needs_own else TRAIN))
    exact = _exact(players, chosen, inside, along, 2_000_000 if needs_own else 10 * FEW_ATOMS)
    if exact is not None and len(exact.parameters["t1"]) <= (MAX_ATOMS if needs_own else FEW_ATOMS):
        return exact, inside
    if needs_own:
        raise ResourceError(
            f"the program selects along several axes or drives channels differently, so each of {len(chosen)} spins "
            f"is its own atom; at most {MAX_ATOMS} fit: use fewer spins or engine='reference'"
        )
    weight = np.abs(players.weight[chosen])
    everyone = chosen[_draw(np.arange(len(chosen)), weight, ALL, rng)]
    some, spins = players.parameters(everyone, np.zeros(3), along), players.spins.subset(everyone)
    detail = rehearsal.detail(part, some, spins, along, allowed)
    inside = inside_of(players.place.edges, axis, detail)
    exact = _exact(players, chosen, inside, along, 200_000)
    full = players.parameters(chosen, np.zeros(3), along)
    lean = part.reach.lean if part.reach is not None else 0.0
    grids, leaf = [], _leaves(full)
    typical = float(np.sqrt(np.mean(np.sum(np.abs(rehearsal.play(some) * rehearsal.fade(spins)) ** 2, axis=0))))
    for i in range(int(leaf.max()) + 1):
        rows = np.flatnonzero(leaf == i)
        drawn = _draw(rows, weight, 24, rng)
        dimensions = _dimensions(rehearsal, players, full, rows, chosen, drawn, along * lean, allowed, typical)
        if np.isfinite(detail):
            moved = inside.shifts @ along
            u = full["u"][rows] + lean * full["offset"][rows]
            dimensions.append(local("u", u.min() + moved.min(), u.max() + moved.max(), detail))
        else:
            dimensions.append(Dimension("u", np.zeros(1)))
        grids.append(AtomGrid.of(tuple(dimensions)))
    n_atoms = sum(len(g) for g in grids)
    if exact is not None and len(exact.parameters["t1"]) <= 1.2 * n_atoms:
        return exact, inside
    if n_atoms > 4 * MAX_ATOMS:
        raise ResourceError(
            f"the program would need {n_atoms} atoms; at most {4 * MAX_ATOMS} fit: use engine='reference'"
        )
    return LeafAtoms(tuple(grids), leaf, along, lean), inside


def _exact(players: Cast, chosen: NDArray, inside: Inside, along: NDArray, most: int) -> ExactAtoms | None:
    """Each spin its own atom; None where they would be more than `most`."""
    if len(chosen) * len(inside.shifts) > most:
        return None
    return exact_atoms([players.parameters(chosen, shift, along) for shift in inside.shifts])


def _leaves(full: Parameters) -> NDArray[np.int16]:
    """Cut the widest leaf in its widest parameter, at the largest gap near the middle, until there are enough.

    Where to cut is decided on some of the spins.
    """

    def column(d: int, rows: slice | NDArray = slice(None)) -> NDArray[np.float64]:
        value = full[NAMES[d]][rows]
        if d < 2:
            return np.log(np.clip(value, (1e-3, 1e-4)[d], 1e3))
        return np.asarray(value * (2.0, 1 / 150, 1e9, 2.0)[d - 2])

    n = len(full["t1"])
    some = slice(None, None, max(1, n // SHOWN_SPINS))
    columns = np.column_stack([column(d, some) for d in range(len(NAMES))])
    share = n / len(columns)
    leaf = np.zeros(len(columns), np.int16)
    spans, cuts = {0: np.ptp(columns, axis=0)}, []
    if spans[0].max() < 0.5:
        return np.zeros(n, np.int16)
    while len(spans) < LEAVES[int(full["b1_prepared"].any())]:
        widest = max(spans, key=lambda i: spans[i].max())
        if spans[widest].max() < 0.6:
            break
        rows = np.flatnonzero(leaf == widest)
        if len(rows) * share < FEW_SPINS:
            spans[widest] = np.zeros(len(NAMES))
            continue
        d = int(np.argmax(spans[widest]))
        value = columns[rows, d]
        count, edges = np.histogram(value, 48)
        inner = slice(8, 40)
        cut = edges[inner][int(np.argmin(count[inner]))] + (edges[1] - edges[0]) / 2
        new = len(spans)
        leaf[rows[value > cut]] = new
        cuts.append((widest, d, cut))
        spans[widest] = np.ptp(columns[leaf == widest], axis=0)
        spans[new] = np.ptp(columns[leaf == new], axis=0)
    everyone = np.zeros(n, np.int16)
    for new, (old, d, cut) in enumerate(cuts, start=1):
        rows = np.flatnonzero(everyone == old)
        everyone[rows[column(d, rows) > cut]] = new
    return everyone


def _varied(actor: Parameters, name: str, node: float, lean: NDArray) -> Parameters:
    """All with this value of one parameter; the place goes with the offset, so that a selective pulse finds them alike."""
    n = len(actor[name])
    if name == "offset":
        actor["position"] = actor["position"] - (node - actor["offset"])[:, None] * lean[None, :]
    actor[name] = np.full(n, node)
    if name in ("b1", "b1_prepared"):
        actor["field"] = np.stack((actor["b1"], actor["b1_prepared"])).astype(complex)[: len(actor["field"])]
    return actor


def _draw(rows: NDArray, weight: NDArray, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    here = weight[rows]
    if not here.any():
        return rows[:1]
    return rows[rng.choice(len(rows), min(n, int(np.count_nonzero(here))), replace=False, p=here / here.sum())]


def _dimensions(
    rehearsal: Rehearsal,
    players: Cast,
    full: Parameters,
    rows: NDArray,
    chosen: NDArray,
    drawn: NDArray,
    lean: NDArray,
    allowed: float,
    typical: float,
) -> list[Dimension]:
    """Per parameter, the fewest nodes whose interpolation of a few exactly played spins of this leaf is good enough.

    drawn: spins of the leaf that may judge; lean: m/Hz, (3,); allowed: error relative to the `typical` signal, or to the
    leaf's own where that is louder.
    """
    some = {name: (v[:, drawn] if name == "field" else v[drawn]) for name, v in full.items()}
    fades = rehearsal.fade(players.spins.subset(chosen[drawn]))
    loud = unlike(some, np.linalg.norm(rehearsal.play(some) * fades, axis=0))
    fade = fades[:, loud].astype(np.float32)

    def base() -> Parameters:
        return {name: (v[:, loud] if name == "field" else v[loud].copy()) for name, v in some.items()}

    right = rehearsal.play(base()) * fade
    norm = max(float(np.linalg.norm(right)), typical * math.sqrt(len(loud))) or 1.0
    extents = {name: Extent.of(name, full[name][rows]) for name in NAMES}
    options = {name: {n: extents[name].chebyshev(n) for n in CANDIDATES} for name in NAMES}
    best: dict[str, Dimension] = {}
    done: set[str] = set()
    for some_counts in (CANDIDATES[:FIRST], CANDIDATES[FIRST:]):  # most parameters need few
        parts, plan = [], []
        for name in NAMES:
            for n in some_counts:
                option = options[name][n]
                if name in done or len(option.nodes) < n:
                    break  # the few distinct values are the nodes already
                parts += [_varied(base(), name, node, lean) for node in option.nodes]
                plan.append((name, option))
                if n == 1 and extents[name].low == extents[name].high:
                    break
        if not parts:
            break
        amplitude = rehearsal.play(joined(parts))
        amplitude = amplitude.reshape(len(amplitude), -1, len(loud)) * fade[:, None, :]
        at = 0
        for name, option in plan:
            size = len(option.nodes)
            weights = option.weights(some[name][loud]).T.astype(np.float32)
            guess = sum(amplitude[:, at + i] * weights[i] for i in range(size))
            at += size
            if name in done:
                continue
            best[name] = option
            if np.linalg.norm(guess - right) <= allowed * norm:
                done.add(name)
    for name in NAMES:  # not good enough yet, but there are no more distinct values than this
        few = next((o for n, o in options[name].items() if len(o.nodes) < n), None)
        if name not in done and few is not None:
            best[name] = few
    return [best[name] for name in NAMES]
