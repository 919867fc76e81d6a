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

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.accuracy import FINE, SMALL, Accuracy
from lauterbur.acquisition.twin.basis import Components, components_of
from lauterbur.acquisition.twin.boxes import inside_of
from lauterbur.acquisition.twin.cast import Cast, ExactAtoms, cast
from lauterbur.acquisition.twin.collective import together
from lauterbur.acquisition.twin.columns import Columns
from lauterbur.acquisition.twin.compile import timeline
from lauterbur.acquisition.twin.course import Drift
from lauterbur.acquisition.twin.encode import encoder
from lauterbur.acquisition.twin.ensemble import Ensemble, LeafValues
from lauterbur.acquisition.twin.hard import as_hard
from lauterbur.acquisition.twin.nodes import TRAIN, choose_atoms
from lauterbur.acquisition.twin.passes import Pass, plan_passes
from lauterbur.acquisition.twin.rehearsal import Rehearsal
from lauterbur.acquisition.twin.script import columns_in, sample_of, script_of, tables_of
from lauterbur.acquisition.twin.selection import Selection, selected_axis
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.values import Voices
from lauterbur.acquisition.twin.witness import Witness
from lauterbur.program import Program

Progress = Callable[[float, str], None]

EARS_BYTES = 200e6  # of the coils' sensitivities at the spins of a pass
MANY_OWN = (
    200_000  # spins that are driven differently by the pulses of a pass, which then take the drive of its own slice
)
FEW = 0.3  # of what interpolation between atoms may cost, what polynomials that are left out do
SOUND_BYTES = 200e6  # of all components at all spins: where they are no more, the spins speak once


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

    if len(spins) > MANY_OWN:
        line, spins = as_hard(line, spins)
    axis = selected_axis(line.shapes)
    players = cast(spins, line, axis)
    along = np.zeros(3) if axis is None else axis
    selection = Selection.of(line, along, players.u, spins.off_resonance, players.strongest)
    margin = 0.0 if players.place.edges is None else float(np.abs(players.place.edges @ along).sum() / 2)
    passes = plan_passes(selection, margin, accuracy.rank, accuracy.nodes)
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


def _play_pass(part: Pass, players: Cast, axis, receive, accuracy, rng, out, report, witness, tell) -> None:
    chosen = np.arange(len(players.u))
    if part.reach is not None:
        chosen = np.flatnonzero(part.reach.holds(players.u, players.spins.off_resonance))
    size = np.abs(players.weight[chosen])
    if not len(part.readouts) or not len(part.timeline.time) or not size.sum() > 0:
        return
    own = _own_drives(part)
    if len(own) == 1 and len(chosen) > MANY_OWN and not players.is_shared_field:
        players, part = players.driven(own[0]), part.driven_alike()
    receive = _ears(receive, chosen)
    columns, tables, ensemble, notes = _prepare(part, players, chosen, axis, accuracy, rng, witness, tell)
    report["states"] = max(report["states"], notes["states"])
    report["atoms"] += notes["atoms"]
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
        found = components_of(column, drift, table, ensemble, allowed, rng)
        if found is None:
            continue

        everyone = np.arange(len(chosen))
        is_small = encode is not None and 8 * found.n_components * len(chosen) <= SOUND_BYTES
        sound = found.voices.values(table, ensemble, everyone) if is_small else None

        def values(which: NDArray, voices: Voices = found.voices, table=table, sound=sound) -> NDArray[np.complex64]:
            return voices.values(table, ensemble, which) if sound is None else sound[:, which]

        if witness is not None:
            local, here = witness.within(chosen)
            witness.listen(found, column.k, drift, players, here, values(local))
        if not out.shape[1]:  # without a coil the witness alone listens
            continue
        chorus = together(found, column.k, place, offset, drift, size, values, rng)
        if encode is None:
            if witness is not None:  # told of the witnessed readouts only
                ears = np.count_nonzero(np.isin(part.readouts, witness.readouts))
                witness.left_out.append(chorus.energy() * len(part.readouts) / ears)
            continue
        heard_so_far += chorus.energy()
        limit = accuracy.together * math.sqrt(max(heard_so_far, loud**2) / max(1, n_live))
        wanted = chorus.needed(limit)
        if witness is not None:
            witness.left_out.append(chorus.energy(~wanted))
        if not wanted.any():
            continue
        found = found.subset(wanted)
        report["components"] += found.n_components
        transforms, missed = _encode(
            encode,
            found,
            found.voices.values(table, ensemble, everyone) if sound is None else sound[wanted],
            chosen,
            receive,
            accuracy,
            out,
            lambda done, i=i: tell(0.4 + 0.6 * (i + done) / len(columns), "encoding"),
        )
        if witness is not None:
            witness.left_out.append(missed * chorus.energy())
        notes["groups"].append(
            {
                "rows": len(group.readout),
                "windows": group.readout.shape[1],
                "columns": group.n_columns,
                "orders": len(found.voices.orders),
                "components": found.n_components,
                "transforms": transforms,
                "encoder": type(encode).__name__,
            }
        )
    if witness is not None:
        witness.heard.append(heard_so_far)


def _own_drives(part: Pass) -> list[int]:
    """Of the pulses that a pass is about: those that readouts follow, and those that do not select. The others are pulses of
    neighbouring slices, whose weights are much like these."""
    line = part.timeline
    shapes = [line.shapes[i] for i in np.unique(line.shape)]
    own = [line.shapes[i] for i in np.unique(line.shape[line.pulse[part.readouts]])]
    own += shapes if part.reach is None else [s for s in shapes if s.direction is not None and not s.direction.any()]
    return sorted({int(drive) for shape in own for drive in shape.drive})


def _prepare(
    part: Pass, players: Cast, chosen: NDArray[np.intp], axis, accuracy: Accuracy, rng, witness, tell
) -> tuple[list[Columns], list[NDArray[np.complex64]], Ensemble, dict]:
    """The groups of readouts, the atoms' amplitudes in each of their bases, the spins, and notes of what was done."""
    along = np.zeros(3) if axis is None else axis
    places = inside_of(players.place.edges, axis, part.detail / TRAIN)
    tell(0.0, "phase graph")
    size = np.abs(players.weight[chosen])
    who, sampled = sample_of(players, chosen, size, places.shifts, along, accuracy.sample, rng)
    script = script_of(part, players, chosen, rng.permutation(who), sampled, places.counts, accuracy, witness, rng)
    columns = columns_in(script, sampled, players, who, places.counts, accuracy.rank, rng)
    tell(0.05, "choosing atoms")
    rehearsal = Rehearsal.of(part, script.graph, script.records)
    atoms, inside = choose_atoms(part, rehearsal, players, chosen, axis, accuracy.nodes, rng)
    tables = tables_of(script, columns, atoms, lambda done: tell(0.1 + 0.3 * done, "phase graph for the atoms"))
    voices: ExactAtoms | LeafValues
    if isinstance(atoms, ExactAtoms):
        voices = atoms
    else:
        live = [not column.group.is_silent for column in columns]
        voices, tables = atoms.expanded(tables, live if any(live) else [True] * len(live), FEW * accuracy.nodes)
    notes: dict = {
        "readouts": len(part.readouts),
        "spins": len(chosen),
        "atoms": len(atoms.parameters["t1"]),
        "exact": isinstance(atoms, ExactAtoms),
        "products": 0 if isinstance(voices, ExactAtoms) else int(np.ptp(voices.expansion.bounds, axis=1).max()),
        "states": int(np.diff(script.graph.first).max()),
        "records": len(script.records.state),
        "places": len(inside.shifts),
        "groups": [],
    }
    return columns, tables, Ensemble(players, chosen, voices, inside, along), notes


def _encode(encode, found: Components, values, chosen, receive, accuracy: Accuracy, out, tell) -> tuple[int, float]:
    """All components through the first coil, which shows how much each brings; through the others, those that matter.

    Returns how many transforms that took, and what part of the energy was left out.
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
        return len(values), 0.0
    first = np.ascontiguousarray(receive[0], np.complex64)
    energy = add(every, 0, first)
    if n_rx == 1:
        return len(values), 0.0
    some = slice(None, None, max(1, len(chosen) // 30_000))
    power = np.abs(values[:, some]) ** 2
    share = np.array(
        [power @ np.abs(np.ascontiguousarray(receive[coil], np.complex64)[some]) ** 2 for coil in range(1, n_rx)]
    )
    expected = (energy / np.maximum(power @ np.abs(first[some]) ** 2, 1e-300))[None, :] * share
    if accuracy.one_noise:
        wanted = _loudest(expected.ravel(), accuracy.heard, energy.sum()).reshape(expected.shape)
    else:
        wanted = np.array([_loudest(one, accuracy.heard) for one in expected])
    for coil in range(1, n_rx):
        tell(coil / n_rx)
        add(wanted[coil - 1], coil, np.ascontiguousarray(receive[coil], np.complex64))
    whole = max(float(energy.sum() + expected.sum()), 1e-300)
    return len(values) + int(wanted.sum()), float(expected[~wanted].sum()) / whole


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
