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
    volume, placed, notes = read_dicom(tmp_path / "dicom")
    if volume.shape == (5, 8, 6):
        np.testing.assert_allclose(placed, affine, atol=1e-8)
    assert notes == ()
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
    with pytest.raises(FileFormatError, match=rf"{file.name}: cannot be read as an image"):
        read_dicom(tmp_path / "dicom")


def series(folder, planes=5):
    pixels = np.random.default_rng(0).random((1, planes, 8, 6)).astype(np.complex64)
    write_dicom(Image(pixels, np.diag([1e-3, 2e-3, 3e-3, 1])), folder)
    return sorted(file for file in folder.rglob("*") if file.is_file())


def test_what_is_left_out_is_told_with_the_reason(tmp_path):
    files = series(tmp_path / "dicom")
    (tmp_path / "dicom" / "notes.txt").write_text("no image here")
    files[2].write_bytes(files[2].read_bytes()[:141])  # ends inside a number
    series(tmp_path / "dicom" / "other", 2)
    volume, _, notes = read_dicom(tmp_path / "dicom")
    assert volume.shape == (4, 8, 6)
    told = "\n".join(notes)
    assert "left out notes.txt: not DICOM" in told
    assert any(files[2].name in note and "cannot be read" in note for note in notes)
    assert "another series" in told
    assert "3 to 6 mm apart" in told


def test_a_second_image_of_one_place_and_a_tilted_one_are_told(tmp_path):
    import pydicom

    files = series(tmp_path / "dicom")
    for i, change in ((1, {"ImagePositionPatient": None}), (3, {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]})):
        found = pydicom.dcmread(files[i])
        for key, value in change.items():
            setattr(found, key, value or pydicom.dcmread(files[0]).ImagePositionPatient)
        found.save_as(files[i])
    volume, _, notes = read_dicom(tmp_path / "dicom")
    assert len(volume) == 3
    assert any("another lies at the same place" in note for note in notes)
    assert any("tilted" in note for note in notes)


def test_a_damaged_file_alone_is_refused_with_the_reason(tmp_path):
    file = series(tmp_path / "dicom")[0]
    file.write_bytes(file.read_bytes()[:141])  # ends inside a number
    with pytest.raises(FileFormatError, match=r"no DICOM image.*cannot be read"):
        read_dicom(file)


def test_images_of_another_size_in_one_series_are_refused_by_name(tmp_path):
    import pydicom

    file = series(tmp_path / "dicom")[2]
    found = pydicom.dcmread(file)
    found.Rows, found.Columns = found.Columns, found.Rows
    found.save_as(file)
    with pytest.raises(FileFormatError, match=rf"{file.name}: has 6 x 8 pixels"):
        read_dicom(tmp_path / "dicom")
