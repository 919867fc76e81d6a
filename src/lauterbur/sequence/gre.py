"""Spoiled gradient echo, 3D or slice by slice, one echo or several (bipolar), one frame or a cine: Haase 1986, Zur 1991.

RF      _/\\_____________________________________    phase: quadratic, increment 117 degrees
read    ____\\_/ ___ /~~~\\\\___//~~~\\ _______ /~~\\_    prephase, echoes, spoil
phase   _____/=\\_____________________________\\=/__    step, and back
slice   /~~\\_\\=/_____________________________/=\\__    slab, refocus with the step, and back
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol, slice_offsets
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.description import definitions, line_phase, offset, placed
from lauterbur.sequence.excitation import Excitation, excitation
from lauterbur.sequence.limits import (
    Limits,
    Touching,
    delayed,
    limits,
    nearest,
    scaled,
    shortest,
    touching,
    unit_lobe,
    up,
)
from lauterbur.sequence.readout import Readout, readout
from lauterbur.sequence.sampling import Plane, plane
from lauterbur.sequence.table import Block, Events, Table, after, program, repeated

Order = tuple[NDArray[np.int64], NDArray[np.int64]]  # line and partition of every repetition
SPOIL = 2.0  # turns across a voxel, along the readout, at the end of every repetition


@dataclass(frozen=True)
class Timing:
    """One repetition: excitation, prephase, echoes, spoil; all lengths in s."""

    excitation: Excitation
    readout: Readout
    prephase: float
    echoes: tuple[float, ...]  # length of every echo's block
    te: tuple[float, ...]  # as played
    spoil: float
    tr: float
    balanced: bool  # all moments wound back at the end, instead of spoiled


def timing(
    protocol: Protocol, limit: Limits, tr: float | None, *, place: float = 0.0, balanced: bool = False
) -> Timing:
    """Of one repetition lasting `tr`, s; None: as short as it goes. `place` of a 2D slice, m; `balanced` for bSSFP."""
    p = protocol
    pulse = excitation(p, limit, p.flip_angle, place)
    echo = readout(p, limit, bipolar=len(p.te) > 1)
    largest = max(_prephase_areas(p, echo, pulse))
    shortest_prephase = shortest(largest, limit, _before_echoes(echo, pulse, limit))

    first = p.te[0] - (pulse.duration - pulse.center) - echo.center
    if not first >= shortest_prephase - limit.block_raster / 2:
        least = p.te[0] + shortest_prephase - first
        raise ProtocolError(
            f"{p.name}: te {p.te[0] * 1e3:.4g} ms is too short; at least {up(least, 1e-5) * 1e3:.3f} ms is possible with this "
            f"bandwidth, matrix and pulse (a bandwidth above {p.bandwidth:g} Hz per pixel or a shorter pulse would allow less)"
        )
    wait = max(shortest_prephase, nearest(first, limit.block_raster))
    te = [wait + (pulse.duration - pulse.center) + echo.center]
    blocks: list[float] = []
    centers = [echo.center, echo.gradient.duration - echo.center]  # of positive and of negative lobes
    for i in range(1, len(p.te)):
        here, there = centers[(i - 1) % 2], centers[i % 2]
        length = nearest(p.te[i] - te[-1] + here - there, limit.block_raster)
        if not length >= echo.length - limit.block_raster / 2:
            least = echo.length + there - here
            raise ProtocolError(
                f"{p.name}: echo spacing {(p.te[i] - p.te[i - 1]) * 1e3:.4g} ms is too short; at least {up(least, 1e-5) * 1e3:.3f} ms "
                f"is possible with {p.bandwidth:g} Hz per pixel"
            )
        blocks.append(max(length, echo.length))
        te.append(te[-1] + blocks[-1] - here + there)
    blocks.append(echo.length)

    used = pulse.duration + wait + sum(blocks)
    shortest_spoil = shortest(max(_spoil_areas(p, echo, pulse, balanced)), limit, _after_echoes(echo, pulse, limit))
    spoil = shortest_spoil if tr is None else nearest(tr - used, limit.block_raster)
    if not spoil >= shortest_spoil - 1e-9:
        raise ProtocolError(
            f"{p.name}: a repetition of {(tr or 0) * 1e3:.4g} ms is too short for its te; at least "
            f"{up(used + shortest_spoil, 1e-5) * 1e3:.3f} ms is possible"
        )
    return Timing(pulse, echo, wait, tuple(blocks), tuple(te), spoil, used + spoil, balanced)


def _before_echoes(echo: Readout, pulse: Excitation, limit: Limits) -> Touching:
    return touching(limit, pulse.gradient, echo.gradient)


def _after_echoes(echo: Readout, pulse: Excitation, limit: Limits) -> Touching:
    return touching(limit, echo.gradient, pulse.gradient)


def _prephase_areas(p: Protocol, echo: Readout, pulse: Excitation) -> tuple[float, float, float]:
    return echo.before, _step(p, 1), _step(p, 2) + abs(pulse.after)


def _spoil_areas(p: Protocol, echo: Readout, pulse: Excitation, balanced: bool) -> tuple[float, float, float]:
    if balanced:
        return max(echo.before, echo.after), _step(p, 1), _step(p, 2) + abs(pulse.before)
    return SPOIL * p.matrix[0] / p.fov[0], _step(p, 1), _step(p, 2)


def _step(p: Protocol, axis: int) -> float:
    """1/m: the largest phase encoding."""
    return p.matrix[axis] // 2 / p.fov[axis]


def echoes(
    events: Events,
    protocol: Protocol,
    limit: Limits,
    plan: Timing,
    order: Order,
    phase: NDArray[np.float64],
    listens: NDArray[np.bool_],
    labels: Mapping[str, Any],
) -> Table:
    """Repetitions playing these lines and partitions, listening where `listens`; all arrays are per repetition.

    `phase`, rad, is that of the pulse and of the receiver.
    """
    p = protocol
    line, partition = order
    pulse, echo = plan.excitation, plan.readout
    n_echoes = len(plan.echoes)

    k_line = (line - p.matrix[1] // 2) / p.fov[1]
    k_partition = (partition - p.matrix[2] // 2) / p.fov[2]
    touch = _before_echoes(echo, pulse, limit)
    unit = delayed(unit_lobe(max(_prephase_areas(p, echo, pulse)), plan.prephase, limit, touch), plan.prephase)
    prephase: dict[int, Any] = {
        0: events.gradient(0, scaled(unit, -echo.before)),
        1: events.steps(1, unit, k_line),
        2: events.steps(2, unit, k_partition - pulse.after),
    }
    pulses = events.pulses(pulse.pulse, phase)
    slab = {} if pulse.gradient is None else {2: events.gradient(2, pulse.gradient)}
    layout = [Block(pulse.duration, rf=pulses, gradients=slab), Block(plan.prephase, gradients=prephase)]

    moment = -echo.before
    directions = [events.gradient(0, echo.gradient), -1]
    if n_echoes > 1:
        directions[1] = events.gradient(0, scaled(echo.gradient, -1.0))
    turned = phase + line_phase(p, line, partition)
    windows = []
    for is_reversed in (False, True)[:n_echoes]:
        window = events.windows(echo.adc(offset(p, 0), is_reversed=is_reversed), turned[listens])
        windows.append(np.full(len(line), -1))
        windows[-1][listens] = window
    for i, block in enumerate(plan.echoes):
        sign = 1 if i % 2 == 0 else -1
        moment += sign * (echo.before + echo.after)
        marks = {"ECO": i} | ({"REV": 1} if sign < 0 else {})
        layout.append(Block(block, adc=windows[i % 2], gradients={0: directions[i % 2]}, labels=marks))

    touch = _after_echoes(echo, pulse, limit)
    unit = unit_lobe(max(_spoil_areas(p, echo, pulse, plan.balanced)), plan.spoil, limit, touch)
    total = 0.0 if plan.balanced else SPOIL * p.matrix[0] / p.fov[0] * (1 if moment >= 0 else -1)
    spoil: dict[int, Any] = {
        0: events.gradient(0, scaled(unit, (total - moment))),
        1: events.steps(1, unit, -k_line),
        2: events.steps(2, unit, -k_partition - (pulse.before if plan.balanced else 0.0)),
    }
    layout.append(Block(plan.spoil, gradients=spoil, labels={"ECO": n_echoes - 1} if n_echoes > 1 else {}))
    return repeated(events, len(line), layout, labels)


def spoiled_phases(protocol: Protocol, n: int) -> NDArray[np.float64]:
    """(n,) rad: phases that grow by a growing step, n (n + 1) / 2 times the increment (Zur 1991)."""
    count = np.arange(n)
    increment = round(float(np.degrees(protocol.rf_spoiling)), 6)  # whole degrees stay whole, however many pulses
    return np.radians(np.mod(increment * (count * (count + 1) // 2), 360.0))


def line_labels(order: Plane, averages: int, n_dummies: int) -> dict[str, Any]:
    """For `n_dummies` silent repetitions and then every average in turn."""
    n = len(order.line)

    def whole(values: NDArray[Any]) -> NDArray[np.int32]:
        return np.concatenate((np.zeros(n_dummies, np.int32), np.tile(values.astype(np.int32), averages)))

    labels = {"LIN": whole(order.line), "PAR": whole(order.partition)}
    if order.reference.any():
        labels |= {"REF": whole(order.reference), "IMA": whole(order.both)}
    if averages > 1:
        labels["AVG"] = np.concatenate((np.zeros(n_dummies, np.int32), np.repeat(np.arange(averages), n)))
    return labels


def spoiled_gradient_echo(protocol: Protocol, scanner: Scanner) -> Program:
    """Lines inside partitions; the dummies play the first line without listening. In 2D one slice after another.

    With several frames (a cine), each heartbeat plays a few lines of every frame in turn and the next their neighbours:
    PHS counts the frames. Nothing waits for the heart: its period is frames x lines_per_frame x tr.
    """
    p = placed(protocol, scanner)
    limit = limits(scanner, p.directions)
    order = plane(p, partitions_inside=False)
    events = Events(p.directions)
    places = (0.0,) if p.is_3d else slice_offsets(p)
    visits = range(1) if p.is_3d else [*range(0, p.slices, 2), *range(1, p.slices, 2)]

    pick, frame = cine(len(order.line), p.frames, p.lines_per_frame)
    order = Plane(order.line[pick], order.partition[pick], order.reference[pick], order.both[pick])
    line, partition = (
        np.concatenate((np.full(p.dummies, values[0]), np.tile(values, p.averages)))
        for values in (order.line, order.partition)
    )
    listens = np.arange(len(line)) >= p.dummies
    labels = line_labels(order, p.averages, p.dummies)
    if p.frames > 1:
        labels["PHS"] = np.concatenate((np.zeros(p.dummies, np.int32), frame.astype(np.int32)))
    parts = []
    for i in visits:
        plan = timing(p, limit, p.tr, place=float(places[i]))
        marks = labels if p.is_3d else labels | {"SLC": i}
        parts.append(echoes(events, p, limit, plan, (line, partition), spoiled_phases(p, len(line)), listens, marks))

    described = definitions(
        p,
        scanner,
        samples=plan.readout.n_samples,
        fov=plan.readout.fov,
        te=plan.te,
        tr=plan.tr,
        bandwidth=plan.readout.bandwidth,
    )
    return program(events, after(*parts), scanner, described)


def cine(n_lines: int, n_frames: int, per_frame: int) -> Order:
    """Which line, and which frame, is played when: a few lines of every frame, then the next few."""
    groups = [np.arange(n_lines)[first : first + per_frame] for first in range(0, n_lines, per_frame)]
    pick = np.concatenate([np.tile(group, n_frames) for group in groups])
    frame = np.concatenate([np.repeat(np.arange(n_frames), len(group)) for group in groups])
    return pick, frame
