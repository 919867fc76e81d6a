"""Fields, targets, shims and subjects that do not fit: one sentence with file and place, exit 2, nothing begun, nothing lost."""

import json
from dataclasses import replace

import h5py
import nibabel
import numpy as np
import pytest
from small_prescan import PROTOCOL, fields_of, run

import lauterbur as lb
from lauterbur.fields.files import read_fields, write_fields
from lauterbur.formats.pulseq import write_program
from lauterbur.protocol.library import load_protocol
from lauterbur.sequence.contrasts import build_program
from lauterbur.shim.files import write_shim
from lauterbur.shim.shim import Shim


def described(folder, radius, name="body", tissues=False):
    """A cylinder of grey matter, 16 cm long, as a TOML file."""
    half = round(100 * radius) + 2
    place = 0.01 * np.arange(-half, half + 1)
    along = 0.01 * np.arange(-10, 11)
    wide = np.hypot(place[None, :, None], place[None, None, :]) <= radius
    labels = np.where(wide & (np.abs(along) <= 0.081)[:, None, None], 1, 0).astype(np.uint8)
    affine = np.diag([10.0, 10, 10, 1])
    affine[:3, 3] = (-10 * half, -10 * half, -100)
    nibabel.save(nibabel.Nifti1Image(labels.T, affine), folder / f"{name}.nii.gz")
    table = 'tissues = "tissues.toml"\n' if tissues else ""
    names = '{ 0 = "air", 1 = "grey matter" }'
    (folder / f"{name}.toml").write_text(f'[labels]\nfile = "{name}.nii.gz"\n{table}names = {names}\n')
    return folder / f"{name}.toml"


def patient(folder):
    return lb.load_subject(str(folder / "body.toml"), field_strength=4.95)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small body, its fields made up, protocols and shims."""
    home = tmp_path_factory.mktemp("bad")
    described(home, 0.08)
    write_fields(fields_of(patient(home), lb.load_scanner("5T")), home / "fields.h5")
    (home / "small.toml").write_text(PROTOCOL)
    for channels in (2, 8):
        write_shim(Shim("cp", "body", np.ones(channels, complex), 0.01), home / f"shim{channels}.json")
    write_shim(Shim("cp", "body", np.ones(8, complex), 0.01, array="body8"), home / "body8.json")
    (home / "broken.json").write_text('{"lauterbur_shim": 1, "mode": "cp"}')
    (home / "typo.toml").write_text(PROTOCOL + 'target = "livr"\n')
    return home


@pytest.fixture(autouse=True)
def nothing_long_begins(monkeypatch):
    def begun(*_, **__):
        raise AssertionError("solving began")

    for room in ("lauterbur.shim.planned", "lauterbur.journey", "lauterbur.fields.solution"):
        monkeypatch.setattr(f"{room}.solve_fields", begun)


def check(folder, fields, *options):
    return ("check", folder / "small.toml", "--subject", folder / "body.toml", "--fields", fields, *options)


def verbs(folder, fields, *options):
    """Every command that takes solved fields, given these."""
    given, out = ("--subject", folder / "body.toml", "--fields", fields), ("--out", folder / "never")
    return (
        check(folder, fields, *options),
        ("scan", folder / "small.toml", *given, *out, *options),
        ("shim", *given, "--protocol", folder / "small.toml", *out, *options),
    )


def refused(folder, arguments, *words):
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    said = run(*arguments)
    assert said.exit_code == 2, said.output
    assert said.stdout == "" and said.stderr.startswith("lauterbur: ") and said.stderr.count("\n") == 1, said.stderr
    assert "fault of ours" not in said.stderr
    for word in words:
        assert word in said.stderr, said.stderr
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert not (folder / "never").exists()


def changed(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def spoiled(name, value):
    def change(file):
        values = file[name][()]
        values[(0,) * values.ndim] = value
        del file[name]
        file[name] = values

    return change


SPOILED = {
    "of another version": (attribute("version", 7), "version"),
    "of another program": (attribute("format", "other"), "format"),
    "NaN in e": (spoiled("e", np.nan), "e: has 1 numbers that are not finite, the first at (0, 0, 0, 0, 0)"),
    "infinite off-resonance": (spoiled("off_resonance", np.inf), "off_resonance: has 1 numbers"),
    "negative conductivity": (spoiled("conductivity", -0.1), "conductivity: is -0.1 at (z, y, x) = (0, 0, 0)"),
    "negative density": (spoiled("density", -1.0), "density: is -1"),
    "no electric field": (lambda file: file.__delitem__("e"), "e is missing"),
    "provenance that is no JSON": (attribute("provenance", "{"), "provenance"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_fields_are_refused_by_file_and_place(folder, name):
    change, word = SPOILED[name]
    path = folder / "spoiled.h5"
    path.write_bytes((folder / "fields.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    refused(folder, check(folder, path), "spoiled.h5", word)


def test_torn_and_missing_fields_are_refused(folder):
    data = (folder / "fields.h5").read_bytes()
    (folder / "torn.h5").write_bytes(data[: len(data) // 2])
    for file in ("torn.h5", "none.h5"):
        refused(folder, check(folder, folder / file), file)


def test_fields_of_another_scanner_or_subject_are_refused(folder):
    for arguments in verbs(folder, folder / "fields.h5", "--scanner", "3T"):
        refused(folder, arguments, "fields.h5", "scanner '5T'", "'3T'")
    other = described(folder, 0.07, "other")
    for arguments in verbs(folder, folder / "fields.h5"):
        swapped = [other if word == folder / "body.toml" else word for word in arguments]
        refused(folder, swapped, "fields.h5", "subject 'body'", "'other'")


def test_measured_fields_that_do_not_fit_are_refused(folder):
    """They name no owner: channels and grid tell."""
    fields = replace(read_fields(folder / "fields.h5"), provenance={})
    write_fields(replace(fields, b1_plus=fields.b1_plus[:5], e=fields.e[:5], s_matrix=None), folder / "five.h5")
    write_fields(replace(fields, off_resonance=fields.off_resonance[1:]), folder / "small.h5")
    refused(folder, check(folder, folder / "five.h5"), "five.h5", "b1_plus has 5 channels", "8")
    refused(folder, check(folder, folder / "small.h5"), "small.h5", "off_resonance has shape")
    refused(folder, ("shim", "--fields", folder / "small.h5", "--out", folder / "never"), "small.h5", "--subject")


def mask(folder, change=None, affine=None):
    subject = patient(folder)
    values = np.zeros(subject.labels.shape[1:], np.float32)
    if change is not None:
        values = change(values)
    flip = np.diag([-1, -1, 1, 1]) * 1.0  # NIfTI looks from the other side
    own = flip @ subject.affine
    own[:3] *= 1e3
    nibabel.save(nibabel.Nifti1Image(values.T, own if affine is None else affine @ own), folder / "mask.nii.gz")
    return folder / "mask.nii.gz"


def only(place, value=1.0):
    def change(values):
        values[place] = value
        return values

    return change


@pytest.mark.parametrize("change, affine, word", [
    (None, None, "empty"),
    (only((0, 0, 0)), None, "outside subject"),
    (only((3, 3, 3), np.nan), None, "nan"),
    (lambda values: values[1:], None, "has shape"),
    (only((3, 3, 3)), np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 20, "lies elsewhere"),
])  # fmt: skip
def test_masks_that_cannot_be_a_target_are_refused(folder, change, affine, word):
    path = mask(folder, change, affine)
    refused(folder, check(folder, folder / "fields.h5", "--target", path), "mask.nii.gz", word)


def test_targets_that_do_not_exist_are_refused(folder):
    (folder / "text.nii").write_text("no image")
    for target, word in (("livr", "no target 'livr'"), ("liver", "has no liver"), ("text.nii", "text.nii"),
                         ("none.nii.gz", "none.nii.gz")):  # fmt: skip
        named = folder / target if "." in target else target
        refused(folder, check(folder, folder / "fields.h5", "--target", named), word)
    for verb in ("check", "scan"):
        more = ("--out", folder / "never") if verb == "scan" else ()
        body = ("--subject", folder / "body.toml", "--fields", folder / "fields.h5")
        arguments = (verb, folder / "typo.toml", *body, *more)
        refused(folder, arguments, "protocol typo", "target", "'livr'")


@pytest.mark.parametrize("shim, words", [
    ("sarr", ("'sarr'", "kt-points")),
    ("universal", ("several subjects",)),
    ("shim2.json", ("shim2.json", "2 channels", "5T has 8")),
    ("broken.json", ("broken.json", "missing")),
    ("none.json", ("none.json",)),
    ("body8.json", ("drives transmit array body8", "head8 lies around")),
    ("spokes", ("3D",)),
])  # fmt: skip
def test_shims_that_cannot_be_played_are_refused_before_fields_are_solved(folder, shim, words):
    named = folder / shim if "." in shim else shim
    for verb in ("check", "scan"):
        more = ("--out", folder / "never") if verb == "scan" else ()
        refused(
            folder, (verb, folder / "small.toml", "--subject", folder / "body.toml", "--shim", named, *more), *words
        )


def test_static_shims_of_slices_that_a_program_has_not_are_refused_before_fields_are_solved(folder):
    given = ("scan", folder / "small.toml", "--subject", folder / "body.toml", "--out", folder / "never", "--b0")
    refused(folder, (*given, "slices"), "which slices it excites", "3D")
    refused(folder, (*given, "slice"), "'slice'", "volume, slices, off")


def test_trains_in_an_echo_train_are_refused_before_fields_are_solved(folder):
    for arguments in (
        ("check", "brain/t2-tse", "--subject", folder / "body.toml", "--shim", "kt-points"),
        ("scan", "brain/t2-tse", "--subject", folder / "body.toml", "--shim", "kt-points", "--out", folder / "never"),
        (
            "compare",
            "brain/t2-tse",
            "--subject",
            folder / "body.toml",
            "--shim",
            "kt-points",
            "--out",
            folder / "never",
        ),
    ):
        refused(folder, arguments, "refocusing", "mode sar")


def test_a_comparison_takes_modes_alone(folder):
    for shim, word in (("sarr", "'sarr'"), (folder / "shim8.json", "shim8.json")):
        refused(folder, ("compare", "brain/t1-gre", "--shim", shim, "--out", folder / "never"), word)


def test_a_programs_own_shims_must_fit_the_scanner(folder):
    program = build_program(load_protocol(folder / "small.toml"), lb.load_scanner("5T"))
    blocks = program.blocks.copy()
    blocks[blocks[:, 0] >= 0, 6] = 0
    write_program(replace(program, blocks=blocks, shims=np.ones((1, 2), complex)), folder / "two.seq")
    arguments = ("check", folder / "two.seq", "--subject", folder / "body.toml", "--fields", folder / "fields.h5")
    refused(folder, arguments, "2 channels", "5T has 8")


TISSUES = """
extends = "standard"
[tissue."grey matter"]
{line}
"""


@pytest.mark.parametrize("line, words", [
    ('dielectric = "Musscle"', ("grey matter", "Musscle", "Muscle")),
    ("permittivity = -60", ("tissues.toml", "tissue.grey matter.permittivity", "not a property")),
    ("conductivity = 0", ("tissues.toml", "tissue.grey matter.conductivity", "not a property")),
    ("density = -5", ("tissues.toml", "tissue.grey matter.density", "-5")),
])  # fmt: skip
def test_tissues_that_cannot_be_are_refused(folder, line, words, monkeypatch):
    monkeypatch.undo()  # solving begins, and ends at the tissue
    odd = described(folder, 0.08, "odd", tissues=True)
    (folder / "tissues.toml").write_text(TISSUES.format(line=line))
    refused(folder, ("fields", "--subject", odd, "--out", folder / "never"), *words)


@pytest.mark.parametrize("radius, options, words", [
    (0.35, (), ("bore of 0.7", "0.6 m")),
    (0.20, ("--transmit", "head8"), ("leaves", "head8", "mm it is")),
    (0.20, ("--array", "head48"), ("does not fit into receive array head48",)),
    (0.08, ("--transmit", "knee1"), ("knee1", "head8, body8")),
])  # fmt: skip
def test_bodies_that_leave_the_bore_or_the_coil_are_refused(folder, radius, options, words, monkeypatch):
    monkeypatch.undo()  # solving begins, and ends at the coil
    wide = described(folder, radius, "wide")
    refused(folder, ("fields", "--subject", wide, "--out", folder / "never", *options), *words)


def test_a_protocols_target_is_what_is_made_even_where_the_body_has_it(folder):
    (folder / "limb.toml").write_text(PROTOCOL + 'target = "liver"\n')
    assert load_protocol("body/t2-tse").target == "liver" and load_protocol("brain/flair").target == "brain"
    body = ("--subject", folder / "body.toml", "--fields", folder / "fields.h5")
    options = (*body, "--mode", "cp", "--out", folder / "made.json", "--json")
    for protocol, target in (("limb.toml", "brain"), ("typo.toml", None)):
        said = run("shim", *options, "--protocol", folder / protocol)
        if target is None:
            assert said.exit_code == 2 and "'livr'" in said.stderr
        else:
            assert said.exit_code == 0 and json.loads(said.stdout)["target"] == target, said.output
