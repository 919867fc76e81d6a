"""The verdict: what passes, what is refused and in which words, and that nothing slips by."""

import time
from dataclasses import replace

import numpy as np
import pytest
from gate_programs import gradient_echo, hard_pulse, program, trapezoid

from lauterbur.errors import RefusedError
from lauterbur.program import Adc, Gradient, Program
from lauterbur.safety.cleared import ClearedProgram
from lauterbur.safety.gate import clear, findings
from lauterbur.scanner.profiles import load_scanner

MACHINE = load_scanner("5T")


def broken(plan):
    return {f.quantity for f in findings(plan, MACHINE) if not f.ok}


def test_a_plain_gradient_echo_is_cleared_and_says_what_was_not_assessed():
    cleared = clear(gradient_echo(), MACHINE)
    assert all(f.ok for f in cleared.findings)
    assert any("SAR" in note and "not assessed" in note for note in cleared.notes)


def test_a_cleared_program_cannot_be_made_or_altered_by_hand():
    cleared = clear(gradient_echo(n=2), MACHINE)
    with pytest.raises(TypeError, match="clear"):
        ClearedProgram(cleared.program, "5T", "", (), ())
    with pytest.raises((TypeError, ValueError)):
        replace(cleared, program=program({"duration": 1e-3}))
    with pytest.raises(AttributeError):
        cleared.program = cleared.program


def test_a_refusal_is_a_sentence_with_block_value_limit_and_remedy():
    plan = program({"duration": 5e-3}, {"duration": 2e-3, "gx": trapezoid(0.13, 1e-3, 0)})
    with pytest.raises(RefusedError) as refusal:
        clear(plan, MACHINE)
    assert "gradient amplitude, x 0.13 T/m exceeds 0.12" in str(refusal.value)
    assert "block 2 at 0.005 s" in str(refusal.value) and "lower" in str(refusal.value)
    assert refusal.value.exit_code == 3 and refusal.value.findings


@pytest.mark.parametrize(
    "block, quantity",
    [
        ({"duration": 1e-3, "gx": trapezoid(0.05, 200e-6, 0)}, "gradient slew, x"),
        ({"duration": 1e-3, "gz": trapezoid(0.05, 200e-6, 0)}, "gradient amplifier volts, z"),
        ({"duration": 1.003e-3}, "block duration, distance from the raster"),
        ({"duration": 1e-3, "gy": trapezoid(0.01, 103e-6, 100e-6)}, "gradient times, distance from the raster"),
        ({"duration": 1e-3, "gy": trapezoid(0.01, 400e-6, 400e-6)}, "time by which an event outlasts its block"),
        ({"duration": 1.2e-3, "rf": hard_pulse(20e-6)}, "RF peak B1"),
        ({"duration": 1.2e-3, "rf": hard_pulse(delay=50e-6)}, "dead time needed before an RF pulse"),
        ({"duration": 1.1e-3, "rf": hard_pulse()}, "ringdown time needed after an RF pulse"),
        ({"duration": 0.2, "rf": hard_pulse(1e-8, 0.15)}, "RF pulse length"),
        ({"duration": 1e-2, "adc": Adc(70000, 100e-9, 20e-6)}, "samples in one ADC window"),
        ({"duration": 1e-2, "adc": Adc(100, 100e-9, 20e-6)}, "ADC sampling rate"),
        ({"duration": 1e-2, "adc": Adc(100, 10.05e-6, 20e-6)}, "ADC dwell, distance from the raster"),
        ({"duration": 1e-2, "adc": Adc(100, 10e-6, 5e-6)}, "dead time needed before an ADC window"),
        ({"duration": 1.02e-3, "adc": Adc(100, 10e-6, 20e-6)}, "dead time needed after an ADC window"),
        ({"duration": 1e-3, "adc": Adc(10, 10e-6, -20e-6)}, "step back in time"),
    ],
)
def test_each_limit_refuses_what_is_beyond_it(block, quantity):
    assert quantity in broken(program({"duration": 1e-3}, block) if "dead time" not in quantity else program(block))


@pytest.mark.parametrize("what", ["gradient", "gradient time", "rf", "dwell", "duration"])
def test_what_is_not_a_number_is_never_cleared(what):
    good, nan = gradient_echo(n=3), float("nan")
    g, p, a = good.gradients[0], good.rf[0], good.adc[0]
    bad = {
        "gradient": {"gradients": (replace(g, waveform=g.waveform * nan), *good.gradients[1:])},
        "gradient time": {"gradients": (replace(g, time=g.time * nan), *good.gradients[1:])},
        "rf": {"rf": (replace(p, waveform=p.waveform * nan),)},
        "dwell": {"adc": (replace(a, dwell=nan),)},
        "duration": {"durations": good.durations * nan},
    }[what]
    with pytest.raises(RefusedError):
        clear(replace(good, **bad), MACHINE)


def test_an_empty_program_is_cleared():
    assert clear(Program(np.zeros((0, 9), np.int32), np.zeros(0)), MACHINE).findings
    assert clear(program({"duration": 1e-3}), MACHINE).findings
    assert clear(program({"duration": 1e-3, "gx": Gradient(np.zeros(0), np.zeros(0))}), MACHINE).findings


def test_a_field_above_the_first_level_is_refused():
    assert "static field" in {
        f.quantity for f in findings(gradient_echo(n=1), replace(MACHINE, field_strength=9.4)) if not f.ok
    }


def test_a_hundred_thousand_blocks_take_seconds():
    short = gradient_echo(n=100)
    plan = replace(short, blocks=np.tile(short.blocks, (200, 1)), durations=np.tile(short.durations, 200))
    begin = time.perf_counter()
    findings(plan, MACHINE)
    assert time.perf_counter() - begin < 10  # 0.8 s on a quiet core
