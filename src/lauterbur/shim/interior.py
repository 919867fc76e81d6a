"""Weights that make |B1+| uniform while quadratic forms stay below their limits: an interior-point method, compiled.

With z = A w at the voxels, m = mean |z| and t_k = w^H Q_k w / m^2 (each Q_k divided by its limit), minimise

    log(mean |z|^2) - 2 log m - mu sum_k log(1 - t_k),      CoV^2 = mean |z|^2 / m^2 - 1,

for a falling mu (Fiacco and McCormick 1968; Boyd and Vandenberghe, Convex Optimization, ch. 11). Nothing here depends on
the scale or common phase of w. The problem is not convex: Newton steps use the absolute eigenvalues of the exact Hessian.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

LEAST_MAGNITUDE = 1e-9  # of the mean: a null's curvature is cut off here
SHARPNESS = (
    8.0,
    24.0,
    80.0,
    400.0,
)  # of the p-norm that stands for the largest t while a start is brought within the limits


def real_matrices(q: Complex) -> Float:
    """(k, 2 tx, 2 tx): w^H Q w = x^T R x for x = (Re w, Im w)."""
    h = (q + np.conj(np.swapaxes(q, 1, 2))) / 2
    return np.ascontiguousarray(
        np.concatenate((np.concatenate((h.real, -h.imag), 2), np.concatenate((h.imag, h.real), 2)), 1)
    )


@njit(cache=True)
def _magnitudes(a, x):
    n_tx = a.shape[1]
    w = np.empty(n_tx, np.complex128)
    for c in range(n_tx):
        w[c] = complex(x[c], x[n_tx + c])
    return np.dot(a, w)


@njit(cache=True)
def _forms(flat, x, n_forms):
    """Q_k x, (k, 2 tx), and x^T Q_k x."""
    y = np.dot(flat, x).reshape(n_forms, len(x))
    return y, np.dot(y, x)


@njit(cache=True)
def _value(a, flat, x, n_forms, mu, sharpness):
    """The objective, mean |z| and the largest t. sharpness > 0: the p-norm of t alone."""
    z = _magnitudes(a, x)
    m, square = 0.0, 0.0
    for i in range(len(z)):
        s = z[i].real ** 2 + z[i].imag ** 2
        m += np.sqrt(s)
        square += s
    m, square = m / len(z), square / len(z)
    if not m > 0:
        return np.inf, 0.0, np.inf
    worst, barrier = 0.0, 0.0
    if n_forms:
        _, q = _forms(flat, x, n_forms)
        t = q / m**2
        worst = t.max()
        if sharpness > 0:
            return np.log(np.sum((t / worst) ** sharpness)) / sharpness + np.log(worst), m, worst
        if not worst < 1:
            return np.inf, m, worst
        for k in range(n_forms):
            barrier -= np.log1p(-t[k])
    return np.log(square) - 2 * np.log(m) + mu * barrier, m, worst


@njit(cache=True)
def _derivatives(a, gram, stack, flat, x, mu, sharpness):
    """Gradient and Hessian at an x of mean |z| = 1."""
    n, n_tx = a.shape
    size = 2 * n_tx
    z = _magnitudes(a, x)
    along = np.zeros(size)  # gradient of m
    across = np.empty((n, size))
    floor = LEAST_MAGNITUDE
    for i in range(n):
        size_of = max(abs(z[i]), floor)
        u = z[i].conjugate() / size_of
        root = 1.0 / np.sqrt(size_of * n)
        for c in range(n_tx):
            v = u * a[i, c]
            along[c] += v.real
            along[n_tx + c] -= v.imag
            across[i, c] = v.imag * root
            across[i, n_tx + c] = v.real * root
    along /= n
    bend = np.dot(across.T, across)  # Hessian of m

    gradient = np.zeros(size)
    hessian = np.zeros((size, size))
    if sharpness == 0:
        gx = np.dot(gram, x)
        square = np.dot(gx, x)
        gradient += 2 * gx / square - 2 * along
        hessian += 2 * gram / square - 4 * np.outer(gx, gx) / square**2 - 2 * bend + 2 * np.outer(along, along)
    n_forms = len(stack)
    if n_forms:
        y, q = _forms(flat, x, n_forms)
        slope = np.empty((n_forms, size))
        for k in range(n_forms):
            for j in range(size):
                slope[k, j] = 2 * y[k, j] - 2 * q[k] * along[j]
        if sharpness > 0:
            share = (q / q.max()) ** sharpness
            share /= share.sum()
            first = share / q
            second = (sharpness - 1) * share / q**2
        else:
            first = mu / (1 - q)
            second = mu / (1 - q) ** 2
        own = np.dot(first, slope)
        gradient += own
        total = np.dot(first, q)
        weighted = np.dot(first, y) * 2
        hessian += 2 * np.dot(first, stack.reshape(n_forms, size * size)).reshape(size, size)
        hessian += -2 * total * bend + 6 * total * np.outer(along, along)
        hessian -= 2 * (np.outer(weighted, along) + np.outer(along, weighted))
        scaled = slope.copy()
        for k in range(n_forms):
            scaled[k] *= second[k]
        hessian += np.dot(scaled.T, slope)
        if sharpness > 0:
            hessian -= sharpness * np.outer(own, own)
    return gradient, hessian


@njit(cache=True)
def _descend(a, gram, stack, flat, x, mu, sharpness, n_steps, tolerance, stop):
    """Newton steps with backtracking; ends early where the largest t falls below `stop`."""
    n_tx = a.shape[1]
    n_forms = len(stack)
    value, m, worst = _value(a, flat, x, n_forms, mu, sharpness)
    x = x / m
    for _ in range(n_steps):
        if worst < stop:
            break
        gradient, hessian = _derivatives(a, gram, stack, flat, x, mu, sharpness)
        turned = np.concatenate((-x[n_tx:], x[:n_tx]))
        size = np.trace(hessian * np.sign(hessian)) / len(x)
        hessian += size * (np.outer(x, x) + np.outer(turned, turned)) / np.dot(x, x)  # scale and common phase are free
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        values = np.maximum(np.abs(values), 1e-10 * size)
        step = -np.dot(vectors, np.dot(vectors.T, gradient) / values)
        expected = -np.dot(step, gradient)
        if not expected > tolerance:
            break
        length = 1.0
        norm = np.sqrt(np.dot(step, step) / np.dot(x, x))
        if norm > 0.5:
            length = 0.5 / norm
        moved = False
        for _ in range(30):
            new_value, new_m, new_worst = _value(a, flat, x + length * step, n_forms, mu, sharpness)
            if new_value <= value - 1e-4 * length * expected:
                x = (x + length * step) / new_m
                value, worst, moved = new_value, new_worst, True
                break
            length *= 0.5
        if not moved:
            break
    return x, worst


@njit(cache=True)
def within_limits(a, gram, stack, flat, x, goal):
    """Brings a start to a largest t below `goal`, or as low as it goes."""
    worst = np.inf
    for i in range(len(SHARPNESS)):
        x, worst = _descend(a, gram, stack, flat, x, 0.0, SHARPNESS[i], 40, 1e-7, goal)
        if worst < goal:
            break
    return x, worst


@njit(cache=True)
def follow(a, gram, stack, flat, x, first_mu, last_mu, factor, n_steps):
    """From inside the limits along the central path."""
    mu = first_mu
    while True:
        x, _ = _descend(a, gram, stack, flat, x, mu, 0.0, n_steps, max(0.02 * mu, 1e-12), -1.0)
        if not len(stack) or mu <= last_mu:
            break
        mu = max(mu * factor, last_mu)
    return x


@njit(cache=True)
def uniformity(a, flat, x, n_forms):
    """CoV and the largest t."""
    value, _, worst = _value(a, flat, x, n_forms, 0.0, 0.0)
    if not worst < 1:
        value = np.inf
    return np.sqrt(max(np.exp(value) - 1, 0.0)), worst
