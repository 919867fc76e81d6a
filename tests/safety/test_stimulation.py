"""Nerves and heart: the laws for a monotonic ramp, on axes as the patient feels them."""

from dataclasses import replace

import numpy as np
import pytest
from gate_programs import echo_train, gradient_echo, lobe, program, trapezoid

from lauterbur.safety import waveforms
from lauterbur.safety.gate import clear, findings, notes
from lauterbur.safety.stimulation import Stimulation
from lauterbur.scanner.profiles import load_scanner

MACHINE = load_scanner("5T")
LENGTH, RHEOBASE, CHRONAXIE = (
    MACHINE.gradients.stimulation[key] for key in ("effective_length", "rheobase", "chronaxie")
)


def shares(plan, machine=MACHINE):
    look = Stimulation(plan, machine)
    for chunk in waveforms.chunks(plan):
        look.look(chunk)
    look.findings()
    return [worst.value for worst in look.nerve], [worst.value for worst in look.heart]


def nerve_law(swing, time):
    return swing / time * LENGTH / (RHEOBASE * (1 + CHRONAXIE / time))


def test_a_trapezoid_stimulates_as_its_steeper_ramp_says():
    nerve, _ = shares(program({"duration": 2e-3, "gy": trapezoid(0.03, 400e-6, 500e-6, fall=200e-6)}))
    assert nerve == pytest.approx([0, nerve_law(0.03, 200e-6), 0])


def test_a_ramp_through_zero_counts_as_a_whole():
    swing = lobe((0, 0), (400e-6, -0.03), (600e-6, 0), (800e-6, 0.03), (1.2e-3, 0))
    nerve, _ = shares(program({"duration": 2e-3, "gx": swing}))
    assert nerve[0] == pytest.approx(nerve_law(0.06, 400e-6))


def test_a_plateau_ends_a_ramp():
    stairs = lobe((0, 0), (200e-6, 0.02), (1e-3, 0.02), (1.2e-3, 0.04), (2e-3, 0))
    nerve, _ = shares(program({"duration": 2e-3, "gx": stairs}))
    assert nerve[0] == pytest.approx(nerve_law(0.02, 200e-6))


def test_a_ramp_goes_on_over_the_border_of_blocks():
    up = lobe((0, 0), (400e-6, -0.03), (600e-6, 0))
    down = lobe((0, 0), (200e-6, 0.03), (600e-6, 0))
    nerve, _ = shares(program({"duration": 600e-6, "gx": up}, {"duration": 1e-3, "gx": down}))
    assert nerve[0] == pytest.approx(nerve_law(0.06, 400e-6))


def test_rotated_gradients_are_felt_on_the_axes_they_are_played_on():
    turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
    nerve, _ = shares(program({"duration": 2e-3, "gx": trapezoid(0.03, 200e-6, 0), "rotation": 0}, rotations=[turn]))
    assert nerve[1] == pytest.approx(nerve_law(0.03, 200e-6)) and nerve[0] == pytest.approx(0, abs=1e-12)


def test_the_shares_do_not_depend_on_the_chunk_size(monkeypatch):
    whole = shares(echo_train(0.76e-3, 9)), shares(gradient_echo(n=7))
    monkeypatch.setattr(waveforms, "CHUNK", 1)
    assert whole == (shares(echo_train(0.76e-3, 9)), shares(gradient_echo(n=7)))


def test_the_note_names_the_operating_mode():
    gentle = program({"duration": 3e-3, "gx": trapezoid(0.01, 400e-6, 1e-3)})
    steep = program({"duration": 3e-3, "gx": trapezoid(0.06, 300e-6, 1e-3)})
    assert "normal operating mode" in clear(gentle, MACHINE).notes[-1]
    note = notes(steep, MACHINE)[-1]
    assert f"{nerve_law(0.06, 300e-6):.2f} of the mean threshold on x" in note and "above first-level" in note


def test_beyond_the_mean_threshold_is_refused_and_beyond_80_percent_in_the_normal_mode_too():
    rise = 0.5e-3
    threshold = RHEOBASE / LENGTH * (rise + CHRONAXIE)
    for share, modes in ((0.78, {"normal", "first-level"}), (0.9, {"first-level"}), (1.01, set())):
        plan = program({"duration": 3e-3, "gy": trapezoid(share * threshold, rise, 1e-3)})
        passed = {mode for mode in ("normal", "first-level") if all(f.ok for f in findings(plan, MACHINE, mode=mode))}
        assert passed == modes
        told = next(f for f in findings(plan, MACHINE) if "mean threshold, y" in f.quantity)
        assert told.mode == ("normal" if share < 0.8 else "first-level" if share < 1 else "above first-level")


def test_a_long_steep_ramp_reaches_the_heart_and_is_refused():
    swing = lobe((0, 0), (600e-6, -0.12), (1.8e-3, 0.12), (2.4e-3, 0))
    broken = {f.quantity for f in findings(program({"duration": 3e-3, "gz": swing}), MACHINE) if not f.ok}
    assert broken == {
        "dB/dt, share of the cardiac limit, z",
        "nerve stimulation, share of the mean threshold, z",
        "nerve stimulation by the SAFE model, z",
        "gradient heat as r.m.s. current, z",
    }
    limit = 20 / (1 - np.exp(-1.2e-3 / 3e-3))
    assert shares(program({"duration": 3e-3, "gz": swing}))[1][2] == pytest.approx(0.24 / 1.2e-3 * LENGTH / limit)


def test_a_profile_without_coefficients_says_that_nothing_was_assessed():
    bare = replace(MACHINE, gradients=replace(MACHINE.gradients, stimulation={}))
    plan = gradient_echo(n=2)
    assert "not assessed" in notes(plan, bare)[-1]
    assert not any("cardiac" in f.quantity for f in findings(plan, bare))


def test_a_gradient_that_is_not_a_number_is_never_ok():
    plan = program({"duration": 2e-3, "gx": lobe((0, 0), (200e-6, np.nan), (400e-6, 0))})
    assert any("cardiac" in f.quantity and not f.ok for f in findings(plan, MACHINE))
