"""Single-shot echo-planar imaging, slice by slice (Mansfield 1977), with fat saturation and three navigator lines.

RF     sat   /\\_
read   ______\\/_  \\_/~\\_/~\\   \\=/ /~\\_/~\\_/~\\_/~      prephase, three lines without steps, then the train
phase  _________________________\\=/__^___^___^___         to the first line, then one blip per echo, under the ramps
slice  ^____/~\\_\\=/______________________________
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lauterbur.errors import ProtocolError
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol, slice_offsets
from lauterbur.scanner.machine import Gradients, Scanner
from lauterbur.sequence.description import definitions, line_phase, offset, placed
from lauterbur.sequence.excitation import Excitation, excitation, unselective
from lauterbur.sequence.limits import Limits, delayed, gentle, limits, lobe, nearest, scaled, shortest, unit_lobe, up
from lauterbur.sequence.pulses import fat_saturation
from lauterbur.sequence.readout import Readout, readout
from lauterbur.sequence.sampling import phase_lines
from lauterbur.sequence.table import Block, Events, program, repeated
from lauterbur.units import ppm

N_NAVIGATORS = 3  # forward, backward, forward: the backward one is compared with the mean of its neighbours
CRUSH = 8.0  # turns across the slice, after the fat saturation and after the train
FAT_SHIFT = -3.4 * ppm  # of the Larmor frequency, main fat peak against water


@dataclass(frozen=True)
class Shot:
    """One slice: saturation, excitation, navigators, train, spoiler; lengths in s."""

    saturation: Excitation | None
    excitation: Excitation
    readout: Readout
    prephase: float
    to_first_line: float
    crush: float
    te: float

    def length(self, n_lines: int) -> float:
        saturation = 0.0 if self.saturation is None else self.saturation.duration + self.crush
        train = (N_NAVIGATORS + n_lines) * self.readout.length
        return saturation + self.excitation.duration + self.prephase + self.to_first_line + train + self.crush


def echo_planar(protocol: Protocol, scanner: Scanner) -> Program:
    p = placed(protocol, scanner)
    if max(p.acceleration) > 1:
        raise ProtocolError(f"{p.name}: acceleration {p.acceleration[0]} is not available for single-shot EPI; use 1")
    limit = limits(scanner, p.directions)
    lines = phase_lines(p).index
    places = slice_offsets(p)
    shots = [shot(p, limit, scanner, lines, float(place)) for place in places]
    plan, echo = shots[0], shots[0].readout
    length = plan.length(len(lines))
    slot = np.floor(p.tr / p.slices / limit.block_raster + 1e-6) * limit.block_raster
    if not slot >= length - 1e-9:
        raise ProtocolError(
            f"{p.name}: tr {p.tr * 1e3:.5g} ms is too short for {p.slices} slices of {length * 1e3:.4g} ms; at least "
            f"{up(p.slices * length, 1e-3) * 1e3:.0f} ms, or at most {int(p.tr / length)} slices, is possible"
        )

    events = Events(p.directions)
    order = np.array([*range(0, p.slices, 2), *range(1, p.slices, 2)])
    n_volumes = p.dummies + p.averages
    visits = np.tile(order, n_volumes)
    listens = np.repeat(np.arange(n_volumes) >= p.dummies, p.slices)
    crusher = events.gradient(2, lobe(CRUSH / p.fov[2], plan.crush, limit))
    layout: list[Block] = []
    if plan.saturation is not None:
        saturate = events.pulse(plan.saturation.pulse)
        layout += [Block(plan.saturation.duration, rf=saturate), Block(plan.crush, gradients={2: crusher})]

    pulses = np.array([events.pulse(s.excitation.pulse) for s in shots])
    slab = plan.excitation.gradient
    assert slab is not None
    unit = unit_lobe(max(echo.before, abs(plan.excitation.after)), plan.prephase, limit)
    prephase = {
        0: events.gradient(0, scaled(unit, -echo.before)),
        2: events.gradient(2, scaled(unit, -plan.excitation.after)),
    }
    layout += [
        Block(plan.excitation.duration, rf=pulses[visits], gradients={2: events.gradient(2, slab)}),
        Block(plan.prephase, gradients=prephase),
    ]

    read = [events.gradient(0, scaled(echo.gradient, sign)) for sign in (1.0, -1.0)]
    windows = [echo.adc(offset(p, 0), is_reversed=is_reversed) for is_reversed in (False, True)]

    def line_block(i: int, line: int, blip: int, marks: dict[str, Any]) -> Block:
        """The i-th lobe since the excitation; every other one runs backwards."""
        window = events.windows(windows[i % 2], line_phase(p, np.array([line]), np.zeros(1)))[0]
        gradients = {0: read[i % 2]} | ({1: blip} if blip >= 0 else {})
        labels = {"LIN": line, "REV": i % 2} | marks
        return Block(echo.length, adc=np.where(listens, window, -1), gradients=gradients, labels=labels)

    centre = p.matrix[1] // 2
    layout += [line_block(i, centre, -1, {"NAV": 1}) for i in range(N_NAVIGATORS)]
    start = (int(lines[0]) - centre) / p.fov[1]
    to_first = lobe(start, gentle(abs(start), plan.to_first_line, limit), limit) if start else None
    if to_first is not None:
        to_first = delayed(to_first, plan.to_first_line)
    layout.append(Block(plan.to_first_line, gradients={} if to_first is None else {1: events.gradient(1, to_first)}))
    blip = events.gradient(1, lobe(1 / p.fov[1], _blip_length(echo, limit), limit))
    for j, line in enumerate(lines):
        layout.append(line_block(N_NAVIGATORS + j, int(line), blip if j else -1, {}))

    end = np.full(len(visits), slot - length)
    end[p.slices - 1 :: p.slices] += nearest(p.tr - p.slices * slot, limit.block_raster)
    layout.append(Block(plan.crush + end, gradients={2: crusher}))
    labels: dict[str, Any] = {"SLC": visits}
    if p.averages > 1:
        labels["AVG"] = np.repeat(np.maximum(np.arange(n_volumes) - p.dummies, 0), p.slices)
    table = repeated(events, len(visits), layout, labels)

    described = definitions(
        p,
        scanner,
        samples=echo.n_samples,
        fov=echo.fov,
        te=(plan.te,),
        tr=float(np.sum(table.durations[: p.slices])),
        echo_spacing=echo.length,
        bandwidth=echo.bandwidth,
        trajectory="epi",
    )
    return program(events, table, scanner, described)


def shot(p: Protocol, limit: Limits, scanner: Scanner, lines: np.ndarray, place: float) -> Shot:
    echo = _spaced(p, limit, scanner)
    pulse = excitation(p, limit, p.flip_angle, place)
    saturation = None
    if p.fat_saturation:
        saturation = unselective(fat_saturation(FAT_SHIFT * scanner.larmor_frequency, limit), limit)
    largest = max(echo.before, abs(pulse.after))
    prephase = max(shortest(largest, limit), gentle(largest, 0.6e-3, limit))
    start = abs(int(lines[0]) - p.matrix[1] // 2) / p.fov[1]
    centre_at = int(np.flatnonzero(lines == p.matrix[1] // 2)[0])  # which echo of the train crosses k = 0
    is_reversed = (N_NAVIGATORS + centre_at) % 2 == 1
    center = echo.gradient.duration - echo.center if is_reversed else echo.center
    without = pulse.duration - pulse.center + prephase + (N_NAVIGATORS + centre_at) * echo.length + center
    to_first_line = nearest(p.te[0] - without, limit.block_raster)
    if not to_first_line >= shortest(start, limit) - 1e-9:
        raise ProtocolError(
            f"{p.name}: te {p.te[0] * 1e3:.4g} ms is too short for {centre_at} echoes of {echo.length * 1e3:.3g} ms before the "
            f"centre; at least {up(without + shortest(start, limit), 1e-5) * 1e3:.2f} ms is possible, less with partial_fourier"
        )
    crush = gentle(CRUSH / p.fov[2], 3e-3, limit)
    return Shot(saturation, pulse, echo, prephase, to_first_line, crush, without + to_first_line)


def _spaced(p: Protocol, limit: Limits, scanner: Scanner) -> Readout:
    """The readout lobe, of the echo spacing asked for, else the shortest that keeps off the forbidden bands."""
    least = readout(p, limit, bipolar=True)
    if p.echo_spacing is not None:
        spacing = nearest(p.echo_spacing, limit.block_raster)
        if not spacing >= least.length - 1e-9:
            raise ProtocolError(
                f"{p.name}: echo_spacing {spacing * 1e3:.3g} ms is too short; at least {least.length * 1e3:.3g} ms is possible "
                f"with {p.bandwidth:g} Hz per pixel"
            )
    else:
        spacing = least.length
        while not is_quiet(spacing, scanner.gradients):
            spacing += limit.block_raster
    echo = readout(p, limit, bipolar=True, length=spacing)
    while _blip_length(echo, limit) < shortest(1 / p.fov[1], limit) and p.echo_spacing is None:
        spacing += limit.block_raster
        echo = readout(p, limit, bipolar=True, length=spacing)
    if _blip_length(echo, limit) < shortest(1 / p.fov[1], limit):
        raise ProtocolError(
            f"{p.name}: no room for the phase blips under ramps of {echo.gradient.time[1] * 1e6:.0f} us; lengthen echo_spacing "
            "or raise the bandwidth"
        )
    return replace(echo, length=max(echo.length, spacing))


def is_quiet(spacing: float, gradients: Gradients) -> bool:
    """Whether a train of this echo spacing, period two spacings, keeps 25 Hz off the machine's forbidden bands."""
    line = 1 / (2 * spacing)
    return all(not low - 25.0 <= line <= high + 25.0 for low, high in gradients.forbidden_bands)


def _blip_length(echo: Readout, limit: Limits) -> float:
    """s: up to the first sample, the phase may change."""
    return float(np.floor(min(echo.delay, echo.delay_reversed) / limit.raster + 1e-6)) * limit.raster
