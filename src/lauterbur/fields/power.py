"""Where the power goes: absorbed in the body, radiated by its currents, given by the incident field.

given = 1/2 Re integral J . conj(E_inc) = absorbed + radiated,      all as matrices: power of drive w is w^H P w
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.fields.medium import Medium, step
from lauterbur.units import EPSILON_0, MU_0

POLAR = 10  # directions between the poles; twice as many around. Enough for bodies of a few radians


def given(medium: Medium, incident: NDArray[np.complex64], current: NDArray[np.complex64]) -> NDArray[np.complex128]:
    """W, (channel, channel), of E V/m and J A/m2 on the same faces, (channel, ...)."""
    channels = len(current)
    work = incident.reshape(channels, -1).conj() @ current.reshape(channels, -1).T
    return (work + work.conj().T).astype(np.complex128) * step(medium) ** 3 / 4


def radiated(medium: Medium, current: NDArray[np.complex64]) -> NDArray[np.complex128]:
    """W, (channel, channel), of currents J on the faces: k^2 eta / 32 pi^2 integral |F across r|^2 over all directions.

    F(r) = integral J exp(-i k r . r') dV'  (Balanis, Antenna Theory, 2016, section 3.6); nothing of the solver is used.
    """
    k = 2 * np.pi * medium.frequency * np.sqrt(EPSILON_0 * MU_0)
    size = step(medium)
    cos, weight = np.polynomial.legendre.leggauss(POLAR)
    phi = np.pi * np.arange(2 * POLAR) / POLAR
    sin = np.sqrt(1 - cos**2)
    direction = np.stack([np.outer(sin, np.cos(phi)), np.outer(sin, np.sin(phi)), np.outer(cos, np.ones_like(phi))])
    direction = direction.reshape(3, -1)
    solid = np.repeat(weight * np.pi / POLAR, 2 * POLAR)
    far = np.zeros((len(current), 3, direction.shape[1]), np.complex128)
    for a in range(3):
        phase = []
        for axis in range(3):
            n = medium.permittivity.shape[2 - axis]
            place = medium.affine[axis, 3] + (np.arange(n) + (axis == a) / 2) * size
            phase.append(np.exp(-1j * k * np.outer(place, direction[axis])).astype(np.complex64))
        for channel in range(len(current)):
            partly = current[channel, a] @ phase[0]  # (z, y, direction)
            far[channel, a] = np.einsum("zyd,yd,zd->d", partly, phase[1], phase[2], optimize=True)
    far *= size**3
    across = far - np.einsum("cad,ad->cd", far, direction)[:, None] * direction
    factor = k**2 * np.sqrt(MU_0 / EPSILON_0) / (32 * np.pi**2)
    return factor * np.einsum("pad,qad,d->pq", across.conj(), across, solid)
