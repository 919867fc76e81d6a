"""A varied subject is the same one, larger, elsewhere, turned: its tissues keep their volumes; targets are where they are named."""

from dataclasses import replace
from functools import cache

import nibabel
import numpy as np
import pytest

from lauterbur.errors import FileFormatError, InputError, ResourceError
from lauterbur.subject.anatomy import PARTS, PointCloud, tissue_fraction, voxel_volume
from lauterbur.subject.library import load_subject
from lauterbur.subject.phantoms import orientation
from lauterbur.subject.points import add_points
from lauterbur.subject.population import KINDS, WIDEST, population, vary
from lauterbur.subject.resample import resample
from lauterbur.subject.targets import target_mask, target_names
from lauterbur.subject.torso.build import torso
from lauterbur.units import deg, mm

HEAD = PARTS.index("head")


@cache
def head4():
    return load_subject("head", spacing=4 * mm)


@cache
def torso8():
    return torso(spacing=8 * mm)


def centre(subject, name):
    filled = tissue_fraction(subject, name)
    index = [
        np.average(np.arange(n), weights=filled.sum(axis=tuple(a for a in range(3) if a != axis)))
        for axis, n in enumerate(filled.shape)
    ]
    return (subject.affine @ [*index[::-1], 1])[:3]


def volume(subject, name):
    return float(tissue_fraction(subject, name).sum(dtype=float)) * voxel_volume(subject)


def test_without_a_tilt_nothing_is_resampled():
    one = head4()
    other = vary(one, scale=(1.1, 1.0, 0.9), shift=(0, 0, 5 * mm))
    assert other.labels is one.labels and other.fraction is one.fraction
    np.testing.assert_allclose(
        centre(other, "putamen"), centre(one, "putamen") * [1.1, 1.0, 0.9] + [0, 0, 5 * mm], atol=1e-9
    )
    assert other.body_mass == pytest.approx(75 * 0.99)


@pytest.mark.parametrize("axis", range(3))
def test_a_tilt_turns_by_the_right_hand_and_keeps_volumes(axis):
    one = replace(orientation(spacing=3 * mm), part=None)
    angle = np.zeros(3)
    angle[axis] = 12 * deg
    turned = vary(one, tilt=angle)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    expected = centre(one, "fat")
    before = expected.copy()
    expected[first] = np.cos(angle[axis]) * before[first] - np.sin(angle[axis]) * before[second]
    expected[second] = np.sin(angle[axis]) * before[first] + np.cos(angle[axis]) * before[second]
    np.testing.assert_allclose(centre(turned, "fat"), expected, atol=0.2 * mm)
    for name in ("agar", "fat", "water"):
        assert volume(turned, name) == pytest.approx(volume(one, name), rel=0.01)
    assert turned.fraction.sum(axis=0).max() <= 1 + 1e-5
    np.testing.assert_allclose(turned.affine[:3, :3], np.diag([3 * mm] * 3))


def test_there_and_back_is_nearly_the_same():
    one = orientation(spacing=4 * mm)
    back = vary(vary(one, tilt=(0, 10 * deg, 0)), tilt=(0, -10 * deg, 0))
    for name in ("fat", "water"):
        np.testing.assert_allclose(centre(back, name), centre(one, name), atol=0.3 * mm)
        assert volume(back, name) == pytest.approx(volume(one, name), rel=0.02)


def test_a_turned_head_keeps_its_partial_volumes_and_its_neck():
    one = head4()
    turned = vary(one, tilt=(8 * deg, -4 * deg, 5 * deg), scale=1.03)
    for name in ("grey matter", "white matter", "putamen"):
        assert volume(turned, name) == pytest.approx(volume(one, name) * 1.03**3, rel=0.015)
    total = turned.fraction.sum(axis=0)
    assert total.max() <= 1 + 1e-5 and set(np.unique(turned.part)) == {0, HEAD}
    np.testing.assert_array_equal(turned.part > 0, total > 0)
    area = [(s.fraction.sum(axis=0) > 0.5)[0].sum() for s in (one, turned)]
    assert area[1] > 0.7 * area[0]  # the neck goes on below, it does not end in a wedge
    assert turned.continues == ("-z",)


def test_points_move_with_the_subject():
    one = orientation(spacing=4 * mm)
    dotted = add_points(one, PointCloud(np.array([[0.02, 0.01, 0.03]]), np.array([1e-9]), np.array([2], np.uint8)))
    moved = vary(dotted, scale=1.1, shift=(0.01, 0, 0), tilt=(0, 0, 90 * deg / 4))
    c, s = np.cos(np.pi / 8), np.sin(np.pi / 8)
    np.testing.assert_allclose(
        moved.points.position[0], [1.1 * (0.02 * c - 0.01 * s) + 0.01, 1.1 * (0.02 * s + 0.01 * c), 0.033]
    )
    assert moved.points.volume[0] == pytest.approx(1.331e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 5.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"shift": (0, 0, 3.0)}, "shift"),
        ({"tilt": 2.0}, "tilt"),
        ({"tilt": (0, np.nan, 0)}, "tilt"),
    ],
)
def test_impossible_variations_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        vary(head4(), **change)


def test_what_cannot_be_tilted_says_so():
    one = orientation(spacing=8 * mm)
    mapped = replace(one, maps={"off_resonance": np.zeros(one.labels.shape[1:], np.float32)}, map_field_strength=5.0)
    with pytest.raises(InputError, match="off_resonance"):
        vary(mapped, tilt=0.1)
    sheared = one.affine.copy()
    sheared[0, 1] = 0.1 * sheared[0, 0]
    with pytest.raises(InputError, match="axes"):
        vary(replace(one, affine=sheared), tilt=0.1)
    tiny = one.affine.copy()
    tiny[:3, :3] *= [1e-5, 1, 1]
    with pytest.raises(ResourceError, match="coarser"):
        vary(replace(one, affine=tiny), tilt=(0, 0, 40 * deg))


def test_a_population_of_heads_varies_and_repeats():
    first, again = (
        list(population("head", 3, seed=5, spacing=6 * mm)),
        list(population("head", 3, seed=5, spacing=6 * mm)),
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.affine, b.affine)
    assert len({a.labels.shape for a in first}) > 1 and len({a.seed for a in first}) == 3
    volumes = [volume(a, "white matter") for a in first]
    assert np.std(volumes) > 0.02 * np.mean(volumes)
    assert all(a.body_mass == 75 for a in first)
    other = next(population("head", 1, seed=6, spacing=6 * mm))
    assert not np.array_equal(other.affine, first[0].affine)


def test_a_population_of_torsos_fits_the_bore():
    some = list(population("torso", 3, seed=2, spacing=12 * mm, breathing=0.5))
    assert len({round(a.body_mass) for a in some}) == 3
    for one in some:
        filled = np.argwhere((one.fraction.sum(axis=0) > 0.5).any(axis=0)) * 12 * mm
        middle = (filled.min(axis=0) + filled.max(axis=0)) / 2
        assert np.hypot(*(filled - middle).T).max() < WIDEST + 12 * mm
        assert "breathing 0.5" in one.source
    women = population("torso", 2, seed=1, spacing=12 * mm, sex="female")
    assert all("female" in one.source for one in women)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("elephant", 3), ", ".join(KINDS)),
        (("head", 0), "from 1"),
        (("head", 2.5), "from 1"),
        (("head", True), "from 1"),
    ],
)
def test_impossible_populations_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        population(*given)


def test_torsos_that_never_fit_are_refused_at_last(monkeypatch):
    monkeypatch.setattr("lauterbur.subject.population.MOST_DRAWS", 2)
    with pytest.raises(InputError, match=r"none of 2 torsos.*arms=False"):
        next(population("torso", 1, height=1.7, weight=120.0))


def test_a_head_cannot_be_breathing():
    with pytest.raises(InputError, match="breathing"):
        population("head", 1, breathing=1.0)


# parts, body mass and targets


def test_the_head_is_all_head():
    one = load_subject("head", spacing=3 * mm)
    assert one.body_mass == 75.0
    np.testing.assert_array_equal(one.part > 0, one.fraction.sum(axis=0) > 0)
    assert set(np.unique(one.part)) == {0, HEAD}


def test_resampling_keeps_parts_where_they_are():
    coarse = resample(torso8(), 16 * mm)
    assert coarse.body_mass == torso8().body_mass
    np.testing.assert_array_equal(coarse.part > 0, coarse.fraction.sum(axis=0) > 0)
    for index in (PARTS.index("trunk"), PARTS.index("limb")):
        fine_volume = (torso8().part == index).sum() * voxel_volume(torso8())
        assert (coarse.part == index).sum() * voxel_volume(coarse) == pytest.approx(fine_volume, rel=0.35)
    same = resample(torso8(), 8 * mm)
    np.testing.assert_array_equal(same.part, torso8().part)
    empty = replace(torso8(), part=np.zeros_like(torso8().part))
    assert resample(empty, 16 * mm).part.max() == 0


def test_the_brain_is_in_the_head_and_the_heart_in_the_torso():
    brain = target_mask(head4(), "brain")
    assert 1.0 < brain.sum() * voxel_volume(head4()) * 1e3 < 1.8  # litres
    one = torso(spacing=5 * mm)
    heart, muscle = target_mask(one, "heart"), target_mask(one, "myocardium")
    assert 0.35 < heart.sum() * voxel_volume(one) * 1e3 < 0.8
    assert np.all(heart | ~muscle) and heart.sum() > 2 * muscle.sum()
    z = one.affine[2, 3] + one.affine[2, 2] * np.argwhere(target_mask(one, "pelvis"))[:, 0]
    assert z.max() < -200 * mm
    assert not (target_mask(one, "pelvis") & (one.part == PARTS.index("limb"))).any()
    assert target_mask(one, "body").sum() > 300_000


def test_every_target_named_is_found():
    for subject in (head4(), torso8()):
        for name in target_names(subject):
            mask = target_mask(subject, name)
            assert mask.shape == subject.labels.shape[1:] and mask.any()
    assert {"heart", "liver", "pelvis", "trunk", "limb"} <= set(target_names(torso8()))
    assert {"brain", "head"} <= set(target_names(head4()))


@pytest.mark.parametrize(
    ("subject", "target", "words"),
    [
        (head4, "liver", "head has no liver; it has body, brain"),
        (head4, "limb", "has no limb"),
        (torso8, "brain", "torso has no brain"),
        (torso8, "cheese", "no target 'cheese'.*tissue by its name: arterial blood"),
        (torso8, "air", "no target 'air'"),
    ],
)
def test_a_target_that_is_not_there_is_refused_with_those_that_are(subject, target, words):
    with pytest.raises(InputError, match=words):
        target_mask(subject(), target)


def test_a_target_too_small_for_the_grid_says_so():
    coarse = resample(load_subject("head", spacing=3 * mm), 30 * mm)
    with pytest.raises(InputError, match="finer"):
        target_mask(coarse, "eyes")


def described(folder, text):
    for name, values in (
        ("labels", np.full((3, 4, 5), 1)),
        ("part", np.full((3, 4, 5), 3)),
        ("bad", np.full((3, 4, 5), 9)),
        ("half", np.full((3, 4, 5), 0.5)),
    ):
        nibabel.save(nibabel.Nifti1Image(values.T.astype(np.float32), np.diag([2.0, 2, 2, 1])), folder / f"{name}.nii")
    (folder / "s.toml").write_text(text + '\n[labels]\nfile = "labels.nii"\nnames = { 1 = "fat" }\n')
    return load_subject(folder / "s.toml")


def test_a_users_subject_can_say_its_parts_and_its_mass(tmp_path):
    one = described(tmp_path, 'body_mass_kg = 68.5\npart = "part.nii"')
    assert one.body_mass == 68.5 and np.all(one.part == PARTS.index("limb"))
    other = described(tmp_path, "")
    assert other.body_mass is None and other.part is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("body_mass_kg = 0", "body_mass_kg.*0.5 to 500"),
        ("body_mass_kg = nan", "body_mass_kg"),
        ('body_mass_kg = "heavy"', "body_mass_kg"),
        ('part = "bad.nii"', "parts of the body"),
        ('part = "half.nii"', "not whole"),
        ("part = 3", "must name"),
    ],
)
def test_wrong_parts_and_masses_are_refused(tmp_path, text, words):
    with pytest.raises(FileFormatError, match=words):
        described(tmp_path, text)
