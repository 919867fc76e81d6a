"""Balanced steady-state free precession, 3D or slice by slice: every moment is wound back, the phase alternates.

half pulse, TR/2 | TR | TR | ...     the half pulse puts the magnetisation near its steady state (Deimling 1994)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lauterbur.errors import ProtocolError
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol, slice_offsets
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence import gre
from lauterbur.sequence.description import definitions, placed
from lauterbur.sequence.limits import Limits, gentle, lobe, nearest, shortest, up
from lauterbur.sequence.limits import limits as machine_limits
from lauterbur.sequence.sampling import plane
from lauterbur.sequence.table import Block, Events, Table, after, program, repeated

CRUSH = 8.0  # turns across the slice, after the last echo of a slice


def balanced_ssfp(protocol: Protocol, scanner: Scanner) -> Program:
    p = placed(protocol, scanner)
    limit = machine_limits(scanner, p.directions)
    order = plane(p, partitions_inside=False)
    events = Events(p.directions)
    places = (0.0,) if p.is_3d else slice_offsets(p)
    visits = range(1) if p.is_3d else [*range(0, p.slices, 2), *range(1, p.slices, 2)]

    line, partition = (
        np.concatenate((np.full(p.dummies, values[0]), np.tile(values, p.averages)))
        for values in (order.line, order.partition)
    )
    listens = np.arange(len(line)) >= p.dummies
    phase = np.where(np.arange(len(line)) % 2 == 0, 0.0, np.pi)
    labels = gre.line_labels(order, p.averages, p.dummies)
    parts: list[Table] = []
    for i in visits:
        plan = gre.timing(p, limit, p.tr, place=float(places[i]), balanced=True)
        of_slice: dict[str, int] = {} if p.is_3d else {"SLC": i}
        parts.append(_start(events, p, limit, plan, of_slice))
        parts.append(gre.echoes(events, p, limit, plan, (line, partition), phase, listens, labels | of_slice))

        if not p.is_3d:  # or what is left of this slice would be heard under the next
            spoil = CRUSH / p.fov[2]
            crusher = lobe(spoil, gentle(spoil, 5e-3, limit), limit)
            rest = [Block(crusher.duration, gradients={2: events.gradient(2, crusher)})]
            parts.append(repeated(events, 1, rest, of_slice))

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


def _start(events: Events, p: Protocol, limit: Limits, plan: gre.Timing, labels: Mapping[str, int]) -> Table:
    """Half the flip angle, with the opposite phase, half a repetition before the first pulse."""
    pulse = plan.excitation
    half = replace(pulse.pulse, waveform=-0.5 * pulse.pulse.waveform)
    rest = nearest(plan.tr / 2 - pulse.duration, limit.block_raster)
    back = pulse.before + pulse.after  # wound back before the first repetition begins
    if not rest >= shortest(back, limit):
        least = 2 * (pulse.duration + shortest(back, limit))
        raise ProtocolError(
            f"{p.name}: tr {p.tr * 1e3:.4g} ms is too short; at least {up(least, 1e-5) * 1e3:.3f} ms is possible"
        )
    slab = {} if pulse.gradient is None else {2: events.gradient(2, pulse.gradient)}
    wind = {} if pulse.gradient is None else {2: events.gradient(2, lobe(-back, rest, limit))}
    layout = [Block(pulse.duration, rf=events.pulse(half), gradients=slab), Block(rest, gradients=wind)]
    return repeated(events, 1, layout, labels)
