"""Interpolation between atoms, beside the same thing written out."""

from __future__ import annotations

import numpy as np
import pytest

from lauterbur.acquisition.twin.atoms import LOCAL, NAMES, AtomGrid, Dimension, local, near_weights
from lauterbur.acquisition.twin.expansion import Expansion


def grid_of(rng: np.random.Generator, counts: tuple[int, ...], u: Dimension) -> AtomGrid:
    spans = {"t1": (0.2, 4.0), "t2": (0.02, 1.0), "b1": (0.6, 1.3), "offset": (-200, 200), "diffusion": (0, 3e-9)}
    spans["b1_prepared"] = (0.6, 1.3)
    some = [Dimension(name, np.sort(rng.uniform(*spans[name], n)), 0.3) for name, n in zip(spans, counts, strict=True)]
    return AtomGrid.of((*some, u))


def weights(dimension: Dimension, x: float) -> np.ndarray:
    """(node,)"""
    if not dimension.is_local:
        return dimension.weights(np.array([x]))[0]
    step = dimension.nodes[1] - dimension.nodes[0]
    place = (x - dimension.nodes[0]) / step
    start = int(np.clip(np.floor(place) - (LOCAL // 2 - 1), 0, len(dimension.nodes) - LOCAL))
    out = np.zeros(len(dimension.nodes))
    out[start : start + LOCAL] = near_weights(place - start)
    return out


@pytest.mark.parametrize("n_places", [1, 5])
@pytest.mark.parametrize("is_local", [True, False])
def test_spins_are_interpolated_between_the_atoms_of_their_own_grid(n_places: int, is_local: bool) -> None:
    rng = np.random.default_rng(0)
    u = (
        [local("u", -2e-3, 2e-3, 3e-4), local("u", -1e-3, 3e-3, 2e-4)]
        if is_local
        else [Dimension("u", np.zeros(1)), Dimension("u", np.array([-1e-3, 1e-3]))]
    )
    grids = (grid_of(rng, (3, 2, 1, 2, 2, 2), u[0]), grid_of(rng, (1, 4, 3, 1, 1, 1), u[1]))
    table = rng.standard_normal((sum(map(len, grids)), 3, 2)).astype(np.float32).view(np.complex64)[..., 0]
    n = 30
    spins = {
        "t1": rng.uniform(0.3, 4, n),
        "t2": rng.uniform(0.03, 0.8, n),
        "b1": rng.uniform(0.6, 1.3, n),
        "diffusion": rng.uniform(0, 3e-9, n),
        "b1_prepared": rng.uniform(0.6, 1.3, n),
    }
    spins["t1"][0] = spins["t2"][1] = np.inf
    leaf = rng.integers(0, 2, n).astype(np.int16)
    offset, place = rng.uniform(-200, 200, (n_places, n)), rng.uniform(-2.5e-3, 3.5e-3, (n_places, n))
    expansion, (coefficients,) = Expansion.of(grids, [table], [True], 0.0)
    got = expansion.values(coefficients, spins, offset, place, leaf)
    first = np.concatenate(([0], np.cumsum([len(g) for g in grids])))
    for p in range(n_places):
        for v in range(n):
            grid = grids[leaf[v]]
            value = {**{name: x[v] for name, x in spins.items()}, "offset": offset[p, v], "u": place[p, v]}
            w = [weights(d, value[name]) for d, name in zip(grid.dimensions, NAMES, strict=True)]
            product = np.einsum("a,b,c,d,e,f,u->uabcdef", *w).ravel()
            right = product @ table[first[leaf[v]] : first[leaf[v] + 1]]
            assert np.abs(got[p, v] - right).max() < 1e-5 * np.abs(product).sum()


def test_few_polynomials_show_the_atoms_as_well_as_asked() -> None:
    """What depends on several parameters at once is small: most products are left out, and the error is what was allowed."""
    rng = np.random.default_rng(1)
    nodes = {"t1": (0.5, 2.0, 5), "t2": (0.03, 0.3, 5), "b1": (0.5, 1.5, 8), "offset": (-100, 100, 3),
             "diffusion": (1e-9, 1e-9, 1), "b1_prepared": (0.7, 1.3, 6), "u": (0.0, 0.0, 1)}  # fmt: skip
    grid = AtomGrid.of(tuple(Dimension(name, np.linspace(*nodes[name]), 0.3) for name in NAMES))
    p = grid.parameters
    wave = np.sin(0.3 * p["b1"] + p["offset"] * 1e-3) * np.exp(-0.1 / p["t1"] - 0.01 / p["t2"])
    other = np.cos(2.5 * p["b1_prepared"]) * (1 - np.exp(-1 / p["t1"])) * np.exp(-0.02 / p["t2"])
    table = np.column_stack((wave + 1j * other, other)).astype(np.complex64)
    some = rng.integers(0, len(grid), 4000)
    spins = {name: p[name][some] for name in ("t1", "t2", "b1", "diffusion", "b1_prepared")}
    for allowed in (1e-2, 1e-4):
        expansion, (coefficients,) = Expansion.of((grid,), [table], [True], allowed)
        got = expansion.values(
            coefficients, spins, p["offset"][None, some], p["u"][None, some], np.zeros(4000, np.int16)
        )
        error = np.linalg.norm(got[0] - table[some]) / np.linalg.norm(table[some])
        assert error < 1.3 * allowed
        assert len(coefficients) < len(table) / (15 if allowed == 1e-2 else 4)
