"""Accuracy: where the fast engine stops. How well it then does is measured (judge.py), not trusted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Accuracy:
    """Where the engine stops. Each is a relative error of the signal's norm; together they make less than 0.5 %."""

    states: float = 1e-3  # a state is dropped where it can bring less than this part of the typical signal
    heard: float = 2.5e-3  # and is not listened to where less than this is left of it in k-space
    nodes: float = 1.5e-3  # interpolation between atoms, per parameter
    rank: float = 1.5e-3  # of the readouts' and the time courses' bases, for spins heard one by one
    together: float = 2.5e-3  # a component is not encoded where all spins together do not show more than this
    sample: int = 192  # spins played exactly to choose all that
    one_noise: bool = False  # coils share one noise level: what may be left out is judged against all of them together


FINE = Accuracy(
    states=1e-4, heard=1e-3, nodes=5e-4, rank=5e-4, together=5e-4
)  # of small jobs, which take no time anyway
SMALL = 3e6  # spins and samples, of all coils
# Of a whole subject with its noise, which makes several per cent of an image
IMAGING = Accuracy(states=2e-3, heard=1e-2, nodes=3e-3, rank=1e-2, together=2e-2, one_noise=True)
