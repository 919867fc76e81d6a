"""The phase graph: which configuration states a program makes, and their amplitudes for a set of atoms.

Magnetisation inside a voxel is a sum of configuration states with a dephasing vector k (1/m) and a dephasing time tau
(s): F(k, tau) transverse, Z(k, tau) longitudinal. A pulse mixes F(k), F(-k)* and Z(k); time and gradients shift F.
Extended phase graphs: Hennig, J Magn Reson 78 (1988) 397; Weigel, JMRI 41 (2015) 266. Arbitrary k-vectors and the
pruning of states that reach no echo: Endres et al, Magn Reson Med 92 (2024) 1189 (phase distribution graphs).

`build` walks the program once with a few representative atoms, names the states that matter and how they are linked;
`play` then runs any number of atoms through that fixed graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

K_GRID = 1e-2  # 1/m: states closer than this are one
TAU_GRID = 1e-8  # s
LANES = 64  # atoms that are played side by side


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

    for i in range(n_pulses):
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
                    decay = math.exp(-dt[i] * (r1[a] if slot == 2 else r2[a]) - b * d[a])
                    value = amp[s, slot, a]
                    largest = max(largest, (value.real * value.real + value.imag * value.imag) * decay * decay)
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
                    decay = math.exp(-dt[i] * (r1[a] if slot == 2 else r2[a]) - b * d[a])
                    value = amp[s, slot, a] * decay
                    amp2[target, into, a] = value.conjugate() if flip else value
                if target == 0 and slot < 2:  # k = 0: F and F* are one another's conjugate
                    source[total, 1 - into] = 2 * s + (0 if flip else 1)
                    b_value[total, 1 - into] = b
                    for a in range(n_atoms):
                        amp2[0, 1 - into, a] = amp2[0, into, a].conjugate()
        for a in range(n_atoms):
            amp2[0, 2, a] += 1 - math.exp(-dt[i] * r1[a])
        cs, sn = math.cos(phase[i]), math.sin(phase[i])
        for s in range(n_new):
            for a in range(n_atoms):
                p, m, z = _apply(maps[shape[i], :, a], cs, sn, amp2[s, 0, a], amp2[s, 1, a], amp2[s, 2, a], s == 0)
                amp2[s, 0, a], amp2[s, 1, a], amp2[s, 2, a] = p, m, z
            for slot in range(3):
                largest = 0.0
                for a in range(n_atoms):
                    largest = max(largest, abs(amp2[s, slot, a]))
                amplitude[total + s, slot] = largest
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


@numba.njit(cache=True)
def _importance(first, source, shape, size_of, decay1, decay2, wanted, importance):
    """Backwards: how much of each slot, just after its pulse, can still reach a readout. size_of: (shape, 6) |map|."""
    n_pulses = len(first) - 1
    before = np.zeros((1, 3))
    for i in range(n_pulses - 1, -1, -1):
        lo, hi = first[i], first[i + 1]
        for s in range(lo, hi):
            for slot in range(3):
                importance[s, slot] = max(importance[s, slot], wanted[s, slot])
        # through the pulse: slot after <- slots before
        a, b, g, e, z = (
            size_of[shape[i], 0],
            size_of[shape[i], 1],
            size_of[shape[i], 2],
            size_of[shape[i], 3],
            size_of[shape[i], 4],
        )
        before = np.zeros((hi - lo, 3))
        for s in range(lo, hi):
            p, m, along = importance[s, 0], importance[s, 1], importance[s, 2]
            before[s - lo, 0] = max(a * p, b * m, e * along)
            before[s - lo, 1] = max(b * p, a * m, e * along)
            before[s - lo, 2] = max(g * p, g * m, z * along)
        if i > 0:
            base = first[i - 1]
            for s in range(hi - lo):
                for slot in range(3):
                    src = source[lo + s, slot]
                    if src >= 0:
                        from_slot = slot
                        if src & 1 and slot < 2:
                            from_slot = 1 - slot
                        decay = decay1[i] if slot == 2 else decay2[i]
                        at = base + (src >> 1)
                        importance[at, from_slot] = max(importance[at, from_slot], before[s, slot] * decay)


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


def prune(graph: Graph, timeline, maps, t1, t2, wanted, tolerance) -> tuple[Graph, NDArray[np.int64]]:
    """Drop states that cannot bring more than `tolerance` to any wanted slot. Returns the graph and old -> new states."""
    pairs = (
        np.hypot(maps[:, 0], maps[:, 1]),
        np.hypot(maps[:, 2], maps[:, 3]),
        np.hypot(maps[:, 4], maps[:, 5]),
        np.hypot(maps[:, 8], maps[:, 9]),
        np.abs(maps[:, 10]),
    )
    size_of = np.column_stack([np.max(pair, axis=1) for pair in pairs])
    dt = np.diff(timeline.time, prepend=timeline.time[:1])
    importance = np.zeros(graph.source.shape)
    _importance(
        graph.first,
        graph.source,
        timeline.shape,
        size_of,
        np.exp(-dt / np.max(t1)),
        np.exp(-dt / np.max(t2)),
        wanted.astype(float),
        importance,
    )
    keep_slot = importance * graph.amplitude > tolerance
    keep = keep_slot.any(axis=1)
    keep[graph.first[:-1]] = True
    renumber = np.cumsum(keep) - 1
    first = np.concatenate(([0], np.cumsum(keep)))[graph.first]
    pulse_of = np.repeat(np.arange(len(graph.first) - 1), np.diff(graph.first))
    base_before = graph.first[np.maximum(pulse_of - 1, 0)]
    new_base_before = first[np.maximum(pulse_of - 1, 0)]
    old = graph.source
    came = base_before[:, None] + (old >> 1)
    at = np.where(old >= 0, came, 0)
    alive = (old >= 0) & keep[at]
    from_slot = np.where(
        (old & 1).astype(bool) & (np.arange(3) < 2)[None, :], 1 - np.arange(3)[None, :], np.arange(3)[None, :]
    )
    slot_alive = keep_slot[at, from_slot] | (at == base_before[:, None])
    alive &= slot_alive
    source = np.where(alive, 2 * (renumber[at] - new_base_before[:, None]) + (old & 1), -1).astype(np.int32)
    if len(first) > 1:  # before the first pulse there is only equilibrium, state 0
        initial = pulse_of == 0
        source[initial] = np.where(old[initial] >= 0, old[initial], -1)
    return (
        Graph(
            first,
            source[keep],
            graph.k[keep],
            graph.tau[keep],
            graph.amplitude[keep],
            graph.b_value[keep],
            graph.dropped,
        ),
        np.where(keep, renumber, -1),
    )


@numba.njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def _turn(p, p_sign, m, m_sign, z, z_sign, grown, turn, b):
    """One state of one block: gathered from where it was, decayed and grown, turned by the pulse.

    Few arrays, each read in rows of LANES, so that the compiler sees what may be done side by side.
    """
    for j in range(LANES):
        d1 = turn[12 * LANES + j]
        fp, fm = turn[13 * LANES + j] * turn[14 * LANES + j], turn[13 * LANES + j] * turn[15 * LANES + j]
        fz = d1 * turn[16 * LANES + j]
        pr, pi = p[j] * fp, p[LANES + j] * fp * p_sign
        mr, mi = m[j] * fm, m[LANES + j] * fm * m_sign
        zr, zi = z[j] * fz + grown * (np.float32(1) - d1), z[LANES + j] * fz * z_sign
        ar, ai, br, bi = turn[j], turn[LANES + j], turn[2 * LANES + j], turn[3 * LANES + j]
        gr, gi, dr, di = turn[4 * LANES + j], turn[5 * LANES + j], turn[6 * LANES + j], turn[7 * LANES + j]
        er, ei = turn[8 * LANES + j], turn[9 * LANES + j]
        b[j] = ar * pr - ai * pi + br * mr - bi * mi + gr * zr - gi * zi + grown * dr
        b[LANES + j] = ar * pi + ai * pr + br * mi + bi * mr + gr * zi + gi * zr + grown * di
        b[2 * LANES + j] = ar * mr + ai * mi + br * pr + bi * pi + gr * zr + gi * zi + grown * dr
        b[3 * LANES + j] = ar * mi - ai * mr + br * pi - bi * pr + gr * zi - gi * zr - grown * di
        b[4 * LANES + j] = er * (pr + mr) - ei * (pi - mi) + turn[10 * LANES + j] * zr + grown * turn[11 * LANES + j]
        b[5 * LANES + j] = er * (pi + mi) + ei * (pr - mr) + turn[10 * LANES + j] * zi


@numba.njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def _play_block(
    block,
    first,
    source,
    shape,
    phase,
    step,
    maps,
    e1,
    e2,
    b_index,
    b_factor,
    record_first,
    record_state,
    record_slot,
    n_most,
    out,
):
    n_atoms, state = maps.shape[2], 6 * LANES
    lo = block * LANES
    width = min(LANES, n_atoms - lo)
    a = np.zeros((n_most + 1) * state, np.float32)  # the last state is always nothing
    b = np.zeros((n_most + 1) * state, np.float32)
    a[4 * LANES : 5 * LANES] = 1.0
    turn = np.ones(17 * LANES, np.float32)  # this pulse's map, its phase put in; decay; diffusion
    for i in range(len(shape)):
        n_new = first[i + 1] - first[i]
        turn[12 * LANES : 12 * LANES + width] = e1[step[i], lo : lo + width]
        turn[13 * LANES : 13 * LANES + width] = e2[step[i], lo : lo + width]
        cs, sn = np.float32(math.cos(phase[i])), np.float32(math.sin(phase[i]))
        cs2, sn2 = cs * cs - sn * sn, np.float32(2) * cs * sn
        mp = maps[shape[i]]
        for j in range(width):
            n = lo + j
            turn[j], turn[LANES + j] = mp[0, n], mp[1, n]
            turn[2 * LANES + j] = mp[2, n] * cs2 - mp[3, n] * sn2
            turn[3 * LANES + j] = mp[2, n] * sn2 + mp[3, n] * cs2
            turn[4 * LANES + j] = mp[4, n] * cs - mp[5, n] * sn
            turn[5 * LANES + j] = mp[4, n] * sn + mp[5, n] * cs
            turn[6 * LANES + j] = mp[6, n] * cs - mp[7, n] * sn
            turn[7 * LANES + j] = mp[6, n] * sn + mp[7, n] * cs
            turn[8 * LANES + j] = mp[8, n] * cs + mp[9, n] * sn
            turn[9 * LANES + j] = mp[9, n] * cs - mp[8, n] * sn
            turn[10 * LANES + j], turn[11 * LANES + j] = mp[10, n], mp[11, n]
        for s in range(n_new):
            src = source[first[i] + s, 0]
            p, p_sign = n_most * state, np.float32(1)
            if src >= 0:
                p = (src >> 1) * state + (2 * LANES if src & 1 else 0)
                p_sign = np.float32(-1) if src & 1 else np.float32(1)
            src = source[first[i] + s, 1]
            m, m_sign = n_most * state, np.float32(1)
            if src >= 0:
                m = (src >> 1) * state + (0 if src & 1 else 2 * LANES)
                m_sign = np.float32(-1) if src & 1 else np.float32(1)
            src = source[first[i] + s, 2]
            z, z_sign = n_most * state, np.float32(1)
            if src >= 0:
                z = (src >> 1) * state + 4 * LANES
                z_sign = np.float32(-1) if src & 1 else np.float32(1)
            grown = np.float32(1) if s == 0 else np.float32(0)
            to = s * state
            if b_index[first[i] + s, 0] >= 0:
                for slot in range(3):
                    row = (14 + slot) * LANES
                    turn[row : row + width] = b_factor[b_index[first[i] + s, slot], lo : lo + width]
            _turn(
                a[p : p + 2 * LANES],
                p_sign,
                a[m : m + 2 * LANES],
                m_sign,
                a[z : z + 2 * LANES],
                z_sign,
                grown,
                turn,
                b[to : to + state],
            )
        for q in range(record_first[i], record_first[i + 1]):
            at = record_state[q] * state + 2 * LANES * record_slot[q]
            sign = np.float32(-1) if record_slot[q] == 1 else np.float32(1)
            for j in range(width):
                out[q, lo + j] = complex(b[at + j], sign * b[at + LANES + j])
        a, b = b, a
        a[n_most * state :] = 0
        b[n_most * state :] = 0


@numba.njit(parallel=True, cache=True)
def _play(
    first,
    source,
    shape,
    phase,
    step,
    maps,
    e1,
    e2,
    b_index,
    b_factor,
    record_first,
    record_state,
    record_slot,
    n_most,
    out,
):
    """Atoms in blocks of LANES; a state is six rows of them: F re, im; F(-k)* re, im; Z re, im."""
    for block in numba.prange((maps.shape[2] + LANES - 1) // LANES):
        _play_block(
            block,
            first,
            source,
            shape,
            phase,
            step,
            maps,
            e1,
            e2,
            b_index,
            b_factor,
            record_first,
            record_state,
            record_slot,
            n_most,
            out,
        )


def play(graph: Graph, timeline, maps, t1, t2, diffusion, record_state, record_slot, record_first):
    """Amplitudes just after the pulses: complex64 (record, atom).

    record_first: (pulse + 1,) rows of record_state (state within the pulse) and record_slot; slot 0 gives F(k, tau),
    slot 1 gives F(-k, -tau).
    """
    n_atoms = maps.shape[2]
    dt = np.diff(timeline.time, prepend=timeline.time[:1])
    steps, step = np.unique(np.round(dt, 9), return_inverse=True)
    e1 = np.exp(-steps[:, None] / t1[None, :]).astype(np.float32)
    e2 = np.exp(-steps[:, None] / t2[None, :]).astype(np.float32)
    b_index = np.full(graph.source.shape, -1, np.int32)
    b_factor = np.ones((1, n_atoms), np.float32)
    if diffusion.any():
        values, index = np.unique(np.round(graph.b_value, -4), return_inverse=True)  # to 0.01 s/mm2
        b_factor = np.exp(-values[:, None] * diffusion[None, :]).astype(np.float32)
        b_index = index.reshape(graph.source.shape).astype(np.int32)
    out = np.empty((len(record_state), n_atoms), np.complex64)
    most = int(np.max(np.diff(graph.first))) if len(graph.first) > 1 else 1
    _play(
        graph.first,
        graph.source,
        timeline.shape,
        timeline.phase,
        step.astype(np.int32).reshape(-1),
        np.ascontiguousarray(maps, np.float32),
        e1,
        e2,
        b_index,
        b_factor,
        record_first.astype(np.int64),
        record_state.astype(np.int32),
        record_slot.astype(np.int32),
        most,
        out,
    )
    return out
