"""Impedances of thin conductors against closed forms: Maxwell's coaxial circles, Grover's thin loop, the half-wave dipole."""

import numpy as np
import pytest
from elements import electric_field
from scipy.special import ellipe, ellipk

from lauterbur.fields.conductors import SPEED_OF_LIGHT, impedance, pieces
from lauterbur.scanner.machine import Conductor
from lauterbur.units import MU_0

FREQUENCY = 210.76e6


def circle(radius, corners, z=0.0):
    turn = 2 * np.pi * np.arange(corners) / corners
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.full(corners, z)], axis=1)
    return Conductor(points, np.ones(corners))


def inductance(conductors, radius, frequency=1e5):
    z, charged = impedance(pieces(conductors), radius, frequency)
    assert np.abs(charged).max() == 0  # closed loops with a uniform current hold no charge
    return (z / (-2j * np.pi * frequency)).real


def test_mutual_inductance_of_coaxial_circles_is_maxwells():
    a, b, d = 0.05, 0.07, 0.04
    k = np.sqrt(4 * a * b / ((a + b) ** 2 + d**2))
    expected = MU_0 * np.sqrt(a * b) * ((2 / k - k) * ellipk(k**2) - 2 / k * ellipe(k**2))
    found = inductance([circle(a, 120), circle(b, 120, d)], 1e-3)
    assert found[0, 1] == pytest.approx(expected, rel=1e-3)
    assert found[0, 1] == pytest.approx(found[1, 0], rel=1e-12)


def test_self_inductance_of_a_thin_circle_is_grovers():
    for wire in (1e-3, 2e-3):
        expected = MU_0 * 0.05 * (np.log(8 * 0.05 / wire) - 2)
        assert inductance([circle(0.05, 120)], wire)[0, 0] == pytest.approx(expected, rel=2e-3)


def test_parallel_straight_wires_have_neumanns_mutual_inductance():
    """M = mu0 l / 2 pi (asinh(l/d) - sqrt(1 + (d/l)^2) + d/l) (Grover 1946, ch. 5), of two long sides; ends far away."""
    length, d = 0.4, 0.03
    z = np.linspace(0, length, 41)
    straight = [Conductor(np.stack([x + 0 * z, 0 * z, z], axis=1), np.ones(41), is_closed=False) for x in (0, d)]
    expected = MU_0 * length / (2 * np.pi) * (np.arcsinh(length / d) - np.sqrt(1 + (d / length) ** 2) + d / length)
    found = (impedance(pieces(straight), 1e-3, 1e5)[0] / (-2e5j * np.pi)).real
    assert found[0, 1] == pytest.approx(expected, rel=1e-3)


def test_a_half_wave_dipole_radiates_as_in_every_textbook():
    """Z = 73.1 + 42.5i Ohm for exp(+j w t) (Balanis, Antenna Theory, ch. 8): its conjugate here."""
    z = np.linspace(-0.25, 0.25, 81) * SPEED_OF_LIGHT / FREQUENCY
    current = np.cos(2 * np.pi * z * FREQUENCY / SPEED_OF_LIGHT)
    dipole = Conductor(np.stack([0 * z, 0 * z, z], axis=1), current, is_closed=False)
    induced, charged = impedance(pieces([dipole]), 1e-5, FREQUENCY)
    assert (induced + charged)[0, 0] == pytest.approx(73.13 - 42.54j, rel=0.01)


def test_a_small_loop_radiates_as_a_magnetic_dipole():
    """R = 20 (k^2 S)^2 ... = 31171 S^2 / wavelength^4 Ohm (Balanis, ch. 5)."""
    loop = circle(0.01, 96)
    expected = 31171 * (np.pi * 1e-4) ** 2 / (SPEED_OF_LIGHT / FREQUENCY) ** 4
    assert impedance(pieces([loop]), 1e-3, FREQUENCY)[0][0, 0].real == pytest.approx(expected, rel=0.01)


def test_impedance_is_minus_the_work_along_the_other_conductor():
    """Reciprocity: V_i = - integral E_j . dl, with E from the field and Z from the double integral."""
    first, second = circle(0.05, 96), circle(0.06, 96, 0.08)
    z = impedance(pieces([first, second]), 1e-3, FREQUENCY)[0]
    segments = pieces([second])
    work = 0
    for node, weight in zip(*np.polynomial.legendre.leggauss(2), strict=True):
        place = segments.start + (node + 1) / 2 * (segments.end - segments.start)
        e = electric_field(pieces([first]), place, FREQUENCY)[0]
        work += weight / 2 * (e * (segments.end - segments.start)).sum()
    assert -work == pytest.approx(z[0, 1], rel=2e-3)
