"""Turbo spin echo of a whole volume with variable refocusing angles (Mugler 2000): long trains, little heat, dark blood.

    RF         90y        a1x             a2x            ...      short and not selective, the angles of refocusing.py
    read       ___/ \\____________/c\\/~~~\\/c\\_____/c\\/~~~\\/c\\__    crushers on both sides of the readout
    phase      __________________/=\\_____\\=/_____/=\\_____\\=/__    stepped, and wound back before the next pulse
    partition  __________________/=\\_____\\=/_____/=\\_____\\=/__

Between two refocusing pulses each axis gains twice what it gains from excitation to the first. Blood that moves within the
voxel between pulses loses its phase: the lower the angles, the longer it stays dephased, and the darker it is (Busse 2008).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol, resolution
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.description import definitions, line_phase, offset, placed
from lauterbur.sequence.excitation import Excitation, excitation, unselective
from lauterbur.sequence.interleaving import dealt_outwards
from lauterbur.sequence.limits import Limits, delayed, gentle, limits, lobe, nearest, scaled, shortest, unit_lobe, up
from lauterbur.sequence.pulses import hard
from lauterbur.sequence.readout import Readout, readout
from lauterbur.sequence.refocusing import refocusing_angles
from lauterbur.sequence.sampling import Plane, plane
from lauterbur.sequence.table import Block, Events, Table, beside, program, repeated
from lauterbur.sequence.tse import echo_times
from lauterbur.subject.parameters import relaxation
from lauterbur.subject.tissues import read_tissues

CRUSH = 0.5  # turns across a voxel, along the readout, each side of it: what pulses excite anew lies beyond the edge of k-space
REST = 4.0  # turns across a voxel after the train
LEVELLED = "grey matter"  # the tissue whose echoes the angles hold level


@dataclass(frozen=True)
class VolumeTrain:
    """Pulse, prephase, then refocus, step, listen, step back for every echo."""

    excitation: Excitation
    refocus: tuple[Excitation, ...]  # (echo,)
    angles: NDArray[np.float64]  # rad, (echo,)
    readout: Readout
    crush: float  # 1/m
    prephase: float  # s
    step: float  # s, from the refocusing block to the readout
    back: float  # s, from the readout to the next refocusing block
    rest: float  # s, spoiler after the last echo
    spacing: float  # s
    at_te: int  # which echo crosses k = 0

    @property
    def te(self) -> float:
        return (self.at_te + 1) * self.spacing

    @property
    def length(self) -> float:
        return self.excitation.duration + self.prephase + len(self.refocus) * self.spacing + self.rest


def volume_turbo_spin_echo(protocol: Protocol, scanner: Scanner) -> Program:
    p = placed(protocol, scanner)
    limit = limits(scanner, p.directions)
    plan = volume_train(p, limit, scanner.field_strength)
    wait = nearest(p.tr - plan.length, limit.block_raster)
    if not wait >= 0:
        raise ProtocolError(
            f"{p.name}: tr {p.tr * 1e3:.5g} ms is too short for a train of {plan.length * 1e3:.4g} ms; at least "
            f"{up(plan.length, 1e-3) * 1e3:.0f} ms, or at most "
            f"{int((p.tr - plan.length) / plan.spacing + p.echo_train)} echoes, is possible"
        )
    chosen = plane(p, partitions_inside=False)
    dealt = dealt_outwards(chosen, p.matrix[1:], p.echo_train, plan.at_te)
    shots = np.concatenate((np.full((p.dummies, p.echo_train), -1), np.tile(dealt, (p.averages, 1))))
    average = np.concatenate((np.zeros(p.dummies, np.int64), np.repeat(np.arange(p.averages), len(dealt))))

    events = Events(p.directions)
    table = _echoes(events, p, limit, plan, chosen, shots, average)
    if wait > 0:
        table = beside(table, repeated(events, len(shots), [Block(wait)]))
    described = definitions(
        p,
        scanner,
        samples=plan.readout.n_samples,
        fov=plan.readout.fov,
        te=(plan.te,),
        tr=plan.length + wait,
        echo_spacing=plan.spacing,
        bandwidth=plan.readout.bandwidth,
    )
    return program(events, table, scanner, described)


def volume_train(p: Protocol, limit: Limits, field_strength: float) -> VolumeTrain:
    """Its angles hold the echoes of grey matter at this field, T, level, and none is above the protocol's."""
    pulse = excitation(p, limit, p.flip_angle)
    largest = unselective(hard(p.refocusing_angle, p.rf_duration, limit, "refocusing"), limit)
    echo = readout(p, limit)
    half = limit.block_raster  # the echo spacing is even in it, so that its half lies on the raster too
    crush = CRUSH / resolution(p)[0]

    lead = largest.duration - largest.center + echo.center
    lag = echo.length - echo.center + largest.center
    step = shortest(max(_step_areas(p, echo, crush)), limit)
    prephase = shortest(max(echo.before + crush, abs(pulse.after)), limit)
    least = up(max(lead + step, lag + step, pulse.duration - pulse.center + prephase + largest.center), half) * 2
    spacing, at_te = echo_times(p, least, half)
    t1, t2, _ = relaxation(read_tissues()[LEVELLED], field_strength)
    try:
        angles = refocusing_angles(p.echo_train, spacing, t1, t2, p.refocusing_angle)
    except ProtocolError as problem:
        raise ProtocolError(f"{p.name}: {problem}") from None
    step = nearest(spacing / 2 - lead, half)
    return VolumeTrain(
        excitation=pulse,
        refocus=tuple(unselective(hard(float(angle), p.rf_duration, limit, "refocusing"), limit) for angle in angles),
        angles=angles,
        readout=echo,
        crush=crush,
        prephase=nearest(spacing / 2 - (pulse.duration - pulse.center) - largest.center, half),
        step=step,
        back=nearest(spacing - step - echo.length - largest.duration, half),
        rest=gentle(REST / resolution(p)[2], 5e-3, limit),
        spacing=spacing,
        at_te=at_te,
    )


def _step_areas(p: Protocol, echo: Readout, crush: float) -> tuple[float, float, float]:
    """1/m: the largest lobes before and after a readout."""
    return crush + abs(echo.before - echo.after), p.matrix[1] // 2 / p.fov[1], p.matrix[2] // 2 / p.fov[2]


def _echoes(
    events: Events,
    p: Protocol,
    limit: Limits,
    plan: VolumeTrain,
    chosen: Plane,
    shots: NDArray[np.int64],
    average: NDArray[np.int64],
) -> Table:
    """(shot,) repetitions of excitation, echoes and spoiler; `shots` (shot, echo) are indices into `chosen`."""
    echo, pulse = plan.readout, plan.excitation
    unit = unit_lobe(max(echo.before + plan.crush, abs(pulse.after)), plan.prephase, limit)
    # the excitation turns about y and the refocusing pulses about x, so that echoes keep the excitation's phase
    turned = replace(pulse.pulse, phase_offset=(pulse.pulse.phase_offset + np.pi / 2) % (2 * np.pi))
    slab = {} if pulse.gradient is None else {2: events.gradient(2, pulse.gradient)}
    prephase = {
        0: events.gradient(0, scaled(unit, echo.before + plan.crush)),
        2: events.gradient(2, scaled(unit, -pulse.after)),
    }
    layout = [Block(pulse.duration, rf=events.pulse(turned), gradients=slab), Block(plan.prephase, gradients=prephase)]

    largest = max(_step_areas(p, echo, plan.crush))
    step = delayed(unit_lobe(largest, plan.step, limit), plan.step)
    back = unit_lobe(largest, plan.back, limit)
    read = events.gradient(0, echo.gradient)
    before = events.gradient(0, scaled(step, plan.crush))
    after = events.gradient(0, scaled(back, plan.crush + echo.before - echo.after))
    adc = echo.adc(offset(p, 0))
    for i, refocus in enumerate(plan.refocus):
        pick = shots[:, i]
        heard = pick >= 0
        line = np.where(heard, chosen.line[pick], p.matrix[1] // 2)
        partition = np.where(heard, chosen.partition[pick], p.matrix[2] // 2)
        k_line = (line - p.matrix[1] // 2) / p.fov[1]
        k_partition = (partition - p.matrix[2] // 2) / p.fov[2]
        window = np.full(len(pick), -1)
        window[heard] = events.windows(adc, np.pi / 2 + line_phase(p, line[heard], partition[heard]))
        marks: dict[str, Any] = {"LIN": np.where(heard, line, 0), "PAR": np.where(heard, partition, 0), "SEG": i}
        if chosen.reference.any():
            marks |= {"REF": heard & chosen.reference[pick], "IMA": heard & chosen.both[pick]}
        steps: dict[int, Any] = {0: before, 1: events.steps(1, step, k_line), 2: events.steps(2, step, k_partition)}
        backs: dict[int, Any] = {0: after, 1: events.steps(1, back, -k_line), 2: events.steps(2, back, -k_partition)}
        layout += [
            Block(refocus.duration, rf=events.pulse(refocus.pulse), labels=marks),
            Block(plan.step, gradients=steps, labels=marks),
            Block(echo.length, adc=window, gradients={0: read}, labels=marks),
            Block(plan.back, gradients=backs, labels=marks),
        ]
    spoiler = lobe(REST / resolution(p)[2], plan.rest, limit)
    layout.append(Block(plan.rest, gradients={2: events.gradient(2, spoiler)}))
    return repeated(events, len(shots), layout, {"AVG": average} if p.averages > 1 else None)
