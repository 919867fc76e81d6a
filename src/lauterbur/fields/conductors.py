"""Thin conductors in free space at one frequency: their impedances. Their fields in a body are those of fields/incident.py.

    E = i w A - grad Phi,   A = mu0 integral I dl' G,   Phi = 1/(i w eps0) integral dI/ds' G ds',   G = exp(i k R) / (4 pi R)

exp(-i w t): an inductance is Z = -i w L, a capacitor i / (w C). The current along a conductor has a given shape (machine.py);
Z_ij is minus the work of E_j along shape i (the induced-EMF method; Balanis, Antenna Theory, ch. 8). The part 1/R is integrated exactly
along each straight piece, the rest, (exp(ikR) - 1)/R, which is smooth, by Gauss. A wire's own field is taken on its surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lauterbur.scanner.machine import Array, Conductor
from lauterbur.units import EPSILON_0, MU_0

SPEED_OF_LIGHT = 1 / np.sqrt(MU_0 * EPSILON_0)  # m/s
NEAR = 2.5  # lengths of a piece: nearer pairs get more points
COARSE_ORDER, FINE_ORDER = 3, 12  # Gauss points along a piece


@dataclass(frozen=True, eq=False)
class Pieces:
    """All conductors as straight pieces, one after the other."""

    start: NDArray[np.float64]  # m, (piece, 3)
    end: NDArray[np.float64]  # m, (piece, 3)
    current: NDArray[np.float64]  # (piece,): mean relative current
    rise: NDArray[np.float64]  # (piece,): what the current gains from start to end; charge where it is not 0
    owner: NDArray[np.int64]  # (piece,): which conductor
    count: int  # of conductors


def pieces(conductors: Sequence[Conductor]) -> Pieces:
    start, end, current, rise, owner = [], [], [], [], []
    for i, conductor in enumerate(conductors):
        points, flow = conductor.points, conductor.current
        if conductor.is_closed:
            points, flow = np.concatenate([points, points[:1]]), np.concatenate([flow, flow[:1]])
        start.append(points[:-1])
        end.append(points[1:])
        current.append((flow[:-1] + flow[1:]) / 2)
        rise.append(np.diff(flow))
        owner.append(np.full(len(points) - 1, i))
    return Pieces(
        np.concatenate(start),
        np.concatenate(end),
        np.concatenate(current),
        np.concatenate(rise),
        np.concatenate(owner),
        len(conductors),
    )


def as_conductors(array: Array) -> tuple[Conductor, ...]:
    """The loops of a receive array, each with a uniform current."""
    return tuple(Conductor(loop.points, np.ones(len(loop.points))) for loop in array.loops)


def impedance(wires: Pieces, radius: float, frequency: float) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Ohm, (conductor, conductor), without loss: what the vector potential induces, and what the charges do (0 for loops).

    The real part is what they radiate.
    """
    k = 2 * np.pi * frequency / SPEED_OF_LIGHT
    gauss = [np.polynomial.legendre.leggauss(order) for order in (COARSE_ORDER, FINE_ORDER)]
    rules = [((nodes + 1) / 2, weights / 2) for nodes, weights in gauss]
    induced, charged = _mutual(
        wires.start, wires.end, wires.current, wires.rise, wires.owner, wires.count, radius, k, *rules[0], *rules[1]
    )  # of 4 pi G
    omega = 2 * np.pi * frequency
    z_induced = -1j * omega * MU_0 / (4 * np.pi) * induced
    z_charged = 1j / (omega * EPSILON_0) / (4 * np.pi) * charged
    return (z_induced + z_induced.T) / 2, (z_charged + z_charged.T) / 2


@njit(cache=True, nogil=True)
def _along(x, y, z, start, direction, length, radius):  # type: ignore[no-untyped-def]
    """Integral of 1 / sqrt(R^2 + radius^2) along a straight piece, exact."""
    px, py, pz = x - start[0], y - start[1], z - start[2]
    s = px * direction[0] + py * direction[1] + pz * direction[2]
    rho = np.sqrt(max(px * px + py * py + pz * pz - s * s, 0.0) + radius * radius)
    return np.arcsinh((length - s) / rho) + np.arcsinh(s / rho)


@njit(cache=True, nogil=True)
def _mutual(  # type: ignore[no-untyped-def]
    start, end, current, rise, owner, count, radius, k, coarse, coarse_weight, fine, fine_weight
):
    n = len(start)
    induced = np.zeros((count, count), np.complex128)
    charged = np.zeros((count, count), np.complex128)
    direction = np.empty((n, 3))
    length = np.empty(n)
    for i in range(n):
        d = end[i] - start[i]
        length[i] = np.sqrt((d * d).sum())
        direction[i] = d / length[i]
    for i in range(n):
        middle = (start[i] + end[i]) / 2
        for j in range(n):
            apart = middle - (start[j] + end[j]) / 2
            is_near = np.sqrt((apart * apart).sum()) < NEAR * (length[i] + length[j]) / 2
            nodes, weights = (fine, fine_weight) if is_near else (coarse, coarse_weight)
            total = 0j
            for a in range(len(nodes)):
                place = start[i] + nodes[a] * length[i] * direction[i]
                value = _along(place[0], place[1], place[2], start[j], direction[j], length[j], radius) + 0j
                for b in range(len(coarse)):
                    apart = place - start[j] - coarse[b] * length[j] * direction[j]
                    r = np.sqrt((apart * apart).sum() + radius * radius)
                    value += coarse_weight[b] * length[j] * (np.exp(1j * k * r) - 1) / r
                total += weights[a] * length[i] * value
            dot = (direction[i] * direction[j]).sum()
            induced[owner[i], owner[j]] += dot * current[i] * current[j] * total
            charged[owner[i], owner[j]] += rise[i] * rise[j] / (length[i] * length[j]) * total
    return induced, charged
