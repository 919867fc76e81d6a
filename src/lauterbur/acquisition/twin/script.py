"""Script: what every atom of a pass plays, and the bases that its amplitudes are kept in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.accuracy import Accuracy
from lauterbur.acquisition.twin.cast import Cast, Parameters, joined, maps_of
from lauterbur.acquisition.twin.columns import Columns, columns_of
from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.graph import Graph, build
from lauterbur.acquisition.twin.groups import group_rows
from lauterbur.acquisition.twin.heard import Records, Spectrum, reachable
from lauterbur.acquisition.twin.lanes import LANES, play
from lauterbur.acquisition.twin.passes import Pass
from lauterbur.acquisition.twin.pruning import prune
from lauterbur.acquisition.twin.selection import selected_axis
from lauterbur.acquisition.twin.witness import Witness
from lauterbur.errors import ResourceError

RECORD_BYTES = 600e6  # amplitudes held at once
SELDOM = 0.1  # of what may be dropped, what vectors bring that hardly any sampled spin shows; others may show more
PROBES = 4  # spins by whose ears states are judged


@dataclass(frozen=True, eq=False)
class Script:
    """What every actor plays: the states that matter, and which of their amplitudes to keep."""

    line: Timeline
    graph: Graph
    records: Records

    def play(self, p: Parameters, room: NDArray[np.complex64] | None = None) -> NDArray[np.complex64]:
        """(record, actor); in `room` (record * actor, at least) where given."""
        maps = maps_of(self.line, p)
        r = self.records
        return play(self.graph, self.line, maps, p["t1"], p["t2"], p["diffusion"], r.state, r.slot, r.first, room)


def script_of(
    part: Pass,
    players: Cast,
    chosen: NDArray,
    who: NDArray,
    sampled: Parameters,
    places: tuple[int, ...],
    accuracy: Accuracy,
    witness: Witness | None,
    rng: np.random.Generator,
) -> Script:
    """who: the sampled spins; places: inside a box, per edge."""
    line = part.timeline
    n = len(sampled["t1"])
    picks = {
        int(np.argmax(sampled[name] * (1 if sign else -1))) for name in ("t1", "t2", "b1") for sign in (True, False)
    }
    picks |= set(np.linspace(0, n - 1, 4).astype(int).tolist())
    rows = np.array(sorted(picks))
    actors = {name: (v[:, rows] if name == "field" else v[rows]) for name, v in sampled.items()}
    if part.reach is not None and players.is_shared_field:
        axis = selected_axis(line.shapes)
        assert axis is not None
        spread = [actors]
        for fraction in np.linspace(0, 1, 9)[1:-1]:
            u = part.reach.place(fraction, actors["offset"])
            spread.append({**actors, "u": u, "position": u[:, None] * axis[None, :]})
        actors = joined(spread)
    maps = maps_of(line, actors)
    floor = max(1e-5, 0.03 * accuracy.states)
    while True:
        graph = build(line, maps, actors["t1"], actors["t2"], actors["diffusion"], floor)
        if graph is not None:
            break
        floor *= 4
        if floor > 3e-2:
            raise ResourceError(
                "the program keeps more than 20000 configuration states alive at once, too many for the fast engine; "
                "use engine='reference'"
            )
    s, contrast = players.spins, np.abs(players.weight[chosen])
    for rate in (1 / s.t1[chosen], 1 / s.t2[chosen]):  # tissue borders and texture have their own spectrum
        contrast = contrast * np.exp(-rate / max(float(np.median(rate)), 1e-9))
    place = players.place.subset(chosen)
    found = reachable(part, graph, place, Spectrum.of(place, contrast, places), floor)
    found = found.above(accuracy.heard, np.zeros(0, np.intp) if witness is None else witness.readouts)
    heard = math.sqrt(len(np.unique(found.readout))) * found.typical
    graph, renumber = prune(
        graph, line, maps, actors, found.probes(graph, players.spins, who[:PROBES], rng), accuracy.states * heard
    )
    return Script(line, graph, found.records(graph, renumber))


def sample_of(players: Cast, chosen, size, shifts, along, n_sample, rng) -> tuple[NDArray[np.intp], Parameters]:
    """Spins drawn by their weight, each at a random place in its box; all of them at all places where there are few.

    Of few spins each is drawn several times, since a slice profile varies across a box.
    """
    live = np.flatnonzero(size)
    if len(live) * len(shifts) <= n_sample:
        spin, place = np.repeat(live, len(shifts)), np.tile(np.arange(len(shifts)), len(live))
    else:
        again = len(live) < n_sample
        spin = rng.choice(len(chosen), n_sample, replace=again, p=size / size.sum())
        place = rng.integers(len(shifts), size=n_sample)
    order = np.argsort(place, kind="stable")
    spin, place = spin[order], place[order]
    parts = [players.parameters(chosen[spin[place == q]], shifts[q], along) for q in np.unique(place)]
    return chosen[spin], joined(parts)


def columns_in(
    script: Script,
    sampled: Parameters,
    players: Cast,
    who: NDArray,
    places: tuple[int, ...],
    rank: float,
    rng: np.random.Generator,
) -> list[Columns]:
    """The groups of readouts, those nearest to k = 0 first: they carry the image."""
    exact = script.play(sampled)
    groups = group_rows(script.records, script.line, float(np.abs(players.spins.off_resonance).max()))
    found = [columns_of(g, g.k(script.line), exact, sampled, players, who, places, rng) for g in groups]
    total = math.sqrt(sum(c.energy for c in found if not c.group.is_silent)) or 1.0
    allowed = rank * total / math.sqrt(max(1, sum(not g.is_silent for g in groups)))
    short = [c.truncate(SELDOM * allowed) for c in found]
    return [c for c in short if len(c.column)]


def tables_of(script: Script, columns: list[Columns], atoms, tell) -> list[NDArray[np.complex64]]:
    """Per group (atom, feature): the atoms' amplitudes in the columns' bases."""
    everyone = atoms.parameters
    n_atoms = len(everyone["t1"])
    tables = [np.zeros((n_atoms, len(c.column)), np.complex64) for c in columns]
    blocks = int(RECORD_BYTES / (8 * LANES * max(len(script.records.state), 1)))
    workers = numba.get_num_threads()
    step = LANES * (blocks // workers * workers or max(blocks, 1))  # every thread has something to play
    room = np.empty(len(script.records.state) * min(step, n_atoms), np.complex64)  # once: fresh memory is slow
    for lo in range(0, n_atoms, step):
        tell(lo / n_atoms)
        some = slice(lo, lo + step)
        actors = {name: (v[:, some] if name == "field" else v[some]) for name, v in everyone.items()}
        amplitude = script.play(actors, room)
        for column, table in zip(columns, tables, strict=True):
            table[some] = column.group.project(amplitude, everyone["diffusion"][some], column.bases)
    return tables
