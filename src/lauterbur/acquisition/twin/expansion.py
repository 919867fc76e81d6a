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


@dataclass(frozen=True, eq=False)
class Expansion:
    """Several grids' polynomials over what a spin is made of; along its offset and u, nodes as before.

    A table's rows (row, column): grid after grid, u slowest, then the offset's nodes, then the products.
    """

    mesh: Mesh
    basis: Float  # (grid, made of, node, degree)
    products: NDArray[np.int16]  # (product, made of) degrees, of all grids
    bounds: NDArray[np.int64]  # (grid + 1,) of their products
    first: NDArray[np.int64]  # (grid,) its first row

    @staticmethod
    def of(
        grids: tuple[AtomGrid, ...], tables: list[NDArray[np.complex64]], judged: list[bool], allowed: float
    ) -> tuple[Expansion, list[NDArray[np.complex64]]]:
        """And the tables (atom, column) as coefficients. allowed: relative error of the norm over the atoms of each grid, of the
        `judged` tables together."""
        mesh = Mesh.of(grids)
        basis = np.zeros((len(grids), len(MADE_OF), *[int(mesh.sizes[:, WHERE_MADE].max())] * 2))
        products: list[NDArray] = []
        made: list[list[NDArray[np.complex64]]] = [[] for _ in tables]
        for i, (grid, lo) in enumerate(zip(grids, mesh.first, strict=True)):
            sizes = [len(grid.dimensions[d].nodes) for d in WHERE_MADE]
            for j, d in enumerate(WHERE_MADE):
                basis[i, j, : sizes[j], : sizes[j]] = _orthonormal(mesh.nodes[i, d, : sizes[j]])
            here = [_coefficients(grid, table[lo : lo + len(grid)], basis[i]) for table in tables]
            energy = sum(
                (
                    np.sum(np.abs(c) ** 2, axis=(0, 1, 3), dtype=float)
                    for c, counts in zip(here, judged, strict=True)
                    if counts
                ),
                np.zeros(int(np.prod(sizes))),
            )
            order = np.argsort(energy)
            kept = np.sort(order[np.cumsum(energy[order]) > allowed**2 * energy.sum()])
            kept = kept if len(kept) else np.zeros(1, np.int64)
            products.append(np.stack(np.unravel_index(kept, sizes), axis=1).astype(np.int16))
            for rows, c in zip(made, here, strict=True):
                rows.append(np.ascontiguousarray(c[:, :, kept]).reshape(-1, c.shape[3]))
        rows_of = [
            len(p) * len(g.dimensions[OFFSET].nodes) * len(g.dimensions[U].nodes)
            for p, g in zip(products, grids, strict=True)
        ]
        expansion = Expansion(
            mesh,
            basis,
            np.concatenate(products),
            np.concatenate(([0], np.cumsum([len(p) for p in products]))),
            np.concatenate(([0], np.cumsum(rows_of)))[:-1],
        )
        return expansion, [np.concatenate(rows) for rows in made]

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
    """(u, offset, product, column) of a grid's rows (atom, column); basis: (made of, node, degree)."""
    sizes = [len(d.nodes) for d in grid.dimensions]
    c = table.reshape(sizes[U], *sizes[:U], table.shape[1])
    for j, d in enumerate(WHERE_MADE):
        if sizes[d] > 1:
            turn = basis[j, : sizes[d], : sizes[d]].astype(np.float32)
            c = np.moveaxis(np.tensordot(c, turn, axes=(d + 1, 0)), -1, d + 1)
    c = np.moveaxis(c, OFFSET + 1, 1)
    return np.ascontiguousarray(c).reshape(sizes[U], sizes[OFFSET], -1, table.shape[1])


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _evaluate(
    grid, made_of, offset, u, scale, sizes, nodes, denominators, steps, first, basis, products, bounds, table, wide, out
):
    """Polynomials of what a spin is made of, once for all places in its box; Lagrange interpolation along offset and u.

    made_of (dimension, spin); offset, u (place, spin).
    """
    n_places, n_columns, n_blocks, n_made = len(u), table.shape[1], 64, len(made_of)
    most = 0
    for g in range(len(bounds) - 1):
        most = max(most, bounds[g + 1] - bounds[g])
    for block in numba.prange(n_blocks):
        product, of_degree = np.empty(most, np.float32), np.empty((n_made, basis.shape[2]), np.float32)
        w = np.empty(max(LOCAL, nodes.shape[2]))
        w_offset, w_u = np.empty(nodes.shape[2], np.float32), np.empty(max(LOCAL, nodes.shape[2]), np.float32)
        partial = np.empty((sizes[:, OFFSET].max(), wide, n_columns), np.float32)
        total = np.empty(n_columns, np.float32)
        start = np.zeros(n_places, np.int64)
        for v in range(block * len(grid) // n_blocks, (block + 1) * len(grid) // n_blocks):
            g = grid[v]
            for i in range(n_made):
                d = WHERE_MADE[i]
                m = sizes[g, d]
                if m == 1:
                    of_degree[i, 0] = basis[g, i, 0, 0]
                    continue
                x = made_of[i, v]
                if scale[g, d] > 0:
                    x = 1.0 if np.isinf(x) else x / (x + scale[g, d])
                everywhere(x, nodes[g, d], denominators[g, d], m, w)
                for degree in range(m):
                    here = 0.0
                    for j in range(m):
                        here += w[j] * basis[g, i, j, degree]
                    of_degree[i, degree] = here
            n_products = bounds[g + 1] - bounds[g]
            for k in range(n_products):
                degrees = products[bounds[g] + k]
                here = of_degree[0, degrees[0]]
                for i in range(1, n_made):
                    here *= of_degree[i, degrees[i]]
                product[k] = here
            m_offset, m_u, low = sizes[g, OFFSET], sizes[g, U], 0
            if steps[g] > 0:
                low, high = m_u, 0
                for p in range(n_places):
                    place = int(np.floor((u[p, v] - nodes[g, U, 0]) / steps[g])) - (LOCAL // 2 - 1)
                    start[p] = min(max(place, 0), m_u - LOCAL)
                    low, high = min(low, start[p]), max(high, start[p] + LOCAL)
                m_u = high - low
            for o in range(m_offset):
                for j in range(m_u):
                    total[:] = 0
                    row = first[g] + ((low + j) * m_offset + o) * n_products
                    for k in range(n_products):
                        size = product[k]
                        for c in range(n_columns):
                            total[c] += size * table[row + k, c]
                    partial[o, j] = total
            for p in range(n_places):
                w_offset[0] = w_u[0] = 1
                if m_offset > 1:
                    everywhere(offset[p, v], nodes[g, OFFSET], denominators[g, OFFSET], m_offset, w_offset)
                at, close = 0, m_u
                if steps[g] > 0:
                    near((u[p, v] - nodes[g, U, 0]) / steps[g] - start[p], w_u)
                    at, close = start[p] - low, LOCAL
                elif m_u > 1:
                    everywhere(u[p, v], nodes[g, U], denominators[g, U], m_u, w_u)
                total[:] = 0
                for o in range(m_offset):
                    for j in range(close):
                        size = w_offset[o] * w_u[j]
                        for c in range(n_columns):
                            total[c] += size * partial[o, at + j, c]
                out[p, v] = total
