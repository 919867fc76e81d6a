"""The fast engine against the reference, with enough isochromats that the reference's own error is known.

Two independent plays of the reference give the error free of their noise: Re<f - r1, f - r2> has mean |f - truth|^2.
"""

from __future__ import annotations

import numpy as np
import pytest

from lauterbur.acquisition.twin import reference
from lauterbur.acquisition.twin.accuracy import IMAGING, Accuracy
from lauterbur.acquisition.twin.course import Course
from lauterbur.acquisition.twin.encode import Direct, Nufft, Points, encoder
from lauterbur.acquisition.twin.fast import play_fast
from lauterbur.acquisition.twin.judge import judge, plan_trial
from lauterbur.acquisition.twin.place import Place, find_lattice
from lauterbur.acquisition.twin.separable import Separable
from lauterbur.acquisition.twin.simulation import simulate
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.program import Adc, Gradient, Program, RfPulse

NONE = [-1] * 4


def lobe(area: float, length: float = 1e-3, ramp: float = 1e-4) -> Gradient:
    top = area / (length - ramp)
    return Gradient(np.array([0, ramp, length - ramp, length]), np.array([0, top, top, 0.0]))


def hard(flip: float, phase: float = 0.0, use: str = "excitation", length: float = 2e-4) -> RfPulse:
    height = flip / (2 * np.pi * length)
    return RfPulse(
        np.full(2, height, complex),
        np.array([0, length]),
        length,
        0.0,
        length / 2,
        phase_offset=phase,
        use=use,
        is_stepped=False,
    )


def window(n: int, fov: float, dwell: float) -> tuple[Gradient, Gradient]:
    """A readout gradient and the lobe before it."""
    slope = 1 / fov / dwell
    readout = Gradient(np.array([0, 1e-4, 1e-4 + n * dwell, 2e-4 + n * dwell]), np.array([0, slope, slope, 0.0]))
    return readout, lobe(-slope * (n * dwell / 2 + 0.5e-4))


def spoiled(n: int = 24, inversion: bool = False) -> Program:
    fov, dwell, tr = 0.2, 2e-5, 10e-3
    readout, before = window(n, fov, dwell)
    phases = np.deg2rad(117.0 * np.arange(n) * (np.arange(n) + 1) / 2 % 360)
    rf = [hard(np.deg2rad(15), p) for p in phases] + [hard(np.pi, use="inversion")]
    adc = [Adc(n, dwell, 1e-4, phase_offset=p) for p in phases]
    gradients = [readout, before, lobe(300.0)]
    gradients += [lobe(sign * (i - n // 2) / fov) for sign in (1, -1) for i in range(n)]
    blocks, durations = [], []
    if inversion:
        blocks += [[n, -1, -1, -1, -1, *NONE], [-1, 2, 2, -1, -1, *NONE], [-1] * 9]
        durations += [2e-4, 1e-3, 0.4]
    for i in range(n):
        blocks += [[i, -1, -1, -1, -1, *NONE], [-1, 1, 3 + i, -1, -1, *NONE], [-1, 0, -1, -1, i, *NONE]]
        blocks += [[-1, 2, 3 + n + i, -1, -1, *NONE], [-1] * 9]
        durations += [2e-4, 1e-3, 2e-4 + n * dwell, 1e-3]
        durations.append(tr - sum(durations[-4:]))
    return Program(np.array(blocks, np.int32), np.array(durations), tuple(rf), tuple(gradients), tuple(adc))


def balanced(n: int = 24, dummies: int = 12) -> Program:
    fov, dwell, tr = 0.2, 1e-5, 4e-3
    readout, before = window(n, fov, dwell)
    flip = np.deg2rad(40)
    rf = (hard(flip), hard(flip, np.pi), hard(flip / 2, np.pi))
    gradients = [readout, before, *[lobe(sign * (i - n // 2) / fov) for sign in (1, -1) for i in range(n)]]
    adc = (Adc(n, dwell, 1e-4), Adc(n, dwell, 1e-4, phase_offset=np.pi))
    blocks, durations = [[2, -1, -1, -1, -1, *NONE]], [tr / 2]
    gap = (tr - 2e-4 - 2e-3 - 2e-4 - n * dwell) / 2
    for i in range(-dummies, n):
        j, odd = max(i, 0), (i + dummies) % 2
        blocks += [[odd, -1, -1, -1, -1, *NONE], [-1, 1, 2 + j, -1, -1, *NONE], [-1] * 9]
        blocks += [[-1, 0, -1, -1, odd if i >= 0 else -1, *NONE], [-1] * 9, [-1, 1, 2 + n + j, -1, -1, *NONE]]
        durations += [2e-4, 1e-3, gap, 2e-4 + n * dwell, gap, 1e-3]
    return Program(np.array(blocks, np.int32), np.array(durations), rf, tuple(gradients), adc)


def sinc(flip: float, phase: float, use: str, delay: float) -> RfPulse:
    t = (np.arange(300) + 0.5) * 1e-5
    shape = np.sinc((t - 1.5e-3) * 4 / 3e-3) * (0.54 + 0.46 * np.cos(2 * np.pi * (t - 1.5e-3) / 3e-3))
    shape *= flip / (2 * np.pi * shape.sum() * 1e-5)
    return RfPulse(shape.astype(complex), t, 3e-3, delay, 1.5e-3, phase_offset=phase, use=use)


def spin_echoes(n: int = 16, echoes: int = 8, spacing: float = 12e-3) -> Program:
    """A turbo spin echo of one 5 mm slice, refocused by 150 degrees."""
    fov, dwell = 0.2, 2e-5
    readout, _ = window(n, fov, dwell)
    select = 4 / 3e-3 / 5e-3
    excite = Gradient(np.array([0, 1e-4, 3.1e-3, 3.2e-3]), np.array([0, 1, 1, 0.0]) * select)
    crush = 800.0 / 0.95e-3
    corners = np.array([0, 1e-4, 1e-3, 1.1e-3, 4.1e-3, 4.2e-3, 5.1e-3, 5.2e-3])
    refocus = Gradient(corners, np.array([0, crush, crush, select, select, crush, crush, 0.0]))
    half = 1 / fov / dwell * (n * dwell / 2 + 0.5e-4)
    gradients = [excite, refocus, lobe(-select * 1.55e-3), readout, lobe(half)]
    gradients += [lobe(sign * (i - n // 2) / fov) for sign in (1, -1) for i in range(n)]
    rf = (sinc(np.pi / 2, 0.0, "excitation", 1e-4), sinc(np.deg2rad(150), np.pi / 2, "refocusing", 1.1e-3))
    blocks, durations = [], []
    gap = spacing / 2 - 2.6e-3 - 1e-3 - 1e-4 - n * dwell / 2
    for shot in range(n // echoes):
        blocks += [[0, -1, -1, 0, -1, *NONE], [-1, 4, -1, 2, -1, *NONE], [-1] * 9]
        durations += [3.2e-3, 1e-3, spacing / 2 - 1.6e-3 - 1e-3 - 2.6e-3]
        for echo in range(echoes):
            line = echo * (n // echoes) + shot
            blocks += [
                [1, -1, -1, 1, -1, *NONE],
                [-1, -1, 5 + line, -1, -1, *NONE],
                [-1] * 9,
                [-1, 3, -1, -1, 0, *NONE],
            ]
            blocks += [[-1] * 9, [-1, -1, 5 + n + line, -1, -1, *NONE]]
            durations += [5.2e-3, 1e-3, gap, 2e-4 + n * dwell, gap, 1e-3]
        blocks.append([-1] * 9)
        durations.append(0.3)
    return Program(np.array(blocks, np.int32), np.array(durations), rf, tuple(gradients), (Adc(n, dwell, 1e-4),))


def echo_planar(n: int = 24, shots: int = 2) -> Program:
    """A single-shot echo-planar image of one 5 mm slice, played twice, with three lines ahead that tell its phases."""
    fov, dwell = 0.2, 1e-5
    select = 4 / 3e-3 / 5e-3
    excite = Gradient(np.array([0, 1e-4, 3.1e-3, 3.2e-3]), np.array([0, 1, 1, 0.0]) * select)
    slope = 1 / fov / dwell
    line = np.array([0, 1e-4, 1e-4 + n * dwell, 2e-4 + n * dwell])
    forth, back = (Gradient(line, sign * np.array([0, slope, slope, 0.0])) for sign in (1, -1))
    before = lobe(-slope * (n * dwell / 2 + 0.5e-4))
    blip = Gradient(np.array([0, 5e-5, 1e-4]), np.array([0, 1 / fov / 5e-5, 0.0]))
    gradients = (excite, lobe(-select * 1.55e-3), forth, back, before, blip, lobe(-n / 2 / fov))
    blocks, durations = [], []
    for _ in range(shots):
        blocks += [[0, -1, -1, 0, -1, *NONE], [-1, 4, -1, 1, -1, *NONE]]
        durations += [3.2e-3, 1e-3]
        for i in range(n + 3):
            blocks.append([-1, 2 + i % 2, -1, -1, 0, *NONE])
            durations.append(2e-4 + n * dwell)
            if i == 2:
                blocks.append([-1, -1, 6, -1, -1, *NONE])
                durations.append(1e-3)
            elif i > 2:
                blocks.append([-1, -1, 5, -1, -1, *NONE])
                durations.append(1e-4)
        blocks.append([-1] * 9)
        durations.append(0.5)
    rf = (sinc(np.deg2rad(80), 0.0, "excitation", 1e-4),)
    return Program(np.array(blocks, np.int32), np.array(durations), rf, gradients, (Adc(n, dwell, 1e-4),))


def disc(
    n: int, step: float, *, turn: float = 0.0, planes: int = 1, depth: float | None = None, seed: int = 0
) -> Spins:
    """120 tissues in patches, off-resonance to +-200 Hz, relative B1 0.6 to 1.3, finite T2', turned against the image."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(np.arange(planes) - (planes - 1) / 2, *[np.arange(n) - (n - 1) / 2] * 2, indexing="ij")
    index = np.stack([x, y, z], -1)[np.hypot(x, y) < 0.42 * n]
    c, s = np.cos(turn), np.sin(turn)
    edges = np.diag([step, step, depth or step]) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    place = index @ edges
    tissue = (np.floor(index[:, :2] / 2).astype(int) @ np.array([7, 31])) % 120
    t1, t2 = rng.uniform(0.3, 4.0, 120)[tissue], rng.uniform(0.03, 0.3, 120)[tissue]
    return Spins(
        place,
        rng.uniform(0.5, 1, 120)[tissue],
        t1,
        t2,
        rng.uniform(0.04, 0.1, 120)[tissue],
        200 * np.sin(30 * place[:, 0]) * np.cos(25 * place[:, 1]),
        0.95 + 0.35 * np.cos(20 * place[:, 1] + 7 * place[:, 0]),
        volume=np.full(len(place), abs(np.linalg.det(edges))),
        edges=edges,
    )


def error(program: Program, spins: Spins, isochromats: int, accuracy: Accuracy | None = None) -> float:
    fast, _ = play_fast(program, spins, accuracy=accuracy)
    one, two = (reference.play(program, spins, spins_per_voxel=isochromats, seed=seed) for seed in (1, 2))
    return float(np.sqrt(max(np.vdot(fast - one, fast - two).real, 0) / np.vdot(one, two).real))


@pytest.mark.parametrize(
    ("program", "spins", "isochromats"),
    [
        (spoiled(), disc(24, 5e-3, turn=0.3), 512),
        (spoiled(inversion=True), disc(24, 5e-3), 512),
        (balanced(), disc(24, 5e-3, turn=0.3), 512),
        (spin_echoes(), disc(12, 9e-3, planes=9, depth=1e-3), 512),
        (echo_planar(), disc(12, 9e-3, planes=9, depth=1e-3, turn=0.2), 512),
    ],
    ids=["spoiled", "inverted", "balanced", "spin-echoes", "echo-planar"],
)
def test_the_fast_engine_agrees_with_converged_isochromats(program: Program, spins: Spins, isochromats: int) -> None:
    assert error(program, spins, isochromats) < 5e-3


@pytest.mark.parametrize(
    ("program", "spins"),
    [(spoiled(), disc(24, 5e-3, turn=0.3)), (spoiled(inversion=True), disc(24, 5e-3)), (balanced(), disc(24, 5e-3))],
    ids=["spoiled", "inverted", "balanced"],
)
def test_the_accuracy_of_large_jobs_keeps_its_promise(program: Program, spins: Spins) -> None:
    assert error(program, spins, 2048, Accuracy()) < 5e-3


def test_points_without_relaxation_spread_agree_to_single_precision() -> None:
    rng = np.random.default_rng(1)
    spins = Spins(rng.uniform(-0.08, 0.08, (40, 3)), 1.0, 1.0, 0.1, off_resonance=rng.uniform(-100, 100, 40))
    fast, _ = play_fast(spoiled(), spins)
    slow = reference.play(spoiled(), spins)
    assert np.linalg.norm(fast - slow) < 1e-3 * np.linalg.norm(slow)


@pytest.mark.parametrize(
    ("program", "spins"),
    [(spoiled(), disc(24, 5e-3, turn=0.3)), (balanced(), disc(24, 5e-3))],
    ids=["spoiled", "balanced"],
)
def test_the_measured_error_is_an_upper_limit_and_not_a_distant_one(program: Program, spins: Spins) -> None:
    truth, _ = play_fast(program, spins)
    for seed in range(4):
        raw = simulate(program, spins, seed=seed, accuracy=IMAGING, measure_error=True)
        measured = raw.header.provenance["simulation_error"]
        wrong = np.linalg.norm(raw.samples - truth) / np.linalg.norm(truth)
        assert 0.005 < wrong < measured["upper95"] < 3 * wrong


def test_the_judge_sees_an_engine_that_plays_other_spins() -> None:
    program, spins = spoiled(inversion=True), disc(24, 5e-3)
    others = spins.subset(np.arange(len(spins)))
    others.t1[:] *= 0.8
    trial = plan_trial(program, spins, 0)
    assert trial is not None
    play_fast(program, others, witness=trial.witness)
    assert judge(trial, spins)["estimate"] > 0.03


@pytest.mark.parametrize("order", [(0, 0, 0), (1, 0, 0), (0, 2, 1)])
@pytest.mark.parametrize("hertz", [0.0, 300.0])
def test_three_ways_of_encoding_give_one_sum(order: tuple[int, int, int], hertz: float) -> None:
    rng = np.random.default_rng(2)
    spins = disc(20, 5e-3, planes=3)
    place = Place(spins.position, spins.edges, find_lattice(spins))
    time, offset = np.arange(40) * 2e-5, rng.uniform(-hertz, hertz, len(spins))
    k = np.zeros((32, 40, 3))
    k[:, :, 0] = ((np.arange(40) - 20 + 0.5) / 0.2)[None]
    k[:, :, 1] = ((np.arange(32) - 16) / 0.2)[:, None]
    k[:, :, 2] = 40.0
    values = (rng.standard_normal((2, len(spins))) + 1j * rng.standard_normal((2, len(spins)))).astype(np.complex64)
    course = Course(
        rng.standard_normal((2, 32, 3)).astype(np.complex64),
        (rng.standard_normal((2, 3, 40)) + 0.5j).astype(np.complex64),
        np.array([3, 3]),
    )
    coil = np.exp(1j * spins.position[:, 0] * 20).astype(np.complex64)
    chosen, drift = encoder(place, k, time, offset)
    assert isinstance(chosen, Separable)
    assert drift.shift.any() and np.ptp(drift.time) < 1e-9
    moved = Place(place.position + offset[:, None] * drift.shift, place.edges, None)
    ways = [chosen, Points(moved, k), Direct(moved, k)]
    if not hertz:
        ways.insert(0, Nufft(place, k))
    sums = []
    for how in ways:
        out = np.zeros((32, 1, 40), np.complex64)
        energy = how.add(values, np.arange(2), order, coil, course, out, np.arange(32), 0)
        assert energy.shape == (2,) and (energy > 0).all()
        sums.append(out)
    for other in sums[:-1]:
        assert np.linalg.norm(other - sums[-1]) < 2e-4 * np.linalg.norm(sums[-1])


def test_lines_that_run_the_same_way_after_one_pulse_are_one_readout() -> None:
    _, report = play_fast(echo_planar(), disc(12, 9e-3, planes=9, depth=1e-3))
    (played,) = report["passes"]
    assert sorted(g["windows"] for g in played["groups"]) == [1, 1, 1, 12, 12]
    assert all(g["rows"] == 2 for g in played["groups"])


def test_many_pulses_may_pass_before_anything_is_heard() -> None:
    rng = np.random.default_rng(4)
    n = 3000  # more than are played one by one
    spins = Spins(rng.uniform(-0.05, 0.05, (n, 3)), 1.0, rng.uniform(0.5, 2, n), rng.uniform(0.05, 0.2, n))
    program = balanced(4, dummies=420)
    fast, _ = play_fast(program, spins)
    slow = reference.play(program, spins)
    assert np.linalg.norm(fast - slow) < 5e-3 * np.linalg.norm(slow)


def test_the_same_seed_gives_the_same_bytes() -> None:
    program, spins = spoiled(), disc(24, 5e-3)
    assert simulate(program, spins, seed=3).samples.tobytes() == simulate(program, spins, seed=3).samples.tobytes()
