"""fields, shim, check, scan and compare with a prescan: from solved fields to images in which the shading comes and goes."""

import json

import numpy as np
import pytest
from small_prescan import filled, run

import lauterbur as lb
from lauterbur.fields.files import read_fields
from lauterbur.program import Column
from lauterbur.shim.files import read_shim


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("transmit"))


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
