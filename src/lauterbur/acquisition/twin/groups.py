"""Readouts that are encoded together: one basis, one set of transforms.

A row is one readout, or one train of them (trains.py). Its reference is the loudest state it hears; the other states are columns, told apart by their
dephasing time and by how far in k they are from the reference. States whose distance from it changes from readout to
readout (phase encoding that is not rewound) have a group of their own, in which they are the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.graph import K_GRID
from lauterbur.acquisition.twin.heard import Records
from lauterbur.acquisition.twin.trains import trains
from lauterbur.acquisition.twin.transform import alike

Float = NDArray[np.float64]
TAU_STEP = 1e-7  # s
WEAK = 1e-4  # diffusion that nobody hears
COMMON = 0.1  # of a group's readouts hear a column


@dataclass(frozen=True, eq=False)
class Group:
    readout: NDArray[np.intp]  # (row, window) distinct
    reference: Float  # 1/m, (row, 3): the reference state's k just after its pulse
    row: NDArray[np.intp]  # (entry,) sorted by column
    record: NDArray[np.intp]  # (entry,)
    first: NDArray[np.intp]  # (column + 1,) into the entries
    b_value: Float  # s/m2, (entry,) of the diffusion after the last pulse
    tau: Float  # s, (column,)
    away: Float  # 1/m, (column, 3) from the reference
    start: Float  # s, (window,) from the pulse's centre to the first sample
    dwell: float
    n_samples: int  # of a window
    is_silent: bool  # heard by the witness alone

    @property
    def n_columns(self) -> int:
        return len(self.tau)

    @property
    def time(self) -> Float:
        """s since the pulse, (sample of all windows,)"""
        return (self.start[:, None] + np.arange(self.n_samples) * self.dwell).ravel()

    def k(self, line: Timeline) -> Float:
        """1/m, (row, sample of all windows, 3): where each row listens to its reference."""
        k = line.k_since_pulse(self.readout.ravel(), self.n_samples).reshape(len(self.readout), -1, 3)
        return k + self.reference[:, None, :]

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


def group_rows(records: Records, line: Timeline, offset: float) -> list[Group]:
    """offset: Hz, the largest of any spin."""
    groups = []
    loudest = np.full(len(line.start), -1)  # of each readout
    order = np.argsort(records.loudness, kind="stable")
    loudest[records.readout[order]] = records.record[order]
    for silent in (False, True):
        pairs = np.flatnonzero(records.is_silent == silent)
        if not len(pairs):
            continue
        readouts = np.unique(records.readout[pairs])
        rows = [readouts[i : i + 1] for i in range(len(readouts))] if silent else trains(line, readouts, offset)
        row_of = np.zeros(len(line.start), np.intp)
        kind = np.empty(len(rows), np.int64)
        known: dict[bytes, int] = {}
        for i, row in enumerate(rows):
            row_of[row] = i
            start = np.round((line.start[row] - line.time[line.pulse[row]]) * 1e9)
            head = np.array([len(row), round(line.dwell[row[0]] * 1e12), line.n_samples[row[0]]], float)
            kind[i] = known.setdefault(np.concatenate((head, start)).tobytes(), len(known))
        for which in range(len(known)):
            left = pairs[kind[row_of[records.readout[pairs]]] == which]
            while len(left):
                beside = loudest if silent else None
                taken, group = _peel(records, line, left, rows, row_of[records.readout[left]], beside)
                groups.append(group)
                left = left[~taken]
    return groups


def _peel(
    records: Records,
    line: Timeline,
    pairs: NDArray,
    rows: list[NDArray],
    row_of: NDArray,
    beside: NDArray[np.intp] | None,
) -> tuple[NDArray[np.bool_], Group]:
    """The loudest state of every row, and the states that lie alike beside it in most of them.

    row_of: (pair,) into `rows`; beside: all states beside these records (readout,) instead, which are heard around k = 0
    where the boxes' polynomials are few. Returns which pairs were taken.
    """
    row, back = np.unique(row_of, return_inverse=True)
    back = back.reshape(-1)
    if beside is None:
        order = np.lexsort((-records.loudness[pairs], back))
        loudest = records.record[pairs[order[np.searchsorted(back[order], np.arange(len(row)))]]]
    else:
        loudest = beside[[rows[i][0] for i in row]]
    reference = records.k[loudest]
    tau = records.tau[records.record[pairs]]
    away = records.k[records.record[pairs]] - reference[back]
    code = np.column_stack((np.round(tau / TAU_STEP), np.round(away / K_GRID))).astype(np.int64)
    columns, column = alike(code)
    once = np.unique(column * len(row) + back) // len(row)  # the windows of a train hear a state alike
    common = (np.bincount(once) >= COMMON * len(row)) | ~code[columns, 1:].any(axis=1)
    if beside is not None:
        common[:] = True
    taken = common[column]
    kept, number = np.unique(column[taken], return_inverse=True)
    _, first_of = np.unique(number.reshape(-1) * len(row) + back[taken], return_index=True)  # by column, then row
    chosen, entry_row, number = pairs[taken][first_of], back[taken][first_of], number.reshape(-1)[first_of]
    first = np.searchsorted(number, np.arange(len(kept) + 1))
    readout = np.array([rows[i] for i in row])
    head = readout[0]
    middle = readout[entry_row, readout.shape[1] // 2]
    return taken, Group(
        readout,
        reference,
        entry_row,
        records.record[chosen],
        first,
        line.b_value(middle, records.k[records.record[chosen]]),
        tau[taken][first_of][first[:-1]],
        away[taken][first_of][first[:-1]],
        np.round(line.start[head] - line.time[line.pulse[head]], 9),
        float(line.dwell[head[0]]),
        int(line.n_samples[head[0]]),
        bool(records.is_silent[pairs[0]]),
    )
