"""Expansion: tables over the atoms' product grids, written in the few polynomials that matter.

A grid of five parameters has thousands of atoms, but what depends on all of them at once is next to nothing: of the products
of polynomials that pass through the atoms few are not small. Along each parameter the polynomials are orthonormal over its
nodes, so that what is left out is known: the error's squares, summed over the atoms, are the squares of the coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.atoms import LOCAL, NAMES, OFFSET, WHERE_MADE, AtomGrid, Mesh, U, everywhere, near

Float = NDArray[np.float64]
MADE_OF = tuple(NAMES[d] for d in WHERE_MADE)
AXES = (OFFSET, *WHERE_MADE)  # of the products


@dataclass(frozen=True, eq=False)
class Expansion:
    """Several grids' polynomials over what a spin is made of and its offset; along u, nodes as before.

    A table's rows (row, column): grid after grid, u slowest, then the products, those of one degree in the offset together.
    """

    mesh: Mesh
    basis: Float  # (grid, axis, node, degree)
    products: NDArray[np.int16]  # (product, axis) degrees, of all grids
    bounds: NDArray[np.int64]  # (grid, degree in the offset + 1) of their products
    first: NDArray[np.int64]  # (grid,) its first row

    @staticmethod
    def of(
        grids: tuple[AtomGrid, ...], tables: list[NDArray[np.complex64]], judged: list[bool], allowed: float
    ) -> tuple[Expansion, list[NDArray[np.complex64]]]:
        """And the tables (atom, column) as coefficients. allowed: relative error of the norm over the atoms of each grid, of the
        `judged` tables together."""
        mesh = Mesh.of(grids)
        basis = np.zeros((len(grids), len(AXES), *[int(mesh.sizes[:, AXES].max())] * 2))
        products: list[NDArray] = []
        made: list[list[NDArray[np.complex64]]] = [[] for _ in tables]
        for i, (grid, lo) in enumerate(zip(grids, mesh.first, strict=True)):
            sizes = [len(grid.dimensions[d].nodes) for d in AXES]
            for j, d in enumerate(AXES):
                basis[i, j, : sizes[j], : sizes[j]] = _orthonormal(mesh.nodes[i, d, : sizes[j]])
            here = [_coefficients(grid, table[lo : lo + len(grid)], basis[i]) for table in tables]
            energy = np.zeros(int(np.prod(sizes)))
            for c, counts in zip(here, judged, strict=True):
                if counts:
                    energy += np.sum(np.abs(c) ** 2, axis=(0, 2), dtype=float)
            order = np.argsort(energy)
            kept = np.sort(order[np.cumsum(energy[order]) > allowed**2 * energy.sum()])
            products.append(np.stack(np.unravel_index(kept, sizes), axis=1).astype(np.int16))
            for rows, c in zip(made, here, strict=True):
                rows.append(np.ascontiguousarray(c[:, kept]).reshape(-1, c.shape[2]))
        counts_of = [len(p) for p in products]
        before = np.concatenate(([0], np.cumsum(counts_of)))
        degrees = np.arange(mesh.sizes[:, OFFSET].max() + 1)
        bounds = np.array([lo + np.searchsorted(p[:, 0], degrees) for lo, p in zip(before, products, strict=False)])
        rows_of = [n * len(grid.dimensions[U].nodes) for n, grid in zip(counts_of, grids, strict=True)]
        first = np.concatenate(([0], np.cumsum(rows_of)))[:-1]
        return Expansion(mesh, basis, np.concatenate(products), bounds, first), [np.concatenate(rows) for rows in made]

    def values(
        self, table: NDArray[np.complex64], spins: dict[str, Float], offset: Float, u: Float, grid: NDArray[np.int16]
    ) -> NDArray[np.complex64]:
        """(place, n, column): `table` (row, column) at these spins, each in its grid (n,).

        Inside its box a spin has other offsets and u (place, n); what it is made of is the same everywhere.
        """
        out = np.empty((len(u), len(grid), table.shape[1]), np.complex64)
        if not out.size:
            return out
        mesh = self.mesh
        parts = np.ascontiguousarray(table).view(np.float32)  # real and imaginary ones side by side
        made_of = np.stack([spins[name] for name in MADE_OF])
        finest = mesh.steps.min(where=mesh.steps > 0, initial=np.inf)
        close = LOCAL + 1 + int(np.ceil(np.ptp(u, axis=0).max() / finest))
        wide = max(close, int(mesh.sizes[mesh.steps == 0, -1].max(initial=1)))  # nodes along u that a box needs
        _evaluate(
            grid, made_of, np.ascontiguousarray(offset), np.ascontiguousarray(u), mesh.scale, mesh.sizes, mesh.nodes,
            mesh.denominators, mesh.steps, self.first, self.basis, self.products, self.bounds, parts, wide,
            out.view(np.float32),
        )  # fmt: skip
        return out


def _orthonormal(nodes: Float) -> Float:
    """(node, degree): polynomials of rising degree at these nodes, orthonormal over them."""
    low, high = nodes.min(), nodes.max()
    x = (2 * nodes - low - high) / (high - low) if high > low else np.zeros(len(nodes))
    return np.asarray(np.linalg.qr(np.polynomial.chebyshev.chebvander(x, len(nodes) - 1))[0])


def _coefficients(grid: AtomGrid, table: NDArray[np.complex64], basis: Float) -> NDArray[np.complex64]:
    """(u, product, column) of a grid's rows (atom, column); basis: (axis, node, degree)."""
    sizes = [len(d.nodes) for d in grid.dimensions]
    c: NDArray = table.reshape(sizes[U], *sizes[:U], table.shape[1])
    for j, d in enumerate(AXES):
        if sizes[d] > 1:
            turn = basis[j, : sizes[d], : sizes[d]].astype(np.float32)
            c = np.moveaxis(np.tensordot(c, turn, axes=(d + 1, 0)), -1, d + 1)
    return np.ascontiguousarray(np.moveaxis(c, OFFSET + 1, 1)).reshape(sizes[U], -1, table.shape[1])


@numba.njit(cache=True)
def _degrees(x, nodes, denominators, basis, m, w, out):
    """The orthonormal polynomials of m nodes at x."""
    if m == 1:
        out[0] = basis[0, 0]
        return
    everywhere(x, nodes, denominators, m, w)
    for degree in range(m):
        here = 0.0
        for j in range(m):
            here += w[j] * basis[j, degree]
        out[degree] = here


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _evaluate(
    grid, made_of, offset, u, scale, sizes, nodes, denominators, steps, first, basis, products, bounds, table, wide, out
):
    """Polynomials of what a spin is made of, once for all places in its box; of the offset; Lagrange interpolation along u.

    made_of (dimension, spin); offset, u (place, spin).
    """
    n_places, n_columns, n_blocks, n_made = len(u), table.shape[1], 64, len(made_of)
    most, n_offsets = 0, bounds.shape[1] - 1
    for g in range(len(bounds)):
        most = max(most, bounds[g, -1] - bounds[g, 0])
    for block in numba.prange(n_blocks):
        product, of_degree = np.empty(most, np.float32), np.empty((n_made, basis.shape[2]), np.float32)
        w, w_offset = np.empty(nodes.shape[2]), np.empty(basis.shape[2], np.float32)
        w_u, w_near = np.empty(max(LOCAL, nodes.shape[2])), np.empty(LOCAL)
        partial = np.empty((n_offsets, wide, n_columns), np.float32)
        total = np.empty(n_columns, np.float32)
        start = np.zeros(n_places, np.int64)
        for v in range(block * len(grid) // n_blocks, (block + 1) * len(grid) // n_blocks):
            g = grid[v]
            for i in range(n_made):
                d = WHERE_MADE[i]
                x = made_of[i, v]
                if scale[g, d] > 0:
                    x = 1.0 if np.isinf(x) else x / (x + scale[g, d])
                _degrees(x, nodes[g, d], denominators[g, d], basis[g, i + 1], sizes[g, d], w, of_degree[i])
            origin = bounds[g, 0]
            n_products = bounds[g, -1] - origin
            for k in range(n_products):
                degrees = products[origin + k]
                here = of_degree[0, degrees[1]]
                for i in range(1, n_made):
                    here *= of_degree[i, degrees[i + 1]]
                product[k] = here
            m_u, low = sizes[g, U], 0
            if steps[g] > 0:
                low, high = m_u, 0
                for p in range(n_places):
                    place = int(np.floor((u[p, v] - nodes[g, U, 0]) / steps[g])) - (LOCAL // 2 - 1)
                    start[p] = min(max(place, 0), m_u - LOCAL)
                    low, high = min(low, start[p]), max(high, start[p] + LOCAL)
                m_u = high - low
            m_offset = sizes[g, OFFSET]
            for j in range(m_u):
                row = first[g] + (low + j) * n_products - origin
                for o in range(m_offset):
                    total[:] = 0
                    for k in range(bounds[g, o], bounds[g, o + 1]):
                        size = product[k - origin]
                        for c in range(n_columns):
                            total[c] += size * table[row + k, c]
                    partial[o, j] = total
            for p in range(n_places):
                _degrees(offset[p, v], nodes[g, OFFSET], denominators[g, OFFSET], basis[g, 0], m_offset, w, w_offset)
                at, close = 0, m_u
                if steps[g] > 0:
                    near((u[p, v] - nodes[g, U, 0]) / steps[g] - start[p], w_near)
                    w_u[:LOCAL] = w_near
                    at, close = start[p] - low, LOCAL
                else:
                    everywhere(u[p, v], nodes[g, U], denominators[g, U], m_u, w_u)
                total[:] = 0
                for o in range(m_offset):
                    for j in range(close):
                        size = np.float32(w_offset[o] * w_u[j])
                        for c in range(n_columns):
                            total[c] += size * partial[o, at + j, c]
                out[p, v] = total
