"""Integrals of exp(i k R) / R along straight segments, and their curls: the static part exact, the rest by Gauss's rule.

    integral 1 / R dl = ln((Ra + Rb + L) / (Ra + Rb - L))      (Hanson and Hirshman, Phys Plasmas 2002, 9:4410)

What retardation adds, (exp(i k R) - 1) / R, is smooth: a few points per segment. Distances below the wire's radius count as
the radius.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

GAUSS = 0.02  # m of a segment per point


def potentials(
    lines: Sequence[NDArray[np.float64]],
    weights: Sequence[NDArray[np.complex128]],
    radii: Sequence[float],
    places: NDArray[np.float64],
    k: float,
) -> NDArray[np.complex128]:
    """sum over segments of weight integral exp(i k R) / R dl, (line, place); segments (n, 2, 3), weights (n,)."""
    out = np.zeros((len(lines), len(places)), np.complex128)
    for row, segments, weight, radius in zip(out, lines, weights, radii, strict=True):
        used = np.abs(weight) > 0
        if used.any():
            nodes = _nodes(segments[used])
            _potential(np.ascontiguousarray(segments[used]), weight[used], radius, places, k, *nodes, row)
    return out


def curl(
    lines: Sequence[NDArray[np.float64]],
    currents: Sequence[NDArray[np.complex128]],
    radii: Sequence[float],
    places: NDArray[np.float64],
    k: float,
) -> NDArray[np.complex128]:
    """curl of sum over segments of current integral exp(i k R) / R dl vector, (line, place, 3)."""
    out = np.zeros((len(lines), len(places), 3), np.complex128)
    for row, segments, current, radius in zip(out, lines, currents, radii, strict=True):
        if len(segments):
            _curl(np.ascontiguousarray(segments), current, radius, places, k, *_nodes(segments), row)
    return out


def _nodes(segments: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Gauss points m (node, 3), their weights m (node,), and where each segment's begin (segment + 1,)."""
    place, weight, first = [], [], [0]
    for start, end in segments:
        length = float(np.linalg.norm(end - start))
        node, share = np.polynomial.legendre.leggauss(1 + int(length / GAUSS))
        place.append(start + (node[:, None] + 1) / 2 * (end - start))
        weight.append(share * length / 2)
        first.append(first[-1] + len(node))
    return np.concatenate(place), np.concatenate(weight), np.array(first)


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _potential(segments, weight, radius, places, k, node, share, first, out):  # type: ignore[no-untyped-def]
    for i in prange(len(places)):
        x, y, z = places[i]
        total = 0j
        for s in range(len(segments)):
            a, b = segments[s, 0], segments[s, 1]
            length = np.sqrt((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2)
            p = np.sqrt((x - a[0]) ** 2 + (y - a[1]) ** 2 + (z - a[2]) ** 2)
            q = np.sqrt((x - b[0]) ** 2 + (y - b[1]) ** 2 + (z - b[2]) ** 2)
            both = max(p + q, np.sqrt(length * length + 4 * radius * radius))
            real, imag = np.log((both + length) / (both - length)), 0.0
            for j in range(first[s], first[s + 1]):
                r = np.sqrt((x - node[j, 0]) ** 2 + (y - node[j, 1]) ** 2 + (z - node[j, 2]) ** 2)
                r = max(r, radius)
                half = np.sin(k * r / 2)
                imag += share[j] * 2 * half * np.cos(k * r / 2) / r
                real -= share[j] * 2 * half * half / r
            total += weight[s] * complex(real, imag)
        out[i] = total


@njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _curl(segments, current, radius, places, k, node, share, first, out):  # type: ignore[no-untyped-def]
    for i in prange(len(places)):
        x, y, z = places[i]
        for s in range(len(segments)):
            a, b = segments[s, 0], segments[s, 1]
            dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            square = dx * dx + dy * dy + dz * dz
            if square == 0:
                continue
            px, py, pz = x - a[0], y - a[1], z - a[2]
            qx, qy, qz = x - b[0], y - b[1], z - b[2]
            p, q = np.sqrt(px * px + py * py + pz * pz), np.sqrt(qx * qx + qy * qy + qz * qz)
            product = max(p * q, radius * radius)
            below = max(p * q + px * qx + py * qy + pz * qz, square * radius * radius / (2 * product))
            factor = (p + q) / (product * below)
            bx = complex(factor * (py * qz - pz * qy))
            by = complex(factor * (pz * qx - px * qz))
            bz = complex(factor * (px * qy - py * qx))
            inverse = 1 / np.sqrt(square)
            for j in range(first[s], first[s + 1]):
                rx, ry, rz = x - node[j, 0], y - node[j, 1], z - node[j, 2]
                r = max(np.sqrt(rx * rx + ry * ry + rz * rz), radius)
                u = k * r
                if u > 0.05:  # (i u exp(i u) - exp(i u) + 1) / r^3, the gradient of (exp(i u) - 1) / r along R
                    c, d = np.cos(u), np.sin(u)
                    slope = complex(1 - c - u * d, u * c - d) / (r * r * r)
                else:
                    slope = k * k / r * complex(-0.5 + u * u / 8, -u / 3)
                slope *= share[j] * inverse
                bx += slope * (ry * dz - rz * dy)
                by += slope * (rz * dx - rx * dz)
                bz += slope * (rx * dy - ry * dx)
            out[i, 0] += current[s] * bx
            out[i, 1] += current[s] * by
            out[i, 2] += current[s] * bz
