"""MRD: what we write comes back to the last bit and is what the ismrmrd package reads; what others write is understood."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lauterbur.errors import FileFormatError, InputError, LauterburError
from lauterbur.formats.mrd import MrdWriter, read_raw, write_raw
from lauterbur.formats.mrd_header import header_to_xml
from lauterbur.formats.mrd_xml import header_from_xml
from lauterbur.rawdata import COUNTERS, FLAGS, Header, RawData

ARRAYS = ("samples", "n_samples", "k", "time", "dwell", "center_sample")


def made(trajectory: str = "cartesian", *, n: int = 12, n_rx: int = 2, n_samples: int = 16, seed: int = 0) -> RawData:
    """A small slice with everything set: oblique, oversampled, noise, odd times."""
    rng = np.random.default_rng(seed)
    directions = ((0.0, 0.8, 0.6), (0.0, -0.6, 0.8), (1.0, 0.0, 0.0))
    header = Header(
        matrix=(n_samples // 2, n, 1),
        fov=(0.128, 0.2, 0.005),
        encoded_matrix=(n_samples, n, 1),
        encoded_fov=(0.256, 0.2, 0.005),
        directions=directions,
        position=(0.01, -0.02, 0.03),
        slice_positions=((0.01, -0.02, 0.03),),
        slice_thickness=0.005,
        trajectory=trajectory,
        dimensions=2,
        te=(0.0123,),
        tr=1 / 3,
        flip_angle=0.2,
        bandwidth=1 / (n_samples * 5e-6),
        field_strength=4.95,
        larmor_frequency=210.76e6,
        protocol="brain/<t2> & more",
        contrast="GRE",
        provenance={"source": "twin", "seed": 3, "findings": [{"value": 0.1}]},
    )
    k = np.zeros((n, n_samples, 3), np.float32)
    k[:, :, 0] = (np.arange(n_samples) - n_samples // 2) / 0.256
    k[:, :, 1] = ((np.arange(n) - n // 2) / 0.2)[:, None]
    if trajectory != "cartesian":
        k += rng.normal(size=k.shape).astype(np.float32)
    signal = rng.normal(size=(n, n_rx, n_samples, 2)).astype(np.float32).view(np.complex64)[..., 0]
    return RawData(
        samples=signal,
        n_samples=np.full(n, n_samples, np.int32),
        k=(k @ np.array(directions)).astype(np.float32),
        time=np.arange(n) / 3 + 0.1,
        dwell=np.full(n, 5e-6),
        center_sample=np.full(n, n_samples // 2, np.int32),
        labels={"LIN": np.arange(n, dtype=np.int32)},
        header=header,
        noise=signal[:5].transpose(1, 0, 2).reshape(n_rx, -1).copy(),
        noise_dwell=5e-6,
        te=np.full(n, 0.0123),
    )


@pytest.mark.parametrize("trajectory", ["cartesian", "epi", "radial"])
def test_what_is_written_is_read_back(tmp_path: Path, trajectory: str) -> None:
    raw = made(trajectory)
    write_raw(raw, tmp_path / "a.mrd")
    back = read_raw(tmp_path / "a.mrd")
    for name in ("samples", "n_samples", "time", "dwell", "center_sample", "noise", "te"):
        assert np.array_equal(getattr(back, name), getattr(raw, name)), name
    assert np.allclose(back.k, raw.k, atol=1e-4 / 0.256, rtol=0)
    assert back.header == raw.header and back.noise_dwell == raw.noise_dwell
    assert all(np.array_equal(back.label(name), raw.label(name)) for name in (*COUNTERS, *FLAGS))


def test_a_cartesian_readout_that_is_no_straight_line_keeps_its_trajectory(tmp_path: Path) -> None:
    raw = made()
    bent = raw.k.copy()
    bent[3] += np.linspace(-1, 1, 16)[:, None] ** 2
    write_raw(replace(raw, k=bent), tmp_path / "a.mrd")
    assert np.allclose(read_raw(tmp_path / "a.mrd").k, bent, atol=1e-4 / 0.256, rtol=0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_combination_of_labels_survives(tmp_path: Path, data: st.DataObject) -> None:
    raw = made(n=6)
    labels = {
        name: np.array(data.draw(st.lists(st.integers(0, 65535), min_size=6, max_size=6)), np.int32)
        for name in data.draw(st.sets(st.sampled_from(COUNTERS)))
    }
    for name in data.draw(st.sets(st.sampled_from([f for f in FLAGS if f != "NOISE"]))):
        labels[name] = np.array(data.draw(st.lists(st.integers(0, 1), min_size=6, max_size=6)), np.int32)
    write_raw(replace(raw, labels=labels), tmp_path / "a.mrd")
    back = read_raw(tmp_path / "a.mrd")
    for name in (*COUNTERS, *(f for f in FLAGS if f != "NOISE")):
        assert np.array_equal(back.label(name), labels.get(name, np.zeros(6))), name


def test_readouts_of_different_lengths_are_padded_with_zeros(tmp_path: Path) -> None:
    raw = made()
    n_samples = raw.n_samples.copy()
    n_samples[2] = 7
    write_raw(replace(raw, n_samples=n_samples), tmp_path / "a.mrd")
    back = read_raw(tmp_path / "a.mrd")
    assert np.array_equal(back.n_samples, n_samples)
    assert np.array_equal(back.samples[2, :, :7], raw.samples[2, :, :7])
    assert not back.samples[2, :, 7:].any() and not back.k[2, 7:].any()


def test_readouts_flagged_as_noise_become_the_noise_scan(tmp_path: Path) -> None:
    raw = made()
    labels = dict(raw.labels) | {"NOISE": np.array([1] + [0] * 11, np.int32)}
    write_raw(replace(raw, noise=None, labels=labels), tmp_path / "a.mrd")
    back = read_raw(tmp_path / "a.mrd")
    assert back.noise is not None and np.array_equal(back.noise, raw.samples[0])
    assert back.n_readouts == 11 and np.array_equal(back.samples, raw.samples[1:])


def test_raw_data_without_header_is_read_back_without(tmp_path: Path) -> None:
    raw = replace(made("radial"), header=None, noise=None, noise_dwell=None, te=None)
    write_raw(raw, tmp_path / "a.mrd")
    back = read_raw(tmp_path / "a.mrd")
    assert back.header is None and back.noise is None and back.te is None
    assert np.allclose(back.k, raw.k, rtol=1e-6, atol=1e-4)


def test_the_same_raw_data_gives_the_same_bytes_whole_or_in_pieces(tmp_path: Path) -> None:
    raw = made(n=150)
    write_raw(raw, tmp_path / "a.mrd")
    write_raw(raw, tmp_path / "b.mrd")
    with MrdWriter(tmp_path / "c.mrd", raw.header, noise=raw.noise, noise_dwell=raw.noise_dwell) as writer:
        for part in (slice(0, 1), slice(1, 70), slice(70, 150)):
            pieces: dict[str, Any] = {name: getattr(raw, name)[part] for name in ARRAYS}
            writer.write(RawData(**pieces, labels={"LIN": raw.label("LIN")[part]}, te=raw.te[part]))  # type: ignore[index]
    assert (tmp_path / "a.mrd").read_bytes() == (tmp_path / "b.mrd").read_bytes()
    whole, pieced = read_raw(tmp_path / "a.mrd"), read_raw(tmp_path / "c.mrd")
    assert all(np.array_equal(getattr(whole, name), getattr(pieced, name)) for name in ARRAYS)
    assert whole.header == pieced.header


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    raw = made()
    with pytest.raises(KeyboardInterrupt), MrdWriter(tmp_path / "a.mrd", raw.header) as writer:
        writer.write(raw)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_large_raw_data_is_mapped_instead_of_held(tmp_path: Path) -> None:
    raw = made()
    write_raw(raw, tmp_path / "a.mrd")
    back = read_raw(tmp_path / "a.mrd", in_memory=100)
    assert isinstance(back.samples, np.memmap) and np.array_equal(back.samples, raw.samples)


@pytest.mark.parametrize("trajectory", ["cartesian", "epi"])
def test_the_ismrmrd_package_reads_what_we_write(tmp_path: Path, trajectory: str) -> None:
    raw = made(trajectory)
    write_raw(raw, tmp_path / "a.mrd")
    with ismrmrd.Dataset(tmp_path / "a.mrd", mode="r") as dataset:
        header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
        encoding = header.encoding[0]
        assert encoding.encodedSpace.matrixSize.x == 16 and encoding.reconSpace.matrixSize.x == 8
        assert encoding.encodedSpace.fieldOfView_mm.x == 256.0 and encoding.trajectory.value == trajectory
        assert encoding.encodingLimits.kspace_encoding_step_1.center == 6
        assert header.sequenceParameters.TE == [12.3] and header.acquisitionSystemInformation.receiverChannels == 2
        assert "simulated" in header.acquisitionSystemInformation.systemVendor

        n_noise = dataset.number_of_acquisitions() - raw.n_readouts
        assert n_noise == 1 and dataset.read_acquisition(0).is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        for i in range(raw.n_readouts):
            acquisition = dataset.read_acquisition(n_noise + i)
            assert np.array_equal(acquisition.data, raw.samples[i])
            assert acquisition.idx.kspace_encode_step_1 == i and acquisition.center_sample == 8
            assert np.allclose(acquisition.position, (10, -20, 30)) and np.allclose(acquisition.slice_dir, (1, 0, 0))
        assert acquisition.is_flag_set(ismrmrd.ACQ_LAST_IN_SLICE)
        assert acquisition.is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
        assert (
            acquisition.traj.shape == ((0, 0) if trajectory == "cartesian" else (16, 3)) or acquisition.traj.size == 0
        )


def written_by_ismrmrd(path: Path, *, limits: bool = True, reverse: bool = False, matrix_z: int = 1) -> np.ndarray:
    """A Cartesian file as another program would make it; returns (line, rx, sample)."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=(6, 3, 8, 2)).astype(np.float32).view(np.complex64)[..., 0]
    header = Header(matrix=(4, 6, matrix_z), fov=(0.1, 0.2, 0.005), dimensions=2, slice_thickness=0.005)
    text = header_to_xml(
        replace(header, encoded_matrix=(8, 6, 1), encoded_fov=(0.2, 0.2, 0.005)),
        n_rx=3,
        limits={"LIN": (0, 5, 2)} if limits else None,
    )
    begin = text.index(b"<userParameters>")
    text = text[:begin] + text[text.index(b"</userParameters>") + len(b"</userParameters>") :]
    text = text.replace(b"Lauterbur (simulated)", b"Somebody")
    with ismrmrd.Dataset(path) as dataset:
        dataset.write_xml_header(text)
        for i in range(6):
            acquisition = ismrmrd.Acquisition.from_array(data[i])
            acquisition.idx.kspace_encode_step_1 = i
            acquisition.center_sample = 4
            acquisition.sample_time_us = 4.0
            acquisition.acquisition_time_stamp = 100 + 4 * i
            acquisition.read_dir[:], acquisition.phase_dir[:] = (0, 1, 0), (0, 0, 1)
            acquisition.slice_dir[:], acquisition.position[:] = (1, 0, 0), (5, 6, 7)
            if reverse and i % 2:
                acquisition.set_flag(ismrmrd.ACQ_IS_REVERSE)
            dataset.append_acquisition(acquisition)
    return data


def test_we_read_what_the_ismrmrd_package_writes(tmp_path: Path) -> None:
    data = written_by_ismrmrd(tmp_path / "a.mrd", reverse=True)
    raw = read_raw(tmp_path / "a.mrd")
    assert raw.header is not None and np.array_equal(raw.samples, data)
    assert np.allclose(raw.header.directions, ((0, 1, 0), (0, 0, 1), (1, 0, 0)))
    assert np.allclose(raw.header.position, (0.005, 0.006, 0.007)) and raw.header.bandwidth == pytest.approx(1 / 32e-6)
    assert np.allclose(raw.k[0, :, 1], (np.arange(8) - 4) / 0.2)  # readout along y, one over the encoded FOV
    assert np.allclose(raw.k[1, :, 1], (7 - np.arange(8) - 4) / 0.2)  # reversed
    assert np.allclose(raw.k[:, 0, 2], (np.arange(6) - 2) / 0.2) and list(raw.center_sample[:2]) == [4, 3]
    assert np.allclose(np.diff(raw.time), 0.01) and raw.header.provenance["vendor"] == "Somebody"


def test_missing_limits_are_derived(tmp_path: Path) -> None:
    written_by_ismrmrd(tmp_path / "a.mrd", limits=False)
    raw = read_raw(tmp_path / "a.mrd")
    assert np.allclose(raw.k[:, 0, 2], (np.arange(6) - 3) / 0.2)


def test_a_header_edited_elsewhere_wins_over_ours() -> None:
    text = header_to_xml(made().header, n_rx=2)
    assert header_from_xml(text, "x").header == made().header
    edited = header_from_xml(text.replace(b"<x>256.0</x>", b"<x>300.0</x>"), "x")
    assert edited.header is not None and edited.header.encoded_fov is not None
    assert edited.header.encoded_fov[0] == pytest.approx(0.3) and "changed" in " ".join(edited.notes)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><ismrmrdHeader>&y;</ismrmrdHeader>', "DTD"),
        (b"<a>" * 100_000, "nested"),
        (b"<ismrmrdHeader>" + b"<a/>" * 300_000, "elements"),
        (b"<ismrmrdHeader/>", "encoding"),
        (b"", "XML"),
        (b"\xff\xfe<\0", "XML"),
    ],
)
def test_hostile_xml_is_refused_before_it_grows(bad: bytes, said: str) -> None:
    with pytest.raises(FileFormatError, match=said):
        header_from_xml(bad, "x.mrd")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<x>16</x>", b"<x>1e12</x>"),
        (b"<x>16</x>", b"<x>nan</x>"),
        (b"<x>16</x>", b"<x>-4</x>"),
        (b"<x>256.0</x>", b"<x>inf</x>"),
        (b"<x>256.0</x>", b"<x>0</x>"),
        (b"<TR>", b"<TR>x"),
    ],
)
def test_impossible_numbers_name_their_element(old: bytes, new: bytes) -> None:
    text = header_to_xml(made().header, n_rx=2)
    assert old in text
    with pytest.raises(FileFormatError, match=r"matrixSize|fieldOfView|TR"):
        header_from_xml(text.replace(old, new), "x.mrd")


def test_data_outside_the_file_is_not_followed(tmp_path: Path) -> None:
    write_raw(made(), tmp_path / "good.mrd")
    for kind in ("external", "soft", "virtual"):
        path = tmp_path / f"{kind}.mrd"
        with h5py.File(path, "w") as file:
            group = file.create_group("dataset")
            if kind == "external":
                group["data"] = h5py.ExternalLink("good.mrd", "/dataset/data")
            elif kind == "soft":
                group["data"] = h5py.SoftLink("/elsewhere")
            else:
                layout = h5py.VirtualLayout((4,), np.float32)
                layout[:] = h5py.VirtualSource("good.mrd", "/dataset/data", (4,), np.float32)
                group.create_virtual_dataset("data", layout)
            group.create_dataset("xml", data=[b"<x/>"])
        with pytest.raises(FileFormatError):
            read_raw(path)
    stored = tmp_path / "stored.mrd"
    with h5py.File(stored, "w") as file:
        group = file.create_group("dataset")
        group.create_dataset("data", (4,), np.float32, external=[(str(tmp_path / "good.mrd"), 0, 16)])
        group.create_dataset("xml", data=[b"<x/>"])
    with pytest.raises(FileFormatError, match="other files"):
        read_raw(stored)


def test_counters_and_lengths_beyond_the_format_are_refused_before_a_file_appears(tmp_path: Path) -> None:
    raw = made()
    with pytest.raises(InputError, match="65535"):
        write_raw(replace(raw, labels={"LIN": np.full(12, 70000, np.int32)}), tmp_path / "a.mrd")
    long = np.zeros((1, 1, 70000), np.complex64)
    with pytest.raises(InputError, match="65535"):
        write_raw(replace(raw, samples=long, noise=None), tmp_path / "b.mrd")
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_claims_a_million_million_acquisitions_is_refused(tmp_path: Path) -> None:
    write_raw(made(), tmp_path / "a.mrd")
    with h5py.File(tmp_path / "a.mrd", "r+") as file:
        file["dataset/data"].resize((10**12,))
    with pytest.raises(LauterburError):
        read_raw(tmp_path / "a.mrd")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused_with_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    source = tmp_path / "source.mrd"
    if not source.exists():
        write_raw(made("epi", n=3, n_samples=4), source)
    damaged = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.mrd"
    path.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged))
    try:
        read_raw(path)
    except LauterburError as problem:
        assert len(str(problem)) < 1000


def test_a_heap_that_never_ends_is_refused(tmp_path: Path) -> None:
    """An object of size 0 sends libhdf5 2.0 round for ever."""
    path = tmp_path / "a.mrd"
    write_raw(made(), path)
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL")
    while place >= 0:
        content[place + 16 + 8 : place + 16 + 16] = bytes(8)
        place = content.find(b"GCOL", place + 4)
    path.write_bytes(bytes(content))
    with pytest.raises(FileFormatError):
        read_raw(path)


def test_a_forked_process_reads_beside_its_parent(tmp_path: Path) -> None:
    raw = made()
    write_raw(raw, tmp_path / "a.mrd")
    read_raw(tmp_path / "a.mrd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads (numba, hypothesis) may run
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if all(np.array_equal(read_raw(tmp_path / "a.mrd").samples, raw.samples) for _ in range(3)) else 2
        finally:
            os._exit(code)
    assert all(np.array_equal(read_raw(tmp_path / "a.mrd").samples, raw.samples) for _ in range(3))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_raw(tmp_path / "none.mrd")
    with pytest.raises(InputError, match="not a file"):
        read_raw(tmp_path)


def koma(name: str) -> RawData:
    folder = os.environ.get("LAUTERBUR_TEST_DATA")
    if not folder:
        pytest.skip("LAUTERBUR_TEST_DATA is not set")
    return read_raw(Path(folder) / "mrd" / name)


def test_metres_where_millimetres_are_due_are_recognised_and_said() -> None:
    raw = koma("Koma_signal.mrd")
    assert raw.header is not None and np.allclose(raw.header.fov[:2], 0.2323)
    assert "taken as metres" in " ".join(raw.header.provenance["notes"])
    assert np.allclose(np.abs(raw.k[:, :, :2]).max(axis=(0, 1)), 50 / 0.23)

    # The echo-planar picture: a brain slice that fills the field of view, dark corners, the two halves alike.
    kx, ky = (np.round(raw.k[:, :, axis] * 0.23).astype(int) + 50 for axis in (0, 1))
    grid = np.zeros((101, 101), np.complex64)
    grid[ky, kx] = raw.samples[:, 0]
    image = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(grid))))
    y, x = np.mgrid[-50:51, -50:51] / 50
    assert image[x**2 + y**2 > 1.3].mean() < 0.1 * image[x**2 + y**2 < 0.8].mean()
    assert np.corrcoef(image.ravel(), image[:, ::-1].ravel())[0, 1] > 0.6


def test_spokes_numbered_as_slices_are_recognised_and_said() -> None:
    raw = koma("koma_mrf.mrd")
    assert raw.header is not None and not raw.label("SLC").any() and raw.label("LIN").max() == 499
    assert "line counter" in " ".join(raw.header.provenance["notes"])
    assert np.linalg.norm(raw.k, axis=2).max() == pytest.approx(0.5 * 99 / 0.23, rel=1e-4)
    assert np.all(np.isin(raw.center_sample, (49, 50)))
