"""Places inside a box: enough to follow a slice profile across it, with the box's dephasing exact between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special
from numpy.typing import NDArray

from lauterbur.acquisition.twin.compile import PulseShape
from lauterbur.acquisition.twin.passes import feature_length


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Places inside a box, enough to follow slice profiles across it, and what each stands for."""

    shifts: NDArray[np.float64]  # m, (place, 3)
    nodes: tuple[NDArray[np.float64], ...]  # per edge, in (-1, 1), Gauss-Legendre
    edges: NDArray[np.float64] | None

    def shares(self, k: NDArray | None) -> NDArray[np.complex128]:
        """(place,) integral over the box of exp(-2 pi i k.x) times the polynomial that is 1 at that place, 0 at others.

        exp(-i z x) = sum (2n + 1) (-i)^n j_n(z) P_n(x): exact for any k, however few places carry the profile.
        """
        out = np.ones(1, complex)
        for axis, x in enumerate(self.nodes):
            z = 0.0 if k is None or self.edges is None else float(np.pi * (k @ self.edges[axis]))
            weight = np.polynomial.legendre.leggauss(len(x))[1] / 2
            n = np.arange(len(x))
            series = (2 * n + 1) * (-1j) ** n * np.sign(z) ** n * scipy.special.spherical_jn(n, abs(z))
            out = (
                out[:, None] * (weight * (np.polynomial.legendre.legvander(x, len(x) - 1) @ series))[None, :]
            ).ravel()
        return out


def quadrature_of(edges: NDArray | None, axis: NDArray | None, shapes: tuple[PulseShape, ...]) -> Quadrature:
    feature = feature_length(shapes)
    if edges is None or not np.isfinite(feature):
        return Quadrature(np.zeros((1, 3)), (np.zeros(1),) * 3, edges)
    nodes = []
    for edge in edges:
        across = abs(edge @ axis) if axis is not None else np.linalg.norm(edge)
        nodes.append(
            np.polynomial.legendre.leggauss(1 if across < 0.1 * feature else 2 + math.ceil(3.5 * across / feature))[0]
        )
    a, b, c = (x[:, None] * edge[None, :] / 2 for x, edge in zip(nodes, edges, strict=True))
    return Quadrature((a[:, None, None] + b[None, :, None] + c[None, None, :]).reshape(-1, 3), tuple(nodes), edges)
