"""The flip angle of a train of short pulses with precession between them, and its gradient: spinors, compiled.

A spinor (alpha, beta) starts as (1, 0) for M along +z; M_z = |alpha|^2 - |beta|^2, M_xy = 2 conj(alpha) beta (Cayley-Klein:
Pauly et al., IEEE TMI 1991, 10:53). Signs as in units.py: a pulse b turns clockwise about (Re b, Im b, f) by 2 pi |.| t, and
precession by phi turns M_xy by exp(-i phi).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Float = NDArray[np.float64]
Complex = NDArray[np.complex128]

SMALL = 1e-9


@njit(cache=True)
def _rotation(bx, by, f, h):
    """cos(h s), sin(h s) / s and the derivative of the latter by s, over s; h = pi t, s = |(bx, by, f)|."""
    s = np.sqrt(bx * bx + by * by + f * f)
    x = h * s
    if x < 1e-4:
        return 1 - x * x / 2, h * (1 - x * x / 6), -(h**3) / 3 * (1 - x * x / 10)
    over = np.sin(x) / s
    return np.cos(x), over, (h * np.cos(x) - over) / (s * s)


@njit(parallel=True, cache=True)
def flip_angles(b, durations, off_resonance, phase):
    """rad (voxel,), M_xy (voxel,), for b (voxel, pulse) in Hz, durations (pulse,) s, off-resonance (voxel,) Hz, phase (voxel, pulse - 1) rad."""
    n, n_pulses = b.shape
    angle, transverse = np.empty(n), np.empty(n, np.complex128)
    for i in prange(n):
        alpha, beta = 1.0 + 0j, 0j
        for j in range(n_pulses):
            bx, by, f = b[i, j].real, b[i, j].imag, off_resonance[i]
            c, over, _ = _rotation(bx, by, f, np.pi * durations[j])
            alpha, beta = (
                complex(c, over * f) * alpha + complex(over * by, over * bx) * beta,
                complex(-over * by, over * bx) * alpha + complex(c, -over * f) * beta,
            )
            if j < n_pulses - 1:
                turn = complex(np.cos(phase[i, j] / 2), np.sin(phase[i, j] / 2))
                alpha, beta = alpha * turn, beta * turn.conjugate()
        angle[i] = 2 * np.arctan2(abs(beta), abs(alpha))
        transverse[i] = 2 * alpha.conjugate() * beta
    return angle, transverse


@njit(parallel=True, cache=True)
def flip_slopes(b, durations, off_resonance, phase):
    """The flip angle (voxel,), and its derivatives by Re b - i Im b (voxel, pulse): d angle = Re(slope db), and by phase."""
    n, n_pulses = b.shape
    angle = np.empty(n)
    slope = np.empty((n, n_pulses), np.complex128)
    turned = np.empty((n, max(n_pulses - 1, 0)))
    for i in prange(n):
        before = np.empty((n_pulses, 2), np.complex128)  # the spinor that each pulse meets
        after = np.empty((n_pulses, 2), np.complex128)
        alpha, beta = 1.0 + 0j, 0j
        f = off_resonance[i]
        for j in range(n_pulses):
            before[j, 0], before[j, 1] = alpha, beta
            bx, by = b[i, j].real, b[i, j].imag
            c, over, _ = _rotation(bx, by, f, np.pi * durations[j])
            alpha, beta = (
                complex(c, over * f) * alpha + complex(over * by, over * bx) * beta,
                complex(-over * by, over * bx) * alpha + complex(c, -over * f) * beta,
            )
            after[j, 0], after[j, 1] = alpha, beta
            if j < n_pulses - 1:
                turn = complex(np.cos(phase[i, j] / 2), np.sin(phase[i, j] / 2))
                alpha, beta = alpha * turn, beta * turn.conjugate()
        size_a, size_b = abs(alpha), abs(beta)
        angle[i] = 2 * np.arctan2(size_b, size_a)
        row0 = -2 * size_b * alpha.conjugate() / max(size_a, SMALL)  # d angle = Re(row . d spinor)
        row1 = 2 * size_a * beta.conjugate() / max(size_b, SMALL)
        for j in range(n_pulses - 1, -1, -1):
            if j < n_pulses - 1:
                turn = complex(np.cos(phase[i, j] / 2), np.sin(phase[i, j] / 2))
                turned[i, j] = (row0 * 0.5j * turn * after[j, 0] - row1 * 0.5j * turn.conjugate() * after[j, 1]).real
                row0, row1 = row0 * turn, row1 * turn.conjugate()
            bx, by = b[i, j].real, b[i, j].imag
            h = np.pi * durations[j]
            c, over, bend = _rotation(bx, by, f, h)
            p, q = before[j, 0], before[j, 1]
            # U = cos + i over (b . sigma); dU/dbx = -h bx over + i (bx bend (b . sigma) + over sigma_x)
            sp = f * p + complex(bx, -by) * q
            sq = complex(bx, by) * p - f * q
            common = row0 * (-h * over * p + 1j * bend * sp) + row1 * (-h * over * q + 1j * bend * sq)
            by_x = (bx * common + 1j * over * (row0 * q + row1 * p)).real
            by_y = (by * common + 1j * over * (row0 * (-1j) * q + row1 * 1j * p)).real
            slope[i, j] = complex(by_x, -by_y)
            row0, row1 = (
                row0 * complex(c, over * f) + row1 * complex(-over * by, over * bx),
                row0 * complex(over * by, over * bx) + row1 * complex(c, -over * f),
            )
    return angle, slope, turned
