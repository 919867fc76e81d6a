"""Every contrast: k-space is where the header and the labels say, echoes come at TE, the machine can play it."""

from dataclasses import replace

import numpy as np
import pytest
from small_protocols import SMALL

from lauterbur.acquisition.trajectory import trajectory
from lauterbur.formats.pulseq import read_program, write_program
from lauterbur.journey import scan
from lauterbur.program import Column, adc_blocks, block_starts, duration, program_hash, receiver_phase
from lauterbur.protocol.library import list_protocols, load_protocol
from lauterbur.protocol.protocol import slice_positions
from lauterbur.rawdata import header_from_json
from lauterbur.safety.gate import findings
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program, describe
from lauterbur.subject.library import load_subject
from lauterbur.units import mm

MACHINES = {name: load_scanner(name) for name in ("5T", "3T")}
OBLIQUE = tuple(
    tuple(float(x) for x in row)
    for row in np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.2, 1.0, -0.3], [-0.1, 0.3, 1.0]]).T)[0].T
)
OBLIQUE = OBLIQUE if np.linalg.det(OBLIQUE) > 0 else tuple(tuple(-x for x in row) for row in OBLIQUE)
FRAMES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "sagittal": ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "oblique": OBLIQUE,
}


def played(program):
    """Header, trajectory, k along logical axes, labels of the readouts."""
    header = header_from_json(program.definitions["LauterburHeader"])
    path = trajectory(program)
    k = path.k.astype(float) @ np.array(header.directions).T
    blocks = adc_blocks(program)
    labels = {name: np.asarray(value)[blocks] for name, value in program.labels.items()}
    zero = np.zeros(len(blocks), int)
    return header, path, k, {name: labels.get(name, zero) for name in "LIN PAR SLC ECO PHS REV REF IMA NAV".split()}


def assert_k_is_as_labelled(program):
    header, _, k, labels = played(program)
    n, fov = header.encoded_matrix, header.encoded_fov
    i = np.arange(n[0])
    forward = (i - n[0] // 2) / fov[0]
    wanted = np.where(labels["REV"][:, None] == 1, forward[::-1], forward)
    np.testing.assert_allclose(k[..., 0] * fov[0], wanted * fov[0], atol=1e-3)
    line = (labels["LIN"] - n[1] // 2)[:, None] + np.zeros(n[0])
    np.testing.assert_allclose(k[..., 1] * fov[1], line, atol=1e-3)
    if header.dimensions == 3:
        partition = (labels["PAR"] - n[2] // 2)[:, None] + np.zeros(n[0])
        np.testing.assert_allclose(k[..., 2] * fov[2], partition, atol=1e-3)
    else:
        assert np.abs(k[..., 2] * header.slice_thickness).max() < 1e-3


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", SMALL)
def test_k_space_is_what_header_and_labels_say(name, frame):
    assert_k_is_as_labelled(build_program(replace(SMALL[name], directions=FRAMES[frame]), MACHINES["5T"]))


@pytest.mark.parametrize("name", ["brain/t2-tse", "brain/epi"])
def test_k_space_of_the_library_is_what_header_and_labels_say(name):
    assert_k_is_as_labelled(build_program(load_protocol(name), MACHINES["5T"]))


@pytest.mark.parametrize("name", SMALL)
def test_the_echo_comes_at_te(name):
    protocol = SMALL[name]
    header, path, _, labels = played(build_program(protocol, MACHINES["5T"]))
    crosses = (labels["LIN"] == header.matrix[1] // 2) & (labels["NAV"] == 0)
    if protocol.contrast == "TSE" and protocol.is_3d:  # its trains step through partitions too
        crosses &= labels["PAR"] == header.matrix[2] // 2
    for echo, te in enumerate(protocol.te):
        mine = crosses & (labels["ECO"] == echo)
        assert path.te[mine] == pytest.approx(te, abs=12e-6)  # gradients move in steps of 10 us
        # a spin echo comes at te, k = 0 within half a step of the gradients
        assert path.te[mine] == pytest.approx(header.te[echo], abs=5.1e-6 if protocol.echo_train > 1 else 1e-6)
        assert np.all(path.center_sample[mine] == header.encoded_matrix[0] // 2 - labels["REV"][mine])


@pytest.mark.parametrize("name", SMALL)
def test_every_line_is_played_once(name):
    protocol = SMALL[name]
    header, _, _, labels = played(build_program(protocol, MACHINES["5T"]))
    image = labels["NAV"] == 0
    keys = np.stack([labels[name][image] for name in ("SLC", "ECO", "PHS", "PAR", "LIN")])
    assert np.unique(keys, axis=1).shape[1] == keys.shape[1]
    if protocol.acceleration == (1, 1) and protocol.sampling == "regular":
        lines = header.matrix[1] - round(header.matrix[1] * (1 - protocol.partial_fourier[0]))
        assert keys.shape[1] == lines * header.matrix[2] * protocol.slices * len(protocol.te) * protocol.frames
        assert not labels["REF"].any()


def test_reference_lines_fill_the_centre_and_say_which_are_image_data():
    header, _, _, labels = played(build_program(SMALL["accelerated"], MACHINES["5T"]))
    places = {(y, z) for y, z, ref in zip(labels["LIN"], labels["PAR"], labels["REF"], strict=True) if ref}
    y, z = {p[0] for p in places}, {p[1] for p in places}
    assert len(places) == len(y) * len(z) == 8 * 4
    assert header.matrix[1] // 2 in y and header.matrix[2] // 2 in z
    regular = ((labels["LIN"] - header.matrix[1] // 2) % 2 == 0) & ((labels["PAR"] - header.matrix[2] // 2) % 2 == 0)
    np.testing.assert_array_equal(labels["IMA"], regular & (labels["REF"] == 1))
    assert np.all(regular | (labels["REF"] == 1))


LIBRARY = [(name, "3T") for name in list_protocols()] + [
    (name, "5T") for name in list_protocols() if name not in ("brain/qsm", "brain/qsm-3T")
]  # the two longest at 5 T repeat what the 5-echo one shows


@pytest.mark.parametrize(("name", "machine"), [*((name, machine) for name in SMALL for machine in MACHINES), *LIBRARY])
def test_the_gate_lets_it_pass(name, machine):
    protocol = SMALL[name] if name in SMALL else load_protocol(name)
    program = build_program(protocol, MACHINES[machine])
    assert [f.sentence() for f in findings(program, MACHINES[machine]) if not f.ok] == []


@pytest.mark.parametrize("name", SMALL)
def test_the_gate_lets_an_oblique_one_pass(name):
    program = build_program(replace(SMALL[name], directions=OBLIQUE, position=(0.01, 0.02, -0.03)), MACHINES["5T"])
    assert [f.sentence() for f in findings(program, MACHINES["5T"]) if not f.ok] == []


@pytest.mark.parametrize(("name", "published"), [("qsm-3T", 308), ("qsm", 314), ("qsm-5echo", 173)])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_published_scan_times_are_met(name, published, machine):
    assert describe(load_protocol(f"brain/{name}"), MACHINES[machine]).scan_time == pytest.approx(published, rel=0.01)


def test_the_default_scan_fits_its_raw_data():
    program = build_program(load_protocol("brain/t1-mprage"), MACHINES["5T"])
    n_samples = sum(program.adc[i].n_samples for i in program.blocks[adc_blocks(program), Column.ADC])
    assert 16 * 8 * n_samples + 400 * len(adc_blocks(program)) <= 1.8e9
    assert 4 * 60 <= duration(program) <= 6 * 60


@pytest.mark.parametrize("name", ["gre", "multi-echo", "mprage", "bssfp", "epi"])
@pytest.mark.parametrize("frame", FRAMES)
def test_a_point_at_the_position_has_the_same_phase_in_every_sample(name, frame):
    """The receiver follows the field of view: a spin at its centre is a constant in k-space."""
    protocol = replace(SMALL[name], directions=FRAMES[frame], position=(13.7 * mm, -21.2 * mm, 8.4 * mm))
    program = build_program(protocol, MACHINES["5T"])
    header, path, _, labels = played(program)
    centres = np.array(header.slice_positions or [header.position])
    place = centres[labels["SLC"]]
    # the slice or slab stands where it was asked for, the other two axes within 1/720 of the field of view
    wanted = np.array(slice_positions(protocol) or [protocol.position])
    shift = np.abs((centres - wanted) @ np.array(header.directions).T)
    assert np.all(shift <= np.array(header.fov) / 720 + 1e-9)

    signal = np.exp(-2j * np.pi * np.einsum("rsa,ra->rs", path.k.astype(float), place))
    blocks = adc_blocks(program)
    pulse = np.full(program.n_blocks, -1)
    excites = [i for i, p in enumerate(program.rf) if p.use == "excitation"]
    at = np.flatnonzero(np.isin(program.blocks[:, Column.RF], excites))
    pulse[at] = program.blocks[at, Column.RF]
    last = at[np.searchsorted(at, blocks, side="right") - 1]
    for i, block in enumerate(blocks):
        rf, adc = program.rf[pulse[last[i]]], program.adc[program.blocks[block, Column.ADC]]
        excited = np.exp(-1j * (rf.phase_offset + 2 * np.pi * rf.frequency_offset * rf.center))
        signal[i] *= excited * receiver_phase(adc)
    np.testing.assert_allclose(signal, signal[0, 0], atol=2e-3)


@pytest.mark.parametrize("name", SMALL)
def test_slices_are_excited_where_the_header_says(name):
    protocol = replace(SMALL[name], position=(0.0, 0.0, 8.4 * mm))
    program = build_program(protocol, MACHINES["5T"])
    header = header_from_json(program.definitions["LauterburHeader"])
    for block in range(program.n_blocks):
        row = program.blocks[block]
        if row[Column.RF] < 0 or row[Column.GZ] < 0:
            continue
        pulse, gradient = program.rf[row[Column.RF]], program.gradients[row[Column.GZ]]
        amplitude = np.interp(pulse.delay + pulse.center - gradient.delay, gradient.time, gradient.waveform)
        place = (
            header.slice_positions[program.labels["SLC"][block]][2] if header.slice_positions else header.position[2]
        )
        assert pulse.frequency_offset / amplitude == pytest.approx(place, abs=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_a_program_is_the_same_every_time_and_after_a_round_trip(name, tmp_path):
    program = build_program(SMALL[name], MACHINES["5T"])
    assert program_hash(program) == program_hash(build_program(SMALL[name], MACHINES["5T"]))
    write_program(program, tmp_path / "a.seq")
    again = read_program(tmp_path / "a.seq")
    assert again.definitions["LauterburHeader"] == program.definitions["LauterburHeader"]
    np.testing.assert_array_equal(again.durations, program.durations)
    np.testing.assert_allclose(trajectory(again).k, trajectory(program).k, atol=1e-2)
    for label, values in program.labels.items():
        np.testing.assert_array_equal(again.labels.get(label, 0 * values), values)


@pytest.mark.parametrize("version", ["1.5.0", "1.4.1"])
@pytest.mark.parametrize("name", SMALL)
def test_pypulseq_finds_the_timing_right(name, version, tmp_path):
    pypulseq = pytest.importorskip("pypulseq")
    scanner = MACHINES["5T"]
    write_program(build_program(SMALL[name], scanner), tmp_path / "a.seq", version=version)
    system = pypulseq.Opts(
        max_grad=scanner.gradients.amplitude * 1e3,
        grad_unit="mT/m",
        max_slew=scanner.gradients.slew,
        slew_unit="T/m/s",
        rf_dead_time=scanner.transmit.dead_time,
        rf_ringdown_time=scanner.transmit.ringdown_time,
        adc_dead_time=scanner.spectrometer.adc_dead_time,
        B0=scanner.field_strength,
    )
    sequence = pypulseq.Sequence(system)
    sequence.read(str(tmp_path / "a.seq"))
    ok, report = sequence.check_timing()
    assert ok, [str(line) for line in report[:5]]
    if version == "1.4.1":
        return  # such files do not say what a pulse is for, and pypulseq takes every one for an excitation
    k = sequence.calculate_kspace()[0]
    ours = trajectory(read_program(tmp_path / "a.seq")).k.reshape(-1, 3).T
    assert np.abs(k - ours).max() < 0.05 / 0.2  # a twentieth of a sample


def test_a_hundred_thousand_blocks_are_laid_out_quickly():
    program = build_program(load_protocol("brain/qsm"), MACHINES["5T"])
    assert program.n_blocks > 90_000
    assert len(program.rf) + len(program.gradients) + len(program.adc) < 2000
    assert block_starts(program)[-1] == pytest.approx(duration(program))


def test_a_cine_plays_a_few_lines_of_every_frame_in_each_beat():
    protocol = SMALL["cine"]
    program = build_program(protocol, MACHINES["5T"])
    _, _, _, labels = played(program)
    per_beat = protocol.frames * protocol.lines_per_frame
    beat = slice(0, per_beat)
    assert labels["PHS"][beat].tolist() == np.repeat(np.arange(protocol.frames), protocol.lines_per_frame).tolist()
    assert set(labels["LIN"][beat]) == set(range(protocol.lines_per_frame))
    start = block_starts(program)[adc_blocks(program)]
    assert start[per_beat] - start[0] == pytest.approx(per_beat * protocol.tr, rel=1e-6)


def test_a_cine_becomes_frames_of_the_image_that_agree_while_the_heart_stands_still():
    protocol = replace(SMALL["cine"], frames=2, dummies=60)
    ball = load_subject("sphere", spacing=6 * mm)
    image = scan(protocol, MACHINES["5T"], ball, measure_error=False, coils=4).image
    pixels = np.abs(image.pixels)
    assert pixels.shape[0] == 2
    assert np.linalg.norm(pixels[1] - pixels[0]) < 0.05 * np.linalg.norm(pixels[0])
