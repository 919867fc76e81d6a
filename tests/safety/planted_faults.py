"""Planted faults of a program: clocks and rasters, windows, indices, shapes, and what is no number."""

from dataclasses import replace

import numpy as np
from plans import (
    TX,
    at,
    keeper,
    pulse,
    ramp,
    with_durations,
    with_first,
    with_gradient,
    with_pulse,
    with_window,
)

from lauterbur.program import Adc, Column, Gradient

FAULTS = {}
rule = keeper(FAULTS)


@rule
def block_raster(rng, plan):
    return with_durations(rng, plan, 8e-3 + rng.uniform(1e-8, 9e-6)), None, "block duration"


@rule
def gradient_raster(rng, plan):
    return with_gradient(rng, plan, ramp(0.005, 3e-4 + rng.uniform(1e-7, 9e-6), 1e-4, 3e-4))[0], None, "gradient times"


@rule
def rf_raster(rng, plan):
    return with_pulse(rng, plan, pulse(3e-6, delay=1e-4 + rng.uniform(1e-8, 9e-7))), None, "RF times"


@rule
def adc_raster(rng, plan):
    return with_window(rng, plan, Adc(64, 5e-6 + rng.uniform(2e-9, 9e-8), 2e-5)), None, "ADC dwell"


@rule
def too_long_for_the_block(rng, plan):
    bad, _ = with_gradient(rng, plan, ramp(0.005, 3e-4, 2e-2, 3e-4))
    i = int(np.flatnonzero((bad.blocks == len(plan.gradients)).any(axis=1))[0])
    bad.durations[i] -= 1e-5 * rng.integers(1, 400)
    return bad, None, "time by which"


@rule
def dead_time(rng, plan):
    return (
        with_pulse(rng, with_first(rng, plan), pulse(3e-6, delay=1e-6 * rng.integers(0, 90))),
        None,
        "dead time needed before an RF",
    )


@rule
def ringdown(rng, plan):
    n = 500
    event = pulse(3e-6, n)
    return with_pulse(rng, with_first(rng, plan), event, 6e-4 + 1e-5 * rng.integers(0, 2)), None, "ringdown time needed"


@rule
def adc_dead_before(rng, plan):
    return (
        with_window(rng, with_first(rng, plan), Adc(64, 5e-6, 1e-6 * rng.integers(0, 9))),
        None,
        "dead time needed before an ADC",
    )


@rule
def adc_dead_after(rng, plan):
    return with_window(rng, with_first(rng, plan), Adc(60, 5e-6, 2e-5), 3.2e-4), None, "dead time needed after an ADC"


@rule
def overlap_of_pulse_and_window(rng, plan):
    bad = with_pulse(rng, plan, pulse(3e-6))
    i = int(np.flatnonzero(bad.blocks[:, Column.RF] == len(plan.rf))[0])
    bad.blocks[i, Column.ADC] = 0
    return bad, None, "dead time needed"


@rule
def samples(rng, plan):
    return with_window(rng, plan, Adc(int(rng.integers(65_537, 200_000)), 1e-6, 2e-5)), None, "samples in one ADC"


@rule
def sampling_rate(rng, plan):
    return with_window(rng, plan, Adc(64, 1e-7 * rng.integers(1, 10), 2e-5)), None, "ADC sampling rate"


@rule
def no_samples(rng, plan):
    return with_window(rng, plan, Adc(int(rng.integers(-5, 1)), 5e-6, 2e-5)), None, "events whose arrays"


@rule
def modulation_of_the_wrong_length(rng, plan):
    return with_window(rng, plan, Adc(64, 5e-6, 2e-5, phase_modulation=np.zeros(63))), None, "events whose arrays"


@rule
def adc_nan(rng, plan):
    field = rng.choice(["frequency_offset", "phase_offset", "frequency_ppm", "phase_ppm"])
    return with_window(rng, plan, replace(Adc(64, 5e-6, 2e-5), **{field: np.nan})), None, "events that hold"


@rule
def negative_duration(rng, plan):
    return with_durations(rng, plan, -1e-5 * rng.integers(1, 900)), None, "step back"


@rule
def negative_delay(rng, plan):
    return with_pulse(rng, plan, pulse(3e-6, delay=-1e-6 * rng.integers(1, 90))), None, "step back"


@rule
def time_runs_back(rng, plan):
    back = Gradient(np.array([0, 2e-4, 1e-4, 3e-4]), np.array([0, 1e5, 1e5, 0]))
    return with_gradient(rng, plan, back)[0], None, "step back"


@rule
def duration_no_number(rng, plan):
    return with_durations(rng, plan, rng.choice([np.nan, np.inf, -np.inf])), None, "faults of the block table"


@rule
def too_long_a_program(rng, plan):
    return with_durations(rng, plan, float(rng.integers(86_401, 10**9))), None, "program duration"


@rule
def no_such_event(rng, plan):
    bad = replace(plan, blocks=plan.blocks.copy())
    bad.blocks[at(rng, plan), rng.integers(len(Column))] = rng.choice([-2, 99, 2**31 - 1, -(2**31)])
    return bad, None, "indices without an event"


@rule
def table_of_the_wrong_shape(rng, plan):
    choices = (plan.blocks[:, :8], plan.blocks.astype(float), plan.blocks[1:], plan.blocks[0])
    return replace(plan, blocks=choices[rng.integers(4)]), None, "faults of the block table"


@rule
def samples_without_times(rng, plan):
    good_pulse = pulse(3e-6)
    bad = (
        replace(good_pulse, time=good_pulse.time[:-1])
        if rng.random() < 0.5
        else replace(good_pulse, waveform=np.zeros((2, 3)))
    )
    return with_pulse(rng, plan, bad), None, "events whose arrays"


@rule
def an_empty_pulse(rng, plan):
    return (
        with_pulse(rng, plan, replace(pulse(3e-6), waveform=np.zeros(0), time=np.zeros(0))),
        None,
        "events whose arrays",
    )


@rule
def a_pulse_of_no_length(rng, plan):
    return with_pulse(rng, plan, replace(pulse(3e-6), duration=-rng.choice([0.0, 1e-3]))), None, "events whose arrays"


@rule
def gradient_of_two_lengths(rng, plan):
    return with_gradient(rng, plan, Gradient(np.array([0, 1e-3]), np.zeros(3)))[0], None, "events whose arrays"


@rule
def pulse_no_number(rng, plan):
    event = pulse(3e-6)
    wave = event.waveform.copy()
    wave[rng.integers(len(wave))] = rng.choice([np.nan, np.inf, complex(0, np.nan)])
    return with_pulse(rng, plan, replace(event, waveform=wave)), None, "RF peak B1"


@rule
def pulse_overflow(rng, plan):
    return with_pulse(rng, plan, pulse(1e295)), None, "RF peak power"


@rule
def pulse_phase_no_number(rng, plan):
    field = rng.choice(["frequency_offset", "phase_offset", "center", "frequency_ppm", "phase_ppm"])
    return (
        with_pulse(rng, plan, replace(pulse(3e-6), **{field: rng.choice([np.nan, np.inf])})),
        None,
        "events that hold",
    )


@rule
def rotation_that_stretches(rng, plan):
    turns = plan.rotations * rng.choice([1.01, 2.0, 0.0, np.nan])
    return replace(plan, rotations=turns), None, "rotations that do not turn"


@rule
def rotation_of_the_wrong_shape(rng, plan):
    bad = replace(plan, rotations=np.zeros((1, 3, 2)))
    bad.blocks[:, Column.ROTATION] = -1
    return bad, None, "rotations that do not fit"


@rule
def shim_of_the_wrong_length(rng, plan):
    n = int(rng.choice([1, 2, TX - 1, TX + 1, 64]))
    return replace(plan, shims=np.ones((1, n), complex)), None, "shims that do not fit"


@rule
def shim_no_number(rng, plan):
    shims = plan.shims.copy()
    shims[0, rng.integers(TX)] = rng.choice([np.nan, np.inf])
    return replace(plan, shims=shims), None, "events that hold"


@rule
def drive_no_number(rng, plan):
    return replace(plan, reference_drive=rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0])), None, "reference drives"
