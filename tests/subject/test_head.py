"""What a radiologist would check of the head, in words a computer can follow."""

import numpy as np
import pytest
from scipy import ndimage

from lauterbur.fields.dielectrics import dielectric
from lauterbur.subject.anatomy import tissue_fraction, voxel_volume
from lauterbur.subject.head import TISSUES
from lauterbur.subject.library import load_subject

BRAIN = ("grey matter", "white matter", "putamen", "caudate", "pallidum", "thalamus")
BONE = ("cortical bone", "cancellous bone")


@pytest.fixture(scope="module")
def head():
    return load_subject("head", seed=1)


@pytest.fixture(scope="module")
def share(head):
    return {name: tissue_fraction(head, name) for name in TISSUES}


def together(share, names):
    return sum(share[name] for name in names)


def at(head, x, y, z):
    """The index (z, y, x) of a place in mm: left, back, head of the anterior commissure."""
    index = np.linalg.inv(head.affine) @ [x / 1e3, y / 1e3, z / 1e3, 1]
    return tuple(round(i) for i in index[2::-1])


def test_volumes_are_those_of_an_adult_head_in_mni_size(head, share):
    litres = {name: values.sum(dtype=float) * voxel_volume(head) * 1e3 for name, values in share.items()}
    assert 1.4 < sum(litres[name] for name in BRAIN) < 1.9
    assert 0.5 < litres["white matter"] < 0.8
    assert 0.15 < litres["cerebrospinal fluid"] < 0.4
    for name, least, most in (("putamen", 8, 16), ("caudate", 6, 12), ("pallidum", 2, 5), ("thalamus", 10, 20)):
        assert least < litres[name] * 1e3 < most
    assert 4 < litres["vitreous"] * 1e3 / 2 < 7 and 0.1 < litres["lens"] * 1e3 / 2 < 0.3


def test_the_vault_of_the_skull_is_closed(head, share):
    solid = together(share, BONE) > 0.4
    z_50 = at(head, 0, 0, -10)[0]
    vault = slice(z_50, None)
    outside, _ = ndimage.label(~solid[vault])
    scalp = outside[share["skin"][vault] > 0.5]
    inside = outside[together(share, BRAIN)[vault] > 0.5]
    assert set(np.unique(scalp)).isdisjoint(np.unique(inside))


def test_there_is_no_air_in_the_brain_and_no_brain_in_the_scalp(share):
    air, brain = share["air"] > 0.2, together(share, BRAIN) > 0.5
    assert not (air & ndimage.binary_erosion(brain, iterations=1)).any()
    assert not (ndimage.binary_dilation(share["skin"] > 0.5) & brain).any()
    filled = ndimage.binary_fill_holes(brain | (share["cerebrospinal fluid"] + share["venous blood"] > 0.5))
    assert share["air"][filled].sum() < 100


def test_fluid_surrounds_the_brain_and_fills_the_ventricles(head, share):
    brain, fluid = together(share, BRAIN) > 0.5, share["cerebrospinal fluid"]
    high = at(head, 0, 0, 0)[0]
    rim = ndimage.binary_dilation(brain, iterations=2) & ~ndimage.binary_dilation(brain, iterations=1)
    assert np.mean((fluid + together(share, BONE) + share["venous blood"])[high:][rim[high:]] > 0.5) > 0.95
    for place in ((5, -10, 12), (-5, -10, 12), (0, 40, -31)):  # frontal horns, fourth ventricle
        assert fluid[at(head, *place)] > 0.8


def test_structures_lie_where_the_mni_atlas_has_them(head, share):
    for name, place in (
        ("putamen", (26, -4, 2)), ("caudate", (12, -14, 8)), ("thalamus", (11, 18, 7)), ("pallidum", (19, 2, 0)),
        ("white matter", (28, 30, 28)), ("vitreous", (33, -64, -37)),
    ):  # fmt: skip
        for side in (-1, 1):
            z, y, x = at(head, side * place[0], *place[1:])
            assert share[name][z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3].mean() > 0.5, (name, side)


def test_a_ribbon_of_grey_matter_covers_the_white(head, share):
    high = at(head, 0, 0, 30)[0]
    white = share["white matter"][high:] > 0.5
    shell = ndimage.binary_dilation(white) & ~white
    next_to = share["grey matter"][high:] + share["caudate"][high:] > 0.3
    assert np.mean(next_to[shell]) > 0.9  # the rest lines the ventricles


def test_most_borders_are_partial_volumes(head):
    mixed = (head.fraction[0] > 0) & (head.fraction[0] < 1)
    labels = head.labels[0]
    border = np.zeros(labels.shape, bool)
    border[:, :, 1:] |= labels[:, :, 1:] != labels[:, :, :-1]
    assert np.mean(mixed[border]) > 0.5


def test_the_scalp_has_skin_outside_fat_and_there_are_sinuses(head, share):
    outside, _ = ndimage.label(share["air"] > 0.5)
    surface = ndimage.binary_dilation(outside == outside[-1, 0, 0]) & (share["air"] < 0.5)
    high = at(head, 0, 0, 0)[0]
    assert np.mean(share["skin"][high:][surface[high:]] > 0.3) > 0.95
    frontal, maxillary = at(head, 5, -78, -10), at(head, 32, -40, -66)
    assert share["air"][frontal] > 0.5 and share["air"][maxillary] > 0.5


def test_the_neck_goes_on_below_and_every_tissue_has_a_dielectric(head):
    assert head.continues == ("-z",)
    for tissue in head.tissues:
        permittivity, conductivity = dielectric(tissue.dielectric, 210.76e6)
        assert permittivity >= 1 and conductivity >= 0


def test_coarser_loading_keeps_the_volumes(head, share):
    coarse = load_subject("head", seed=1, spacing=4e-3)
    assert coarse.seed == 1
    for name in ("fat", "grey matter", "white matter", "cerebrospinal fluid"):
        fine = share[name].sum(dtype=float) * voxel_volume(head)
        assert tissue_fraction(coarse, name).sum(dtype=float) * voxel_volume(coarse) == pytest.approx(fine, rel=0.01)
