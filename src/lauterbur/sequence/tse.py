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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.program import Gradient, Program
from lauterbur.protocol.protocol import Protocol, slice_offsets
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.description import definitions, line_phase, offset, placed
from lauterbur.sequence.excitation import Excitation, excitation, selective
from lauterbur.sequence.interleaving import dealt, inverted_slots, slots
from lauterbur.sequence.limits import (
    Limits,
    delayed,
    gentle,
    limits,
    lobe,
    nearest,
    ramp,
    scaled,
    shortest,
    unit_lobe,
    up,
)
from lauterbur.sequence.pulses import inversion, inversion_bandwidth, sinc
from lauterbur.sequence.readout import Readout, readout
from lauterbur.sequence.table import Block, Events, Table, beside, grouped, program, repeated

CRUSH = 4.0  # turns across the slice, each side of a refocusing pulse
WIDER = 1.2  # of the slice: what the refocusing pulses select, so that the excitation sets the profile
INVERTED = 1.5  # of the slice: what the inversion selects
REST = 8.0  # turns across the slice after the train


@dataclass(frozen=True)
class Train:
    """One slice's echoes: pulse, prephase, then refocus, step, listen, step back for every echo."""

    excitation: Excitation
    refocus: Excitation  # its gradient is the crushed one
    readout: Readout
    prephase: float  # s
    step: float  # s, from the refocusing block to the readout
    back: float  # s, from the readout to the next refocusing block
    rest: float  # s, spoiler after the last echo
    spacing: float  # s
    n_echoes: int
    at_te: int  # which echo crosses k = 0

    @property
    def te(self) -> float:
        return (self.at_te + 1) * self.spacing

    @property
    def length(self) -> float:
        one = self.refocus.duration + self.step + self.readout.length + self.back
        return self.excitation.duration + self.prephase + self.n_echoes * one + self.rest


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
    pulse = excitation(p, limit, p.flip_angle, place)
    refocus = crushed(p, limit, place)
    echo = readout(p, limit)
    half = limit.block_raster  # the echo spacing is even in it, so that its half lies on the raster too

    # from the centre of a refocusing pulse: half its block, the step, the readout up to k = 0
    lead = refocus.duration - refocus.center + echo.center
    lag = echo.length - echo.center + refocus.center
    step = max(shortest(p.matrix[1] // 2 / p.fov[1], limit), 2 * limit.raster)
    back = max(step, shortest(2 * echo.before - echo.before - echo.after, limit))
    prephase = max(shortest(echo.before, limit), shortest(pulse.after, limit))
    least = up(max(lead + step, lag + back, pulse.duration - pulse.center + prephase + refocus.center), half) * 2
    spacing, at_te = echo_times(p, least, half)
    rest = gentle(REST / p.fov[2], 5e-3, limit)
    step = nearest(spacing / 2 - lead, half)
    return Train(
        excitation=pulse,
        refocus=refocus,
        readout=echo,
        prephase=nearest(spacing / 2 - (pulse.duration - pulse.center) - refocus.center, half),
        step=step,
        back=nearest(spacing - step - echo.length - refocus.duration, half),
        rest=rest,
        spacing=spacing,
        n_echoes=p.echo_train,
        at_te=at_te,
    )


def echo_times(p: Protocol, least: float, half: float) -> tuple[float, int]:
    """s, and which echo crosses k = 0: the spacing, at least `least`, of which half lies on a raster of `half`."""
    spacing = p.echo_spacing
    wanted = p.te[0]
    if spacing is None:
        at_te = int(wanted / least + 1e-6) - 1
        spacing = max(least, nearest(wanted / max(1, at_te + 1) / 2, half) * 2)
    spacing = nearest(spacing / 2, half) * 2
    at_te = round(wanted / spacing) - 1
    if not spacing >= least - 1e-9:
        raise ProtocolError(
            f"{p.name}: echo_spacing {spacing * 1e3:.4g} ms is too short; at least {least * 1e3:.2f} ms is possible with "
            f"{p.bandwidth:g} Hz per pixel and pulses of {p.rf_duration * 1e3:.3g} ms"
        )
    if not 0 <= at_te < p.echo_train:
        raise ProtocolError(
            f"{p.name}: te {wanted * 1e3:.4g} ms lies outside a train of {p.echo_train} echoes {spacing * 1e3:.4g} ms apart; "
            f"between {spacing * 1e3:.4g} and {p.echo_train * spacing * 1e3:.4g} ms is possible"
        )
    return spacing, at_te


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
    # the excitation turns about y and the refocusing pulses about x, so that echoes keep the excitation's phase
    excite = [events.pulse(_turned(shape.excitation, np.pi / 2)) for shape in shapes]
    refocus = [events.pulse(_turned(shape.refocus, 0.0)) for shape in shapes]
    none = np.array([-1])
    excite_at = np.concatenate((excite, none))[visit.slice]
    refocus_at = np.concatenate((refocus, none))[visit.slice]

    echo = plan.readout
    pulse, crush = plan.excitation.gradient, plan.refocus.gradient
    assert pulse is not None and crush is not None
    unit = unit_lobe(max(echo.before, abs(plan.excitation.after)), plan.prephase, limit)
    prephase = {
        0: events.gradient(0, scaled(unit, echo.before)),
        2: events.gradient(2, scaled(unit, -plan.excitation.after)),
    }
    layout = [
        Block(plan.excitation.duration, rf=excite_at, gradients={2: events.gradient(2, pulse)}),
        Block(plan.prephase, gradients=prephase),
    ]
    largest = p.matrix[1] // 2 / p.fov[1]
    step = delayed(unit_lobe(largest, plan.step, limit), plan.step)
    back = unit_lobe(max(largest, abs(echo.before - echo.after)), plan.back, limit)
    crusher, read = events.gradient(2, crush), events.gradient(0, echo.gradient)
    rewind = events.gradient(0, scaled(back, echo.before - echo.after))
    adc = echo.adc(offset(p, 0))
    of_slice = {"SLC": np.maximum(visit.slice, 0)} | ({"AVG": visit.average} if p.averages > 1 else {})
    for i in range(plan.n_echoes):
        line = np.where(visit.shot >= 0, lines[visit.shot, i], -1)
        heard = (line >= 0) & (visit.slice >= 0)
        k = np.where(line >= 0, (line - p.matrix[1] // 2) / p.fov[1], 0.0)
        window = np.full(len(line), -1)
        window[heard] = events.windows(adc, np.pi / 2 + line_phase(p, line[heard], np.zeros(heard.sum())))
        marks: dict[str, Any] = {"LIN": np.where(heard, line, 0), "SEG": i}
        if reference.any():
            marks |= {"REF": heard & reference[visit.shot, i], "IMA": heard & both[visit.shot, i]}
        layout += [
            Block(plan.refocus.duration, rf=refocus_at, gradients={2: crusher}, labels=marks),
            Block(plan.step, gradients={1: events.steps(1, step, k)}, labels=marks),
            Block(echo.length, adc=window, gradients={0: read}, labels=marks),
            Block(plan.back, gradients={0: rewind, 1: events.steps(1, back, -k)}, labels=marks),
        ]
    spoiler = lobe(REST / p.fov[2], plan.rest, limit)
    layout.append(Block(plan.rest, gradients={2: events.gradient(2, spoiler)}))
    return repeated(events, len(visit.shot), layout, of_slice)


def _turned(pulse: Excitation, phase: float) -> Any:
    return replace(pulse.pulse, phase_offset=(pulse.pulse.phase_offset + phase) % (2 * np.pi))
