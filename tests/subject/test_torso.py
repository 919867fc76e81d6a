"""The torso is a person: its organs lie where they do, weigh what they do, move with breath and heartbeat and keep their volume."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from lauterbur.errors import FileFormatError, InputError, ResourceError
from lauterbur.fields.dielectrics import dielectric
from lauterbur.subject.anatomy import PARTS, tissue_fraction, voxel_volume
from lauterbur.subject.library import load_subject
from lauterbur.subject.parameters import parameters
from lauterbur.subject.targets import target_mask
from lauterbur.subject.torso.build import LANDMARKS, torso
from lauterbur.subject.torso.canvas import canvas, finish_, paint_
from lauterbur.subject.torso.frame import frame
from lauterbur.subject.torso.heart import LEFT_VENTRICLE, LEFT_WALL, heart, volume
from lauterbur.subject.torso.shapes import (
    ellipsoid,
    grown,
    mirrored,
    moved,
    plate,
    rounded,
    smooth_minimum,
    spread_out,
    tube,
    union,
    without,
)  # fmt: skip
from lauterbur.subject.torso.sizing import ARM_SHARE, TRUNK_SHARE, half_width, shaped, tissue_volume
from lauterbur.units import mm

STEP = 4 * mm
MAN = {"sex": "male", "height": 1.76, "weight": 73.0}  # ICRP Publication 89
WOMAN = {"sex": "female", "height": 1.63, "weight": 60.0}
# g, of the reference man and woman (ICRP Publication 89), and how far ours may be off
MASSES = {
    "liver": (1800, 1400),
    "spleen": (150, 130),
    "kidneys": (310, 275),
    "stomach": (400, 370),
    "lungs": (1200, 950),
}
SLACK = {"liver": 0.12, "spleen": 0.2, "kidneys": 0.2, "stomach": 0.25, "lungs": 0.25}
ORGANS = {
    "kidneys": ("kidney cortex", "kidney medulla"), "stomach": ("stomach", "stomach contents"), "lungs": ("lung",),
}  # fmt: skip


@cache
def body(**given):
    return torso(spacing=STEP, **given)


def share(subject, organ):
    return sum(tissue_fraction(subject, name) for name in ORGANS.get(organ, (organ,)))


def litres(subject, organ):
    return float(share(subject, organ).sum(dtype=float)) * voxel_volume(subject) * 1e3


def centre(subject, organ):
    """m, patient."""
    filled = share(subject, organ)
    index = [
        np.average(np.arange(n), weights=filled.sum(axis=tuple(a for a in range(3) if a != axis)))
        for axis, n in enumerate(filled.shape)
    ]
    return (subject.affine @ [*index[::-1], 1])[:3]


def mass(subject):
    density = np.array([0.0, *(tissue.density for tissue in subject.tissues[1:])])
    return float((density[subject.labels] * subject.fraction).sum(dtype=float)) * voxel_volume(subject)


@pytest.mark.parametrize("given", [MAN, WOMAN], ids=["man", "woman"])
@pytest.mark.parametrize("organ", MASSES)
def test_organs_weigh_what_those_of_the_reference_person_weigh(organ, given):
    wanted = MASSES[organ][0 if given is MAN else 1] * 1e-3
    subject = body(**given)
    names = ORGANS.get(organ, (organ,))
    weight = sum(
        tissue_fraction(subject, t.name).sum(dtype=float) * t.density for t in subject.tissues if t.name in names
    ) * voxel_volume(subject)
    assert weight == pytest.approx(wanted, rel=SLACK[organ])


@pytest.mark.parametrize(
    "given",
    [
        MAN,
        WOMAN,
        {"height": 1.9, "weight": 110.0},
        {"sex": "female", "height": 1.55, "weight": 45.0},
        {**MAN, "arms": False},
    ],
    ids=["man", "woman", "heavy", "light", "armless"],
)
def test_it_weighs_its_share_of_the_body(given):
    subject = body(**given)
    wanted = subject.body_mass * (TRUNK_SHARE + (ARM_SHARE if given.get("arms", True) else 0))
    assert mass(subject) == pytest.approx(wanted, rel=0.03)
    assert subject.body_mass == given["weight"]


def test_organs_lie_on_their_side():
    subject = body()
    x = {
        name: centre(subject, name)[0]
        for name in ("liver", "bile", "spleen", "stomach", "myocardium", "bladder", "spinal cord")
    }
    assert x["liver"] < -30 * mm and x["bile"] < -30 * mm
    assert x["spleen"] > 50 * mm and x["stomach"] > 30 * mm and x["myocardium"] > 15 * mm
    assert abs(x["bladder"]) < 3 * mm and abs(x["spinal cord"]) < 2 * mm


def test_head_and_foot_front_and_back_are_where_they_belong():
    subject = body()
    z = {name: centre(subject, name)[2] for name in ("lungs", "myocardium", "liver", "kidneys", "bladder")}
    assert z["lungs"] > z["myocardium"] > z["liver"] > z["kidneys"] > z["bladder"]
    y = {name: centre(subject, name)[1] for name in ("myocardium", "spinal cord", "kidneys", "small intestine")}
    assert y["myocardium"] < -20 * mm and y["small intestine"] < y["kidneys"] < y["spinal cord"]
    right, left = (target_mask(subject, "kidneys") & side for side in _sides(subject))
    assert np.argwhere(right)[:, 0].mean() < np.argwhere(left)[:, 0].mean()  # the liver stands on the right one


def _sides(subject):
    x = subject.affine[0, 3] + subject.affine[0, 0] * np.arange(subject.labels.shape[3])
    return x[None, None] < 0, x[None, None] > 0


def test_skin_muscle_and_ribs_are_alike_on_both_sides_and_organs_are_not():
    subject = body()
    for name, alike in (("skin", True), ("muscle", True), ("cortical bone", True), ("liver", False), ("spleen", False)):
        filled = tissue_fraction(subject, name)
        off = np.abs(filled - filled[:, :, ::-1]).sum() / filled.sum()
        assert off < 0.06 if alike else off > 0.9, (name, off)


@pytest.mark.parametrize("name", ["liver", "spleen", "bladder", "spinal cord", "myocardium", "skin", "stomach"])
def test_an_organ_is_one_piece(name):
    parts, _ = ndimage.label(
        target_mask(body(), name) if name != "skin" else tissue_fraction(body(), name) > 0.2, np.ones((3, 3, 3))
    )
    sizes = np.bincount(parts.ravel())[1:]
    assert sizes.max() > (0.97 if name != "skin" else 0.9) * sizes.sum()


def test_two_lungs_and_two_kidneys():
    for target in ("lungs", "kidneys"):
        parts, _ = ndimage.label(target_mask(body(), target))
        sizes = np.sort(np.bincount(parts.ravel())[1:])[::-1]
        assert sizes[:2].sum() > 0.95 * sizes.sum() and sizes[1] > 0.5 * sizes[0]


def test_partial_volumes_add_up_and_the_inside_is_full():
    subject = body()
    total = subject.fraction.sum(axis=0)
    assert total.max() <= 1 + 1e-4 and subject.fraction.min() >= 0
    assert np.all(np.diff(subject.fraction, axis=0) <= 1e-6)  # the largest first
    assert np.all((subject.labels == 0) == (subject.fraction == 0))
    inside = ndimage.binary_erosion(total > 0.99, iterations=1)
    assert 0.3 < (subject.fraction[0][inside] > 0.999).mean()
    border = ((total > 0.01) & (total < 0.99)).sum()
    assert 0.03 < border / (total > 0.99).sum() < 0.3


def test_a_finer_grid_holds_the_same_body():
    fine, coarse = torso(spacing=3 * mm, arms=False), torso(spacing=6 * mm, arms=False)
    for organ in ("liver", "kidneys", "lungs", "muscle", "fat"):
        assert litres(coarse, organ) == pytest.approx(litres(fine, organ), rel=0.03)
        if organ not in ("muscle", "fat"):  # which the ends of the grid cut
            np.testing.assert_allclose(centre(coarse, organ), centre(fine, organ), atol=1.5 * mm)


def test_every_tissue_has_signal_or_says_why_and_a_dielectric():
    subject = body()
    present = np.unique(subject.labels)
    assert set(present) == set(range(len(subject.tissues)))
    for tissue in subject.tissues[1:]:
        assert tissue.proton_density > 0 and 300 < tissue.density < 2000
        permittivity, conductivity = dielectric(tissue.dielectric, 210.8e6)
        assert 4 < permittivity < 90 and conductivity > 0.01
    found = parameters(subject, 4.95)
    assert np.isfinite(found.t1).all() and (found.t1 > 0.05).all() and (found.t2 < found.t1).all()


def test_parts_cover_the_body_and_nothing_else():
    subject = body()
    filled = subject.fraction.sum(axis=0) > 0
    np.testing.assert_array_equal(subject.part > 0, filled)
    counts = np.bincount(subject.part.ravel(), minlength=len(PARTS))
    limb, trunk = counts[PARTS.index("limb")], counts[PARTS.index("trunk")]
    assert counts[PARTS.index("head")] == 0 and 0.08 < limb / (limb + trunk) < 0.2
    x = np.abs(subject.affine[0, 3] + subject.affine[0, 0] * np.arange(subject.part.shape[2]))
    assert x[np.argwhere(subject.part == PARTS.index("limb"))[:, 2]].min() > 100 * mm
    assert set(np.unique(body(arms=False).part)) == {0, PARTS.index("trunk")}


def test_the_neck_and_the_thighs_go_on():
    subject = body()
    assert subject.continues == ("-z", "+z")
    filled = subject.fraction.sum(axis=0)
    assert filled[0].max() == pytest.approx(1) and filled[-1].max() == pytest.approx(1)
    assert filled[:, 0].max() == filled[:, -1].max() == filled[:, :, 0].max() == filled[:, :, -1].max() == 0


def test_a_breath_moves_organs_down_and_keeps_their_volume():
    out, breathed_in = body(), body(breathing=1.0)
    for organ, least, most in (("liver", 10, 20), ("spleen", 10, 20), ("kidneys", 7, 14), ("myocardium", 4, 12)):
        way = centre(breathed_in, organ) - centre(out, organ)
        assert least * mm < -way[2] < most * mm, organ
        assert np.abs(way[:2]).max() < 3 * mm
        assert litres(breathed_in, organ) == pytest.approx(litres(out, organ), rel=0.03), organ
    assert 0.3 < litres(breathed_in, "lungs") - litres(out, "lungs") < 0.8
    assert np.linalg.norm(centre(breathed_in, "bladder") - centre(out, "bladder")) < 2 * mm


def test_the_belly_rises_by_what_the_lung_takes():
    out, breathed_in = (shaped(frame(**MAN, breathing=b)) for b in (0.0, 1.0))
    assert out.swell == 0 and 3 < breathed_in.swell < 30
    assert tissue_volume(breathed_in) == pytest.approx(tissue_volume(out), rel=1e-3)
    assert breathed_in.girth == pytest.approx(out.girth, abs=0.1)


def test_half_a_breath_lies_between():
    z = [centre(body(breathing=b), "liver")[2] for b in (0.0, 0.5, 1.0)]
    assert z[0] - z[1] == pytest.approx(z[1] - z[2], abs=1 * mm)


def test_the_heart_ejects_and_its_muscle_keeps_its_volume():
    rest, beat = heart(frame(**MAN)), heart(frame(**MAN, heartbeat=0.35))
    for chamber in ("left_ventricle", "right_ventricle"):
        full, empty = volume(getattr(rest, chamber)), volume(getattr(beat, chamber))
        assert 0.50 < 1 - empty / full < 0.70, chamber
    for chamber in ("left_atrium", "right_atrium"):
        assert volume(getattr(beat, chamber)) > 1.4 * volume(getattr(rest, chamber))
    assert volume(rest.left_ventricle) == pytest.approx(LEFT_VENTRICLE[0], rel=0.02)
    for h in (rest, beat):
        assert volume(without(h.left_wall, h.left_ventricle.distance)) == pytest.approx(LEFT_WALL, rel=0.04)
    whole = [volume(union([h.left_wall, h.right_wall, h.left_atrium, h.right_atrium])) for h in (rest, beat)]
    assert whole[1] == pytest.approx(whole[0], rel=0.12)


def test_the_painted_heart_contracts():
    rest, beat = body(), body(heartbeat=0.35)
    assert litres(beat, "myocardium") == pytest.approx(litres(rest, "myocardium"), rel=0.12)
    chambers = [float((target_mask(s, "heart") & ~target_mask(s, "myocardium")).sum()) for s in (rest, beat)]
    assert chambers[1] < 0.9 * chambers[0]


def test_the_cycle_closes():
    assert frame(**MAN, heartbeat=1.0).contraction == pytest.approx(frame(**MAN, heartbeat=0.0).contraction, abs=1e-9)
    course = [frame(**MAN, heartbeat=t).contraction for t in np.linspace(0, 1, 50)]
    assert max(course) > 0.99 and min(course) >= 0 and 0.3 < np.argmax(course) / 49 < 0.4


def test_taller_and_heavier_people_are_larger():
    small, tall, stout = body(height=1.6, weight=60.0), body(height=1.9, weight=85.0), body(height=1.6, weight=95.0)
    assert tall.labels.shape[1] > small.labels.shape[1]
    assert litres(stout, "fat") > 1.8 * litres(small, "fat")
    assert litres(tall, "liver") > 1.1 * litres(small, "liver")
    assert half_width(sex="male", height=1.6, weight=95.0) > half_width(sex="male", height=1.6, weight=60.0)


def test_the_usual_man_fits_the_bore_with_his_arms():
    assert half_width(sex="male", height=1.75, weight=75.0) < 0.30
    subject = body()
    filled = np.argwhere(subject.fraction.sum(axis=0).max(axis=0) > 0.5) * STEP
    middle = (filled.min(axis=0) + filled.max(axis=0)) / 2
    assert half_width(sex="male", height=1.75, weight=75.0) == pytest.approx(
        np.hypot(*(filled - middle).T).max(), abs=8 * mm
    )


def test_a_landmark_comes_to_the_isocentre():
    for landmark, organ in (("heart", "myocardium"), ("liver", "liver"), ("pelvis", None)):
        moved_one = torso(spacing=10 * mm, landmark=landmark)
        plain = torso(spacing=10 * mm)
        assert plain.affine[2, 3] - moved_one.affine[2, 3] == pytest.approx(LANDMARKS[landmark] * mm, rel=0.02)
        if organ:
            assert abs(centre(moved_one, organ)[2]) < 25 * mm


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"height": 0.2}, "height is 0.2.*1.2 to 2.2 m"),
        ({"height": float("nan")}, "height is nan"),
        ({"height": "tall"}, "height"),
        ({"height": True}, "height"),
        ({"weight": float("inf")}, "weight is inf"),
        ({"weight": 31.0}, "body mass index of 10.1.*46 to 138 kg"),
        ({"weight": 240.0}, "body mass index"),
        ({"sex": "other"}, "'male' or 'female'"),
        ({"breathing": 1.5}, "breathing is 1.5"),
        ({"breathing": float("nan")}, "breathing is nan"),
        ({"heartbeat": -0.1}, "heartbeat"),
        ({"landmark": "knee"}, "trunk, heart, liver, pelvis"),
        ({"spacing": 0.0}, "0.5 to 20 mm"),
        ({"spacing": float("nan")}, "0.5 to 20 mm"),
    ],
)
def test_impossible_people_are_refused_with_what_is_possible(given, words):
    with pytest.raises(InputError, match=words):
        torso(**given)


def test_too_fine_a_grid_is_refused_before_it_is_made():
    with pytest.raises(ResourceError, match="coarser"):
        torso(spacing=0.5 * mm)


def test_a_torso_from_a_file(tmp_path):
    text = 'kind = "torso"\nname = "volunteer 7"\nsex = "female"\nheight_cm = 163\nweight_kg = 60\nbreathing = 0.5\narms = false\nspacing_mm = 8\n'
    (tmp_path / "seven.toml").write_text(text)
    subject = load_subject(tmp_path / "seven.toml", seed=3)
    assert (subject.name, subject.body_mass, subject.seed) == ("volunteer 7", 60.0, 3)
    np.testing.assert_array_equal(subject.labels, torso(**WOMAN, breathing=0.5, arms=False, spacing=8 * mm).labels)
    assert load_subject(tmp_path / "seven.toml", spacing=10 * mm).affine[0, 0] == 10 * mm


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('kind = "elephant"', "only 'torso'"),
        ('kind = "torso"\nheight = 1.8', "height.*not known.*height_cm"),
        ('kind = "torso"\nheight_cm = 20', "1.2 to 2.2 m"),
        ('kind = "torso"\nheight_cm = nan', "height"),
        ('kind = "torso"\nheight_cm = "tall"', "must be a number"),
        ('kind = "torso"\nweight_kg = true', "must be a number"),
        ('kind = "torso"\nsex = 3', "must be a text"),
        ('kind = "torso"\nsex = "x"', "'male' or 'female'"),
        ('kind = "torso"\narms = 2', "true or false"),
        ('kind = "torso"\nname = "a\\u0007"', "short text"),
        ('kind = "torso"\nlandmark = "knee"', "landmark"),
    ],
)
def test_a_wrong_description_names_the_place(tmp_path, text, words):
    (tmp_path / "t.toml").write_text(text + "\n")
    with pytest.raises(FileFormatError, match=words):
        load_subject(tmp_path / "t.toml")


def test_the_library_makes_a_torso_at_any_spacing():
    subject = load_subject("torso", spacing=12 * mm, seed=2)
    assert subject.affine[0, 0] == 12 * mm and subject.name == "torso" and subject.seed == 2


AXES = tuple(np.arange(-30, 31, 1.0, dtype=np.float32) for _ in range(3))


def test_distances_of_shapes_are_those_of_a_plain_computation():
    x, y, z = spread_out(AXES)
    ball = ellipsoid((3, -2, 1), (12, 12, 12)).distance(AXES)
    np.testing.assert_allclose(ball, np.sqrt((x - 3) ** 2 + (y + 2) ** 2 + (z - 1) ** 2) - 12, atol=1e-3)
    rod = tube([(-10, 0, 0), (10, 0, 0)], 5).distance(AXES)
    along = np.clip(x, -10, 10)
    np.testing.assert_allclose(rod, np.sqrt((x - along) ** 2 + y**2 + z**2) - 5, atol=1e-3)
    egg = ellipsoid((0, 0, 0), (20, 10, 8))
    near = np.abs(egg.distance(AXES)) < 0.5
    assert np.abs(np.sqrt((x / 20) ** 2 + (y / 10) ** 2 + (z / 8) ** 2) - 1)[near].max() < 0.08
    np.testing.assert_allclose(grown(egg, 2).distance(AXES), egg.distance(AXES) - 2, atol=1e-5)
    np.testing.assert_allclose(
        mirrored(moved(egg, (5, 0, 0))).distance(AXES), moved(egg, (-5, 0, 0)).distance(AXES), atol=1e-4
    )


def test_smooth_unions_hold_both_and_little_more():
    a, b = np.linspace(-5, 5, 101), np.linspace(5, -5, 101)
    both = smooth_minimum(a, b, 4.0)
    assert np.all(both <= np.minimum(a, b) + 1e-6) and np.all(both >= np.minimum(a, b) - 1.0 - 1e-6)
    np.testing.assert_allclose(smooth_minimum(a, b, 0.0), np.minimum(a, b))


def test_shapes_stay_within_their_boxes():
    turned = ellipsoid((2, 3, -1), (15, 6, 9), np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0])
    bent = rounded([(-12, 0, 0), (0, 10, 5), (12, -5, -8)], (3, 5, 2))
    sheet = plate([(-10, 0, -5), (10, 0, -5)], [(-8, 6, 10), (8, 6, 10)], 2.5)
    for shape in (turned, bent, sheet, union([turned, bent], 4.0)):
        inside = np.argwhere(shape.distance(AXES) < 0)[:, ::-1] - 30.0
        assert len(inside) and np.all(inside >= shape.low - 1.5) and np.all(inside <= shape.high + 1.5)


def test_what_is_painted_displaces_what_lies_there():
    target = canvas(AXES, 1.0, ("air", "a", "b", "c", "d"))
    for name, radius in (("a", 20), ("b", 14), ("c", 13.7), ("d", 13.4), ("air", 6)):
        paint_(target, name, ellipsoid((0, 0, 0), (radius,) * 3))
    finish_(target)
    total = target.fraction.sum(axis=0)
    assert total.max() <= 1 + 1e-5
    assert total.sum() == pytest.approx(
        4 / 3 * np.pi * (20**3 - 6**3), rel=0.002
    )  # nothing lost where four tissues meet
    assert total[30, 30, 30] == 0 and target.labels[0, 30, 30, 40] == 4 and target.labels[0, 30, 30, 47] == 1


def test_a_heartbeat_leaves_what_does_not_beat():
    rest, beat = body(), body(heartbeat=0.35)
    for organ in ("liver", "kidneys", "bladder", "spleen"):
        assert litres(beat, organ) == pytest.approx(litres(rest, organ), rel=0.01)
    both = (rest.part > 0) & (beat.part > 0)  # vessels move in and out of the airways
    np.testing.assert_array_equal(rest.part[both], beat.part[both])


def test_the_frame_can_be_changed_by_later_work():
    still = shaped(frame(**MAN))
    assert replace(still, breathing=1.0).descent > still.descent == 0


def test_no_bone_looks_out_of_a_thin_body():
    subject = body(sex="female", height=1.6, weight=42.0)
    bone = tissue_fraction(subject, "cortical bone") + tissue_fraction(subject, "cancellous bone")
    outside = ndimage.binary_dilation(subject.fraction.sum(axis=0) < 0.05)
    assert (bone[outside] > 0.05).mean() < 4e-4  # 3e-4; 5e-4 where bones are not held back
