"""A slow, obvious reference: fields of conductors as sums over many short current elements (Hertz dipoles).

E = i w mu0 I dl [ (1 + i/q - 1/q^2) u + (3/q^2 - 3i/q - 1) (u.R) R ] exp(iq) / (4 pi R),  q = k R,  R a unit vector in brackets
B = mu0 I dl (u x R) (1/R^2 - i k/R) exp(iq) / 4 pi            (Jackson, Classical Electrodynamics, section 9.2)
"""

import numpy as np

from lauterbur.fields.conductors import SPEED_OF_LIGHT
from lauterbur.units import MU_0

PARTS = 4  # per straight piece


def _elements(wires, points):
    node = (np.arange(PARTS) + 0.5) / PARTS
    edge = wires.end - wires.start
    for part in node:
        apart = np.asarray(points)[None] - (wires.start + part * edge)[:, None]
        distance = np.linalg.norm(apart, axis=2)
        yield edge[:, None] * wires.current[:, None, None] / PARTS, apart / distance[..., None], distance


def _per_conductor(wires, field):
    return np.stack([field[wires.owner == owner].sum(axis=0) for owner in range(wires.count)])


def electric_field(wires, points, frequency):
    """V/m per A, (conductor, point, 3)."""
    omega, total = 2 * np.pi * frequency, 0
    for flow, unit, distance in _elements(wires, points):
        q = omega / SPEED_OF_LIGHT * distance
        along = (flow * unit).sum(axis=2, keepdims=True) * unit
        shape = (1 + 1j / q - 1 / q**2)[..., None] * flow + (3 / q**2 - 3j / q - 1)[..., None] * along
        total = total + 1j * omega * MU_0 / (4 * np.pi) * shape * (np.exp(1j * q) / distance)[..., None]
    return _per_conductor(wires, total)


def magnetic_field(wires, points, frequency):
    """T per A, (conductor, point, 3)."""
    k, total = 2 * np.pi * frequency / SPEED_OF_LIGHT, 0
    for flow, unit, distance in _elements(wires, points):
        slope = (1 / distance**2 - 1j * k / distance) * np.exp(1j * k * distance)
        total = total + MU_0 / (4 * np.pi) * np.cross(np.broadcast_to(flow, unit.shape), unit) * slope[..., None]
    return _per_conductor(wires, total)
