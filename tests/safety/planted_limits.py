"""Planted violations of what machine and patient can bear: gradients, nerves, sound, radio frequency, heat."""

from dataclasses import replace

import numpy as np
from plans import COOL, TX, at, keeper, pulse, ramp, with_gradient, with_pulse

from lauterbur.program import Column, Gradient
from lauterbur.safety.sar import sar_from_matrices
from lauterbur.units import GAMMA_BAR

LIMITS = {}
rule = keeper(LIMITS)


def by_gradient(name, make, quantity):
    def planted(rng, plan):
        bad, axis = with_gradient(rng, plan, make(rng))
        return bad, None, f"{quantity}, {axis}"

    LIMITS[name] = planted


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
    LIMITS[name] = lambda rng, plan: (with_pulse(rng, plan, pulse(4e-6)), heated(rng, kind, part), quantity)


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

    LIMITS[name] = planted


by_spoiled("SAR NaN", np.nan)
by_spoiled("SAR infinite", np.inf)
by_spoiled("SAR not Hermitian", 0.5)
