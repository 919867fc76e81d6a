"""Spheres on a grid, plane waves and round loops: what the tests and the benchmark of the Maxwell solver share."""

import numpy as np

from lauterbur.fields.incident import Conductor, Incident
from lauterbur.fields.medium import Medium, centres
from lauterbur.units import EPSILON_0, MU_0

FREQUENCY = 210.8e6
RADIUS = 0.1
C = 1 / np.sqrt(EPSILON_0 * MU_0)


def permittivity(relative=60.0, sigma=0.75, frequency=FREQUENCY):
    return relative + 1j * sigma / (2 * np.pi * frequency * EPSILON_0)


def wavenumber(frequency=FREQUENCY):
    return 2 * np.pi * frequency / C


def sphere(step, radii=(RADIUS,), eps=None, frequency=FREQUENCY, centre=(0.0, 0.0, 0.0)):
    """Voxels whose middle lies in a layer are wholly of it; radii from inside out."""
    n = int(np.ceil(radii[-1] / step)) + 2
    place = (np.arange(2 * n) - n + 0.5) * step
    r = np.sqrt(place[:, None, None] ** 2 + place[:, None] ** 2 + place**2)
    eps = [permittivity()] if eps is None else eps
    values = np.append(np.asarray(eps, complex), 1)[np.searchsorted(radii, r)]
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = place[0] + np.asarray(centre)
    return Medium(values.astype(np.complex64), affine, frequency)


def plane_wave(medium):
    """E along x, going to +z, 1 V/m."""
    k, step = wavenumber(medium.frequency), medium.affine[0, 0]
    z = medium.affine[2, 3] + np.arange(medium.permittivity.shape[0]) * step
    e, b = np.zeros((2, 1, 3, *medium.permittivity.shape), np.complex64)
    e[0, 0] = np.exp(1j * k * z)[:, None, None]
    b[0, 1] = np.exp(1j * k * z)[:, None, None] / C
    return Incident(e, b)


def round_loop(radius, height, sides=48, axis=2, centre=(0.0, 0.0, 0.0)):
    """1 A around an axis; a polygon with the circle's area, so that its moment is right."""
    angle = 2 * np.pi * np.arange(sides) / sides
    radius = radius * np.sqrt(2 * np.pi / sides / np.sin(2 * np.pi / sides))
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(sides, height)], 1)
    points = np.roll(points, axis + 1, 1) + np.asarray(centre)
    return Conductor(np.stack([points, np.roll(points, -1, 0)], 1), np.ones(sides, complex))


def core(medium, within):
    """Mask of voxels whose middle is that near the grid's middle, and their centres."""
    everywhere = centres(medium, np.ones(medium.permittivity.shape, bool))
    middle = everywhere.mean(axis=0)
    inside = np.linalg.norm(everywhere - middle, axis=1) < within
    return inside.reshape(medium.permittivity.shape), everywhere[inside]


def error(found, exact):
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
