"""Is one SAR matrix below a mixture of others? Small semidefinite problems, answered by the hundred thousand.

For Q, matrices V_k and an allowance z: find shares c_k >= 0 with sum 1 so that sum_k c_k V_k + z - Q has no negative
eigenvalue, or a density matrix X (positive semi-definite, trace 1) with <X, Q> > max_k <X, V_k> + z, which shows that
there are none. Both bounds come out of one iteration: exponentiated gradients with Nesterov's acceleration (Tseng 2008)
on the largest eigenvalue smoothed by a soft maximum (Nesterov, Math Program 2007, 110:245). Matrices are packed (sar.packed).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import get_num_threads, njit

from lauterbur.safety.matrices import unpacked

COVERED, REFUTED, UNDECIDED = 1, 0, -1
SOFTNESS = 0.1  # of z: width of the soft maximum at first
SHARPER = 2.5  # how much narrower it becomes ...
FIRST = 50  # ... after so many iterations, and again after twice as many more
STEP = 0.3  # of the largest eigenvalue squared over the softness: inverse step; tuned, touches speed only
RECENT = 6  # mixtures of neighbouring points tried before solving
SLACK = 0.9  # of z: a mixture this good will do for the neighbours too
EXTRA = 4  # iterations spent on reaching SLACK


@njit(cache=True)
def unpack_(packed, matrix):  # type: ignore[no-untyped-def]
    n = matrix.shape[0]
    at, imaginary = n, n * (n - 1) // 2
    for i in range(n):
        matrix[i, i] = packed[i]
        for j in range(i + 1, n):
            matrix[i, j] = complex(packed[at], packed[at + imaginary])
            matrix[j, i] = complex(packed[at], -packed[at + imaginary])
            at += 1


@njit(cache=True)
def is_positive_(matrix):  # type: ignore[no-untyped-def]
    """Positive definite? By Cholesky, in place, left as soon as a pivot is not positive."""
    n = matrix.shape[0]
    for j in range(n):
        pivot = matrix[j, j].real
        for k in range(j):
            pivot -= matrix[j, k].real ** 2 + matrix[j, k].imag ** 2
        if not pivot > 0:
            return False
        root = np.sqrt(pivot)
        matrix[j, j] = root
        for i in range(j + 1, n):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * np.conj(matrix[j, k])
            matrix[i, j] = value / root
    return True


@njit(cache=True)
def dominates(above, below, z, matrix):  # type: ignore[no-untyped-def]
    """above + z >= below, as matrices; `matrix` (tx, tx) is scratch."""
    n = matrix.shape[0]
    difference = np.empty(above.shape[0])
    for j in range(above.shape[0]):
        difference[j] = above[j] - below[j]
    for j in range(n):
        difference[j] += z
    unpack_(difference, matrix)
    return is_positive_(matrix)


@njit(cache=True)
def _density(eigenvalue, vector, softness, x):  # type: ignore[no-untyped-def]
    """The soft maximum's density matrix, packed so that its product with a packed Q is <X, Q>."""
    n = len(eigenvalue)
    weight = np.exp((eigenvalue - eigenvalue[n - 1]) / softness)
    weight /= weight.sum()
    at, imaginary = n, n * (n - 1) // 2
    for i in range(n):
        total = 0.0
        for a in range(n):
            total += weight[a] * (vector[i, a].real ** 2 + vector[i, a].imag ** 2)
        x[i] = total
        for j in range(i + 1, n):
            product = 0j
            for a in range(n):
                if weight[a] > 1e-12:
                    product += weight[a] * vector[i, a] * np.conj(vector[j, a])
            x[at], x[at + imaginary] = 2 * product.real, 2 * product.imag
            at += 1


@njit(cache=True)
def mix(q, v, z, largest, share, iterations, x, matrix):  # type: ignore[no-untyped-def]
    """Searches from `share` (K,); largest: eigenvalue of all v. COVERED leaves the shares there, REFUTED leaves its proof in x."""
    n, n_v, m = matrix.shape[0], v.shape[0], q.shape[0]
    softness = SOFTNESS * z
    inverse_step = STEP * largest**2 / softness
    slow, fast, at = share.copy(), share.copy(), share.copy()
    gain, rest = np.empty(n_v), np.empty(m)
    theta, best, spare = 1.0, np.inf, EXTRA
    next_round = FIRST
    for i in range(iterations):
        if i == next_round:  # undecided within the softness: sharpen, and start the acceleration anew
            softness /= SHARPER
            inverse_step *= SHARPER
            next_round += 2 * FIRST
            fast[:] = slow
            theta = 1.0
        rest[:] = q
        for k in range(n_v):
            at[k] = (1 - theta) * slow[k] + theta * fast[k]
            if at[k] > 1e-12:
                for j in range(m):
                    rest[j] -= at[k] * v[k, j]
        unpack_(rest, matrix)
        eigenvalue, vector = np.linalg.eigh(matrix)
        if eigenvalue[n - 1] < best:
            best = eigenvalue[n - 1]
            if best <= z:
                share[:] = at
        if best <= z:
            spare -= 1
            if best <= SLACK * z or spare < 0:
                return COVERED
        _density(eigenvalue, vector, softness, x)
        here, top = 0.0, -np.inf
        for j in range(m):
            here += x[j] * q[j]
        for k in range(n_v):
            product = 0.0
            for j in range(m):
                product += x[j] * v[k, j]
            gain[k] = product
            top = max(top, product)
        if here - top > z:
            return REFUTED
        total = 0.0
        for k in range(n_v):
            fast[k] *= np.exp((gain[k] - top) / (theta * inverse_step))
            fast[k] = max(fast[k], 1e-200)
            total += fast[k]
        for k in range(n_v):
            fast[k] /= total
            slow[k] = (1 - theta) * slow[k] + theta * fast[k]
        theta = (np.sqrt(theta**4 + 4 * theta**2) - theta**2) / 2
    return COVERED if best <= z else UNDECIDED


def covered(packed, v, z, iterations, n_channels, chunk):  # type: ignore[no-untyped-def]
    """(n,) verdicts, and (n, m) the proofs of those refuted, for points in order of place: neighbours share mixtures."""
    v = np.ascontiguousarray(v, np.float64)
    largest = float(np.linalg.eigvalsh(unpacked(v))[:, -1].max())
    parts = [np.ascontiguousarray(packed[i : i + chunk], np.float64) for i in range(0, len(packed), chunk)]
    verdict = [np.full(len(part), COVERED, np.int8) for part in parts]
    proof = [np.zeros(part.shape, np.float32) for part in parts]
    with ThreadPoolExecutor(get_num_threads()) as threads:
        jobs = [
            threads.submit(_covered_, part, v, z, largest, iterations, n_channels, a, b)
            for part, a, b in zip(parts, verdict, proof, strict=True)
        ]
        for job in jobs:
            job.result()
    return np.concatenate(verdict), np.concatenate(proof)


@njit(cache=True, nogil=True)
def _covered_(packed, v, z, largest, iterations, n_channels, verdict, proof):  # type: ignore[no-untyped-def]
    m, n_v = packed.shape[1], v.shape[0]
    matrix = np.empty((n_channels, n_channels), np.complex128)
    mixtures, x = np.zeros((RECENT, m)), np.empty(m)
    share, start = np.full(n_v, 1.0 / n_v), np.empty(n_v)
    newest = 0
    for i in range(packed.shape[0]):
        q = packed[i]
        done = q[:n_channels].sum() <= z  # the trace bounds the largest eigenvalue
        for back in range(RECENT):
            if done:
                break
            done = dominates(mixtures[(newest - back) % RECENT], q, z, matrix)
        if done:
            continue
        for k in range(n_v):
            start[k] = 0.3 * share[k] + 0.7 / n_v
        verdict[i] = mix(q, v, z, largest, start, iterations, x, matrix)
        if verdict[i] == COVERED:
            share[:] = start
            newest = (newest + 1) % RECENT
            mixtures[newest] = 0.0
            for k in range(n_v):
                for j in range(m):
                    mixtures[newest, j] += share[k] * v[k, j]
        else:
            for j in range(m):
                proof[i, j] = x[j]
