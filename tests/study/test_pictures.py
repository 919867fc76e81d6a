"""Pictures: a volume turned to the patient's axes, sequence diagrams, k-space, raw data; any of them without complaint."""

import io
from itertools import permutations, product

import numpy as np
import pytest
from matplotlib.image import imread

from lauterbur.program import Adc, Column, Gradient, Program, RfPulse
from lauterbur.rawdata import RawData
from lauterbur.study.diagrams import kspace_figure, raw_figure, sequence_figure
from lauterbur.study.figures import default_path, png
from lauterbur.study.planes import planes_figure, to_patient_axes, window


def ramp_volume():
    """(z, y, x) whose value says where it lies: 100 z + 10 y + x, and its affine."""
    z, y, x = np.meshgrid(np.arange(4), np.arange(5), np.arange(6), indexing="ij")
    return (100 * z + 10 * y + x).astype(float), np.diag([1e-3, 2e-3, 3e-3, 1.0])


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([1, -1], repeat=3)))
def test_any_storage_order_is_turned_to_the_same_patient_axes(order, flips):
    volume, affine = ramp_volume()
    stored = volume.transpose(order)[tuple(slice(None, None, f) for f in flips)]
    axes_of_patient = [2 - axis for axis in order]  # patient axis along each stored axis (z, y, x order)
    turned_affine = np.zeros((4, 4))
    turned_affine[3, 3] = 1
    for i, (patient, flip) in enumerate(zip(axes_of_patient, flips, strict=True)):
        turned_affine[patient, 2 - i] = flip * affine[patient, patient]
    result, size = to_patient_axes(stored, turned_affine)
    np.testing.assert_array_equal(result, volume)
    np.testing.assert_allclose(size, [1e-3, 2e-3, 3e-3])


def test_an_oblique_volume_goes_to_the_nearest_axes():
    volume, affine = ramp_volume()
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    oblique = affine.copy()
    oblique[:3, :3] = turn @ affine[:3, :3]
    np.testing.assert_array_equal(to_patient_axes(volume, oblique)[0], volume)


@pytest.mark.parametrize("shape", [(40, 50, 60), (1, 64, 64), (9, 64, 64), (64, 64, 3)])
def test_planes_of_volumes_and_stacks_are_pictures(shape):
    volume = np.random.default_rng(0).random(shape)
    picture = imread(io.BytesIO(png(planes_figure(volume, np.diag([1e-3, 1e-3, 2e-3, 1])))))
    assert picture.ndim == 3 and picture[..., :3].std() > 0.01


def test_nothing_is_also_drawn():
    assert png(planes_figure(np.zeros((30, 30, 30)), np.eye(4)))
    assert window(np.zeros((2, 2))) == (0.0, 1.0)
    assert png(sequence_figure(Program(np.full((1, len(Column)), -1, np.int32), np.array([1e-3]))))
    assert png(kspace_figure(np.zeros((0, 4, 3)), np.zeros(0, int)))


def test_labels_are_drawn_with_their_names():
    labels = np.random.default_rng(1).integers(0, 3, (30, 30, 30)).astype(np.uint8)
    assert png(planes_figure(labels, np.diag([1e-3, 1e-3, 1e-3, 1]), names=("air", "bone", "water")))


def small_program(n=8):
    pulse = RfPulse(np.full(100, 100.0 + 0j), (np.arange(100) + 0.5) * 1e-6, 1e-4, 1e-4, use="excitation")
    gradient = Gradient(np.array([0, 1e-4, 2.9e-3, 3e-3]), np.array([0, 4e5, 4e5, 0.0]))
    table = np.full((2 * n, len(Column)), -1, np.int32)
    table[0::2, Column.RF] = 0
    table[1::2, [Column.GX, Column.ADC]] = 0
    return Program(table, np.tile([5e-4, 3e-3], n), (pulse,), (gradient,), (Adc(64, 40e-6, 2e-4),))


def test_the_same_program_gives_the_same_picture():
    assert png(sequence_figure(small_program())) == png(sequence_figure(small_program()))


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_kspace_is_drawn_in_the_planes_it_spans(n_axes):
    k = np.zeros((20, 16, 3), np.float32)
    k[..., :n_axes] = np.random.default_rng(2).standard_normal((20, 16, n_axes))
    drawn = [panel for panel in kspace_figure(k, np.full(20, 16)).axes if panel.get_xlabel().startswith("k")]
    assert len(drawn) == n_axes * (n_axes - 1) // 2


@pytest.mark.parametrize("n_rx", [1, 8])
def test_raw_data_is_a_picture(n_rx):
    samples = np.random.default_rng(3).standard_normal((30, n_rx, 16)).astype(np.complex64)
    zeros = np.zeros(30, np.int32)
    raw = RawData(samples, zeros + 16, np.zeros((30, 16, 3), np.float32), zeros * 1.0, zeros + 1e-5, zeros, {})
    assert png(raw_figure(raw))


def test_the_default_picture_lies_beside_its_file(tmp_path):
    assert default_path("a/b.seq").as_posix() == "a/b.seq.png"
    assert default_path(tmp_path / "dicom") == tmp_path / "dicom.png"
    assert default_path("head").as_posix() == "head.png"
