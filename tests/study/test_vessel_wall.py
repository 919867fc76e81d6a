"""Lumen and wall of tubes whose sizes are known, lesions that are or are not there."""

import math

import numpy as np
import pytest

from lauterbur.errors import InputError
from lauterbur.study.vessel_wall import painted, sections, seen, separation
from lauterbur.subject.anatomy import PointCloud
from lauterbur.subject.vasculature import Flap, Plaque, Vasculature
from lauterbur.subject.vessels import vessel
from lauterbur.units import mm

STEP = 0.25 * mm
SHAPE = (60, 64, 64)  # z, y, x
AFFINE = np.diag([STEP, STEP, STEP, 1.0])
AFFINE[:3, 3] = [-STEP * 32, -STEP * 32, -STEP * 30]


def straight(diameter=3 * mm, wall=1 * mm, name="tube", x=0.0):
    ends = np.array([[x, 0, -12 * mm], [x, 0, -4 * mm], [x, 0, 4 * mm], [x, 0, 12 * mm]])
    return vessel(name, ends, diameter, diameter, wall)


def image_of(diameter=3 * mm, wall=1 * mm, lumen=10.0, outside=20.0, blur=0.15 * mm):
    """(z, y, x): a tube along z with soft edges, exactly halfway up at the true radius."""
    x = STEP * (np.arange(SHAPE[2]) - 32)
    r = np.hypot(x[None, :], x[:, None])

    def edge(at):
        return 0.5 * (1 + np.vectorize(math.erf)((r - at) / (math.sqrt(2) * blur)))

    plane = lumen + (40 - lumen) * edge(diameter / 2) - (40 - outside) * edge(diameter / 2 + wall)
    return np.broadcast_to(plane, SHAPE).copy()


@pytest.mark.parametrize(("diameter", "wall"), [(2 * mm, 0.8 * mm), (3 * mm, 1 * mm), (4.5 * mm, 1.5 * mm)])
def test_a_tube_has_the_size_it_was_made_with(diameter, wall):
    found = sections(image_of(diameter, wall), AFFINE, Vasculature((straight(diameter, wall),)))
    assert len(found) >= 5
    for one in found:
        assert one.lumen == pytest.approx(diameter, abs=0.06 * mm)
        assert one.wall == pytest.approx(wall, abs=0.06 * mm)
        assert (one.true_lumen, one.true_wall) == (pytest.approx(diameter), wall)
        assert one.contrast == pytest.approx(4, rel=0.1)


def test_the_axes_of_the_image_may_point_anywhere():
    turned = np.transpose(image_of(), (2, 1, 0))[::-1]  # array axes x, y, z; the first backwards
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    affine[2, 0] = affine[1, 1] = STEP
    affine[0, 2] = -STEP
    affine[:3, 3] = [AFFINE[0, 3] + STEP * 63, AFFINE[1, 3], AFFINE[2, 3]]
    plain = sections(image_of(), AFFINE, Vasculature((straight(),)))
    other = sections(turned, affine, Vasculature((straight(),)))
    assert [s.lumen for s in other] == pytest.approx([s.lumen for s in plain], rel=1e-9)


def test_a_wall_thinner_than_the_blur_looks_as_wide_as_the_blur():
    blur = 0.4 * mm
    found = sections(image_of(wall=0.2 * mm, outside=10.0, blur=blur), AFFINE, Vasculature((straight(wall=0.2 * mm),)))
    width = 2 * math.sqrt(2 * math.log(2)) * blur
    assert np.mean([s.wall for s in found]) == pytest.approx(width, rel=0.1)


@pytest.mark.parametrize("blur", [0.25 * mm, 0.4 * mm])
def test_the_sharpness_of_an_edge_is_that_of_its_blur(blur):
    found = sections(image_of(4 * mm, 2 * mm, blur=blur), AFFINE, Vasculature((straight(4 * mm, 2 * mm),)))
    assert np.mean([s.sharpness for s in found]) == pytest.approx(1 / (math.sqrt(2 * math.pi) * blur), rel=0.06)


def test_an_edge_lost_in_noise_is_not_found():
    rng = np.random.default_rng(3)
    clear, lost = 1.0, 200.0
    tube = Vasculature((straight(),))
    for noise, none in ((clear, False), (lost, True)):
        found = sections(image_of() + noise * rng.standard_normal(SHAPE), AFFINE, tube, noise=noise)
        assert (np.mean([np.isnan(s.wall) for s in found]) > 0.5) == none


def test_only_lone_and_healthy_stretches_are_measured():
    tube = straight()
    place = (0.0, 0.0, 0.0)
    plaque = Plaque("tube", place, (1.0, 0.0, 0.0), 0.5, 4 * mm, 1 * mm)
    flap = Flap("tube", (0.0, 0.0, 0.0), (0.0, 0.0, 3 * mm), (1.0, 0.0, 0.0), 0.0, 0.4 * mm)
    heights = {
        key: [s.place[2] / mm for s in sections(image_of(), AFFINE, found)]
        for key, found in {
            "plain": Vasculature((tube,)),
            "plaque": Vasculature((tube,), (plaque,)),
            "flap": Vasculature((tube,), (), (flap,)),
            "crowded": Vasculature((tube, straight(name="other", x=5 * mm))),
        }.items()
    }
    assert min(abs(z) for z in heights["plain"]) < 1
    assert heights["plaque"] == [z for z in heights["plain"] if abs(z) >= 3]
    assert heights["flap"] == [z for z in heights["plain"] if not -1.01 <= z <= 4.01]
    assert heights["crowded"] == []


def test_a_painted_point_keeps_its_volume_and_its_place():
    place = np.array([[0.1 * mm, -0.3 * mm, 0.2 * mm]])
    cloud = PointCloud(place, np.array([0.5 * STEP**3]), np.array([2], np.uint8))
    share = painted(cloud, cloud.tissue == 2, AFFINE, SHAPE)
    assert share.sum() == pytest.approx(0.5)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)[..., ::-1]
    middle = np.tensordot(share, grid, axes=3) / share.sum() * STEP + AFFINE[:3, 3]
    assert middle == pytest.approx(place[0], abs=1e-9)
    assert seen(np.full(SHAPE, 7.0), share) == pytest.approx(7)
    with pytest.raises(InputError, match="outside the image"):
        seen(np.ones(SHAPE), np.zeros(SHAPE))


def test_separation_of_normal_observations_is_known():
    """Two normal distributions d' apart have an area of Phi(d' / sqrt 2) (Green and Swets 1966)."""
    rng = np.random.default_rng(1)
    area, low, high = separation(rng.normal(1, 1, 400), rng.normal(0, 1, 400))
    truth = 0.5 * (1 + math.erf(0.5))
    assert low < truth < high
    assert area == pytest.approx(truth, abs=0.04)
    assert separation(np.ones(5), np.ones(5))[0] == 0.5
    area, low, _ = separation(np.arange(5) + 10.0, np.arange(5.0))
    assert (area, low) == (1.0, pytest.approx(0.05**0.2))
    with pytest.raises(InputError, match="at least two"):
        separation(np.ones(1), np.ones(5))


def test_an_image_that_is_none_is_refused():
    with pytest.raises(InputError, match="three axes"):
        sections(np.ones((4, 4)), AFFINE, Vasculature((straight(),)))
    with pytest.raises(InputError, match="finite"):
        sections(np.full(SHAPE, np.nan), AFFINE, Vasculature((straight(),)))
