"""Measures of image quality against their definitions, and the verb."""

import json

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from lauterbur.cli import app
from lauterbur.errors import InputError
from lauterbur.formats.nifti import write_nifti
from lauterbur.study.quality import quality, read_and_judge, similarity


def phantom():
    z, y, x = np.meshgrid(np.arange(4), np.arange(40) - 20, np.arange(36) - 18, indexing="ij")
    return (np.hypot(x, y) < 14) * (1.0 + (x > 3)) + 0.5 * (np.hypot(x + 5, y - 3) < 4) + 0.0 * z


def test_the_truth_itself_is_perfect_in_any_unit():
    found = quality(7.5 * phantom(), phantom())
    assert found.scale == pytest.approx(1 / 7.5)
    assert found.nrmse < 1e-12 and found.hfen < 1e-12
    assert found.ssim == pytest.approx(1) and found.sharpness == pytest.approx(1)
    assert found.psnr > 200


def test_known_errors_have_known_figures():
    truth = phantom()
    noise = np.random.default_rng(0).normal(size=truth.shape)
    noise -= truth * np.vdot(noise, truth) / np.vdot(truth, truth)  # orthogonal: the factor stays 1
    noise *= 0.05 * np.linalg.norm(truth) / np.linalg.norm(noise)
    image = truth + np.where(truth > 0, noise, 0)
    found = quality(image, truth)
    error = found.scale * np.abs(image) - truth
    assert found.nrmse == pytest.approx(np.linalg.norm(error) / np.linalg.norm(truth))
    assert found.psnr == pytest.approx(20 * np.log10(truth.max() / np.sqrt(np.mean(error**2))))


def test_structural_similarity_is_that_of_the_slow_window():
    rng = np.random.default_rng(1)
    truth, image = rng.uniform(size=(1, 11, 11)), rng.uniform(size=(1, 11, 11))
    weight = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weight = np.outer(weight, weight) / weight.sum() ** 2
    means = [np.sum(weight * v[0]) for v in (image, truth)]
    squares = [np.sum(weight * a[0] * b[0]) for a, b in ((image, image), (truth, truth), (image, truth))]
    span = truth.max() - truth.min()
    c_1, c_2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    slow = (2 * means[0] * means[1] + c_1) * (2 * (squares[2] - means[0] * means[1]) + c_2)
    slow /= (means[0] ** 2 + means[1] ** 2 + c_1) * (squares[0] - means[0] ** 2 + squares[1] - means[1] ** 2 + c_2)
    assert similarity(image, truth)[0, 5, 5] == pytest.approx(slow)


def test_blur_lowers_sharpness_and_similarity_and_raises_the_fine_error():
    truth = phantom()
    blurred = [quality(ndimage.gaussian_filter(truth, (0, s, s)), truth) for s in (0.5, 1.0, 2.0)]
    for name, sign in (("sharpness", -1), ("ssim", -1), ("psnr", -1), ("hfen", 1), ("nrmse", 1)):
        values = [sign * getattr(q, name) for q in blurred]
        assert values == sorted(values), name
    assert 0.2 < blurred[2].sharpness < 0.7


def test_regions_have_their_bias():
    truth = phantom()
    labels = (truth > 0).astype(int) + (truth > 1.5)
    image = np.where(labels == 2, 1.1 * truth, truth)
    found = quality(image, truth, labels)
    assert [r.label for r in found.regions] == [1, 2]
    ratio = (1 + found.regions[1].bias) / (1 + found.regions[0].bias)
    assert ratio == pytest.approx(1.1)
    assert sum(r.voxels for r in found.regions) == (labels > 0).sum()


@pytest.fixture
def files(tmp_path):
    affine = np.diag([1e-3, 1e-3, 3e-3, 1.0])
    write_nifti(phantom().astype(np.float32), tmp_path / "truth.nii.gz", affine=affine)
    write_nifti((2 * phantom() + 0.1).astype(np.float32), tmp_path / "image.nii.gz", affine=affine)
    write_nifti((phantom() > 0).astype(np.float32), tmp_path / "labels.nii.gz", affine=affine)
    return tmp_path


def test_the_verb_prints_a_table_and_json(files):
    arguments = ["quality", str(files / "image.nii.gz"), "--truth", str(files / "truth.nii.gz")]
    shown = CliRunner().invoke(app, [*arguments, "--regions", str(files / "labels.nii.gz")])
    assert shown.exit_code == 0, shown.output
    assert all(word in shown.output for word in ("NRMSE", "SSIM", "HFEN", "sharpness", "region"))
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found["nrmse"] == pytest.approx(read_and_judge(files / "image.nii.gz", files / "truth.nii.gz").nrmse)


def test_other_grids_and_broken_voxels_are_refused(files):
    affine = np.diag([1e-3, 1e-3, 3e-3, 1.0])
    affine[0, 3] = 5e-3
    write_nifti(phantom().astype(np.float32), files / "moved.nii.gz", affine=affine)
    with pytest.raises(InputError, match=r"5\.00 mm apart"):
        read_and_judge(files / "moved.nii.gz", files / "truth.nii.gz")
    with pytest.raises(InputError, match="put both on one grid"):
        quality(phantom()[:3], phantom())
    with pytest.raises(InputError, match="regions have"):
        quality(phantom(), phantom(), np.ones((2, 2, 2), int))
    with pytest.raises(InputError, match="NaN"):
        quality(np.where(phantom() > 1.4, np.nan, phantom()), phantom())
    with pytest.raises(InputError, match="zero everywhere"):
        quality(phantom(), 0 * phantom())
    with pytest.raises(InputError, match="one volume"):
        quality(phantom()[0], phantom()[0])
