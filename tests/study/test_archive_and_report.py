"""The scan's folder as promised, and a report that needs nothing but itself."""

import json
import re
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from lauterbur.findings import Finding
from lauterbur.formats.mrd import read_raw
from lauterbur.formats.pulseq import read_program
from lauterbur.image import Image
from lauterbur.program import program_hash
from lauterbur.protocol.library import load_protocol
from lauterbur.rawdata import Header, RawData
from lauterbur.safety.gate import findings, notes
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.study.archive import archive, archive_images
from lauterbur.study.record import ScanResult
from lauterbur.study.report import margins_table, report_html
from lauterbur.study.summary import to_json
from lauterbur.units import mm

FILES = {"program.seq", "raw.mrd", "image.nii.gz", "dicom", "report.html", "summary.json"}
KEYS = (
    "protocol scanner subject seed engine scan_time_s simulation_error findings files timings peak_memory_bytes versions"
).split()


@pytest.fixture(scope="module")
def result():
    """A scan whose numbers are drawn at random: what is looked at here is how it is kept."""
    chance = np.random.default_rng(0)
    machine = load_scanner("5T")
    protocol = replace(load_protocol("brain/t1-gre"), matrix=(16, 16, 8), fov=(192 * mm, 192 * mm, 96 * mm))
    protocol = replace(protocol, acceleration=(1, 1), reference_lines=(0, 0), slab_thickness=None)
    program = build_program(protocol, machine)
    header = Header(
        protocol.matrix, protocol.fov, te=protocol.te, tr=protocol.tr, field_strength=4.95, protocol=protocol.name,
        provenance={"source": "twin", "seed": 3, "simulation_error": {"estimate": 0.001, "upper95": 0.002}},
    )  # fmt: skip
    n = 40
    samples = (chance.standard_normal((n, 4, 32)) + 1j * chance.standard_normal((n, 4, 32))).astype(np.complex64)
    count = np.full(n, 32, np.int32)
    k = chance.standard_normal((n, 32, 3)).astype(np.float32)
    raw = RawData(
        samples,
        count,
        k,
        np.arange(n) * 1.0,
        np.full(n, 1e-5),
        count // 2,
        {"LIN": np.arange(n, dtype=np.int32)},
        header,
    )
    pixels = chance.random((1, 8, 16, 16)).astype(np.complex64)
    affine = np.diag([12e-3, 12e-3, 12e-3, 1.0])
    image = Image(
        pixels, affine, protocol.te, protocol.tr, field_strength=4.95,
        provenance={**header.provenance, "timings": {"fft": 1.25}}, maps={"g_factor": np.ones((8, 16, 16), np.float32)},
    )  # fmt: skip
    return ScanResult(
        image, raw, program, protocol, machine, "head <1>", 3, "fast",
        findings(program, machine), notes(program, machine), {"sequence": 0.5, "simulation": 2.0}, {"method": "quasi-static"},
    )  # fmt: skip


def test_a_scan_folder_holds_what_was_promised(result, tmp_path):
    summary = archive(result, tmp_path / "study")
    assert {path.name for path in (tmp_path / "study").iterdir()} == FILES | {"g_factor.nii.gz"}
    assert list((tmp_path / "study" / "dicom").iterdir())
    written = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert written == json.loads(to_json(summary)) and all(key in written for key in KEYS)
    assert written["simulation_error"] == {"estimate": 0.001, "upper95": 0.002}
    assert set(written["findings"][0]) == {
        "quantity",
        "value",
        "limit",
        "unit",
        "rule",
        "where",
        "mode",
        "is_advice",
        "ok",
    }
    for name in written["files"].values():
        assert (tmp_path / "study" / name).exists()


def test_what_is_archived_can_be_read_again(result, tmp_path):
    archive(result, tmp_path / "study")
    again = read_program(tmp_path / "study" / "program.seq")
    np.testing.assert_allclose(again.durations, result.program.durations, atol=1e-12)
    np.testing.assert_array_equal(read_raw(tmp_path / "study" / "raw.mrd").samples, result.raw.samples)
    picture = nibabel.load(tmp_path / "study" / "image.nii.gz")
    assert picture.get_data_dtype() == np.float32 and sorted(picture.shape[:3]) == [8, 16, 16]


def test_the_same_scan_gives_the_same_bytes(result, tmp_path):
    for name in ("a", "b"):
        archive(result, tmp_path / name)
    for file in ("program.seq", "raw.mrd", "image.nii.gz", "g_factor.nii.gz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    first, second = ([p.read_bytes() for p in sorted((tmp_path / n / "dicom").iterdir())] for n in ("a", "b"))
    assert first == second


def test_clocks_appear_only_under_timings(result, tmp_path):
    summary = json.loads(to_json(archive(result, tmp_path / "study")))
    assert "timings" not in summary["provenance"]
    assert summary["timings"]["simulation"] == 2.0 and summary["timings"]["total"] >= 2.5


def test_the_report_needs_nothing_but_itself(result):
    html = report_html(result, {"simulation": 2.0})
    assert not re.search(r"(src|href)=[\"'](?!data:)", html) and "http" not in html and "url(" not in html
    assert html.count("data:image/png;base64,") == 4
    for words in (
        "brain/t1-gre",
        program_hash(result.program),
        "quasi-static",
        "0.1 %",
        "not a medical device",
        "slew",
    ):
        assert words in html
    assert "head &lt;1&gt;" in html and "head <1>" not in html


def test_a_report_of_several_frames_shows_the_first_and_the_last(result):
    pixels = np.repeat(result.image.pixels, 3, axis=0)
    html = report_html(replace(result, image=replace(result.image, pixels=pixels)), {})
    assert "Frame 3 of 3" in html and html.count("data:image/png;base64,") == 5


def test_margins_say_what_is_refused():
    table = margins_table([Finding("heat", 12.0, 10.0, "W", "rule"), Finding("cold", float("nan"), 1.0, "K", "rule")])
    assert table.count("refused") == 2 and 'class="bar bad"' in table and "nan" in table


def test_summaries_are_strict_json():
    text = to_json(
        {"a": np.float32(1.5), "b": [np.nan, np.inf, -1], "c": np.arange(2), "d": {1: (True, None)}, "e": 1j}
    )
    assert json.loads(text) == {"a": 1.5, "b": [None, None, -1], "c": [0, 1], "d": {"1": [True, None]}, "e": "1j"}


def test_a_reconstruction_folder_holds_images_and_a_summary(result, tmp_path):
    archive_images(result.image, result.raw, tmp_path / "images", source="raw.mrd", timings={"reading": 0.1})
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {"image.nii.gz", "g_factor.nii.gz", "dicom", "summary.json"}
    summary = json.loads((tmp_path / "images" / "summary.json").read_text())
    assert summary["input"] == "raw.mrd" and summary["image_shape"] == [1, 8, 16, 16]
