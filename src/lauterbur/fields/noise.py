"""Thermal noise resistance of an array on a conducting body, quasi-static (Roemer et al., MRM 1990, 16:192).

    R_ij = integral of sigma E_i . E_j dV for 1 A each;  E = w A + grad phi,  div(sigma E) = 0,  no current leaves the body

E lives on the faces between cells, phi in the cells. Because E is orthogonal to every gradient,

    R = <w A, w A> - b^T L^-1 b,   L the conductance matrix of the cells, b the current w A alone would pile up in them:

symmetric, positive, and the least loss of all E with that curl. Displacement currents are left out: on a head at 211 MHz
they change R by less than 1 % (measured here); the bending of B by the body (Maxwell) is left out as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lauterbur.errors import ResourceError
from lauterbur.fields.coarse import CoarseBody
from lauterbur.fields.wires import vector_potential
from lauterbur.scanner.machine import Array

TOLERANCE = 1e-4  # of the residual; what is left in R goes with its square
ITERATIONS = 5000


def noise_resistance(body: CoarseBody, array: Array, frequency: float) -> NDArray[np.float64]:
    """Ohm, (rx, rx): what the body and each loop's own loss put into the array; the grid's axes must be right-angled."""
    loops, affine, conductivity = array.loops, body.affine, body.conductivity
    omega = 2 * np.pi * frequency
    edges = affine[:3, :3].T  # of a cell, along i_x, i_y, i_z
    size = np.linalg.norm(edges, axis=1)
    number = np.arange(conductivity.size).reshape(conductivity.shape)
    sigma = conductivity.reshape(-1).astype(np.float64)

    gradients, conductances, voltages = [], [], []
    for axis in range(3):  # x, y, z; the arrays' axes run the other way
        first, second = (
            np.moveaxis(number, 2 - axis, 0)[part].reshape(-1) for part in (slice(None, -1), slice(1, None))
        )
        both = (sigma[first] > 0) & (sigma[second] > 0)
        first, second = first[both], second[both]
        mean = (
            sigma[first] + sigma[second]
        ) / 2  # of blocks that are themselves means: 1 % low on a ball of ten blocks
        conductances.append(mean * np.prod(size) / size[axis] ** 2)  # S: area over length
        index = np.stack(np.unravel_index(first, conductivity.shape)[::-1], axis=1) + 0.5 * np.eye(3)[axis]
        place = index @ affine[:3, :3].T + affine[:3, 3]
        voltages.append(np.stack([omega * (vector_potential(loop, place) @ edges[axis]) for loop in loops]))  # V per A
        row = np.arange(len(first))
        gradients.append(
            sparse.csr_matrix(
                (np.repeat([-1.0, 1.0], len(first)), (np.tile(row, 2), np.concatenate([first, second]))),
                shape=(len(first), conductivity.size),
            )
        )
    if not sum(map(len, conductances)):
        return array.resistance * np.eye(len(loops))

    gradient = sparse.vstack(gradients).tocsc()
    gradient = gradient[:, np.diff(gradient.indptr) > 0]  # cells with a conducting neighbour
    conductance, voltage = np.concatenate(conductances), np.concatenate(voltages, axis=1)
    piled = (gradient.T @ (conductance * voltage).T).T  # A per A, (rx, cell)
    laplacian = (gradient.T @ sparse.diags(conductance) @ gradient).tocsc()
    potential = _solved(laplacian.tocsr(), np.ascontiguousarray(piled.T))
    resistance = (voltage * conductance) @ voltage.T - piled @ potential
    return (resistance + resistance.T) / 2 + array.resistance * np.eye(len(loops))


def _solved(laplacian: sparse.csr_matrix, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """L^-1 right, all columns side by side, by conjugate gradients (Hestenes and Stiefel, 1952), scaled by the diagonal.

    L knows phi but for a constant in each separate piece; every right side adds up to zero there, so that does not matter.
    """
    inverse = 1 / laplacian.diagonal()[:, None]
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = inverse * residual
    energy = (residual * direction).sum(axis=0)
    enough = TOLERANCE**2 * energy
    for _ in range(ITERATIONS):
        forward = laplacian @ direction
        step = energy / np.maximum((direction * forward).sum(axis=0), 1e-300)
        solution += step * direction
        residual -= step * forward
        scaled = inverse * residual
        before, energy = energy, (residual * scaled).sum(axis=0)
        if (energy <= enough).all():
            return solution
        direction = scaled + energy / np.maximum(before, 1e-300) * direction
    raise ResourceError(
        f"the electric potential of the receive loops did not settle in {ITERATIONS} steps: {np.sqrt((energy / enough).max()) * TOLERANCE:.1e}"
        f" of its start is left, {TOLERANCE:.0e} is asked for; simplify the subject's conductivity"
    )
