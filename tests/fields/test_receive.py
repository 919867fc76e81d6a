"""Loops against closed forms, their noise against reciprocity's laws, their maps read anywhere."""

import numpy as np
import pytest
from scipy.special import ellipe, ellipk

from lauterbur.errors import InputError
from lauterbur.fields.coarse import CoarseBody, extended
from lauterbur.fields.dielectrics import dielectric, dielectric_names
from lauterbur.fields.noise import noise_resistance
from lauterbur.fields.receive import receive_maps
from lauterbur.fields.sampling import axis_weights, is_aligned, sample, sample_lattice
from lauterbur.fields.wires import magnetic_field, vector_potential
from lauterbur.scanner.machine import Array, Loop
from lauterbur.units import MU_0


def ring(radius=0.05, corners=720, centre=(0.0, 0.0, 0.0), axes=((1, 0, 0), (0, 1, 0))):
    turn = 2 * np.pi * np.arange(corners) / corners
    return Loop(np.asarray(centre) + radius * (np.outer(np.cos(turn), axes[0]) + np.outer(np.sin(turn), axes[1])))


def test_a_loops_field_on_its_axis():
    z = np.array([0.0, 0.02, -0.07])
    field = magnetic_field(ring(), np.stack([0 * z, 0 * z, z], axis=1))
    assert np.allclose(field[:, 2], MU_0 * 0.05**2 / 2 / (0.05**2 + z**2) ** 1.5, rtol=1e-4)
    assert np.abs(field[:, :2]).max() < 1e-12


def test_a_loops_vector_potential_off_its_axis():
    """The elliptic-integral form (Jackson, Classical Electrodynamics, 5.37)."""
    a, rho, z = 0.05, 0.03, 0.02
    k2 = 4 * a * rho / ((a + rho) ** 2 + z**2)
    expected = MU_0 / np.pi * np.sqrt(a / (rho * k2)) * ((1 - k2 / 2) * ellipk(k2) - ellipe(k2))
    potential = vector_potential(ring(), np.array([[rho, 0, z]]))[0]
    assert potential[1] == pytest.approx(expected, rel=1e-4)
    assert abs(potential[0]) + abs(potential[2]) < 1e-6 * potential[1]


def test_the_magnetic_field_is_the_curl_of_the_potential():
    loop = ring(corners=7, axes=((0.6, 0.8, 0), (0, 0, 1)))
    place, h = np.array([[0.02, 0.01, 0.03], [-0.04, 0.03, -0.02]]), 1e-5
    slope = np.stack(
        [(vector_potential(loop, place + h * e) - vector_potential(loop, place - h * e)) / (2 * h) for e in np.eye(3)]
    )
    curl = np.stack(
        [slope[1, :, 2] - slope[2, :, 1], slope[2, :, 0] - slope[0, :, 2], slope[0, :, 1] - slope[1, :, 0]], axis=1
    )
    assert np.allclose(curl, magnetic_field(loop, place), rtol=1e-6)


def test_the_field_on_the_wire_is_finite():
    loop = ring(corners=12)
    place = np.concatenate([loop.points, (loop.points + np.roll(loop.points, 1, axis=0)) / 2])
    assert np.isfinite(magnetic_field(loop, place)).all() and np.isfinite(vector_potential(loop, place)).all()
    assert np.abs(magnetic_field(loop, place)).max() < 10 * MU_0 / (2 * np.pi * 1e-3)


def body(side=12, step=8e-3, sigma=0.6):
    """A conducting block in a margin of air."""
    occupied = np.pad(np.ones((side, side, side), np.float32), 2)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -step * (side + 3) / 2
    return CoarseBody(sigma * occupied, occupied, affine)


def array_around(distance=0.07, resistance=0.0):
    sides = [
        ring(0.03, 24, (distance, 0, 0), ((0, 1, 0), (0, 0, 1))),
        ring(0.03, 24, (0, distance, 0), ((0, 0, 1), (1, 0, 0))),
        ring(0.03, 24, (-distance, 0, 0), ((0, 0, 1), (0, 1, 0))),
    ]
    return Array("three", tuple(sides), resistance=resistance)


def test_b1_minus_is_half_of_bx_minus_i_by():
    maps = receive_maps(body(), array_around())
    centre = np.array(maps.shape[1:]) // 2
    along_x, along_y = maps[0][tuple(centre)], maps[1][tuple(centre)]
    assert along_x.real > 0 and abs(along_x.imag) < 0.2 * along_x.real  # loop on the left, axis +x: Bx / 2
    assert along_y.imag < 0 and abs(along_y.real) < 0.2 * -along_y.imag  # loop at the back, axis +y: -i By / 2


def test_noise_resistance_is_symmetric_positive_and_grows_as_the_squared_frequency():
    low = noise_resistance(body(), array_around(), 100e6)
    high = noise_resistance(body(), array_around(), 200e6)
    assert np.allclose(high, high.T)
    assert np.linalg.eigvalsh(high).min() > 0
    assert np.allclose(high, 4 * low, rtol=1e-5)
    assert np.allclose(noise_resistance(body(sigma=1.2), array_around(), 100e6), 2 * low, rtol=1e-5)


def ball(radius, step, sigma, centre=(0.0, 0.0, 0.0)):
    half = int(np.ceil(radius / step)) + 2
    offsets = (np.arange(4) + 0.5) / 4 - 0.5
    axis = np.arange(-half, half + 1)
    square = [((axis[:, None] + offsets) * step) ** 2 for _ in range(3)]
    total = (
        square[0][:, None, None, :, None, None]
        + square[1][None, :, None, None, :, None]
        + square[2][None, None, :, None, None, :]
    )
    occupied = (total < radius**2).mean(axis=(3, 4, 5)).astype(np.float32)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = np.array(centre) - half * step
    return CoarseBody(sigma * occupied, occupied, affine)


def test_a_ball_in_a_uniform_field_loses_what_faraday_says():
    """R = 2 pi sigma w^2 (B/I)^2 a^5 / 15 (Hoult and Lauterbur, J Magn Reson 1979, 34:425), in the middle of a wide loop."""
    radius, sigma, omega = 0.05, 0.7, 2 * np.pi * 100e6
    wide = Array("wide", (ring(2.0, 200),))
    resistance = noise_resistance(ball(radius, 4e-3, sigma), wide, 100e6)
    field = MU_0 / (2 * 2.0)
    assert resistance[0, 0] == pytest.approx(2 * np.pi * sigma * omega**2 * field**2 * radius**5 / 15, rel=0.03)


def test_where_the_ball_lies_in_a_uniform_field_does_not_matter():
    """Off the loop's axis the vector potential alone would drive a current through the ball; charges hold it back."""
    wide = Array("wide", (ring(2.0, 200),))
    middle = noise_resistance(ball(0.05, 5e-3, 0.7), wide, 100e6)[0, 0]
    aside = noise_resistance(ball(0.05, 5e-3, 0.7, (0.2, 0.1, 0.0)), wide, 100e6)[0, 0]
    field = magnetic_field(wide.loops[0], np.array([[0.0, 0, 0], [0.2, 0.1, 0]]))[:, 2]
    assert aside / middle == pytest.approx((field[1] / field[0]) ** 2, rel=0.01)


def test_a_cut_neck_goes_on_beyond_its_face():
    short = body(6)
    longer = extended(short, ("-z", "+x"), 0.02)
    assert longer.conductivity.sum() == pytest.approx(short.conductivity.sum() / 36 * 9 * 9 * 6 / 6, rel=1e-6)
    assert longer.occupied.shape == (13, 10, 13)
    filled = np.argwhere(longer.occupied > 0)
    lowest = longer.affine[:3, :3] @ filled.min(axis=0)[::-1] + longer.affine[:3, 3]
    assert lowest == pytest.approx(short.affine[:3, 3] + 2 * 8e-3 - [0, 0, 3 * 8e-3])


def test_a_ball_under_a_surface_loop_loses_what_the_elliptic_integrals_say():
    """R = w^2 sigma integral A_phi^2 dV around the common axis, A_phi by quadrature of Jackson's form: no charges gather."""
    radius, sigma, a, height, omega = 0.08, 0.65, 0.04, 0.09, 2 * np.pi * 210e6
    resistance = noise_resistance(ball(radius, 4e-3, sigma), Array("one", (ring(a, 240, (0, 0, height)),)), 210e6)
    rho, z = np.meshgrid((np.arange(400) + 0.5) / 400 * radius, ((np.arange(800) + 0.5) / 400 - 1) * radius)
    k2 = 4 * a * rho / ((a + rho) ** 2 + (z - height) ** 2)
    potential = MU_0 / np.pi * np.sqrt(a / (rho * k2)) * ((1 - k2 / 2) * ellipk(k2) - ellipe(k2))
    cell = radius / 400
    expected = omega**2 * sigma * (2 * np.pi * rho * potential**2 * (rho**2 + z**2 < radius**2)).sum() * cell**2
    assert resistance[0, 0] == pytest.approx(expected, rel=0.03)


def test_a_loops_own_loss_stands_on_the_diagonal():
    lossless = noise_resistance(body(), array_around(), 200e6)
    lossy = noise_resistance(body(), array_around(resistance=0.7), 200e6)
    assert np.allclose(lossy - lossless, 0.7 * np.eye(3))


def test_mirrored_loops_hear_mirrored_noise():
    resistance = noise_resistance(body(), array_around(), 200e6)
    assert resistance[0, 0] == pytest.approx(resistance[2, 2], rel=1e-5)


def test_a_cubic_map_is_read_exactly_on_a_lattice_and_anywhere():
    affine = np.diag([4e-3, 4e-3, 5e-3, 1.0])
    affine[:3, 3] = [-0.03, -0.02, 0.01]
    z, y, x = np.meshgrid(*(np.arange(n) for n in (9, 10, 11)), indexing="ij")

    def polynomial(x, y, z):
        return (x**3 - 4 * x * x * y + z**3 * 0.2 + y) + 1j * (y**3 - x * z + 2)

    values = polynomial(x, y, z).astype(np.complex64)
    fine = np.diag([-1e-3, 2e-3, 1.7e-3, 1.0])
    fine[:3, 3] = [0.005, -0.015, 0.013]
    shape = (15, 12, 20)
    assert is_aligned(affine, fine)
    dense = sample_lattice(values, axis_weights(values.shape, affine, shape, fine))
    index = np.argwhere(np.ones(shape, bool))[:, ::-1]
    place = index @ fine[:3, :3].T + fine[:3, 3]
    node = (place - affine[:3, 3]) / np.diag(affine)[:3]
    exact = polynomial(*node.T)
    assert np.allclose(dense.reshape(-1), exact, atol=2e-3)
    assert np.allclose(sample(values, affine, place), exact, atol=2e-3)


def test_a_turned_lattice_is_not_taken_for_an_aligned_one():
    turned = np.diag([1e-3, 1e-3, 1e-3, 1.0])
    turned[:2, :2] = 1e-3 * np.array([[0.99, -0.14], [0.14, 0.99]])
    assert not is_aligned(np.diag([4e-3, 4e-3, 4e-3, 1.0]), turned)


def test_places_beyond_the_map_are_refused():
    values = np.ones((6, 6, 6), np.complex64)
    with pytest.raises(InputError, match="outside"):
        sample(values, np.eye(4), np.array([[9.0, 0, 0]]))


@pytest.mark.parametrize(
    ("name", "permittivity", "conductivity"),
    [
        ("Brain (Grey Matter)", 64.3, 0.645),
        ("Cerebro Spinal Fluid", 76.2, 2.19),
        ("muscle", 59.9, 0.746),
        ("Skin (Dry)", 54.8, 0.589),
    ],
)
def test_dielectrics_at_5t_are_those_of_gabriel(name, permittivity, conductivity):
    assert dielectric(name, 210.8e6) == pytest.approx((permittivity, conductivity), rel=2e-3)


def test_air_does_not_conduct_and_an_unknown_tissue_is_named():
    assert dielectric("air", 1e8) == (1.0, 0.0)
    assert len(dielectric_names()) == 44
    with pytest.raises(InputError, match="Brain"):
        dielectric("brain grey", 1e8)
