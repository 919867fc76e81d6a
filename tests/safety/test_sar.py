"""SAR of fields: the laws of the quadratic form, means by mass, limits, files, and what is refused."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from sar_bodies import body_fields, mirrored, random_drives, random_matrices

from lauterbur.errors import FileFormatError, InputError
from lauterbur.safety.heating import sar_map
from lauterbur.safety.limits import SOURCES, iec_limits
from lauterbur.safety.sar import local_sar, mean_sar, sar_from_matrices, sar_model, sar_of, worst_local
from lauterbur.safety.sarfile import read_sar, write_sar

MASS = 2e-3  # kg, so that small bodies have room


@pytest.fixture(scope="module")
def fields():
    return replace(body_fields(seed=1), body_mass=0.5)


@pytest.fixture(scope="module")
def whole(fields):
    return sar_model(fields, averaging_mass=MASS, overestimation=0)


def test_sar_is_the_quadratic_form_of_the_field_of_all_channels(fields, whole):
    """With E = sum w_c e_c: a transposed or conjugated matrix fails here."""
    drive = np.array([1.0, 0.4j, -0.7 + 0.2j, 0.1 - 1j])
    point = sar_map(fields, drive, averaging_mass=None)
    total = (np.abs(np.tensordot(drive, fields.e, axes=1)) ** 2).sum(axis=0)
    tissue = fields.density > 0
    by_hand = np.where(tissue, fields.conductivity * total / (2 * np.where(tissue, fields.density, 1)), 0)
    np.testing.assert_allclose(point, by_hand, rtol=1e-4)
    assert worst_local(whole, drive) / 1.4 == pytest.approx(sar_map(fields, drive, averaging_mass=MASS).max(), rel=1e-4)


def test_sar_does_not_know_a_common_phase_and_grows_with_power(whole):
    drive = random_drives(7, 4, seed=0)
    np.testing.assert_allclose(local_sar(whole, drive * np.exp(0.7j)), local_sar(whole, drive), rtol=1e-9)
    np.testing.assert_allclose(local_sar(whole, 3 * drive), 9 * local_sar(whole, drive), rtol=1e-9)
    assert not np.allclose(local_sar(whole, drive * np.exp(0.7j * np.arange(4))), local_sar(whole, drive), rtol=1e-2)


def test_a_unitary_mixing_of_channels_changes_nothing(fields, whole):
    u = np.linalg.qr(random_matrices(1, 4, seed=3, rank=4)[0])[0]
    mixed = replace(fields, e=np.einsum("dc,dazyx->cazyx", u, fields.e).astype(np.complex64))
    drive = random_drives(5, 4, seed=4)
    found = sar_model(mixed, averaging_mass=MASS, overestimation=0)
    np.testing.assert_allclose(local_sar(found, drive), local_sar(whole, drive @ u.T), rtol=1e-3)


def test_whole_body_sar_is_the_mean_of_point_sar_by_mass_over_the_whole_mass(fields, whole):
    drive = random_drives(1, 4, seed=5)[0]
    power = (sar_map(fields, drive, averaging_mass=None).astype(np.float64) * fields.density).sum() * 125e-9
    assert mean_sar(whole, drive)["whole_body"] == pytest.approx(1.4 * power / 0.5, rel=1e-4)
    half = sar_model(replace(fields, body_mass=1.0), averaging_mass=MASS, overestimation=0)
    np.testing.assert_allclose(half.whole_body, whole.whole_body / 2)
    assert half.exposed_fraction == pytest.approx(whole.exposed_fraction / 2)


def test_head_and_exposed_part_are_means_over_their_own_mass(fields):
    part = fields.part.copy()
    part[10:][part[10:] > 0] = 1
    far = fields.e.copy()
    far[..., :6] *= 1e-3  # a side that is not exposed
    fields = replace(fields, part=part, e=far)
    sar = sar_model(fields, averaging_mass=MASS, overestimation=0)
    drive = random_drives(1, 4, seed=6)[0]
    point = sar_map(fields, drive, averaging_mass=None)
    head = part == 1
    expected = (point[head] * fields.density[head]).sum() / fields.density[head].sum()
    assert mean_sar(sar, drive)["head"] == pytest.approx(1.4 * expected, rel=1e-4)
    mass = fields.density * 125e-9
    assert sar.exposed_fraction == pytest.approx(mass[..., 6:].sum() / 0.5, rel=0.05)
    exposed = (point * mass)[..., 6:].sum() / mass[..., 6:].sum()
    assert mean_sar(sar, drive)["partial_body"] == pytest.approx(1.4 * exposed, rel=0.05)
    assert set(np.unique(sar.part)) == {1, 2}


def test_a_mirrored_body_has_the_same_worst_sar_on_the_other_side(fields, whole):
    other = sar_model(mirrored(fields), averaging_mass=MASS, overestimation=0)
    drive = random_drives(1, 4, seed=7)[0]
    one, two = sar_of(whole, drive)["local_head_trunk"], sar_of(other, drive)["local_head_trunk"]
    assert two.value == pytest.approx(one.value, rel=1e-4)
    np.testing.assert_allclose(two.where, np.array(one.where) * [-1, 1, 1], atol=1e-9)
    assert abs(one.where[0]) > 1e-3


def test_limbs_have_their_own_points_and_limit(fields):
    part = fields.part.copy()
    part[..., 9:][part[..., 9:] > 0] = 3
    sar = sar_model(replace(fields, part=part), averaging_mass=MASS)
    worst = sar_of(sar, random_drives(1, 4, seed=8)[0])
    assert {"local_head_trunk", "local_limb"} <= set(worst)
    assert worst["local_limb"].where[0] > worst["local_head_trunk"].where[0] - 0.08
    inside = sar.where[sar.part == 3, 0]
    assert (inside > 0).all()  # a cube that holds any trunk is the trunk's


@pytest.mark.parametrize("overestimation", [0.05, 0.2])
def test_compression_bounds_every_drive_from_above(fields, whole, overestimation):
    sar = sar_model(fields, averaging_mass=MASS, overestimation=overestimation)
    drive = random_drives(20_000, 4, seed=9)
    true, bound = worst_local(whole, drive), worst_local(sar, drive)
    assert (bound >= true).all() and (bound <= true + 1.4 * sar.overestimation * (1 + 1e-9)).all()
    assert len(sar.local) < len(whole.local) / 5


def test_the_heat_of_several_pulses_adds(whole):
    drive = random_drives(3, 4, seed=10)
    together = local_sar(whole, drive).sum(axis=0).max()
    assert sar_of(whole, drive)["local_head_trunk"].value == pytest.approx(together)
    assert sar_of(whole, drive)["whole_body"].value == pytest.approx(mean_sar(whole, drive)["whole_body"].sum())


def test_progress_only_goes_forward(fields):
    told: list[float] = []
    sar_model(fields, averaging_mass=MASS, progress=told.append)
    assert told == sorted(told) and told[-1] == 1


def test_limits_by_mode_and_exposed_part():
    normal, first = iec_limits("normal", 0.5), iec_limits("first level", 0.5)
    assert (normal.whole_body, normal.head, normal.partial_body) == (2, 3.2, 6)
    assert (normal.local_head_trunk, normal.local_limb) == (10, 20)
    assert (first.whole_body, first.head, first.partial_body, first.local_head_trunk, first.local_limb) == (
        4,
        3.2,
        7,
        20,
        40,
    )
    assert iec_limits("first level", room_temperature=29).whole_body == 3
    assert iec_limits("first level", room_temperature=50).whole_body == 2
    assert iec_limits("normal", room_temperature=29).whole_body == 2
    assert iec_limits("normal", is_local_transmit=False).local_limb == np.inf
    assert set(SOURCES) <= {*vars(normal)}
    for wrong in (
        {"mode": "second"},
        {"exposed_fraction": 0.0},
        {"exposed_fraction": np.nan},
        {"room_temperature": np.nan},
    ):
        with pytest.raises(InputError):
            iec_limits(**wrong)


def test_matrices_from_elsewhere_either_way_round():
    q = random_matrices(7, 3, seed=11)
    drive = random_drives(4, 3, seed=12)
    one, two = sar_from_matrices(q), sar_from_matrices(np.moveaxis(q, 0, 2))
    np.testing.assert_allclose(local_sar(one, drive), local_sar(two, drive))
    np.testing.assert_allclose(local_sar(one, drive), 1.4 * np.einsum("dc,pce,de->dp", drive.conj(), q, drive).real)
    assert sar_of(one, drive[0])["local_head_trunk"].where is None


def _spoilt(kind):
    q = random_matrices(5, 3, seed=13)
    if kind == "NaN":
        q[2, 1, 1] = np.nan
    elif kind == "not Hermitian":
        q[3, 0, 1] *= 1.1
    elif kind == "eigenvalue":
        q[4] -= 0.5 * np.eye(3) * np.linalg.eigvalsh(q[4])[-1]
    return q


@pytest.mark.parametrize("kind", ["NaN", "not Hermitian", "eigenvalue"])
def test_matrices_that_are_no_sar_are_refused(kind):
    with pytest.raises(InputError, match=kind):
        sar_from_matrices(_spoilt(kind))
    with pytest.raises(InputError, match=kind):
        sar_from_matrices(
            random_matrices(5, 3, seed=14), whole_body=_spoilt(kind)[{"NaN": 2, "not Hermitian": 3}.get(kind, 4)]
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local": np.ones((2, 3, 4))}, "no two neighbouring axes"),
        ({"local": np.ones(4)}, r"must be \(point, tx, tx\)"),
        ({"local": "matrices"}, "array of numbers"),
        ({"local": np.zeros((0, 3, 3))}, "not empty"),
        ({"whole_body": np.eye(4)}, "local has 3 channels"),
        ({"where": np.zeros((4, 3))}, r"need \(5, 3\)"),
        ({"part": np.full(5, 9)}, "indices into"),
        ({"part": np.zeros(4, int)}, "part has shape"),
        ({"exposed_fraction": 0.0}, "exposed fraction"),
        ({"overestimation": np.nan}, "overestimation"),
        ({"safety_factor": 0.5}, "below 1 it would hide heat"),
        ({"safety_factor": np.nan}, "safety factor"),
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        sar_from_matrices(**{"local": random_matrices(5, 3, seed=15), **arguments})


def test_fields_that_cannot_tell_sar_are_refused(fields):
    nan = fields.e.copy()
    nan[1, 0, 7, 6, 8] = np.nan
    sheared = fields.affine.copy()
    sheared[0, 1] = 2e-3
    for change, message in (
        ({"e": None}, "SAR needs the fields' e"),
        ({"density": None, "conductivity": None}, "conductivity, density"),
        ({"e": nan}, r"not finite in 1 tissue voxels, first at \(z, y, x\) = \(7, 6, 8\)"),
        ({"conductivity": fields.conductivity[1:]}, "conductivity has shape"),
        ({"density": -fields.density}, "density must be finite and not negative"),
        ({"conductivity": np.full_like(fields.conductivity, 0.7)}, "would be lost"),
        ({"body_mass": 0.01}, "tissue on the grid weighs"),
        ({"affine": sheared}, "sheared"),
        ({"e": fields.e[:, :2]}, r"must be \(tx, 3, z, y, x\)"),
    ):
        with pytest.raises(InputError, match=message):
            sar_model(replace(fields, **change), averaging_mass=MASS)
    with pytest.raises(InputError, match="overestimation"):
        sar_model(fields, overestimation=np.nan)
    with pytest.raises(InputError, match="4 channels"):
        sar_map(fields, np.ones(3))
    with pytest.raises(InputError, match="model's 3 channels"):
        local_sar(sar_from_matrices(random_matrices(2, 3, seed=1)), np.ones(4))


def test_a_model_survives_the_disk(fields, tmp_path):
    sar = sar_model(fields, averaging_mass=MASS)
    write_sar(tmp_path / "sar.h5", sar)
    back = read_sar(tmp_path / "sar.h5")
    for name in ("local", "where", "part", "whole_body", "partial_body", "exposed_fraction", "overestimation"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sar, name))
    assert back.head is None and back.provenance["matrices"] == sar.provenance["matrices"]
    assert [p.name for p in tmp_path.iterdir()] == ["sar.h5"]


def test_files_that_are_no_sar_model_are_refused(whole, tmp_path):
    path = tmp_path / "sar.h5"
    with pytest.raises(InputError, match="no such file"):
        read_sar(path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_sar(path)
    small = sar_from_matrices(random_matrices(3, 2, seed=16))

    def spoil(change):
        write_sar(path, small)
        with h5py.File(path, "r+") as file:
            change(file)
        with pytest.raises(FileFormatError):
            read_sar(path)

    spoil(lambda f: f.attrs.__setitem__("version", 99))
    spoil(lambda f: f.__delitem__("local"))
    spoil(lambda f: f["local"].__setitem__((0, 0, 0), np.nan))
    spoil(lambda f: f["local"].__setitem__((0, 0, 0), -5))
    spoil(lambda f: f["part"].__setitem__(0, 77))
    spoil(lambda f: f.attrs.__setitem__("safety_factor", 0.1))
    spoil(lambda f: f.attrs.__setitem__("safety_factor", "much"))
    spoil(lambda f: f.attrs.__setitem__("provenance", "{"))
    spoil(lambda f: (f.__delitem__("where"), f.create_group("where")))
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[: len(whole_file) // 2])
    with pytest.raises(FileFormatError):
        read_sar(path)
