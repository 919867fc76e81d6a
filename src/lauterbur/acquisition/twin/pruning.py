"""Pruning: states of a phase graph that can bring too little to any readout are dropped, backwards from what is heard."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.graph import Graph


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
