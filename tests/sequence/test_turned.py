"""Radial, stack of stars and spiral: the trajectory is the integral of what is played, and the machine can play it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_protocols import TURNED
from test_sequences import FRAMES, MACHINES, OBLIQUE, played

from lauterbur.acquisition.trajectory import trajectory
from lauterbur.errors import ProtocolError
from lauterbur.formats.pulseq import read_program, write_program
from lauterbur.program import Column, adc_blocks, gradient_points, program_hash, receiver_phase
from lauterbur.protocol.library import load_protocol
from lauterbur.protocol.protocol import checked
from lauterbur.safety.gate import findings
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.angles import GOLDEN_RATIO, golden_angles
from lauterbur.sequence.contrasts import build_program
from lauterbur.sequence.limits import limits
from lauterbur.sequence.spiral import INNER, field_of_view, slew_at, spiral_arm, spiral_gradient
from lauterbur.units import GAMMA_BAR, mm, ms

LIMIT = limits(MACHINES["5T"], TURNED["spiral"].directions)
SAFE = MACHINES["5T"].gradients.safe


def test_any_number_of_golden_spokes_covers_the_half_turn_nearly_evenly():
    """Three distances at most, the largest at most (1 + golden ratio) times the smallest (three-distance theorem)."""
    assert np.degrees(golden_angles(2)[1]) == pytest.approx(111.246, abs=5e-4)  # Winkelmann et al. 2007
    for n in (2, 3, 5, 8, 13, 37, 100, 144):
        gaps = np.diff(np.sort(np.mod(golden_angles(n), np.pi)), append=np.pi)
        sizes = np.unique(np.round(gaps, 9))
        assert len(sizes) <= 3 and sizes[-1] / sizes[0] <= 1 + GOLDEN_RATIO + 1e-6


def test_tiny_golden_angles_are_the_published_ones():
    """Wundrak et al. 2015, table I."""
    degrees = [np.degrees(golden_angles(2, order)[1]) for order in (1, 2, 3, 5, 7)]
    np.testing.assert_allclose(degrees, [111.2461, 68.7539, 49.7508, 32.0397, 23.6281], atol=1e-4)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", ["radial", "stack", "radial-frames"])
def test_spokes_lie_where_their_golden_angle_says(name, frame):
    protocol = replace(TURNED[name], directions=FRAMES[frame])
    program = build_program(protocol, MACHINES["5T"])
    header, _, k, labels = played(program)
    assert header.trajectory == "radial"
    i = np.arange(header.encoded_matrix[0])
    radius = (i - header.encoded_matrix[0] // 2) / header.encoded_fov[0]
    repetition = np.asarray(program.labels.get("REP", np.zeros(program.n_blocks, int)))[adc_blocks(program)]
    angle = golden_angles(10_000, protocol.golden_order)[labels["LIN"] + protocol.shots * repetition]
    wanted = np.stack((np.outer(np.cos(angle), radius), np.outer(np.sin(angle), radius)), axis=-1)
    np.testing.assert_allclose(k[..., :2] * protocol.fov[0], wanted * protocol.fov[0], atol=1e-3)
    partition = (labels["PAR"] - protocol.matrix[2] // 2) / protocol.fov[2] if protocol.is_3d else 0 * angle
    np.testing.assert_allclose(
        k[..., 2] * protocol.fov[2], partition[:, None] * protocol.fov[2] + 0 * k[..., 2], atol=1e-3
    )


@pytest.mark.parametrize("name", TURNED)
def test_every_shot_is_played_once_for_each_image(name):
    protocol = TURNED[name]
    program = build_program(protocol, MACHINES["5T"])
    _, _, _, labels = played(program)
    labels["REP"] = np.asarray(program.labels.get("REP", np.zeros(program.n_blocks, int)))[adc_blocks(program)]
    keys = np.stack([labels[name] for name in ("SLC", "ECO", "REP", "PAR", "LIN")])
    assert np.unique(keys, axis=1).shape[1] == keys.shape[1]
    n_slices = protocol.matrix[2] if protocol.is_3d else protocol.slices
    assert keys.shape[1] == protocol.shots * n_slices * len(protocol.te) * protocol.frames


@pytest.mark.parametrize("name", TURNED)
def test_the_centre_is_crossed_at_te(name):
    header, path, k, labels = played(build_program(TURNED[name], MACHINES["5T"]))
    for echo, te in enumerate(TURNED[name].te):
        assert path.te[labels["ECO"] == echo] == pytest.approx(te, abs=12e-6)
        assert path.te[labels["ECO"] == echo] == pytest.approx(header.te[echo], abs=2e-6)
    nearest = np.min(np.linalg.norm(k[..., :2], axis=2), axis=1)
    assert np.max(nearest) * header.fov[0] < 0.05


@pytest.mark.parametrize(("name", "machine"), [(name, machine) for name in TURNED for machine in MACHINES])
def test_the_gate_lets_it_pass(name, machine):
    for change in ({}, {"directions": OBLIQUE, "position": (0.01, 0.02, -0.03)}):
        program = build_program(replace(TURNED[name], **change), MACHINES[machine])
        assert [f.sentence() for f in findings(program, MACHINES[machine]) if not f.ok] == []


@pytest.mark.parametrize("frame", ["axial", "oblique"])
@pytest.mark.parametrize("name", TURNED)
def test_a_point_at_the_centre_of_the_image_is_a_constant_in_k_space(name, frame):
    protocol = replace(TURNED[name], directions=FRAMES[frame], position=(13.7 * mm, -21.2 * mm, 8.4 * mm))
    program = build_program(protocol, MACHINES["5T"])
    header, path, _, labels = played(program)
    centres = np.array(header.slice_positions or [header.position])[labels["SLC"]]
    signal = np.exp(-2j * np.pi * np.einsum("rsa,ra->rs", path.k.astype(float), centres))
    blocks = adc_blocks(program)
    excites = [i for i, p in enumerate(program.rf) if p.use == "excitation"]
    at = np.flatnonzero(np.isin(program.blocks[:, Column.RF], excites))
    last = at[np.searchsorted(at, blocks, side="right") - 1]
    for i, block in enumerate(blocks):
        rf, adc = program.rf[program.blocks[last[i], Column.RF]], program.adc[program.blocks[block, Column.ADC]]
        excited = np.exp(-1j * (rf.phase_offset + 2 * np.pi * rf.frequency_offset * rf.center))
        signal[i] *= excited * receiver_phase(adc)
    np.testing.assert_allclose(signal, signal[0, 0] + 0 * signal, atol=2e-3)


@pytest.mark.parametrize("version", ["1.5.0", "1.4.1"])
@pytest.mark.parametrize("name", TURNED)
def test_a_program_is_the_same_after_a_round_trip(name, version, tmp_path):
    program = build_program(TURNED[name], MACHINES["5T"])
    assert program_hash(program) == program_hash(build_program(TURNED[name], MACHINES["5T"]))
    write_program(program, tmp_path / "a.seq", version=version)
    again = read_program(tmp_path / "a.seq")
    assert again.definitions["LauterburHeader"] == program.definitions["LauterburHeader"]
    if version == "1.5.0":  # older files do not say what a pulse is for: fat saturation then counts as an excitation
        np.testing.assert_allclose(trajectory(again).k, trajectory(program).k, atol=5e-2)


@pytest.mark.parametrize("name", TURNED)
def test_magnetisation_is_wound_back_in_the_plane_and_dephased_alike_by_every_shot(name):
    program = build_program(TURNED[name], MACHINES["5T"])
    excites = [i for i, p in enumerate(program.rf) if p.use == "excitation"]
    starts = np.flatnonzero(np.isin(program.blocks[:, Column.RF], excites))
    total = np.zeros((program.n_blocks, 3))
    for b in range(program.n_blocks):
        time, value = gradient_points(program, b)
        total[b] = np.trapezoid(value, time, axis=0)
    sums = np.add.reduceat(total, starts, axis=0)[: len(starts) - 1]
    assert np.abs(sums[:, :2]).max() * TURNED[name].fov[0] < 1e-3
    assert np.ptp(sums[:, 2]) < 1e-3 * np.abs(sums[:, 2]).max()


# ---- the spiral


def arm(shots: int = 4, undersampling: float = 1.0, matrix: int = 128, fov: float = 0.22):
    """k (point, 2) 1/m on the raster, gradient Hz/m, slew Hz/m/s; as played, from rest."""
    gradient = spiral_gradient(fov, matrix / fov / 2, shots, undersampling, LIMIT, SAFE)
    whole = np.concatenate((np.zeros((1, 2)), gradient))
    steps = np.concatenate(([LIMIT.raster / 2], np.full(len(gradient) - 1, LIMIT.raster)))
    k = np.cumsum(np.concatenate((np.zeros((1, 2)), (whole[1:] + whole[:-1]) / 2 * steps[:, None])), axis=0)
    return k, whole, np.diff(whole, axis=0) / steps[:, None]


@pytest.mark.parametrize("undersampling", [1.0, 2.5, 4.0])
@pytest.mark.parametrize("shots", [1, 8, 60])
def test_the_smallest_spirals_keep_their_slew_up_to_the_end(shots, undersampling):
    """Where the field of view falls fast, the last steps bend most."""
    for fov, matrix in ((0.1, 80), (0.3, 40), (0.5, 16)):
        if (shots, matrix) != (60, 16):
            assert np.hypot(*arm(shots, undersampling, matrix, fov)[2].T).max() <= LIMIT.slew * 1.03


@pytest.mark.parametrize(("shots", "undersampling"), [(1, 1.0), (8, 1.0), (24, 1.0), (8, 3.0)])
def test_a_spiral_keeps_slew_and_amplitude_and_reaches_the_edge(shots, undersampling):
    k, gradient, slew = arm(shots, undersampling)
    assert np.hypot(*gradient.T).max() <= LIMIT.amplitude * (1 + 1e-9)
    assert np.hypot(*slew.T).max() <= LIMIT.slew * 1.02
    radius = np.hypot(*k.T)
    assert radius.max() == pytest.approx(128 / 0.22 / 2, rel=0.02)
    assert np.all(np.diff(radius) > 0)


@pytest.mark.parametrize(("shots", "undersampling"), [(8, 1.0), (8, 3.0)])
def test_turns_of_a_spiral_lie_as_far_apart_as_the_field_of_view_asks(shots, undersampling):
    """Nyquist between neighbouring arms: dr per turn = shots / FOV(r), independent of how the arm was integrated."""
    k, _, _ = arm(shots, undersampling)
    radius, angle = np.hypot(*k.T), np.unwrap(np.arctan2(k[:, 1], k[:, 0]))
    edge = 128 / 0.22 / 2
    for r in (0.2, 0.5, 0.8):
        at = np.searchsorted(radius, r * edge)
        pitch = 2 * np.pi * np.gradient(radius)[at] / np.gradient(angle)[at] / shots
        wanted = 0.22 if r <= INNER or undersampling == 1 else field_of_view(r * edge, edge, 0.22, undersampling)[0]
        assert 1 / pitch == pytest.approx(wanted, rel=0.03)
    assert field_of_view(edge, edge, 0.22, 3.0)[0] == pytest.approx(0.22 / 3)


def test_a_spiral_is_nearly_as_fast_as_its_limits_let_it_be():
    """After its start either the slew or the amplitude is at the limit that the turning rate sets."""
    _, gradient, slew = arm(8)
    rate = np.abs(np.gradient(np.unwrap(np.arctan2(gradient[1:, 1], gradient[1:, 0])), LIMIT.raster))
    used = np.hypot(*slew.T)[1:] / np.array([slew_at(r, LIMIT, SAFE) for r in rate[1:]])
    fast = np.hypot(*gradient.T)[2:] / LIMIT.amplitude
    middle = slice(len(used) // 5, -2)
    assert np.min(np.maximum(used, fast)[middle]) > 0.9
    assert np.max(used[middle]) < 1.1


def test_slow_swings_are_given_less_slew_than_fast_ones():
    rates = 2 * np.pi * np.array([100.0, 300.0, 1000.0, 3000.0])
    allowed = [slew_at(rate, LIMIT, SAFE) for rate in rates]
    assert np.all(np.diff(allowed) >= 0) and allowed[-1] == LIMIT.slew
    assert allowed[0] / GAMMA_BAR < 60.0  # near rheobase / effective length, 57 T/m/s, of the longest ramps


def test_the_arm_knows_its_own_k_as_the_trajectory_does():
    """Two integrators that share nothing: the arm's, for the receiver, and the program's."""
    protocol = TURNED["spiral"]
    made = spiral_arm(protocol, LIMIT, SAFE)
    _, path, k, labels = played(build_program(protocol, MACHINES["5T"]))
    first = np.flatnonzero(labels["LIN"] == 0)[0]
    np.testing.assert_allclose(k[first, :, :2], made.k, atol=0.01 / protocol.fov[0])
    assert path.n_samples[first] == made.n_samples


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(TURNED)),
    st.floats(0.1, 0.5),
    st.integers(8, 100),
    st.integers(1, 60),
    st.floats(0.005, 0.3),
    st.floats(30, 2000),
    st.floats(1, 4.5),
    st.sampled_from(sorted(MACHINES)),
)
def test_any_of_them_is_built_within_the_machine_or_refused(name, fov, half, shots, tr, bandwidth, sparse, machine):
    scanner: Scanner = MACHINES[machine]
    p = TURNED[name]
    sparse = sparse if p.trajectory == "spiral" else 1.0
    changed = replace(
        p, fov=(fov, fov, p.fov[2]), matrix=(2 * half, 2 * half, p.matrix[2]), shots=shots, tr=tr, bandwidth=bandwidth,
        undersampling=sparse,
    )  # fmt: skip
    try:
        program = build_program(changed, scanner)
    except ProtocolError as problem:
        assert len(str(problem)) > 20
        return
    unplanned = ("gradient power", "RF mean power", "r.m.s.")
    broken = [
        f.sentence() for f in findings(program, scanner) if not f.ok and not any(u in f.quantity for u in unplanned)
    ]
    assert broken == []


@pytest.mark.parametrize(
    ("name", "change", "possible"),
    [
        ("radial", {"fov": (200 * mm, 180 * mm, 5 * mm)}, "make readout and phase equal"),
        ("radial", {"matrix": (32, 24, 1)}, "make readout and phase equal"),
        ("radial", {"shots": 0}, "between 1 and"),
        ("radial", {"contrast": "TSE"}, "use GRE"),
        ("radial", {"trajectory": "rosette"}, "choose one of cartesian, radial, spiral"),
        ("radial", {"acceleration": (2, 1)}, "more or fewer shots"),
        ("radial", {"averages": 2}, "more or fewer shots"),
        ("radial", {"undersampling": 2.0}, "play fewer shots"),
        ("radial", {"te": (1.5 * ms,)}, "te 1.5 ms is too short; at least"),
        ("radial", {"tr": 15 * ms}, "too short; at least .* at most 2 slices"),
        ("stack", {"tr": 4.1 * ms}, "too short; at least"),
        ("stack", {"fat_saturation": True}, "in phase"),
        ("stack", {"trajectory": "spiral", "golden_order": 1}, "spiral in 3D"),
        ("spiral", {"golden_order": 2}, "arms lie evenly"),
        ("spiral", {"matrix": (192, 192, 1)}, r"an arm of 4 shots lasts .* [0-9]+ shots, or [0-9]+ Hz, is possible"),
        ("spiral", {"matrix": (47, 47, 1)}, "even"),
        ("spiral", {"fov": (0.5, 0.5, 5 * mm), "matrix": (8, 8, 1), "shots": 200}, "play fewer shots, or more voxels"),
        ("spiral", {"undersampling": 8.0}, "between 1 and 4"),
    ],
)
def test_the_refusal_says_what_is_possible(name, change, possible):
    with pytest.raises(ProtocolError, match=possible):
        build_program(replace(TURNED[name], **change), MACHINES["5T"])


def test_as_many_shots_as_the_refusal_says_are_enough():
    import re

    asked = replace(TURNED["spiral"], matrix=(128, 128, 1), tr=0.3)
    with pytest.raises(ProtocolError) as refusal:
        build_program(asked, MACHINES["5T"])
    found = re.search(r"([0-9]+) shots, or", str(refusal.value))
    assert found is not None
    build_program(replace(asked, shots=int(found[1])), MACHINES["5T"])


def test_shots_of_a_cartesian_protocol_are_refused():
    with pytest.raises(ProtocolError, match="choose trajectory radial or spiral"):
        checked(replace(load_protocol("brain/t1-gre"), shots=12))


def test_the_librarys_spiral_is_short_enough_for_5_t():
    header, path, _, _ = played(build_program(load_protocol("brain/spiral-gre"), MACHINES["5T"]))
    assert np.max(path.n_samples * path.dwell) <= 10 * ms
    assert header.te[1] - header.te[0] == pytest.approx(1 * ms)
