"""Lanes: any number of atoms through a fixed phase graph, side by side in vector registers."""

from __future__ import annotations

import math

import numba
import numpy as np

from lauterbur.acquisition.twin.graph import Graph

LANES = 64  # atoms that are played side by side


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


def play(graph: Graph, timeline, maps, t1, t2, diffusion, record_state, record_slot, record_first, room=None):
    """Amplitudes just after the pulses: complex64 (record, atom), in `room` (flat) where given.

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
        values, b_index = graph.b_classes
        b_factor = np.exp(-values[:, None] * diffusion[None, :]).astype(np.float32)
    shape = len(record_state), n_atoms
    out = np.empty(shape, np.complex64) if room is None else room[: math.prod(shape)].reshape(shape)
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
