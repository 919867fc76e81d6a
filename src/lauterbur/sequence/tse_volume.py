"""Turbo spin echo of a whole volume with variable refocusing angles (Mugler 2000): long trains, little heat, dark blood.

    RF         90y        a1x             a2x            ...      short and not selective, the angles of refocusing.py
    read       ___/ \\____________/c\\/~~~\\/c\\_____/c\\/~~~\\/c\\__    crushers on both sides of the readout
    phase      __________________/=\\_____\\=/_____/=\\_____\\=/__    stepped, and wound back before the next pulse
    partition  __________________/=\\_____\\=/_____/=\\_____\\=/__

Between two refocusing pulses each axis gains twice what it gains from excitation to the first. Blood that moves within the
voxel between pulses loses its phase: the lower the angles, the longer it stays dephased, and the darker it is (Busse 2008).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol, resolution
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.description import definitions, placed
from lauterbur.sequence.excitation import excitation, unselective
from lauterbur.sequence.interleaving import dealt_outwards
from lauterbur.sequence.limits import Limits, limits, nearest, up
from lauterbur.sequence.pulses import hard
from lauterbur.sequence.refocusing import echo_signals, refocusing_angles
from lauterbur.sequence.sampling import Plane, plane
from lauterbur.sequence.table import Block, Events, Table, beside, program, repeated
from lauterbur.sequence.train import Lines, Train, train_of, train_table, turned
from lauterbur.subject.parameters import relaxation
from lauterbur.subject.tissues import read_tissues

CRUSH = 0.5  # turns across a voxel, along the readout, each side of it: what pulses excite anew lies beyond the edge of k-space
REST = 4.0  # turns across a voxel after the train
LEVELLED = "grey matter"  # the tissue whose echoes the angles hold level


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
    levelled = echo_signals(plan.angles, plan.spacing, *_levelled(scanner.field_strength))
    dealt = dealt_outwards(chosen, p.matrix[1:], levelled, plan.at_te)
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


def volume_train(p: Protocol, limit: Limits, field_strength: float) -> Train:
    """Its angles hold the echoes of grey matter at this field, T, level, and none is above the protocol's."""
    pulse = excitation(p, limit, p.flip_angle)
    largest = unselective(hard(p.refocusing_angle, p.rf_duration, limit, "refocusing"), limit)
    voxel = resolution(p)
    plan = train_of(p, limit, pulse, largest, rest_area=REST / voxel[2], crush=CRUSH / voxel[0])
    try:
        angles = refocusing_angles(p.echo_train, plan.spacing, *_levelled(field_strength), p.refocusing_angle)
    except ProtocolError as problem:
        raise ProtocolError(f"{p.name}: {problem}") from None
    pulses = tuple(unselective(hard(float(angle), p.rf_duration, limit, "refocusing"), limit) for angle in angles)
    return replace(plan, refocus=pulses, angles=angles)


def _levelled(field_strength: float) -> tuple[float, float]:
    """T1 and T2, s."""
    t1, t2, _ = relaxation(read_tissues()[LEVELLED], field_strength)
    return t1, t2


def _echoes(
    events: Events,
    p: Protocol,
    limit: Limits,
    plan: Train,
    chosen: Plane,
    shots: NDArray[np.int64],
    average: NDArray[np.int64],
) -> Table:
    """(shot,) repetitions; `shots` (shot, echo) are indices into `chosen`, -1 for none."""
    heard = shots >= 0
    lines = Lines(
        chosen.line[shots], chosen.partition[shots], heard, heard & chosen.reference[shots], heard & chosen.both[shots]
    )
    excite = events.pulse(turned(plan.excitation, np.pi / 2))
    refocus = [events.pulse(one.pulse) for one in plan.refocus]
    labels = {"AVG": average} if p.averages > 1 else None
    return train_table(events, p, limit, plan, lines, excite, refocus, labels)
