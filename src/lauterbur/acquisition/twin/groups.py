"""Readouts that are encoded together: one basis, one set of transforms.

A row is one readout. Its reference is the loudest state it hears; the other states are columns, told apart by their
dephasing time and by how far in k they are from the reference. States whose distance from it changes from readout to
readout (phase encoding that is not rewound) have a group of their own, in which they are the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.graph import K_GRID
from lauterbur.acquisition.twin.heard import Records, alike

Float = NDArray[np.float64]
TAU_STEP = 1e-7  # s
WEAK = 1e-4  # diffusion that nobody hears
COMMON = 0.1  # of a group's readouts hear a column


@dataclass(frozen=True, eq=False)
class Group:
    readout: NDArray[np.intp]  # (row,) distinct
    reference: Float  # 1/m, (row, 3): the reference state's k just after its pulse
    row: NDArray[np.intp]  # (entry,) sorted by column
    record: NDArray[np.intp]  # (entry,)
    first: NDArray[np.intp]  # (column + 1,) into the entries
    b_value: Float  # s/m2, (entry,) of the diffusion after the last pulse
    tau: Float  # s, (column,)
    away: Float  # 1/m, (column, 3) from the reference
    start: float  # s from the pulse's centre to the first sample
    dwell: float
    n_samples: int
    is_silent: bool  # heard by the witness alone

    @property
    def n_columns(self) -> int:
        return len(self.tau)

    @property
    def time(self) -> Float:
        """s since the pulse, (sample,)"""
        return np.asarray(self.start + np.arange(self.n_samples) * self.dwell, float)

    def k(self, line: Timeline) -> Float:
        """1/m, (row, sample, 3): where each row listens to its reference."""
        return line.k_since_pulse(self.readout, self.n_samples) + self.reference[:, None, :]

    def column(self, q: int) -> slice:
        return slice(int(self.first[q]), int(self.first[q + 1]))

    def amplitude(self, q: int, amplitude: NDArray[np.complex64], diffusion: Float) -> NDArray[np.complex64]:
        """(entry of column q, actor) of amplitudes (record, actor) just after the pulse: what is left when it is heard."""
        some = self.column(q)
        here, b = amplitude[self.record[some]], self.b_value[some]
        if b.max(initial=0.0) * diffusion.max(initial=0.0) < WEAK:
            return here
        return here * np.exp(-b[:, None] * diffusion[None, :]).astype(np.float32)

    def project(
        self, amplitude: NDArray[np.complex64], diffusion: Float, bases: list[NDArray]
    ) -> NDArray[np.complex64]:
        """(atom, feature): amplitudes (record, atom) in each column's basis (entry of the column, rank)."""
        out = np.empty((amplitude.shape[1], sum(b.shape[1] for b in bases)), np.complex64)
        at = 0
        for q, basis in enumerate(bases):
            rank = basis.shape[1]
            out[:, at : at + rank] = self.amplitude(q, amplitude, diffusion).T @ basis.conj().astype(np.complex64)
            at += rank
        return out


def group_rows(records: Records, line: Timeline) -> list[Group]:
    if not len(records.readout):
        return []
    start = np.round(line.start[records.readout] - line.time[line.pulse[records.readout]], 9)
    timing = np.column_stack(
        (
            np.round(start * 1e8),
            np.round(line.dwell[records.readout] * 1e12),
            line.n_samples[records.readout],
            records.is_silent,
        )
    )
    _, kind = alike(timing.astype(np.int64))
    groups = []
    for which in range(int(kind.max()) + 1):
        left = np.flatnonzero(kind == which)
        while len(left):
            taken, group = _peel(records, line, left, start)
            groups.append(group)
            left = left[~taken]
    return groups


def _peel(records: Records, line: Timeline, pairs: NDArray, start: Float) -> tuple[NDArray[np.bool_], Group]:
    """The loudest state of every readout, and the states that lie alike beside it in most of them."""
    readout, back = np.unique(records.readout[pairs], return_inverse=True)
    back = back.reshape(-1)
    order = np.lexsort((-records.loudness[pairs], back))
    loudest = pairs[order[np.searchsorted(back[order], np.arange(len(readout)))]]
    reference = records.k[records.record[loudest]]
    tau = records.tau[records.record[pairs]]
    away = records.k[records.record[pairs]] - reference[back]
    code = np.column_stack((np.round(tau / TAU_STEP), np.round(away / K_GRID))).astype(np.int64)
    columns, column = alike(code)
    common = (np.bincount(column) >= COMMON * len(readout)) | ~code[columns, 1:].any(axis=1)
    taken = common[column]
    kept, number = np.unique(column[taken], return_inverse=True)
    number = number.reshape(-1)
    entries = np.argsort(number, kind="stable")
    rows, chosen = back[taken][entries], pairs[taken][entries]
    first = np.searchsorted(number[entries], np.arange(len(kept) + 1))
    head = pairs[0]
    return taken, Group(
        readout,
        reference,
        rows,
        records.record[chosen],
        first,
        line.b_value(records.readout[chosen], records.k[records.record[chosen]]),
        tau[taken][entries][first[:-1]],
        away[taken][entries][first[:-1]],
        float(start[head]),
        float(line.dwell[records.readout[head]]),
        int(line.n_samples[records.readout[head]]),
        bool(records.is_silent[head]),
    )
