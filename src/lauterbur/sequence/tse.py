"""Turbo spin echo slice by slice, and its inversion-prepared form FLAIR (Hennig 1986; CPMG: Meiboom and Gill 1958).

    RF     90y       180x            180x            ...        all refocusing pulses along the echoes' own phase
    read   ___/=\\____________/~~~\\______/~~~\\____              the moment before each echo equals that after it
    phase  ________________/=\\___\\=/_/=\\___\\=/___              stepped, and wound back before the next pulse
    slice  /~~\\_\\=/__/^\\/~~\\/^\\_____/^\\/~~\\/^\\___              crushers, alike on both sides of each pulse

Between the centres of two refocusing pulses every axis gains twice what it gains from excitation to the first: so
spin echoes and stimulated echoes fall together whatever the refocusing angle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.program import Gradient, Program
from lauterbur.protocol.protocol import Protocol, slice_offsets
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.description import definitions, offset, placed
from lauterbur.sequence.excitation import Excitation, excitation, selective
from lauterbur.sequence.interleaving import dealt, inverted_slots, slots
from lauterbur.sequence.limits import (
    Limits,
    gentle,
    limits,
    lobe,
    nearest,
    ramp,
    up,
)
from lauterbur.sequence.pulses import inversion, inversion_bandwidth, sinc
from lauterbur.sequence.table import Block, Events, Table, beside, grouped, program, repeated
from lauterbur.sequence.train import Lines, Train, train_of, train_table, turned

CRUSH = 4.0  # turns across the slice, each side of a refocusing pulse
WIDER = 1.2  # of the slice: what the refocusing pulses select, so that the excitation sets the profile
INVERTED = 1.5  # of the slice: what the inversion selects
REST = 8.0  # turns across the slice after the train


def turbo_spin_echo(protocol: Protocol, scanner: Scanner) -> Program:
    p = placed(protocol, scanner)
    limit = limits(scanner, p.directions)
    plan = train(p, limit)
    line, reference, both, n_shots = dealt(p, plan.at_te)
    events = Events(p.directions)
    if p.contrast == "FLAIR":
        inverse = _inversion(p, limit, 0.0)
        slot = max(plan.length, inverse.duration + gentle(REST / p.fov[2], 5e-3, limit))
        lead = plan.excitation.center - inverse.center
        time = inverted_slots(p, plan.length, slot, lead, limit.block_raster)
    else:
        time = slots(p, plan.length, limit.block_raster)

    shot = np.concatenate((np.full(p.dummies, -1), np.tile(np.arange(n_shots), p.averages)))
    average = np.concatenate((np.zeros(p.dummies, np.int64), np.repeat(np.arange(p.averages), n_shots)))
    packages = []
    for package in time.packages:
        m = len(package)
        visit = _Visit(np.repeat(shot, m), np.tile(package, len(shot)), np.repeat(average, m))
        pieces = []
        if p.contrast == "FLAIR":
            pieces.append(grouped(_inversions(events, p, limit, time.slot, visit), len(shot)))
            if time.wait > 0:
                pieces.append(repeated(events, len(shot), [Block(time.wait)]))
        echoes = _echoes(events, p, limit, plan, visit, line, reference, both)
        if time.fill > 0:
            echoes = beside(echoes, repeated(events, len(visit.shot), [Block(time.fill)]))
        pieces.append(grouped(echoes, len(shot)))
        if time.end > 0:
            pieces.append(repeated(events, len(shot), [Block(time.end)]))
        packages.append(beside(*pieces))
    table = beside(*packages)

    described = definitions(
        p,
        scanner,
        samples=plan.readout.n_samples,
        fov=plan.readout.fov,
        te=(plan.te,),
        tr=float(np.sum(table.durations[0])),
        ti=time.ti,
        echo_spacing=plan.spacing,
        bandwidth=plan.readout.bandwidth,
    )
    return program(events, table, scanner, described)


def train(p: Protocol, limit: Limits, place: float = 0.0) -> Train:
    """Of the slice `place` m from the centre of the stack."""
    pulse = excitation(p, limit, p.flip_angle, place)
    return train_of(p, limit, pulse, crushed(p, limit, place), rest_area=REST / p.fov[2])


def crushed(p: Protocol, limit: Limits, place: float) -> Excitation:
    """A refocusing pulse with crushers joined to its gradient: one waveform, alike on both sides of the centre."""
    pulse = sinc(p.refocusing_angle, up(p.rf_duration, 2 * limit.raster), p.rf_time_bandwidth, limit, "refocusing")
    amplitude = p.rf_time_bandwidth / pulse.duration / (WIDER * p.fov[2])
    plain = selective(pulse, amplitude, offset(p, 2) + place, limit)
    area = CRUSH / p.fov[2]
    rise, flat, change = min((_crusher(top, amplitude, area, limit) for top in _tops(amplitude, limit)), key=sum)
    top = (area - amplitude * change / 2) / (rise / 2 + flat + change / 2)  # now that times lie on the raster
    delay = rise + flat + change
    wait = max(0.0, up(limit.rf_dead - delay, limit.raster))
    times = np.cumsum([0.0, rise, flat, change, pulse.duration, change, flat, rise])
    values = np.array([0.0, top, top, amplitude, amplitude, top, top, 0.0])
    if flat == 0:
        times, values = np.delete(times, [2, 6]), np.delete(values, [2, 6])
    gradient = Gradient(np.round(times, 9), values, wait, kind="shaped")
    center = wait + delay + pulse.duration / 2
    half = float(np.trapezoid(values, times)) / 2
    return Excitation(
        replace(plain.pulse, delay=round(wait + delay, 9)),
        gradient,
        up(2 * wait + float(times[-1]), limit.block_raster),
        center,
        half,
        half,
    )


def _tops(amplitude: float, limit: Limits) -> NDArray[np.float64]:
    """Hz/m: amplitudes that a crusher may have, from that of the slice up."""
    return np.linspace(min(1.05 * amplitude, limit.amplitude), limit.amplitude, 60)


def _crusher(top: float, amplitude: float, area: float, limit: Limits) -> tuple[float, float, float]:
    """s: rise, plateau, and change to the slice's amplitude, so that `area` is reached no higher than at `top`."""
    rise, change = ramp(top, limit), ramp(top - amplitude, limit)
    left = area - top * rise / 2 - (top + amplitude) * change / 2
    return rise, up(max(0.0, left / top), limit.raster), change


@dataclass(frozen=True)
class _Visit:
    """Slice trains in the order played, each (train,)."""

    shot: NDArray[np.int64]  # -1: a dummy
    slice: NDArray[np.int64]  # -1: nothing there, the time passes
    average: NDArray[np.int64]


def _inversion(p: Protocol, limit: Limits, place: float) -> Excitation:
    pulse = inversion(limit)
    return selective(pulse, inversion_bandwidth() / (INVERTED * p.fov[2]), offset(p, 2) + place, limit)


def _inversions(events: Events, p: Protocol, limit: Limits, slot: float, visit: _Visit) -> Table:
    places = slice_offsets(p)
    shapes = [_inversion(p, limit, float(place)) for place in places]
    one = shapes[0]
    rf = np.array([*(events.pulse(shape.pulse) for shape in shapes), -1])[visit.slice]
    gradient = one.gradient
    assert gradient is not None
    crusher = lobe(REST / p.fov[2], gentle(REST / p.fov[2], 5e-3, limit), limit)
    layout = [
        Block(one.duration, rf=rf, gradients={2: events.gradient(2, gradient)}),
        Block(nearest(slot - one.duration, limit.block_raster), gradients={2: events.gradient(2, crusher)}),
    ]
    return repeated(events, len(rf), layout, {"SLC": np.maximum(visit.slice, 0)})


def _echoes(
    events: Events,
    p: Protocol,
    limit: Limits,
    plan: Train,
    visit: _Visit,
    lines: NDArray[np.int64],
    reference: NDArray[np.bool_],
    both: NDArray[np.bool_],
) -> Table:
    """(train,) repetitions of excitation, echoes and spoiler."""
    places = slice_offsets(p)
    shapes = [train(p, limit, float(place)) for place in places]
    excite = [events.pulse(turned(shape.excitation, np.pi / 2)) for shape in shapes]
    refocus = [events.pulse(turned(shape.refocus[0], 0.0)) for shape in shapes]
    none = np.array([-1])
    excite_at = np.concatenate((excite, none))[visit.slice]
    refocus_at = np.concatenate((refocus, none))[visit.slice]

    shot = visit.shot
    where = (lines[shot] >= 0) & ((shot >= 0) & (visit.slice >= 0))[:, None]
    played = Lines(lines[shot], np.zeros_like(lines[shot]), where, where & reference[shot], where & both[shot])
    of_slice = {"SLC": np.maximum(visit.slice, 0)} | ({"AVG": visit.average} if p.averages > 1 else {})
    return train_table(events, p, limit, plan, played, excite_at, [refocus_at] * p.echo_train, of_slice)
