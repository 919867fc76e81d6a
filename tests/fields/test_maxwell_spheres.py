"""The Maxwell solver against exact series: plane waves on plain and layered spheres, a loop over a sphere, low frequency."""

import mie
import numpy as np
import pytest
import spheres
from spheres import RADIUS, C, core, error, permittivity, plane_wave, round_loop, sphere, wavenumber

from lauterbur.fields.coarse import CoarseBody
from lauterbur.fields.incident import incident_fields
from lauterbur.fields.integral import solve
from lauterbur.fields.medium import conductivity
from lauterbur.fields.noise import noise_resistance
from lauterbur.scanner.machine import Array, Loop

K = wavenumber()
CROSS_SECTION = 0.5 / (C * 4e-7 * np.pi) * np.pi * RADIUS**2  # W that 1 V/m sends through the sphere's disk


def test_the_series_itself_has_the_published_absorption_and_adds_layers_of_the_same_as_one():
    assert mie.efficiencies([RADIUS], [permittivity()], K)[2] == pytest.approx(0.5709991527, rel=1e-6)
    points = core(sphere(20e-3), 0.09)[1]
    one = mie.fields(points, [RADIUS], [permittivity()], K)
    two = mie.fields(points, [0.05, RADIUS], [permittivity()] * 2, K)
    assert error(two[0], one[0]) < 1e-10 and error(two[1], one[1]) < 1e-10


def test_a_plane_wave_in_a_sphere_converges_to_mie():
    errors, absorption = [], []
    for step in (12.5e-3, 6.25e-3):
        medium = sphere(step)
        solution = solve(medium, plane_wave(medium))
        mask, points = core(medium, 0.85 * RADIUS)
        e, cb = mie.fields(points, [RADIUS], [permittivity()], K)
        errors.append((error(solution.e[0][:, mask].T, e), error(solution.b[0][:, mask].T * C, cb)))
        absorption.append(solution.absorbed[0, 0].real / CROSS_SECTION / 0.5709991527 - 1)
    (e_coarse, b_coarse), (e_fine, b_fine) = errors
    assert e_fine < 0.056 and b_fine < 0.056
    assert e_coarse / e_fine > 1.8 and b_coarse / b_fine > 1.8  # first order, as stairs at the surface allow
    assert abs(absorption[1]) < 0.007


def test_a_plane_wave_in_a_layered_sphere_is_that_of_the_layered_series():
    radii, eps = (0.06, RADIUS), (permittivity(70, 1.5), permittivity(20, 0.3))
    medium = sphere(6.25e-3, radii, eps)
    solution = solve(medium, plane_wave(medium))
    mask, points = core(medium, 0.05)
    e, cb = mie.fields(points, radii, eps, K)
    assert error(solution.e[0][:, mask].T, e) < 0.07
    assert error(solution.b[0][:, mask].T * C, cb) < 0.07
    plain = mie.fields(points, [RADIUS], [eps[0]], K)[0]
    assert error(plain, e) > 0.3  # the layer matters
    absorbed = solution.absorbed[0, 0].real / CROSS_SECTION
    assert absorbed == pytest.approx(mie.efficiencies(radii, eps, K)[2], rel=0.02)


def test_a_loop_beside_a_sphere_is_that_of_the_exact_series_and_loads_as_it_says():
    exact = mie.LoopOverSphere(0.05, 0.12, [RADIUS], [permittivity()], K)
    medium = sphere(6.25e-3)
    solution = solve(medium, incident_fields(medium, [round_loop(0.05, 0.12)]))
    mask, points = core(medium, 0.85 * RADIUS)
    e, b = exact.fields(points)
    assert error(solution.e[0][:, mask].T, e) < 0.045
    assert error(solution.b[0][:, mask].T, b) < 0.045
    assert abs(solution.impedance[0, 0] / exact.impedance() - 1) < 0.06


def test_wires_alone_make_the_exact_retarded_field_of_a_loop():
    exact = mie.LoopOverSphere(0.05, 0.12, [RADIUS], [1.0 + 0j], K)
    medium = sphere(20e-3)
    incident = incident_fields(medium, [round_loop(0.05, 0.12)])
    mask, points = core(medium, 0.85 * RADIUS)
    assert error(incident.b[0][:, mask].T, exact.fields(points)[1]) < 5e-5
    face = points + [0.01, 0, 0]
    assert error(incident.e[0, 0][mask], exact.fields(face)[0][:, 0]) < 5e-5


def test_at_low_frequency_a_loop_is_loaded_as_the_quasi_static_solver_says():
    frequency = 5e6
    medium = sphere(10e-3, eps=(permittivity(2, 0.1, frequency),), frequency=frequency)
    loop = round_loop(0.05, 0.12, centre=(0.04, 0, 0))
    solution = solve(medium, incident_fields(medium, [loop]))
    body = CoarseBody(conductivity(medium), (medium.permittivity != 1).astype(np.float32), medium.affine)
    points = loop.segments[:, 0]
    static = noise_resistance(body, Array("one", (Loop(points),)), frequency)[0, 0]
    assert solution.impedance[0, 0].real == pytest.approx(static, rel=0.01)
    assert 2 * solution.absorbed[0, 0].real == pytest.approx(static, rel=0.01)


def test_spheres_turn_their_field_with_the_loop():
    medium = sphere(12.5e-3)
    loops = [round_loop(0.05, 0.125, axis=axis) for axis in (2, 0, 1)]  # round z, x, y
    solution = solve(medium, incident_fields(medium, loops))
    z, x, y = solution.b
    turned = np.roll(np.transpose(z, (0, 2, 3, 1)), 1, 0)  # z -> x: axes z, y, x become y, x, z
    assert spheres.error(turned, x) < 1e-3
    assert spheres.error(np.roll(np.transpose(x, (0, 2, 3, 1)), 1, 0), y) < 1e-3
    assert np.ptp(np.diag(solution.impedance)) < 1e-3 * abs(solution.impedance[0, 0])
