"""10 g cubes: by hand, against a slow and obvious reference, and by the laws that an average obeys."""

import itertools

import numpy as np
import pytest
from sar_bodies import body_fields, mirrored

from lauterbur.errors import InputError
from lauterbur.safety.averaging import cube_means, power_matrices, row_of, spread
from lauterbur.safety.cubes import AIR, CENTRED, UNUSED, USED, VALID, averaging_cubes, cube_centres
from lauterbur.safety.matrices import unpacked

STEP = np.full(3, 5e-3)


def weights(shape, spacing, voxel, direction, side):
    """(z, y, x): how much of each voxel a cube covers, by the definition."""
    share = []
    for axis in range(3):
        edge = np.arange(shape[axis] + 1) * spacing[axis]
        start, length = voxel[axis] * spacing[axis], side
        if direction == CENTRED:
            low = start + spacing[axis] / 2 - length / 2
        elif direction == 2 * axis:
            low = start
        elif direction == 2 * axis + 1:
            low = start + spacing[axis] - length
        else:
            low = start + spacing[axis] / 2 - length / 2
        high = low + length
        share.append(np.clip(np.minimum(edge[1:], high) - np.maximum(edge[:-1], low), 0, None) / spacing[axis])
    return np.einsum("z,y,x->zyx", *share), share


def slow_side(density, spacing, voxel, direction, mass):
    low, high = 0.0, 10 * np.max(np.array(density.shape) * spacing)
    volume = np.prod(spacing)
    if (weights(density.shape, spacing, voxel, direction, high)[0] * density).sum() * volume < mass:
        return np.inf
    for _ in range(100):
        middle = (low + high) / 2
        if (weights(density.shape, spacing, voxel, direction, middle)[0] * density).sum() * volume < mass:
            low = middle
        else:
            high = middle
    return high


def slow_average(density, spacing, mass, point_sar):
    """The standard's two steps, voxel by voxel: (status, averaged SAR)."""
    tissue = density > 0
    status = np.where(tissue, UNUSED, AIR)
    out = np.zeros(density.shape)
    volume = np.prod(spacing)
    inside = {}

    def mean(w):
        return (w * density * point_sar).sum() * volume / mass

    for voxel in np.argwhere(tissue):
        side = slow_side(density, spacing, voxel, CENTRED, mass)
        w, _ = weights(density.shape, spacing, voxel, CENTRED, side)
        faces = []
        for axis in range(3):
            low = (voxel[axis] + 0.5) - side / spacing[axis] / 2
            high = (voxel[axis] + 0.5) + side / spacing[axis] / 2
            for layer in (int(np.floor(low)), int(np.ceil(high)) - 1):
                on_grid = 0 <= layer < density.shape[axis]
                other = np.moveaxis(w, axis, 0)[layer] > 0 if on_grid else None
                faces.append(on_grid and (np.moveaxis(tissue, axis, 0)[layer] & other).any())
        if all(faces) and (w * tissue).sum() * volume >= 0.9 * side**3:
            status[tuple(voxel)] = VALID
            out[tuple(voxel)] = mean(w)
            inside[tuple(voxel)] = (w > 1 - 1e-9) & tissue
    for voxel, full in inside.items():
        wider = full & (status != VALID)
        status[wider] = USED
        out[wider] = np.maximum(out[wider], mean(weights(density.shape, spacing, voxel, CENTRED,
                                                        slow_side(density, spacing, voxel, CENTRED, mass))[0]))  # fmt: skip
    for voxel in np.argwhere(status == UNUSED):
        sides = [slow_side(density, spacing, voxel, direction, mass) for direction in range(6)]
        for direction, side in enumerate(sides):
            if side**3 <= 1.05 * min(sides) ** 3:
                value = mean(weights(density.shape, spacing, voxel, direction, side)[0])
                out[tuple(voxel)] = max(out[tuple(voxel)], value)
    return status, out


def averaged(density, spacing, mass, point_sar):
    cubes = averaging_cubes(density, spacing, mass)
    voxel = np.argwhere(density > 0)
    power = (density * point_sar)[tuple(voxel.T)][:, None].astype(np.float32)
    return cubes, cube_means(cubes, power, row_of(density.shape, voxel))[:, 0]


@pytest.mark.parametrize("spacing", [(5e-3, 5e-3, 5e-3), (4e-3, 6e-3, 5e-3)])
def test_cubes_and_averages_agree_with_the_slow_reference(spacing):
    fields = body_fields((11, 10, 12), spacing, seed=3)
    density = fields.density.astype(np.float64)
    density[4, 4, 4] = 0  # a bubble
    sar = np.random.default_rng(0).uniform(0, 1, density.shape)
    status, slow = slow_average(density, np.array(spacing), 4e-3, sar)
    cubes, mean = averaged(density, np.array(spacing), 4e-3, sar)
    assert {AIR, UNUSED, USED, VALID} == set(np.unique(status))
    np.testing.assert_array_equal(cubes.status, status)
    np.testing.assert_allclose(spread(cubes, mean), slow, rtol=1e-5, atol=1e-6)


def test_a_cube_in_water_has_the_side_one_computes_by_hand():
    cubes = averaging_cubes(np.full((15, 15, 15), 1000.0), STEP, 10e-3)
    middle = np.flatnonzero((cubes.voxel == 7).all(axis=1) & (cubes.direction == CENTRED))
    assert cubes.side[middle[0]] == pytest.approx((10e-3 / 1000) ** (1 / 3), rel=1e-8)  # 21.54 mm


def test_a_cube_across_a_border_of_two_densities_by_hand():
    """27 whole voxels of 1 g at the centre, and around them in x alone 2 g: side s: m = s^2 (3 + 2 (s - 3)) in voxels."""
    density = np.full((11, 11, 11), 8000.0)  # 1 g per voxel of 5 mm
    density[:, :, [3, 7]] = 16000.0
    density[:, :, 4:7] = 8000.0
    side = np.roots([2, -3, 0, -40.0])
    side = float(side[np.abs(side.imag) < 1e-9].real[0])
    assert 3 < side < 5
    cubes = averaging_cubes(density, STEP, 40e-3)
    at = np.flatnonzero((cubes.voxel == 5).all(axis=1))[0]
    assert cubes.side[at] == pytest.approx(side * 5e-3, rel=1e-8)


def test_a_corner_voxel_grows_inwards_from_its_outer_face():
    cubes = averaging_cubes(np.pad(np.full((9, 9, 9), 1000.0), 1), STEP, 10e-3)
    corner = np.flatnonzero((cubes.voxel == 1).all(axis=1))
    assert cubes.status[1, 1, 1] == UNUSED
    assert set(cubes.direction[corner]) == {0, 2, 4}  # +z, +y, +x are the smallest; the others leave the body
    by_hand = 10e-3 / 1000  # m3: depth s, and sideways s / 2 + half a voxel of tissue, twice
    s = np.roots([0.25, 0.5 * 5e-3, 0.25 * 25e-6, -by_hand])
    s = float(s[np.abs(s.imag) < 1e-9].real[0])
    np.testing.assert_allclose(cubes.side[corner], s, rtol=1e-7)


def test_every_cube_holds_its_mass_and_a_uniform_field_stays_uniform():
    fields = body_fields(seed=1)
    density = fields.density.astype(np.float64)
    cubes, mean = averaged(density, STEP, 10e-3, np.ones(density.shape))
    np.testing.assert_allclose(mean, 1, rtol=1e-6)  # the mean of 1 is mass / 10 g
    np.testing.assert_allclose(spread(cubes, mean)[density > 0], 1, rtol=1e-6)
    for i in range(0, len(cubes.side), 97):
        w, _ = weights(density.shape, STEP, cubes.voxel[i], cubes.direction[i], cubes.side[i])
        assert (w * density).sum() * 125e-9 == pytest.approx(10e-3, rel=1e-6)


def test_averages_never_exceed_the_largest_point_and_follow_a_scale():
    fields = body_fields(seed=5)
    density, sar = fields.density.astype(np.float64), np.random.default_rng(1).uniform(0, 1, fields.density.shape)
    _, mean = averaged(density, STEP, 2e-3, sar)
    assert mean.max() < sar.max() and mean.min() > 0
    np.testing.assert_allclose(averaged(density, STEP, 2e-3, 3 * sar)[1], 3 * mean, rtol=1e-5)


def test_a_mirrored_body_has_mirrored_averages():
    fields = body_fields(seed=2)
    sar = np.random.default_rng(2).uniform(0, 1, fields.density.shape)
    one = spread(*averaged(fields.density.astype(np.float64), STEP, 5e-3, sar))
    other = spread(*averaged(mirrored(fields).density.astype(np.float64), STEP, 5e-3, sar[..., ::-1]))
    np.testing.assert_allclose(other[..., ::-1], one, rtol=1e-4)
    assert np.ptp(one[one > 0]) > 0.01


def test_no_tissue_is_left_out_and_air_gets_nothing():
    density = body_fields(seed=4).density.astype(np.float64)
    cubes, mean = averaged(density, STEP, 10e-3, np.ones(density.shape))
    heat = spread(cubes, mean)
    np.testing.assert_array_equal(heat > 0, density > 0)
    np.testing.assert_array_equal(cubes.status == AIR, density == 0)


def test_cube_centres_lie_in_the_middle_of_what_is_averaged():
    density = body_fields((10, 9, 11), seed=6).density.astype(np.float64)
    cubes = averaging_cubes(density, STEP, 5e-3)
    for i in range(0, len(cubes.side), 31):
        low, high = [], []
        for axis in range(3):
            n = 40  # a grid large enough that nothing is cut
            _, share = weights((n, n, n), STEP, cubes.voxel[i] + 15, cubes.direction[i], cubes.side[i])
            at = np.arange(n)
            low.append((share[axis] * at).sum() / share[axis].sum() - 15)
            high.append(share[axis].sum() * 5e-3)
        np.testing.assert_allclose(cube_centres(cubes)[i], low, atol=0.1)
        np.testing.assert_allclose(high, cubes.side[i], rtol=1e-6)


def test_power_matrices_are_sigma_e_e_over_two():
    fields = body_fields((4, 3, 5), channels=3)
    voxel = np.array(list(itertools.product(range(4), range(3), range(5))))
    power = unpacked(power_matrices(fields.e, fields.conductivity, voxel))
    drive = np.array([1 + 2j, -0.5j, 0.3])
    total = np.tensordot(drive, fields.e, axes=1)
    expected = fields.conductivity * (np.abs(total) ** 2).sum(axis=0) / 2
    found = np.einsum("c,pcd,d->p", drive.conj(), power, drive).real
    np.testing.assert_allclose(found, expected[tuple(voxel.T)], rtol=1e-5, atol=1e-9)


def test_too_little_tissue_is_refused():
    density = np.zeros((6, 6, 6))
    density[2:4, 2:4, 2:4] = 1000.0
    with pytest.raises(InputError, match=r"weighs 1 g; averaging over 10 g needs twice that"):
        averaging_cubes(density, STEP, 10e-3)
    with pytest.raises(InputError, match="averaging mass -1"):
        averaging_cubes(density, STEP, -1)
