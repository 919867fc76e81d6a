"""What a machine cannot do is refused with what it could do instead; and that is then possible."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_protocols import SMALL

from lauterbur.errors import ProtocolError
from lauterbur.protocol.library import load_protocol
from lauterbur.safety.gate import findings
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.units import deg, mm, ms

SCANNER = load_scanner("5T")


@pytest.mark.parametrize(
    ("name", "change", "possible"),
    [
        ("gre", {"te": (1 * ms,)}, r"te 1 ms is too short; at least"),
        ("gre", {"tr": 4.5 * ms}, "too short for its te; at least"),
        ("multi-echo", {"te": (4 * ms, 5 * ms)}, "echo spacing 1 ms is too short; at least"),
        ("gre", {"fov": (650 * mm, 190 * mm, 120 * mm)}, "beyond the bore of 600 mm; at most 600 mm"),
        ("gre", {"position": (0.4, 0.0, 0.0)}, "outside the bore"),
        ("gre", {"matrix": (2048, 24, 8), "bandwidth": 1000.0}, "at most"),
        ("gre", {"bandwidth": 19_000.0}, "at most"),
        ("gre", {"fov": (20 * mm, 190 * mm, 120 * mm), "bandwidth": 15_000.0}, "at most"),
        ("gre", {"flip_angle": 170 * deg, "rf_duration": 0.1 * ms}, "at most|at least"),
        ("gre", {"acceleration": (2, 1)}, "needs reference lines"),
        ("gre", {"acceleration": (4, 1), "reference_lines": (3, 0)}, "better 32"),
        ("mprage", {"ti": 40 * ms}, "ti 40 ms is too short"),
        ("mprage", {"tr": 320 * ms}, "tr 320 ms is too short; at least"),
        ("bssfp", {"tr": 3.2 * ms}, "at least"),
        ("tse", {"te": (2 * ms,)}, "between"),
        ("tse", {"te": (300 * ms,), "tr": 2.0}, "between"),
        ("tse", {"echo_spacing": 2 * ms}, "echo_spacing 2 ms is too short"),
        ("tse", {"tr": 150 * ms}, "at most .* slices"),
        ("flair", {"ti": 30 * ms}, "ti 30 ms is too short"),
        ("flair", {"tr": 310 * ms}, "tr 310 ms is too short"),
        ("epi", {"te": (5 * ms,)}, "te 5 ms is too short"),
        ("epi", {"tr": 100 * ms}, "at most .* slices"),
        ("epi", {"echo_spacing": 0.3 * ms}, "echo_spacing 0.3 ms is too short"),
        ("epi", {"acceleration": (2, 1), "reference_lines": (8, 0)}, "use 1"),
        ("tse", {"fov": (200 * mm, 190 * mm, 0.1 * mm)}, "thicker"),
    ],
)
def test_the_refusal_says_what_is_possible(name, change, possible):
    with pytest.raises(ProtocolError, match=possible):
        build_program(replace(SMALL[name], **change), SCANNER)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("gre", "te", 1 * ms),
        ("gre", "tr", 4.5 * ms),
        ("mprage", "ti", 40 * ms),
        ("epi", "te", 5 * ms),
        ("tse", "tr", 0.15),
    ],
)
def test_what_it_says_is_possible_is_possible(name, field, value):
    def asked(wish):
        return replace(SMALL[name], **{field: (wish,) if field == "te" else wish})

    with pytest.raises(ProtocolError) as refusal:
        build_program(asked(value), SCANNER)
    found = re.search(r"at least ([0-9.]+) ms", str(refusal.value))
    assert found is not None
    least = float(found[1]) * ms
    build_program(asked(least), SCANNER)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SMALL)),
    st.fixed_dictionaries(
        {},
        optional={
            "fov": st.tuples(*[st.floats(0.01, 0.9)] * 2, st.floats(0.001, 0.3)),
            "tr": st.floats(0.002, 3.0),
            "bandwidth": st.floats(20, 5000),
            "flip_angle": st.floats(1, 180).map(lambda x: x * deg),
            "rf_duration": st.floats(0.02e-3, 5e-3),
            "echo_spacing": st.floats(0.3e-3, 30e-3),
            "echo_train": st.integers(1, 30),
            "slices": st.integers(1, 6),
            "averages": st.integers(1, 2),
            "dummies": st.integers(0, 3),
            "reference_lines": st.tuples(st.integers(0, 12), st.just(0)),
            "acceleration": st.tuples(st.integers(1, 3), st.just(1)),
            "position": st.tuples(*[st.floats(-0.1, 0.1)] * 3),
        },
    ),
)
def test_any_protocol_is_built_within_the_machine_or_refused(name, change):
    """What the builder lets through, the gate lets through, but for sound and RF power, which it does not plan."""
    try:
        program = build_program(replace(SMALL[name], **change), SCANNER)
    except ProtocolError as problem:
        assert len(str(problem)) > 20
        return
    unplanned = ("gradient power", "RF mean power", "r.m.s.")
    broken = [
        f.sentence() for f in findings(program, SCANNER) if not f.ok and not any(u in f.quantity for u in unplanned)
    ]
    assert broken == []


def test_a_weaker_machine_gets_a_refusal_or_its_own_timing():
    weak = replace(SCANNER, gradients=replace(SCANNER.gradients, amplitude=20e-3, slew=50.0))
    program = build_program(SMALL["gre"], weak)
    assert [f.sentence() for f in findings(program, weak) if not f.ok] == []
    with pytest.raises(ProtocolError, match="too short"):
        build_program(load_protocol("brain/qsm"), weak)
