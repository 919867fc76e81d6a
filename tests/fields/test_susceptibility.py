"""The dipole kernel against bodies whose field is known in closed form."""

import numpy as np
import pytest

from lauterbur.fields.susceptibility import dipole_field, in_tissue

MILLIMETRE = np.diag([1e-3, 1e-3, 1e-3, 1.0])


def filled(inside, shape):
    """Part of each voxel inside, from 4 x 4 x 4 samples; inside(x, y, z) with the grid's centre as origin, in voxels."""
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    offsets = (np.arange(4) + 0.5) / 4 - 0.5
    total = np.zeros(shape, np.float32)
    for dz in offsets:
        for dy in offsets:
            for dx in offsets:
                total += inside((x + dx)[None, None], (y + dy)[None, :, None], (z + dz)[:, None, None])
    return total / 64


def coordinates(shape):
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    return x, y, z


def test_a_sphere_shifts_nothing_inside_and_is_a_dipole_outside():
    shape, radius, chi = (96, 90, 84), 18.0, -9.0
    field = dipole_field(chi * filled(lambda x, y, z: x**2 + y**2 + z**2 < radius**2, shape), MILLIMETRE)
    x, y, z = coordinates(shape)
    r = np.sqrt(x**2 + y**2 + z**2)
    dipole = chi / 3 * (radius / r) ** 3 * (3 * (z / r) ** 2 - 1)
    inside, outside = r < radius - 3, (r > radius + 3) & (r < 34)
    assert np.abs(field[inside]).max() < 0.006 * abs(chi)
    assert np.abs(field - dipole)[outside].max() < 0.006 * abs(chi)


def test_a_body_that_fills_its_grid_does_not_feel_its_periodic_images():
    shape, radius, chi = (64, 64, 64), 31.0, -9.0
    part = filled(lambda x, y, z: x**2 + y**2 + z**2 < radius**2, shape)
    x, y, z = coordinates(shape)
    field = dipole_field(chi * part, MILLIMETRE)
    assert np.abs(field[x**2 + y**2 + z**2 < (radius - 4) ** 2]).max() < 0.003 * abs(chi)
    assert np.sqrt(np.mean(in_tissue(field, part)[part > 0] ** 2)) < 0.005 * abs(chi)  # up to the very surface
    assert np.sqrt(np.mean(field[part > 0] ** 2)) > 0.02 * abs(chi)


def test_a_long_cylinder_across_b0_has_its_closed_form():
    shape, radius, chi = (80, 80, 32), 12.0, 5.0  # along x, going on beyond both faces
    field = dipole_field(chi * filled(lambda x, y, z: y**2 + z**2 + 0 * x < radius**2, shape), MILLIMETRE, ("-x", "+x"))
    _, y, z = (part[:, :, 16] for part in coordinates(shape))
    rho = np.hypot(y, z)
    middle = field[:, :, 16]
    assert np.abs(middle[rho < radius - 3] - chi * (1 / 3 - 1 / 2)).max() < 0.03 * chi
    outside = (rho > radius + 3) & (rho < 24)
    expected = chi / 2 * (radius / rho) ** 2 * (z**2 - y**2) / rho**2
    assert np.abs(middle - expected)[outside].max() < 0.03 * chi


def test_a_long_cylinder_along_b0_shifts_itself_by_a_third_of_chi():
    shape, radius, chi = (32, 80, 80), 12.0, 5.0
    field = dipole_field(chi * filled(lambda x, y, z: x**2 + y**2 + 0 * z < radius**2, shape), MILLIMETRE, ("-z", "+z"))
    x, y, _ = (part[16] for part in coordinates(shape))
    rho = np.hypot(x, y)
    inside = field[16][rho < radius - 3].mean()
    outside = field[16][(rho > radius + 3) & (rho < 24)].mean()
    assert inside - outside == pytest.approx(chi / 3, abs=0.02 * chi)


def test_the_field_turns_with_the_grid():
    """A grid whose first axis is the patient's z gives the same field as one along the patient's axes."""
    rng = np.random.default_rng(1)
    chi = np.zeros((24, 24, 24), np.float32)
    chi[8:16, 8:14, 10:18] = rng.standard_normal((8, 6, 8))
    turned = np.array([[0, 0, 1e-3, 0], [0, 1e-3, 0, 0], [1e-3, 0, 0, 0], [0, 0, 0, 1.0]])
    assert np.allclose(
        dipole_field(chi.transpose(2, 1, 0).copy(), turned), dipole_field(chi, MILLIMETRE).transpose(2, 1, 0), atol=1e-6
    )
