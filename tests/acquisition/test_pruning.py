"""What a state of the phase graph brings to what is heard, against a play without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sequences import balanced, spoiled

from lauterbur.acquisition.twin.cast import Parameters, cast, maps_of
from lauterbur.acquisition.twin.compile import Timeline, timeline
from lauterbur.acquisition.twin.graph import Graph, build
from lauterbur.acquisition.twin.lanes import play
from lauterbur.acquisition.twin.pruning import _sensitivity, prune
from lauterbur.acquisition.twin.spins import Spins


def played_once(program, tolerance: float) -> tuple[Timeline, Graph, np.ndarray, Parameters]:
    spins = Spins(np.zeros((1, 3)), 1.0, 0.9, 0.12, off_resonance=40.0, diffusion=1e-9)
    line = timeline(program, with_diffusion=True)
    p = cast(spins, line, np.zeros(3)).parameters(np.arange(1), np.zeros(3), np.zeros(3))
    maps = maps_of(line, p)
    graph = build(line, maps, p["t1"], p["t2"], p["diffusion"], tolerance)
    assert graph is not None
    return line, graph, maps, p


def everything(line: Timeline, graph: Graph, maps: np.ndarray, p: Parameters) -> np.ndarray:
    """(state, 2) F(k) and F(-k) of all states just after their pulses."""
    count = np.diff(graph.first)
    state = np.concatenate([np.repeat(np.arange(n), 2) for n in count])
    slot = np.tile([0, 1], len(graph.tau))
    rows = np.concatenate(([0], np.cumsum(2 * count)))
    return play(graph, line, maps, p["t1"], p["t2"], p["diffusion"], state, slot, rows)[:, 0].reshape(-1, 2)


def test_what_a_state_brings_is_what_is_missing_without_it() -> None:
    line, graph, maps, p = played_once(balanced(3, dummies=3), 1e-12)
    rng = np.random.default_rng(0)
    ear = (rng.standard_normal((len(graph.tau), 2)) * np.exp(2j * np.pi * rng.random((len(graph.tau), 2)))).astype(
        complex
    )
    ear[: graph.first[5]] = 0  # only later pulses are heard
    ear[graph.first[:-1], 1] = 0  # k = 0 has no mirror image
    whole = everything(line, graph, maps, p)
    wanted = np.stack([ear, 1j * ear]).astype(np.complex64)  # real and imaginary parts of one sum
    dt = np.diff(line.time, prepend=line.time[:1])
    gradient = _sensitivity(
        graph.first, graph.source, line.shape, line.phase, dt, graph.b_value, maps.astype(float), 1 / p["t1"], 1 / p["t2"],
        p["diffusion"], wanted,
    )[0]  # fmt: skip
    found = []
    for state in range(len(graph.tau)):
        if state in graph.first or state < graph.first[2]:
            continue
        source = graph.source.copy()
        source[state] = -1
        without = everything(line, replace(graph, source=source), maps, p)
        after = graph.first[np.searchsorted(graph.first, state, side="right")]
        missing = abs(np.vdot(ear[after:], whole[after:] - without[after:]) + np.vdot(ear[state], whole[state]))
        most = np.sqrt(2) * float(gradient[state] @ graph.amplitude[state])
        assert missing <= most * (1 + 1e-3) + 1e-6
        found.append((missing, most))
    missing, most = np.array(found).T
    assert len(missing) > 20
    assert np.median(missing / most) > 0.2


def test_pruning_loses_less_than_it_may() -> None:
    for program in (balanced(8, dummies=40), spoiled(24)):
        line, graph, maps, p = played_once(program, 1e-9)
        whole = everything(line, graph, maps, p)
        origin = graph.first[:-1]
        wanted = np.zeros((2, len(graph.tau), 2), np.complex64)
        rng = np.random.default_rng(1)
        for probe in wanted:  # every pulse's k = 0 is heard, in any phase
            probe[origin, 0] = np.exp(2j * np.pi * rng.random(len(origin)))
        norm = np.linalg.norm(whole[origin, 0])
        pruned, number = prune(graph, line, maps, p, wanted, 1e-3 * norm)
        assert len(pruned.tau) < 0.9 * len(graph.tau)
        left = everything(line, pruned, maps, p)[pruned.first[:-1], 0]
        assert np.linalg.norm(left - whole[origin, 0]) < 2e-3 * norm
        assert (number[origin] >= 0).all()
