"""Witness: some spins heard one by one in some readouts of the fast engine, so that another code can judge them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.basis import Components
from lauterbur.acquisition.twin.boxes import box_factor
from lauterbur.acquisition.twin.cast import Cast
from lauterbur.acquisition.twin.course import Drift

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Witness:
    """Some spins heard one by one in some readouts, so that another code can judge them."""

    spins: NDArray[np.intp]  # sorted
    readouts: NDArray[np.intp]  # sorted
    signal: NDArray[np.complex64]  # (readout, spin, sample), filled by the engine; not demodulated
    left_out: list[float] = field(default_factory=list)  # energies of what all spins together were found not to show
    heard: list[float] = field(default_factory=list)  # and of what they show

    @property
    def missing(self) -> float:
        """The part of the signal's energy that was left out."""
        return sum(self.left_out) / (sum(self.heard) or 1.0)

    def within(self, chosen: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of these spins are witnesses: their places in `chosen`, and their numbers here."""
        local = np.minimum(np.searchsorted(chosen, self.spins), len(chosen) - 1)
        here = np.flatnonzero(chosen[local] == self.spins)
        return local[here], here

    def listen(
        self, components: Components, k: Float, drift: Drift, players: Cast, whom: NDArray, values: NDArray
    ) -> None:
        """values: (component, witness) of those witnesses."""
        group = components.voices.group
        spins = self.spins[whom]
        place = players.spins.position[spins] + players.spins.off_resonance[spins, None] * drift.shift
        slot = np.minimum(np.searchsorted(self.readouts, group.readout), len(self.readouts) - 1)
        for row, window in zip(*np.nonzero(self.readouts[slot] == group.readout), strict=True):
            some = slice(window * group.n_samples, (window + 1) * group.n_samples)
            here = k[row, some]
            course = components.course.of(slice(row, row + 1))[0][:, some]  # (component, sample)
            phase = np.exp(-2j * np.pi * (here @ place.T))
            for order, mine in components.orders():
                box = np.asarray(box_factor(here, players.place.edges, order)).reshape(-1, 1)
                heard = (course[mine].T @ values[mine]) * phase * box
                self.signal[slot[row, window], whom, : group.n_samples] += heard.T
