"""Header and counters: said by the program, or found in its k-space."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from programs import Builder, sinc

from lauterbur.acquisition.encoding import header, labels
from lauterbur.acquisition.trajectory import trajectory
from lauterbur.acquisition.twin.reference import play
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.errors import InputError
from lauterbur.rawdata import Header, header_to_json

FOV, N = 0.2, 16


def gradient_echo(slices=(0.0,), order=None, echoes: int = 1, partitions: int = 1, repetitions: int = 1, skip: int = 1):
    """A Cartesian scan with x read, y phase, z slice or partition; all parts of 16 x 16 over 200 mm."""
    builder = Builder()
    g = 4e5
    for _ in range(repetitions):
        for i_partition in range(partitions):
            for line in range(0, N, skip) if order is None else order:
                for z in slices:
                    builder.shaped(sinc(2e-3, 0.3, 4), 2e-3, g=(0, 0, g), frequency=g * z)
                    k_z = (i_partition - partitions // 2) / (partitions * 0.005)
                    builder.wait(1e-3, (-N / 2 / FOV, (line - N // 2) / FOV, k_z - g * 1e-3))
                    for i_echo in range(echoes):
                        builder.listen(N, 2e-5, g=((1 if i_echo % 2 == 0 else -1) / FOV / 2e-5, 0, 0))
                    builder.wait(2e-3, (0, -(line - N // 2) / FOV, 900.0))
    return builder


def test_a_two_dimensional_scan_is_recognised():
    program = gradient_echo(slices=(-0.01, 0.0, 0.01), order=[*range(1, N, 2), *range(0, N, 2)]).program()
    played = trajectory(program)
    found, counted = header(program, played), labels(program, played)
    assert found.trajectory == "cartesian" and found.dimensions == 2
    assert found.matrix == (N, N, 3)
    assert found.fov[:2] == pytest.approx((FOV, FOV), rel=1e-3)
    assert found.directions == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    np.testing.assert_allclose(np.array(found.slice_positions)[:, 2], [-0.01, 0, 0.01], atol=1e-6)
    assert found.flip_angle == pytest.approx(0.3, rel=1e-3)
    assert found.te[0] == pytest.approx(1e-3 + 1e-3 + N / 2 * 2e-5, abs=2e-5)
    np.testing.assert_array_equal(counted["LIN"].reshape(-1, 3)[:, 0], [*range(1, N, 2), *range(0, N, 2)])
    np.testing.assert_array_equal(counted["SLC"][:6], [0, 1, 2, 0, 1, 2])
    assert not counted["REP"].any() and not counted["ECO"].any()


def test_a_three_dimensional_scan_is_recognised():
    program = gradient_echo(partitions=8).program()
    played = trajectory(program)
    found, counted = header(program, played), labels(program, played)
    assert found.dimensions == 3 and found.matrix == (N, N, 8)
    assert found.fov == pytest.approx((FOV, FOV, 0.04), rel=1e-3)
    np.testing.assert_array_equal(counted["PAR"], np.repeat(np.arange(8), N))


def test_echoes_and_repetitions_are_told_apart():
    program = gradient_echo(echoes=3, repetitions=2).program()
    played = trajectory(program)
    found, counted = header(program, played), labels(program, played)
    np.testing.assert_array_equal(counted["ECO"], np.tile([0, 1, 2], 2 * N))
    np.testing.assert_array_equal(counted["REP"], np.repeat([0, 1], 3 * N))
    np.testing.assert_array_equal(counted["REV"], np.tile([0, 1, 0], 2 * N))
    assert len(found.te) == 3 and np.all(np.diff(found.te) > 0)


def test_skipped_lines_are_seen_as_acceleration_where_the_field_of_view_is_known():
    program = gradient_echo(skip=2).program(definitions={"FOV": (FOV, FOV, 0.005)})
    played = trajectory(program)
    found = header(program, played)
    assert found.acceleration == (2, 1)
    assert found.matrix[1] == N
    np.testing.assert_array_equal(labels(program, played)["LIN"], range(0, N, 2))


def test_a_receiver_frequency_moves_the_field_of_view():
    program = gradient_echo().program()
    shifted = [replace(a, frequency_offset=0.03 / FOV / 2e-5) for a in program.adc]  # gamma-bar G = 1 / FOV / dwell
    program = replace(program, adc=tuple(shifted))
    np.testing.assert_allclose(header(program, trajectory(program)).position, [0.03, 0, 0], atol=1e-6)
    point = play(program, Spins([[0.03, 0, 0]]))[:, 0]
    assert np.argmax(np.abs(np.fft.fftshift(np.fft.ifft(point[N // 2])))) == N // 2


def test_what_the_program_says_is_believed():
    said = Header((8, 8, 8), (0.1, 0.1, 0.1), protocol="brain/t1-gre")
    rows = gradient_echo().program()
    given = {"LIN": np.arange(rows.n_blocks, dtype=np.int32)}
    program = gradient_echo().program(definitions={"LauterburHeader": header_to_json(said)}, labels=given)
    played = trajectory(program)
    assert header(program, played).protocol == "brain/t1-gre"
    assert header(program, played, larmor_frequency=210.76e6).field_strength == pytest.approx(4.95, abs=1e-3)
    np.testing.assert_array_equal(labels(program, played)["LIN"], np.arange(2, rows.n_blocks, 4))


def test_a_program_that_never_listens_has_no_encoding():
    program = Builder().pulse(0.5).program()
    with pytest.raises(InputError, match="no ADC window"):
        header(program, trajectory(program))


def test_a_free_induction_decay_encodes_nothing():
    program = Builder().pulse(0.5).listen(64, 1e-4).program()
    found = header(program, trajectory(program))
    assert found.trajectory == "other" and found.matrix == (1, 1, 1)


@pytest.mark.parametrize(
    ("file", "kind", "matrix", "fov"),
    [
        ("pypulseq/write_gre.seq", "cartesian", (64, 64, 1), (0.256, 0.256)),
        ("pypulseq/write_tse.seq", "cartesian", (64, 64, 1), (0.256, 0.256)),
        ("pypulseq/write_haste.seq", "cartesian", (64, 64, 1), (0.256, 0.256)),  # partial Fourier
        ("pypulseq/write_mprage.seq", "cartesian", (64, 48, 60), (0.256, 0.192)),  # z read, x phase, y partition
        ("pypulseq/write_epi.seq", "epi", (64, 64, 3), (0.22, 0.22)),
        ("pypulseq/write_epi_se_rs.seq", "epi", (64, 64, 3), (0.25, 0.25)),  # sampled on ramps, partial Fourier
        ("pypulseq/write_epi_label.seq", "epi", (64, 64, 7), (0.22, 0.22)),
        ("pulseq_matlab/epi_rs.seq", "epi", (96, 96, 4), (0.22, 0.22)),
        ("pypulseq/write_radial_gre.seq", "radial", (64, 64, 1), (0.26, 0.26)),
        ("pypulseq/write_ute.seq", "radial", (64, 64, 1), (0.25, 0.25)),
        ("komamri/1.sequences__radial_JEMRIS.seq", "radial", (32, 32, 1), (0.032, 0.032)),  # FOV written in mm
        ("komamri/read_comparison__v1.5__spiral.seq", "spiral", (64, 64, 4), (0.256, 0.256)),
        ("komamri/1.sequences__epi_JEMRIS.seq", "epi", (64, 64, 1), (0.256, 0.256)),  # no FOV written
        ("dsv2pulseq/MiniFLASH.seq", "cartesian", (128, 128, 1), (0.3, 0.3)),  # oversampled, no FOV written
        ("pulseq_validator/gre3d_8part.seq", "cartesian", (16, 16, 8), (0.192, 0.192)),
        ("pulseq_validator/mgre2d_1slice.seq", "cartesian", (32, 32, 1), (0.2, 0.2)),
    ],
)
def test_other_peoples_sequences_are_recognised(data, file, kind, matrix, fov):
    pulseq = import_module("lauterbur.formats.pulseq")
    program = pulseq.read_program(data / "sequences" / file)
    found = header(program, trajectory(program))
    assert (found.trajectory, found.matrix) == (kind, matrix)
    assert found.fov[:2] == pytest.approx(fov, rel=5e-3)


def test_labels_of_a_file_agree_with_its_k_space(data):
    pulseq = import_module("lauterbur.formats.pulseq")
    program = pulseq.read_program(data / "sequences" / "pypulseq" / "write_epi_label.seq")
    played = trajectory(program)
    counted = labels(program, played)
    image = counted["NAV"] == 0
    line = played.k[np.arange(len(played.k)), played.center_sample, 1] * 0.22
    slope = np.polyfit(counted["LIN"][image], line[image], 1)[0]
    assert abs(slope) == pytest.approx(1.0, abs=1e-3)
