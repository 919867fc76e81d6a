"""One scan from request to folder, on a small sphere: what `make scan` does, in seconds."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import lauterbur as lb
from lauterbur.acquisition.replay import Replay
from lauterbur.acquisition.twin.simulation import Twin
from lauterbur.cli import app
from lauterbur.errors import InputError, RefusedError
from lauterbur.formats.nifti import read_nifti
from lauterbur.journey import play
from lauterbur.scanner.machine import ShimCoils
from lauterbur.units import mm

SCANNER = lb.load_scanner("5T")
FOV = (160 * mm, 160 * mm, 160 * mm)


@pytest.fixture(scope="module")
def sphere():
    return lb.load_subject("sphere", spacing=8 * mm)


@pytest.fixture(scope="module")
def protocol():
    quick = replace(lb.load_protocol("brain/t1-gre"), matrix=(24, 24, 8), fov=FOV, position=(0.0, 0.0, 0.0), dummies=4)
    return replace(quick, acceleration=(1, 1), reference_lines=(0, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scan") / "study"


@pytest.fixture(scope="module")
def result(protocol, sphere, folder):
    return lb.scan(protocol, SCANNER, sphere, seed=3, coils=4, measure_error=False, out=folder)


def test_a_scan_shows_the_sphere_where_it_lies(result):
    picture = np.abs(result.image.pixels[0])
    index = np.stack(np.meshgrid(*(np.arange(n) for n in picture.shape), indexing="ij"), axis=-1)[..., ::-1]
    place = index @ result.image.affine[:3, :3].T + result.image.affine[:3, 3]
    bright = picture > 0.4 * np.median(picture[np.linalg.norm(place, axis=-1) < 30 * mm])
    assert np.linalg.norm(place[bright].mean(axis=0)) < 6 * mm


def test_a_scan_says_that_the_twin_made_it(result):
    assert result.provenance["source"] == "twin" and result.provenance["engine"] == "fast"


def test_the_folder_of_a_scan_can_be_read_by_everyone(result, folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["b0_shim"]["after, Hz"]["rms"] <= summary["b0_shim"]["before, Hz"]["rms"]
    assert "Static field" in (folder / "report.html").read_text()
    assert summary["seed"] == 3 and all(finding["ok"] for finding in summary["findings"])
    raw = lb.read_raw(folder / "raw.mrd")
    np.testing.assert_array_equal(raw.samples, result.raw.samples)
    again = lb.reconstruct(raw)
    np.testing.assert_allclose(np.abs(again.pixels), np.abs(result.image.pixels), rtol=1e-4, atol=1e-3)
    program = lb.read_program(folder / "program.seq")
    assert program.n_blocks == result.program.n_blocks


def test_replay_gives_the_same_readouts_as_the_twin(result, folder):
    cleared = lb.clear(lb.read_program(folder / "program.seq"), SCANNER)
    for i, readout in enumerate(Replay(lb.read_raw(folder / "raw.mrd")).acquire(cleared)):
        np.testing.assert_array_equal(readout.samples, result.raw.samples[i])
    assert i == result.raw.n_readouts - 1


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_noise(result, protocol, sphere):
    fields = lb.solve_fields(SCANNER, sphere)
    cleared = lb.clear(result.program, SCANNER)
    same, other = (Twin(sphere, SCANNER, fields, seed, "fast", 4, False).record(cleared) for seed in (3, 4))
    np.testing.assert_array_equal(same.samples, result.raw.samples)
    assert not np.array_equal(other.samples, same.samples)


def test_two_scans_with_one_seed_leave_the_same_files(result, folder, protocol, sphere, tmp_path):
    lb.scan(protocol, SCANNER, sphere, seed=3, coils=4, measure_error=False, out=tmp_path)
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for name in names:
        if name.suffix not in (".html", ".json"):  # which tell the timings
            assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_twin_plays_in_the_shimmed_field(protocol, sphere):
    """A field that the coils can make leaves no trace in the raw data; with the coils off it does."""
    quick = replace(protocol, matrix=(16, 16, 4), dummies=1)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in sphere.labels.shape[1:]), indexing="ij"), axis=-1)[..., ::-1]
    x, y, z = np.moveaxis(index @ sphere.affine[:3, :3].T + sphere.affine[:3, 3], -1, 0)
    bowl = 30 + 600 * x - 4e4 * (z**2 - (x**2 + y**2) / 2)  # Hz: 30 to 200 of them in the sphere

    def scanned(own, **options):
        brought = replace(sphere, maps={"off_resonance": np.asarray(own, np.float32)})
        return lb.scan(quick, SCANNER, brought, seed=3, coils=2, measure_error=False, **options)

    flat, shimmed, plain = scanned(0 * bowl), scanned(bowl), scanned(bowl, b0="off")
    largest = np.abs(flat.raw.samples).max()
    assert np.abs(shimmed.raw.samples - flat.raw.samples).max() < 1e-3 * largest
    assert np.abs(plain.raw.samples - flat.raw.samples).max() > 0.1 * largest
    assert shimmed.b0.after.rms < 0.01 and shimmed.b0.before.rms > 30
    assert plain.b0.after.rms == pytest.approx(shimmed.b0.before.rms)
    assert shimmed.fields["b0_shim"]["z2"] == pytest.approx(4e4, rel=1e-4)


def test_every_slice_plays_its_own_shim(sphere):
    """A field that no one shim undoes but those of the slices do: other gradients and another frequency in each."""
    quick = lb.load_protocol("brain/t2-tse")
    quick = replace(quick, matrix=(32, 32, 1), slices=3, slice_gap=27e-3, fov=(0.24, 0.24, 3e-3))
    quick = replace(quick, acceleration=(1, 1), reference_lines=(0, 0), position=(0.0, 0.0, 0.0))
    z, y, x = np.indices(sphere.labels.shape[1:])
    place = np.stack([x, y, z], axis=-1) @ sphere.affine[:3, :3].T + sphere.affine[:3, 3]
    layer = np.round(place[..., 2] / 0.03)
    steps = 150 * (layer % 2) + 2000 * place[..., 0] * np.clip(layer, -1, 1)  # Hz

    linear = replace(SCANNER, shim_coils=ShimCoils(1))

    def scanned(own, **options):
        brought = replace(sphere, maps={"off_resonance": np.asarray(own, np.float32)})
        return lb.scan(quick, linear, brought, seed=3, coils=2, measure_error=False, **options)

    flat, one, each = scanned(0 * steps), scanned(steps), scanned(steps, b0="slices")
    largest = np.abs(flat.raw.samples).max()
    assert each.b0.coefficients.shape == (3, 4) and each.b0.after.rms < 0.05 * one.b0.after.rms
    assert np.abs(each.raw.samples - flat.raw.samples).max() < 2e-3 * largest
    assert np.abs(one.raw.samples - flat.raw.samples).max() > 0.05 * largest
    with pytest.raises(InputError, match="which slices it excites"):
        lb.scan(lb.load_protocol("brain/t1-gre"), SCANNER, sphere, b0="slices")
    with pytest.raises(InputError, match="known are volume, slices, off"):
        lb.scan(quick, SCANNER, sphere, b0="slice")


def test_what_the_machine_may_not_play_is_refused_before_anything_is_simulated(protocol, sphere):
    weak = replace(SCANNER, transmit=replace(SCANNER.transmit, average_power=1e-3))
    with pytest.raises(RefusedError, match="RF"):
        lb.scan(protocol, weak, sphere)


def test_recon_at_the_prompt_gives_the_image_of_the_scan(result, folder, tmp_path):
    run = CliRunner().invoke(app, ["recon", str(folder / "raw.mrd"), "--out", str(tmp_path / "images"), "--json"])
    assert run.exit_code == 0, run.output
    pixels, *_ = read_nifti(tmp_path / "images" / "image.nii.gz")
    expected, *_ = read_nifti(folder / "image.nii.gz")
    np.testing.assert_allclose(pixels, expected, rtol=1e-4, atol=1e-3)


def test_simulate_at_the_prompt_plays_a_file_and_measures_its_error(result, tmp_path):
    n = 24  # blocks: four dummies and two readouts
    labels = {name: values[:n] for name, values in result.program.labels.items()}
    few = replace(
        result.program, blocks=result.program.blocks[:n], durations=result.program.durations[:n], labels=labels
    )
    lb.write_program(few, tmp_path / "few.seq")
    out = tmp_path / "raw.mrd"
    words = ["simulate", str(tmp_path / "few.seq"), "--subject", "sphere", "--coils", "2", "--out", str(out), "--json"]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 0, run.output
    raw = lb.read_raw(out)
    assert (
        raw.n_rx == 2 and np.all(np.isfinite(raw.samples)) and raw.header.provenance["simulation_error"]["upper95"] >= 0
    )


def test_a_program_can_be_played_without_the_gate(result, sphere):
    raw = play(result.program, SCANNER, sphere, seed=3, coils=2, measure_error=False)
    assert raw.n_readouts == result.raw.n_readouts and raw.n_rx == 2
