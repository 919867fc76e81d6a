"""Atoms: the few tissues a program is really played on, and how every spin is interpolated between them.

What happens to magnetisation depends on few numbers: T1, T2, |B1+|, off-resonance, the place along the selected axis,
diffusion. Each gets a handful of nodes - Chebyshev nodes of a smooth function over the range the spins span, or local
six-point interpolation along the selected axis, where slice profiles are sharp - and the atoms are their products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numba
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
NAMES = ("t1", "t2", "b1", "offset", "diffusion", "b1_prepared", "u")
CANDIDATES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17)
RELAXING = ("t1", "t2")
WHERE_MADE = tuple(
    NAMES.index(name) for name in ("t1", "t2", "b1", "diffusion", "b1_prepared")
)  # not inside a spin's box
OFFSET, U = NAMES.index("offset"), NAMES.index("u")
LOCAL = 6  # points of the local interpolation


@dataclass(frozen=True, eq=False)
class Dimension:
    """One parameter's nodes; where they are local, only the LOCAL nearest count."""

    name: str
    nodes: Float  # (node,) values of the parameter
    scale: float = 1.0  # of the map T -> T / (T + scale) that makes relaxation times, infinite ones too, bounded
    is_local: bool = False

    def place(self, values: Float) -> Float:
        if self.name in RELAXING:
            with np.errstate(invalid="ignore"):
                return np.where(np.isinf(values), 1.0, values / (values + self.scale))
        return values

    def weights(self, values: Float) -> Float:
        """(n, node) Lagrange weights over all nodes."""
        if len(self.nodes) == 1:
            return np.ones((len(values), 1))
        x, nodes = self.place(values), self.place(self.nodes)
        w = np.ones((len(values), len(nodes)))
        for i in range(len(nodes)):
            for j in range(len(nodes)):
                if j != i:
                    w[:, i] *= (x - nodes[j]) / (nodes[i] - nodes[j])
        return w


@dataclass(frozen=True, eq=False)
class Extent:
    """What nodes need to know of many values of one parameter."""

    name: str
    distinct: Float | None  # where there are few
    low: float
    high: float
    middle: float  # the median of the finite ones

    @staticmethod
    def of(name: str, values: Float) -> Extent:
        some = values[:: max(1, len(values) // 4096)]
        distinct: Float | None = np.unique(some)
        finite = some[np.isfinite(some)]
        if distinct is not None and len(distinct) <= max(CANDIDATES):
            distinct = np.unique(values)
        if distinct is not None and len(distinct) > max(CANDIDATES):
            distinct = None
        middle = float(np.median(finite)) if len(finite) else 1.0
        return Extent(name, distinct, float(values.min()), float(values.max()), middle)

    def chebyshev(self, n: int) -> Dimension:
        """n nodes over the extent; fewer where there are no more distinct values than nodes."""
        if self.distinct is not None and len(self.distinct) <= max(n, 1):
            return Dimension(self.name, self.distinct, self.middle)
        if n == 1:
            return Dimension(self.name, np.array([self.middle]))
        plain = Dimension(self.name, np.array([self.low, self.high]), self.middle)
        lo, hi = plain.place(plain.nodes)
        x = (lo + hi) / 2 - (hi - lo) / 2 * np.cos(np.pi * np.arange(n) / (n - 1))
        x = np.concatenate(([lo], x[1:-1], [hi]))
        if self.name in RELAXING:
            with np.errstate(divide="ignore"):
                x = np.where(x >= 1, np.inf, plain.scale * x / (1 - x))
        return Dimension(self.name, np.asarray(x, dtype=float), plain.scale)


def local(name: str, lo: float, hi: float, step: float) -> Dimension:
    n = max(LOCAL, math.ceil((hi - lo) / step) + LOCAL)
    middle = (lo + hi) / 2
    nodes: Float = np.asarray(middle + step * (np.arange(n) - (n - 1) / 2), np.float64)
    return Dimension(name, nodes, is_local=True)


@dataclass(frozen=True, eq=False)
class AtomGrid:
    """The product of the dimensions, u slowest, so that the atoms near one place along u are neighbours."""

    dimensions: tuple[Dimension, ...]  # in the order NAMES; u last here, slowest in memory
    parameters: dict[str, Float] = field(default_factory=dict)  # name -> (atom,)

    @staticmethod
    def of(dimensions: tuple[Dimension, ...]) -> AtomGrid:
        *inner, u = dimensions
        mesh = np.meshgrid(u.nodes, *[d.nodes for d in inner], indexing="ij")
        names = [u.name, *[d.name for d in inner]]
        return AtomGrid(dimensions, {name: grid.ravel() for name, grid in zip(names, mesh, strict=True)})

    @property
    def n_inner(self) -> int:
        return math.prod(len(d.nodes) for d in self.dimensions[:-1])

    def __len__(self) -> int:
        return self.n_inner * len(self.dimensions[-1].nodes)


def near_weights(place: float) -> Float:
    """(LOCAL,) Lagrange weights of nodes at 0, 1, 2, ..."""
    out = np.empty(LOCAL)
    near(place, out)
    return out


def halfway_error(values: NDArray, stride: int) -> NDArray:
    """(quantity, middle): how wrong values (quantity, place) are, guessed half-way between every `stride`-th of them."""
    known = values[:, ::stride]
    n = known.shape[1] - LOCAL + 1
    weights = near_weights(LOCAL / 2 - 0.5)
    guess = sum(weights[i] * known[:, i : i + n] for i in range(LOCAL))
    middle = values[:, stride * (LOCAL // 2 - 1) + stride // 2 :: stride][:, :n]
    return guess[:, : middle.shape[1]] - middle


@dataclass(frozen=True, eq=False)
class Mesh:
    """Several grids, side by side for one kernel. A dimension's place in memory is its stride."""

    sizes: NDArray[np.int64]  # (grid, dimension)
    strides: NDArray[np.int64]  # (grid, dimension), in atoms
    scale: Float  # (grid, dimension), 0 where the parameter is taken as it is
    nodes: Float  # (grid, dimension, node)
    denominators: Float  # (grid, dimension, node)
    steps: Float  # (grid,) between the nodes of u where those are local, else 0
    first: NDArray[np.int64]  # (grid,) its first atom

    @staticmethod
    def of(grids: tuple[AtomGrid, ...]) -> Mesh:
        sizes = np.array([[len(d.nodes) for d in g.dimensions] for g in grids], np.int64)
        nodes = np.zeros((*sizes.shape, int(sizes.max())))
        denominators, scale, strides = np.ones_like(nodes), np.zeros(sizes.shape), np.ones_like(sizes)
        steps = np.zeros(len(grids))
        for i, grid in enumerate(grids):
            for j, d in enumerate(grid.dimensions):
                x = d.place(d.nodes)
                nodes[i, j, : len(x)] = x
                if d.is_local:
                    steps[i] = x[1] - x[0]
                    continue
                denominators[i, j, : len(x)] = 1 / np.prod(x[:, None] - x[None, :] + np.eye(len(x)), axis=1)
                scale[i, j] = d.scale if d.name in RELAXING else 0.0
            inner = sizes[i, :-1]  # u is slowest
            strides[i, :-1] = np.concatenate((np.cumprod(inner[::-1])[::-1][1:], [1]))
            strides[i, -1] = np.prod(inner)
        return Mesh(sizes, strides, scale, nodes, denominators, steps, np.cumsum([0] + [len(g) for g in grids])[:-1])


@numba.njit(cache=True)
def near(t, w):
    """Lagrange weights of LOCAL nodes at 0, 1, 2, ... for the place t."""
    for i in range(LOCAL):
        here = 1.0
        for j in range(LOCAL):
            if j != i:
                here *= (t - j) / (i - j)
        w[i] = here


@numba.njit(cache=True)
def everywhere(x, nodes, denominators, m, w):
    """Lagrange weights of all m nodes at x."""
    for i in range(m):
        here = denominators[i]
        for j in range(m):
            if j != i:
                here *= x - nodes[j]
        w[i] = here
