"""NIfTI: bytes that repeat, places that agree with nibabel, and damaged files that are refused."""

import gzip
import os
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lauterbur.errors import FileFormatError, InputError, LauterburError, ResourceError, UnsupportedError
from lauterbur.formats.nifti import read_nifti, write_nifti
from lauterbur.image import Image

AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_matrix() * [0.001, 0.0012, 0.003]
AFFINE[:3, 3] = 0.1, -0.05, 0.02


def volume(n_frames: int = 2) -> Image:
    rng = np.random.default_rng(0)
    pixels = (rng.normal(size=(n_frames, 3, 4, 5)) + 1j * rng.normal(size=(n_frames, 3, 4, 5))).astype(np.complex64)
    maps = {"off_resonance": rng.normal(size=(3, 4, 5))}
    return Image(pixels, AFFINE, tr=0.5, provenance={"source": "twin", "seed": 1}, maps=maps)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("n_frames", [1, 2])
def test_an_image_is_read_back_where_it_was(tmp_path: Path, name: str, n_frames: int) -> None:
    image = volume(n_frames)
    write_nifti(image, tmp_path / name)
    values, affine = read_nifti(tmp_path / name)
    assert values.dtype == np.float32 and np.array_equal(values, np.abs(image.pixels).reshape(values.shape))
    assert values.ndim == (3 if n_frames == 1 else 4) and np.allclose(affine, AFFINE, atol=1e-9)


def test_nibabel_sees_the_same_place_in_its_own_axes(tmp_path: Path) -> None:
    write_nifti(volume(), tmp_path / "a.nii.gz")
    seen = nib.load(tmp_path / "a.nii.gz")
    left_back_head_mm = (AFFINE @ [4, 2, 1, 1])[:3] * 1000
    assert np.allclose((seen.affine @ [4, 2, 1, 1])[:3], left_back_head_mm * [-1, -1, 1], atol=1e-4)
    assert np.allclose(seen.get_qform(), seen.affine, atol=1e-4) and seen.header.get_xyzt_units() == ("mm", "sec")
    assert b"simulated" in bytes(seen.header["descrip"]) and seen.header.get_zooms()[3] == 0.5
    assert np.array_equal(np.asarray(seen.dataobj)[4, 2, 1, 1], np.abs(volume().pixels)[1, 1, 2, 4])


def test_maps_keep_their_sign_and_unknown_names_are_refused(tmp_path: Path) -> None:
    write_nifti(volume(), tmp_path / "a.nii", "off_resonance")
    values, _ = read_nifti(tmp_path / "a.nii")
    assert np.array_equal(values, volume().maps["off_resonance"].astype(np.float32))
    with pytest.raises(InputError, match="off_resonance"):
        write_nifti(volume(), tmp_path / "b.nii", "t1")
    with pytest.raises(InputError, match="affine"):
        write_nifti(np.zeros((2, 2, 2)), tmp_path / "b.nii")
    with pytest.raises(InputError, match="shape"):
        write_nifti(np.zeros((2, 2)), tmp_path / "b.nii", affine=AFFINE)


def test_the_same_image_gives_the_same_bytes_and_a_failed_write_nothing(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(volume(), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    with pytest.raises(InputError, match="cannot be written"):
        write_nifti(volume(), tmp_path / "nowhere" / "a.nii.gz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize("kind", ["<i2", ">i2", "<u1", "<f8", ">f4", "<c8", "<u8"])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_what_nibabel_writes_is_read_alike(tmp_path: Path, kind: str, version: type) -> None:
    values = np.arange(60).reshape(5, 4, 3).astype(kind)
    image = version(values, np.diag([-2.0, -2.5, 3.0, 1.0]), dtype=np.dtype(kind))
    nib.save(image, tmp_path / "a.nii")
    found, affine = read_nifti(tmp_path / "a.nii")
    assert np.array_equal(found, values.T) and found.dtype == np.dtype(kind).newbyteorder("=")
    assert np.allclose(affine, np.diag([0.002, 0.0025, 0.003, 1]))


def test_scaling_qform_and_plain_voxel_sizes_are_understood(tmp_path: Path) -> None:
    ras = np.diag([-1000.0, -1000.0, 1000.0, 1.0]) @ AFFINE
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), None)
    image.set_qform(ras, 1)
    image.header["sform_code"] = 0
    image.header.set_slope_inter(2.0, -1.0)
    nib.save(image, tmp_path / "a.nii")
    values, affine = read_nifti(tmp_path / "a.nii")
    assert np.allclose(affine, AFFINE, atol=1e-8)
    assert np.allclose(values, nib.load(tmp_path / "a.nii").get_fdata().T)

    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[252:254] = bytes(2)  # neither qform nor sform: voxel sizes alone
    (tmp_path / "a.nii").write_bytes(bytes(content))
    assert np.allclose(np.abs(np.diag(read_nifti(tmp_path / "a.nii")[1])), (0.001, 0.0012, 0.003, 1))


def header(**changes: tuple[int, str, object]) -> bytes:
    """A good 592-byte file with fields (place, format, value) changed."""
    image = nib.Nifti1Image(np.ones((5, 4, 3), np.float32), np.diag([1.0, 1, 1, 1]))
    content = bytearray(image.to_bytes())
    for place, form, value in changes.values():
        struct.pack_into("<" + form, content, place, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ((40, "h", 9), FileFormatError),
        ((42, "h", -5), FileFormatError),
        ((42, "h", 30000), FileFormatError),
        ((70, "h", 128), UnsupportedError),
        ((108, "f", float("nan")), FileFormatError),
        ((108, "f", 1e30), FileFormatError),
        ((108, "f", 10.0), FileFormatError),
        ((280, "f", float("nan")), FileFormatError),
        ((280, "f", 0.0), FileFormatError),
        ((0, "i", 12), FileFormatError),
        ((344, "4s", b"ni1\0"), FileFormatError),
        ((344, "4s", b"????"), FileFormatError),
        ((123, "B", 7), FileFormatError),
    ],
)
def test_impossible_headers_are_refused(
    tmp_path: Path, change: tuple[int, str, object], error: type[Exception]
) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(header(change=change))
    with pytest.raises(error):
        read_nifti(path)


def test_a_decompression_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    bomb = bytearray(header())
    struct.pack_into("<8h", bomb, 40, 4, 30000, 30000, 30000, 100, 1, 1, 1)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(bomb) + bytes(1_000_000)))
    with pytest.raises(FileFormatError, match="can hold at most"):
        read_nifti(path)
    struct.pack_into("<8h", bomb, 40, 3, 1000, 1000, 2500, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(bomb)) + bytes(12_000_000))
    with pytest.raises(ResourceError, match="GB"):
        read_nifti(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused_with_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(header())
    if data.draw(st.booleans()):
        damaged = bytearray(gzip.compress(bytes(damaged), mtime=0))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged))
    try:
        _, affine = read_nifti(path)
        assert np.isfinite(affine).all()
    except LauterburError as problem:
        assert len(str(problem)) < 1000


def test_the_heads_of_others_are_read_as_nibabel_reads_them() -> None:
    folder = os.environ.get("LAUTERBUR_TEST_DATA")
    if not folder:
        pytest.skip("LAUTERBUR_TEST_DATA is not set")
    path = Path(folder) / "anatomy" / "colin27_ch2_T1_1mm.nii.gz"
    values, affine = read_nifti(path)
    image = nib.load(path)
    assert np.array_equal(values, np.asarray(image.dataobj).T)
    assert np.allclose(np.diag([-1000, -1000, 1000, 1]) @ affine, image.affine)
