"""Forbidden bands: trains at a forbidden spacing are refused, and what is not a train is let through."""

from dataclasses import replace

import numpy as np
import pytest
from gate_programs import echo_train, gradient_echo, program, trapezoid

from lauterbur.safety.gate import findings
from lauterbur.scanner.profiles import load_scanner

MACHINE = load_scanner("5T")


def share(plan, machine=MACHINE):
    """The largest share of a train's line inside any forbidden band."""
    return max(f.value for f in findings(plan, machine) if f.quantity.startswith("gradient power in"))


@pytest.mark.parametrize("spacing", [0.62e-3, 0.66e-3, 0.7e-3, 0.84e-3, 1.02e-3, 1.13e-3])
def test_an_echo_train_at_a_forbidden_spacing_is_refused(spacing):
    assert share(echo_train(spacing, 64)) > 0.6


@pytest.mark.parametrize("period", [0.66e-3, 0.84e-3, 1.02e-3, 1.12e-3])
def test_a_train_with_a_forbidden_period_is_refused(period):
    assert share(echo_train(period / 2, 128, rise=50e-6, amplitude=0.01)) > 0.6


@pytest.mark.parametrize("spacing", [0.47e-3, 0.75e-3, 0.93e-3, 1.3e-3])
def test_an_echo_train_between_the_bands_passes(spacing):
    assert share(echo_train(spacing, 64)) < 0.5


@pytest.mark.parametrize("tr", [5.7e-3, 6.4e-3, 7e-3, 8.3e-3, 11e-3])
def test_an_ordinary_gradient_echo_is_no_forbidden_train(tr):
    assert share(gradient_echo(tr)) < 0.35


def test_a_single_lobe_is_no_train():
    assert share(program({"duration": 0.2}, {"duration": 0.2, "gx": trapezoid(0.03, 150e-6, 200e-6)})) < 0.3


@pytest.mark.parametrize("start", np.linspace(0, 0.05, 6))
def test_a_short_train_is_found_wherever_it_lies(start):
    lobes = [trapezoid(s * 0.02, 100e-6, 460e-6) for s in (1, -1)]
    train = [{"duration": 0.66e-3, "gx": lobes[i % 2]} for i in range(32)]
    assert share(program({"duration": round(start, 5)}, *train, {"duration": 1.0})) > 0.6


def test_a_turned_train_is_found_on_the_axis_it_sounds_on():
    plan = echo_train(0.66e-3, 64)
    turned = replace(plan, rotations=np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]]))
    turned.blocks[:, 5] = 0
    worst = max((f for f in findings(turned, MACHINE) if "gradient power in" in f.quantity), key=lambda f: f.value)
    assert worst.value > 0.6 and " on y" in worst.where


def test_a_machine_without_forbidden_bands_has_no_such_findings():
    quiet = replace(MACHINE, gradients=replace(MACHINE.gradients, forbidden_bands=()))
    assert not [f for f in findings(echo_train(0.66e-3, 8), quiet) if "gradient power in" in f.quantity]
