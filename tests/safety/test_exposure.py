"""SAR of a program: closed forms, every window, every kind; and remedies that work when followed."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from gate_programs import gradient_echo, hard_pulse, program

from lauterbur.errors import InputError, RefusedError
from lauterbur.fields.maps import FieldMaps
from lauterbur.program import Column, duration
from lauterbur.protocol.protocol import Protocol
from lauterbur.safety.gate import clear, findings, notes
from lauterbur.safety.pulses import Pulses, most, pulses
from lauterbur.safety.sar import sar_from_matrices, sar_model
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.units import GAMMA_BAR, deg, mm, ms

MACHINE = load_scanner("5T")
TX = MACHINE.transmit.channels
DRIVE = 0.05  # sqrt(W)/Hz


def model(seed=0, n=20, **changes):
    """Random positive semi-definite matrices, a few parts of the body."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, TX, TX)) + 1j * rng.normal(size=(n, TX, TX))
    local = a @ a.conj().swapaxes(1, 2) / (TX * n) * 1e-3
    part = np.arange(n) % 3 + 1
    mean = local.mean(axis=0) / 10
    given = dict(whole_body=mean, head=2 * mean, partial_body=1.5 * mean, exposed_fraction=0.4, part=part)
    return sar_from_matrices(local, **(given | changes))


def train(n=50, tr=20e-3, b1=5e-6, shims=None, which=None, tail=0.0):
    pulse = hard_pulse(b1)
    blocks = []
    for i in range(n):
        blocks += [{"duration": 2e-3, "rf": pulse} | ({} if which is None else {"shim": which(i)})]
        blocks += [{"duration": tr - 2e-3}]
    if tail:
        blocks += [{"duration": tail}]
    return replace(program(*blocks, shims=shims), reference_drive=DRIVE)


def value(plan, sar, words, **options):
    return next(f.value for f in findings(plan, MACHINE, None, sar, **options) if words in f.quantity)


def energy(b1=5e-6):
    return (GAMMA_BAR * b1) ** 2 * 1e-3 * DRIVE**2  # W s per unit weight


def test_the_mean_of_a_steady_train_is_its_power_times_the_matrix():
    sar, ones = model(), np.ones(TX)
    expected = 1.4 * (ones @ sar.whole_body @ ones).real * energy() / 20e-3
    assert value(train(), sar, "whole-body SAR, 6 min") == pytest.approx(expected, rel=1e-4)
    assert value(train(), sar, "whole-body SAR, 10 s") == pytest.approx(expected, rel=3e-3)
    worst = max((ones @ q @ ones).real for q, part in zip(sar.local, sar.part, strict=True) if part == 3)
    assert value(train(), sar, "limbs, 6 min") == pytest.approx(1.4 * worst * energy() / 20e-3, rel=1e-4)


def test_channel_weights_come_in_pulseqs_sense():
    rng = np.random.default_rng(1)
    sar, ours = model(), rng.normal(size=TX) + 1j * rng.normal(size=TX)
    plan = train(shims=[np.conj(ours)], which=lambda i: 0)
    expected = 1.4 * (ours.conj() @ sar.head @ ours).real * energy() / 20e-3
    assert value(plan, sar, ", 6 min") != value(train(), sar, ", 6 min")
    assert next(
        f.value for f in findings(plan, MACHINE, None, sar) if f.quantity == "head SAR, 6 min mean"
    ) == pytest.approx(expected, rel=1e-4)


def test_shims_that_change_share_the_heat_point_by_point():
    """Slow reference: every point's own train of energies, every window begun at every pulse, by plain loops."""
    rng = np.random.default_rng(2)
    shims = rng.normal(size=(4, TX)) + 1j * rng.normal(size=(4, TX))
    plan = train(n=60, tr=0.3, shims=shims, which=lambda i: int(i * i) % 4 if i % 7 else -1)
    sar, period = model(), duration(plan)
    played = pulses(plan)
    weights = np.concatenate((np.conj(shims), np.ones((1, TX))))
    for window in (10.0, 360.0):
        worst = 0.0
        times = np.concatenate([played.start + k * period for k in range(int(window / period) + 3)])
        ends = np.concatenate([played.end + k * period for k in range(int(window / period) + 3)])
        which = np.tile(played.shim, int(window / period) + 3)
        heat = np.einsum("sa,pab,sb->ps", weights.conj(), sar.local, weights).real * 1.4 * energy()
        for begin in played.end:
            touched = (ends >= begin - 1e-12) & (times <= begin + window)
            sums = heat[:, which[touched]].sum(axis=1)[sar.part != 3]
            worst = max(worst, sums.max() / window)
        name = "head and trunk, 10 s" if window == 10 else "head and trunk, 6 min"
        assert value(plan, sar, name) == pytest.approx(worst, rel=1e-9)


def test_a_burst_is_judged_by_its_own_ten_seconds_and_a_short_scan_as_if_repeated():
    sar = model()
    steady, burst = train(n=500, tr=20e-3), train(n=500, tr=20e-3, tail=100.0)
    assert value(burst, sar, "whole-body SAR, 10 s") == pytest.approx(
        value(steady, sar, "whole-body SAR, 10 s"), rel=1e-2
    )
    assert value(burst, sar, "whole-body SAR, 6 min") < value(steady, sar, "whole-body SAR, 6 min") / 8
    assert value(train(n=5), sar, "whole-body SAR, 6 min") == pytest.approx(
        value(steady, sar, "whole-body SAR, 6 min"), rel=1e-3
    )


def test_energy_counts_when_it_is_played_however_long_its_block():
    pulse = hard_pulse()
    plan = replace(program(*[{"duration": 30.0, "rf": pulse}] * 3), reference_drive=DRIVE)
    sar, ones = model(), np.ones(TX)
    assert value(plan, sar, "whole-body SAR, 10 s") == pytest.approx(
        1.4 * (ones @ sar.whole_body @ ones).real * energy() / 10, rel=1e-9
    )


def test_a_common_phase_and_a_louder_drive():
    sar = model()
    plain = train(shims=[np.ones(TX)], which=lambda i: 0)
    turned = train(shims=[np.full(TX, np.exp(0.7j))], which=lambda i: 0)
    for words in ("head SAR, 10 s", "limbs, 6 min"):
        assert value(plain, sar, words) == pytest.approx(value(turned, sar, words))
        assert value(replace(plain, reference_drive=2 * DRIVE), sar, words) == pytest.approx(
            4 * value(plain, sar, words)
        )


def test_every_kind_of_sar_refuses_and_says_in_which_mode_it_is():
    plan, ones = train(n=500), np.ones(TX)
    for name, words, limit in (
        ("whole_body", "whole-body SAR, 6 min", 4.0),
        ("head", "head SAR, 6 min", 3.2),
        ("partial_body", "partial-body SAR, 6 min", 10 - 6 * 0.4),
    ):
        quiet = dict.fromkeys(("whole_body", "head", "partial_body"), np.zeros((TX, TX)))
        per_watt = limit / (1.4 * energy() / 20e-3) / (ones @ np.eye(TX) @ ones)
        for factor, verdict in ((0.99, set()), (1.01, {f"{words} mean"})):
            means = quiet | {name: np.eye(TX) * per_watt * factor}
            sar = sar_from_matrices(np.zeros((1, TX, TX)), exposed_fraction=0.4, **means)
            assert {f.quantity for f in findings(plan, MACHINE, None, sar) if not f.ok} == verdict
    for part, words, limit in ((1, "head and trunk, 6 min", 20.0), (3, "limbs, 6 min", 40.0)):
        local = np.eye(TX)[None] * limit / (1.4 * energy() / 20e-3) / TX
        for factor, mode in ((0.49, "normal"), (0.99, "first-level"), (1.01, "above first-level")):
            sar = sar_from_matrices(local * factor, part=[part])
            found = next(f for f in findings(plan, MACHINE, None, sar) if words in f.quantity)
            assert found.ok == (factor < 1) and found.mode == mode
            normal = next(f for f in findings(plan, MACHINE, None, sar, mode="normal") if words in f.quantity)
            assert normal.ok == (factor < 0.5)
    assert any(
        "SAR): normal operating mode" in note for note in notes(plan, MACHINE, None, sar_from_matrices(local / 10))
    )


def test_ten_seconds_may_have_twice_the_limit_and_no_more():
    ones = np.ones(TX)
    pulse = energy() * 1.4
    n = 500
    for factor, ok in ((0.98, True), (1.02, False)):
        matrix = np.eye(TX) * 8.0 * factor * 10 / (pulse * n * (ones @ ones))
        sar = sar_from_matrices(np.zeros((1, TX, TX)), whole_body=matrix)
        found = {f.quantity: f for f in findings(train(n=n, tail=350.0), MACHINE, None, sar)}
        assert found["whole-body SAR, 10 s mean"].ok == ok and found["whole-body SAR, 6 min mean"].ok


def test_the_switch_of_the_profile_takes_local_limits_away():
    hot = sar_from_matrices(np.eye(TX)[None] * 1e3)
    assert any(not f.ok for f in findings(train(), MACHINE, None, hot))
    letter = replace(MACHINE, transmit=replace(MACHINE.transmit, local_sar_limits=False))
    assert all(f.ok for f in findings(train(), letter, None, hot) if "local" in f.quantity)


def test_without_a_prescan_or_with_other_channels_sar_refuses():
    blind = replace(train(), reference_drive=None)
    assert {f.quantity for f in findings(blind, MACHINE, None, model()) if not f.ok} == {"prescan missing"}
    few = sar_from_matrices(np.eye(2)[None])
    assert {f.quantity for f in findings(train(), MACHINE, None, few) if not f.ok} == {
        "channels of the SAR model, wrong"
    }


def test_a_model_spoiled_after_it_was_made_never_clears():
    for spoil in (np.nan, np.inf, -5.0, 1j):
        sar = model()
        sar.local[3, 0, 0] += spoil
        with pytest.raises((InputError, RefusedError)):
            clear(train(), MACHINE, None, sar)
        sar = model()
        sar.whole_body[0, 1] += spoil
        with pytest.raises((InputError, RefusedError)):
            clear(train(), MACHINE, None, sar)


def test_fields_without_what_sar_needs_refuse_and_no_fields_say_so():
    quasi_static = SimpleNamespace(e=None, s_matrix=None)
    assert any("not assessed" in note for note in clear(gradient_echo(), MACHINE, quasi_static).notes)
    assert any("Not for a person" in note for note in clear(gradient_echo(), MACHINE).notes)


def cube_fields(strength=30.0, **changes):
    """A cube of muscle, 8 channels with a field each, V/m/sqrt(W)."""
    rng = np.random.default_rng(3)
    shape = (12, 12, 12)
    e = strength * (rng.normal(size=(TX, 3, 1, 1, 1)) + 1j * rng.normal(size=(TX, 3, 1, 1, 1)))
    given = dict(
        affine=np.diag([5e-3, 5e-3, 5e-3, 1.0]),
        off_resonance=np.zeros(shape, np.float32),
        b1_plus=np.ones((TX, *shape), np.complex64),
        b1_minus=np.ones((1, *shape), np.complex64),
        noise_resistance=np.eye(1, dtype=complex),
        e=np.broadcast_to(e, (TX, 3, *shape)).astype(np.complex64),
        conductivity=np.full(shape, 0.75, np.float32),
        density=np.full(shape, 1000.0, np.float32),
        part=np.full(shape, 1, np.uint8),
    )
    return FieldMaps(**(given | changes))


def test_fields_with_an_electric_field_are_judged_whether_or_not_a_model_is_given():
    fields, plan = cube_fields(), train()
    built = [f for f in findings(plan, MACHINE, fields) if f.unit == "W/kg"]
    given = [f for f in findings(plan, MACHINE, fields, sar_model(fields)) if f.unit == "W/kg"]
    assert [f.value for f in built] == [f.value for f in given] and len(built) == 8
    drive = fields.e[:, :, 0, 0, 0].sum(axis=0)
    point = 0.75 * np.sum(np.abs(drive) ** 2) / 2000 * energy() / 20e-3 * 1.4
    assert next(f.value for f in built if f.quantity == "head SAR, 6 min mean") == pytest.approx(point, rel=1e-4)
    with pytest.raises(RefusedError, match="SAR"):
        clear(plan, MACHINE, cube_fields(strength=300.0))


@pytest.mark.parametrize("missing", ["conductivity", "density"])
def test_an_electric_field_that_cannot_be_judged_refuses(missing):
    with pytest.raises(RefusedError, match=f"SAR cannot be judged: .*{missing}"):
        clear(train(), MACHINE, cube_fields(**{missing: None}))
    broken = cube_fields()
    broken.density[3, 3, 3] = np.nan
    with pytest.raises(RefusedError, match="SAR cannot be judged"):
        clear(train(), MACHINE, broken)


def test_a_model_that_lacks_a_mean_says_so():
    said = notes(train(), MACHINE, None, sar_from_matrices(np.eye(TX)[None] * 1e-6))
    assert any("does not hold it: whole-body SAR, head SAR, partial-body SAR" in note for note in said)


def test_the_largest_window_is_found_by_looking_at_all():
    rng = np.random.default_rng(5)
    for _ in range(50):
        n, window = rng.integers(1, 30), rng.uniform(0.01, 5)
        start = np.sort(rng.uniform(0, 10, n))
        end = start + 1e-3
        amount = rng.uniform(0, 1, n)
        index = np.zeros(n, int)
        played = Pulses(start, end, amount, amount, index, index, index)
        plain = max(amount[(end >= t) & (start <= t + window)].sum() for t in end)
        assert most(played, amount, window)[0] == pytest.approx(plain)


# remedies, followed

SLICED = Protocol(
    name="small", contrast="TSE", fov=(200 * mm, 190 * mm, 5 * mm), matrix=(32, 24, 1), te=(40 * ms,), tr=600 * ms,
    flip_angle=90 * deg, bandwidth=400.0, dimensions=2, slices=3, slice_gap=1 * mm, rf_duration=2.5 * ms,
    rf_time_bandwidth=3.0, echo_train=6, dummies=1,
)  # fmt: skip
VOLUME = Protocol(
    name="small", contrast="GRE", fov=(200 * mm, 190 * mm, 120 * mm), matrix=(32, 24, 8), te=(4 * ms,), tr=20 * ms,
    flip_angle=15 * deg, bandwidth=400.0, dummies=2,
)  # fmt: skip
PREPARED = replace(VOLUME, contrast="MPRAGE", ti=300 * ms, tr=700 * ms, echo_spacing=12 * ms, dummies=1)
PLANAR = replace(
    SLICED, contrast="EPI", te=(30 * ms,), tr=400 * ms, bandwidth=2000.0, echo_train=1, fat_saturation=True
)


def heated(protocol, beyond):
    """The program, and a model by which its worst SAR is `beyond` times the limit."""
    plan = replace(build_program(protocol, MACHINE), reference_drive=0.01)
    sar = model()
    found = [f for f in findings(plan, MACHINE, None, sar) if f.unit == "W/kg"]
    scale = beyond / max(f.value / f.limit for f in found)
    return plan, scaled(sar, scale)


def scaled(sar, factor):
    return replace(
        sar,
        local=sar.local * factor,
        **{name: getattr(sar, name) * factor for name in ("whole_body", "head", "partial_body")},
    )


def hot(plan, sar):
    return [f for f in findings(plan, MACHINE, None, sar) if not f.ok and f.unit == "W/kg"]


@pytest.mark.parametrize("beyond", [1.02, 1.7, 6.0])
@pytest.mark.parametrize("protocol", [SLICED, VOLUME, PREPARED, PLANAR], ids=lambda p: p.contrast)
def test_the_suggested_repetition_time_passes_when_followed(protocol, beyond):
    plan, sar = heated(protocol, beyond)
    remedy = hot(plan, sar)[0].remedy
    tr = float(re.search(r"lengthen tr from [\d.]+ to ([\d.]+) s", remedy)[1])
    followed = replace(build_program(replace(protocol, tr=tr), MACHINE), reference_drive=0.01)
    assert hot(followed, sar) == []
    assert tr < 1.35 * beyond * protocol.tr  # and asks for no more than it takes


@pytest.mark.parametrize("beyond", [1.02, 1.7])
@pytest.mark.parametrize("protocol", [SLICED, VOLUME, PLANAR], ids=lambda p: p.contrast)
def test_the_suggested_flip_angle_passes_when_followed(protocol, beyond):
    plan, sar = heated(protocol, beyond)
    found = re.search(r"lower (flip_angle|refocusing_angle) from [\d.]+ to ([\d.]+) deg", hot(plan, sar)[0].remedy)
    followed = build_program(replace(protocol, **{found[1]: float(found[2]) * deg}), MACHINE)
    assert hot(replace(followed, reference_drive=0.01), sar) == []


def test_a_pulse_of_the_suggested_length_passes():
    for quantity, machine in (
        ("RF peak B1", replace(MACHINE, transmit=replace(MACHINE.transmit, peak_b1=4e-6))),
        ("RF peak power per channel", replace(MACHINE, transmit=replace(MACHINE.transmit, peak_power=20.0))),
        ("RF voltage at a plug", replace(MACHINE, transmit=replace(MACHINE.transmit, peak_voltage=50.0))),
    ):
        for factor in (1.0, None):
            plan = train(n=2)
            found = next(f for f in findings(plan, machine) if f.quantity == quantity)
            assert not found.ok
            length = float(re.search(r"from [\d.]+ to ([\d.]+) ms", found.remedy)[1]) * 1e-3
            angle = float(re.search(r"angle from ([\d.]+) to ([\d.]+) deg", found.remedy)[2])
            whole = float(re.search(r"angle from ([\d.]+) to", found.remedy)[1])
            length = np.ceil(length / 1e-6) * 1e-6
            softer = hard_pulse(5e-6 * 1e-3 / length, length) if factor else hard_pulse(5e-6 * angle / whole)
            mended = replace(plan, rf=(softer,), durations=plan.durations + 0.05)
            assert next(f for f in findings(mended, machine) if f.quantity == quantity).ok


def test_reflected_waves_raise_the_voltage():
    mirror = SimpleNamespace(e=None, s_matrix=0.5 * np.eye(TX))
    plain = value(train(), None, "RF voltage")
    assert next(f.value for f in findings(train(), MACHINE, mirror) if "voltage" in f.quantity) == pytest.approx(
        1.5 * plain
    )
    assert plain == pytest.approx(np.sqrt(100) * DRIVE * GAMMA_BAR * 5e-6)


def test_one_channel_may_not_take_the_share_of_all():
    alone = np.zeros(TX)
    alone[2] = np.sqrt(TX)
    limit = MACHINE.transmit.average_power
    drive = DRIVE * np.sqrt(0.9 * limit / (TX * energy() / 20e-3))
    even = replace(train(n=600), reference_drive=drive)
    single = replace(train(n=600, shims=[alone], which=lambda i: 0), reference_drive=drive)
    assert {f.quantity for f in findings(even, MACHINE) if not f.ok} == set()
    assert {f.quantity for f in findings(single, MACHINE) if not f.ok} >= {"RF mean power per channel"}
    assert value(single, None, "RF mean power") == pytest.approx(value(even, None, "RF mean power"))


def test_pulses_that_fill_most_of_the_time_are_refused():
    pulse = hard_pulse(1e-7, 20e-3)
    plan = program(*[{"duration": 21e-3, "rf": pulse}] * 600)
    assert {f.quantity for f in findings(plan, MACHINE) if not f.ok} == {"RF duty cycle"}


def test_an_unused_shim_of_the_wrong_length_refuses_too():
    plan = replace(train(), shims=np.ones((1, TX - 1), complex))
    assert np.all(plan.blocks[:, Column.SHIM] == -1)
    assert {f.quantity for f in findings(plan, MACHINE) if not f.ok} == {"shims that do not fit"}


def test_uneven_weights_count_in_watts_and_not_in_the_nominal_field():
    """A prescan makes the mean over the target nominal, whatever the weights; without one the strongest channel counts."""
    uneven = np.array([2.0, *[0.5] * (TX - 1)], complex)

    def found(plan, quantity):
        return next(f.value for f in findings(plan, MACHINE) if f.quantity == quantity)

    even, other, peak, watts = (
        train(),
        train(shims=[uneven], which=lambda i: 0),
        "RF peak B1",
        "RF peak power per channel",
    )
    assert found(other, peak) == pytest.approx(found(even, peak), rel=1e-9)
    assert found(other, watts) == pytest.approx(4 * found(even, watts), rel=1e-9)
    unknown = replace(other, reference_drive=None)
    assert found(unknown, peak) == pytest.approx(2 * found(even, peak), rel=1e-9)
