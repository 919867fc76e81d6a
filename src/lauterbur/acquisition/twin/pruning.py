"""Pruning: states of a phase graph that bring too little to what is heard are dropped.

What a state brings is its amplitude times how much the signal changes with it. The latter is the adjoint of the program,
played backwards from the readouts, so that all ways from the state to every echo are in it, with their signs: in a
balanced train many of them add up that are worth nothing one by one.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.cast import Parameters
from lauterbur.acquisition.twin.graph import Graph

ACTORS = 12  # tissues that are asked


@numba.njit(cache=True)
def _before(maps, cs, sn, p, m, z):
    """The adjoint of one pulse: from the gradient after it to the gradient before it."""
    rot = complex(cs, sn)
    alpha = complex(maps[0], maps[1])
    beta = complex(maps[2], maps[3]) * rot * rot
    gamma = complex(maps[4], maps[5]) * rot
    epsilon = complex(maps[8], maps[9]) * rot.conjugate()
    return (
        alpha.conjugate() * p + beta * m + epsilon.conjugate() * z,
        beta.conjugate() * p + alpha * m + epsilon * z,
        gamma.conjugate() * p + gamma * m + maps[10] * z,
    )


@numba.njit(cache=True, parallel=True)
def _sensitivity(first, source, shape, phase, dt, b_value, maps, r1, r2, diffusion, wanted):
    """(actor, state, 3): r.m.s. over the probes of the gradient of Re sum conj(wanted) F, just after each pulse.

    wanted: (probe, state, 2), what a probe hears of F(k) and of F(-k).
    """
    n_probes, n_states = wanted.shape[:2]
    n_pulses, n_actors = len(shape), len(r1)
    most = 0
    for i in range(n_pulses):
        most = max(most, first[i + 1] - first[i])
    out = np.zeros((n_actors, n_states, 3), np.float32)
    for actor in numba.prange(n_actors):
        here, there = np.zeros((most, 3, n_probes), np.complex64), np.zeros((most, 3, n_probes), np.complex64)
        for i in range(n_pulses - 1, -1, -1):
            lo, hi = first[i], first[i + 1]
            below = first[i - 1] if i > 0 else 0
            if i > 0:
                there[: lo - below] = 0
            cs, sn = math.cos(phase[i]), math.sin(phase[i])
            e1, e2 = math.exp(-dt[i] * r1[actor]), math.exp(-dt[i] * r2[actor])
            for s in range(lo, hi):
                total_p, total_m, total_z = 0.0, 0.0, 0.0
                fade_p, fade_m, fade_z = e2, e2, e1
                if diffusion[actor] > 0:
                    fade_p *= math.exp(-b_value[s, 0] * diffusion[actor])
                    fade_m *= math.exp(-b_value[s, 1] * diffusion[actor])
                    fade_z *= math.exp(-b_value[s, 2] * diffusion[actor])
                for j in range(n_probes):
                    p = here[s - lo, 0, j] + wanted[j, s, 0]
                    m = here[s - lo, 1, j] + wanted[j, s, 1].conjugate()
                    z = here[s - lo, 2, j]
                    total_p += p.real * p.real + p.imag * p.imag
                    total_m += m.real * m.real + m.imag * m.imag
                    total_z += z.real * z.real + z.imag * z.imag
                    if i == 0:
                        continue
                    p, m, z = _before(maps[shape[i], :, actor], cs, sn, p, m, z)
                    for slot in range(2):
                        src = source[s, slot]
                        value = p * fade_p if slot == 0 else m * fade_m
                        if src >= 0 and src & 1:
                            there[src >> 1, 1 - slot, j] += value.conjugate()
                        elif src >= 0:
                            there[src >> 1, slot, j] += value
                    src = source[s, 2]
                    if src >= 0:
                        there[src >> 1, 2, j] += (z.conjugate() if src & 1 else z) * fade_z
                out[actor, s, 0] = math.sqrt(total_p / n_probes)
                out[actor, s, 1] = math.sqrt(total_m / n_probes)
                out[actor, s, 2] = math.sqrt(total_z / n_probes)
            here, there = there, here
    return out


def prune(
    graph: Graph, timeline, maps, actors: Parameters, wanted: NDArray[np.complex64], allowed: float
) -> tuple[Graph, NDArray[np.int64]]:
    """Drop the states that together bring less than `allowed` of the norm of all that the probes hear.

    wanted: (probe, state, 2), what a probe hears of each state's F(k) and F(-k); its readouts have random phases. Returns
    the graph and old -> new states, -1 where dropped.
    """
    some = np.unique(np.linspace(0, len(actors["t1"]) - 1, ACTORS).astype(int))
    gradient = _sensitivity(
        graph.first,
        graph.source,
        timeline.shape,
        timeline.phase,
        np.diff(timeline.time, prepend=timeline.time[:1]),
        graph.b_value,
        np.ascontiguousarray(maps[:, :, some], float),
        1 / actors["t1"][some],
        1 / actors["t2"][some],
        np.asarray(actors["diffusion"][some], float),
        wanted,
    ).max(axis=0)
    brings = (gradient * graph.amplitude).astype(float) ** 2
    weakest = np.sort(brings, axis=None)
    n_drop = int(np.searchsorted(np.cumsum(weakest), allowed**2, side="right"))
    keep_slot = brings > (weakest[n_drop - 1] if n_drop else -1.0)
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
