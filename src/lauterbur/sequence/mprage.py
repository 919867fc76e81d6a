"""MPRAGE: adiabatic inversion, then a train of spoiled gradient echoes through all partitions of one line (Mugler 1990).

| inversion | crusher ......... | echo 0 | echo 1 | ... | echo P-1 | recovery ....... |
|<----------- TI ------------------------------>| centre of k-space
|<--------------------------------- TR ---------------------------------------------->|
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lauterbur.errors import ProtocolError
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence import gre
from lauterbur.sequence.description import definitions, placed
from lauterbur.sequence.limits import gentle, limits, lobe, nearest, up
from lauterbur.sequence.pulses import inversion
from lauterbur.sequence.sampling import plane
from lauterbur.sequence.table import Block, Events, beside, grouped, program, repeated

CRUSH = 8.0  # turns across a voxel, along the slice, after the inversion


def mprage(protocol: Protocol, scanner: Scanner) -> Program:
    p = placed(protocol, scanner)
    limit = limits(scanner, p.directions)
    order = plane(p, partitions_inside=True)
    trains, length = np.unique(order.line, return_counts=True)
    if len(set(length)) > 1:
        raise ProtocolError(
            f"{p.name}: trains of {length.min()} and {length.max()} echoes; accelerate MPRAGE along phase only"
        )
    n = int(length[0])
    partitions = order.partition[:n]
    plan = gre.timing(p, limit, p.echo_spacing)

    pulse = replace(inversion(limit), delay=up(limit.rf_dead, limit.rf_raster))
    block = up(pulse.delay + pulse.duration + limit.ringdown, limit.block_raster)
    middle = int(np.flatnonzero(partitions == p.matrix[2] // 2)[0])
    to_train = (block - pulse.delay - pulse.center) + middle * plan.tr + plan.excitation.center  # TI without the wait
    wait = nearest((p.ti or 0.0) - to_train, limit.block_raster)
    crush = CRUSH * p.matrix[2] / p.fov[2]
    crusher = lobe(crush, gentle(crush, 10e-3, limit), limit)
    if not wait >= crusher.duration:
        raise ProtocolError(
            f"{p.name}: ti {(p.ti or 0) * 1e3:.4g} ms is too short for {middle} echoes before the centre of k-space; at least "
            f"{up(to_train + crusher.duration, 1e-4) * 1e3:.1f} ms is possible"
        )
    used = block + wait + n * plan.tr
    recovery = nearest(p.tr - used, limit.block_raster)
    if not recovery >= 0:
        raise ProtocolError(
            f"{p.name}: tr {p.tr * 1e3:.4g} ms is too short; at least {up(used, 1e-4) * 1e3:.1f} ms is possible"
        )

    events = Events(p.directions)
    prepare = [
        Block(block, rf=events.pulse(pulse)),
        Block(wait, gradients={2: events.gradient(2, crusher)}),
    ]

    line = np.concatenate((np.full(p.dummies, trains[0]), np.tile(trains, p.averages)))
    labels = gre.line_labels(order, p.averages, p.dummies * n) | {"SEG": np.tile(np.arange(n), len(line))}
    listens = np.arange(len(line) * n) >= p.dummies * n
    pairs = (np.repeat(line, n), np.tile(partitions, len(line)))
    train = grouped(
        gre.echoes(events, p, limit, plan, pairs, gre.spoiled_phases(p, len(listens)), listens, labels), len(line)
    )
    parts = [repeated(events, len(line), prepare), train]
    if recovery > 0:
        parts.append(repeated(events, len(line), [Block(recovery)]))

    described = definitions(
        p,
        scanner,
        samples=plan.readout.n_samples,
        fov=plan.readout.fov,
        te=plan.te,
        tr=used + recovery,
        ti=to_train + wait,
        echo_spacing=plan.tr,
        bandwidth=plan.readout.bandwidth,
    )
    return program(events, beside(*parts), scanner, described)
