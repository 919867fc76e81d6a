"""Which states are listened to, beside the sound of every state summed spin by spin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sequences import spoiled

from lauterbur.acquisition.twin.boxes import box_factor
from lauterbur.acquisition.twin.cast import cast, maps_of
from lauterbur.acquisition.twin.compile import timeline
from lauterbur.acquisition.twin.graph import build
from lauterbur.acquisition.twin.heard import Found, Spectrum, reachable
from lauterbur.acquisition.twin.passes import Pass
from lauterbur.acquisition.twin.place import Place, find_lattice
from lauterbur.acquisition.twin.spins import Spins

BOX = 3.1e-3  # m


def ball() -> Spins:
    """Smooth, off centre, on a lattice: loud near k = 0 only."""
    at = (np.stack(np.meshgrid(*[np.arange(n) for n in (40, 44, 3)], indexing="ij"), axis=-1).reshape(-1, 3) - 20) * BOX
    density = np.exp(-4 * ((at[:, :2] - [5e-3, -8e-3]) ** 2).sum(axis=1) / 0.06**2)
    some = density > 1e-3
    return Spins(at[some], density[some], 0.9, 0.12, edges=np.eye(3) * BOX)


def everything(spins: Spins):
    """The pass, its graph, and where its spins lie."""
    line = timeline(spoiled(24))
    p = cast(spins, line, np.zeros(3)).parameters(np.arange(1), np.zeros(3), np.zeros(3))
    graph = build(line, maps_of(line, p), p["t1"], p["t2"], p["diffusion"], 1e-5)
    assert graph is not None
    part = Pass(line, np.flatnonzero(line.pulse >= 0), None, math.inf)
    return part, graph, Place(spins.position, spins.edges, find_lattice(spins))


def sounds(found: Found, part: Pass, graph, place: Place, density) -> np.ndarray:
    """(pair,) mean energy over the samples of what all spins together show of a state: the sum itself."""
    out = np.zeros(len(found.readout))
    line = part.timeline
    for i, (readout, state, slot) in enumerate(zip(found.readout, found.state, found.slot, strict=True)):
        k = line.k_since_pulse(np.array([readout]), int(line.n_samples[readout]))[0]
        k = k + (1 if slot == 0 else -1) * graph.k[state]
        waves = np.exp(-2j * np.pi * (k @ place.position.T)) @ density
        out[i] = np.mean(np.abs(waves * box_factor(k, place.edges)) ** 2) * graph.amplitude[state, slot] ** 2
    return out


@pytest.mark.parametrize("allowed", [1e-2, 5e-2])
def test_what_a_readout_would_lose_is_less_than_allowed_of_what_it_hears(allowed):
    spins = ball()
    part, graph, place = everything(spins)
    found = reachable(part, graph, place, Spectrum.of(place, spins.weight, (1, 1, 1)), 1e-5)
    kept = found.above(allowed, np.zeros(0, int))
    key = [set(zip(f.readout.tolist(), f.state.tolist(), f.slot.tolist(), strict=True)) for f in (found, kept)]
    assert len(key[1]) < 0.6 * len(key[0])
    lost = np.array([pair not in key[1] for pair in zip(found.readout, found.state, found.slot, strict=True)])
    energy = sounds(found, part, graph, place, spins.weight)
    told = np.zeros(len(part.timeline.start))
    np.maximum.at(told, found.readout, energy)
    missing = np.bincount(found.readout[lost], energy[lost], len(told))
    heard = told > 0
    assert np.mean(missing[heard] / told[heard]) < (1.5 * allowed) ** 2  # the spectrum is known in bins
    assert np.sqrt(missing.sum() / told.sum()) < 1.5 * allowed
    assert {pair[0] for pair in key[1]} == set(found.readout.tolist())  # every readout hears something


def test_what_is_heard_does_not_hang_on_which_other_readouts_there_are():
    spins = ball()
    part, graph, place = everything(spins)
    spectrum = Spectrum.of(place, spins.weight, (1, 1, 1))
    whole = reachable(part, graph, place, spectrum, 1e-5)
    few = part.readouts[[20, 3, 11, 7]]
    again = reachable(Pass(part.timeline, few, None, math.inf), graph, place, spectrum, 1e-5)
    for readout in few:
        one, other = (np.sort(f.estimate[f.readout == readout]) for f in (whole, again))
        assert len(one) and np.array_equal(one, other)


@pytest.mark.parametrize("n", [20, 40])
@pytest.mark.parametrize("allowed", [1e-3, 1e-2, 0.1])
def test_all_that_is_not_listened_to_is_together_less_than_allowed(allowed, n):
    rng = np.random.default_rng(0)
    n_readouts = 50
    readout = np.repeat(np.arange(n_readouts), n)
    estimate = 10 ** rng.uniform(-4, 0, len(readout))
    number = np.arange(len(readout))
    found = Found(readout, number, number, number * 0, estimate, 2 * estimate, np.zeros(len(readout), bool))
    heard = found.above(allowed, np.arange(3))
    told_all = estimate.reshape(n_readouts, n).max(axis=1)
    listened = heard.state[~heard.is_silent]
    left = np.delete(estimate, listened)
    most = allowed * np.linalg.norm(told_all)
    quietest, loudest_allowed = estimate[listened].min(), allowed * np.sqrt(np.mean(told_all**2))
    assert np.linalg.norm(left) <= most and left.max() <= loudest_allowed
    assert (
        most < np.linalg.norm(np.append(left, quietest)) or quietest > loudest_allowed
    )  # not stricter than it must be
    silent = heard.state[heard.is_silent]  # kept for a spin heard alone, which is louder there
    assert len(silent) and (readout[silent] < 3).all() and estimate[silent].max() <= left.max()


def test_a_quiet_readout_is_listened_to_beside_many_loud_ones():
    n = 20_000
    estimate = np.ones(n)
    estimate[0] = 0.3
    number = np.arange(n)
    found = Found(number, number, number, number * 0, estimate, estimate, np.zeros(n, bool))
    assert len(found.above(1e-2, np.zeros(0, int)).readout) == n
