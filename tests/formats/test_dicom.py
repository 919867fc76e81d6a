"""DICOM: no errors from dciodvfy, pixels and places as they were, nothing from a clock."""

import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from lauterbur.errors import InputError
from lauterbur.findings import Finding
from lauterbur.formats.dicom import write_dicom
from lauterbur.formats.nifti import write_nifti
from lauterbur.image import Image
from lauterbur.rawdata import Header

AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", [0.3, -0.2, 0.5]).as_matrix() * [0.001, 0.0012, 0.003]
AFFINE[:3, 3] = 0.1, -0.05, 0.02
FINDINGS = (
    Finding("whole-body SAR", 1.25, 2.0, "W/kg", "a rule"),
    Finding("partial-body SAR", 3.0, 10.0, "W/kg", "a rule"),
    Finding("dB/dt, y", 15.0, 20.0, "T/s", "a rule"),
)


def image(n_frames: int = 1, n_slices: int = 3, te: tuple[float, ...] = (0.01,)) -> Image:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(n_frames, n_slices, 6, 8)) + 1j * rng.normal(size=(n_frames, n_slices, 6, 8))
    provenance = {"source": "twin", "seed": 1, "timings": {"seconds": 1.5}, "note": "head → foot\n"}
    return Image(
        pixels.astype(np.complex64), AFFINE, te=te, tr=0.5, flip_angle=0.3, field_strength=4.95, provenance=provenance
    )


def header(contrast: str, dimensions: int) -> Header:
    return Header(
        matrix=(8, 6, 3),
        fov=(0.008, 0.0072, 0.009),
        dimensions=dimensions,
        contrast=contrast,
        slice_thickness=0.0025,
        larmor_frequency=210.76e6,
        bandwidth=200.0,
        coils="48-channel head receive array",
        protocol="brain/t1-gre",
        ti=0.9 if contrast in ("MPRAGE", "FLAIR") else None,
    )


KINDS = {
    "2D TSE": (image(1, 1), header("TSE", 2)),
    "2D FLAIR": (image(), header("FLAIR", 2)),
    "3D MPRAGE": (image(), header("MPRAGE", 3)),
    "multi-echo GRE": (image(3, 2, (0.005, 0.01, 0.015)), header("GRE", 3)),
    "EPI series": (image(2, 2), header("EPI", 2)),
    "bSSFP": (image(), header("BSSFP", 3)),
    "nothing known": (image(1, 1, ()), None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(tmp_path: Path, kind: str) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    made, said = KINDS[kind]
    for path in write_dicom(made, tmp_path, header=said, findings=FINDINGS):
        report = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        assert "Error" not in report.stderr + report.stdout, report.stderr
        assert "MRImage" in report.stderr + report.stdout


def test_pixels_come_back_through_slope_and_place(tmp_path: Path) -> None:
    made = image(2, 3, (0.005, 0.01))
    paths = write_dicom(made, tmp_path, header=header("GRE", 3))
    assert [p.name for p in paths[:2]] == ["IM0001.dcm", "IM0002.dcm"] and len(paths) == 6
    top = np.abs(made.pixels).max()
    for number, path in enumerate(paths):
        slice_ = pydicom.dcmread(path)
        frame, i = divmod(number, 3)
        values = slice_.pixel_array * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
        assert np.allclose(values, np.abs(made.pixels[frame, i]), atol=top / 32767)
        assert float(slice_.EchoTime) == pytest.approx((5.0, 10.0)[frame]) and slice_.EchoNumbers == frame + 1
        assert float(slice_.RepetitionTime) == 500 and float(slice_.FlipAngle) == pytest.approx(np.degrees(0.3))
        assert float(slice_.SpacingBetweenSlices) == pytest.approx(3) and float(slice_.SliceThickness) == 2.5


def test_dicom_and_nifti_put_every_voxel_in_the_same_place(tmp_path: Path) -> None:
    made = image()
    write_nifti(made, tmp_path / "a.nii")
    nifti = nib.load(tmp_path / "a.nii")
    for i_z, path in enumerate(write_dicom(made, tmp_path / "dicom")):
        slice_ = pydicom.dcmread(path)
        along_row, down_column = np.array(slice_.ImageOrientationPatient, float).reshape(2, 3)
        for i_y, i_x in ((0, 0), (0, 7), (5, 0), (3, 2)):
            # PS3.3 C.7.6.2.1.1: columns advance along a row, rows down a column
            place = np.array(slice_.ImagePositionPatient, float)
            place = place + along_row * i_x * slice_.PixelSpacing[1] + down_column * i_y * slice_.PixelSpacing[0]
            assert np.allclose(place, (AFFINE @ [i_x, i_y, i_z, 1])[:3] * 1000, atol=1e-3)
            assert np.allclose(place * [-1, -1, 1], (nifti.affine @ [i_x, i_y, i_z, 1])[:3], atol=1e-3)
            value = float(slice_.pixel_array[i_y, i_x]) * float(slice_.RescaleSlope)
            assert value == pytest.approx(float(nifti.dataobj[i_x, i_y, i_z]), abs=2e-4)


def test_the_files_say_that_they_are_simulated_and_how(tmp_path: Path) -> None:
    slice_ = pydicom.dcmread(write_dicom(image(), tmp_path, findings=FINDINGS, patient="Head")[0])
    assert slice_.ImageType[0] == "DERIVED" and "SIMULATED" in slice_.ImageType
    assert "simulat" in slice_.DerivationDescription and slice_.ImageComments.startswith("SIMULATED")
    assert '"seed": 1' in slice_.ImageComments and "timings" not in slice_.ImageComments
    assert float(slice_.SAR) == 1.25 and float(slice_.dBdt) == 15.0 and slice_.PatientName == "Head^"
    measured = Image(image().pixels, AFFINE, provenance={"source": "hardware"})
    slice_ = pydicom.dcmread(write_dicom(measured, tmp_path)[0])
    assert slice_.ImageType[0] == "ORIGINAL" and "DerivationDescription" not in slice_


def test_identifiers_come_from_the_content(tmp_path: Path) -> None:
    first = write_dicom(image(), tmp_path / "a")
    again = write_dicom(image(), tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    seen = {pydicom.dcmread(p).SOPInstanceUID for p in first}
    assert len(seen) == 3 and all(uid.startswith("2.25.") and uid.is_valid for uid in seen)
    other = Image(image().pixels * 2, AFFINE)
    assert pydicom.dcmread(write_dicom(other, tmp_path / "c")[0]).SOPInstanceUID not in seen

    one, two = (pydicom.dcmread(write_dicom(i, tmp_path / "d", study="visit 1")[0]) for i in (image(), other))
    assert one.StudyInstanceUID == two.StudyInstanceUID and one.SeriesInstanceUID != two.SeriesInstanceUID


def test_what_cannot_be_placed_or_stored_is_refused(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[:3, 1] += 0.3 * sheared[:3, 0]
    with pytest.raises(InputError, match="right angles"):
        write_dicom(Image(image().pixels, sheared), tmp_path)
    with pytest.raises(InputError, match="affine"):
        write_dicom(Image(image().pixels, np.full((4, 4), np.nan)), tmp_path)
    with pytest.raises(InputError, match="not finite"):
        write_dicom(Image(image().pixels * np.nan, AFFINE), tmp_path)
    with pytest.raises(InputError, match="frame"):
        write_dicom(Image(image().pixels[0], AFFINE), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_zeros_is_written(tmp_path: Path) -> None:
    slice_ = pydicom.dcmread(write_dicom(Image(np.zeros((1, 1, 4, 4), np.complex64), AFFINE), tmp_path)[0])
    assert not slice_.pixel_array.any()
