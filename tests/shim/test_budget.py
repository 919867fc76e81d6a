"""Budgets are read from programs as they are played, short windows included."""

from dataclasses import replace

import numpy as np
import pytest
from shim_fields import ellipsoid_fields, synthetic_sar
from test_trains import hard_program

import lauterbur as lb
from lauterbur.errors import InputError
from lauterbur.safety.limits import iec_limits
from lauterbur.safety.sar import sar_of
from lauterbur.shim.budget import Budget, budget_of, forms, worst
from lauterbur.shim.shim import design_shim
from lauterbur.units import GAMMA_BAR


def repeated(n, tr, angle=0.3):
    one = hard_program(angle)
    blocks = np.tile(one.blocks, (n, 1))
    durations = np.tile([320e-6, tr - 320e-6], n)
    return replace(one, blocks=blocks, durations=durations, labels={})


def test_root_mean_square_and_peak_of_a_steady_program():
    scanner, limits = lb.load_scanner("5T"), iec_limits("normal")
    budget = budget_of(repeated(40_000, 10e-3), scanner, limits=limits)
    amplitude = 0.3 / (2 * np.pi * 200e-6) / GAMMA_BAR
    assert budget.peak_b1 == pytest.approx(amplitude, rel=1e-6)
    assert budget.rms_b1 == pytest.approx(amplitude * np.sqrt(200e-6 / 10e-3), rel=1e-4)
    assert budget.peak_power == scanner.transmit.peak_power


def test_a_burst_counts_by_the_limit_of_the_short_window():
    scanner, limits = lb.load_scanner("5T"), iec_limits("normal")
    burst = repeated(1000, 10e-3)  # 10 s of pulses, then 350 s of rest
    rest = replace(
        burst, blocks=np.concatenate((burst.blocks, burst.blocks[1:2])), durations=np.append(burst.durations, 350.0)
    )
    amplitude = 0.3 / (2 * np.pi * 200e-6) / GAMMA_BAR
    steady = amplitude * np.sqrt(200e-6 / 10e-3)
    assert budget_of(rest, scanner, limits=limits).rms_b1 == pytest.approx(steady / np.sqrt(2), rel=2e-3)


def test_shares_of_limits_are_those_of_the_safety_room():
    sar, limits = synthetic_sar(), iec_limits("normal", 0.2)
    rng = np.random.default_rng(0)
    w = (rng.normal(size=8) + 1j * rng.normal(size=8)) * 2e6  # sqrt(W)/T
    budget = Budget(1.5e-6, 8e-6, limits)
    share, name = worst(forms(8, sar, budget), w)
    heat = sar_of(sar, w * 1.5e-6)
    expected = {q: e.value / getattr(limits, q) for q, e in heat.items()}
    assert share == pytest.approx(max(expected.values()))
    assert name.startswith("local")
    volts = Budget(1e-6, 8e-6, peak_voltage=100.0)
    assert worst(forms(8, None, volts), w)[0] == pytest.approx(
        np.max(np.abs(w) ** 2) * 64e-12 / 100
    )  # V^2 / (2 Z) = 100 W


def test_volts_at_a_plug_count_what_the_coil_sends_back():
    fields = ellipsoid_fields(voxel=0.02)
    back = 0.3 * (np.roll(np.eye(8), 1, axis=1) + np.roll(np.eye(8), -1, axis=1)) * np.exp(0.7j)
    fields = replace(fields, s_matrix=back)
    free = design_shim(fields, budget=Budget(1e-6, 8e-6, peak_voltage=1e6))
    volts = 10 * np.abs((np.eye(8) + back) @ free.weights) * free.reference_drive * 8e-6 * GAMMA_BAR
    assert free.promised["peak voltage, V"] == pytest.approx(volts.max())
    limit = 0.8 * volts.max()
    tight = design_shim(fields, mode="sar", budget=Budget(1e-6, 8e-6, peak_voltage=limit))
    assert 0.97 * limit < tight.promised["peak voltage, V"] <= limit
    with pytest.raises(InputError, match="S-matrix"):
        design_shim(replace(fields, s_matrix=back[:3, :3]), mode="sar", budget=Budget(1e-6, 8e-6, peak_voltage=limit))


def test_a_program_without_pulses_has_no_budget():
    program = hard_program(0.1)
    with pytest.raises(InputError, match="plays no RF"):
        budget_of(replace(program, rf=(), blocks=np.full_like(program.blocks, -1)), lb.load_scanner("5T"))
