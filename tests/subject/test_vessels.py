"""Vessels as points: volumes and thicknesses of tubes, tissue displaced, nothing in air, and where the list says."""

from dataclasses import replace

import numpy as np
import pytest

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import Subject, nearest_voxel, tissue_fraction, tissue_index
from lauterbur.subject.library import load_subject
from lauterbur.subject.population import vary
from lauterbur.subject.tissues import read_tissues
from lauterbur.subject.vasculature import Plaque, Vasculature, lumen_volume
from lauterbur.subject.vessels import BLOOD, PLAQUE, WALL, vessel, with_vessels
from lauterbur.units import mm


def block():
    table = read_tissues()
    labels = np.ones((1, 20, 20, 24), np.uint8)
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = (-11.5 * mm, -9.5 * mm, -9.5 * mm)
    return Subject(
        "block", labels, np.ones(labels.shape, np.float32), affine, (table["air"], table["cerebrospinal fluid"])
    )


TUBE = vessel(
    "tube", np.array([[-7.0, -1.3, 0.4], [0.0, 0.7, 0.1], [7.0, -0.8, -0.6]]) * mm, 3 * mm, 2.4 * mm, 0.5 * mm
)


def volume_of(subject, name):
    cloud = subject.points
    return cloud.volume[cloud.tissue == tissue_index(subject, name)].sum()


def test_volumes_of_lumen_and_wall_are_those_of_a_tube_with_round_ends():
    made = with_vessels(block(), Vasculature((TUBE,)))

    def tube(extra):
        wider = replace(TUBE, diameter=TUBE.diameter + 2 * extra)
        ends = 2 / 3 * np.pi * (wider.diameter[0] ** 3 + wider.diameter[-1] ** 3) / 8
        return lumen_volume(wider) + ends

    assert volume_of(made, BLOOD) == pytest.approx(tube(0.0), rel=0.01)
    assert volume_of(made, WALL) == pytest.approx(tube(TUBE.wall) - tube(0.0), rel=0.02)


def test_what_the_points_fill_the_tissue_has_lost():
    plain = block()
    made = with_vessels(plain, Vasculature((TUBE,)))
    lost = (plain.fraction.sum() - made.fraction.sum(dtype=float)) * mm**3
    assert lost == pytest.approx(made.points.volume.sum(), rel=1e-4)


def test_a_plaque_takes_from_the_lumen_what_it_says():
    middle = len(TUBE.centreline) // 2
    x, y, z = (float(v) for v in TUBE.centreline[middle])
    plaque = Plaque("tube", (x, y, z), (0.0, 0.0, 1.0), 0.5, 5 * mm, 1.35 * mm)
    made = with_vessels(block(), Vasculature((TUBE,), (plaque,)))
    cloud = made.points
    near = np.abs(cloud.position[:, 0] - x) < 0.5 * mm
    blood = cloud.position[near & (cloud.tissue == tissue_index(made, BLOOD))]
    hard = cloud.position[near & (cloud.tissue == tissue_index(made, PLAQUE))]
    assert np.ptp(blood[:, 2]) == pytest.approx(0.5 * TUBE.diameter[middle], abs=0.3 * mm)
    assert hard[:, 2].mean() > z > blood[:, 2].mean()  # on its own side


def test_a_vessel_that_leaves_the_grid_is_refused():
    far = vessel("far", np.array([[0.0, 0, 0], [40.0, 0, 0]]) * mm, 3 * mm, 3 * mm, 0.5 * mm)
    with pytest.raises(InputError, match="leaves the grid"):
        with_vessels(block(), Vasculature((far,)))


def test_the_circle_lies_in_cisterns_and_nothing_of_it_in_air():
    plain, made = load_subject("head"), load_subject("head-vessels")
    where = tuple(nearest_voxel(plain, made.points.position).T)
    share = {
        name: np.average(tissue_fraction(plain, name)[where], weights=made.points.volume)
        for name in ("air", "cortical bone", "cancellous bone", "cerebrospinal fluid")
    }
    assert share["air"] == 0 and share["cortical bone"] + share["cancellous bone"] < 0.04
    assert share["cerebrospinal fluid"] > 0.6
    assert volume_of(made, BLOOD) == pytest.approx(sum(map(lumen_volume, made.vessels.vessels)), rel=0.1)
    places = {v.name: v.centreline for v in made.vessels.vessels}
    for plaque in made.vessels.plaques:  # each lies on its vessel
        assert np.linalg.norm(places[plaque.vessel] - plaque.position, axis=1).min() < 0.1 * mm

    moved = vary(made, shift=(0, 0, 5 * mm))  # the list goes with the points
    np.testing.assert_allclose(
        moved.vessels.plaques[0].position, np.add(made.vessels.plaques[0].position, (0, 0, 5 * mm))
    )
    np.testing.assert_allclose(moved.points.position, made.points.position + [0, 0, 5 * mm])
