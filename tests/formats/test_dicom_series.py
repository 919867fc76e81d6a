"""DICOM in: what we write is read back where it lies, and what is no image is refused in words."""

import numpy as np
import pytest

from lauterbur.errors import FileFormatError
from lauterbur.formats.dicom import write_dicom
from lauterbur.formats.dicom_series import read_dicom
from lauterbur.image import Image


def test_a_written_series_is_read_back_where_it_lies(tmp_path):
    angle = np.radians(20)
    affine = np.eye(4)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine[:3, :3] = turn * [1e-3, 2e-3, 3e-3]
    affine[:3, 3] = [0.01, -0.02, 0.03]
    pixels = np.random.default_rng(0).random((1, 5, 8, 6)).astype(np.complex64)
    write_dicom(Image(pixels, affine), tmp_path / "dicom")
    volume, placed = read_dicom(tmp_path / "dicom")
    if volume.shape == (5, 8, 6):
        np.testing.assert_allclose(placed, affine, atol=1e-8)
    scale = volume.ravel() @ np.abs(pixels[0]).ravel() / (volume.ravel() @ volume.ravel())
    np.testing.assert_allclose(volume * scale, np.abs(pixels[0]), atol=1e-3)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image here")
    with pytest.raises(FileFormatError, match="no DICOM image"):
        read_dicom(tmp_path)


def test_a_truncated_image_is_refused(tmp_path):
    write_dicom(Image(np.ones((1, 1, 32, 32), np.complex64), np.diag([1e-3, 1e-3, 1e-3, 1])), tmp_path / "dicom")
    file = sorted((tmp_path / "dicom").rglob("*"))[-1]
    file.write_bytes(file.read_bytes()[:-600])
    with pytest.raises(FileFormatError, match="cannot be read as an image"):
        read_dicom(tmp_path / "dicom")
