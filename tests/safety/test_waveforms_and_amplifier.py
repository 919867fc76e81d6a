"""Bulk waveforms against the slow, obvious rendering block by block; amplifiers against closed forms."""

import numpy as np
import pytest
from gate_programs import lobe, program, trapezoid
from hypothesis import given, settings
from hypothesis import strategies as st

from lauterbur.program import block_starts, gradient_points
from lauterbur.safety import waveforms
from lauterbur.safety.gate import findings
from lauterbur.safety.waveforms import chunks
from lauterbur.scanner.profiles import load_scanner
from lauterbur.units import GAMMA_BAR

MACHINE = load_scanner("5T")
COIL = MACHINE.gradients


def value(plan, quantity):
    return next(f.value for f in findings(plan, MACHINE) if f.quantity == quantity)


def turn(angle):
    return [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]


def slow(plan, time):
    """(3, time) T/m, block by block."""
    edges = block_starts(plan)
    wave = np.zeros((3, len(time)))
    for i in range(plan.n_blocks):
        points, values = gradient_points(plan, i)
        inside = (time > edges[i]) & (time < edges[i + 1])
        for axis in range(3):
            wave[axis, inside] = np.interp(time[inside] - edges[i], points, values[:, axis]) / GAMMA_BAR
    return wave


@st.composite
def plans(draw):
    amplitude = st.floats(-0.05, 0.05)
    blocks = []
    for _ in range(draw(st.integers(1, 6))):
        block = {"duration": 1e-3}
        for axis in ("gx", "gy", "gz"):
            if draw(st.booleans()):
                block[axis] = trapezoid(draw(amplitude), 200e-6, 300e-6, delay=1e-5 * draw(st.integers(0, 20)))
        if draw(st.booleans()):
            block["rotation"] = draw(st.integers(0, 2))
        blocks.append(block)
    return program(*blocks, rotations=[turn(0.3), turn(-1.2), turn(2.0)])


@settings(max_examples=60, deadline=None)
@given(plans())
def test_bulk_segments_are_the_waveform_rendered_block_by_block(plan):
    time = np.arange(7e-6, block_starts(plan)[-1], 13e-6)
    fast = np.stack([piece.sample(time) for piece in next(iter(chunks(plan)))])
    np.testing.assert_allclose(fast, slow(plan, time), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(plans())
def test_findings_do_not_depend_on_the_chunk_size(plan):
    whole = findings(plan, MACHINE)
    kept, waveforms.CHUNK = waveforms.CHUNK, 5
    try:
        pieces = findings(plan, MACHINE)
    finally:
        waveforms.CHUNK = kept
    for a, b in zip(whole, pieces, strict=True):
        assert a.quantity == b.quantity and a.value == pytest.approx(b.value, rel=1e-6, abs=1e-12)


def test_amplitude_slew_volts_and_watts_follow_from_the_trapezoid():
    amplitude, rise = 0.06, 400e-6
    plan = program({"duration": 2e-3, "gy": trapezoid(amplitude, rise, 1e-3)})
    slew = amplitude / rise
    amps, volts = amplitude / COIL.sensitivity, COIL.inductance * slew / COIL.sensitivity
    assert value(plan, "gradient amplitude, y") == pytest.approx(amplitude)
    assert value(plan, "gradient slew, y") == pytest.approx(slew)
    assert value(plan, "gradient amplifier current, y") == pytest.approx(amps)
    assert value(plan, "gradient amplifier volts, y") == pytest.approx(volts + COIL.resistance * amps)
    assert value(plan, "gradient amplifier power, y") == pytest.approx((volts + COIL.resistance * amps) * amps)
    heat = amps**2 * (1e-3 + 2 * rise / 3)
    assert value(plan, "gradient r.m.s. current, y") == pytest.approx(np.sqrt(heat / 10))


def test_a_turned_gradient_loads_the_axes_it_is_turned_to():
    lone = trapezoid(0.1, 1e-3, 0)
    plan = program({"duration": 2e-3, "gx": lone, "rotation": 0}, rotations=[turn(np.pi / 6)])
    assert value(plan, "gradient amplitude, x") == pytest.approx(0.1 * np.cos(np.pi / 6))
    assert value(plan, "gradient amplitude, y") == pytest.approx(0.1 * np.sin(np.pi / 6))


def test_two_axes_within_their_limits_may_turn_into_one_beyond_it():
    lone = trapezoid(0.1, 1e-3, 0)
    plan = program({"duration": 2e-3, "gx": lone, "gy": lone, "rotation": 0}, rotations=[turn(np.pi / 4)])
    assert {f.quantity for f in findings(plan, MACHINE) if not f.ok} >= {"gradient amplitude, y"}


def test_gradients_may_go_on_over_a_border_but_not_jump_there():
    up, down = lobe((0, 0), (1e-3, 0.02)), lobe((0, 0.02), (1e-3, 0))
    other = lobe((0, 0.03), (1e-3, 0))
    joined = program({"duration": 1e-3, "gx": up}, {"duration": 1e-3, "gx": down})
    assert value(joined, "gradient step, x") == 0
    jumping = program({"duration": 1e-3, "gx": up}, {"duration": 1e-3, "gx": other})
    assert value(jumping, "gradient step, x") == pytest.approx(0.01)
    dropped = program({"duration": 1e-3, "gx": up}, {"duration": 1e-3})
    assert value(dropped, "gradient step, x") == pytest.approx(0.02)
    sudden = program({"duration": 2e-3, "gx": lobe((0, 0.02), (1e-3, 0), delay=5e-4)})
    assert value(sudden, "gradient step, x") == pytest.approx(0.02)
    crossed = program({"duration": 1e-3, "gx": up}, {"duration": 1e-3, "gy": down})
    assert value(crossed, "gradient step, x") == value(crossed, "gradient step, y") == pytest.approx(0.02)


def test_a_step_inside_a_waveform_is_a_step():
    plan = program({"duration": 2e-3, "gx": lobe((0, 0), (1e-3, 0.01), (1e-3, 0.03), (2e-3, 0))})
    assert value(plan, "gradient step, x") == pytest.approx(0.02)


def test_a_turn_between_blocks_is_a_step():
    up, down = lobe((0, 0), (1e-3, 0.02)), lobe((0, 0.02), (1e-3, 0))
    plan = program(
        {"duration": 1e-3, "gx": up, "rotation": 0},
        {"duration": 1e-3, "gx": down, "rotation": 1},
        rotations=[turn(0), turn(np.pi / 2)],
    )
    assert value(plan, "gradient step, y") == pytest.approx(0.02)


def test_the_worst_ten_seconds_are_found_inside_a_long_program():
    busy, idle = trapezoid(0.08, 1e-3, 0.498), {"duration": 1.0}
    plan = program(*[idle] * 30, *[{"duration": 0.5, "gx": busy}] * 20, *[idle] * 30)
    rms = value(plan, "gradient r.m.s. current, x")
    assert rms == pytest.approx(1000 * np.sqrt((0.498 + 2e-3 / 3) / 0.5), rel=1e-6)


def test_heat_counts_when_it_is_made_however_long_its_block():
    plan = program({"duration": 30.0, "gx": trapezoid(0.05, 1e-3, 4.998)}, {"duration": 30.0})
    amps = 0.05 / COIL.sensitivity
    heat = amps**2 * (4.998 + 2e-3 / 3)
    assert value(plan, "gradient r.m.s. current, x") == pytest.approx(np.sqrt(heat / 10), rel=1e-9)


def test_mean_power_is_the_energy_of_the_ramps_as_if_none_came_back():
    amplitude = 0.08
    plan = program(*[{"duration": 10e-3, "gy": trapezoid(amplitude, 1e-3, 2e-3)}] * 2000)
    energy = COIL.inductance * (amplitude / COIL.sensitivity) ** 2 / 2  # J in the field, up once and down once
    assert value(plan, "gradient mean power, y") == pytest.approx(2 * energy / 10e-3, rel=1e-3)


def test_the_store_of_heat_is_what_plain_steps_through_many_repetitions_fill():
    rng = np.random.default_rng(4)
    lengths = np.round(rng.uniform(0.5, 8.0, 12), 2)
    plan = program(*[{"duration": d, "gz": trapezoid(rng.uniform(0.01, 0.06), 1e-3, d - 2e-3)} for d in lengths])
    tau, held, worst = COIL.heating_time, 0.0, 0.0
    squared = [np.mean(np.array(g.waveform[1:3])) ** 2 for g in plan.gradients]
    squared = np.array(squared) / (GAMMA_BAR * COIL.sensitivity) ** 2
    for _ in range(30):
        for current_squared, length in zip(squared, lengths, strict=True):
            for _ in range(50):
                held += (current_squared - held) * length / 50 / tau
                worst = max(worst, held)
    found = value(plan, "gradient heat as r.m.s. current, z")
    assert np.sqrt(worst) <= found <= np.sqrt(worst) * 1.05  # a block's heat comes at its end: a little too much


def test_both_amplifiers_judge_the_same_program_by_their_own_volts_and_amps():
    weak = load_scanner("5T-2.7MW")
    plan = program({"duration": 4e-3, "gx": trapezoid(0.1, 1e-3, 1e-3)})
    assert value(plan, "gradient amplifier current, x") == pytest.approx(1250)
    broken = {f.quantity for f in findings(plan, weak) if not f.ok}
    assert {"gradient amplitude, x", "gradient amplifier current, x"} <= broken
    assert not {"gradient amplitude, x", "gradient amplifier current, x"} & {
        f.quantity for f in findings(plan, MACHINE) if not f.ok
    }
