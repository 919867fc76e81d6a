"""Subject and fields to spins: nothing lost, nothing doubled, everything at its place."""

import numpy as np
import pytest

from lauterbur.acquisition.twin.material import points_from, spins_from
from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.scanner.profiles import load_scanner
from lauterbur.subject.anatomy import AIR, LinearRate, PointCloud, PowerLaw, Subject, Tissue

WATER = Tissue("water", 0.8, PowerLaw(1.0, 0.3), LinearRate(10, 1), LinearRate(2, 1), dielectric="Muscle")
FAT = Tissue(
    "fat",
    1.0,
    PowerLaw(0.3, 0.1),
    LinearRate(15, 0),
    LinearRate(1, 0),
    chemical_shift=-3.4,
    dielectric="Fat (Not Infiltrated)",
)
SHAPE = (6, 7, 8)
AFFINE = np.array([[-2e-3, 0, 1e-4, 0.01], [0, -1.5e-3, 0, 0.02], [0, 0, 3e-3, -0.03], [0, 0, 0, 1]])


def block(points=None):
    """Water everywhere but in a layer of air at i_z = 0; a voxel of half fat, half water."""
    labels = np.zeros((2, *SHAPE), np.uint8)
    fraction = np.zeros((2, *SHAPE), np.float32)
    labels[0, 1:], fraction[0, 1:] = 1, 1.0
    fraction[:, 3, 3, 3], labels[1, 3, 3, 3] = 0.5, 2
    return Subject("block", labels, fraction, AFFINE, (AIR, WATER, FAT), points)


def linear_fields(subject, slope=(3000.0, -2000.0, 5000.0), b1_plus=None):
    """Off-resonance with a constant gradient in Hz/m along the patient's axes, and a jump in air."""
    index = np.argwhere(np.ones(SHAPE, bool))[:, ::-1]
    place = index @ subject.affine[:3, :3].T + subject.affine[:3, 3]
    field = (place @ slope).reshape(SHAPE).astype(np.float32)
    field[0] += 1000
    uniform = np.broadcast_to(np.complex64(1e-7), (8, *SHAPE))
    return FieldMaps(
        subject.affine,
        field,
        uniform if b1_plus is None else b1_plus,
        np.zeros((0, 4, 4, 4), np.complex64),
        np.zeros((0, 0)),
    )


def test_weights_add_up_to_the_protons_of_the_subject():
    subject = block()
    spins = spins_from(subject, linear_fields(subject), load_scanner("5T"))
    volume = abs(np.linalg.det(AFFINE[:3, :3]))
    filled = (SHAPE[0] - 1) * SHAPE[1] * SHAPE[2]
    assert len(spins) == filled + 1
    assert spins.weight.sum() == pytest.approx(volume * (0.8 * (filled - 0.5) + 0.5), rel=1e-6)


def test_every_box_is_a_voxel_at_its_place_on_the_lattice():
    subject = block()
    spins = spins_from(subject, linear_fields(subject), load_scanner("5T"))
    i_z, i_y, i_x = np.unravel_index(spins.lattice.index, SHAPE)
    place = np.stack([i_x, i_y, i_z], axis=1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    assert np.allclose(spins.position, place)
    assert abs(np.linalg.det(spins.edges)) == pytest.approx(spins.volume[0])
    assert np.allclose(spins.edges[1], AFFINE[:3, 1])


def test_fat_precesses_717_hz_below_water_at_5t():
    subject = block()
    scanner = load_scanner("5T")
    spins = spins_from(subject, linear_fields(subject), scanner)
    here = np.flatnonzero(spins.lattice.index == np.ravel_multi_index((3, 3, 3), SHAPE))
    water, fat = here[np.argsort(-spins.off_resonance[here])]
    assert spins.off_resonance[water] - spins.off_resonance[fat] == pytest.approx(717, abs=1)
    assert spins.proton_density[[water, fat]] == pytest.approx([0.4, 0.5])
    assert spins.t1[water] == pytest.approx(4.95**0.3)


def test_a_linear_field_has_its_gradient_in_every_voxel_up_to_the_border():
    subject = block()
    spins = spins_from(subject, linear_fields(subject), load_scanner("5T"))
    assert np.allclose(spins.off_resonance_gradient, [3000, -2000, 5000], rtol=1e-3, atol=2)


def test_a_region_picks_the_same_spins_as_the_whole():
    subject = block()
    fields, scanner = linear_fields(subject), load_scanner("5T")
    whole = spins_from(subject, fields, scanner)
    mask = np.zeros(SHAPE, bool)
    mask[2:4, :, 3:5] = True
    part = spins_from(subject, fields, scanner, region=mask)
    chosen = mask.reshape(-1)[whole.lattice.index]
    for name in ("position", "proton_density", "t1", "t2", "t2_prime", "off_resonance", "off_resonance_gradient"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[chosen])
    corners = np.array([[-1, -1, -0.0255], [1, 1, -0.0195]])
    boxed = spins_from(subject, fields, scanner, region=corners)
    assert set(boxed.lattice.index // (SHAPE[1] * SHAPE[2])) == {2, 3}


def test_a_uniform_transmit_field_is_nominal_everywhere_and_another_is_so_on_average():
    subject, scanner = block(), load_scanner("5T")
    assert np.allclose(spins_from(subject, linear_fields(subject), scanner).b1_plus, 1, atol=1e-6)
    rng = np.random.default_rng(0)
    maps = (rng.random((8, *SHAPE)) * 1e-7 * np.exp(0.3j)).astype(np.complex64)
    spins = spins_from(subject, linear_fields(subject, b1_plus=maps), scanner)
    voxels, first = np.unique(spins.lattice.index, return_index=True)
    assert len(voxels) == (SHAPE[0] - 1) * SHAPE[1] * SHAPE[2]
    assert np.abs(spins.b1_plus[first]).mean() == pytest.approx(1, rel=1e-5)
    assert np.abs(spins.b1_plus).std() > 0.05


def test_points_carry_their_protons_in_the_same_unit_as_boxes():
    cloud = PointCloud(
        np.array([[0.0, 0.012, -0.02], [0.001, 0.013, -0.019]]), np.array([1e-10, 2e-10]), np.array([1, 2], np.uint8)
    )
    subject, scanner = block(cloud), load_scanner("5T")
    points = points_from(subject, linear_fields(subject), scanner)
    assert points.volume is None
    assert points.weight == pytest.approx([0.8e-10, 2e-10])
    assert points_from(block(), linear_fields(block()), scanner) is None


def test_fields_of_another_grid_and_empty_regions_are_refused():
    subject, scanner = block(), load_scanner("5T")
    fields = linear_fields(subject)
    moved = Subject("moved", subject.labels, subject.fraction, AFFINE + np.diag([0, 0, 1e-3, 0]), subject.tissues)
    with pytest.raises(InputError, match="solve_fields"):
        spins_from(moved, fields, scanner)
    with pytest.raises(InputError, match="region"):
        spins_from(subject, fields, scanner, region=np.zeros(SHAPE, bool))
    with pytest.raises(InputError, match="two corners"):
        spins_from(subject, fields, scanner, region=np.zeros(4))
