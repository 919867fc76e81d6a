"""The block table in bulk: unique events collected once, blocks laid out as arrays over repetitions.

    events = Events(protocol.directions)
    echo = repeated(n, [Block(rf=..., gradients={2: slab}, duration=...), Block(adc=..., gradients={0: read, 1: steps})])

An event is an index or, per repetition, an array of indices; -1 is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.program import Adc, Column, Gradient, Program, Rasters, RfPulse
from lauterbur.scanner.machine import Scanner

Int = NDArray[np.int64]
Event = int | Int


class Events:
    """Collects unique events; logical axes (readout, phase, slice) become physical ones here and nowhere else."""

    def __init__(self, directions: tuple):
        rows = np.array(directions, float)
        self.rf: list[RfPulse] = []
        self.gradients: list[Gradient] = []
        self.adc: list[Adc] = []
        self._known: dict[tuple, int] = {}
        self.column, self.sign, self.rotation = [0, 1, 2], [1.0, 1.0, 1.0], None
        largest = np.argmax(np.abs(rows), axis=1)
        if np.all(np.abs(rows)[np.arange(3), largest] > 1 - 1e-9):
            self.column = [int(axis) for axis in largest]
            self.sign = [float(np.sign(rows[axis, largest[axis]])) for axis in range(3)]
        else:
            self.rotation = rows.T  # played = R @ (readout, phase, slice)

    def pulse(self, pulse: RfPulse) -> int:
        p = pulse
        key = ("rf", p.waveform.tobytes(), p.delay, p.frequency_offset, round(p.phase_offset, 9), p.use)
        return self._add(self.rf, pulse, key)

    def pulses(self, pulse: RfPulse, phases: NDArray[np.float64]) -> Int:
        """Indices, shaped as `phases`, of the pulse with these phases added (rad): one event per phase."""
        return self._phased(self.pulse, pulse, phases)

    def window(self, adc: Adc) -> int:
        modulation = None if adc.phase_modulation is None else adc.phase_modulation.tobytes()
        key = ("adc", adc.n_samples, adc.dwell, adc.delay, adc.frequency_offset, round(adc.phase_offset, 9), modulation)
        return self._add(self.adc, adc, key)

    def windows(self, adc: Adc, phases: NDArray[np.float64]) -> Int:
        return self._phased(self.window, adc, phases)

    def gradient(self, axis: int, gradient: Gradient) -> int:
        """Its index; -1 for one that is zero throughout."""
        if not np.any(gradient.waveform):
            return -1
        played = replace(gradient, waveform=gradient.waveform * self.sign[axis])
        return self._add(
            self.gradients, played, ("gradient", played.time.tobytes(), played.waveform.tobytes(), played.delay)
        )

    def _add(self, pool: list, event: Any, key: tuple) -> int:
        if key not in self._known:
            self._known[key] = len(pool)
            pool.append(event)
        return self._known[key]

    def steps(self, axis: int, shape: Gradient, scale: NDArray[np.float64]) -> Int:
        """Indices, as `scale`, of the shape times each value: one event per distinct value, none for zero."""
        values, where = np.unique(np.round(scale, 9), return_inverse=True)
        made = [self.gradient(axis, replace(shape, waveform=shape.waveform * value)) for value in values]
        return np.array(made, np.int64)[where.reshape(scale.shape)]

    @staticmethod
    def _phased(add: Callable[[Any], int], event: Any, phases: NDArray[np.float64]) -> Int:
        turns = np.round(np.mod(np.degrees(phases), 360.0), 6) % 360.0
        values, where = np.unique(turns, return_inverse=True)
        made = [add(replace(event, phase_offset=(event.phase_offset + np.radians(v)) % (2 * np.pi))) for v in values]
        return (
            np.array(made, np.int64)[where.reshape(np.shape(phases))] if made else np.zeros(np.shape(phases), np.int64)
        )


@dataclass(frozen=True)
class Block:
    duration: float | NDArray[np.float64]  # s, one or per repetition
    rf: Event = -1
    gradients: Mapping[int, Event] = field(default_factory=dict)  # by logical axis
    adc: Event = -1
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Blocks of n repetitions: (repetition, block of it, ...)."""

    blocks: NDArray[np.int32]  # (n, b, columns)
    durations: NDArray[np.float64]  # (n, b)
    labels: Mapping[str, NDArray[np.int32]]  # (n, b)


def repeated(events: Events, n: int, layout: Sequence[Block], labels: Mapping[str, Any] | None = None) -> Table:
    """n repetitions of a few blocks; `labels` hold for all blocks of a repetition, a block's own come on top."""
    blocks = np.full((n, len(layout), len(Column)), -1, np.int32)
    durations = np.empty((n, len(layout)))
    names = set(labels or {}) | {name for block in layout for name in block.labels}
    marks = {name: np.zeros((n, len(layout)), np.int32) for name in names}
    for name, value in (labels or {}).items():
        marks[name][:] = np.reshape(value, (-1, 1))
    for i, block in enumerate(layout):
        durations[:, i] = block.duration
        blocks[:, i, Column.RF], blocks[:, i, Column.ADC] = block.rf, block.adc
        for axis, gradient in block.gradients.items():
            blocks[:, i, Column.GX + events.column[axis]] = gradient
        if events.rotation is not None and block.gradients:
            blocks[:, i, Column.ROTATION] = 0
        for name, value in block.labels.items():
            marks[name][:, i] = value
    return Table(blocks, durations, marks)


def grouped(table: Table, n: int) -> Table:
    """The same blocks as n longer repetitions."""
    return Table(
        table.blocks.reshape(n, -1, len(Column)),
        table.durations.reshape(n, -1),
        {name: value.reshape(n, -1) for name, value in table.labels.items()},
    )


def beside(*tables: Table) -> Table:
    """Within each repetition, the blocks of one table after those of the other."""
    return _joined(tables, 1)


def after(*tables: Table) -> Table:
    """All repetitions of one table, then all of the next."""
    return _joined([grouped(table, table.blocks.shape[0] * table.blocks.shape[1]) for table in tables], 0)


def _joined(tables: Sequence[Table], axis: int) -> Table:
    names = {name for table in tables for name in table.labels}
    return Table(
        np.concatenate([table.blocks for table in tables], axis=axis),
        np.concatenate([table.durations for table in tables], axis=axis),
        {
            name: np.concatenate(
                [table.labels.get(name, np.zeros(table.durations.shape, np.int32)) for table in tables], axis=axis
            )
            for name in names
        },
    )


def program(events: Events, table: Table, scanner: Scanner, definitions: Mapping[str, Any]) -> Program:
    flat = after(table)
    blocks = np.ascontiguousarray(flat.blocks.reshape(-1, len(Column)))
    if events.rotation is not None:
        blocks[np.all(blocks[:, Column.GX : Column.GZ + 1] < 0, axis=1), Column.ROTATION] = -1
    g, rx = scanner.gradients, scanner.spectrometer
    return Program(
        blocks=blocks,
        durations=np.round(flat.durations.ravel(), 9),
        rf=tuple(events.rf),
        gradients=tuple(events.gradients),
        adc=tuple(events.adc),
        rotations=np.zeros((0, 3, 3)) if events.rotation is None else events.rotation[None],
        labels={name: value.ravel() for name, value in sorted(flat.labels.items())},
        definitions=dict(definitions),
        rasters=Rasters(scanner.transmit.raster, g.raster, rx.adc_raster, rx.block_raster),
    )
