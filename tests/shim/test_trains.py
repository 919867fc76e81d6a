"""Trains of pulses: spinors against the Bloch equation, gradients, freedom, limits, and the twin that plays them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shim_fields import ellipsoid_fields, synthetic_sar

import lauterbur as lb
from lauterbur.errors import InputError, UnsupportedError
from lauterbur.program import Adc, Column, Gradient, Program, RfPulse
from lauterbur.safety.gate import findings
from lauterbur.safety.limits import iec_limits
from lauterbur.shim.budget import Budget, Forms
from lauterbur.shim.composite import TrainPlan, plan_train
from lauterbur.shim.flip_angle import flip_angle_at, flip_angle_map, variation
from lauterbur.shim.places import design_train
from lauterbur.shim.playing import apply_shim
from lauterbur.shim.shim import design_shim
from lauterbur.shim.slices import Slices
from lauterbur.shim.spinor import flip_angles, flip_slopes
from lauterbur.shim.target import site
from lauterbur.shim.train import Barrier, Task, Train, Voxels, played, residuals
from lauterbur.shim.trains import plan_of
from lauterbur.units import GAMMA_BAR

LIMITS = iec_limits("first level", 0.2)
FREE = Forms(np.zeros((0, 8, 8), complex), (), np.zeros(0), None)


@pytest.fixture(scope="module")
def scanner():
    return lb.load_scanner("5T")


@pytest.fixture(scope="module")
def fields():
    return ellipsoid_fields(voxel=0.02)


def voxels_of(fields):
    s = site(fields)
    w = design_shim(fields).weights
    return Voxels(s.b1 / np.mean(np.abs(w @ s.b1)), s.position, s.off_resonance), w


def random_train(seed=0, n=5, n_pulses=4):
    rng = np.random.default_rng(seed)
    b = (rng.normal(size=(n, n_pulses)) + 1j * rng.normal(size=(n, n_pulses))) * 300
    return b, np.full(n_pulses, 3e-4), rng.normal(size=n) * 100, rng.normal(size=(n, n_pulses - 1)) * 3


def test_spinors_turn_as_the_bloch_equation_does():
    b, durations, off, phase = random_train()
    m = np.tile([0.0, 0, 1], (len(b), 1))
    for j in range(b.shape[1]):  # clockwise
        m = Rotation.from_rotvec(-2 * np.pi * durations[j] * np.c_[b[:, j].real, b[:, j].imag, off]).apply(m)
        if j < b.shape[1] - 1:
            m = Rotation.from_rotvec(np.c_[0 * off, 0 * off, -phase[:, j]]).apply(m)
    angle, transverse = flip_angles(b, durations, off, phase)
    assert np.allclose(np.cos(angle), m[:, 2], atol=1e-12)
    assert np.allclose(transverse, m[:, 0] + 1j * m[:, 1], atol=1e-12)


def test_slopes_of_the_flip_angle_are_its_differences():
    b, durations, off, phase = random_train()
    angle, slope, turned = flip_slopes(b, durations, off, phase)
    assert np.allclose(angle, flip_angles(b, durations, off, phase)[0])
    for j in range(b.shape[1]):
        for unit in (1, 1j):
            e = np.zeros_like(b)
            e[:, j] = unit * 1e-3
            ahead, behind = (flip_angles(b + s * e, durations, off, phase)[0] for s in (1, -1))
            assert np.allclose((slope[:, j] * unit).real, (ahead - behind) / 2e-3, rtol=1e-5, atol=1e-10)
    for j in range(phase.shape[1]):
        e = np.zeros_like(phase)
        e[:, j] = 1e-5
        ahead, behind = (flip_angles(b, durations, off, phase + s * e)[0] for s in (1, -1))
        assert np.allclose(turned[:, j], (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-8)


def test_residuals_and_barrier_have_the_slopes_they_say(fields):
    voxels, w = voxels_of(fields)
    rng = np.random.default_rng(1)
    q = np.array([np.outer(v.conj(), v) for v in rng.normal(size=(6, 8)) + 1j * rng.normal(size=(6, 8))])
    forms = Forms(q * 1e-8, ("",) * 6, np.ones(6), 1e7)
    task = Task(1.2, 1.5e-4, 1.2e-4, np.eye(3), 15.0, forms)
    train = Train(w * rng.normal(size=(3, 1)), rng.normal(size=(2, 3)) * 4)
    barrier = Barrier(task, 3, 8)
    assert np.all(barrier.shares(train) < 1)

    def moved(e):
        change = e[:48].reshape(3, 2, 8)
        return Train(train.weights + change[:, 0] + 1j * change[:, 1], train.steps + e[48:].reshape(2, 3))

    _, jacobian = residuals(train, task, voxels)
    gradient, hessian = barrier.derivatives(train)
    for i in range(54):
        e = np.zeros(54)
        e[i] = 1e-5
        ahead, behind = moved(e), moved(-e)
        difference = (residuals(ahead, task, voxels)[0] - residuals(behind, task, voxels)[0]) / 2e-5
        assert np.allclose(jacobian[:, i], difference, atol=1e-6)
        value = [-np.sum(np.log1p(-barrier.shares(t))) for t in (ahead, behind)]
        assert gradient[i] == pytest.approx((value[0] - value[1]) / 2e-5, abs=1e-6)
        slope = (barrier.derivatives(ahead)[0] - barrier.derivatives(behind)[0]) / 2e-5
        assert np.allclose(hessian[i], slope, atol=1e-6)


def test_small_angles_add_as_small_tip_theory_says(fields):
    voxels, w = voxels_of(fields)
    still = Voxels(voxels.b1, voxels.position, 0 * voxels.off_resonance)
    rng = np.random.default_rng(2)
    train = Train(w * np.exp(1j * rng.normal(size=(3, 1))), rng.normal(size=(2, 3)) * 5)
    task = Task(0.01, 1.5e-4, 1.2e-4, np.eye(3), 15.0, FREE)
    kappa = np.concatenate((np.cumsum(train.steps[::-1], axis=0)[::-1], np.zeros((1, 3))))
    pattern = np.sum(np.exp(-2j * np.pi * kappa @ still.position.T) * (train.weights @ still.b1), axis=0) / 3
    assert np.allclose(played(train, task, still)[0], 0.01 * np.abs(pattern), atol=3e-6 * np.abs(pattern).max())


def test_a_train_that_has_nothing_to_gain_from_a_pulse_more_loses_nothing_by_it(fields):
    """Three voxels that one pulse turns alike, far off resonance: halves with a gap between them would not add up."""
    s, w = voxels_of(fields)
    few = Voxels(np.ascontiguousarray(s.b1[:, :3]), s.position[:3], np.array([170.0, 185.0, 200.0]))
    free = Task(np.radians(10), 1e-4, 3e-3, np.eye(3), 30.0, FREE)
    limit = 1.3 * np.linalg.norm(design_train(few, free, 1, [w], reach=8.0).weights) ** 2
    held = Forms(
        np.eye(8)[None] / limit / (free.angle / (2 * np.pi * free.duration)) ** 2, ("power",), np.ones(1), None
    )
    for forms in (FREE, held):
        task = replace(free, per_pulse=forms)
        for n in (1, 2, 3):
            angle, _ = played(design_train(few, task, n, [w], reach=8.0), task, few)
            assert np.abs(angle / task.angle - 1).max() < 0.01, n


@pytest.mark.parametrize("angle", [10, 90])
def test_one_more_pulse_is_never_worse(fields, angle):
    voxels, w = voxels_of(fields)
    task = Task(np.radians(angle), 1.5e-4, 1.2e-4, np.eye(3), 15.0, FREE)
    spread = []
    for n in (1, 2, 3):
        train = design_train(voxels, task, n, [w], reach=7.0)
        spread.append(np.sqrt(np.mean((played(train, task, voxels)[0] / task.angle - 1) ** 2)))
    assert spread[1] <= spread[0] * 1.001 and spread[2] <= spread[1] * 1.001
    assert spread[2] < 0.4 * spread[0]


def test_a_train_keeps_every_limit_and_uses_the_tight_one(fields, scanner):
    sar = synthetic_sar(size=0.3)
    plan = plan_train(scanner, flip_angle=np.radians(25), tr=0.02, n_points=3)
    free = design_shim(fields, sar, mode="kt-points", plan=plan)
    assert free.promised["flip-angle variation"] < 0.04
    budget = Budget(0.5e-6, 3e-6, LIMITS, peak_power=8000.0)
    share = 0.0
    for _ in range(6):  # heat it ever more often, until the limit is what shapes it
        shim = design_shim(fields, sar, mode="kt-points", plan=plan, budget=budget)
        shares = {n: v for n, v in shim.promised.items() if "share of limit" in n}
        assert max(shares.values()) <= 1
        share = shares["local SAR, head and trunk, share of limit"]
        if share > 0.9:
            break
        plan = replace(plan, repetition_time=plan.repetition_time * share / 1.15)
    assert share > 0.9
    assert shim.promised["mean flip angle, deg"] == pytest.approx(25, rel=0.05)
    assert np.abs(shim.pulse.steps).max() < plan.step_limit
    with pytest.raises(InputError, match="the limits allow a mean of"):
        hot = replace(plan, repetition_time=plan.repetition_time / 20)
        design_shim(fields, sar, mode="kt-points", plan=hot, budget=replace(budget, rms_b1=1e-7))


def test_a_universal_train_is_nearly_as_good_as_a_tailored_one_on_who_it_has_not_seen(scanner):
    def subject(seed):
        rng = np.random.default_rng(seed)
        size = 1 + 0.05 * rng.normal(size=3)
        shift = 0.004 * rng.normal(size=3)
        return ellipsoid_fields(tuple(np.array([0.075, 0.09, 0.07]) * size), voxel=0.02, seed=seed, shift=tuple(shift))

    plan = plan_train(scanner, flip_angle=np.radians(10), tr=0.02, n_points=3)
    universal = design_shim([subject(s) for s in range(3)], mode="universal", plan=plan)
    for seed in (11,):
        unseen = subject(seed)
        inside = unseen.density > 0
        tailored = design_shim(unseen, mode="kt-points", plan=plan)
        own = variation(flip_angle_map(unseen, tailored, plan.flip_angle)[inside])
        theirs = variation(flip_angle_map(unseen, universal, plan.flip_angle)[inside])
        assert theirs < own + 0.06
        assert theirs < 0.5 * unseen_cp(unseen)


def unseen_cp(fields):
    return design_shim(fields, mode="cp").promised["variation"]


def hard_program(angle, selective=False, offset=0.0):
    """One excitation, then a sample at once."""
    n, step = (200, 1e-6) if not selective else (2000, 1e-6)
    x = (np.arange(n) + 0.5) / n - 0.5
    shape = np.ones(n) if not selective else np.sinc(4 * x) * (0.54 + 0.46 * np.cos(2 * np.pi * x))
    w = shape * angle / (2 * np.pi * shape.sum() * step) * np.exp(0.4j)
    delay = 200e-6 if selective else 100e-6
    center = n * step / 2
    pulse = RfPulse(w.astype(complex), (np.arange(n) + 0.5) * step, n * step, delay, center, offset, use="excitation")
    pulse = replace(pulse, phase_offset=-2 * np.pi * offset * center)
    blocks = np.full((2, len(Column)), -1, np.int32)
    blocks[0, Column.RF], blocks[1, Column.ADC] = 0, 0
    gradients = ()
    if selective:  # 5 mm: 4 / 2 ms / 5 mm = 400 kHz/m; the second block winds back
        up, back = Gradient(np.array([0, 2e-4, 2.2e-3, 2.4e-3]), np.array([0, 4e5, 4e5, 0])), 4e5 * 1.1e-3
        down = Gradient(np.array([0, 2e-4, 4e-4, 6e-4]), np.array([0, -back / 4e-4, -back / 4e-4, 0]))
        gradients = (up, down)
        blocks[0, Column.GZ], blocks[1, Column.GZ] = 0, 1
    durations = np.array([2.4e-3 if selective else 320e-6, 1e-3])
    labels = {"SLC": np.zeros(2, np.int32)} if selective else {}
    definitions = {"TE": (0.004,), "TR": (0.02,)}
    adc = Adc(1, 1e-6, delay=7e-4)
    return Program(blocks, durations, (pulse,), gradients, (adc,), labels=labels, definitions=definitions)


def heard(program, fields, voxels=slice(None), off=True):
    """M_xy of every voxel, by the twin's reference engine: each voxel has a coil of its own."""
    s = site(fields)
    drive = program.reference_drive * GAMMA_BAR
    place, b1 = s.position[voxels], s.b1[:, voxels] * drive
    f = s.off_resonance[voxels] * off
    spins = lb.Spins(place, b1_plus=b1, off_resonance=f)
    raw = lb.simulate(program, spins, np.eye(len(place)), engine="reference")
    return np.asarray(raw.samples)[0, :, 0]


@pytest.mark.parametrize("angle", [15, 80])
def test_the_twin_plays_kt_points_to_the_flip_angles_they_promise(fields, scanner, angle):
    program = hard_program(np.radians(angle))
    plan = plan_of(program, scanner, mode="kt-points", n_points=3)
    assert plan.flip_angle == pytest.approx(np.radians(angle))
    shim = design_shim(fields, mode="kt-points", plan=plan)
    shimmed = apply_shim(program, shim, scanner)
    assert all(f.ok for f in findings(shimmed, scanner) if "RF" not in f.quantity)

    s = site(fields)
    expected, transverse = flip_angle_at(s.b1, s.position, s.off_resonance, shim, plan.flip_angle)
    signal = heard(shimmed, fields)
    assert np.allclose(np.abs(signal), np.sin(expected), atol=1e-5)  # issue: below 0.5 %
    wait = 20e-6 + 7.005e-4 + (shimmed.durations[-2] if shimmed.blocks[-2, Column.RF] < 0 else 0)
    phase = signal * np.conj(transverse) * np.exp(2j * np.pi * s.off_resonance * wait) * np.exp(0.4j)
    assert np.allclose(np.angle(phase), 0, atol=1e-4)
    assert variation(expected) == pytest.approx(shim.promised["flip-angle variation"], rel=1e-6)
    plain = heard(apply_shim(program, design_shim(fields, mode="cp")), fields)
    assert variation(expected) < 0.2 * variation(np.arcsin(np.minimum(np.abs(plain), 1)))


def test_the_train_s_gradients_sum_to_nothing_and_its_times_are_told(fields, scanner):
    program = hard_program(np.radians(10))
    plan = plan_of(program, scanner, mode="kt-points", n_points=3)
    shimmed = apply_shim(program, design_shim(fields, mode="kt-points", plan=plan), scanner)
    total = np.zeros(3)
    for row in shimmed.blocks:
        for axis in range(3):
            if row[Column.GX + axis] >= 0:
                g = shimmed.gradients[row[Column.GX + axis]]
                total[axis] += np.trapezoid(g.waveform, g.time)
    assert np.allclose(total, 0, atol=3e-3)
    start = np.concatenate(([0], np.cumsum(shimmed.durations)))
    pulses = [
        start[i] + shimmed.rf[row[Column.RF]].delay for i, row in enumerate(shimmed.blocks) if row[Column.RF] >= 0
    ]
    middle = (pulses[0] + pulses[-1] + plan.duration) / 2
    listens = start[-2]
    assert shimmed.definitions["TE"][0] - 0.004 == pytest.approx(listens - middle - (320e-6 - 200e-6), abs=1e-9)


def test_spokes_of_a_slice_are_played_as_promised(fields, scanner):
    fields = replace(fields, off_resonance=0 * fields.off_resonance)
    program = hard_program(np.radians(20), selective=True)
    slices = Slices(np.array([0, 0, 1.0]), np.array([0.0]), 0.02)
    plan = plan_of(program, scanner, mode="spokes", n_points=2)
    assert plan.peak_ratio > 2 and plan.energy_ratio > 1
    shim = design_shim(fields, mode="spokes", plan=plan, slices=slices)
    assert shim.promised["flip-angle variation"] < 0.2 * shim.promised["variation"]
    assert np.allclose(shim.pulse.steps[..., 2], 0, atol=1e-9)  # steps stay in the plane
    shimmed = apply_shim(program, shim, scanner)
    assert all(f.ok for f in findings(shimmed, scanner) if "RF" not in f.quantity and "acoustic" not in f.quantity)
    s = site(fields)
    flat = np.flatnonzero(np.abs(s.position[:, 2]) < 1e-6)
    if not len(flat):
        flat = np.flatnonzero(np.abs(s.position[:, 2]) == np.abs(s.position[:, 2]).min())
    moved = s.position.copy()
    moved[:, 2] = 0
    angle, _ = flip_angle_at(s.b1[:, flat], moved[flat], 0 * s.off_resonance[flat], shim, plan.flip_angle)
    drive = shimmed.reference_drive * GAMMA_BAR
    spins = lb.Spins(moved[flat], b1_plus=s.b1[:, flat] * drive)
    signal = np.asarray(lb.simulate(shimmed, spins, np.eye(len(flat)), engine="reference").samples)[0, :, 0]
    assert np.allclose(np.abs(signal), np.sin(angle), rtol=5e-3)


def test_trains_are_refused_where_they_cannot_be_played(fields, scanner):
    program = hard_program(np.radians(10))
    plan = plan_of(program, scanner, mode="kt-points", n_points=2)
    shim = design_shim(fields, mode="kt-points", plan=plan)
    with pytest.raises(InputError, match="need the machine"):
        apply_shim(program, shim)
    with pytest.raises(InputError, match="already carries"):
        apply_shim(apply_shim(program, shim, scanner), shim, scanner)
    with pytest.raises(InputError, match="large angles do not scale"):
        apply_shim(hard_program(np.radians(90)), shim, scanner)
    with pytest.raises(UnsupportedError, match="design spokes"):
        apply_shim(hard_program(np.radians(10), selective=True), shim, scanner)
    with pytest.raises(UnsupportedError, match="refocusing"):
        refocused = replace(program.rf[0], use="refocusing")
        apply_shim(replace(program, rf=(*program.rf, refocused)), shim, scanner)
    other = replace(scanner, transmit=replace(scanner.transmit, dead_time=300e-6))
    with pytest.raises(InputError, match="design them for this machine"):
        apply_shim(program, shim, other)
    with pytest.raises(InputError, match="no excitation"):
        apply_shim(replace(program, rf=(replace(program.rf[0], use="inversion"),)), shim, scanner)
    with pytest.raises(InputError, match="plan"):
        design_shim(fields, mode="kt-points")
    with pytest.raises(InputError, match="which"):
        design_shim(fields, mode="spokes", plan=plan)
    with pytest.raises(InputError, match="population"):
        design_shim(fields, mode="universal", plan=plan)
    with pytest.raises(InputError, match="out of range"):
        TrainPlan(flip_angle=-1, repetition_time=0.01)
