"""The phase graph: which configuration states a program makes, and their amplitudes for a set of atoms.

Magnetisation inside a voxel is a sum of configuration states with a dephasing vector k (1/m) and a dephasing time tau
(s): F(k, tau) transverse, Z(k, tau) longitudinal. A pulse mixes F(k), F(-k)* and Z(k); time and gradients shift F.
Extended phase graphs: Hennig, J Magn Reson 78 (1988) 397; Weigel, JMRI 41 (2015) 266. Arbitrary k-vectors: Endres et al,
Magn Reson Med 92 (2024) 1189 (phase distribution graphs).

`build` walks the program once with a few representative atoms, names the states that live and how they are linked. Those that
matter to no echo are dropped next (pruning.py); then any number of atoms plays the graph (lanes.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray

K_GRID = 1e-2  # 1/m: states closer than this are one
TAU_GRID = 1e-8  # s


@dataclass(frozen=True, eq=False)
class Graph:
    """States before each pulse, pulse by pulse (compressed rows); state 0 of every pulse is k = 0, tau = 0."""

    first: NDArray[np.int64]  # (pulse + 1,) into the arrays below
    source: NDArray[np.int32]  # (state, 3): where F(k), F(-k)*, Z(k) come from: 2 * state + conjugated, or -1
    k: NDArray[np.float64]  # 1/m, (state, 3)
    tau: NDArray[np.float64]  # s, (state,)
    amplitude: NDArray[np.float32]  # (state, 3) largest over the representative atoms, just after the pulse
    b_value: NDArray[np.float64]  # s/m2, (state, 3) of F(k) from k, F(-k)* and Z(k) over the interval before the pulse
    dropped: float  # the largest amplitude dropped

    @cached_property
    def b_classes(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Distinct b-values, to 0.01 s/mm2, and which of them each (state, slot) has."""
        values, index = np.unique(np.round(self.b_value, -4), return_inverse=True)
        return values, index.reshape(self.source.shape).astype(np.int32)


@numba.njit(cache=True)
def _apply(maps, cs, sn, p, m, z, is_origin):
    """One pulse on one state of one atom: returns F(k), F(-k)*, Z(k) after it. maps: (N_COLUMNS,), phase cs + i sn."""
    rot = complex(cs, sn)
    alpha = complex(maps[0], maps[1])
    beta = complex(maps[2], maps[3]) * rot * rot
    gamma = complex(maps[4], maps[5]) * rot
    epsilon = complex(maps[8], maps[9]) * rot.conjugate()
    np_ = alpha * p + beta * m + gamma * z
    nm = alpha.conjugate() * m + beta.conjugate() * p + gamma.conjugate() * z
    nz = epsilon * p + epsilon.conjugate() * m + maps[10] * z
    if is_origin:
        delta = complex(maps[6], maps[7]) * rot
        np_ += delta
        nm += delta.conjugate()
        nz += maps[11]
    return np_, nm, nz


@numba.njit(cache=True)
def _walk(dk, dt, diffusion, shape, phase, maps, r1, r2, d, tolerance, budget):
    n_pulses, n_atoms = len(shape), len(r1)
    capacity = 1024
    cap_total = max(4096, n_pulses * 16)
    source = np.empty((cap_total, 3), np.int32)
    all_k = np.empty((cap_total, 3))
    all_tau = np.empty(cap_total)
    amplitude = np.empty((cap_total, 3), np.float32)
    b_value = np.empty((cap_total, 3))
    first = np.zeros(n_pulses + 1, np.int64)
    size = 8192
    table = np.full(size, -1, np.int32)
    used = np.empty(size, np.int64)

    k = np.zeros((capacity, 3))
    tau = np.zeros(capacity)
    amp = np.zeros((capacity, 3, n_atoms), np.complex128)
    k2 = np.zeros((capacity, 3))
    tau2 = np.zeros(capacity)
    amp2 = np.zeros((capacity, 3, n_atoms), np.complex128)
    n_states = 1
    amp[0, 2, :] = 1.0
    total = 0
    dropped = 0.0
    pi4 = 4 * math.pi * math.pi
    is_diffusing = d.max() > 0
    decay, relaxed = np.empty(n_atoms), np.empty((2, n_atoms))

    for i in range(n_pulses):
        for a in range(n_atoms):
            relaxed[0, a], relaxed[1, a] = math.exp(-dt[i] * r2[a]), math.exp(-dt[i] * r1[a])
        n_used = 0
        n_new = 1
        k2[0, :] = 0.0
        tau2[0] = 0.0
        amp2[0, :, :] = 0.0
        if total + 3 * n_states + 1 > cap_total:
            grown = 2 * cap_total + 3 * n_states
            bigger = np.empty((grown, 3), np.int32)
            bigger[:total] = source[:total]
            source = bigger
            bk = np.empty((grown, 3))
            bk[:total] = all_k[:total]
            all_k = bk
            bt = np.empty(grown)
            bt[:total] = all_tau[:total]
            all_tau = bt
            ba = np.empty((grown, 3), np.float32)
            ba[:total] = amplitude[:total]
            amplitude = ba
            bb = np.empty((grown, 3))
            bb[:total] = b_value[:total]
            b_value = bb
            cap_total = grown
        source[total] = -1
        b_value[total] = 0.0
        for s in range(n_states):
            for slot in range(3):
                sign = 1.0 if slot == 0 else -1.0
                if slot == 2:
                    kx, ky, kz, kt = k[s, 0], k[s, 1], k[s, 2], tau[s]
                    b = pi4 * (kx * kx + ky * ky + kz * kz) * dt[i]
                else:
                    # F(k) moves to k + dk; F(-k)* sits at -k and moves to -k + dk, which is state k - dk
                    kx, ky, kz = k[s, 0] + sign * dk[i, 0], k[s, 1] + sign * dk[i, 1], k[s, 2] + sign * dk[i, 2]
                    kt = tau[s] + sign * dt[i]
                    b = pi4 * (
                        (k[s, 0] ** 2 + k[s, 1] ** 2 + k[s, 2] ** 2) * dt[i]
                        + 2 * sign * (k[s, 0] * diffusion[i, 0] + k[s, 1] * diffusion[i, 1] + k[s, 2] * diffusion[i, 2])
                        + diffusion[i, 3]
                    )
                largest = 0.0
                for a in range(n_atoms):
                    decay[a] = relaxed[slot // 2, a]
                    if is_diffusing:
                        decay[a] *= math.exp(-b * d[a])
                    value = amp[s, slot, a]
                    largest = max(largest, (value.real * value.real + value.imag * value.imag) * decay[a] * decay[a])
                largest = math.sqrt(largest)
                if largest < tolerance:
                    dropped = max(dropped, largest)
                    continue
                qx, qy = np.int64(np.round(kx / K_GRID)), np.int64(np.round(ky / K_GRID))
                qz, qt = np.int64(np.round(kz / K_GRID)), np.int64(np.round(kt / TAU_GRID))
                flip = False
                if qx < 0 or (qx == 0 and (qy < 0 or (qy == 0 and (qz < 0 or (qz == 0 and qt < 0))))):
                    flip = True
                    kx, ky, kz, kt = -kx, -ky, -kz, -kt
                    qx, qy, qz, qt = -qx, -qy, -qz, -qt
                target = 0
                if qx != 0 or qy != 0 or qz != 0 or qt != 0:
                    h = (qx * 73856093) ^ (qy * 19349663) ^ (qz * 83492791) ^ (qt * 2654435761)
                    h = (h ^ (h >> 17)) & (size - 1)
                    while True:
                        target = table[h]
                        if target < 0:
                            if n_new + 1 >= budget:
                                return first, source, all_k, all_tau, amplitude, b_value, total, dropped, i
                            if n_new + 1 >= len(tau2):
                                ck = np.zeros((2 * len(tau2), 3))
                                ck[:n_new] = k2[:n_new]
                                k2 = ck
                                ca = np.zeros((2 * len(tau2), 3, n_atoms), np.complex128)
                                ca[:n_new] = amp2[:n_new]
                                amp2 = ca
                                ct = np.zeros(2 * len(tau2))
                                ct[:n_new] = tau2[:n_new]
                                tau2 = ct
                            target = n_new
                            n_new += 1
                            table[h] = target
                            used[n_used] = h
                            n_used += 1
                            k2[target, 0], k2[target, 1], k2[target, 2], tau2[target] = kx, ky, kz, kt
                            amp2[target, :, :] = 0.0
                            source[total + target] = -1
                            b_value[total + target] = 0.0
                            break
                        if (
                            abs(k2[target, 0] - kx) < K_GRID
                            and abs(k2[target, 1] - ky) < K_GRID
                            and abs(k2[target, 2] - kz) < K_GRID
                            and abs(tau2[target] - kt) < TAU_GRID
                        ):
                            break
                        h = (h + 1) & (size - 1)
                into = slot
                if flip and slot < 2:
                    into = 1 - slot
                source[total + target, into] = 2 * s + (1 if flip else 0)
                b_value[total + target, into] = b
                for a in range(n_atoms):
                    value = amp[s, slot, a] * decay[a]
                    amp2[target, into, a] = value.conjugate() if flip else value
                if target == 0 and slot < 2:  # k = 0: F and F* are one another's conjugate
                    source[total, 1 - into] = 2 * s + (0 if flip else 1)
                    b_value[total, 1 - into] = b
                    for a in range(n_atoms):
                        amp2[0, 1 - into, a] = amp2[0, into, a].conjugate()
        for a in range(n_atoms):
            amp2[0, 2, a] += 1 - relaxed[1, a]
        cs, sn = math.cos(phase[i]), math.sin(phase[i])
        for s in range(n_new):
            for a in range(n_atoms):
                p, m, z = _apply(maps[shape[i], :, a], cs, sn, amp2[s, 0, a], amp2[s, 1, a], amp2[s, 2, a], s == 0)
                amp2[s, 0, a], amp2[s, 1, a], amp2[s, 2, a] = p, m, z
            for slot in range(3):
                largest = 0.0
                for a in range(n_atoms):
                    value = amp2[s, slot, a]
                    largest = max(largest, value.real * value.real + value.imag * value.imag)
                amplitude[total + s, slot] = math.sqrt(largest)
            all_k[total + s] = k2[s]
            all_tau[total + s] = tau2[s]
        for j in range(n_used):
            table[used[j]] = -1
        first[i] = total
        total += n_new
        first[i + 1] = total
        k, k2 = k2, k
        tau, tau2 = tau2, tau
        amp, amp2 = amp2, amp
        n_states = n_new
        if 3 * n_states > size // 4:
            size *= 4
            table = np.full(size, -1, np.int32)
            used = np.empty(size, np.int64)
    return first, source, all_k, all_tau, amplitude, b_value, total, dropped, -1


def build(timeline, maps, t1, t2, diffusion, tolerance, budget=20000):
    """Graph of the states whose amplitude passes `tolerance` in any of the representative atoms.

    maps: (shape, N_COLUMNS, atom) of those atoms. Returns None where more than `budget` states live at once.
    """
    n = len(timeline.time)
    dk = np.diff(timeline.k, axis=0, prepend=timeline.k[:1]) if n else np.zeros((0, 3))
    dt = np.diff(timeline.time, prepend=timeline.time[:1]) if n else np.zeros(0)
    first, source, k, tau, amplitude, b_value, total, dropped, stopped = _walk(
        dk,
        dt,
        timeline.diffusion,
        timeline.shape,
        timeline.phase,
        np.asarray(maps, float),
        1 / t1,
        1 / t2,
        np.asarray(diffusion, float),
        tolerance,
        budget,
    )
    if stopped >= 0:
        return None
    return Graph(
        first,
        source[:total].copy(),
        k[:total].copy(),
        tau[:total].copy(),
        amplitude[:total].copy(),
        b_value[:total].copy(),
        dropped,
    )
