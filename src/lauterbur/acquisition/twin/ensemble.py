"""Ensemble: the spins of a pass, and the atoms they are interpolated between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.atoms import AtomGrid
from lauterbur.acquisition.twin.boxes import Inside
from lauterbur.acquisition.twin.cast import Cast, ExactAtoms, Parameters, joined
from lauterbur.acquisition.twin.expansion import Expansion


@dataclass(frozen=True, eq=False)
class LeafAtoms:
    """Product grids, one per leaf; spins are interpolated in their own.

    A grid's u is where on the axis a spin on resonance would be excited alike: offset and place then hardly mix.
    """

    grids: tuple[AtomGrid, ...]
    leaf: NDArray[np.int16]  # (spin,)
    axis: NDArray[np.float64]
    lean: float  # m/Hz

    @property
    def first(self) -> NDArray[np.intp]:
        return np.concatenate(([0], np.cumsum([len(g) for g in self.grids])))

    @property
    def parameters(self) -> Parameters:
        parts = []
        for grid in self.grids:
            p = grid.parameters
            u = p["u"] - self.lean * p["offset"]
            field = np.stack((p["b1"], p["b1_prepared"])).astype(complex)
            parts.append({**p, "position": u[:, None] * self.axis[None, :], "field": field})
        return joined(parts)

    def expanded(
        self, tables: list[NDArray[np.complex64]], judged: list[bool], allowed: float
    ) -> tuple[LeafValues, list[NDArray[np.complex64]]]:
        """What interpolates, and the tables (atom, column) as it needs them. allowed, judged: see Expansion.of."""
        expansion, found = Expansion.of(self.grids, tables, judged, allowed)
        return LeafValues(expansion, self.leaf, self.lean), found


@dataclass(frozen=True, eq=False)
class LeafValues:
    expansion: Expansion
    leaf: NDArray[np.int16]  # (spin,)
    lean: float  # m/Hz

    def values(self, table: NDArray[np.complex64], parts: list[Parameters], chosen: NDArray) -> NDArray:
        """(place, n, column): `table` (row, column) at these spins, with their parameters at each place."""
        offset = np.array([p["offset"] for p in parts])
        u = np.array([p["u"] for p in parts]) + self.lean * offset
        return self.expansion.values(table, parts[0], offset, u, self.leaf[chosen])


@dataclass(frozen=True, eq=False)
class Ensemble:
    players: Cast
    chosen: NDArray[np.intp]  # (n,) which of the players
    atoms: LeafValues | ExactAtoms
    inside: Inside  # the places inside a box where its amplitudes are needed
    along: NDArray[np.float64]  # (3,) the selected axis; zeros where nothing selects

    def amplitudes(self, table: NDArray[np.complex64], which: NDArray) -> NDArray[np.complex64]:
        """(place, n, column): `table`, of as many columns, of the spins chosen[which]."""
        parts = [self.players.parameters(self.chosen[which], shift, self.along) for shift in self.inside.shifts]
        return self.atoms.values(table, parts, which)
