"""Every rule of the gate refuses what breaks it, wherever it lies; benchmarks/gate_fuzz.py tries 100,000 programs more."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from planted import COOL, MACHINE, RULES, good

from lauterbur.errors import RefusedError
from lauterbur.safety.gate import clear, findings

TIMES = 8  # of each rule


def test_the_programs_pass_before_anything_is_planted():
    for seed in range(60):
        assert [
            f.sentence() for f in findings(good(np.random.default_rng(seed)), MACHINE, None, COOL) if not f.ok
        ] == []


@pytest.mark.parametrize("name", RULES)
def test_a_planted_violation_is_refused_and_named(name):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(TIMES if name not in ("mean_gradient_power", "pulse_length") else 1):
        plan, sar, quantity = RULES[name](rng, good(rng))
        with pytest.raises(RefusedError) as refusal:
            clear(plan, MACHINE, None, sar)
        assert any(f.quantity.startswith(quantity) and not f.ok for f in refusal.value.findings)


def test_every_quantity_that_the_gate_knows_is_planted():
    """Nothing can be a rule that nobody can break."""
    planted = set()
    for name in RULES:
        rng = np.random.default_rng(1)
        plan, sar, _ = RULES[name](rng, good(rng))
        planted |= {f.quantity for f in findings(plan, MACHINE, None, sar) if not f.ok}
    known = {f.quantity for f in findings(good(np.random.default_rng(2)), MACHINE, None, COOL) if not f.is_advice}
    axes = ("x", "y", "z")

    def family(quantity):
        return quantity[:-3] if quantity.endswith(tuple(f", {axis}" for axis in axes)) else quantity.split(" in ")[0]

    assert {family(q) for q in known} - {family(q) for q in planted} == {"static field"}
    assert not findings(good(np.random.default_rng(0)), replace(MACHINE, field_strength=8.01))[0].ok
