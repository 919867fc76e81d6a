"""Siemens raw data: a real measurement, a small made one, and damaged ones."""

import builtins
import gc
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lauterbur.errors import FileFormatError, InputError, LauterburError
from lauterbur.formats.twix import read_twix

pytest.importorskip("twixtools", reason="twixtools is not installed (the extra `twix`)")

PROTOCOL = """
tProtocolName\t = \t"small"
sKSpace.lBaseResolution\t = \t4
sKSpace.lPhaseEncodingLines\t = \t6
sKSpace.lPartitions\t = \t1
sKSpace.ucDimension\t = \t2
sKSpace.ucTrajectory\t = \t1
sSliceArray.lSize\t = \t1
sSliceArray.asSlice[0].dThickness\t = \t5.0
sSliceArray.asSlice[0].dPhaseFOV\t = \t180.0
sSliceArray.asSlice[0].dReadoutFOV\t = \t120.0
sRXSPEC.alDwellTime[0]\t = \t5000
alTR[0]\t = \t20000
alTE[0]\t = \t4000
adFlipAngleDegree[0]\t = \t10.0
"""


def acquisition(line: int, samples: np.ndarray, flags: int = 1 << 3) -> bytes:
    """One measurement data header of VE software (mdh_def.Scan_header) with its channels."""
    n_rx, n = samples.shape
    length = 192 + n_rx * (32 + 8 * n)
    head = struct.pack("<IiIIIHHiiiiQHH", length, 1, line + 1, 1000 + 8 * line, 0, 0, 0, 0, 0, 0, 0, flags, n, n_rx)
    head += struct.pack("<14H", line, *[0] * 13) + struct.pack("<HHHHfIHH", 0, 0, n // 2, 0, 0.0, 0, 3, 0)
    head += struct.pack("<3f4f", 10.0, 20.0, 30.0, 1.0, 0.0, 0.0, 0.0)
    head = head.ljust(192, b"\0")
    return head + b"".join(b"\0" * 32 + channel.astype("<c8").tobytes() for channel in samples)


def small_twix(lines: np.ndarray, *, noise: np.ndarray | None = None) -> bytes:
    """A VE file of one measurement; lines: (line, rx, sample)."""
    text = f"### ASCCONV BEGIN ###\n{PROTOCOL}\n### ASCCONV END ###\n".encode()
    dicom = (
        b'<ParamDouble."flReadoutOSFactor"> { <Precision> 6 2.0 }\n<ParamDouble."flMagneticFieldStrength"> { 2.9 }\n'
    )
    dicom += b'<ParamString."SoftwareVersions"> { "syngo MR E11" }\n'
    parts = b"".join(
        name + b"\0" + struct.pack("<I", len(part)) + part for name, part in ((b"MeasYaps", text), (b"Dicom", dicom))
    )
    header = struct.pack("<II", 8 + len(parts), 2) + parts
    body = header + (acquisition(0, noise, 1 << 25) if noise is not None else b"")
    body += b"".join(acquisition(i, line) for i, line in enumerate(lines))
    body += acquisition(0, np.zeros((1, 1), np.complex64), 1)
    table = struct.pack("<II", 0, 1) + struct.pack("<IIQQ64s64s", 1, 1, 10240, len(body), b"nobody", b"small")
    return table.ljust(10240, b"\0") + body


LINES = (np.arange(6 * 2 * 8) + 1j).astype(np.complex64).reshape(6, 2, 8)


def test_a_small_file_gives_samples_noise_and_geometry(tmp_path: Path) -> None:
    noise = np.full((2, 16), 1 - 1j, np.complex64)
    path = tmp_path / "small.dat"
    path.write_bytes(small_twix(LINES, noise=noise))
    raw = read_twix(path)
    assert np.array_equal(raw.samples, LINES)
    assert raw.noise is not None and np.array_equal(raw.noise, noise)
    assert raw.header is not None
    assert raw.header.matrix == (4, 6, 1) and raw.header.encoded_matrix == (8, 6, 1)
    assert np.allclose(raw.header.fov, (0.12, 0.18, 0.005)) and np.allclose(raw.header.position, (0.01, 0.02, 0.03))
    assert raw.header.te == (0.004,) and raw.header.tr == 0.02 and raw.dwell[0] == pytest.approx(5e-6)
    assert list(raw.label("LIN")) == [0, 1, 2, 3, 4, 5]
    step = np.linalg.norm(np.diff(raw.k[:, 4], axis=0), axis=1)
    assert np.allclose(step, 1 / 0.18) and np.allclose(raw.k[3, 4], 0)
    assert np.allclose(np.linalg.norm(np.diff(raw.k[0], axis=0), axis=1), 1 / 0.24)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = small_twix(LINES)
    path = tmp_path / "cut.dat"
    for length in [0, 4, 100, 9000, 10240, 10250, *range(10300, len(whole) - 200, 97)]:
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            read_twix(path)


@pytest.mark.parametrize("index", ["99999999999", "999999"])
def test_an_array_index_that_would_fill_memory_is_refused(tmp_path: Path, index: str) -> None:
    path = tmp_path / "index.dat"
    whole = small_twix(LINES)
    old = b"alTR[0]\t = \t20000\nalTE[0]"
    path.write_bytes(whole.replace(old, f"a[{index}]=1\n".encode().ljust(len(old), b" ")))
    with pytest.raises(FileFormatError, match="index"):
        read_twix(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused_with_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(small_twix(LINES))
    for _ in range(data.draw(st.integers(1, 6))):
        near = data.draw(st.sampled_from([(0, 170), (10240, len(damaged) - 1)]))
        damaged[data.draw(st.integers(*near))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.dat"
    path.write_bytes(bytes(damaged))
    try:
        read_twix(path)
    except LauterburError as problem:
        assert len(str(problem)) < 1000


def test_a_file_that_the_library_gave_up_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "damaged.dat"
    whole = bytearray(small_twix(LINES))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for place, value in ((130, 222), (150, 198), (10582, 174), (11096, 15)):  # twixtools raises with its file open
            whole[place] = value
        path.write_bytes(bytes(whole))
        with pytest.raises(FileFormatError, match="cannot be understood"):
            read_twix(path)
        gc.collect()
    assert not [one for one in caught if issubclass(one.category, ResourceWarning)]


def test_without_the_library_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "twixtools":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'lauterbur\[twix\]'"):
        read_twix(tmp_path / "x.dat")


def test_a_real_measurement_gives_the_picture_of_the_resolution_phantom() -> None:
    folder = os.environ.get("LAUTERBUR_TEST_DATA")
    if not folder:
        pytest.skip("LAUTERBUR_TEST_DATA is not set")
    raw = read_twix(Path(folder) / "kspace" / "siemens_ve11c_gre.dat")
    assert raw.header is not None
    assert raw.samples.shape == (160, 2, 320) and raw.header.matrix == (160, 160, 1)
    assert np.allclose(raw.header.fov, (0.2, 0.2, 0.004)) and raw.header.field_strength == pytest.approx(
        2.894, abs=1e-3
    )

    kspace = np.zeros((2, 160, 320), np.complex64)
    kspace[:, raw.label("LIN")] = raw.samples.transpose(1, 0, 2)
    shifted = np.fft.ifftshift(kspace, axes=(1, 2))
    image = np.sqrt(np.sum(np.abs(np.fft.fftshift(np.fft.ifft2(shifted), axes=(1, 2))) ** 2, axis=0))[:, 80:240]
    phantom = image > 0.3 * np.percentile(image, 99)
    rows, columns = np.flatnonzero(phantom.mean(1) > 0.2), np.flatnonzero(phantom.mean(0) > 0.2)
    width, height = np.ptp(columns) * 1.25, np.ptp(rows) * 1.25  # mm: a disc of about 190 mm, cut off below
    assert 175 < width < 200 and 150 < height < 200
    background = image[:10, :10].mean()
    assert image[phantom].mean() > 5 * background
    insert = image[38:70, 40:120]  # the dark block that carries the resolution pattern
    assert insert.mean() < 0.75 * image[phantom].mean()
