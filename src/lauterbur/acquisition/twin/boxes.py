"""Boxes: magnetisation that varies inside a voxel, in Legendre polynomials along its edges.

Along one edge, x in (-1, 1), a box hears 1/2 int m(x) exp(-i pi a x) dx, with a = k.edge in turns. With m(x) = exp(-i pi b x),
a state dephased by b turns, that is sinc(a + b), and

    sinc(a + b) = sum_n (2n + 1) (-1)^n j_n(pi b) j_n(pi a)

separates what the spin does (b: the state's k-vector, and the off-resonance that varies across the box) from what the
imaging does (a), exactly, in as many terms as either is long (Abramowitz and Stegun, 10.1.45). Slice profiles that vary
across the box enter by their values at Gauss-Legendre places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import scipy.special
from numpy.typing import NDArray

Float = NDArray[np.float64]
Order = tuple[int, int, int]
PLAIN: Order = (0, 0, 0)
HIGHEST = 6  # order of the polynomials
RADIANS = 0.9  # of the finest wave between two nodes that six-point interpolation follows to 3e-3
QUADRATURE = 1e-3  # error of what a wave does to a box


def leftover(turns: Float, order: int) -> Float:
    """j_n(pi a): what a box leaves of its n-th polynomial at k.edge = a turns."""
    if order == 0:
        return np.sinc(turns)
    size = scipy.special.spherical_jn(order, np.pi * np.abs(turns))
    return np.asarray(size * np.sign(turns) if order % 2 else size)


def box_factor(k: Float, edges: Float | None, order: Order = PLAIN) -> Float | float:
    """Product of j_n(pi k.edge) over the edges, at k (..., 3)."""
    if edges is None:
        return 1.0
    factor = np.ones(k.shape[:-1])
    for edge, n in zip(edges, order, strict=True):
        factor = factor * leftover(k @ edge, n)
    return factor


def _series() -> Float:
    """j_m(z) = z^m sum_i SERIES[m, i] z^(2 i)"""
    out = np.zeros((24, 9))
    for m in range(24):
        out[m, 0] = 1 / scipy.special.factorial2(2 * m + 1)
        for i in range(1, 9):
            out[m, i] = -0.5 * out[m, i - 1] / (i * (2 * m + 2 * i + 1))
    return out


SERIES = _series()


@numba.njit(cache=True)
def spherical_bessel(z, out):
    """j_0 .. j_(len - 1) at any real z."""
    n = len(out)
    a = abs(z)
    if a < 1.5:  # the power series; what is beyond it is less than 1e-26
        square, power, last = a * a, 1.0, 2 if a < 0.1 else (4 if a < 0.5 else 8)
        out[:] = 0
        for m in range(min(n, len(SERIES))):
            total = SERIES[m, last]
            for i in range(last - 1, -1, -1):
                total = total * square + SERIES[m, i]
            out[m] = power * total
            power *= a
    elif a > n:  # upwards
        out[0] = math.sin(a) / a
        if n > 1:
            out[1] = out[0] / a - math.cos(a) / a
        for m in range(1, n - 1):
            out[m + 1] = (2 * m + 1) / a * out[m] - out[m - 1]
    else:  # downwards from where nothing is left, scaled by sum (2n + 1) j_n^2 = 1 (Miller)
        after, here, total = 0.0, 1e-30, 0.0
        for m in range(n + 16 + int(a), -1, -1):
            if m < n:
                out[m] = here
            total += (2 * m + 1) * here * here
            after, here = here, (2 * m + 1) / a * here - after
        scale = 1 / math.sqrt(total)
        first = math.sin(a) / a
        second = first / a - math.cos(a) / a
        flip = out[0] * first < 0 if abs(first) > abs(second) or n == 1 else out[1] * second < 0
        for m in range(n):
            out[m] *= -scale if flip else scale
    if z < 0:
        for m in range(1, n, 2):
            out[m] = -out[m]


@dataclass(frozen=True, eq=False)
class Inside:
    """Places inside a box, enough to follow slice profiles across it, and how they sound together."""

    shifts: Float  # m, (place, 3)
    nodes: tuple[Float, ...]  # per edge, in (-1, 1), Gauss-Legendre
    edges: Float | None

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(len(x) for x in self.nodes)

    @property
    def one(self) -> Inside:
        """The same box with nothing but a centre."""
        return Inside(np.zeros((1, 3)), (np.zeros(1),) * 3, self.edges)

    def polynomials(self, highest: Order) -> tuple[NDArray[np.complex128], ...]:
        """Per edge (order, place, term): a state that is 1 at one place and 0 at the others, dephased by b turns, has
        sum over terms of this times j_term(pi b) of each polynomial; the (-i)^n of `leftover` is in it."""
        return tuple(_polynomials(x, n) for x, n in zip(self.nodes, highest, strict=True))


def _polynomials(nodes: Float, highest: int) -> NDArray[np.complex128]:
    n_terms = highest + len(nodes)
    x, w = np.polynomial.legendre.leggauss(n_terms + 1)
    legendre = np.polynomial.legendre.legvander(x, n_terms - 1)  # (point, degree)
    lagrange = np.ones((len(nodes), len(x)))
    for i, here in enumerate(nodes):
        for j, other in enumerate(nodes):
            if j != i:
                lagrange[i] *= (x - other) / (here - other)
    n, term = np.arange(highest + 1), np.arange(n_terms)
    product = np.einsum("g,gn,pg,gl->npl", w, legendre[:, : highest + 1], lagrange, legendre)
    return ((2 * n + 1) * (-1j) ** n)[:, None, None] * product * ((2 * term + 1) / 2 * (-1j) ** term)[None, None, :]


def inside_of(edges: Float | None, axis: Float | None, detail: float) -> Inside:
    """detail: m, how far apart local interpolation along the axis may have its nodes."""
    if edges is None or not np.isfinite(detail):
        return Inside(np.zeros((1, 3)), (np.zeros(1),) * 3, edges)
    nodes = []
    for edge in edges:
        across = abs(edge @ axis) if axis is not None else float(np.linalg.norm(edge))
        nodes.append(np.polynomial.legendre.leggauss(_n_places(across / detail))[0])
    a, b, c = (x[:, None] * edge[None, :] / 2 for x, edge in zip(nodes, edges, strict=True))
    return Inside((a[:, None, None] + b[None, :, None] + c[None, None, :]).reshape(-1, 3), tuple(nodes), edges)


def _n_places(across: float) -> int:
    """Places inside a box so many nodes' distances wide: Gauss's rule of one less integrates a wave, of RADIANS from
    node to node, to QUADRATURE (the error of Abramowitz and Stegun 25.4.30, over the integral of 1)."""
    if across < 0.4:
        return 1
    n = 1
    while _gauss_error(n, RADIANS * across / 2) > math.log(QUADRATURE):
        n += 1
    return n + 1


def _gauss_error(n: int, x: float) -> float:
    """Logarithm of what n places of Gauss's rule miss of a wave of x radians from the middle of a box to its end."""
    return 2 * n * math.log(2 * x) + 4 * math.lgamma(n + 1) - 3 * math.lgamma(2 * n + 1) - math.log(2 * n + 1)
