"""What spins bring to components, beside the sum over all columns written out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from lauterbur.acquisition.twin.boxes import inside_of
from lauterbur.acquisition.twin.lifetimes import ASKED, CLASSES, Lifetimes
from lauterbur.acquisition.twin.values import Voices

TR = 4e-3  # s
FAR = 150  # repetitions that a state dephases
UNHEARD = 1e-2


class Everyone:
    """Spins that are each their own atom."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.chosen = np.arange(n)
        self.inside = inside_of(None, None, np.inf)
        spins = SimpleNamespace(
            t2=np.exp(rng.uniform(np.log(0.02), np.log(2), n)),
            t2_prime=np.exp(rng.uniform(np.log(0.05), np.log(2), n)),
            position=np.zeros((n, 3)),
            off_resonance=rng.normal(0, 50, n),
            off_resonance_gradient=None,
        )
        place = SimpleNamespace(edges=None)
        self.players = SimpleNamespace(spins=spins, place=place, weight=rng.uniform(0.5, 1, n))

    def amplitudes(self, table: np.ndarray, which: np.ndarray) -> np.ndarray:
        return table[which][None]


def test_columns_that_a_spin_does_not_live_to_see_are_left_out_and_not_missed():
    rng = np.random.default_rng(0)
    n = 4 * CLASSES * ASKED
    everyone = Everyone(n, rng)
    spins, weight = everyone.players.spins, everyone.players.weight
    tau = TR * np.arange(-FAR, FAR + 1.0)
    column = np.repeat(np.arange(len(tau)), 2)  # two features each
    table = np.exp(-np.abs(tau[column])[None, :] / spins.t2[:, None]).astype(np.complex64)
    mixing = np.linalg.qr(rng.standard_normal((len(column), 5)))[0]
    voices = Voices(
        group=SimpleNamespace(),
        tau=tau,
        away=np.zeros((len(tau), 3)),
        column=column,
        time=np.zeros(1),
        left=np.zeros(1),
        orders=np.zeros((1, 3), np.int64),
        mixing=mixing[None, :, None, :].astype(np.complex64),
        counts=np.array([5]),
        lifetimes=Lifetimes.of(table, everyone, column, tau, UNHEARD),
    )
    which = rng.permutation(n)
    turn = np.exp(-2j * np.pi * tau[None, :] * spins.off_resonance[:, None])
    fades = np.exp(-np.abs(tau)[None, :] / spins.t2_prime[:, None]) * weight[:, None]
    right = (mixing.T @ (table * (fades * turn)[:, column]).T)[:, which]

    lost = np.linalg.norm(voices.values(table, everyone, which) - right, axis=0) / np.sqrt(weight[which])
    assert 1e-3 * UNHEARD < lost.max() < UNHEARD
    few = voices.values(table, everyone, which[:9])  # whoever else is asked
    assert np.abs(few - voices.values(table, everyone, which)[:, :9]).max() < 1e-5
    spoken = np.count_nonzero(voices.lifetimes.speaks, axis=1)
    assert max(spoken) == len(tau) and min(spoken) < 0.3 * len(tau)
