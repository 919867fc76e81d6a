"""Spoiled gradient echo along turned readouts: golden-angle radial, stack of stars, spiral. Slices share each TR.

RF     sat   /\\_                                         fat saturation where asked; then phase: quadratic, 117 degrees
plane  ______\\/____\\_/ ___ /~~~\\ ___\\_/____              prephase, one arm, and back: all turned together from shot to shot
slice  ^___/~~\\_\\=/_________________/===\\__              select, refocus with the partition, back, and spoil

A stack of stars plays all partitions at one angle, then turns (Block et al. 2014, J Korean Soc Magn Reson Med 18:87): what
moves in between is averaged, since every spoke passes through the centre. Spoiling is along the slice, since a spoiler that
turned would leave different magnetisation after every shot. Several echo times are several excitations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol, slice_offsets
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.angles import even_angles, golden_angles
from lauterbur.sequence.arm import Arm, spoke, turned_areas
from lauterbur.sequence.description import definitions, offset, placed
from lauterbur.sequence.epi import CRUSH, FAT_SHIFT
from lauterbur.sequence.excitation import Excitation, excitation, unselective
from lauterbur.sequence.gre import spoiled_phases
from lauterbur.sequence.limits import (
    Limits,
    Touching,
    gentle,
    limits,
    lobe,
    nearest,
    shortest,
    touching,
    unit_lobe,
    up,
)
from lauterbur.sequence.pulses import fat_saturation
from lauterbur.sequence.spiral import spiral_arm
from lauterbur.sequence.table import Block, Events, program, repeated

SPOIL_SLICE = 4.0  # turns across the slice at the end of every repetition; across a partition half as many
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Shot:
    """One excitation of one slice or partition; lengths in s."""

    saturation: Excitation | None
    crush: float
    excitations: tuple[Excitation, ...]  # by slice
    prephase: float
    waits: tuple[float, ...]  # between prephase and arm, by echo
    arm: Arm
    spoil: float
    spoil_area: float  # 1/m along the slice
    slot: float  # from one excitation to the next
    te: tuple[float, ...]  # as played

    def rest(self, echo: Int) -> NDArray[np.float64]:
        """s, silent after the spoiler."""
        first = 0.0 if self.saturation is None else self.saturation.duration + self.crush
        used = first + self.excitations[0].duration + self.prephase + self.arm.length + self.spoil
        return self.slot - used - np.array(self.waits)[echo]


@dataclass(frozen=True)
class Order:
    """What is played when: (repetition,) of each slice."""

    frame: Int
    shot: Int
    partition: Int
    echo: Int
    listens: NDArray[np.bool_]


def turned_gradient_echo(protocol: Protocol, scanner: Scanner) -> Program:
    p = placed(protocol, scanner)
    limit = limits(scanner, p.directions)
    arm = spoke(p, limit) if p.trajectory == "radial" else spiral_arm(p, limit, scanner.gradients.safe)
    plan = shot_plan(p, limit, scanner, arm)
    order = play_order(p)
    n_slices = len(plan.excitations)
    visits = np.array([*range(0, n_slices, 2), *range(1, n_slices, 2)])
    turn = np.repeat(np.arange(len(order.shot)), n_slices)
    frame, shot, partition, echo = (v[turn] for v in (order.frame, order.shot, order.partition, order.echo))
    listens, slices = order.listens[turn], np.tile(visits, len(order.shot))

    angles = even_angles(p.shots) if p.trajectory == "spiral" else golden_angles(p.shots * p.frames, p.golden_order)
    which = shot if p.trajectory == "spiral" else shot + frame * p.shots
    events = Events(p.directions)
    phase = spoiled_phases(p, len(order.shot))[turn]
    layout = []
    if plan.saturation is not None:
        crusher = events.gradient(2, lobe(CRUSH / p.fov[2], plan.crush, limit))
        layout += [
            Block(plan.saturation.duration, rf=events.pulse(plan.saturation.pulse)),
            Block(plan.crush, gradients={2: crusher}),
        ]
    pulses = np.array([events.pulses(one.pulse, phase) for one in plan.excitations])
    slab = plan.excitations[0].gradient
    layout.append(
        Block(
            plan.excitations[0].duration,
            rf=pulses[slices, np.arange(len(turn))],
            gradients={} if slab is None else {2: events.gradient(2, slab)},
        )
    )

    first, last = plan.excitations[0], arm.after
    k_partition = (partition - p.matrix[2] // 2) / p.fov[2] if p.is_3d else np.zeros(len(turn))
    areas = turned_areas((-arm.before, 0.0), angles)
    unit = unit_lobe(max(_before(p, arm, first)), plan.prephase, limit, _touching_before(limit, arm, first))
    forth: dict[int, Any] = {axis: events.steps(axis, unit, areas[axis])[which] for axis in (0, 1)}
    forth[2] = events.steps(2, unit, k_partition - first.after)
    layout.append(Block(plan.prephase + np.array(plan.waits)[echo], gradients=forth))

    along, across = arm.turned(events, angles)
    windows = _windows(events, p, arm, angles, which, phase, k_partition, listens)
    layout.append(Block(arm.length, adc=windows, gradients={0: along[which], 1: across[which]}))

    areas = turned_areas(last, angles)
    unit = unit_lobe(max(_after(p, arm, plan.spoil_area)), plan.spoil, limit, _touching_after(limit, arm, first))
    back: dict[int, Any] = {axis: events.steps(axis, unit, -areas[axis])[which] for axis in (0, 1)}
    back[2] = events.steps(2, unit, plan.spoil_area - k_partition)
    rest = plan.rest(echo)
    rest[n_slices - 1 :: n_slices] += nearest(p.tr - n_slices * plan.slot, limit.block_raster)
    layout.append(Block(plan.spoil + rest, gradients=back))

    labels: dict[str, Any] = {"LIN": shot}
    labels |= {"PAR": partition} if p.is_3d else {"SLC": slices}
    labels |= {"ECO": echo} if len(p.te) > 1 else {}
    labels |= {"REP": frame} if p.frames > 1 else {}
    table = repeated(events, len(turn), layout, labels)
    described = definitions(
        p,
        scanner,
        samples=arm.n_samples if p.trajectory == "radial" else p.matrix[0],
        fov=arm.fov,
        te=plan.te,
        tr=float(np.sum(table.durations[:n_slices])),
        bandwidth=1 / (arm.n_samples * arm.dwell),
        trajectory=p.trajectory,
    )
    return program(events, table, scanner, described)


def play_order(p: Protocol) -> Order:
    """Frames, then shots, then partitions, then echoes; the dummies play the first without listening."""
    n_partitions = p.matrix[2] if p.is_3d else 1
    played = np.indices((p.frames, p.shots, n_partitions, len(p.te))).reshape(4, -1)
    played = np.concatenate((np.tile(played[:, :1], p.dummies), played), axis=1)
    frame, shot, partition, echo = played
    return Order(frame, shot, partition, echo, np.arange(played.shape[1]) >= p.dummies)


def shot_plan(p: Protocol, limit: Limits, scanner: Scanner, arm: Arm) -> Shot:
    places = slice_offsets(p) if not p.is_3d else np.zeros(1)
    pulses = tuple(excitation(p, limit, p.flip_angle, float(place)) for place in places)
    pulse, n_slices = pulses[0], len(pulses)
    saturation, crush = None, 0.0
    if p.fat_saturation:
        saturation = unselective(fat_saturation(FAT_SHIFT * scanner.larmor_frequency, limit), limit)
        crush = gentle(CRUSH / p.fov[2], 3e-3, limit)

    largest, touch = max(_before(p, arm, pulse)), _touching_before(limit, arm, pulse)
    fixed = pulse.duration - pulse.center + arm.center
    room = p.te[0] - fixed
    need = shortest(largest, limit, touch)
    if not room >= need - limit.block_raster / 2:
        raise ProtocolError(
            f"{p.name}: te {p.te[0] * 1e3:.4g} ms is too short; at least {up(fixed + need, 1e-5) * 1e3:.3f} ms is possible with "
            f"this {'bandwidth, matrix' if p.trajectory == 'radial' else 'spiral'} and pulse"
        )
    prephase = up(gentle(largest, max(room - limit.block_raster, need), limit, touch), limit.block_raster)
    waits = tuple(max(0.0, nearest(te - fixed - prephase, limit.block_raster)) for te in p.te)

    spoil_area = SPOIL_SLICE / (2 * p.fov[2] / p.matrix[2] if p.is_3d else p.fov[2])
    largest, touch = max(_after(p, arm, spoil_area)), _touching_after(limit, arm, pulse)
    first = 0.0 if saturation is None else saturation.duration + crush
    used = first + pulse.duration + prephase + waits[-1] + arm.length
    need = up(shortest(largest, limit, touch), limit.block_raster)
    slot = np.floor(p.tr / n_slices / limit.block_raster + 1e-6) * limit.block_raster
    if not slot >= used + need - 1e-9:
        least = up(n_slices * (used + need), 1e-5) * 1e3
        fewer = f", or at most {int(p.tr / (used + need))} slices," if n_slices > 1 else ""
        raise ProtocolError(
            f"{p.name}: tr {p.tr * 1e3:.5g} ms is too short; at least {least:.3f} ms{fewer} is possible"
        )
    spoil = up(gentle(largest, slot - used - limit.block_raster, limit, touch), limit.block_raster)
    te = tuple(fixed + prephase + wait for wait in waits)
    return Shot(saturation, crush, pulses, prephase, waits, arm, min(spoil, slot - used), spoil_area, slot, te)


def _before(p: Protocol, arm: Arm, pulse: Excitation) -> tuple[float, float]:
    """1/m: the largest lobes before the arm, in the plane and along the slice."""
    return abs(arm.before), abs(pulse.after) + (p.matrix[2] // 2 / p.fov[2] if p.is_3d else 0.0)


def _after(p: Protocol, arm: Arm, spoil: float) -> tuple[float, float]:
    return float(np.hypot(*arm.after)), spoil + (p.matrix[2] // 2 / p.fov[2] if p.is_3d else 0.0)


def _touching_before(limit: Limits, arm: Arm, pulse: Excitation) -> Touching:
    return Touching(touching(limit, pulse.gradient, None).before, arm.first_excess)


def _touching_after(limit: Limits, arm: Arm, pulse: Excitation) -> Touching:
    return Touching(arm.last_excess, touching(limit, None, pulse.gradient).after)


def _windows(
    events: Events,
    p: Protocol,
    arm: Arm,
    angles: NDArray[np.float64],
    which: Int,
    phase: NDArray[np.float64],
    k_partition: NDArray[np.float64],
    listens: NDArray[np.bool_],
) -> Int:
    """Of every repetition, -1 where none listens: the receiver follows the transmitter and the image's centre."""
    turned = phase + 2 * np.pi * k_partition * offset(p, 2)
    found = np.full(len(which), -1)
    for i, angle in enumerate(angles):
        mine = np.flatnonzero((which == i) & listens)
        found[mine] = events.windows(arm.adc((offset(p, 0), offset(p, 1)), float(angle)), turned[mine])
    return found
