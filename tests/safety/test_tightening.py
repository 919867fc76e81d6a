"""Every protocol of the library and every limit: cleared as it is; refused once that limit is just below what it has."""

from dataclasses import replace

import pytest
from following import followed
from tightening import HEATS, LIMITS, MACHINE, family, small, tightened, warm_body, worst_of_each

from lauterbur.errors import RefusedError
from lauterbur.program import Column
from lauterbur.protocol.library import list_protocols
from lauterbur.safety.gate import clear, findings
from lauterbur.sequence.contrasts import build_program

DRIVE = 0.02  # sqrt(W)/Hz
ABOVE, BELOW, FAR_BELOW = 1.001, 0.999, 0.31  # what a limit becomes, of the value; the last as body/t2-tse once met it
SAR = warm_body()


def program(protocol):
    return replace(build_program(protocol, MACHINE), reference_drive=DRIVE)


def silent(plan):
    """Without gradients: what radio frequency does is the same, and sooner known."""
    blocks = plan.blocks.copy()
    blocks[:, Column.GX : Column.GZ + 1] = -1
    return replace(plan, blocks=blocks)


@pytest.fixture(scope="module", params=list_protocols())
def case(request):
    protocol = small(request.param)
    plan = program(protocol)
    return protocol, plan, worst_of_each(clear(plan, MACHINE, None, SAR).findings)


def test_what_no_limit_bounds_is_a_fault_or_a_tolerance(case):
    """Nothing that the gate judges is left out below: a new limit must come into LIMITS."""
    _, _, found = case
    for name in found.keys() - LIMITS.keys():
        assert found[name].value < 1e-12, name
        assert found[name].limit <= 1e-9 or name == "gradient step", name  # no step is ever played


def test_each_limit_just_above_the_value_passes_and_just_below_refuses(case):
    protocol, plan, found = case
    for name in LIMITS.keys() & found.keys():
        own = found[name]
        if own.value == 0:  # an axis at rest, a band without sound: nothing to tighten
            continue
        with tightened(own, ABOVE) as machine:
            judged = findings(plan, machine, None, SAR)
            assert same(judged, own).ok, name
            assert all(f.ok for f in judged) or not LIMITS[name].is_alone, name
        with tightened(own, BELOW) as machine:
            with pytest.raises(RefusedError) as refusal:
                clear(plan, machine, None, SAR)
            broken = [f for f in refusal.value.findings if not f.ok]
            assert {family(f) for f in broken} == {family(own)} or not LIMITS[name].is_alone, name
            assert broken[0].sentence() in str(refusal.value)
            told = same(broken, own)
            assert 1 < told.value / told.limit < 1.01, name
            assert told.remedy and (told.where or name in ("static field", "program duration")), name
            for part in (told.quantity, f"{told.value:.6g}", f"{told.limit:.6g}", told.rule, told.where, told.remedy):
                assert part in told.sentence(), name
            follow(told, protocol, plan, machine)


def test_limits_of_heat_far_below_the_value_are_met_by_following_the_remedy(case):
    protocol, plan, found = case
    for name in HEATS & found.keys():
        with tightened(found[name], FAR_BELOW) as machine:
            told = same(findings(plan, machine, None, SAR), found[name])
            assert any(word in told.remedy for word in ("lengthen", "lower", "play", "shorten")), told.remedy
            assert not told.ok
            follow(told, protocol, plan, machine)


def follow(told, protocol, plan, machine):
    build, played = (program, plan)
    if "gradient" not in told.quantity and "nerve" not in told.quantity and "dB/dt" not in told.quantity:
        build, played = (lambda changed: silent(program(changed))), silent(plan)
    for words, changed in followed(told, protocol, played, build):
        again = same(findings(changed, machine, None, SAR), told)
        assert again.ok, (told.quantity, words, again.sentence())


def same(found, own):
    return next(f for f in found if f.quantity == own.quantity)
