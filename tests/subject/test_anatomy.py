import numpy as np
import pytest

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import (
    AIR,
    PointCloud,
    Subject,
    nearest_voxel,
    point_share,
    tissue_fraction,
    tissue_index,
    voxel_volume,
)
from lauterbur.subject.parameters import parameters, point_parameters, susceptibility
from lauterbur.subject.phantoms import orientation, sphere
from lauterbur.subject.points import add_points, line
from lauterbur.subject.resample import resample
from lauterbur.subject.tissues import read_tissues

TISSUES = (AIR, *(read_tissues()[name] for name in ("white matter", "venous blood", "fat")))


def block(fraction=1.0, n=6):
    labels = np.ones((1, n, n + 1, n + 2), np.uint8)
    affine = np.diag([1e-3, 2e-3, 3e-3, 1.0])
    affine[:3, 3] = [-4e-3, -5e-3, -6e-3]
    return Subject("block", labels, np.full(labels.shape, fraction, np.float32), affine, TISSUES)


def everything(subject):
    """Volume of all that is not air, m3."""
    filled = subject.fraction.sum(dtype=float) * voxel_volume(subject)
    return filled + (0 if subject.points is None else subject.points.volume.sum())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fraction": np.full((1, 6, 7, 8), 1.5, np.float32)}, "add up to at most 1"),
        ({"fraction": np.full((1, 6, 7, 8), np.nan, np.float32)}, "add up to at most 1"),
        ({"labels": np.full((1, 6, 7, 8), 9, np.uint8)}, "label 9 has no tissue"),
        ({"affine": np.zeros((4, 4))}, "invertible"),
        ({"maps": {"t3": np.zeros((6, 7, 8), np.float32)}}, "unknown map"),
        ({"maps": {"t1": np.zeros((6, 7), np.float32)}}, "the grid is"),
        ({"continues": ("down",)}, "unknown faces"),
    ],
)
def test_a_contradictory_subject_is_refused_with_the_reason(change, words):
    sound = block()
    fields = dict(name="x", labels=sound.labels, fraction=sound.fraction, affine=sound.affine, tissues=TISSUES)
    with pytest.raises(InputError, match=words):
        Subject(**{**fields, **change})


def test_points_displace_what_they_lie_in_and_no_volume_is_lost_or_gained():
    subject = block()
    rng = np.random.default_rng(1)
    place = rng.uniform([-4e-3, -5e-3, -6e-3], [2e-3, 6e-3, 8e-3], (200, 3))
    cloud = PointCloud(place, rng.uniform(1e-12, 1e-10, 200), np.full(200, 2))
    filled = add_points(add_points(subject, cloud), cloud)
    assert everything(filled) == pytest.approx(everything(subject), rel=1e-6)
    np.testing.assert_allclose(filled.fraction.sum(0) + point_share(filled, filled.points), 1, atol=1e-6)


def test_in_a_voxel_half_air_points_take_from_air_and_tissue_alike():
    subject = block(fraction=0.5)
    cloud = PointCloud(np.zeros((1, 3)), np.array([0.2 * voxel_volume(subject)]), np.array([2]))
    filled = add_points(subject, cloud)
    z, y, x = nearest_voxel(subject, cloud.position)[0]
    assert filled.fraction[0, z, y, x] == pytest.approx(0.4)
    assert tissue_fraction(filled, "air")[z, y, x] == pytest.approx(0.4)


def test_points_that_overfill_a_voxel_or_lie_outside_are_refused():
    subject = block()
    with pytest.raises(InputError, match="times the voxel"):
        add_points(subject, PointCloud(np.zeros((3, 3)), np.full(3, 0.4 * voxel_volume(subject)), np.full(3, 2)))
    with pytest.raises(InputError, match="outside the grid"):
        add_points(subject, PointCloud(np.full((1, 3), 0.5), np.array([1e-12]), np.array([2])))


def test_susceptibility_is_the_mean_over_compartments_points_and_air():
    subject = block(fraction=0.5)
    white, air, blood = TISSUES[1].susceptibility, AIR.susceptibility, TISSUES[2].susceptibility
    np.testing.assert_allclose(susceptibility(subject), 0.5 * white + 0.5 * air, rtol=1e-5)
    filled = add_points(block(), PointCloud(np.zeros((1, 3)), np.array([0.3 * voxel_volume(subject)]), np.array([2])))
    z, y, x = nearest_voxel(filled, np.zeros((1, 3)))[0]
    assert susceptibility(filled)[z, y, x] == pytest.approx(0.7 * white + 0.3 * blood, abs=1e-5)


def test_a_vessel_has_the_volume_of_its_cylinder_and_its_tissue_when_played():
    cloud = line([-3e-3, 0, 0], [2e-3, 1e-3, 0], radius=1e-4, step=1e-4, tissue=2)
    length = np.hypot(5e-3, 1e-3)
    assert cloud.volume.sum() == pytest.approx(np.pi * 1e-8 * length)
    filled = add_points(block(), cloud)
    played = point_parameters(filled, 5.0)
    assert set(played.tissue) == {2} and len(played.t1) == len(cloud.volume)
    total = (played.fraction.sum(dtype=float) + parameters(filled, 5.0).fraction.sum(dtype=float)) * voxel_volume(
        filled
    )
    assert total == pytest.approx(everything(filled), rel=1e-6)


def test_the_ball_has_its_volume_at_any_voxel():
    for spacing in (2e-3, 3.7e-3):
        ball = sphere(radius=50e-3, spacing=spacing)
        assert everything(ball) == pytest.approx(4 / 3 * np.pi * 50e-3**3, rel=2e-3)


def test_resampling_keeps_the_volume_of_every_tissue_and_its_place():
    fine = orientation(spacing=2e-3)
    for step in (4e-3, 5e-3, [3e-3, 5e-3, 4e-3]):
        coarse = resample(fine, step)
        for tissue in fine.tissues[1:]:
            before, after = tissue_fraction(fine, tissue.name), tissue_fraction(coarse, tissue.name)
            volumes = before.sum(dtype=float) * voxel_volume(fine), after.sum(dtype=float) * voxel_volume(coarse)
            assert volumes[1] == pytest.approx(volumes[0], rel=1e-3)
            np.testing.assert_allclose(centroid(coarse, after), centroid(fine, before), atol=0.1 * np.max(step))


def test_resampling_to_the_same_voxel_changes_nothing():
    fine = orientation(spacing=5e-3)
    same = resample(fine, 5e-3)
    np.testing.assert_allclose(same.affine, fine.affine)
    for tissue in fine.tissues:
        np.testing.assert_allclose(tissue_fraction(same, tissue.name), tissue_fraction(fine, tissue.name), atol=1e-6)


def test_resampling_maps_averages_rates_weighted_by_protons():
    subject = block()
    maps = {name: np.ones((6, 7, 8), np.float32) for name in ("proton_density", "t1", "off_resonance")}
    maps["t1"][:, :, ::2] = 0.5
    maps["off_resonance"][:, :, ::2] = 11
    mapped = Subject("m", subject.labels, subject.fraction, subject.affine, TISSUES, maps=maps, map_field_strength=3.0)
    coarse = resample(mapped, [2e-3, 2e-3, 3e-3])
    np.testing.assert_allclose(coarse.maps["t1"], 1 / 1.5, rtol=1e-5)
    np.testing.assert_allclose(coarse.maps["off_resonance"], 6, rtol=1e-5)


def centroid(subject, fraction):
    index = np.array([(fraction * grid).sum(dtype=float) for grid in np.indices(fraction.shape)]) / fraction.sum(
        dtype=float
    )
    return subject.affine[:3, :3] @ index[::-1] + subject.affine[:3, 3]


def test_the_orientation_phantom_differs_from_each_of_its_mirror_images_and_names_its_directions():
    body = orientation(spacing=3e-3)
    water, fat, agar = (tissue_fraction(body, name) for name in ("water", "fat", "agar"))
    whole = water + fat + agar
    for picture in (water, whole):
        for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
            if picture is whole and axes == (2,):
                continue  # the outside alone is the same left and right, as a face is
            assert np.abs(picture - np.flip(picture, axes)).sum() > 0.01 * picture.sum()
    assert centroid(body, water)[0] > 2e-3  # more water on the left (+x)
    assert centroid(body, fat)[1] > 50e-3  # fat at the back (+y)
    n_z, n_y, _ = whole.shape
    assert whole[-n_z // 8 :].sum() > 4 * whole[: n_z // 8].sum()  # the cap, towards the head (+z)
    assert whole[:, : n_y // 6].sum() > 20 * whole[:, -n_y // 8 :].sum()  # the nose, in front (-y)


def test_a_tissue_is_found_by_name_or_the_names_are_given():
    assert tissue_index(block(), "fat") == 3
    with pytest.raises(InputError, match="white matter"):
        tissue_index(block(), "cheese")
