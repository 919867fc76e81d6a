"""SENSE: receivers combined, and pixels that fell onto each other by regular undersampling told apart by sensitivity.

Per group of aliased pixels (Pruessmann et al. 1999, MRM 42:952), with white noise. An image that is known already, of low resolution, is taken
off before and put back after; of the rest, each pixel is the sum of receivers that lets its own signal pass with weight one and adds
as little as possible of noise and of the others' folds together (Capon 1969, Proc IEEE 57:1408): resolution is that of least squares, and where
receivers can hardly tell pixels apart a faint fold replaces strong noise. With no noise it is least squares, and with factor 1
the optimal combination of receivers. The g-factor is the noise of the same sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

RIDGE = 1e-4  # of the mean diagonal of a group's normal matrix: bounds the noise of pixels without signal
MOST = 1e3  # of the same: beyond it nothing is unfolded any more, and single precision ends


@njit(cache=True, nogil=True, fastmath=True)
def _unfold(aliased, sensitivity, confidence, least, r_y, r_z, turn, known, rest, out, g_factor):  # type: ignore[no-untyped-def]
    """aliased (x, rx, z, y) -> out (x, z, y); maps (x, rx, zc, yc) on their own grid; turn (r_z * r_y,) alias phases.

    `known` (x, z, y) is taken off and put back; `rest` (x, z, y) is the mean square of what is left, over the variance of a sample's noise.
    """
    n_x, n_rx, n_z, n_y = aliased.shape
    c_z, c_y = sensitivity.shape[2], sensitivity.shape[3]
    group = r_y * r_z
    maps = np.empty((group, n_rx), np.complex64)
    normal = np.empty((group, group), np.complex64)
    inverse = np.empty((group, group), np.complex64)
    right = np.empty(group, np.complex64)
    before = np.empty(group, np.complex64)
    added = np.empty(group, np.float32)
    used = np.empty(group, np.bool_)
    step_z, step_y = n_z // r_z, n_y // r_y
    for x in range(n_x):
        for z in range(step_z):
            for y in range(step_y):
                for q in range(group):
                    at_z = (z + (q // r_y) * step_z) % n_z
                    at_y = (y + (q % r_y) * step_y) % n_y
                    f_z = (at_z - n_z // 2) / n_z * c_z + c_z // 2
                    f_y = (at_y - n_y // 2) / n_y * c_y + c_y // 2
                    l_z, l_y = int(np.floor(f_z)), int(np.floor(f_y))
                    w_z, w_y = np.float32(f_z - l_z), np.float32(f_y - l_y)
                    z0, z1, y0, y1 = l_z % c_z, (l_z + 1) % c_z, l_y % c_y, (l_y + 1) % c_y
                    w00, w01 = (1 - w_z) * (1 - w_y), (1 - w_z) * w_y
                    w10, w11 = w_z * (1 - w_y), w_z * w_y
                    sure = (
                        w00 * confidence[x, z0, y0]
                        + w01 * confidence[x, z0, y1]
                        + w10 * confidence[x, z1, y0]
                        + w11 * confidence[x, z1, y1]
                    )
                    power = np.float32(0)
                    for c in range(n_rx):
                        value = (
                            w00 * sensitivity[x, c, z0, y0]
                            + w01 * sensitivity[x, c, z0, y1]
                            + w10 * sensitivity[x, c, z1, y0]
                            + w11 * sensitivity[x, c, z1, y1]
                        )
                        maps[q, c] = value
                        power += value.real * value.real + value.imag * value.imag
                    used[q] = sure >= least and power > 0
                    scale = np.complex64(turn[q] / (group * np.sqrt(max(power, np.float32(1e-12)))))
                    for c in range(n_rx):
                        maps[q, c] *= scale
                trace = np.float32(0)
                for p in range(group):
                    right[p] = 0
                    for c in range(n_rx):
                        right[p] += np.conj(maps[p, c]) * aliased[x, c, z, y]
                    for q in range(group):
                        total = np.complex64(0)
                        if used[p] and used[q]:
                            for c in range(n_rx):
                                total += np.conj(maps[p, c]) * maps[q, c]
                        normal[p, q] = total
                    trace += normal[p, p].real
                least_ridge = np.float32(RIDGE) * trace / group
                for p in range(group):
                    at_z = (z + (p // r_y) * step_z) % n_z
                    at_y = (y + (p % r_y) * step_y) % n_y
                    before[p] = known[x, at_z, at_y] if used[p] else 0
                    added[p] = min(max(least_ridge, 1 / (group * rest[x, at_z, at_y])), MOST / RIDGE * least_ridge)
                for p in range(group):
                    for q in range(group):
                        right[p] -= normal[p, q] * before[q]
                for p in range(group):
                    if not used[p]:
                        right[p] = 0
                        normal[p, p] = 1
                    else:
                        normal[p, p] += added[p]
                if group == 1:
                    inverse[0, 0] = 1 / normal[0, 0]
                else:
                    _invert(normal, inverse)
                for p in range(group):
                    value = np.complex64(0)
                    for q in range(group):
                        value += inverse[p, q] * right[q]
                    at_z = (z + (p // r_y) * step_z) % n_z
                    at_y = (y + (p % r_y) * step_y) % n_y
                    if used[p]:
                        own = 1 - added[p] * inverse[p, p].real
                        noise = inverse[p, p].real
                        for q in range(group):
                            noise -= added[q] * (inverse[p, q].real ** 2 + inverse[p, q].imag ** 2)
                        out[x, at_z, at_y] = before[p] + value / own
                        gain = noise * (normal[p, p].real - added[p]) / (own * own)
                        g_factor[x, at_z, at_y] = np.sqrt(max(gain, np.float32(1)))
                    else:
                        out[x, at_z, at_y] = 0
                        g_factor[x, at_z, at_y] = 0


@njit(cache=True, nogil=True, fastmath=True)
def _invert(matrix, inverse):  # type: ignore[no-untyped-def]
    """Inverse of a small positive definite matrix by Gauss-Jordan without pivoting; `matrix` survives."""
    n = matrix.shape[0]
    work = matrix.copy()
    for i in range(n):
        for j in range(n):
            inverse[i, j] = 1 if i == j else 0
    for i in range(n):
        scale = 1 / work[i, i]
        for j in range(n):
            work[i, j] *= scale
            inverse[i, j] *= scale
        for k in range(n):
            if k != i:
                factor = work[k, i]
                for j in range(n):
                    work[k, j] -= factor * work[i, j]
                    inverse[k, j] -= factor * inverse[i, j]


def alias_turns(factor: int, offset: int, n: int) -> NDArray[np.complex64]:
    """(factor,) phase of the pixel q n/factor away in the image of every factor-th line from line `offset`."""
    return np.exp(2j * np.pi * np.arange(factor) * (n // 2 - offset) / factor).astype(np.complex64)


def unfolded(
    aliased: NDArray[np.complexfloating[Any, Any]],
    sensitivity: NDArray[np.complex64],
    confidence: NDArray[np.float32],
    factors: tuple[int, int] = (1, 1),
    offsets: tuple[int, int] = (0, 0),
    *,
    least_confidence: float = 0.0,
    known: NDArray[np.complex64] | None = None,
    rest: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Image and g-factor (x, z, y) from the orthonormal transform (x, rx, z, y) of zero-filled lattice lines.

    `factors` and `offsets` are along phase and partition; they must divide the grid. Maps (x, rx, zc, yc) lie on their
    own coarser grid over the same field of view. Pixels less sure than `least_confidence` count as empty. `known` (x, z, y) is an image
    of low resolution; `rest` (x, z, y) how strong the image is beside it, mean square over the variance of a sample's noise, above 0: without
    it noise does not count.
    """
    n_x, _, n_z, n_y = aliased.shape
    turn = np.outer(alias_turns(factors[1], offsets[1], n_z), alias_turns(factors[0], offsets[0], n_y)).ravel()
    out = np.empty((n_x, n_z, n_y), np.complex64)
    g_factor = np.empty((n_x, n_z, n_y), np.float32)
    _unfold(
        np.ascontiguousarray(aliased, np.complex64),
        np.ascontiguousarray(sensitivity, np.complex64),
        np.ascontiguousarray(confidence, np.float32),
        least_confidence,
        factors[0],
        factors[1],
        turn.astype(np.complex64),
        np.zeros_like(out) if known is None else np.ascontiguousarray(known, np.complex64),
        np.full_like(g_factor, np.inf) if rest is None else np.ascontiguousarray(rest, np.float32),
        out,
        g_factor,
    )
    return out, g_factor
