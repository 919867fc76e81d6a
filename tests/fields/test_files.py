"""fields.h5: what was written is read; what is foreign, cut, changed or somebody else's is a clear error."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lauterbur.errors import FileFormatError, InputError, LauterburError
from lauterbur.fields.files import ARRAYS, check_owner, fingerprint, read_fields, write_fields
from lauterbur.fields.maps import FieldMaps
from lauterbur.scanner.profiles import load_scanner
from lauterbur.subject.phantoms import sphere


def small(**changes):
    rng = np.random.default_rng(3)

    def field(*shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)

    grid = (4, 5, 6)
    values = dict(
        affine=np.eye(4),
        off_resonance=rng.normal(size=(7, 8, 9)).astype(np.float32),
        b1_plus=field(2, *grid),
        b1_minus=field(3, 5, 5, 5),
        noise_resistance=np.eye(3).astype(complex),
        e=field(2, 3, *grid),
        s_matrix=0.1 * np.ones((2, 2), complex),
        receive_affine=2 * np.eye(4),
        transmit_affine=3 * np.eye(4),
        conductivity=rng.uniform(size=grid).astype(np.float32),
        density=np.full(grid, 1000, np.float32),
        part=np.ones(grid, np.uint8),
        shim=np.arange(4.0),
        body_mass=72.5,
        provenance={"transmit": {"step": 0.004, "centre": (0.0, 1.0, 2.0)}, "note": "a"},
    )
    return FieldMaps(**{**values, **changes})


def test_fields_come_back_as_they_were_written(tmp_path):
    fields, path = small(), tmp_path / "fields.h5"
    write_fields(fields, path)
    again = read_fields(path)
    for name in ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(fields, name)), name
        assert getattr(again, name).dtype == getattr(fields, name).dtype
    assert again.body_mass == 72.5
    assert again.provenance == {"transmit": {"step": 0.004, "centre": [0.0, 1.0, 2.0]}, "note": "a"}
    assert [each.name for each in tmp_path.iterdir()] == ["fields.h5"]


def test_what_is_not_known_stays_unknown(tmp_path):
    grid = (7, 8, 9)
    fields = small(
        e=None, s_matrix=None, conductivity=None, density=None, part=None, body_mass=None, receive_affine=None,
        transmit_affine=None, b1_plus=np.broadcast_to(np.complex64(1), (2, *grid)), b1_minus=np.ones((3, *grid), np.complex64),
    )  # fmt: skip
    write_fields(fields, tmp_path / "f.h5")
    again = read_fields(tmp_path / "f.h5")
    assert again.e is None and again.body_mass is None and again.transmit_affine is None


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "fields.h5"
    write_fields(small(), path)
    before = path.read_bytes()
    monkeypatch.setattr(
        "lauterbur.fields.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(InputError, match="No space left"):
        write_fields(small(body_mass=1.0), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="cannot be written"):
        write_fields(small(), tmp_path / "nowhere" / "fields.h5")


def damage(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def replaced(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda f: f.attrs.__setitem__("format", "other"), "format"),
        (lambda f: f.attrs.__setitem__("version", 99), "version"),
        (lambda f: f.attrs.__setitem__("provenance", "{"), "provenance"),
        (lambda f: f.attrs.__setitem__("provenance", "[]"), "provenance"),
        (lambda f: f.attrs.__setitem__("body_mass", -3.0), "body_mass"),
        (lambda f: f.__delitem__("b1_minus"), "b1_minus"),
        (replaced("e", np.zeros((2, 3, 4, 5, 5), np.complex64)), "e"),
        (replaced("s_matrix", np.zeros((3, 3), complex)), "s_matrix"),
        (replaced("conductivity", np.full((4, 5, 6), np.nan, np.float32)), "conductivity"),
        (replaced("density", np.zeros((4, 5, 6), np.int32)), "density"),
        (replaced("shim", np.zeros(5)), "shim"),
        (replaced("part", np.full((4, 5, 6), 77, np.uint8)), "part"),
        (replaced("affine", np.zeros((4, 4))), "affine"),
        (replaced("noise_resistance", np.eye(2).astype(complex)), "noise_resistance"),
    ],
)
def test_a_changed_file_names_the_place(tmp_path, change, where):
    path = tmp_path / "fields.h5"
    write_fields(small(), path)
    damage(path, change)
    with pytest.raises(FileFormatError) as caught:
        read_fields(path)
    assert caught.value.where == where and "fields.h5" in str(caught.value)


def test_a_file_that_claims_more_than_it_holds_is_not_read(tmp_path):
    path = tmp_path / "fields.h5"
    write_fields(small(), path)

    def huge(file):
        del file["off_resonance"]
        file.create_dataset("off_resonance", shape=(100_000, 1000, 1000), dtype="f4", chunks=(1, 1000, 1000))

    damage(path, huge)
    with pytest.raises(FileFormatError, match="off_resonance"):
        read_fields(path)


def test_an_array_that_is_not_the_one_that_was_written_is_refused_though_every_value_could_be(tmp_path):
    path = tmp_path / "fields.h5"
    fields = small()
    write_fields(fields, path)
    damage(path, lambda file: file["b1_plus"].__setitem__(..., fields.b1_plus[::-1]))
    with pytest.raises(FileFormatError, match="is not what was written") as caught:
        read_fields(path)
    assert caught.value.where == "b1_plus"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_a_flipped_byte_or_a_cut_gives_the_same_fields_or_a_clear_error(tmp_path_factory, place, flip, cut):
    path = tmp_path_factory.mktemp("flipped") / "fields.h5"
    fields = small()
    write_fields(fields, path)
    content = bytearray(path.read_bytes())
    place %= len(content)
    if cut:
        content = content[:place]
    else:
        content[place] ^= flip
    path.write_bytes(bytes(content))
    try:
        again = read_fields(path)
    except LauterburError as error:
        assert "fields.h5" in str(error)
    else:
        assert np.array_equal(again.b1_plus, fields.b1_plus) and np.array_equal(again.e, fields.e)


def test_other_files_are_refused(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("hello")
    for path in (text, tmp_path, tmp_path / "none.h5"):
        with pytest.raises(InputError):
            read_fields(path)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["b1_plus"] = 3
    with pytest.raises(FileFormatError, match="somebody else's"):
        read_fields(tmp_path / "foreign.h5")


def test_fields_of_another_scanner_or_subject_are_refused(tmp_path):
    scanner, other = load_scanner("5T"), load_scanner("3T")
    subject, wider = sphere(spacing=8e-3), sphere(spacing=9e-3)
    owned = {
        "scanner": scanner.name, "scanner_hash": fingerprint(scanner),
        "subject": subject.name, "subject_hash": fingerprint(subject),
    }  # fmt: skip
    path = tmp_path / "fields.h5"
    write_fields(small(provenance=owned), path)
    assert read_fields(path, scanner=scanner, subject=subject).provenance["scanner"] == "5T"
    with pytest.raises(InputError, match="solved for scanner '5T'"):
        read_fields(path, scanner=other)
    with pytest.raises(InputError, match="solved for subject"):
        read_fields(path, subject=wider)
    check_owner(small(), scanner=scanner)  # measured maps need not say whose they are


def test_a_fingerprint_sees_every_number_and_no_comment():
    from dataclasses import replace

    scanner = load_scanner("5T")
    first = fingerprint(scanner)
    assert first == fingerprint(load_scanner("5T")) and len(first) == 32
    assert first != fingerprint(replace(scanner, bore=0.61))
    array = replace(scanner.transmit.arrays[0], unloaded_q=251.0)
    assert first != fingerprint(replace(scanner, transmit=replace(scanner.transmit, arrays=(array,))))
    assert first == fingerprint(replace(scanner, description="other words"))
