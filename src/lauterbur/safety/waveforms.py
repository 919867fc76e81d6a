"""The gradients as the amplifiers will play them: straight segments per axis, rotated, in T/m, from program start.

Programs may hold millions of segments, so they come in chunks of whole blocks; every law of the gate that looks at
waveforms walks these chunks once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.program import Column, Gradient, Program, block_starts, gradient_points
from lauterbur.units import GAMMA_BAR

AXES = ("x", "y", "z")
CHUNK = 2_000_000  # segments held at once
SAME_TIME = 1e-8  # s: two instants closer than this are one
_AXIS_COLUMNS = [Column.GX, Column.GY, Column.GZ]


@dataclass(frozen=True, eq=False)
class Segments:
    """One axis: straight pieces in order of time, none of them of zero length; the gradient is zero between them."""

    start: NDArray[np.float64]  # s, (segment,), from the start of the program
    end: NDArray[np.float64]  # s, (segment,)
    first: NDArray[np.float64]  # T/m, (segment,), at its start
    last: NDArray[np.float64]  # T/m, (segment,), at its end
    block: NDArray[np.int64]  # (segment,)

    def after(self, i: int) -> Segments:
        """The segments from number i on."""
        return Segments(self.start[i:], self.end[i:], self.first[i:], self.last[i:], self.block[i:])

    def sample(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """T/m at these times."""
        if not len(self.start):
            return np.zeros(len(time))
        i = np.maximum(np.searchsorted(self.start, time, side="right") - 1, 0)
        slope = (self.last - self.first) / (self.end - self.start)
        value = self.first[i] + (time - self.start[i]) * slope[i]
        return np.where((time >= self.start[i]) & (time <= self.end[i]), value, 0.0)


def join(before: Segments | None, after: Segments) -> Segments:
    if before is None or not len(before.start):
        return after
    names = ("start", "end", "first", "last", "block")
    return Segments(*(np.concatenate((getattr(before, name), getattr(after, name))) for name in names))


@dataclass(frozen=True, eq=False)
class _Pieces:
    """All straight pieces of all unique gradients, end to end; piece p of gradient g is at offset[g] + p."""

    offset: NDArray[np.int64]  # (gradient + 1,)
    start: NDArray[np.float64]  # s, from block start
    end: NDArray[np.float64]
    first: NDArray[np.float64]  # Hz/m
    last: NDArray[np.float64]


def _pieces(gradients: tuple[Gradient, ...]) -> _Pieces:
    lengths = np.array([len(g.time) for g in gradients], np.int64)
    if not len(gradients) or not lengths.sum():
        empty = np.zeros(0)
        return _Pieces(np.zeros(len(gradients) + 1, np.int64), empty, empty, empty, empty)
    owner = np.repeat(np.arange(len(gradients)), lengths)
    time = np.concatenate([g.time for g in gradients]) + np.array([g.delay for g in gradients])[owner]
    value = np.concatenate([g.waveform for g in gradients])
    # not (length <= 0) rather than length > 0: a time that is not a number stays, and is refused by what it spoils
    real = (owner[1:] == owner[:-1]) & ~(time[1:] - time[:-1] <= 0)
    offset = np.concatenate(([0], np.cumsum(np.bincount(owner[:-1][real], minlength=len(gradients)))))
    return _Pieces(offset, time[:-1][real], time[1:][real], value[:-1][real], value[1:][real])


def chunks(program: Program) -> Iterator[tuple[Segments, Segments, Segments]]:
    """The segments of x, y and z, chunk after chunk of whole blocks."""
    pieces = _pieces(program.gradients)
    count = np.append(np.diff(pieces.offset), 0)  # the last one answers for index -1: no gradient
    columns = program.blocks[:, _AXIS_COLUMNS]
    per_block = count[columns].sum(axis=1)
    is_rotated = (program.blocks[:, Column.ROTATION] >= 0) & (columns >= 0).any(axis=1)
    per_block[is_rotated] *= 3
    starts = block_starts(program)
    identity = np.broadcast_to(np.eye(3), program.rotations.shape)
    logical = replace(program, rotations=identity)

    cumulative = np.cumsum(per_block)
    begin = 0
    while begin < program.n_blocks:
        done = cumulative[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(cumulative, done + CHUNK, side="right")))
        yield _chunk(program, logical, pieces, starts, is_rotated, begin, end)
        begin = end


def _chunk(
    program: Program,
    logical: Program,
    pieces: _Pieces,
    starts: NDArray[np.float64],
    is_rotated: NDArray[np.bool_],
    begin: int,
    end: int,
) -> tuple[Segments, Segments, Segments]:
    rotated = np.flatnonzero(is_rotated[begin:end]) + begin
    turned = _rotated_pieces(program, logical, starts, rotated)
    axes = []
    for axis, column in enumerate(_AXIS_COLUMNS):
        event = program.blocks[begin:end, column]
        block = np.flatnonzero((event >= 0) & ~is_rotated[begin:end])
        event = event[block].astype(np.int64)
        n_pieces = pieces.offset[event + 1] - pieces.offset[event]
        owner = np.repeat(block + begin, n_pieces)
        first_of_run = np.cumsum(n_pieces) - n_pieces
        piece = np.arange(len(owner)) + np.repeat(pieces.offset[event] - first_of_run, n_pieces)
        parts = [
            (
                starts[owner] + pieces.start[piece],
                starts[owner] + pieces.end[piece],
                pieces.first[piece],
                pieces.last[piece],
                owner,
            )
        ]
        parts += [(t0, t1, a[:, axis], b[:, axis], o) for t0, t1, a, b, o in turned]
        start, stop, first, last, of_block = (np.concatenate(field) for field in zip(*parts, strict=True))
        used = ~((first == 0) & (last == 0))
        order = np.flatnonzero(used)
        if len(parts) > 1:
            order = order[np.lexsort((start[order], of_block[order]))]
        axes.append(
            Segments(start[order], stop[order], first[order] / GAMMA_BAR, last[order] / GAMMA_BAR, of_block[order])
        )
    return axes[0], axes[1], axes[2]


def _rotated_pieces(
    program: Program, logical: Program, starts: NDArray[np.float64], rotated: NDArray[np.int64]
) -> list[tuple[NDArray, NDArray, NDArray, NDArray, NDArray]]:
    """Blocks that turn their gradients: equal blocks before the turn are rendered once, then turned in bulk."""
    if not len(rotated):
        return []
    keys = np.column_stack((program.blocks[rotated][:, _AXIS_COLUMNS], np.round(program.durations[rotated] * 1e9)))
    _, example, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    parts = []
    for i, which in enumerate(example):
        time, value = gradient_points(logical, int(rotated[which]))
        members = rotated[np.flatnonzero(group.reshape(-1) == i)]
        turn = program.rotations[program.blocks[members, Column.ROTATION]]
        values = np.einsum("bij,pj->bpi", turn, value)
        real = np.flatnonzero(~(np.diff(time) <= 0))
        shape = (len(members), len(real))
        parts.append(
            (
                (starts[members, None] + time[real]).ravel(),
                (starts[members, None] + time[real + 1]).ravel(),
                values[:, real].reshape(-1, 3),
                values[:, real + 1].reshape(-1, 3),
                np.broadcast_to(members[:, None], shape).ravel(),
            )
        )
    return parts
