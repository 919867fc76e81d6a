"""Pulseq files: every version's columns, conventions and extensions, and exact round trips."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lauterbur as lb
from lauterbur.errors import FileFormatError, InputError, UnsupportedError
from lauterbur.formats.pulseq_extensions import matrix_from_quaternion
from lauterbur.formats.pulseq_shapes import decoded, encoded
from lauterbur.formats.pulseq_waveforms import polar, scaled
from lauterbur.formats.pulseq_write_extensions import quaternion_from_matrix
from lauterbur.program import Adc, Column, Gradient, Program, RfPulse, SoftDelay, Trigger, gradient_points, program_hash

HEAD = "[VERSION]\nmajor 1\nminor {}\nrevision {}\n"
RASTERS = (
    "[DEFINITIONS]\nAdcRasterTime 1e-07\nBlockDurationRaster 1e-05\nGradientRasterTime 1e-05\n"
    "RadiofrequencyRasterTime 1e-06\n"
)
ONES = "[SHAPES]\nshape_id 1\nnum_samples 100\n1\n0\n0\n97\n"


def read(tmp_path, text, version=(5, 0), **options):
    path = tmp_path / "some.seq"
    path.write_text(HEAD.format(*version) + text)
    return lb.read_program(path, **options)


def rewritten(program, tmp_path, version="1.5.0"):
    path = tmp_path / "again.seq"
    lb.write_program(program, path, version=version)
    return lb.read_program(path)


def some_program(**changes):
    """A little of everything, on rasters."""
    rng = np.random.default_rng(3)
    sinc = np.sinc(np.linspace(-3, 3, 500)) * 200 + 0j
    chirp = 150 * np.hanning(300) * np.exp(2j * np.pi * np.linspace(-2, 2, 300) ** 2)
    rf = (
        RfPulse(sinc, (np.arange(500) + 0.5) / 1e6, 500e-6, 100e-6, 250e-6, 120.5, 0.7, use="excitation"),
        RfPulse(chirp, (np.arange(300) + 0.5) / 1e5, 3e-3, 0.0, 1.5e-3, -33.25, 0.1, 1.5, 0.01, "inversion"),
        RfPulse(np.array([80.0, 80]) + 0j, np.array([0, 2e-4]), 2e-4, 2e-5, 1e-4, use="refocusing", is_stepped=False),
    )
    spiral = np.cumsum(rng.normal(size=200)) * 1e3
    gradients = (
        Gradient(np.array([0, 1e-4, 6e-4, 8e-4]), 123456.789 * np.array([0.0, 1, 1, 0]), 2e-5),
        Gradient(
            np.append(np.insert((np.arange(200) + 0.5) / 1e5, 0, 0), 2e-3),
            np.append(np.insert(spiral, 0, 0), 77.0),
            0.0,
            "arbitrary",
        ),
        Gradient(np.array([0, 3e-5, 1e-4, 1e-4, 1e-3]), np.array([5e4, 1e5, 1e5, -1e5, 0]), 0.0, "shaped"),
        Gradient(np.arange(23) / 2e5, np.sin(np.arange(23)) * 1e5, 1e-5, "arbitrary"),
    )
    adc = (Adc(128, 7.8e-6, 1e-5, 10.0, 0.3, 0.5, 0.25, rng.normal(size=128)), Adc(64, 1e-5))
    blocks = np.full((8, len(Column)), -1, np.int32)
    blocks[:, Column.RF] = [0, -1, 1, -1, 2, -1, -1, 0]
    blocks[:, Column.GX] = [0, 1, -1, -1, 3, 2, -1, -1]
    blocks[:, Column.GZ] = [-1, 2, -1, -1, -1, 1, 0, -1]
    blocks[:, Column.ADC] = [-1, 0, -1, -1, -1, 1, -1, -1]
    blocks[:, Column.ROTATION] = [-1, 0, -1, -1, -1, 1, -1, -1]
    blocks[:, Column.SHIM] = [0, -1, 1, -1, -1, -1, -1, -1]
    blocks[:, Column.TRIGGER] = [-1, -1, -1, 0, -1, 1, -1, -1]
    blocks[3, Column.SOFT_DELAY] = 0
    turns = matrix_from_quaternion(np.array([[0.5, 0.5, 0.5, 0.5], [0.6, 0.0, 0.8, 0.0]]))
    program = Program(
        blocks=blocks,
        durations=np.array([100, 200, 300, 1000, 50, 250, 90, 70]) / 1e5,
        rf=rf,
        gradients=gradients,
        adc=adc,
        rotations=turns,
        shims=np.array([[1.0, 0.5j], [0.25, -1.0]]),
        triggers=((Trigger(1, 2, 0.0, 1e-5),), (Trigger(2, 1, 1e-5, 1e-3), Trigger(1, 2, 0.0, 1e-5))),
        soft_delays=(SoftDelay(0, -0.002, 2.0, "TE"),),
        labels={"LIN": np.array([0, 0, 1, 1, 2, -3, -3, 5], np.int32), "NAV": np.zeros(8, np.int32)},
        definitions={
            "Name": "everything 1 2",
            "FOV": (0.22, 0.2, 0.005),
            "LauterburHeader": '{"a": [1, 2], "b": "#x"}',
        },
    )
    return replace(program, **changes)


# ---- columns and conventions of each version


def test_a_block_of_1_2_lasts_as_long_as_its_longest_event(tmp_path):
    program = read(
        tmp_path,
        "[BLOCKS]\n1 0 1 0 0 2 0\n2 1 0 0 0 0 1\n[RF]\n1 250 1 1 30 100 0.5\n[TRAP]\n2 1e5 100 200 100 10\n"
        "[ADC]\n1 100 5000 20 0 0\n[DELAYS]\n1 700\n" + ONES,
        (2, 1),
    )
    np.testing.assert_array_equal(program.durations, [410e-6, 700e-6])
    pulse = program.rf[0]
    assert (pulse.delay, pulse.frequency_offset, pulse.phase_offset, pulse.use) == (30e-6, 100, 0.5, "undefined")
    assert pulse.is_stepped and pulse.duration == 100e-6 and len(pulse.waveform) == 100
    np.testing.assert_allclose(pulse.waveform, 250)  # phase shape 1: one whole turn
    assert program.adc[0].dwell == 5e-6 and program.adc[0].delay == 20e-6


def test_shapes_before_1_4_are_always_compressed(tmp_path):
    text = "[BLOCKS]\n1 0 1 0 0 0 0 0\n[RF]\n1 100 1 2 0 0 0\n[SHAPES]\nshape_id 1\nnum_samples 2\n0.5\n0.5\nshape_id 2\nnum_samples 2\n0\n0\n"
    assert read(tmp_path, text, (3, 1)).rf[0].waveform.tolist() == [50, 100]
    text = "[BLOCKS]\n1 1 1 0 0 0 0 0\n[RF]\n1 100 1 2 0 0 0 0\n[SHAPES]\nshape_id 1\nnum_samples 2\n0.5\n0.5\nshape_id 2\nnum_samples 2\n0\n0\n"
    assert read(tmp_path, text, (4, 1)).rf[0].waveform.tolist() == [50, 50]


def test_the_columns_of_1_5_are_read(tmp_path):
    program = read(
        tmp_path,
        RASTERS
        + "[BLOCKS]\n1 30 1 3 0 0 1 0\n[RF]\n1 100 1 2 0 15 7 1 0.5 -20 0.25 r\n[GRADIENTS]\n3 5e4 1e3 -2e3 1 0 20\n"
        + "[ADC]\n1 50 1000 9 2 0.125 30 0.75 0\n[SHAPES]\nshape_id 1\nnum_samples 20\n1\n0\n0\n17\nshape_id 2\nnum_samples 20\n0.25\n0\n0\n17\n",
    )
    pulse, gradient, adc = program.rf[0], program.gradients[0], program.adc[0]
    np.testing.assert_array_equal(pulse.waveform, np.full(20, 100j))
    assert (pulse.center, pulse.delay, pulse.frequency_ppm, pulse.phase_ppm) == (15e-6, 7e-6, 1, 0.5)
    assert (pulse.frequency_offset, pulse.phase_offset, pulse.use) == (-20, 0.25, "refocusing")
    assert gradient.kind == "arbitrary" and gradient.delay == 20e-6
    assert (gradient.waveform[0], gradient.waveform[-1], gradient.time[-1]) == (1e3, -2e3, 200e-6)
    np.testing.assert_allclose(gradient.time[1:-1], (np.arange(20) + 0.5) * 1e-5)
    assert (adc.n_samples, adc.dwell, adc.delay, adc.frequency_ppm, adc.phase_ppm) == (50, 1e-6, 9e-6, 2, 0.125)
    assert (adc.frequency_offset, adc.phase_offset, adc.phase_modulation) == (30, 0.75, None)


def test_oversampled_waveforms_have_samples_at_every_half_raster_step(tmp_path):
    program = read(
        tmp_path,
        RASTERS
        + "[BLOCKS]\n1 2 1 1 0 0 0 0\n[RF]\n1 100 1 0 -1 2 0 0 0 0 0 u\n[GRADIENTS]\n1 1e5 0 5e4 1 -1 0\n"
        + "[SHAPES]\nshape_id 1\nnum_samples 3\n0.5\n1\n0.75\n",
    )
    np.testing.assert_allclose(program.gradients[0].time, np.array([0, 0.5, 1, 1.5, 2]) * 1e-5)
    np.testing.assert_allclose(program.gradients[0].waveform, [0, 5e4, 1e5, 7.5e4, 5e4])
    np.testing.assert_allclose(program.rf[0].time, np.array([0.5, 1, 1.5]) * 1e-6)
    assert program.rf[0].duration == 2e-6


def test_the_centre_of_a_pulse_that_does_not_say_is_its_peak_or_the_middle_of_its_plateau(tmp_path):
    text = "[BLOCKS]\n1 1 1 0 0 0 0 0\n2 1 2 0 0 0 0 0\n[RF]\n1 100 1 0 0 0 0 0\n2 100 2 0 0 0 0 0\n[SHAPES]\nshape_id 1\nnum_samples 4\n0.1\n0.2\n1\n0.1\n\nshape_id 2\nnum_samples 5\n0.1\n1\n1\n1\n0\n"
    assert [p.center for p in read(tmp_path, RASTERS + text, (4, 0)).rf] == [2.5e-6, 2.5e-6]


def test_edges_of_old_raster_gradients_are_zero_at_rest_and_continuous_between_blocks(tmp_path):
    shape = "[SHAPES]\nshape_id 1\nnum_samples 4\n0.125\n0.375\n0.625\n0.875\nshape_id 2\nnum_samples 4\n0.9\n0.7\n0.5\n0.3\n"
    text = (
        RASTERS
        + "[BLOCKS]\n1 4 0 1 0 0 0 0\n2 4 0 2 0 0 0 0\n3 4 0 0 0 0 0 0\n4 4 0 2 0 0 0 0\n[GRADIENTS]\n1 100 1 0 0\n2 100 2 0 0\n"
        + shape
    )
    program = read(tmp_path, text, (4, 1))
    edges = [gradient_points(program, i)[1][[0, -1], 0].tolist() for i in (0, 1, 3)]
    np.testing.assert_allclose(edges, [[0, 100], [100, 0], [0, 0]], atol=1e-9)
    assert len(program.gradients) == 3  # the second gradient is played in two ways


def test_rasters_come_from_the_definitions(tmp_path):
    text = (
        "[DEFINITIONS]\nBlockDurationRaster 1e-06\nGradientRasterTime 4e-06\nRadiofrequencyRasterTime 2e-06\nAdcRasterTime 5e-07\n[BLOCKS]\n1 800 1 1 0 0 0 0\n[RF]\n1 100 1 0 0 50 0 0 0 0 0 e\n[GRADIENTS]\n1 1 0 0 1 0 0\n"
        + ONES
    )
    program = read(tmp_path, text)
    assert (program.durations[0], program.rf[0].duration, program.gradients[0].duration) == (800e-6, 200e-6, 400e-6)
    assert (program.rasters.adc, program.rasters.block) == (5e-7, 1e-6)


# ---- labels, extensions, notes


def test_labels_are_set_before_they_are_incremented_and_hold_until_changed(tmp_path):
    program = read(
        tmp_path,
        RASTERS
        + "[BLOCKS]\n"
        + "".join(f"{i} 1 0 0 0 0 0 {e}\n" for i, e in enumerate([0, 2, 0, 1, 3, 1], 1))
        + "[EXTENSIONS]\n1 2 1 0\n2 2 1 4\n3 1 2 0\n4 1 1 0\nextension LABELSET 1\n1 10 LIN\n2 -4 LIN\nextension LABELINC 2\n1 3 LIN\n",
    )
    assert program.labels["LIN"].tolist() == [0, 13, 13, 16, -4, -1]


def test_a_soft_delay_changes_only_its_blocks(tmp_path):
    text = (
        RASTERS
        + "[BLOCKS]\n1 100 0 0 0 0 0 1\n2 50 0 0 0 0 0 0\n3 70 0 0 0 0 0 2\n[EXTENSIONS]\n1 1 1 0\n2 1 2 0\nextension DELAYS 1\n1 0 -500 2 TE\n2 1 30000 -1 TE\n"
    )
    np.testing.assert_allclose(read(tmp_path, text).durations, [1e-3, 5e-4, 7e-4])
    np.testing.assert_allclose(read(tmp_path, text, delays={"TE": 0.02}).durations, [9.5e-3, 5e-4, 1e-2])
    with pytest.raises(InputError, match=r"soft delay TE = 0\.04 s .* at most 0\.03 s"):
        read(tmp_path, text, delays={"TE": 0.04})
    with pytest.raises(InputError, match="no soft delay 'TI'; it has TE"):
        read(tmp_path, text, delays={"TI": 0.04})


def test_rotations_are_quaternions_or_matrices(tmp_path):
    text = (
        RASTERS
        + "[BLOCKS]\n1 10 0 1 0 0 0 1\n[TRAP]\n1 1e5 20 50 30 0\n[EXTENSIONS]\n1 1 7 0\nextension ROTATIONS 1\n7 {}\n"
    )
    for numbers in ("0.70710678 0 0 0.70710678", "0 -1 0 1 0 0 0 0 1"):  # 90 degrees about z
        program = read(tmp_path, text.format(numbers), (5, 1))
        _, values = gradient_points(program, 0)
        np.testing.assert_allclose(np.max(values, axis=0), [0, 1e5, 0], atol=1e-3)
    for numbers in ("0.5 0 0 0", "1 0 0 0 1 0 0 0 -1"):
        with pytest.raises(FileFormatError, match=r"line \d+ \(extension ROTATIONS\)"):
            read(tmp_path, text.format(numbers), (5, 1))


def test_shims_and_triggers_are_read(tmp_path):
    text = (
        RASTERS
        + "[BLOCKS]\n1 10 0 0 0 0 0 1\n[EXTENSIONS]\n1 4 1 2\n2 9 1 3\n3 9 2 0\nextension RF_SHIMS 4\n1 2 1 0 0.5 1.5707963267948966\nextension TRIGGERS 9\n1 1 2 10 20\n2 2 1 0 30\n"
    )
    program = read(tmp_path, text, (5, 1))
    np.testing.assert_allclose(program.shims, [[1, 0.5j]], atol=1e-12)
    assert program.triggers == ((Trigger(1, 2, 10e-6, 20e-6), Trigger(2, 1, 0.0, 30e-6)),)
    assert program.blocks[0, [Column.SHIM, Column.TRIGGER]].tolist() == [0, 0]


UNKNOWN = "[BLOCKS]\n1 10 0 0 0 0 0 1\n[EXTENSIONS]\n1 1 1 2\n2 2 1 0\nextension WOBBLE 1\n1 what ever\nextension LABELSET 2\n1 3 SLC\n"


def test_unknown_extensions_are_skipped_and_named(tmp_path):
    program = read(tmp_path, RASTERS + UNKNOWN)
    assert "WOBBLE" in program.definitions["LauterburNotes"]
    assert program.labels["SLC"].tolist() == [3]


def test_required_unknown_extensions_are_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedError, match="WOBBLE"):
        read(tmp_path, RASTERS + "RequiredExtensions LABELSET WOBBLE\n" + UNKNOWN)


@pytest.mark.parametrize("version", [(1, 0), (6, 0)])
def test_versions_beyond_the_specification_are_refused(tmp_path, version):
    with pytest.raises(UnsupportedError, match=r"versions 1\.2 to 1\.5"):
        read(tmp_path, "[BLOCKS]\n1 10 0 0 0 0 0 0\n", version)


def test_a_changed_file_is_read_and_its_signature_doubted(tmp_path):
    path = tmp_path / "signed.seq"
    lb.write_program(some_program(), path)
    assert "LauterburNotes" not in lb.read_program(path).definitions
    body = path.read_bytes().rpartition(b"\n[SIGNATURE]")[0]
    assert hashlib.md5(body, usedforsecurity=False).hexdigest().encode() in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"everything", b"Everything"))
    assert "signature does not match" in lb.read_program(path).definitions["LauterburNotes"]


def test_definitions_are_numbers_where_all_words_are(tmp_path):
    definitions = rewritten(some_program(), tmp_path).definitions
    assert definitions["Name"] == "everything 1 2"
    assert definitions["FOV"] == (0.22, 0.2, 0.005)
    assert definitions["LauterburHeader"] == '{"a": [1, 2], "b": "#x"}'
    assert definitions["TotalDuration"] == (0.0206,)


# ---- writing


def same_waveforms(a, b, tolerance=0.0):
    np.testing.assert_array_equal(a.blocks, b.blocks)
    np.testing.assert_array_equal(a.durations, b.durations)
    for mine, theirs in zip([*a.rf, *a.gradients], [*b.rf, *b.gradients], strict=True):
        np.testing.assert_allclose(theirs.time, mine.time, rtol=0, atol=1e-15)
        np.testing.assert_allclose(
            theirs.waveform, mine.waveform, rtol=0, atol=tolerance * np.max(np.abs(mine.waveform))
        )
        assert theirs.delay == mine.delay
    assert {k: v.tolist() for k, v in a.labels.items()} == {k: v.tolist() for k, v in b.labels.items()}


def test_everything_survives_a_round_trip_through_1_5(tmp_path):
    program = some_program()
    again = rewritten(program, tmp_path)
    same_waveforms(program, again, 1e-14)
    for mine, theirs in zip(program.rf, again.rf, strict=True):
        for name in (
            "duration",
            "center",
            "frequency_offset",
            "phase_offset",
            "frequency_ppm",
            "phase_ppm",
            "use",
            "is_stepped",
        ):
            assert getattr(theirs, name) == getattr(mine, name)
    for mine, theirs in zip(program.adc, again.adc, strict=True):
        for name in ("n_samples", "dwell", "delay", "frequency_offset", "phase_offset", "frequency_ppm", "phase_ppm"):
            assert getattr(theirs, name) == getattr(mine, name)
    np.testing.assert_array_equal(again.adc[0].phase_modulation, program.adc[0].phase_modulation)
    np.testing.assert_allclose(again.rotations, program.rotations, atol=1e-15)
    np.testing.assert_allclose(again.shims, program.shims, atol=1e-15)
    assert again.triggers == program.triggers and again.soft_delays == program.soft_delays
    assert [g.kind for g in again.gradients] == [g.kind for g in program.gradients]
    assert (again.definitions["RequiredExtensions"], again.rasters) == ("ROTATIONS RF_SHIMS", program.rasters)


def test_what_was_read_is_rewritten_bit_by_bit(tmp_path):
    once = rewritten(some_program(), tmp_path)
    first = (tmp_path / "again.seq").read_bytes()
    assert program_hash(rewritten(once, tmp_path)) == program_hash(once)
    assert (tmp_path / "again.seq").read_bytes() == first


def portable():
    blocks = some_program().blocks.copy()
    blocks[:, [Column.ROTATION, Column.SHIM, Column.SOFT_DELAY]] = -1
    blocks[blocks[:, Column.RF] == 1, Column.RF] = 0
    spiral = some_program().gradients[1]
    at_rest = replace(spiral, waveform=np.append(np.insert(spiral.waveform[1:-1], 0, 0), 0))
    plain = some_program()
    return replace(
        plain,
        blocks=blocks,
        durations=np.array([100, 200, 300, 1000, 90, 250, 90, 70]) / 1e5,
        rf=(plain.rf[0], plain.rf[0], plain.rf[2]),
        adc=(plain.adc[1], plain.adc[1]),
        gradients=(plain.gradients[0], at_rest, plain.gradients[2], plain.gradients[0]),
    )


def test_what_1_4_1_can_say_survives_it(tmp_path):
    again = rewritten(portable(), tmp_path, "1.4.1")
    same_waveforms(portable(), again, 1e-14)
    assert again.triggers == some_program().triggers


@pytest.mark.parametrize(
    ("feature", "change"),
    [
        ("rotations", lambda p: {"blocks": some_program().blocks, "rotations": some_program().rotations}),
        ("RF offsets in ppm", lambda p: {"rf": (replace(p.rf[0], frequency_ppm=1.0), *p.rf[1:])}),
        ("ADC phase modulation", lambda p: {"adc": (some_program().adc[0], p.adc[1])}),
        ("oversampled gradients", lambda p: {"gradients": (*p.gradients[:3], some_program().gradients[3])}),
        ("edge values", lambda p: {"gradients": (p.gradients[0], some_program().gradients[1], *p.gradients[2:])}),
    ],
)
def test_what_1_4_1_cannot_say_is_refused_by_name(tmp_path, feature, change):
    program = portable()
    if feature == "edge values":
        wave = program.gradients[1].waveform.copy()
        wave[-1] = np.max(np.abs(wave))
        program = replace(
            program,
            gradients=(program.gradients[0], replace(program.gradients[1], waveform=wave), *program.gradients[2:]),
        )
    else:
        program = replace(program, **change(program))
    with pytest.raises(UnsupportedError, match=feature):
        lb.write_program(program, tmp_path / "no.seq", version="1.4.1")
    assert not list(tmp_path.iterdir())


def test_programs_that_no_file_can_hold_are_refused_and_nothing_is_left_behind(tmp_path):
    broken = replace(some_program().rf[0], waveform=np.full(500, np.nan + 0j))
    for change in (
        {"durations": np.full(8, 1e-5)},
        {"rf": (broken, *some_program().rf[1:])},
        {"durations": np.full(8, 1e-3 / 3)},
        {"definitions": {"Name": "two\nlines"}},
        {"labels": {"LIN": np.zeros(3, np.int32)}},
        {"rotations": -some_program().rotations},
    ):
        with pytest.raises(InputError):
            lb.write_program(some_program(**change), tmp_path / "no.seq")
    with pytest.raises(UnsupportedError, match=r"1\.3"):
        lb.write_program(some_program(), tmp_path / "no.seq", version="1.3.1")
    assert not list(tmp_path.iterdir())


def test_durations_off_the_block_raster_find_a_finer_one(tmp_path):
    durations = np.array([1000, 2000.5, 3000, 10000, 500, 2500, 900, 700]) / 1e6
    np.testing.assert_array_equal(rewritten(some_program(durations=durations), tmp_path).durations, durations)


# ---- shapes and numbers


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 0.1, -0.3]), min_size=1, max_size=60), st.integers(1, 9))
@settings(deadline=None)
def test_a_shape_that_is_compressed_decodes_to_itself(values, repeat):
    samples = np.repeat(np.array(values), repeat)
    code = encoded(samples)
    if code is not None:
        assert len(code) < len(samples)
        np.testing.assert_array_equal(decoded(code, len(samples)), samples)


def test_a_constant_and_a_ramp_are_four_and_three_numbers():
    assert encoded(np.ones(100)).tolist() == [1, 0, 0, 97]
    assert encoded(np.arange(1.0, 101.0)).tolist() == [1, 1, 98]


finite = st.floats(-1e7, 1e7, allow_nan=False).map(lambda v: v if abs(v) > 1e-9 else 0.0)


@given(st.lists(finite, min_size=1, max_size=40))
@settings(deadline=None)
def test_a_real_waveform_is_written_within_one_rounding_and_exactly_from_then_on(values):
    amplitude, shape = scaled(np.array(values))
    once = amplitude * shape
    np.testing.assert_allclose(once, values, rtol=2.3e-16, atol=1e-300)
    amplitude, shape = scaled(once)
    np.testing.assert_array_equal(amplitude * shape, once)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=40))
@settings(deadline=None)
def test_a_complex_waveform_is_written_within_a_few_roundings_of_its_peak(pairs):
    waveform = np.array([complex(*pair) for pair in pairs])
    amplitude, magnitude, turns = polar(waveform)
    again = amplitude * magnitude * np.exp(2j * np.pi * turns)
    np.testing.assert_allclose(again, waveform, rtol=0, atol=2e-14 * max(np.max(np.abs(waveform)), 1e-300))


def test_quaternions_and_matrices_are_each_others_inverse():
    q = np.random.default_rng(1).normal(size=(200, 4))
    matrices = matrix_from_quaternion(q)
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (200, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(matrix_from_quaternion(quaternion_from_matrix(matrices)), matrices, atol=1e-14)
