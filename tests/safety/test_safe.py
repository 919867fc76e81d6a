"""The SAFE model against the slow, obvious recursion on a fine raster, and against the law it was fitted to."""

from dataclasses import replace

import numpy as np
import pytest
from gate_programs import echo_train, gradient_echo, lobe, program, trapezoid

from lauterbur.program import Column
from lauterbur.safety import waveforms
from lauterbur.safety.gate import clear, findings
from lauterbur.safety.safe import Safe
from lauterbur.safety.waveforms import chunks
from lauterbur.scanner.machine import SafeAxis
from lauterbur.scanner.profiles import load_scanner

MACHINE = load_scanner("5T")


def model(plan, machine=MACHINE):
    look = Safe(plan, machine)
    for chunk in chunks(plan):
        look.look(chunk)
    look.finish()
    return np.array([worst.value for worst in look.worst])


def slow(plan, machine=MACHINE, step=1e-6):
    """Forward recursion of the three low passes, step by step, of the waveform sampled on a fine raster."""
    total = np.sum(plan.durations) + 1e-3
    time = np.arange(0, total, step)
    pieces = list(zip(*chunks(plan), strict=True))
    shares = []
    for axis, safe in enumerate(machine.gradients.safe):
        wave = sum(piece.sample(time) for piece in pieces[axis])
        slew = np.diff(wave) / step
        f = np.zeros(3)
        stimulus = np.zeros(len(slew))
        keep = np.exp(-step / np.array(safe.tau))
        for i, s in enumerate(slew):
            drive = np.array([s, abs(s), s])
            f = drive + (f - drive) * keep
            stimulus[i] = np.dot(safe.a, np.abs(f)) / safe.limit
        shares.append(stimulus)
    weight = np.array([safe.weight for safe in machine.gradients.safe])
    together = np.sqrt(np.sum((weight[:, None] * np.array(shares)) ** 2, axis=0))
    return np.array([*(np.max(s) for s in shares), together.max()])


def random_plan(seed):
    rng = np.random.default_rng(seed)
    blocks = []
    for _ in range(8):
        block = {"duration": 1.2e-3}
        for axis in ("gx", "gy", "gz"):
            if rng.random() < 0.7:
                rise, delay = 1e-5 * rng.integers(5, 40), 1e-5 * rng.integers(0, 20)
                block[axis] = trapezoid(rng.uniform(-0.04, 0.04), rise, 1e-5 * rng.integers(0, 20), delay=delay)
        blocks.append(block)
    return program(*blocks)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_the_slow_recursion_says_and_never_less(seed):
    plan = random_plan(seed)
    fast, reference = model(plan), slow(plan)
    assert np.all(fast >= reference * (1 - 2e-3))  # the reference knows the slew to its raster
    assert np.all(fast <= reference * 1.08)  # terms that peak at different corners are added


@pytest.mark.parametrize("rise", [0.02e-3, 0.1e-3, 0.3e-3, 1e-3, 5e-3])
def test_a_single_ramp_is_as_strong_as_the_law_says(rise):
    amplitude = min(0.1, 150 * rise)
    plan = program({"duration": 0.1, "gy": lobe((0, 0), (rise, amplitude), (0.09, 0))})
    coil = MACHINE.gradients.stimulation
    law = amplitude / rise * coil["effective_length"] / (coil["rheobase"] * (1 + coil["chronaxie"] / rise))
    assert model(plan)[1] == pytest.approx(law, rel=0.015)


def test_axes_add_with_their_weights():
    ramp = trapezoid(0.03, 0.4e-3, 1e-3)
    alone = model(program({"duration": 2e-3, "gx": ramp}))[0]
    together = model(program({"duration": 2e-3, "gx": ramp, "gy": ramp, "gz": ramp}))
    assert together[:3] == pytest.approx(alone)
    assert together[3] == pytest.approx(alone * np.sqrt(0.8**2 + 1 + 0.7**2))


def test_a_staircase_of_allowed_steps_is_felt_as_the_ramp_it_is():
    step = MACHINE.gradients.slew * MACHINE.gradients.raster
    corners = [((i // 2 + i % 2) * 1e-5, step * (i // 2)) for i in range(60)]
    stairs = lobe(*corners, *[((30 + i) * 1e-5, step * (29 - i)) for i in range(1, 30)])
    broken = {f.quantity for f in findings(program({"duration": 2e-3, "gx": stairs}), MACHINE) if not f.ok}
    assert "nerve stimulation by the SAFE model, x" in broken
    assert model(program({"duration": 2e-3, "gx": stairs}))[0] == pytest.approx(
        model(program({"duration": 2e-3, "gx": lobe((0, 0), (30e-5, 29 * step), (59e-5, 0))}))[0], rel=0.05
    )


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_shares_do_not_depend_on_the_chunk_size(monkeypatch, size):
    plans = [echo_train(0.76e-3, 9), gradient_echo(n=7), random_plan(1)]
    border = program(  # a gradient that goes on over a border while another axis plays on
        {"duration": 1e-3, "gx": lobe((0, 0), (1e-3, 0.02)), "gy": trapezoid(0.02, 2e-4, 1e-4)},
        {"duration": 1e-3, "gy": trapezoid(0.02, 2e-4, 1e-4)},
        {"duration": 1e-3, "gx": lobe((0, 0), (1e-3, 0.02)), "gy": trapezoid(-0.02, 2e-4, 6e-4)},
        {"duration": 1e-3, "gx": lobe((0, 0.02), (1e-3, 0))},
    )
    whole = [model(plan) for plan in (*plans, border)]
    monkeypatch.setattr(waveforms, "CHUNK", size)
    for plan, before in zip((*plans, border), whole, strict=True):
        np.testing.assert_allclose(model(plan), before, rtol=1e-12)


def test_all_axes_together_are_told_until_the_coefficients_are_the_coils_own():
    ramp = trapezoid(0.03, 0.2e-3, 1e-3)
    plan = program({"duration": 2e-3, "gx": ramp, "gy": ramp, "gz": ramp})
    told = next(f for f in clear(plan, MACHINE).findings if f.quantity.endswith("SAFE model, all"))
    assert told.value > 1 and told.ok and told.is_advice and told.mode == "above first-level"
    own = replace(MACHINE, sources={k: v for k, v in MACHINE.sources.items() if "safe" not in k})
    assert {f.quantity for f in findings(plan, own) if not f.ok} == {told.quantity}


def test_what_is_not_a_number_is_felt_as_too_much():
    plan = program({"duration": 2e-3, "gx": lobe((0, 0), (200e-6, np.nan), (400e-6, 0))}, {"duration": 1e-3})
    assert not any(f.ok for f in findings(plan, MACHINE) if f.quantity.endswith(("SAFE model, x", "SAFE model, all")))
    plan.blocks[:, Column.GX] = -1


def test_without_coefficients_nothing_is_said():
    bare = replace(MACHINE, gradients=replace(MACHINE.gradients, safe=()))
    assert not any("SAFE" in f.quantity for f in findings(gradient_echo(n=2), bare))
    one = SafeAxis((0.2, 0.2, 0.6), (2e-4, 1e-2, 7e-4), 20.0)
    steep = replace(MACHINE, gradients=replace(MACHINE.gradients, safe=(one,) * 3))
    assert any("SAFE" in f.quantity and not f.ok for f in findings(gradient_echo(n=2), steep))
