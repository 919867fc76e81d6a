import gzip
import struct
import time

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lauterbur.errors import FileFormatError, InputError, LauterburError, ResourceError
from lauterbur.subject.library import load_subject
from lauterbur.subject.parameters import parameters, relaxation
from lauterbur.subject.tissues import read_tissues

LABELS = '[labels]\nfile = "labels.nii.gz"\nnames = { 0 = "air", 2 = "white matter", 700 = "fat" }\n'
MAPS = '[maps]\nfield_strength_T = 5\nproton_density = "pd.nii"\nt1 = "t1.nii"\nt2 = "t2.nii"\n'
RAS = np.array([[2.0, 0, 0, -10], [0, 2, 0, -20], [0, 0, 3, -30], [0, 0, 0, 1]])


def write(path, values, affine=RAS):
    """values (z, y, x) as NIfTI in mm."""
    nibabel.save(nibabel.Nifti1Image(values.T, affine), path)


def described(folder, text):
    (folder / "subject.toml").write_text(text)
    return folder / "subject.toml"


@pytest.fixture
def folder(tmp_path):
    labels = np.zeros((4, 5, 6), np.int16)
    labels[1:3] = 2
    labels[2, 2, 3] = 700
    write(tmp_path / "labels.nii.gz", labels)
    write(tmp_path / "pd.nii", (labels > 0).astype(np.float32))
    write(tmp_path / "t1.nii", np.where(labels > 0, 900, 0).astype(np.float32))
    write(tmp_path / "t2.nii", np.where(labels > 0, 60, np.nan).astype(np.float32))
    write(tmp_path / "b0.nii", np.full(labels.shape, -35, np.float32))
    return tmp_path


def test_labels_become_tissues_where_the_affine_puts_them(folder):
    subject = load_subject(described(folder, 'name = "me"\ncontinues = ["-z"]\n' + LABELS), seed=4)
    assert (subject.name, subject.seed, subject.continues) == ("me", 4, ("-z",))
    assert [tissue.name for tissue in subject.tissues] == ["air", "white matter", "fat"]
    assert subject.labels.shape == (1, 4, 5, 6) and subject.labels[0, 2, 2, 3] == 2 and subject.fraction.sum() == 60
    place = subject.affine @ [3, 2, 2, 1]  # NIfTI (-4, -16, -24) mm, right and front positive
    np.testing.assert_allclose(place[:3], [4e-3, 16e-3, -24e-3])


def test_maps_become_parameters_and_air_is_where_there_are_no_protons(folder):
    subject = load_subject(described(folder, MAPS + 'off_resonance = "b0.nii"\n'), field_strength=5)
    found = parameters(subject, 5.0)
    assert len(found.t1) == 60
    assert np.allclose(found.t1, 0.9) and np.allclose(found.t2, 0.06) and np.all(np.isinf(found.t2_prime))
    assert found.off_resonance is not None and np.all(found.off_resonance == -35)


def test_maps_on_top_of_labels_replace_only_what_they_give(folder):
    text = LABELS + '[maps]\nfield_strength_T = 3\nunit = "s"\nt1 = "t1s.nii"\n'
    write(folder / "t1s.nii", np.full((4, 5, 6), 1.2, np.float64))
    found = parameters(load_subject(described(folder, text), field_strength=3), 3.0)
    assert np.allclose(found.t1, 1.2) and found.t2.std() > 0


def test_fractions_share_voxels_and_leave_the_rest_to_air(folder):
    write(folder / "gm.nii.gz", np.full((4, 5, 6), 0.5, np.float32))
    write(folder / "wm.nii.gz", np.full((4, 5, 6), 0.25, np.float32))
    text = '[fractions]\n"grey matter" = "gm.nii.gz"\n"white matter" = "wm.nii.gz"\n'
    subject = load_subject(described(folder, text))
    assert subject.labels.shape[0] == 2 and np.allclose(subject.fraction.sum(0), 0.75)


def test_a_tissue_table_of_ones_own_can_change_one_tissue(folder):
    (folder / "mine.toml").write_text('extends = "standard"\n[tissue."white matter"]\nproton_density = 0.6\n')
    subject = load_subject(described(folder, LABELS.replace("\nnames", '\ntissues = "mine.toml"\nnames')))
    assert subject.tissues[1].proton_density == 0.6
    assert relaxation(subject.tissues[1], 5.0) == relaxation(read_tissues()["white matter"], 5.0)
    ball = load_subject("sphere", tissues=folder / "mine.toml")
    assert ball.tissues[1] == read_tissues()["agar"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "describes nothing"),
        ("[labels", "not valid TOML"),
        ("x = 1", "not a key of a subject"),
        ("labels = 3", "must be a section"),
        (LABELS + "[fractions]\nfat = 'pd.nii'\n", "give one of them"),
        (LABELS.replace('"fat"', '"cheese"'), "no tissue 'cheese'"),
        (LABELS.replace(', 700 = "fat"', ""), "no tissue for label 700"),
        (LABELS.replace("0 =", "x ="), "not a label"),
        (LABELS.replace("labels.nii.gz", "../labels.nii.gz"), "leads out of the folder"),
        (LABELS.replace("labels.nii.gz", "link.nii.gz"), "leads out of the folder"),
        (LABELS.replace("labels.nii.gz", "nothing.nii"), "no such file"),
        (LABELS.replace("labels.nii.gz", "a\\u0000b"), "must name a NIfTI"),
        (LABELS.replace("labels.nii.gz", "half.nii"), "not whole"),
        ('continues = ["down"]\n' + LABELS, "faces of the grid"),
        (MAPS.replace("pd.nii", "nan.nii"), "nan.*proton_density"),
        (MAPS.replace('t1 = "t1.nii"\n', ""), "t1.*missing"),
        (MAPS.replace("t1.nii", "small.nii"), "the files before it have"),
        (MAPS.replace("t1.nii", "moved.nii"), "lies elsewhere"),
        (MAPS.replace("t1.nii", "four.nii"), "one volume"),
        (MAPS.replace("field_strength_T = 5\n", ""), "hold at one field only"),
        (MAPS.replace("= 5", "= nan"), "must be a field in T"),
        (MAPS + 'unit = "h"', "must be 'ms' or 's'"),
        (MAPS + 't3 = "pd.nii"', "is not known"),
        ('[fractions]\nfat = "t1.nii"', "fractions must lie"),
    ],
)
def test_a_contradictory_description_is_refused_with_the_reason(folder, tmp_path_factory, text, words):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "labels.nii.gz"
    elsewhere.write_bytes((folder / "labels.nii.gz").read_bytes())
    (folder / "link.nii.gz").symlink_to(elsewhere)
    write(folder / "half.nii", np.full((4, 5, 6), 0.5, np.float32))
    write(folder / "nan.nii", np.full((4, 5, 6), np.nan, np.float32))
    write(folder / "small.nii", np.ones((4, 5, 5), np.float32))
    write(folder / "moved.nii", np.ones((4, 5, 6), np.float32), RAS + np.eye(4)[:, [3, 3, 3, 0]] * 5)
    write(folder / "four.nii", np.ones((2, 4, 5, 6), np.float32))
    with pytest.raises(FileFormatError if "no such" not in words else InputError, match=words):
        load_subject(described(folder, text))


def test_an_absolute_path_is_the_users_own_wish(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    assert (
        load_subject(described(other, LABELS.replace("labels.nii.gz", str(folder / "labels.nii.gz")))).fraction.sum()
        == 60
    )


def test_a_volume_that_claims_to_be_huge_is_refused_before_it_is_read(folder):
    sound = gzip.decompress((folder / "labels.nii.gz").read_bytes())
    huge = bytearray(sound)
    struct.pack_into("<8h", huge, 40, 3, 30000, 30000, 30000, 1, 1, 1, 1)
    with gzip.open(folder / "labels.nii.gz", "wb") as stream:
        stream.write(huge + bytes(50_000_000))
    started = time.monotonic()
    with pytest.raises(ResourceError, match="voxels"):
        load_subject(described(folder, LABELS))
    assert time.monotonic() - started < 2


def test_a_truncated_volume_is_refused(folder):
    whole = (folder / "pd.nii").read_bytes()
    for size in (0, 100, 350, len(whole) - 7):
        (folder / "pd.nii").write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"pd\.nii"):
            load_subject(described(folder, MAPS), field_strength=5)


def test_a_signalling_nan_in_a_map_is_refused_like_any_other(folder):
    whole = bytearray((folder / "t1.nii").read_bytes())
    occupied = 4 * int(np.ravel_multi_index((1, 0, 0), (4, 5, 6)))
    struct.pack_into("<I", whole, 352 + occupied, 0x7FA00000)
    (folder / "t1.nii").write_bytes(whole)
    with pytest.raises(FileFormatError, match=r"t1\.nii: voxel \(1, 0, 0\)"):
        load_subject(described(folder, MAPS), field_strength=5)


def test_unknown_names_fields_and_seeds_are_refused():
    with pytest.raises(InputError, match="head, head-vessels, torso, sphere, orientation"):
        load_subject("haed")
    with pytest.raises(InputError, match="hold from"):
        load_subject("sphere", field_strength=11.7)
    with pytest.raises(InputError, match="seed"):
        load_subject("sphere", seed=-1)
    with pytest.raises(InputError, match="of nan m"):
        load_subject("sphere", spacing=float("nan"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tissue.a]\nt1_ms = 3", "proton_density.*missing"),
        ("[tissue.a]\nproton_density = 1", "t1_ms.*milliseconds"),
        ('[tissue.a]\nproton_density = 1\nt1_ms = { "3" = -1 }', "must be a number"),
        ('[tissue.a]\nproton_density = 1\nt1_ms = { "3" = 1, "3.0" = 2 }\nt2_ms = { "3" = 1 }', "same field twice"),
        ("[tissue.a]\nproton_density = 1\nt1_ms = { x = 1 }", "not a field"),
        ('[tissue.a]\nproton_density = 1\nt1_ms = { "3" = 9 }\nt2_ms = { "3" = 10, "4" = 90 }', "negative 1/T2"),
        ('[tissue.a]\nproton_density = 0\ncolour = "red"', "not a property"),
        ("[tissue.a]\nproton_density = 0\nspread = { t9 = 1 }", "relative standard"),
        ("[tissue.a]\nproton_density = true", "must be a number"),
        ("[tissue.a]\nproton_density = nan", "must be a number"),
        ("field_range_T = [7, 1]\n[tissue.a]\nproton_density = 0", "first must be the lower"),
        ("fruit = 3", "not a key"),
        ("tissue = 3", "one section for each"),
        ("", "has 0 tissues"),
        ("x = " + "[" * 5000, "nested|TOML"),
    ],
)
def test_a_faulty_tissue_table_is_refused_with_the_place(tmp_path, text, words):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(FileFormatError, match=words):
        read_tissues(tmp_path / "t.toml")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_descriptions_and_tables_never_crash(folder, data):
    text = LABELS + MAPS if data.draw(st.booleans()) else MAPS
    table = 'extends = "standard"\nfield_range_T = [1, 7]\n[tissue.fat]\nt1_ms = { "3" = 300, "7" = 400 }\n'
    for name, whole in (("subject.toml", text), ("mine.toml", table)):
        damaged = bytearray(whole.encode())
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        (folder / name).write_bytes(damaged)
    for attempt in (lambda: load_subject(folder / "subject.toml"), lambda: read_tissues(folder / "mine.toml")):
        try:
            attempt()
        except LauterburError as problem:
            assert str(problem)
