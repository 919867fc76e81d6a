"""What a finite pulse does to magnetisation: the Bloch equation through every RF step, once per distinct pulse and atom.

The result is an affine map with the free evolution before and after the pulse's centre divided out, so that a pulse acts
at an instant and varies slowly with off-resonance:

    m' = alpha m + beta m* + gamma z + delta        z' = 2 Re(epsilon m) + zeta z + eta
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.played import PulseShape

# Columns of a map: real and imaginary parts of alpha, beta, gamma, delta, epsilon; then zeta, eta.
N_COLUMNS = 12


@numba.njit(cache=True, fastmath=False)
def _integrate(length, b_re, b_im, gradient, drive, b1, offset, position, r1, r2):
    """One atom through one pulse. Four columns (start +x, +y, +z, equilibrium source) of the 3x3 map and its offset."""
    m = np.zeros((3, 4))
    m[0, 0] = m[1, 1] = m[2, 2] = 1.0
    for step in range(len(length)):
        t = length[step]
        here = b1[drive[step]]
        br = b_re[step] * here.real - b_im[step] * here.imag
        bi = b_re[step] * here.imag + b_im[step] * here.real
        f = gradient[step, 0] * position[0] + gradient[step, 1] * position[1] + gradient[step, 2] * position[2] + offset
        # half a step of relaxation, the rotation, half a step of relaxation
        e1, e2 = math.exp(-0.5 * t * r1), math.exp(-0.5 * t * r2)
        # rotation about (br, bi, f) by -2 pi |.| t: M_xy turns clockwise for f > 0, z goes to +y for b along +x
        w = math.sqrt(br * br + bi * bi + f * f)
        angle = -2 * math.pi * w * t
        if w > 0:
            x, y, z = br / w, bi / w, f / w
        else:
            x, y, z = 0.0, 0.0, 1.0
        c, s = math.cos(angle), math.sin(angle)
        d = 1 - c
        r00, r01, r02 = c + x * x * d, x * y * d - z * s, x * z * d + y * s
        r10, r11, r12 = y * x * d + z * s, c + y * y * d, y * z * d - x * s
        r20, r21, r22 = z * x * d - y * s, z * y * d + x * s, c + z * z * d
        for col in range(4):
            u, v, q = m[0, col] * e2, m[1, col] * e2, m[2, col] * e1
            if col == 3:
                q += 1 - e1
            a0 = (r00 * u + r01 * v + r02 * q) * e2
            a1 = (r10 * u + r11 * v + r12 * q) * e2
            a2 = (r20 * u + r21 * v + r22 * q) * e1
            if col == 3:
                a2 += 1 - e1
            m[0, col], m[1, col], m[2, col] = a0, a1, a2
    return m


@numba.njit(parallel=True, cache=True)
def _maps(
    length,
    b_re,
    b_im,
    frequency,
    gradient,
    drive,
    before,
    after,
    turn_before,
    turn_after,
    b1,
    offset,
    position,
    r1,
    r2,
    out,
):
    for n in numba.prange(len(offset)):
        detuned = offset[n] - frequency
        m = _integrate(length, b_re, b_im, gradient, drive, b1[:, n], detuned, position[n], r1[n], r2[n])
        turn = -2 * math.pi * frequency * (before + after)  # back from the pulse's frame
        c, s = math.cos(turn), math.sin(turn)
        for col in range(4):
            m[0, col], m[1, col] = c * m[0, col] - s * m[1, col], s * m[0, col] + c * m[1, col]
        # divide out the free evolution to the centre (on the right) and from it (on the left)
        r = position[n]
        turn = turn_before[0] * r[0] + turn_before[1] * r[1] + turn_before[2] * r[2]
        phase = -2 * math.pi * (turn + offset[n] * before)
        f1, f2 = math.exp(-before * r1[n]), math.exp(-before * r2[n])
        # columns for m (complex input): m -> m e^{i phase} f2, so the inverse is e^{-i phase} / f2
        inv = complex(math.cos(phase), -math.sin(phase)) / f2
        col_x = complex(m[0, 0], m[1, 0])
        col_y = complex(m[0, 1], m[1, 1])
        alpha = 0.5 * (col_x - 1j * col_y) * inv
        beta = 0.5 * (col_x + 1j * col_y) * inv.conjugate()
        gamma = complex(m[0, 2], m[1, 2]) / f1
        epsilon = 0.5 * complex(m[2, 0], -m[2, 1]) * inv
        zeta = m[2, 2] / f1
        delta = complex(m[0, 3], m[1, 3]) - gamma * (1 - f1)
        eta = m[2, 3] - zeta * (1 - f1)
        turn = turn_after[0] * r[0] + turn_after[1] * r[1] + turn_after[2] * r[2]
        phase = -2 * math.pi * (turn + offset[n] * after)
        g1, g2 = math.exp(-after * r1[n]), math.exp(-after * r2[n])
        inv = complex(math.cos(phase), -math.sin(phase)) / g2
        alpha *= inv
        beta *= inv
        gamma *= inv
        delta *= inv
        zeta = zeta / g1
        eta = (eta - (1 - g1)) / g1
        epsilon = epsilon / g1
        out[0, n], out[1, n] = alpha.real, alpha.imag
        out[2, n], out[3, n] = beta.real, beta.imag
        out[4, n], out[5, n] = gamma.real, gamma.imag
        out[6, n], out[7, n] = delta.real, delta.imag
        out[8, n], out[9, n] = epsilon.real, epsilon.imag
        out[10, n], out[11, n] = zeta, eta


def pulse_maps(
    shape: PulseShape, b1: NDArray, offset: NDArray, position: NDArray, t1: NDArray, t2: NDArray
) -> NDArray[np.float32]:
    """(N_COLUMNS, atom) maps of one pulse: offset Hz; position m (atom, 3).

    b1: relative to nominal, complex, (drive, atom) as the pulse's steps are driven; where all are driven alike, (atom,).
    """
    out = np.empty((N_COLUMNS, len(offset)))
    field = np.ascontiguousarray(np.atleast_2d(b1), np.complex128)
    drive = shape.drive if len(field) > 1 else np.zeros_like(shape.drive)
    _maps(
        shape.length,
        shape.b1.real.copy(),
        shape.b1.imag.copy(),
        shape.frequency,
        np.ascontiguousarray(shape.gradient),
        drive,
        shape.before,
        shape.after,
        shape.moment_before,
        shape.moment_after,
        field,
        np.ascontiguousarray(offset, np.float64),
        np.ascontiguousarray(position, np.float64),
        1 / t1,
        1 / t2,
        out,
    )
    return out.astype(np.float32)
