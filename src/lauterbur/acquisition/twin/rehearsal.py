"""Rehearsal: the beginning of a script, played by a few spins, by which nodes are chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.atoms import LOCAL, halfway_error
from lauterbur.acquisition.twin.cast import Parameters, joined, maps_of
from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.graph import Graph
from lauterbur.acquisition.twin.groups import WEAK
from lauterbur.acquisition.twin.heard import Records
from lauterbur.acquisition.twin.lanes import play
from lauterbur.acquisition.twin.passes import Pass
from lauterbur.acquisition.twin.spins import Spins

SHOWN = 400  # pulses, from the first that is heard
BASE = 5  # spins that judge
MANY = 20_000  # records, of which then only some are heard
QUIET = 0.2  # of the loudest: too quiet to judge
ROUNDS = 4  # of finding how far apart nodes along the axis may lie
STRIDES = (12, 10, 8, 6, 4, 2)  # of the finest nodes, as many as may be are skipped
PLACES = 4000  # at most
NAMES = ("t1", "t2", "b1", "offset", "diffusion", "b1_prepared")


def unlike(some: Parameters, loudness: NDArray) -> NDArray[np.intp]:
    """BASE of these spins: the loudest, then of those not much quieter each as far as may be from those taken before."""
    order = np.argsort(-loudness, kind="stable")
    loud = order[: max(BASE, int(np.count_nonzero(loudness > QUIET * loudness.max())))]
    where = np.column_stack([np.nan_to_num(some[name][loud], posinf=0.0) for name in NAMES])
    where = where / np.where(np.ptp(where, axis=0) > 0, np.ptp(where, axis=0), 1)
    taken = [0]
    while len(taken) < min(BASE, len(loud)):
        away = ((where[:, None] - where[None, taken]) ** 2).sum(axis=2).min(axis=1)
        taken.append(int(np.argmax(away)))
    return loud[np.unique(taken)]


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """The beginning of a script."""

    line: Timeline
    graph: Graph
    records: Records
    b_value: NDArray[np.float64]  # s/m2, (record,) from the pulse until it is heard
    after: NDArray[np.float64]  # s, (record,) likewise
    stands_for: NDArray[np.float64]  # (record,) so many

    @staticmethod
    def of(part: Pass, graph: Graph, records: Records) -> Rehearsal:
        line = part.timeline
        b_value, after = np.zeros(len(records.state)), np.full(len(records.state), np.inf)
        np.maximum.at(b_value, records.record, line.b_value(records.readout, records.k[records.record]))
        np.minimum.at(after, records.record, line.heard[records.readout, 0])
        quiet = int(records.pulse.min(initial=len(line.time)))  # pulses before the first that is heard
        line, graph, records = records.beginning(line, graph, min(len(line.time), quiet + SHOWN))
        loudness = graph.amplitude[graph.first[records.pulse] + records.state, records.slot]
        some, stands_for = _spokesmen(loudness, MANY)
        return Rehearsal(line, graph, records.subset(some), b_value[some], after[some], stands_for)

    def play(self, p: Parameters) -> NDArray[np.complex64]:
        """(record, actor)"""
        maps, r = maps_of(self.line, p), self.records
        amplitude = play(self.graph, self.line, maps, p["t1"], p["t2"], p["diffusion"], r.state, r.slot, r.first)
        if self.b_value.max(initial=0.0) * p["diffusion"].max() >= WEAK:
            amplitude *= np.exp(-self.b_value[:, None] * p["diffusion"][None, :]).astype(np.float32)
        return amplitude

    def detail(self, part: Pass, some: Parameters, spins: Spins, axis: NDArray, allowed: float) -> float:
        """m: how far apart nodes along the axis may lie. A train of pulses has sharper profiles than each of its pulses.

        some: parameters of a few spins, `spins`; allowed: relative error half-way between nodes.
        """
        if not np.isfinite(part.detail) or not len(self.records.state):
            return part.detail
        judges = unlike(some, np.linalg.norm(self.play(some) * self.fade(spins), axis=0))
        actor = {name: (v[:, judges] if name == "field" else v[judges]) for name, v in some.items()}
        fade = self.fade(spins.subset(judges))
        low, high = (part.reach.low, part.reach.high) if part.reach else (some["u"].min(), some["u"].max())
        lean = part.reach.lean if part.reach else 0.0
        detail, finest = part.detail, part.detail / 2
        for _ in range(ROUNDS):
            n = 12 * max(math.ceil((high - low) / (12 * finest)), LOCAL)
            if n > PLACES:
                break
            u = low + (high - low) / n * np.arange(n + 1)
            at = [
                {**actor, "u": here, "position": here[:, None] * axis} for here in u[:, None] - lean * actor["offset"]
            ]
            heard = self.play(joined(at)).reshape(len(fade), n + 1, len(judges)) * fade[:, None, :]
            each = heard.transpose(0, 2, 1).reshape(-1, n + 1)
            norm = float(np.linalg.norm(heard)) / math.sqrt(n + 1) or 1.0
            for stride in STRIDES:
                if stride * finest > 1.01 * part.detail:
                    continue
                wrong = halfway_error(each, stride)
                if np.linalg.norm(wrong) <= allowed * norm * math.sqrt(wrong.shape[1]):
                    return stride * finest
            detail = 2 * finest
            loud = np.cumsum(np.sum(np.abs(heard) ** 2, axis=(0, 2)))  # look on where there is something to hear
            inner = np.searchsorted(loud, loud[-1] * np.array([0.5 * allowed, 1 - 0.5 * allowed]))
            low, high, finest = u[max(inner[0] - 1, 0)], u[min(inner[1] + 1, n)], finest / 9
        return detail

    def fade(self, spins: Spins) -> NDArray[np.float64]:
        """(record, spin): what relaxation leaves until it is heard, of all that the record stands for."""
        since = np.abs(self.records.tau + self.after)
        left = np.exp(-self.after[:, None] / spins.t2[None, :] - since[:, None] / spins.t2_prime[None, :])
        return left * np.sqrt(self.stands_for)[:, None]


def _spokesmen(loudness: NDArray, most: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which to ask, ascending, and how many each stands for: the loudest for themselves, few for all the others."""
    if len(loudness) <= most:
        return np.arange(len(loudness)), np.ones(len(loudness))
    order = np.argsort(-loudness, kind="stable")
    quiet = order[most // 2 :]
    step = -(-len(quiet) // (most // 2))
    some = np.concatenate((order[: most // 2], quiet[step // 2 :: step]))
    stands_for = np.concatenate((np.ones(most // 2), np.full(len(some) - most // 2, float(step))))
    ascending = np.argsort(some)
    return some[ascending], stands_for[ascending]
