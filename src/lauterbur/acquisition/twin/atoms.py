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
MADE_OF = ("t1", "t2", "b1", "diffusion", "b1_prepared")  # what does not change inside a spin's box
WHERE_MADE = tuple(NAMES.index(name) for name in MADE_OF)
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
    _near(place, out)
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

    def interpolate(
        self, table: NDArray[np.complex64], spins: dict[str, Float], offset: Float, u: Float, grid: NDArray[np.int16]
    ) -> NDArray[np.complex64]:
        """(place, n, column): rows of `table` (atom, column) at these spins, each in its grid (n,).

        Inside its box a spin has other offsets and u (place, n); what it is made of is the same everywhere.
        """
        out = np.empty((len(u), len(grid), table.shape[1]), np.complex64)
        if not out.size:
            return out
        parts = np.ascontiguousarray(table).view(np.float32)  # real and imaginary ones side by side
        made_of = np.stack([spins[name] for name in MADE_OF])
        most = int(self.sizes[:, WHERE_MADE].prod(axis=1).max())
        finest = self.steps.min(where=self.steps > 0, initial=np.inf)
        near = LOCAL + 1 + math.ceil(np.ptp(u, axis=0).max() / finest)
        wide = max(near, int(self.sizes[self.steps == 0, -1].max(initial=1)))  # nodes along u that a box needs
        _interpolate(
            grid, made_of, np.ascontiguousarray(offset), np.ascontiguousarray(u), self.scale, self.sizes, self.strides,
            self.nodes, self.denominators, self.steps, self.first, parts, most, wide, out.view(np.float32),
        )  # fmt: skip
        return out


@numba.njit(cache=True)
def _near(t, w):
    """Lagrange weights of LOCAL nodes at 0, 1, 2, ... for the place t."""
    for i in range(LOCAL):
        here = 1.0
        for j in range(LOCAL):
            if j != i:
                here *= (t - j) / (i - j)
        w[i] = here


@numba.njit(cache=True)
def _everywhere(x, nodes, denominators, m, w):
    """Lagrange weights of all m nodes at x."""
    for i in range(m):
        here = denominators[i]
        for j in range(m):
            if j != i:
                here *= x - nodes[j]
        w[i] = here


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _interpolate(
    grid, made_of, offset, u, scale, sizes, strides, nodes, denominators, steps, first, table, most, wide, out
):
    """Lagrange interpolation in product grids: first over what a spin is made of, once for all places in its box.

    made_of (dimension, spin); offset, u (place, spin).
    """
    n_places, n_columns, n_blocks = len(u), table.shape[1], 64
    for block in numba.prange(n_blocks):
        product, atom = np.empty(most, np.float32), np.empty(most, np.int64)
        w, w_offset = np.empty(max(LOCAL, nodes.shape[2]), np.float32), np.empty(nodes.shape[2], np.float32)
        w_u = np.empty(max(LOCAL, nodes.shape[2]), np.float32)
        partial = np.empty((sizes[:, OFFSET].max(), wide, n_columns), np.float32)
        total = np.empty(n_columns, np.float32)
        start = np.zeros(n_places, np.int64)
        for v in range(block * len(grid) // n_blocks, (block + 1) * len(grid) // n_blocks):
            g = grid[v]
            filled = 1
            product[0], atom[0] = 1, first[g]
            for i_dimension in range(len(made_of)):
                d = WHERE_MADE[i_dimension]
                m = sizes[g, d]
                if m == 1:
                    continue
                x = made_of[i_dimension, v]
                if scale[g, d] > 0:
                    x = 1.0 if math.isinf(x) else x / (x + scale[g, d])
                _everywhere(x, nodes[g, d], denominators[g, d], m, w)
                for j in range(m - 1, -1, -1):
                    for i in range(filled):
                        product[j * filled + i] = product[i] * w[j]
                        atom[j * filled + i] = atom[i] + j * strides[g, d]
                filled *= m
            m_offset, m_u, low = sizes[g, OFFSET], sizes[g, U], 0
            if steps[g] > 0:
                low, high = m_u, 0
                for p in range(n_places):
                    place = math.floor((u[p, v] - nodes[g, U, 0]) / steps[g]) - (LOCAL // 2 - 1)
                    start[p] = min(max(place, 0), m_u - LOCAL)
                    low, high = min(low, start[p]), max(high, start[p] + LOCAL)
                m_u = high - low
            for o in range(m_offset):
                for j in range(m_u):
                    total[:] = 0
                    more = o * strides[g, OFFSET] + (low + j) * strides[g, U]
                    for a in range(filled):
                        size, row = product[a], atom[a] + more
                        for c in range(n_columns):
                            total[c] += size * table[row, c]
                    partial[o, j] = total
            for p in range(n_places):
                w_offset[0] = w_u[0] = 1
                if m_offset > 1:
                    _everywhere(offset[p, v], nodes[g, OFFSET], denominators[g, OFFSET], m_offset, w_offset)
                at, near = 0, m_u
                if steps[g] > 0:
                    _near((u[p, v] - nodes[g, U, 0]) / steps[g] - start[p], w_u)
                    at, near = start[p] - low, LOCAL
                elif m_u > 1:
                    _everywhere(u[p, v], nodes[g, U], denominators[g, U], m_u, w_u)
                total[:] = 0
                for o in range(m_offset):
                    for j in range(near):
                        size = w_offset[o] * w_u[j]
                        for c in range(n_columns):
                            total[c] += size * partial[o, at + j, c]
                out[p, v] = total
