"""Random programs that pass the gate, and one planted violation in each: every rule, at any block.

plan = good(rng)                          # passes
bad, sar, quantity = RULES[name](rng, plan)   # must be refused, and by the finding whose name begins with `quantity`;
                                              # sar is None where the rule has nothing to do with heating
"""

from dataclasses import replace

import numpy as np

from lauterbur.program import Adc, Column, Gradient, Program, RfPulse
from lauterbur.safety.sar import sar_from_matrices
from lauterbur.scanner.profiles import load_scanner
from lauterbur.units import GAMMA_BAR

MACHINE = load_scanner("5T")
TX = MACHINE.transmit.channels
DRIVE = 0.05  # sqrt(W)/Hz
COOL = sar_from_matrices(
    np.eye(TX)[None] * 1e-5, whole_body=np.eye(TX) * 1e-6, head=np.eye(TX) * 1e-6, partial_body=np.eye(TX) * 1e-6
)


def ramp(amplitude, rise, flat, fall, delay=0.0):
    time = np.round(np.cumsum([0.0, rise, flat, fall]), 9)
    return Gradient(time, GAMMA_BAR * np.array([0.0, amplitude, amplitude, 0.0]), delay)


def pulse(b1, n=500, delay=1e-4, use="excitation"):
    time = (np.arange(n) + 0.5) * 1e-6
    shape = np.hanning(n + 2)[1:-1] * np.exp(1j * np.linspace(0, 1, n))
    return RfPulse(GAMMA_BAR * b1 * shape, time, n * 1e-6, delay, n * 5e-7, use=use)


def good(rng):
    """A few blocks of everything the machine has, within all limits."""
    n_g, n_blocks = 6, int(rng.integers(3, 10))
    rises = 1e-5 * rng.integers(20, 40, n_g)
    gradients = tuple(
        ramp(
            rng.uniform(-0.012, 0.012),
            r,
            1e-5 * rng.integers(1, 40),
            r + 1e-5 * rng.integers(0, 10),
            1e-5 * rng.integers(0, 9),
        )
        for r in rises
    )
    rf = (pulse(rng.uniform(1e-6, 6e-6)), pulse(rng.uniform(1e-6, 6e-6), use="refocusing"))
    adc = (Adc(64, 5e-6, 2e-5), Adc(100, 4e-6, 3e-5))
    blocks = np.full((n_blocks, len(Column)), -1, np.int32)
    kind = rng.integers(0, 3, n_blocks)  # a pulse, a window, or neither
    blocks[:, Column.RF] = np.where(kind == 0, rng.integers(0, 2, n_blocks), -1)
    blocks[:, Column.ADC] = np.where(kind == 1, rng.integers(0, 2, n_blocks), -1)
    for column in (Column.GX, Column.GY, Column.GZ):
        blocks[:, column] = np.where(rng.random(n_blocks) < 0.6, rng.integers(0, n_g, n_blocks), -1)
    angle = rng.uniform(-3, 3)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    blocks[:, Column.ROTATION] = np.where(rng.random(n_blocks) < 0.2, 0, -1)
    blocks[:, Column.SHIM] = np.where((kind == 0) & (rng.random(n_blocks) < 0.5), 0, -1)
    shims = np.exp(2j * np.pi * rng.random((1, TX)))
    durations = 1e-5 * rng.integers(500, 900, n_blocks)
    return Program(
        blocks, durations, rf, gradients, adc, turn[None], shims, reference_drive=DRIVE, definitions={"TR": (0.02,)}
    )


def at(rng, plan):
    return int(rng.integers(plan.n_blocks))


def with_gradient(rng, plan, gradient):
    """One axis of one block plays it, unturned; the block is long enough, and its neighbours leave that axis silent."""
    i, axis = at(rng, plan), int(rng.integers(3))
    blocks, durations = plan.blocks.copy(), plan.durations.copy()
    blocks[i, Column.GX + axis], blocks[i, Column.ROTATION] = len(plan.gradients), -1
    durations[i] = max(durations[i], np.ceil((gradient.delay + gradient.duration) / 1e-5 - 1e-6) * 1e-5)
    return replace(plan, blocks=blocks, durations=durations, gradients=(*plan.gradients, gradient)), "xyz"[axis]


def with_pulse(rng, plan, event, length=None):
    i = at(rng, plan)
    blocks, durations = plan.blocks.copy(), plan.durations.copy()
    blocks[i, [Column.RF, Column.ADC, Column.SHIM]] = len(plan.rf), -1, -1
    needed = np.ceil((event.delay + event.duration + 2e-5) / 1e-5) * 1e-5 if length is None else length
    durations[i] = needed if length is not None else max(durations[i], needed)
    if length is not None:
        blocks[i, Column.GX : Column.GZ + 1] = -1
    return replace(plan, blocks=blocks, durations=durations, rf=(*plan.rf, event))


def with_window(rng, plan, event, length=None):
    i = at(rng, plan)
    blocks, durations = plan.blocks.copy(), plan.durations.copy()
    blocks[i, [Column.RF, Column.ADC, Column.SHIM]] = -1, len(plan.adc), -1
    needed = np.ceil((event.delay + event.n_samples * event.dwell + 1e-5) / 1e-5) * 1e-5
    if np.isfinite(needed):
        durations[i] = max(durations[i], needed)
    if length is not None:
        durations[i] = length
        blocks[i, Column.GX : Column.GZ + 1] = -1
    return replace(plan, blocks=blocks, durations=durations, adc=(*plan.adc, event))


def with_durations(rng, plan, value):
    durations = plan.durations.copy()
    durations[at(rng, plan)] = value
    return replace(plan, durations=durations)


RULES = {}


def rule(function):
    RULES[function.__name__] = function
    return function


def by_gradient(name, make, quantity):
    def planted(rng, plan):
        bad, axis = with_gradient(rng, plan, make(rng))
        return bad, None, f"{quantity}, {axis}"

    RULES[name] = planted


by_gradient("amplitude", lambda rng: ramp(rng.uniform(0.1202, 0.2), 2e-3, 1e-4, 2e-3), "gradient amplitude")
by_gradient("slew", lambda rng: ramp(rng.uniform(0.021, 0.03), 1e-4, 1e-4, 1e-3), "gradient slew")
by_gradient(
    "step",
    lambda rng: Gradient(np.array([0.0, 1e-3]), GAMMA_BAR * np.array([rng.uniform(0.0021, 0.01), 0.0])),
    "gradient step",
)
by_gradient(
    "step back to zero",
    lambda rng: Gradient(np.array([0.0, 1e-3]), GAMMA_BAR * np.array([0.0, -rng.uniform(0.0021, 0.01)])),
    "gradient step",
)
by_gradient("volts", lambda rng: ramp(-rng.uniform(0.021, 0.03), 1e-3, 1e-4, 1e-4), "gradient amplifier volts")
by_gradient("amps", lambda rng: ramp(-rng.uniform(0.1202, 0.2), 2e-3, 1e-4, 2e-3), "gradient amplifier current")
by_gradient("watts", lambda rng: ramp(rng.uniform(0.1202, 0.2), 2e-3, 1e-4, 5e-4), "gradient amplifier power")
by_gradient(
    "r.m.s.",
    lambda rng: ramp(rng.uniform(0.09, 0.11), 1e-2, rng.uniform(10, 11) // 1e-5 * 1e-5, 1e-2),
    "gradient r.m.s. current",
)
by_gradient("heat", lambda rng: ramp(rng.uniform(0.09, 0.11), 1e-2, 0.5, 1e-2), "gradient heat as r.m.s. current")
by_gradient(
    "nerve",
    lambda rng: ramp(rng.uniform(0.06, 0.1), 6e-4, 1e-4, 2e-3),
    "nerve stimulation, share of the mean threshold",
)
by_gradient("SAFE", lambda rng: ramp(-rng.uniform(0.06, 0.1), 2e-3, 1e-3, 6e-4), "nerve stimulation by the SAFE model")
by_gradient(
    "heart",
    lambda rng: Gradient(
        np.array([0, 6e-4, 1.8e-3, 2.4e-3]), GAMMA_BAR * rng.uniform(0.104, 0.119) * np.array([0, -1.0, 1, 0])
    ),
    "dB/dt, share of the cardiac limit",
)
by_gradient(
    "gradient NaN", lambda rng: Gradient(np.array([0, 1e-3, 2e-3]), np.array([0, np.nan, 0])), "gradient amplitude"
)
by_gradient(
    "gradient infinite", lambda rng: Gradient(np.array([0, 1e-3, 2e-3]), np.array([0, np.inf, 0])), "gradient amplitude"
)
by_gradient(
    "gradient overflow", lambda rng: Gradient(np.array([0, 1e-3, 2e-3]), np.array([0, 1e308, 0])), "gradient slew"
)


@rule
def mean_gradient_power(rng, plan):
    shape = ramp(0.11, 5.5e-4, 1e-5, 5.5e-4)
    n = 60
    blocks = np.full((n, len(Column)), -1, np.int32)
    axis = int(rng.integers(3))
    blocks[:, Column.GX + axis] = len(plan.gradients)
    repeated = np.full(n, 1.11e-3)
    begin = at(rng, plan) + 1
    long = replace(
        plan,
        blocks=np.concatenate((plan.blocks[:begin], np.tile(blocks, (160, 1)), plan.blocks[begin:])),
        durations=np.concatenate((plan.durations[:begin], np.tile(repeated, 160), plan.durations[begin:])),
        gradients=(*plan.gradients, shape),
    )
    return long, None, f"gradient mean power, {'xyz'[axis]}"


@rule
def acoustics(rng, plan):
    spacing = 1e-5 * rng.integers(63, 70)
    lobes = [ramp(s * 0.008, 1e-4, spacing - 2e-4, 1e-4) for s in (1, -1)]
    rows = np.full((200, len(Column)), -1, np.int32)
    axis = int(rng.integers(3))
    rows[:, Column.GX + axis] = len(plan.gradients) + np.arange(200) % 2
    begin = at(rng, plan) + 1
    long = replace(
        plan,
        blocks=np.concatenate((plan.blocks[:begin], rows, plan.blocks[begin:])),
        durations=np.concatenate((plan.durations[:begin], np.full(200, spacing), plan.durations[begin:])),
        gradients=(*plan.gradients, *lobes),
    )
    return long, None, "gradient power in"


@rule
def b1(rng, plan):
    return with_pulse(rng, plan, pulse(rng.uniform(15.1e-6, 30e-6))), None, "RF peak B1"


@rule
def pulse_length(rng, plan):
    return with_pulse(rng, plan, pulse(1e-8, int(rng.integers(100_100, 120_000)) // 10 * 10)), None, "RF pulse length"


@rule
def peak_power(rng, plan):
    loud = replace(plan, reference_drive=rng.uniform(1.0, 5.0) * np.sqrt(8000) / (GAMMA_BAR * 5e-6))
    return with_pulse(rng, loud, pulse(5.1e-6)), None, "RF peak power per channel"


@rule
def voltage(rng, plan):
    loud = replace(plan, reference_drive=rng.uniform(1.4, 5.0) * np.sqrt(8000) / (GAMMA_BAR * 5e-6))
    return with_pulse(rng, loud, pulse(5.1e-6)), None, "RF voltage"


def many_pulses(rng, plan, event, n, shim=-1):
    """The same pulse again and again, somewhere in the program."""
    rows = np.full((n, len(Column)), -1, np.int32)
    rows[:, Column.RF], rows[:, Column.SHIM] = len(plan.rf), shim
    begin, length = at(rng, plan) + 1, np.ceil((event.delay + event.duration + 2e-5) / 1e-5) * 1e-5
    return replace(
        plan,
        blocks=np.concatenate((plan.blocks[:begin], rows, plan.blocks[begin:])),
        durations=np.concatenate((plan.durations[:begin], np.full(n, length), plan.durations[begin:])),
        rf=(*plan.rf, event),
    )


@rule
def mean_power(rng, plan):
    return (
        replace(many_pulses(rng, plan, pulse(14e-6, 99_000), 25), reference_drive=rng.uniform(0.12, 0.14)),
        None,
        "RF mean power",
    )


@rule
def mean_power_of_a_channel(rng, plan):
    shims = np.zeros((2, TX), complex)
    shims[0], shims[1, rng.integers(TX)] = plan.shims[0], np.sqrt(TX) * 0.7
    plan = replace(plan, shims=shims, reference_drive=0.12)
    return many_pulses(rng, plan, pulse(8e-6, 99_000), 25, 1), None, "RF mean power per channel"


@rule
def duty(rng, plan):
    return many_pulses(rng, plan, pulse(1e-8, 90_000), 60), None, "RF duty cycle"


def heated(rng, kind, part=1):
    """A model that is cool but for one kind, and there far too hot; the worst point may be anywhere."""
    hot_matrix = np.eye(TX) * rng.uniform(1e3, 1e9)
    local = np.tile(COOL.local, (9, 1, 1))
    means = {name: COOL.whole_body for name in ("whole_body", "head", "partial_body")}
    if kind == "local":
        local[rng.integers(9)] = hot_matrix
    else:
        means[kind] = hot_matrix
    return sar_from_matrices(local, part=np.full(9, part), **means)


def by_sar(name, kind, part, quantity):
    RULES[name] = lambda rng, plan: (with_pulse(rng, plan, pulse(4e-6)), heated(rng, kind, part), quantity)


for _window in ("10 s", "6 min"):
    by_sar(f"whole body {_window}", "whole_body", 1, f"whole-body SAR, {_window}")
    by_sar(f"head {_window}", "head", 1, f"head SAR, {_window}")
    by_sar(f"partial body {_window}", "partial_body", 1, f"partial-body SAR, {_window}")
    by_sar(f"local trunk {_window}", "local", 2, f"local SAR (10 g), head and trunk, {_window}")
    by_sar(f"local limb {_window}", "local", 3, f"local SAR (10 g), limbs, {_window}")


@rule
def prescan(rng, plan):
    return replace(with_pulse(rng, plan, pulse(4e-6)), reference_drive=None), COOL, "prescan missing"


@rule
def model_of_another_machine(rng, plan):
    return plan, sar_from_matrices(np.eye(int(rng.integers(1, TX)))[None]), "channels of the SAR model"


def by_spoiled(name, spoil):
    def planted(rng, plan):
        matrices = np.tile(COOL.local, (5, 1, 1))
        sar = sar_from_matrices(matrices, whole_body=COOL.whole_body)
        i, j, k = rng.integers(5), rng.integers(TX), rng.integers(TX)
        target = sar.local[i] if rng.random() < 0.5 else sar.whole_body
        target[j, (j + 1 + k % (TX - 1)) % TX] += spoil
        return with_pulse(rng, plan, pulse(4e-6)), sar, "SAR models that are none"

    RULES[name] = planted


by_spoiled("SAR NaN", np.nan)
by_spoiled("SAR infinite", np.inf)
by_spoiled("SAR not Hermitian", 0.5)


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


def with_first(rng, plan):
    """Nothing but what the block itself plays lies before or after: programs of one silent block."""
    rows = np.full((1, len(Column)), -1, np.int32)
    return replace(plan, blocks=rows, durations=np.array([6e-3]))


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
