"""Composite pulses: kT-points and spokes, channel by channel, beside the isochromats that know nothing of them."""

import numpy as np
import pytest
from programs import Builder, flat

import lauterbur as lb
from lauterbur.acquisition.twin.compile import timeline
from lauterbur.acquisition.twin.hard import as_hard
from lauterbur.acquisition.twin.pulses import pulse_maps
from lauterbur.acquisition.twin.spins import Spins

N_TX = 4


def channels(position: np.ndarray) -> np.ndarray:
    """(tx, n): smooth complex fields that differ in size and phase from place to place."""
    turn = 2 * np.pi * np.arange(N_TX) / N_TX
    toward = position[:, 0] * np.cos(turn)[:, None] + position[:, 1] * np.sin(turn)[:, None]
    return (0.3 + 2.0 * toward) * np.exp(1j * (turn[:, None] + 12 * toward))


def disc(n: int, rng) -> Spins:
    position = rng.uniform(-0.06, 0.06, (n, 3)) * [1, 1, 0.1]
    return Spins(
        position,
        rng.uniform(0.5, 1, n),
        rng.uniform(0.5, 2, n),
        rng.uniform(0.04, 0.2, n),
        off_resonance=rng.uniform(-150, 150, n),
        b1_plus=channels(position),
    )


def excited(builder: Builder, rng, flip: float, phase: float, *, g=(0.0, 0.0, 0.0), frequency=0.0, n=3) -> Builder:
    """Sub-pulses with weights of their own, blips between them; the last block rewinds the slice gradient, if any."""
    weights = rng.normal(size=(n, N_TX)) + 1j * rng.normal(size=(n, N_TX))
    for i in range(n):
        builder.pulse(flip / n, phase, 2e-4, g=g, frequency=frequency, use="excitation", shim=weights[i])
        if i < n - 1:
            blip = rng.uniform(-1, 1, 3) * [8.0, 8.0, 0.0] / 1e-4 - np.array(g) * 2
            builder.block(1e-4, gradients=[flat(x, 1e-4) for x in blip])
    return builder


@pytest.mark.parametrize(("g", "frequency"), [((0.0, 0.0, 0.0), 0.0), ((0.0, 0.0, 3e5), 900.0)])
def test_sub_pulses_act_as_the_isochromats_say(g, frequency):
    """kT-points, then spokes off the centre: steady state of a spoiled gradient echo."""
    rng = np.random.default_rng(5)
    builder = Builder()
    for i in range(12):
        phase = np.deg2rad(58.5 * i * (i + 1))  # half of 117 degrees, quadratic
        excited(builder, np.random.default_rng(7), 0.7, phase, g=g, frequency=frequency)
        builder.listen(8, 2e-5, g=(2e3, 0, 0)).block(2e-3, gradients=[flat(1e5, 2e-3), None, flat(1.5e5, 2e-3)])
    program, spins = builder.program(), disc(150, rng)
    assert len(timeline(program).time) == 12 and (any(g) or len(timeline(program).shapes) == 1)
    coils = np.eye(len(spins), dtype=complex)  # every spin is heard alone
    right = lb.simulate(program, spins, coils, engine="reference").samples
    fast = lb.simulate(program, spins, coils)
    assert fast.header.provenance["engine"] == "fast"
    assert np.linalg.norm(fast.samples - right) <= 2e-3 * np.linalg.norm(right)
    alike = Spins(spins.position, spins.proton_density, spins.t1, spins.t2, off_resonance=spins.off_resonance)
    other = Builder()
    for i in range(12):
        other.pulse(0.7, np.deg2rad(58.5 * i * (i + 1)), 6e-4, g=g, use="excitation").wait(2e-4)
        other.listen(8, 2e-5, g=(2e3, 0, 0)).block(2e-3, gradients=[flat(1e5, 2e-3), None, flat(1.5e5, 2e-3)])
    plain = lb.simulate(other.program(), alike, coils).samples
    assert np.linalg.norm(plain - right) > 0.1 * np.linalg.norm(right)  # the sub-pulses do matter


def test_only_neighbours_that_are_driven_differently_are_one_pulse():
    """Not those that are far apart, that a window lies between, or that are driven alike."""
    a, b = [1.0, 0.5j], [0.3, 1.0]

    def count(second, between) -> int:
        builder = Builder().pulse(0.1, use="excitation", shim=a)
        between(builder)
        return len(timeline(builder.pulse(0.1, use="excitation", shim=second).listen(1, 1e-6).program()).time)

    assert count(b, lambda builder: builder.wait(1e-4)) == 1
    assert count(b, lambda builder: builder.wait(2e-3)) == 2
    assert count(b, lambda builder: builder.listen(1, 1e-6)) == 2
    assert count(a, lambda builder: builder.wait(1e-4)) == 2


def prepared(n: int, flip: float) -> Builder:
    """An inversion that drives the channels in its own way, and a train of spoiled kT-points; twice."""
    inversion = np.array([0.9, 0.8j, -0.7, -0.6j])
    builder = Builder()
    for shot in range(2):
        builder.wait(2.0)  # longer than T2, here and below: spoilers do nothing to a point
        builder.pulse(2.2, duration=2e-4, use="inversion", shim=inversion)
        builder.wait(2.0)
        for i in range(n):
            j = shot * n + i
            excited(builder, np.random.default_rng(7), flip, np.deg2rad(58.5 * j * (j + 1)))
            builder.listen(8, 2e-5, g=(2e3, 0, 0)).block(2e-3, gradients=[flat(1e5, 2e-3), None, flat(1.5e5, 2e-3)])
    return builder


def test_many_spins_take_composites_for_hard_pulses(monkeypatch):
    """And what prepares may be driven otherwise: its size is one more number that atoms are interpolated in."""
    monkeypatch.setattr("lauterbur.acquisition.twin.fast.MANY_OWN", 10)
    monkeypatch.setattr("lauterbur.acquisition.twin.nodes.FEW_ATOMS", 10)
    spins, program = disc(400, np.random.default_rng(3)), prepared(6, 0.15).program()
    coils = np.eye(len(spins), dtype=complex)
    right = lb.simulate(program, spins, coils, engine="reference").samples
    fast = lb.simulate(program, spins, coils)
    assert fast.header.provenance["engine"] == "fast"
    assert np.linalg.norm(fast.samples - right) <= 5e-3 * np.linalg.norm(right)


def test_a_hard_pulse_in_the_place_of_a_composite_excites_every_spin_alike():
    spins = disc(60, np.random.default_rng(4))
    line = timeline(excited(Builder(), np.random.default_rng(7), 1.0, 0.4).listen(1, 1e-6).program())
    hard, driven = as_hard(line, spins)
    assert len(hard.shapes[0].length) == 1 and np.unique(line.shapes[0].drive).size == 3
    own = pulse_maps(
        line.shapes[0],
        np.array(line.drives) @ spins.b1_plus,
        spins.off_resonance,
        spins.position,
        spins.t1,
        spins.t2,
    )
    made = pulse_maps(hard.shapes[0], driven.b1_plus, spins.off_resonance, spins.position, spins.t1, spins.t2)
    np.testing.assert_allclose(made[4] + 1j * made[5], own[4] + 1j * own[5], atol=5e-3)
    np.testing.assert_allclose(made[10], own[10], atol=5e-3)


def test_many_spins_take_the_weights_of_the_slice_that_is_heard(monkeypatch):
    """Three slices far apart, each with weights of its own: the drives must not be mistaken for one another."""
    rng = np.random.default_rng(6)
    weights = rng.normal(size=(3, N_TX)) + 1j * rng.normal(size=(3, N_TX))
    builder, g = Builder(), (0.0, 0.0, 3e5)
    for shot in range(9):
        i = shot % 3
        builder.pulse(0.4, 0.3 * shot, 1e-3, g=g, frequency=3e5 * 0.02 * (i - 1), use="excitation", shim=weights[i])
        builder.block(1e-3, gradients=[None, None, flat(-1.5e5, 1e-3)])
        builder.listen(8, 2e-5, g=(2e3, 0, 0)).block(2e-3, gradients=[flat(1e5, 2e-3), None, flat(1.5e5, 2e-3)])
    spins = disc(9000, rng)
    spins.position[:, 2] = np.repeat([-0.02, 0.0, 0.02], 3000) + rng.uniform(-5e-4, 5e-4, 9000)
    coils = np.stack([spins.position[:, 2] < -0.01, np.abs(spins.position[:, 2]) < 0.01, spins.position[:, 2] > 0.01])
    right = lb.simulate(builder.program(), spins, coils.astype(complex), engine="reference").samples
    monkeypatch.setattr("lauterbur.acquisition.twin.fast.MANY_OWN", 10)
    monkeypatch.setattr("lauterbur.acquisition.twin.nodes.FEW_ATOMS", 10)
    fast = lb.simulate(builder.program(), spins, coils.astype(complex))
    assert fast.header.provenance["engine"] == "fast"
    for i in range(3):  # each slice by its own receiver, in its own readouts
        own, heard = right[i::3, i], fast.samples[i::3, i]
        assert np.linalg.norm(heard - own) <= 0.02 * np.linalg.norm(own)
