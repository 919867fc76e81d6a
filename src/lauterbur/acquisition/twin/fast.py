"""The fast engine: a phase graph for a few atoms, low rank over readouts and time, one transform per component and coil.

For spins v, readouts r and samples t the signal is

    S(r, t) = sum_v w_v sum_q A[r, q, v] phi_q(v, t) box(k(r, t) + K_q(v, t)) exp(-2 pi i (k(r, t) + K_q).r_v)

with A the amplitude of state q just after the last pulse (graph.py), phi its phase and decay, and K_q how it is dephased
inside the voxel's box. A is smooth in few parameters: it is played for atoms and interpolated (nodes.py, atoms.py). The
box is taken apart in polynomials (boxes.py), which separate what the spin does (values.py) from what the imaging does
(encode.py). Readouts, time and polynomials together are written in the fewest components that show a random sample of
spins (basis.py); what all spins together do not show is left out (collective.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.basis import Columns, Components, columns_of, components_of
from lauterbur.acquisition.twin.boxes import inside_of
from lauterbur.acquisition.twin.cast import Cast, ExactAtoms, Parameters, cast, joined, maps_of
from lauterbur.acquisition.twin.collective import together
from lauterbur.acquisition.twin.compile import Timeline, timeline
from lauterbur.acquisition.twin.encode import Drift, encoder
from lauterbur.acquisition.twin.graph import Graph, build
from lauterbur.acquisition.twin.groups import group_rows
from lauterbur.acquisition.twin.heard import Records, Spectrum, reachable
from lauterbur.acquisition.twin.lanes import play
from lauterbur.acquisition.twin.nodes import choose_atoms
from lauterbur.acquisition.twin.passes import Pass, plan_passes, selected_axis
from lauterbur.acquisition.twin.pruning import prune
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.values import Voices
from lauterbur.acquisition.twin.witness import Witness
from lauterbur.errors import ResourceError
from lauterbur.program import Program

Progress = Callable[[float, str], None]

RECORD_BYTES = 400e6  # amplitudes held at once
EARS_BYTES = 200e6  # of the coils' sensitivities at the spins of a pass
PROBES = 4  # spins by whose ears states are judged


@dataclass(frozen=True)
class Accuracy:
    """Where the engine stops. Each is a relative error of the signal's norm; together they make less than 0.5 %."""

    states: float = 1e-3  # a state is dropped where it can bring less than this part of the typical signal
    heard: float = 2.5e-3  # and is not listened to where less than this is left of it in k-space
    nodes: float = 1.5e-3  # interpolation between atoms, per parameter
    rank: float = 2.5e-3  # of the readouts' and the time courses' bases, for spins heard one by one
    together: float = 2.5e-3  # a component is not encoded where all spins together do not show more than this
    sample: int = 192  # spins played exactly to choose all that
    one_noise: bool = False  # coils share one noise level: what may be left out is judged against all of them together


FINE = Accuracy(
    states=1e-4, heard=1e-3, nodes=5e-4, rank=5e-4, together=5e-4
)  # of small jobs, which take no time anyway
SMALL = 3e6  # spins and samples, of all coils
# Of a whole subject with its noise, which makes several per cent of an image
IMAGING = Accuracy(states=2e-3, heard=1e-2, nodes=2e-3, rank=1e-2, together=1.5e-2, one_noise=True)


def play_fast(
    program: Program,
    spins: Spins,
    receive=None,
    *,
    larmor_frequency: float = 0.0,
    accuracy: Accuracy | None = None,
    seed: int = 0,
    out: NDArray[np.complex64] | None = None,
    witness: Witness | None = None,
    demodulate: bool = True,
    progress: Progress | None = None,
) -> tuple[NDArray[np.complex64], dict]:
    """Samples (readout, rx, sample), zero-padded, and a report of what was done.

    receive: None, or anything of shape (rx, n) whose item i is coil i at the spins. `out`, which may be a memory map, is
    added to; only the last of several calls that fill it may demodulate.
    """
    tell = progress or (lambda fraction, what: None)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7A11]))
    line = timeline(program, larmor_frequency=larmor_frequency, with_diffusion=bool(spins.diffusion.any()))
    n_rx = 1 if receive is None else receive.shape[0]
    n_most = int(line.n_samples.max()) if len(line.n_samples) else 0
    if accuracy is None:
        accuracy = FINE if n_rx * (len(spins) + int(line.n_samples.sum())) < SMALL else Accuracy()
    if out is None:
        out = np.zeros((len(line.start), n_rx, n_most), np.complex64)
    report: dict = {"passes": [], "atoms": 0, "states": 0, "components": 0}
    if not len(spins) or not len(line.time) or not n_most:
        return out, report

    axis = selected_axis(line.shapes)
    players = cast(spins, line.shapes, axis)
    offsets = (float(spins.off_resonance.min()), float(spins.off_resonance.max()))
    span = (float(players.u.min()), float(players.u.max()))
    strongest = float(np.abs(players.field).max())
    along = np.zeros(3) if axis is None else axis
    margin = 0.0 if players.place.edges is None else float(np.abs(players.place.edges @ along).sum() / 2)
    passes = plan_passes(line, along, span, offsets, strongest, margin, accuracy.rank, accuracy.nodes)
    for i, part in enumerate(passes):
        _play_pass(
            part,
            players,
            axis,
            receive,
            accuracy,
            rng,
            out,
            report,
            witness,
            lambda f, what, i=i: tell((i + f) / len(passes), what),
        )

    for event, demodulation in enumerate(line.receiver if demodulate else ()):
        if not np.all(demodulation == 1):
            rows = np.flatnonzero(line.adc == event)
            for lo in range(0, len(rows), 1024):
                chunk = rows[lo : lo + 1024]
                out[chunk, :, : len(demodulation)] *= demodulation.astype(np.complex64)
    return out, report


def _sample(players: Cast, chosen, size, shifts, along, n_sample, rng) -> tuple[NDArray[np.intp], Parameters]:
    """Spins drawn by their weight, each at a random place in its box; all of them at all places where there are few."""
    live = np.flatnonzero(size)
    if len(live) * len(shifts) <= n_sample:
        spin, place = np.repeat(live, len(shifts)), np.tile(np.arange(len(shifts)), len(live))
    else:
        n = min(n_sample, len(live))
        spin = rng.choice(len(chosen), n, replace=False, p=size / size.sum())
        place = rng.integers(len(shifts), size=n)
    order = np.argsort(place, kind="stable")
    spin, place = spin[order], place[order]
    parts = [players.parameters(chosen[spin[place == q]], shifts[q], along) for q in np.unique(place)]
    return chosen[spin], joined(parts)


@dataclass(frozen=True, eq=False)
class Script:
    """What every actor plays: the states that matter, and which of their amplitudes to keep."""

    line: Timeline
    graph: Graph
    records: Records

    def play(self, p: Parameters) -> NDArray[np.complex64]:
        """(record, actor)"""
        maps = maps_of(self.line, p)
        r = self.records
        return play(self.graph, self.line, maps, p["t1"], p["t2"], p["diffusion"], r.state, r.slot, r.first)


def _play_pass(part: Pass, players: Cast, axis, receive, accuracy, rng, out, report, witness, tell) -> None:
    line = part.timeline
    chosen = np.arange(len(players.u))
    if part.reach is not None:
        chosen = np.flatnonzero(part.reach.holds(players.u, players.spins.off_resonance))
    if not len(chosen) or not len(part.readouts) or not len(line.time):
        return
    size = np.abs(players.weight[chosen])
    if not size.sum() > 0:
        return
    along = np.zeros(3) if axis is None else axis
    inside = inside_of(players.place.edges, axis, part.detail)
    receive = _ears(receive, chosen)
    tell(0.0, "phase graph")
    who, sampled = _sample(players, chosen, size, inside.shifts, along, accuracy.sample, rng)
    script = _script(part, players, chosen, rng.permutation(who), sampled, accuracy, witness, rng)
    columns = _columns(script, sampled, players, who, accuracy.rank, rng)
    report["states"] = max(report["states"], int(np.diff(script.graph.first).max()))
    tell(0.05, "choosing atoms")
    atoms = choose_atoms(part, script.graph, script.records, players, chosen, inside.shifts, axis, accuracy.nodes, rng)
    n_atoms = len(atoms.parameters["t1"])
    tables = _tables(script, columns, atoms, lambda done: tell(0.1 + 0.3 * done, "phase graph for the atoms"))
    notes: dict = {
        "readouts": len(part.readouts),
        "spins": len(chosen),
        "atoms": n_atoms,
        "exact": isinstance(atoms, ExactAtoms),
        "states": int(np.diff(script.graph.first).max()),
        "records": len(script.records.state),
        "places": len(inside.shifts),
        "groups": [],
    }
    report["atoms"] += n_atoms
    report["passes"].append(notes)
    place = players.place.subset(chosen)
    offset = players.spins.off_resonance[chosen]
    loud = math.sqrt(sum(c.energy for c in columns if not c.group.is_silent)) or 1.0
    n_live = sum(not c.group.is_silent for c in columns)
    allowed, heard_so_far = accuracy.rank * loud / math.sqrt(max(1, n_live)), 0.0
    for i, (column, table) in enumerate(zip(columns, tables, strict=True)):
        tell(0.4 + 0.6 * i / len(columns), "spins")
        group = column.group
        if group.is_silent:
            encode, drift = None, Drift.none(group.time)
        else:
            encode, drift = encoder(place, column.k, group.time, offset)
        found = components_of(column, drift, table, atoms, players, chosen, inside, along, allowed, rng)
        if found is None:
            continue

        def values(which: NDArray, voices: Voices = found.voices, table=table) -> NDArray[np.complex64]:
            return voices.values(table, atoms, players, chosen, which, inside, along)

        if witness is not None:
            local, here = witness.within(chosen)
            witness.listen(found, column.k, drift, players, here, values(local))
        if not out.shape[1]:  # without a coil the witness alone listens
            continue
        expected = found.energy * together(found, column.k, place, size, values, rng)
        if witness is not None and encode is None:  # told of the witnessed readouts only
            ears = np.count_nonzero(np.isin(part.readouts, witness.readouts))
            witness.left_out.append(float(expected.sum()) * len(part.readouts) / ears)
        if encode is None:
            continue
        heard_so_far += float(expected.sum())
        limit = accuracy.together * math.sqrt(max(heard_so_far, loud**2) / max(1, n_live))
        wanted = _loudest(expected, limit / math.sqrt(float(expected.sum())))
        if witness is not None:
            witness.left_out.append(float(expected[~wanted].sum()))
        if not wanted.any():
            continue
        found = found.subset(wanted)
        report["components"] += found.n_components
        heard = _encode(
            encode,
            found,
            values(np.arange(len(chosen)), found.voices),
            chosen,
            receive,
            accuracy,
            out,
            lambda done, i=i: tell(0.4 + 0.6 * (i + done) / len(columns), "encoding"),
        )
        notes["groups"].append(
            {
                "rows": len(group.readout),
                "columns": group.n_columns,
                "orders": len(found.voices.orders),
                "components": found.n_components,
                "transforms": heard,
                "encoder": type(encode).__name__,
            }
        )
    if witness is not None:
        witness.heard.append(heard_so_far)


def _columns(
    script: Script, sampled: Parameters, players: Cast, who: NDArray, rank: float, rng: np.random.Generator
) -> list[Columns]:
    """The groups of readouts, those nearest to k = 0 first: they carry the image."""
    exact = script.play(sampled)
    groups = group_rows(script.records, script.line, float(np.abs(players.spins.off_resonance).max()))
    found = [columns_of(g, g.k(script.line), exact, sampled, players, who, rng) for g in groups]
    total = math.sqrt(sum(c.energy for c in found if not c.group.is_silent)) or 1.0
    allowed = rank * total / math.sqrt(max(1, sum(not g.is_silent for g in groups)))
    short = [c.truncate(0.1 * allowed) for c in found]  # a few spins chose these: not all show in them alike
    return [c for c in short if len(c.column)]


def _tables(script: Script, columns: list[Columns], atoms, tell) -> list[NDArray[np.complex64]]:
    """Per group (atom, feature): the atoms' amplitudes in the columns' bases."""
    everyone = atoms.parameters
    n_atoms = len(everyone["t1"])
    tables = [np.zeros((n_atoms, len(c.column)), np.complex64) for c in columns]
    step = max(64, int(RECORD_BYTES / (8 * max(len(script.records.state), 1))) // 64 * 64)
    for lo in range(0, n_atoms, step):
        tell(lo / n_atoms)
        some = slice(lo, lo + step)
        amplitude = script.play({name: (v[:, some] if name == "field" else v[some]) for name, v in everyone.items()})
        for column, table in zip(columns, tables, strict=True):
            table[some] = column.group.project(amplitude, everyone["diffusion"][some], column.bases)
    return tables


def _encode(encode, found: Components, values, chosen, receive, accuracy: Accuracy, out, tell) -> int:
    """All components through the first coil, which shows how much each brings; through the others, those that matter.

    Returns how many transforms that took.
    """
    orders = found.orders()
    group = found.voices.group
    n_rows, n_windows = group.readout.shape
    scratch = None if n_windows == 1 else np.zeros((n_rows, 1, len(group.time)), np.complex64)

    def add(which: NDArray[np.bool_], coil: int, sensitivity: NDArray[np.complex64]) -> NDArray[np.float64]:
        energy = np.zeros(len(which))
        target, readout, channel = out, group.readout[:, 0], coil
        if scratch is not None:
            scratch[:] = 0
            target, readout, channel = scratch, np.arange(n_rows), 0
        for order, some in orders:
            rows = np.flatnonzero(which[some]) + some.start
            if len(rows):
                course = found.course.subset(rows)
                energy[rows] = encode.add(values, rows, order, sensitivity, course, target, readout, channel)
        if scratch is not None:
            for window in range(n_windows):
                some = slice(window * group.n_samples, (window + 1) * group.n_samples)
                out[group.readout[:, window], coil, : group.n_samples] += scratch[:, 0, some]
        return energy

    n_rx = 1 if receive is None else receive.shape[0]
    every = np.ones(len(values), bool)
    if receive is None:
        add(every, 0, np.ones(len(chosen), np.complex64))
        return len(values)
    first = np.ascontiguousarray(receive[0], np.complex64)
    energy = add(every, 0, first)
    if n_rx == 1:
        return len(values)
    some = slice(None, None, max(1, len(chosen) // 30_000))
    power = np.abs(values[:, some]) ** 2
    share = np.array([power @ np.abs(np.ascontiguousarray(receive[coil], np.complex64)[some]) ** 2 for coil in range(1, n_rx)])
    expected = (energy / np.maximum(power @ np.abs(first[some]) ** 2, 1e-300))[None, :] * share
    if accuracy.one_noise:
        wanted = _loudest(expected.ravel(), accuracy.heard, energy.sum()).reshape(expected.shape)
    else:
        wanted = np.array([_loudest(one, accuracy.heard) for one in expected])
    for coil in range(1, n_rx):
        tell(coil / n_rx)
        add(wanted[coil - 1], coil, np.ascontiguousarray(receive[coil], np.complex64))
    return len(values) + int(wanted.sum())


def _loudest(energy: NDArray[np.float64], heard: float, beside: float = 0.0) -> NDArray[np.bool_]:
    """All but the least, which together bring less than `heard` of the norm (with `beside` that is heard anyway)."""
    order = np.argsort(energy)
    wanted = np.ones(len(energy), bool)
    wanted[order[np.cumsum(energy[order]) <= heard**2 * (energy.sum() + beside)]] = False
    return wanted


def _ears(receive, chosen: NDArray[np.intp]):
    """What the coils hear of these spins, worked out once where it fits into memory."""
    if receive is None:
        return None
    n_rx, n = receive.shape
    if len(chosen) < n:
        receive = receive.subset(chosen) if hasattr(receive, "subset") else np.asarray(receive)[:, chosen]
    if n_rx * len(chosen) * 8 <= EARS_BYTES:
        return np.array([receive[coil] for coil in range(n_rx)], np.complex64)
    return receive


def _script(
    part: Pass,
    players: Cast,
    chosen: NDArray,
    who: NDArray,
    sampled: Parameters,
    accuracy: Accuracy,
    witness: Witness | None,
    rng: np.random.Generator,
) -> Script:
    """who: the sampled spins."""
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
    found = reachable(part, graph, place, Spectrum.of(place, contrast), floor)
    typical = found.typical_amplitude
    floor = accuracy.heard * typical
    found = found.above(floor, np.zeros(0, np.intp) if witness is None else witness.readouts)
    heard = math.sqrt(len(np.unique(found.readout))) * typical
    graph, renumber = prune(
        graph, line, maps, actors, found.probes(graph, players.spins, who[:PROBES], rng), accuracy.states * heard
    )
    return Script(line, graph, found.records(graph, renumber, floor))
