"""shim.json and Pulseq: what is written is read back; what is hostile is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from shim_fields import ellipsoid_fields
from test_trains import hard_program

import lauterbur as lb
from lauterbur.errors import FileFormatError, InputError
from lauterbur.program import Column, shim_weights
from lauterbur.shim.files import read_shim, write_shim
from lauterbur.shim.playing import apply_shim
from lauterbur.shim.pulse import CompositePulse
from lauterbur.shim.shim import Shim, design_shim
from lauterbur.shim.slices import Slices, slices_of


def some_shim(n_slices=1, is_train=True, seed=0):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n_slices, 3, 8)) + 1j * rng.normal(size=(n_slices, 3, 8))
    pulse = CompositePulse(
        "kt-points", w, rng.normal(size=(n_slices, 2, 3)), rng.normal(size=(n_slices, 3)), 0.2, 1.5e-4, 1.2e-4
    )
    slices = None if n_slices == 1 else Slices(np.array([0, 0.6, 0.8]), np.arange(n_slices) * 0.005, 0.004)
    weights = w[:, 0] if n_slices > 1 else w[0, 0]
    return Shim(
        "kt-points",
        "mask",
        weights,
        0.07,
        slices,
        pulse if is_train else None,
        np.arange(4.0),
        {"variation": 0.1},
        "head8",
    )


def as_record(shim):
    return {name: getattr(shim, name) for name in ("mode", "target", "array", "reference_drive", "promised")}


@pytest.mark.parametrize("n_slices", [1, 3])
@pytest.mark.parametrize("is_train", [True, False])
def test_a_shim_is_read_as_it_was_written(tmp_path, n_slices, is_train):
    shim = some_shim(n_slices, is_train)
    write_shim(shim, tmp_path / "shim.json")
    back = read_shim(tmp_path / "shim.json")
    assert as_record(back) == as_record(shim)
    assert np.array_equal(back.weights, shim.weights) and np.array_equal(back.b0, shim.b0)
    if is_train:
        for name in ("weights", "steps", "rephasing"):
            assert np.array_equal(getattr(back.pulse, name), getattr(shim.pulse, name))
    if n_slices > 1:
        assert np.allclose(back.slices.normal, shim.slices.normal)
    assert [f.name for f in tmp_path.iterdir()] == ["shim.json"]


def broken(change):
    def of(record):
        change(record)
        return json.dumps(record)

    return of


HOSTILE = {
    "nothing": lambda record: "",
    "no json": lambda record: "{",
    "a list": lambda record: "[]",
    "deep": lambda record: "[" * 100_000,
    "nan": lambda record: json.dumps(record).replace("0.07", "NaN"),
    "huge": lambda record: json.dumps(record).replace("0.07", "1e999"),
    "no weights": broken(lambda r: r.pop("weights")),
    "text weights": broken(lambda r: r.update(weights="all")),
    "ragged weights": broken(lambda r: r["weights"].append([1])),
    "empty weights": broken(lambda r: r.update(weights=[])),
    "negative drive": broken(lambda r: r.update(reference_drive=-1)),
    "odd mode": broken(lambda r: r.update(mode="magic")),
    "other version": broken(lambda r: r.update(lauterbur_shim=99)),
    "steps": broken(lambda r: r["pulse"]["steps"][0].pop()),
    "flip": broken(lambda r: r["pulse"].update(flip_angle=400)),
    "kind": broken(lambda r: r["pulse"].update(kind="spiral")),
    "channels": broken(lambda r: r.update(weights=[[1, 0]])),
    "normal": broken(lambda r: r.update(slices={"normal": [0, 0, 0], "positions": [0], "thickness": 1})),
    "promised": broken(lambda r: r.update(promised=[1])),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    write_shim(some_shim(), tmp_path / "shim.json")
    record = json.loads((tmp_path / "shim.json").read_text())
    (tmp_path / "shim.json").write_text(HOSTILE[name](record))
    with pytest.raises(FileFormatError, match=r"shim\.json"):
        read_shim(tmp_path / "shim.json")


def test_what_is_not_finite_is_not_written_and_an_old_file_stays(tmp_path):
    write_shim(some_shim(), tmp_path / "shim.json")
    with pytest.raises(InputError, match="not finite"):
        write_shim(replace(some_shim(), promised={"variation": float("nan")}), tmp_path / "shim.json")
    assert read_shim(tmp_path / "shim.json").promised == {"variation": 0.1}
    with pytest.raises(InputError, match="cannot be read"):
        read_shim(tmp_path / "none.json")


def test_a_static_shim_goes_through_pulseq_and_back(tmp_path):
    shim = design_shim(ellipsoid_fields(voxel=0.02))
    program = apply_shim(hard_program(0.2), shim)
    assert program.reference_drive == shim.reference_drive
    assert np.allclose(shim_weights(program, 0), shim.weights)  # our sense; the table holds the conjugate
    assert np.allclose(program.shims[0], np.conj(shim.weights))
    lb.write_program(program, tmp_path / "shimmed.seq")
    back = lb.read_program(tmp_path / "shimmed.seq")
    assert np.array_equal(back.blocks, program.blocks)
    assert np.allclose(back.shims, program.shims, rtol=1e-9, atol=1e-12)


def test_a_train_goes_through_pulseq_and_back(tmp_path):
    scanner = lb.load_scanner("5T")
    shim = replace(some_shim(), b0=None)
    program = apply_shim(hard_program(0.2), shim, scanner)
    lb.write_program(program, tmp_path / "train.seq")
    back = lb.read_program(tmp_path / "train.seq")
    assert np.array_equal(back.blocks[:, Column.SHIM], program.blocks[:, Column.SHIM])
    assert np.allclose(back.shims, program.shims, rtol=1e-9, atol=1e-12)
    assert np.allclose(back.durations, program.durations)
    for ours, theirs in zip(program.blocks, back.blocks, strict=True):
        for axis in (Column.GX, Column.GY, Column.GZ):
            assert (ours[axis] >= 0) == (theirs[axis] >= 0)
            if ours[axis] >= 0:
                a, b = program.gradients[ours[axis]], back.gradients[theirs[axis]]
                assert np.trapezoid(a.waveform, a.time) == pytest.approx(np.trapezoid(b.waveform, b.time), rel=1e-4)


def test_slices_get_their_own_weights_by_label_or_by_frequency():
    slices = Slices(np.array([0, 0, 1.0]), np.array([-0.01, 0.0, 0.01]), 0.005)
    shim = replace(some_shim(3, is_train=False), slices=slices)
    program = hard_program(0.2, selective=True, offset=4e5 * 0.01)
    labelled = replace(program, labels={"SLC": np.array([1, 1], np.int32)})
    assert apply_shim(labelled, shim).blocks[0, Column.SHIM] == 1
    assert apply_shim(replace(program, labels={}), shim).blocks[0, Column.SHIM] == 2
    with pytest.raises(InputError, match="slice 7"):
        apply_shim(replace(program, labels={"SLC": np.array([7, 7], np.int32)}), shim)
    with pytest.raises(InputError, match="neither a SLC label"):
        apply_shim(hard_program(0.2), shim)


def test_our_own_slices_play_the_shim_of_the_place_they_lie_at():
    scanner = lb.load_scanner("5T")
    program = lb.build_program(lb.load_protocol("brain/t2-tse"), scanner)
    slices = slices_of(program)
    n = len(slices.positions)
    rng = np.random.default_rng(0)
    shim = Shim("mls", "mask", rng.normal(size=(n, 8)) + 0j, 0.07, slices)
    shimmed = apply_shim(program, shim)
    playing = np.flatnonzero(program.blocks[:, Column.RF] >= 0)
    assert np.array_equal(shimmed.blocks[playing, Column.SHIM], program.labels["SLC"][playing])
    unlabelled = replace(program, labels={k: v for k, v in program.labels.items() if k != "SLC"})
    few = np.concatenate((playing[:40], playing[-40:]))  # the label agrees with where the frequency lies
    by_place = apply_shim(
        replace(unlabelled, blocks=program.blocks[few], durations=program.durations[few], labels={}), shim
    )
    assert np.array_equal(by_place.blocks[:, Column.SHIM], program.labels["SLC"][few])
    with pytest.raises(InputError, match="does not say which slices"):
        slices_of(lb.build_program(lb.load_protocol("brain/t1-mprage"), scanner))
