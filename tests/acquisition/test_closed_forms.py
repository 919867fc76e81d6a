"""What must come out of any engine, because it can be written down."""

from __future__ import annotations

import numpy as np
import pytest
from epg import PhaseGraph
from programs import Builder

from lauterbur.acquisition.twin.spins import Spins

SHORT = 1e-6  # s, pulses that are nearly instantaneous


def at_origin(**tissue) -> Spins:
    return Spins(np.zeros((1, 3)), **tissue)


def column(n: int, length: float, **tissue) -> Spins:
    """n points evenly over `length` along z, weights adding to 1."""
    position = np.zeros((n, 3))
    position[:, 2] = (np.arange(n) + 0.5 - n / 2) / n * length
    return Spins(position, 1 / n, **tissue)


def test_a_free_induction_decay_falls_with_t2_and_turns_clockwise_with_its_off_resonance(engine):
    program = Builder().pulse(np.pi / 2, duration=SHORT).wait(2e-3).listen(200, 1e-4).program()
    signal = engine(program, at_origin(t1=1.0, t2=0.04, off_resonance=37.0))[0, 0]
    time = 2 / np.pi * SHORT + 2e-3 + (np.arange(200) + 0.5) * 1e-4  # a block pulse of 90 deg acts as if 2/pi earlier
    expected = 1j * np.exp(-time / 0.04 - 2j * np.pi * 37 * time)  # b along x turns M_z towards y
    np.testing.assert_allclose(signal, expected, atol=3e-5)


def test_t2_prime_is_a_lorentzian_line(engine):
    program = Builder().pulse(np.pi / 2, duration=SHORT).listen(200, 2e-4).program()
    signal = engine(program, at_origin(t2=0.08, t2_prime=0.02), spins_per_voxel=4000)[0, 0]
    time = SHORT / 2 + (np.arange(200) + 0.5) * 2e-4
    np.testing.assert_allclose(signal, 1j * np.exp(-time / 0.08 - time / 0.02), atol=3e-3)


def test_the_field_inside_a_box_shifts_its_sinc_in_k_space(engine):
    edge, slope, k = 2e-3, np.array([1500.0, 0.0, 900.0]), np.array([200.0, 100.0, 150.0])
    spins = Spins(np.zeros((1, 3)), volume=edge**3, off_resonance_gradient=[slope])
    program = Builder().pulse(np.pi / 2, duration=SHORT).wait(5e-3, tuple(k)).listen(100, 1e-4).program()
    signal = engine(program, spins, spins_per_voxel=4096)[0, 0] / edge**3
    time = SHORT / 2 + 5e-3 + (np.arange(100) + 0.5) * 1e-4
    expected = 1j * np.prod(np.sinc((k + time[:, None] * slope) * edge), axis=1)
    np.testing.assert_allclose(signal, expected, atol=3e-3)


def test_a_spin_echo_gives_back_what_t2_prime_took_and_not_what_t2_took(engine):
    builder = Builder().pulse(np.pi / 2, duration=SHORT).wait(20e-3).pulse(np.pi, np.pi / 2, duration=SHORT)
    program = builder.wait(10e-3).listen(2001, 1e-5).program()
    signal = engine(program, at_origin(t2=0.05, t2_prime=0.01, off_resonance=13.0), spins_per_voxel=4000)[0, 0]
    t = 30e-3 + (np.arange(2001) + 0.5) * 1e-5 - 40e-3  # from the echo
    expected = np.exp(-(t + 40e-3) / 0.05 - np.abs(t) / 0.01)
    np.testing.assert_allclose(np.abs(signal), expected, atol=4e-3)


def test_an_inversion_recovers_with_t1(engine):
    for ti in (0.1, 0.4, 0.9):
        program = (
            Builder().pulse(np.pi, duration=SHORT).wait(ti).pulse(np.pi / 2, duration=SHORT).listen(1, 1e-6).program()
        )
        signal = engine(program, at_origin(t1=0.8))[0, 0, 0]
        assert signal == pytest.approx(1j * (1 - 2 * np.exp(-ti / 0.8)), abs=2e-5)


def test_spoiled_pulses_come_to_the_ernst_signal(engine):
    """M0 sin a (1 - E1) / (1 - E1 cos a) (Ernst & Anderson 1966), largest at cos a = E1; T2 far below TR spoils."""
    tr, t1, t2 = 20e-3, 0.5, 0.5e-3
    e1 = np.exp(-tr / t1)
    angles = np.arccos(e1) * np.array([0.7, 1.0, 1.4])
    steady = []
    for flip in angles:
        builder = Builder()
        for _ in range(200):
            builder.pulse(flip, duration=SHORT).listen(1, 2e-6).wait(tr - 3e-6)
        steady.append(engine(builder.program(), at_origin(t1=t1, t2=t2))[-1, 0, 0].imag)
    expected = np.sin(angles) * (1 - e1) / (1 - e1 * np.cos(angles)) * np.exp(-1.5e-6 / t2)
    np.testing.assert_allclose(steady, expected, rtol=2e-3)
    assert np.argmax(steady) == 1


def test_balanced_pulses_come_to_the_steady_state_over_off_resonance(engine):
    """Freeman-Hill: the fixed point of pulse, precession and relaxation, for alternating pulses."""
    tr, t1, t2, flip = 5e-3, 0.3, 0.1, np.deg2rad(50)
    offsets = np.linspace(-150, 150, 13)
    builder = Builder()
    for i in range(500):
        builder.pulse(flip, np.pi * i, duration=SHORT).wait(tr / 2 - SHORT / 2 - 1e-6)
        builder.listen(1, 2e-6, phase=np.pi * i).wait(tr / 2 - SHORT / 2 - 1e-6)
    spins = Spins(np.zeros((13, 3)), t1=t1, t2=t2, off_resonance=offsets)
    signal = engine(builder.program(), spins, np.eye(13, dtype=complex))[-1, :, 0]

    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)
    about_x = np.array([[1, 0, 0], [0, np.cos(flip), np.sin(flip)], [0, -np.sin(flip), np.cos(flip)]])  # clockwise
    for i, f in enumerate(offsets):
        angle = -2 * np.pi * f * tr
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        relax = np.diag([e2, e2, e1])
        back = np.diag([-1, -1, 1])  # the next pulse has the opposite phase
        after = np.linalg.solve(np.eye(3) - about_x @ back @ relax @ turn, about_x @ [0, 0, 1 - e1])
        echo = complex(after[0], after[1]) * np.exp(-1j * np.pi * f * tr - tr / 2 / t2)
        assert signal[i] == pytest.approx(echo, abs=5e-4)


@pytest.mark.parametrize("refocusing", [180.0, 150.0, 60.0])
def test_a_train_of_imperfect_refocusing_pulses_follows_the_phase_graph(engine, refocusing):
    """CPMG: half a unit of dephasing before and after each echo, crushed evenly across the column."""
    spacing, t1, t2, n_echoes = 10e-3, 0.6, 0.08, 20
    n = 200  # points: enough for 2 x 20 whole turns
    length = 0.01
    turn = 1 / length  # 1/m: one turn over the column for each half spacing
    half = spacing / 2 - SHORT / 2
    builder = Builder().pulse(np.pi / 2, np.pi / 2, duration=SHORT).wait(half, (0, 0, turn))
    for _ in range(n_echoes):
        builder.pulse(np.deg2rad(refocusing), 0.0, duration=SHORT)
        builder.wait(half - 1e-6, (0, 0, turn)).listen(1, 2e-6).wait(half - 1e-6, (0, 0, turn))
    signal = engine(builder.program(), column(n, length, t1=t1, t2=t2))[:, 0, 0]

    graph = PhaseGraph(2 * n_echoes + 3)
    graph.pulse(np.pi / 2, -np.pi / 2)
    echoes = []
    for _ in range(n_echoes):
        graph.relax(spacing / 2, t1, t2)
        graph.shift()
        graph.pulse(np.deg2rad(refocusing), 0.0)
        graph.relax(spacing / 2, t1, t2)
        graph.shift()
        echoes.append(graph.f_plus[0])
    np.testing.assert_allclose(signal, echoes, atol=2e-4)


@pytest.mark.parametrize("increment", [117.0, 50.0, 0.0])
def test_rf_spoiling_comes_to_the_steady_state_of_the_phase_graph(engine, increment):
    tr, t1, t2, flip, n_pulses = 10e-3, 0.8, 0.08, np.deg2rad(25), 150
    length, n = 0.01, 400  # 150 turns at most are populated: fewer than the points resolve
    builder, graph, expected = Builder(), PhaseGraph(n_pulses + 1), []
    phase = 0.0
    for i in range(n_pulses):
        phase = np.deg2rad(increment) * i * (i + 1) / 2
        builder.pulse(flip, phase, duration=SHORT).listen(1, 2e-6, phase=phase).wait(tr - 3e-6, (0, 0, 1 / length))
        graph.pulse(flip, -phase)
        expected.append(graph.f_plus[0] * np.exp(1j * phase))
        graph.relax(tr, t1, t2)
        graph.shift()
    signal = engine(builder.program(), column(n, length, t1=t1, t2=t2))[:, 0, 0]
    np.testing.assert_allclose(signal, expected, atol=2e-4)


def test_magnetisation_keeps_its_length_without_relaxation(engine, allowed):
    """Listened to along x and y directly, and along z after a further quarter turn of a second program."""
    rng = np.random.default_rng(3)
    flips, phases = rng.uniform(0.2, 3, 12), rng.uniform(0, 6, 12)
    spins = Spins(
        rng.normal(size=(5, 3)) * 0.02, off_resonance=rng.normal(size=5) * 300, b1_plus=rng.uniform(0.5, 1.5, 5)
    )
    alone = np.eye(5, dtype=complex)

    def start() -> Builder:
        builder = Builder()
        for flip, phase in zip(flips, phases, strict=True):
            builder.pulse(flip, phase, duration=1e-3, g=(4e3, -3e3, 1e4), frequency=150.0).wait(1e-3, (30, 10, -20))
        return builder

    xy = engine(start().listen(1, 2e-9).program(), spins, alone)[0, :, 0]
    # A strong short pulse about x lays z along y, whatever the spin's own B1 and offset, if those are compensated:
    z = []
    for i in range(5):
        quarter = np.pi / 2 / abs(spins.b1_plus[i])
        program = start().pulse(quarter, duration=1e-9).listen(1, 2e-9).program()
        z.append(engine(program, spins.subset([i]))[0, 0, 0].imag)
    np.testing.assert_allclose(np.hypot(np.abs(xy), z), 1.0, atol=allowed)


def test_signals_add_and_scale_with_proton_density_and_coils(engine):
    rng = np.random.default_rng(5)
    program = Builder().pulse(0.7, duration=1e-4).wait(3e-3, (40, -20, 0)).listen(64, 1e-5, g=(2e4, 0, 0)).program()
    place = rng.normal(size=(6, 3)) * 0.02
    density = rng.uniform(0.2, 1, 6)
    coils = rng.normal(size=(2, 6)) + 1j * rng.normal(size=(2, 6))
    whole = engine(program, Spins(place, density, t2=0.05), coils)[0]
    parts = sum(engine(program, Spins(place[[i]], 1.0, t2=0.05))[0] * density[i] * coils[:, [i]] for i in range(6))
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_a_box_dephases_as_a_sinc_in_k(engine):
    program = (
        Builder()
        .pulse(np.pi / 2, duration=SHORT)
        .wait(1e-3, (-80, 30, 0))
        .listen(128, 1e-5, g=(1.25e5, 0, 0))
        .program()
    )
    spins = Spins([[0.003, -0.002, 0.001]], volume=8e-6 * 1e-1)
    side = np.cbrt(8e-7)
    signal = engine(program, spins, spins_per_voxel=4000)[0, 0] / 8e-7
    k_x = -80 + (np.arange(128) + 0.5) * 1.25
    expected = 1j * np.sinc(k_x * side) * np.sinc(30 * side) * np.exp(-2j * np.pi * (k_x * 0.003 - 30 * 0.002))
    np.testing.assert_allclose(signal, expected, atol=3e-3)
