"""What the gate suggests for gradients passes when followed; and every limit, tightened, refuses."""

import re
from dataclasses import replace

import numpy as np
import pytest
from gate_programs import echo_train, gradient_echo, hard_pulse, lobe, program, trapezoid

from lauterbur.safety.gate import assess, findings
from lauterbur.safety.sar import sar_from_matrices
from lauterbur.scanner.profiles import load_scanner

MACHINE = load_scanner("5T")


def found(plan, quantity, machine=MACHINE):
    return next(f for f in findings(plan, machine) if f.quantity == quantity)


def number(pattern, remedy):
    return float(re.search(pattern, remedy)[1])


@pytest.mark.parametrize("quantity, amplitude, rise", [
    ("gradient amplitude, x", 0.15, 2e-3),
    ("gradient slew, x", 0.03, 100e-6),
    ("gradient amplifier volts, x", 0.03, 100e-6),
    ("gradient amplifier current, x", 0.15, 2e-3),
    ("gradient amplifier power, x", 0.15, 0.6e-3),
])  # fmt: skip
def test_a_gradient_turned_down_as_told_passes(quantity, amplitude, rise):
    remedy = found(program({"duration": 6e-3, "gx": trapezoid(amplitude, rise, 1e-3)}), quantity).remedy
    share = number(r"to ([\d.]+) % of", remedy) / 100
    share = np.sqrt(share) if "power" in quantity else share  # V I goes with the square of the amplitude
    assert found(program({"duration": 6e-3, "gx": trapezoid(amplitude * share, rise, 1e-3)}), quantity).ok


@pytest.mark.parametrize(
    "quantity", ["nerve stimulation, share of the mean threshold, y", "dB/dt, share of the cardiac limit, y"]
)
@pytest.mark.parametrize("half, rise", [(0.06, 0.6e-3), (0.115, 1.2e-3), (0.1, 1.02e-3)])
def test_a_ramp_as_slow_as_told_passes(quantity, half, rise):
    def swing(length):
        return program(
            {"duration": 20e-3, "gy": lobe((0, 0), (6e-3, -half), (6e-3 + length, half), (12e-3 + length, 0))}
        )

    before = found(swing(rise), quantity)
    if before.ok:
        return
    told = number(r"in ([\d.]+) ms or more", before.remedy) * 1e-3
    assert found(swing(told), quantity).ok
    assert not found(swing(0.98 * told), quantity).ok  # and asks for no more than it takes


@pytest.mark.parametrize(
    "quantity", ["gradient r.m.s. current, x", "gradient heat as r.m.s. current, x", "gradient mean power, x"]
)
def test_gradients_with_more_rest_as_told_pass(quantity):
    busy = trapezoid(0.11, 5.5e-4, 1e-4) if "power" in quantity else trapezoid(0.09, 1e-3, 5e-3)

    def plan(tr):
        return program(*[{"duration": round(tr, 5), "gx": busy}] * int(24 / tr))

    tr = busy.duration
    before = found(plan(tr), quantity)
    assert not before.ok
    longer = number(r"TR to ([\d.]+) times", before.remedy)
    assert found(plan(np.ceil(tr * longer / 1e-5) * 1e-5), quantity).ok
    softer = number(r"gradients to ([\d.]+) of", before.remedy)
    weak = replace(plan(tr), gradients=(replace(busy, waveform=busy.waveform * softer),))
    assert found(weak, quantity).ok


@pytest.mark.parametrize("quantity, key", [
    ("gradient r.m.s. current, x", "duty_cycle"), ("gradient mean power, x", "average_power"), ("RF duty cycle", "duty_cycle"),
])  # fmt: skip
def test_a_program_shorter_than_the_window_gets_the_rest_it_needs(quantity, key):
    """Within 10 s a little longer TR changes nothing: it must move repetitions out of the window."""
    room = "transmit" if "RF" in quantity else "gradients"

    def plan(tr):
        block = {"gx": trapezoid(0.09, 1e-3, 5e-3), "rf": hard_pulse(duration=2e-3)}
        return program(*[{"duration": round(tr, 5), **block}] * 40)

    tr = 50e-3
    value = found(plan(tr), quantity).value
    limit = 0.8 * value / (MACHINE.gradients.amplifier_current if "r.m.s." in quantity else 1)
    tight = replace(MACHINE, **{room: replace(getattr(MACHINE, room), **{key: limit})})
    before = found(plan(tr), quantity, tight)
    longer = number(r"TR to ([\d.]+) times", before.remedy)
    assert found(plan(np.ceil(tr * longer / 1e-5) * 1e-5), quantity, tight).ok
    assert not found(plan(tr * longer * 0.98), quantity, tight).ok  # and asks for no more than it takes


@pytest.mark.parametrize("spacing", [0.64e-3, 0.66e-3, 0.84e-3, 1.02e-3, 1.13e-3])
def test_an_echo_spacing_as_told_is_quiet(spacing):
    loud = [
        f for f in findings(echo_train(spacing, 64), MACHINE) if f.quantity.startswith("gradient power in") and not f.ok
    ]
    assert loud
    for pattern in (r"spacing of ([\d.]+) ms or more", r"or of ([\d.]+) ms or less"):
        told = number(pattern, loud[0].remedy) * 1e-3
        told = (np.ceil if "more" in pattern else np.floor)(told / 1e-5 + (-1e-9 if "more" in pattern else 1e-9)) * 1e-5
        followed = findings(echo_train(round(told, 6), 64), MACHINE)
        assert all(f.ok for f in followed if f.quantity.startswith("gradient power in"))


TIGHTER = {  # quantity -> where its limit stands in the profile, and how the limit follows from that number
    "gradient amplitude": ("gradients", "amplitude", lambda value, g: value),
    "gradient slew": ("gradients", "slew", lambda value, g: value),
    "gradient amplifier volts": ("gradients", "amplifier_voltage", lambda value, g: value),
    "gradient amplifier power": ("gradients", "amplifier_power", lambda value, g: value),
    "gradient amplifier current": ("gradients", "amplifier_current", lambda value, g: value),
    "gradient r.m.s. current": ("gradients", "duty_cycle", lambda value, g: value / g.amplifier_current),
    "gradient heat as": ("gradients", "duty_cycle", lambda value, g: value / g.amplifier_current),
    "gradient mean power": ("gradients", "average_power", lambda value, g: value),
    "gradient power in": ("gradients", "band_threshold", lambda value, g: value),
    "RF peak B1": ("transmit", "peak_b1", lambda value, g: value),
    "RF pulse length": ("transmit", "max_duration", lambda value, g: value),
    "RF peak power": ("transmit", "peak_power", lambda value, g: value),
    "RF voltage": ("transmit", "peak_voltage", lambda value, g: value),
    "RF mean power": ("transmit", "average_power", lambda value, g: value),
    "RF mean power per channel": ("transmit", "average_power", lambda value, g: value * 8),
    "RF duty": ("transmit", "duty_cycle", lambda value, g: value),
    "samples in one ADC": ("spectrometer", "max_samples", lambda value, g: value),
    "ADC sampling": ("spectrometer", "min_dwell", lambda value, g: 1 / value),
}


@pytest.mark.parametrize("name", TIGHTER)
def test_every_limit_of_the_profile_refuses_once_it_is_tight(name):
    plan = replace(gradient_echo(), reference_drive=0.02)
    room, key, limit = TIGHTER[name]
    part = getattr(MACHINE, room)
    values = [f for f in findings(plan, MACHINE) if f.quantity.startswith(name)]
    worst = max(values, key=lambda f: f.value)
    for tight, ok in ((1.01, True), (0.99, False)):
        factor = 1 / tight if key == "min_dwell" else tight
        machine = replace(MACHINE, **{room: replace(part, **{key: limit(worst.value, MACHINE.gradients) * factor})})
        assert all(f.ok for f in findings(plan, machine) if f.quantity == worst.quantity) == ok


def test_every_kind_of_sar_refuses_once_the_patient_is_warmer():
    eye = np.eye(8)
    plan = replace(gradient_echo(), reference_drive=0.02)
    cool = sar_from_matrices(eye[None] * 1e-4, whole_body=eye * 1e-5, head=eye * 1e-5, partial_body=eye * 1e-5)
    for f in (f for f in findings(plan, MACHINE, None, cool) if f.unit == "W/kg"):
        for tight, ok in ((0.99, True), (1.01, False)):
            warm = tight * f.limit / f.value
            sar = replace(
                cool, local=cool.local * warm, whole_body=cool.whole_body * warm, head=cool.head * warm,
                partial_body=cool.partial_body * warm,
            )  # fmt: skip
            assert next(g for g in findings(plan, MACHINE, None, sar) if g.quantity == f.quantity).ok == ok


def test_a_verdict_says_value_limit_margin_source_and_mode_of_everything():
    told, _ = assess(gradient_echo(), MACHINE)
    for f in told:
        assert f.rule and f.quantity and (f.margin <= 1 or not f.limit > 0)
        assert set(f.as_dict()) >= {"quantity", "value", "limit", "unit", "rule", "where", "ok", "mode"}
    modes = {f.quantity.split(",")[0]: f.mode for f in told if f.mode}
    assert modes["static field"] == "first-level" and modes["nerve stimulation"] == "normal"
