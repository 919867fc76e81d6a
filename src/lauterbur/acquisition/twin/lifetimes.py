"""Lifetimes: which columns of a group a spin speaks in.

A balanced train dephases states for seconds, which fluid lives to see and nothing else does. Spins are classed by 1/T2 + 1/T2';
some of each class are asked in which columns it can be heard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.ensemble import Ensemble
from lauterbur.acquisition.twin.spins import Spins

Float = NDArray[np.float64]
MANY = 32  # columns, of which not every spin speaks in all
CLASSES = 16
ASKED = 64  # spins of a class


@dataclass(frozen=True, eq=False)
class Lifetimes:
    """Classes of spins, and the columns that each speaks in."""

    edges: Float  # 1/s, (class - 1,)
    speaks: NDArray[np.bool_]  # (class, column)

    def which(self, spins: Spins, who: NDArray[np.intp]) -> NDArray[np.intp]:
        """(n,) the classes of these spins."""
        return np.searchsorted(self.edges, _rate(spins, who), side="right")

    @staticmethod
    def of(
        table: NDArray[np.complex64], ensemble: Ensemble, column: NDArray[np.int64], tau: Float, unheard: float
    ) -> Lifetimes:
        """table (atom, feature) of features of these columns (feature,), which are dephased by tau (column,) s.

        unheard: norm of its features that any spin may lose, with the root of its weight.
        """
        everything = Lifetimes(np.zeros(0), np.ones((1, len(tau)), bool))
        players, chosen = ensemble.players, ensemble.chosen
        if len(tau) <= MANY or len(chosen) < CLASSES * ASKED:
            return everything
        rate = _rate(players.spins, chosen)
        order = np.argsort(rate, kind="stable")
        parts = np.array_split(order, CLASSES)
        speaks = []
        for some in parts:
            asked = some[np.linspace(0, len(some) - 1, ASKED).astype(int)]
            who = chosen[asked]
            power = np.abs(ensemble.amplitudes(table, asked)) ** 2  # (place, spin, feature)
            power *= np.abs(players.weight[who])[:, None]
            power *= np.exp(-2 * np.abs(tau[column]) / players.spins.t2_prime[who][:, None])
            loudest = np.bincount(column, power.max(axis=(0, 1)), minlength=len(tau))
            weakest = np.sort(loudest)
            n_drop = int(np.searchsorted(np.cumsum(weakest), unheard**2, side="right"))
            speaks.append(loudest > (weakest[n_drop - 1] if n_drop else -1.0))
        return Lifetimes(rate[[part[0] for part in parts[1:]]], np.array(speaks))


def _rate(spins: Spins, who: NDArray[np.intp]) -> Float:
    return np.asarray(1 / spins.t2[who] + 1 / spins.t2_prime[who])
