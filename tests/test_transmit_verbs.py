"""fields, shim, check, scan and compare with a prescan: from solved fields to images in which the shading comes and goes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import lauterbur as lb
from lauterbur.cli import app
from lauterbur.fields.files import fingerprint, read_fields, write_fields
from lauterbur.fields.maps import FieldMaps
from lauterbur.program import Column
from lauterbur.shim.files import read_shim

STEP = 0.012  # m, of the transmit grid

PROTOCOL = """
contrast = "GRE"
description = "small"
fov = "192 x 192 x 192 mm"
matrix = [16, 16, 16]
te = "3 ms"
tr = "8 ms"
flip_angle = "8 deg"
bandwidth = "500 Hz/px"
rf_duration = "0.2 ms"
dummies = 20
"""


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def waves(place: np.ndarray, n: int) -> np.ndarray:
    """(tx, point): from lines around the body, as short as at 5 T."""
    turn = 2 * np.pi * np.arange(n)[:, None] / n
    away = np.hypot(place[:, 0] - 0.14 * np.cos(turn), place[:, 1] - 0.14 * np.sin(turn))
    return np.exp(1j * ((2 * np.pi / 0.16 + 6j) * away + turn)) / away


def fields_of(subject, scanner) -> FieldMaps:
    """Made up, but owned: what a solver would have written."""
    quiet = lb.solve_fields(scanner, subject)
    size = np.linalg.norm(subject.affine[:3, :3], axis=0)
    low = subject.affine[:3, 3] - 2 * STEP
    shape = np.ceil(np.array(subject.labels.shape[:0:-1]) * size / STEP).astype(int) + 5  # x, y, z
    z, y, x = np.meshgrid(*(low[i] + STEP * np.arange(shape[i]) for i in (2, 1, 0)), indexing="ij")
    place = np.stack((x, y, z), axis=-1).reshape(-1, 3)
    middle = subject.affine[:3, :3] @ ((np.array(subject.labels.shape[:0:-1]) - 1) / 2) + subject.affine[:3, 3]
    inside = (np.linalg.norm(place - middle, axis=1) < 0.075).reshape(x.shape)
    n = scanner.transmit.channels
    b1 = 2e-8 * waves(place - middle, n).reshape(n, *x.shape)
    e = waves(place - middle, n).reshape(n, 1, *x.shape) * np.array([0.1, 0.2, 1.0])[None, :, None, None, None]
    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = low
    owner = {
        "scanner": scanner.name,
        "scanner_hash": fingerprint(scanner),
        "subject": subject.name,
        "subject_hash": fingerprint(subject),
    }
    return replace(
        quiet,
        b1_plus=b1.astype(np.complex64),
        e=(e * inside).astype(np.complex64),
        transmit_affine=affine,
        conductivity=(0.6 * inside).astype(np.float32),
        density=(1000.0 * inside).astype(np.float32),
        part=inside.astype(np.uint8),
        body_mass=70.0,
        provenance={**quiet.provenance, **owner},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """fields.h5 of the sphere on 5T, and small.toml."""
    home = tmp_path_factory.mktemp("transmit")
    scanner = lb.load_scanner("5T")
    write_fields(
        fields_of(lb.load_subject("sphere", field_strength=scanner.field_strength), scanner), home / "fields.h5"
    )
    (home / "small.toml").write_text(PROTOCOL)
    return home


def test_a_shim_is_made_of_solved_fields_and_kept(folder):
    made = folder / "shim.json"
    said = run("shim", "--fields", folder / "fields.h5", "--mode", "sar", "--protocol", folder / "small.toml",
               "--target", "body", "--out", made, "--json")  # fmt: skip
    assert said.exit_code == 0, said.stderr
    promised = json.loads(said.stdout)["promised"]
    assert promised["variation"] < promised["variation of cp"]
    assert 0 < promised["head SAR, share of limit"] <= 1
    assert read_shim(made).weights.shape == (8,)


def test_fields_of_somebody_else_are_refused(folder):
    said = run("shim", "--fields", folder / "fields.h5", "--subject", "orientation", "--out", folder / "no.json")
    assert said.exit_code == 2 and "fields.h5" in said.stderr and "orientation" in said.stderr
    said = run("shim", "--fields", folder / "fields.h5", "--scanner", "3T", "--out", folder / "no.json")
    assert said.exit_code == 2 and "3T" in said.stderr
    said = run("shim", "--fields", folder / "fields.h5", "--target", "liver", "--out", folder / "no.json")
    assert said.exit_code == 2 and "liver" in said.stderr and not (folder / "no.json").exists()


def test_with_a_subject_the_gate_judges_its_heat(folder):
    plan = folder / "small.toml"
    said = run("check", plan, "--subject", "sphere", "--fields", folder / "fields.h5", "--target", "body", "--json")
    assert said.exit_code == 0, said.stderr
    found = json.loads(said.stdout)["findings"]
    assert any(f["quantity"].startswith("head SAR") and 0 < f["value"] < f["limit"] for f in found)
    plain = json.loads(run("check", plan, "--json").stdout)
    assert not any("SAR" in f["quantity"] for f in plain["findings"])
    assert any("not assessed" in note for note in plain["notes"])


def test_the_scan_is_shaded_by_the_field_and_a_shim_takes_that_away(folder):
    """The image of a uniform sphere follows |B1+|; five kT-points make it flat, channel by channel."""
    variation = {}
    for shim in ("cp", "kt-points"):
        out = folder / shim
        said = run("scan", folder / "small.toml", "--subject", "sphere", "--fields", folder / "fields.h5", "--shim", shim,
                   "--target", "body", "--out", out, "--json")  # fmt: skip
        assert said.exit_code == 0, said.stderr
        summary = json.loads(said.stdout)
        assert summary["shim"]["mode"] == shim and summary["provenance"]["engine"] == "fast"
        assert "Transmit field, shim" in (out / "report.html").read_text()
        played = lb.read_program(out / "program.seq")
        weights = np.unique(played.blocks[played.blocks[:, Column.RF] >= 0, Column.SHIM])
        assert len(weights) == (1 if shim == "cp" else 5)
        promised = summary["shim"]["promised"]
        variation[shim] = promised.get("flip-angle variation", promised["variation"])
        error = summary["simulation_error"]
        assert error["estimate"] < 0.1, error
    assert variation["kt-points"] < 0.5 * variation["cp"]


def test_damaged_fields_are_refused_by_name(folder, tmp_path):
    data = (folder / "fields.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    said = run("shim", "--fields", tmp_path / "cut.h5", "--out", tmp_path / "no.json")
    assert said.exit_code == 2 and "cut.h5" in said.stderr and "Traceback" not in said.output
    assert read_fields(folder / "fields.h5").e is not None


def test_a_comparison_needs_two_scanners(tmp_path):
    said = run("compare", "brain/t1-gre", "--scanners", "5T", "--out", tmp_path / "no")
    assert said.exit_code == 2 and "two or more" in said.stderr
