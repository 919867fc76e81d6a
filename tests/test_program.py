"""The vocabulary of programs: waveforms as steps and points, phases and their signs, and the content hash."""

from dataclasses import fields, replace

import numpy as np
import pytest

from lauterbur.program import (
    Adc,
    Column,
    Gradient,
    Program,
    RfPulse,
    SoftDelay,
    Trigger,
    adc_blocks,
    b1,
    block_starts,
    duration,
    gradient_points,
    program_hash,
    receiver_phase,
    rf_steps,
    shim_weights,
)

RNG = np.random.default_rng(5)


def trapezoid(amplitude, rise=1e-4, flat=5e-4, fall=2e-4, delay=0.0):
    return Gradient(np.cumsum([0, rise, flat, fall]), amplitude * np.array([0.0, 1, 1, 0]), delay)


def one_block(gx=None, gy=None, gz=None, length=1e-3, rotation=None):
    gradients = tuple(g for g in (gx, gy, gz) if g is not None)
    row = np.full((1, len(Column)), -1, np.int32)
    for column, gradient in ((Column.GX, gx), (Column.GY, gy), (Column.GZ, gz)):
        if gradient is not None:
            row[0, column] = gradients.index(gradient)
    rotations = np.zeros((0, 3, 3)) if rotation is None else rotation[None]
    row[0, Column.ROTATION] = -1 if rotation is None else 0
    return Program(blocks=row, durations=np.array([length]), gradients=gradients, rotations=rotations)


def played(program, at):
    time, values = gradient_points(program, 0)
    return np.stack([np.interp(at, time, values[:, axis]) for axis in range(3)], axis=1)


def area(time, values):
    return np.sum(np.diff(time)[:, None] * (values[1:] + values[:-1]) / 2, axis=0)


# ---- RF


def test_steps_of_a_stepped_pulse_keep_its_area_and_duration():
    waveform = RNG.normal(size=200) + 1j * RNG.normal(size=200)
    waveform[50:90] = waveform[50]
    pulse = RfPulse(waveform, (np.arange(200) + 0.5) * 1e-6, 200e-6)
    lengths, values = rf_steps(pulse)
    assert len(values) == 161  # forty equal steps became one
    assert np.sum(lengths) == pytest.approx(200e-6)
    assert np.sum(lengths * values) == pytest.approx(np.sum(waveform) * 1e-6)


def test_steps_of_a_pulse_of_points_keep_its_area_and_are_no_longer_than_the_raster():
    time = np.array([0.0, 13e-6, 40e-6, 40e-6, 77e-6])
    waveform = np.array([1.0, 5.0, 2.0, -3.0, 4.0j])
    pulse = RfPulse(waveform, time, 80e-6, is_stepped=False)
    lengths, values = rf_steps(pulse, 1e-6)
    assert np.max(lengths[:-1]) <= 1.01e-6 and values[-1] == 0
    assert np.sum(lengths) == pytest.approx(80e-6)
    assert np.sum(lengths * values) == pytest.approx(np.sum(np.diff(time) * (waveform[1:] + waveform[:-1]) / 2))


def test_a_block_pulse_of_two_points_is_one_step():
    lengths, values = rf_steps(RfPulse(np.array([250.0, 250.0]) + 0j, np.array([0.0, 1e-3]), 1e-3, is_stepped=False))
    np.testing.assert_allclose(lengths, [1e-3])
    np.testing.assert_array_equal(values, [250.0])


def test_a_higher_transmit_frequency_turns_b1_clockwise_like_a_spin_of_that_offset():
    pulse = RfPulse(np.ones(10) + 0j, np.arange(10) * 1e-4, 1e-3, frequency_offset=300.0)
    time = np.linspace(0, 1e-3, 7)
    field = b1(pulse, time, np.ones(7) + 0j)
    np.testing.assert_allclose(field, np.exp(-2j * np.pi * 300.0 * time), atol=1e-12)


def test_ppm_offsets_scale_with_the_larmor_frequency():
    pulse = RfPulse(np.ones(1) + 0j, np.zeros(1), 1e-3, frequency_ppm=-3.45, phase_ppm=0.02)
    at_5t = b1(pulse, np.array([1e-3]), np.ones(1) + 0j, larmor_frequency=210e6)
    assert at_5t[0] == pytest.approx(np.conj(np.exp(1j * (0.02 * 210 + 2 * np.pi * -3.45 * 210 * 1e-3))))


@pytest.mark.parametrize("phase", [0.3, 2.0, -1.1])
def test_the_same_phase_on_pulse_and_receiver_cancels(phase):
    field = b1(RfPulse(np.ones(1) + 0j, np.zeros(1), 1e-3, phase_offset=phase), np.zeros(1), np.ones(1) + 0j)
    magnetisation = field[0]  # what a pulse tips follows its phase
    samples = magnetisation * receiver_phase(Adc(4, 1e-5, phase_offset=phase))
    np.testing.assert_allclose(samples, 1.0)


def test_a_receiver_offset_brings_a_spin_of_that_offset_to_rest():
    adc = Adc(32, 1e-5, frequency_offset=700.0, frequency_ppm=2.0, phase_modulation=np.linspace(0, 1, 32))
    time = (np.arange(32) + 0.5) * 1e-5
    spin = np.exp(-2j * np.pi * (700.0 + 2.0 * 100) * time)
    samples = spin * receiver_phase(adc, larmor_frequency=100e6)
    np.testing.assert_allclose(samples, np.exp(1j * adc.phase_modulation), atol=1e-12)


def test_shim_weights_turn_in_our_sense():
    program = replace(one_block(), shims=np.array([[1.0, 1j]]))
    assert shim_weights(program, 0) is None
    program.blocks[0, Column.SHIM] = 0
    np.testing.assert_allclose(shim_weights(program, 0), [1.0, -1j])


# ---- gradients


def test_points_cover_the_block_and_keep_every_area():
    gx, gy, gz = trapezoid(3e5, delay=7e-5), trapezoid(-1e5, rise=2e-4), trapezoid(2e5, flat=0.0)
    time, values = gradient_points(one_block(gx, gy, gz), 0)
    assert time[0] == 0 and time[-1] == 1e-3 and np.all(np.diff(time) >= 0)
    expected = [a * (r / 2 + f + 1e-4) for a, r, f in ((3e5, 1e-4, 5e-4), (-1e5, 2e-4, 5e-4), (2e5, 1e-4, 0.0))]
    np.testing.assert_allclose(area(time, values), expected)


def test_points_of_a_block_without_gradients_are_zero():
    time, values = gradient_points(one_block(), 0)
    np.testing.assert_array_equal(time, [0, 1e-3])
    assert not np.any(values)


def test_a_block_without_duration_still_has_points():
    time, values = gradient_points(one_block(Gradient(np.zeros(2), np.zeros(2)), length=0.0), 0)
    assert len(time) == len(values) == 2 and not np.any(values)


def test_waveforms_between_points_are_the_events_own():
    gx = Gradient(np.sort(RNG.uniform(0, 8e-4, 40)), RNG.normal(size=40), delay=1e-4)
    gy = trapezoid(1.0)
    at = RNG.uniform(0, 1e-3, 500)
    values = played(one_block(gx, gy), at)
    np.testing.assert_allclose(values[:, 0], np.interp(at - 1e-4, gx.time, gx.waveform, 0, 0), atol=1e-6)
    np.testing.assert_allclose(values[:, 1], np.interp(at, gy.time, gy.waveform, 0, 0), atol=1e-6)
    assert not np.any(values[:, 2])


def test_a_jump_is_two_points_at_one_time():
    step = Gradient(np.array([0.0, 5e-4, 5e-4, 8e-4]), np.array([2.0, 2.0, -1.0, -1.0]))
    time, values = gradient_points(one_block(step, trapezoid(1.0, rise=3e-4)), 0)
    middle = np.flatnonzero(np.isclose(time, 5e-4))
    np.testing.assert_allclose(values[middle, 0], [2.0, -1.0])
    end = np.flatnonzero(np.isclose(time, 8e-4))
    np.testing.assert_allclose(values[end, 0], [-1.0, 0.0])
    assert values[0, 0] == 2.0  # begins at its first value: the jump lies before the block
    assert area(time, values)[0] == pytest.approx(2.0 * 5e-4 - 3e-4)


def test_a_jump_at_a_delayed_start_is_kept():
    late = Gradient(np.array([0.0, 3e-4]), np.array([4.0, 4.0]), delay=2e-4)
    time, values = gradient_points(one_block(late), 0)
    np.testing.assert_allclose(values[np.isclose(time, 2e-4), 0], [0.0, 4.0])
    assert area(time, values)[0] == pytest.approx(4.0 * 3e-4)


def test_an_edge_value_at_the_end_of_the_block_is_kept_for_the_next_one():
    open_end = Gradient(np.array([0.0, 1e-4, 1e-3]), np.array([0.0, 6.0, 6.0]))
    assert gradient_points(one_block(open_end), 0)[1][-1, 0] == 6.0


def test_rotations_turn_what_is_played():
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to y
    plain = gradient_points(one_block(trapezoid(3.0), None, trapezoid(1.0)), 0)
    time, values = gradient_points(one_block(trapezoid(3.0), None, trapezoid(1.0), rotation=turn), 0)
    np.testing.assert_array_equal(time, plain[0])
    np.testing.assert_allclose(values[:, 1], plain[1][:, 0])
    np.testing.assert_allclose(values[:, 0], 0.0)
    np.testing.assert_allclose(values[:, 2], plain[1][:, 2])


# ---- the whole


def test_blocks_follow_each_other_without_gaps():
    blocks = np.full((3, len(Column)), -1, np.int32)
    blocks[[0, 2], Column.ADC] = 0
    program = Program(blocks=blocks, durations=np.array([1e-3, 2e-3, 4e-3]), adc=(Adc(4, 1e-5),))
    np.testing.assert_allclose(block_starts(program), [0, 1e-3, 3e-3, 7e-3])
    assert duration(program) == pytest.approx(7e-3)
    assert adc_blocks(program).tolist() == [0, 2]
    assert program.n_blocks == 3


def test_equal_programs_hash_alike_and_different_ones_do_not():
    program = one_block(trapezoid(1.0))
    assert program_hash(program) == program_hash(one_block(trapezoid(1.0)))
    others = [
        one_block(trapezoid(1.0 + 1e-15)),
        one_block(trapezoid(1.0), length=2e-3),
        one_block(None, trapezoid(1.0)),
        replace(program, adc=(Adc(4, 1e-5),)),
        replace(program, rf=(RfPulse(np.ones(1) + 0j, np.zeros(1), 1e-3),)),
        replace(program, labels={"LIN": np.zeros(1, np.int32)}),
    ]
    assert len({program_hash(p) for p in [program, *others]}) == 7


def test_whatever_changes_what_is_played_changes_the_hash():
    row = np.zeros((1, len(Column)), np.int32)
    plan = Program(
        row,
        np.array([8e-3]),
        (RfPulse(np.ones(2) + 0j, np.array([0.5e-3, 1.5e-3]), 2e-3, use="excitation"),),
        (trapezoid(1.0),),
        (Adc(4, 1e-5, phase_modulation=np.zeros(4)),),
        np.eye(3)[None],
        np.ones((1, 2), complex),
        ((Trigger(1, 2, 1e-3, 1e-4),),),
        (SoftDelay(0, 0.0, 1.0, "TE"),),
        {"LIN": np.zeros(1, np.int32)},
        reference_drive=0.02,
    )
    unheard = {"Gradient": {"kind"}, "Program": {"definitions", "rasters"}}

    def changed(value):
        if isinstance(value, np.ndarray):
            return value + 1
        if isinstance(value, dict):
            return {key: changed(entry) for key, entry in value.items()}
        if isinstance(value, tuple):
            return value + value
        if isinstance(value, bool):
            return not value
        return f"{value} other" if isinstance(value, str) else value + 0.5

    others = {}
    for thing in (plan, plan.rf[0], plan.gradients[0], plan.adc[0], plan.triggers[0][0], plan.soft_delays[0]):
        kind = type(thing).__name__
        for each in fields(thing):
            if each.name in unheard.get(kind, ()):
                continue
            other = replace(thing, **{each.name: changed(getattr(thing, each.name))})
            place = {"RfPulse": "rf", "Gradient": "gradients", "Adc": "adc", "SoftDelay": "soft_delays"}.get(kind)
            if kind == "Trigger":
                other = replace(plan, triggers=((other,),))
            elif place:
                other = replace(plan, **{place: (other,)})
            others[f"{kind}.{each.name}"] = program_hash(other)
    assert program_hash(plan) not in others.values(), [k for k, v in others.items() if v == program_hash(plan)]
    assert len(set(others.values())) == len(others)
    assert program_hash(replace(plan, reference_drive=None)) not in {program_hash(plan), *others.values()}
    split = (Gradient(np.zeros(1), np.zeros(1)), Gradient(np.zeros(3), np.zeros(3)))
    assert program_hash(replace(plan, gradients=split)) != program_hash(replace(plan, gradients=split[::-1]))


def test_a_negative_zero_does_not_change_the_hash():
    assert program_hash(one_block(trapezoid(0.0))) == program_hash(one_block(trapezoid(-0.0)))
