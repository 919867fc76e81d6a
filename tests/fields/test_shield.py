"""The cylindrical shield: E along the wall vanishes, coaxial loops against the sum over waveguide modes, the image of a line."""

import numpy as np
import pytest
from elements import electric_field, magnetic_field
from scipy.special import jn_zeros, jv

from lauterbur.errors import InputError
from lauterbur.fields.conductors import SPEED_OF_LIGHT, impedance, pieces
from lauterbur.fields.shield import (
    columns,
    lattice_strength,
    shield_electric,
    shield_impedance,
    shield_magnetic,
    source_strength,
    waves,
)
from lauterbur.scanner.coils import cylinder_dipoles, cylinder_loops
from lauterbur.scanner.machine import Conductor
from lauterbur.units import MU_0

FREQUENCY = 210.76e6


def circle(radius, corners, z=0.0):
    turn = 2 * np.pi * np.arange(corners) / corners
    return Conductor(
        np.stack([radius * np.cos(turn), radius * np.sin(turn), np.full(corners, z)], axis=1), np.ones(corners)
    )


@pytest.mark.parametrize("frequency", [1e6, 127.7e6, 210.76e6, 298e6])
def test_coaxial_loops_in_a_cylinder_couple_through_its_modes(frequency):
    """M = 2 pi mu0 a^2 / b^2 sum J1(x a/b)^2 / (g J0(x)^2) exp(-g d), g^2 = (x/b)^2 - k^2, J1(x) = 0: TE0n of the guide."""
    a, b, d = 0.12, 0.185, 0.2
    segments = pieces([circle(a, 90), circle(a, 90, d)])
    basis = waves(b, (0.0, 0.0), frequency, inner=a, outer=a, span=d)
    z = impedance(segments, 1e-3, frequency)[0] + shield_impedance(
        basis, source_strength(basis, segments), 2 * np.pi * frequency
    )
    x = jn_zeros(1, 60)
    g = np.sqrt((x / b) ** 2 - (2 * np.pi * frequency / SPEED_OF_LIGHT) ** 2)
    mutual = 2 * np.pi * MU_0 * a**2 / b**2 * np.sum(jv(1, x * a / b) ** 2 / (g * jv(0, x) ** 2) * np.exp(-g * d))
    assert z[0, 1] == pytest.approx(-2j * np.pi * frequency * mutual, rel=3e-3)
    assert abs(z[0, 0].real) < 1e-4 * abs(z[0, 0])  # below the cutoff nothing radiates


@pytest.mark.parametrize("kind", ["loops", "dipoles"])
def test_no_electric_field_along_the_wall_and_no_magnetic_field_through_it(kind):
    b = 0.185
    array = cylinder_loops("x", 8, 0.1, 0.2, 0.01) if kind == "loops" else cylinder_dipoles("x", 8, 0.1, 0.2, FREQUENCY)
    segments = pieces(array.conductors[:1])
    basis = waves(b, (0.0, 0.0), FREQUENCY, inner=0.9999 * b, outer=0.101, span=0.4)
    phi, z = 2 * np.pi * np.arange(12) / 12, np.array([0, 0.05, 0.13])
    x, y = b * np.cos(phi), b * np.sin(phi)
    at, strength = columns(basis, x, y, z), source_strength(basis, segments)
    e, magnetic = shield_electric(at, strength, 2 * np.pi * FREQUENCY), shield_magnetic(at, strength)
    place = np.stack([np.tile(x, 3), np.tile(y, 3), np.repeat(z, 12)], axis=1)
    free_e = electric_field(segments, place, FREQUENCY).reshape(1, 3, 12, 3).transpose(0, 3, 1, 2)
    free_b = magnetic_field(segments, place, FREQUENCY).reshape(1, 3, 12, 3).transpose(0, 3, 1, 2)

    def around(field):
        return field[:, 1] * np.cos(phi) - field[:, 0] * np.sin(phi)

    def outward(field):
        return field[:, 0] * np.cos(phi) + field[:, 1] * np.sin(phi)

    largest = np.abs(free_e).max()
    assert np.abs(around(e + free_e)).max() < 5e-3 * largest
    assert np.abs((e + free_e)[:, 2]).max() < 5e-3 * largest
    assert np.abs(outward(magnetic + free_b)).max() < 5e-3 * np.abs(free_b).max()


def test_a_long_wire_beside_the_wall_has_its_image_behind_it():
    """A slow line current at a distance a from the axis of a cylinder b: an opposite one at b^2 / a."""
    a, b, frequency = 0.1, 0.2, 1e5
    z = np.linspace(-3, 3, 301)
    x_go, x_back = a, -a  # there and back, closed far away
    points = np.concatenate(
        [np.stack([x_go + 0 * z, 0 * z, z], axis=1), np.stack([x_back + 0 * z, 0 * z, z[::-1]], axis=1)]
    )
    segments = pieces([Conductor(points, np.ones(len(points)))])
    basis = waves(b, (0.0, 0.0), frequency, inner=0.06, outer=a, span=3.5)
    at = columns(basis, np.array([0.0, 0.05]), np.array([0.02, 0.01]), np.array([0.0]))
    field = shield_magnetic(at, source_strength(basis, segments))[0, :, 0].T
    place = np.array([[0.0, 0.02], [0.05, 0.01]])
    expected = np.zeros((2, 2))
    for image_x, sense in ((b**2 / a, -1), (-(b**2) / a, 1)):  # opposite of +z at +a, of -z at -a
        apart = place - np.array([image_x, 0.0])
        expected += (
            sense * MU_0 / (2 * np.pi) * np.stack([-apart[:, 1], apart[:, 0]], axis=1) / (apart**2).sum(axis=1)[:, None]
        )
    assert np.allclose(field[:, :2].real, expected, rtol=0, atol=0.01 * np.abs(expected).max())


def test_currents_gathered_on_a_lattice_are_sources_like_any_other():
    """One short current element as a conductor and as a lattice current: the same waves."""
    basis = waves(0.185, (0.01, -0.02), FREQUENCY, inner=0.12, outer=0.12, span=0.3)
    place, length = np.array([0.07, 0.03, 0.02]), 1e-4
    for axis in range(3):
        step = length * np.eye(3)[axis]
        element = Conductor(np.array([place - step / 2, place + step / 2]), np.ones(2), is_closed=False)
        expected = source_strength(basis, pieces([element]))
        at = columns(basis, place[:1], place[1:2], place[2:])
        current = np.zeros((1, 3, 1, 1), np.complex64)
        current[0, axis] = length
        assert np.allclose(lattice_strength(at, current), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_shield_is_reciprocal_between_any_two_elements():
    basis = waves(0.2, (0.0, 0.0), FREQUENCY, inner=0.14, outer=0.14, span=0.3)
    places = np.array([[0.1, 0.05, 0.02], [-0.03, 0.08, -0.1]])
    elements = [
        Conductor(np.array([p, p + 1e-4 * np.array(u)]), np.ones(2), is_closed=False)
        for p, u in zip(places, ((0.6, 0.8, 0), (0, 0.6, 0.8)), strict=True)
    ]
    strength = source_strength(basis, pieces(elements))
    at = columns(basis, places[:1, 0], places[:1, 1], places[:1, 2])
    there = shield_electric(at, strength[:, 1:], 2 * np.pi * FREQUENCY)[0, :, 0, 0] @ (0.6, 0.8, 0) * 1e-4
    z = shield_impedance(basis, strength, 2 * np.pi * FREQUENCY)
    assert -there == pytest.approx(z[0, 1], rel=2e-3)
    at = columns(basis, places[1:, 0], places[1:, 1], places[1:, 2])
    back = shield_electric(at, strength[:, :1], 2 * np.pi * FREQUENCY)[0, :, 0, 0] @ (0, 0.6, 0.8) * 1e-4
    assert back == pytest.approx(there, rel=2e-3)


def test_above_its_cutoff_a_cylinder_carries_power_away():
    loop = Conductor(
        np.array([[0.25, -0.05, -0.05], [0.25, 0.05, -0.05], [0.25, 0.05, 0.05], [0.25, -0.05, 0.05]]), np.ones(4)
    )
    for frequency, radiates in ((210.76e6, False), (298e6, True)):  # TE11 of a 35 cm cylinder: 251 MHz
        basis = waves(0.35, (0.0, 0.0), frequency, inner=0.256, outer=0.256, span=0.1)
        z = impedance(pieces([loop]), 2e-3, frequency)[0]
        z = z + shield_impedance(basis, source_strength(basis, pieces([loop])), 2 * np.pi * frequency)
        assert (z[0, 0].real > 3e-4 * abs(z[0, 0])) == radiates
        assert z[0, 0].real > -1e-4 * abs(z[0, 0])


def test_what_lies_outside_the_shield_is_refused():
    with pytest.raises(InputError, match=r"21\.0 cm"):
        waves(0.2, (0.0, 0.0), FREQUENCY, inner=0.21, outer=0.1, span=0.2)


def test_waves_too_high_for_double_precision_are_left_out_where_little_is_lost_and_refused_where_much():
    """J_m of an order far above its argument is 0 in double precision, and H_m infinite: near the wall both are asked for."""
    loop = cylinder_loops("coil", 8, 0.185, 0.12, 0.01).conductors[0]
    fields = []
    for tolerance in (1e-5, 1e-7):  # 128 orders, which are held, and 178, which are not
        basis = waves(0.2, (0.0, 0.0), FREQUENCY, inner=0.194, outer=0.188, span=0.3, tolerance=tolerance)
        at = columns(basis, np.array([0.0, 0.14, 0.189]), np.array([0.0, 0.1, 0.04]), np.array([0.0, 0.05]))
        fields.append(shield_electric(at, source_strength(basis, pieces([loop])), 2 * np.pi * FREQUENCY))
        left_out = np.count_nonzero(basis.te == 0)
        assert (left_out > 0) == (tolerance == 1e-7)
    assert np.abs(fields[1] - fields[0]).max() < 1e-3 * np.abs(fields[0]).max()
    weak = np.abs(fields[0][..., :2]).max(axis=(0, 1, 2))  # far from the wall: what high waves must not drown
    assert np.all(np.abs(fields[1] - fields[0])[..., :2].max(axis=(0, 1, 2)) < 1e-4 * weak)
    with pytest.raises(InputError, match=r"come within 1\.0 mm of an RF shield"):
        waves(0.2, (0.0, 0.0), FREQUENCY, inner=0.199, outer=0.198, span=0.3)
