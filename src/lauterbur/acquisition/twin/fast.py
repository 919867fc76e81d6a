"""The fast engine: a phase graph for a few atoms, low rank over readouts and time, one transform per component and coil.

For spins v, readouts r and samples t the signal is

    S(r, t) = sum_v w_v sum_q A[r, q, v] phi_q(v) h_v(t) exp(-2 pi i k(r, t).r_v)

with A the amplitude of state q just after the last pulse (graph.py), phi the phase and T2' decay it has gathered in its
dephasing time tau_q, and h the off-resonance and decay since that pulse. A and h are smooth in few parameters: A is
played for atoms and interpolated (atoms.py), its rows and the time course are written in the basis of the largest
singular vectors over a random sample of spins, and what is left is a short sum of Fourier transforms (encode.py).
The sample is played exactly, so every truncation is chosen by its measured error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.basis import basis_of
from lauterbur.acquisition.twin.cast import Cast, ExactAtoms, Parameters, cast, joined, maps_of
from lauterbur.acquisition.twin.compile import timeline
from lauterbur.acquisition.twin.encode import audition, encoder
from lauterbur.acquisition.twin.graph import Graph, build, play, prune
from lauterbur.acquisition.twin.groups import Records, Spectrum, group_rows, reachable
from lauterbur.acquisition.twin.nodes import choose_atoms
from lauterbur.acquisition.twin.passes import Pass, plan_passes, selected_axis
from lauterbur.acquisition.twin.quadrature import quadrature_of
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.witness import Witness
from lauterbur.errors import ResourceError
from lauterbur.program import Program

Progress = Callable[[float, str], None]

RECORD_BYTES = 400e6  # amplitudes held at once
MAX_SAMPLE = 2048


@dataclass(frozen=True)
class Accuracy:
    """Where the engine stops. Each is a relative error of the signal's norm."""

    states: float = 1e-4  # a state is dropped where it can bring less than this part of the typical signal
    heard: float = 1e-3  # and is not listened to where less than this is left of it in k-space
    nodes: float = 5e-4  # interpolation between atoms, per parameter
    rank: float = 5e-4  # of the readouts' and the time courses' bases
    sample: int = 192  # spins played exactly to choose all that


# Of a whole subject: looser, so that a 1 mm head takes minutes. How much that costs beside thermal noise is not measured.
IMAGING = Accuracy(states=1e-3, heard=2e-2, nodes=2e-3, rank=3e-3)


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
    accuracy = accuracy or Accuracy()
    tell = progress or (lambda fraction, what: None)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x7A11]))
    line = timeline(program, larmor_frequency=larmor_frequency, with_diffusion=bool(spins.diffusion.any()))
    n_rx = 1 if receive is None else receive.shape[0]
    n_most = int(line.n_samples.max()) if len(line.n_samples) else 0
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
    reach = 0.0 if players.place.edges is None or axis is None else float(np.abs(players.place.edges @ axis).sum() / 2)
    passes = plan_passes(line, np.zeros(3) if axis is None else axis, span, offsets, strongest, reach)
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


def _play_pass(part: Pass, players: Cast, axis, receive, accuracy, rng, out, report, witness, tell) -> None:
    line = part.timeline
    chosen = np.arange(len(players.u))
    if part.reach is not None:
        chosen = np.flatnonzero((players.u >= part.reach[0]) & (players.u <= part.reach[1]))
    if not len(chosen) or not len(part.readouts) or not len(line.time):
        return
    along = np.zeros(3) if axis is None else axis
    quadrature = quadrature_of(players.place.edges, axis, line.shapes)
    shifts = quadrature.shifts
    tell(0.0, "phase graph")

    size = np.abs(players.weight[chosen])
    if not size.sum() > 0:
        return
    n_sample = accuracy.sample
    while True:
        who, sampled = _sample(players, chosen, size, shifts, along, n_sample, rng)
        graph, records = _graph(part, players, chosen, sampled, accuracy, witness)
        exact = play(
            graph,
            line,
            maps_of(line.shapes, sampled),
            sampled["t1"],
            sampled["t2"],
            sampled["diffusion"],
            records.state,
            records.slot,
            records.first,
        )
        groups = group_rows(part, records, line, along)
        bases = [basis_of(g, exact, sampled, players, who) for g in groups]
        total = math.sqrt(sum(b.energy for g, b in zip(groups, bases, strict=True) if not g.is_silent)) or 1.0
        allowed = accuracy.rank * total / math.sqrt(max(1, sum(not g.is_silent for g in groups)))
        short = [(g, b.truncate(allowed)) for g, b in zip(groups, bases, strict=True)]
        live = [(g, b, b.joint(allowed)) for g, b in short if b.rank]
        live = [(g, b, joint) for g, b, joint in live if joint.n_components]
        largest = max((joint.n_components for _, _, joint in live), default=0)
        if len(who) < n_sample or n_sample >= MAX_SAMPLE or 4 * largest <= n_sample:
            break
        n_sample = min(MAX_SAMPLE, 5 * largest)  # a basis is only as general as the sample it was found on

    report["states"] = max(report["states"], int(np.diff(graph.first).max()))
    tell(0.05, "choosing atoms")
    atoms = choose_atoms(part, graph, records, players, chosen, shifts, axis, accuracy.nodes, rng)
    report["atoms"] += len(atoms.parameters["t1"])
    tables = [np.zeros((len(atoms.parameters["t1"]), b.rank * g.n_columns), np.complex64) for g, b, _ in live]

    n_atoms = len(atoms.parameters["t1"])
    step = max(64, int(RECORD_BYTES / (8 * max(len(records.state), 1))) // 64 * 64)
    for lo in range(0, n_atoms, step):
        tell(0.1 + 0.3 * lo / n_atoms, "phase graph for the atoms")
        p = {
            name: (v[:, lo : lo + step] if name == "field" else v[lo : lo + step])
            for name, v in atoms.parameters.items()
        }
        amplitude = play(
            graph,
            line,
            maps_of(line.shapes, p),
            p["t1"],
            p["t2"],
            p["diffusion"],
            records.state,
            records.slot,
            records.first,
        )
        for (g, b, _), table in zip(live, tables, strict=True):
            table[lo : lo + step] = g.project(amplitude, b.readouts)
    del amplitude

    place = players.place.subset(chosen)
    report["passes"].append(
        {
            "readouts": len(part.readouts),
            "spins": len(chosen),
            "atoms": n_atoms,
            "exact": isinstance(atoms, ExactAtoms),
            "groups": len(live),
            "states": int(np.diff(graph.first).max()),
            "records": len(records.state),
            "places": len(shifts),
            "components": [],
        }
    )
    n_rx = 1 if receive is None else receive.shape[0]
    ones = np.ones(len(chosen), np.complex64)
    main_energy = 0.0  # of what has been heard so far: side groups must matter beside it
    # the states nearest to k = 0 first: they carry the image
    ranked = sorted(
        zip(live, tables, strict=True),
        key=lambda item: float(np.median(np.linalg.norm(item[0][0].middle_k(line), axis=1))),
    )
    for i, ((g, b, joint), table) in enumerate(ranked):
        tell(0.4 + 0.6 * i / len(live), "spins")
        k = line.k_since_pulse(g.readout, g.n_samples) + g.k_offset[:, None, :]
        center = None if players.place.edges is None or len(shifts) == 1 else _center(k, along)
        if g.is_silent:
            if witness is not None:
                local, here = witness.within(chosen)
                values = _spin_values(g, b, joint, table, atoms, players, chosen, local, quadrature, along, center)
                witness.listen(g, joint, k, center, players, here, values)
            continue
        everyone = np.arange(len(chosen))
        values = _spin_values(g, b, joint, table, atoms, players, chosen, everyone, quadrature, along, center)
        if witness is not None:
            local, here = witness.within(chosen)
            witness.listen(g, joint, k, center, players, here, values[:, local])
        if main_energy and place.edges is not None:
            energy = len(g.readout) * g.n_samples * audition(place, k, center, values, joint.course, rng)
            if energy < (accuracy.heard / 2) ** 2 * main_energy:
                if witness is not None:
                    witness.left_out.append(energy / main_energy)
                continue
        encode = encoder(place, k, center)
        report["passes"][-1]["components"].append(joint.n_components)
        report["passes"][-1].setdefault("encoders", []).append(type(encode).__name__)
        report["components"] += joint.n_components
        target = np.zeros((len(g.readout), g.n_samples), np.complex64)
        for coil in range(n_rx):
            tell(0.4 + 0.6 * (i + coil / n_rx) / len(live), "encoding")
            sensitivity = ones if receive is None else np.ascontiguousarray(_coil(receive, coil, chosen), np.complex64)
            target[:] = 0
            encode.add(values, sensitivity, joint.course, target)
            if coil == 0:
                main_energy += float(np.vdot(target, target).real) / max(
                    float(np.mean(np.abs(sensitivity) ** 2)), 1e-300
                )
            if g.is_one_row_each:
                out[g.readout, coil, : g.n_samples] += target
            else:
                for row, readout in enumerate(g.readout):
                    out[readout, coil, : g.n_samples] += target[row]


def _coil(receive, coil: int, chosen: NDArray) -> NDArray:
    values = receive[coil]
    return values if len(chosen) == len(values) else values[chosen]


def _center(k: NDArray, along: NDArray) -> NDArray:
    """The part of the mean k along the selected axis, which the places inside a box dephase by themselves."""
    return along * float(np.mean(k[:, k.shape[1] // 2] @ along))


def _graph(
    part: Pass, players: Cast, chosen: NDArray, sampled: Parameters, accuracy: Accuracy, witness: Witness | None
) -> tuple[Graph, Records]:
    line = part.timeline
    n = len(sampled["t1"])
    picks = {
        int(np.argmax(sampled[name] * (1 if sign else -1))) for name in ("t1", "t2", "b1") for sign in (True, False)
    }
    picks |= set(np.linspace(0, n - 1, 4).astype(int).tolist())
    rows = np.array(sorted(picks))
    actors = {name: (v[:, rows] if name == "field" else v[rows]) for name, v in sampled.items()}
    if part.reach is not None and players.is_shared_field:
        places = np.linspace(*part.reach, 9)[1:-1]
        axis = selected_axis(line.shapes)
        assert axis is not None
        spread = [actors] + [
            {**actors, "u": np.full(len(rows), u), "position": u * np.tile(axis, (len(rows), 1))} for u in places
        ]
        actors = joined(spread)
    maps = maps_of(line.shapes, actors)
    floor = 1e-5
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
    if witness is not None:
        silent = (found.estimate <= floor) & np.isin(found.readout, witness.readouts)
        witness.left_out.append(float(np.sum(found.estimate[silent] ** 2)) / typical**2 / max(1, len(witness.readouts)))
    found = found.above(floor, np.zeros(0, np.intp) if witness is None else witness.readouts)
    graph, renumber = prune(
        graph, line, maps, actors["t1"], actors["t2"], found.wanted(graph), accuracy.states * typical
    )
    return graph, found.records(graph, renumber, floor)


def _spin_values(g, b, joint, table, atoms, players, chosen, which, quadrature, along, center) -> NDArray[np.complex64]:
    """(component, spin) complex64, of the spins chosen[which]."""
    out = np.empty((joint.n_components, len(which)), np.complex64)
    s = players.spins
    shares = quadrature.shares(center)
    for lo in range(0, len(which), 65536):
        rows = slice(lo, lo + 65536)
        who = chosen[which[rows]]
        t2_prime = s.t2_prime[who]
        gradient = None if s.off_resonance_gradient is None else s.off_resonance_gradient[who]
        phase = g.phase(s.off_resonance[who], t2_prime, gradient, players.place.edges).astype(np.complex64)
        x = np.zeros((len(who), b.rank), np.complex64)
        for q, shift in enumerate(quadrature.shifts):
            p = players.parameters(who, shift, along)
            value = atoms.values(table, p, q, which[rows]).reshape(len(who), b.rank, g.n_columns)
            part = value[:, :, 0] * phase[:, :1] if g.n_columns == 1 else np.einsum("vjq,vq->vj", value, phase)
            x += part * np.complex64(shares[q])
        e = g.course(joint.nodes, s.off_resonance[who], s.t2[who], t2_prime).astype(np.complex64)
        z = np.zeros((len(who), joint.n_components), np.complex64)
        for j in range(b.rank):
            z += x[:, j, None] * (e @ joint.mixing[j])
        out[:, rows] = (z * players.weight[who].astype(np.complex64)[:, None]).T
    return out
