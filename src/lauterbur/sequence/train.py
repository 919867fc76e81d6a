"""An echo train, of a slice or of a volume: pulse, prephase, then refocus, step, listen, step back for every echo.

    RF         90y        180x            180x            ...      all refocusing pulses along the echoes' own phase
    read       ___/=\\____________/c\\/~~~\\/c\\_____/c\\/~~~\\/c\\__    c: crushers, where the refocusing pulses have none
    steps      __________________/=\\_____\\=/_____/=\\_____\\=/__    phase and partition, wound back before the next pulse

Between the centres of two refocusing pulses every axis gains twice what it gains from excitation to the first: so
spin echoes and stimulated echoes fall together whatever the refocusing angle (CPMG: Meiboom and Gill 1958).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.program import RfPulse
from lauterbur.protocol.protocol import Protocol
from lauterbur.sequence.description import line_phase, offset
from lauterbur.sequence.excitation import Excitation
from lauterbur.sequence.limits import Limits, delayed, gentle, lobe, nearest, scaled, shortest, unit_lobe, up
from lauterbur.sequence.readout import Readout, readout
from lauterbur.sequence.table import Block, Event, Events, Table, repeated

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Train:
    excitation: Excitation
    refocus: tuple[Excitation, ...]  # (echo,), all equally long
    angles: NDArray[np.float64]  # rad, (echo,)
    readout: Readout
    crush: float  # 1/m along the readout, each side of it; 0 where the refocusing gradients crush
    prephase: float  # s
    step: float  # s, from the refocusing block to the readout
    back: float  # s, from the readout to the next refocusing block
    rest: float  # s, spoiler after the last echo
    rest_area: float  # 1/m along the slice
    spacing: float  # s
    at_te: int  # which echo crosses k = 0

    @property
    def te(self) -> float:
        return (self.at_te + 1) * self.spacing

    @property
    def length(self) -> float:
        one = self.refocus[0].duration + self.step + self.readout.length + self.back
        return self.excitation.duration + self.prephase + len(self.refocus) * one + self.rest


@dataclass(frozen=True)
class Lines:
    """What each train plays: (train, echo)."""

    line: Int
    partition: Int
    heard: Bool
    reference: Bool  # REF
    both: Bool  # IMA


def train_of(
    p: Protocol, limit: Limits, pulse: Excitation, refocus: Excitation, *, rest_area: float, crush: float = 0.0
) -> Train:
    """As tight as the machine plays it, or as the protocol spaces it; all refocusing pulses alike."""
    echo = readout(p, limit)
    half = limit.block_raster  # the echo spacing is even in it, so that its half lies on the raster too

    # from the centre of a refocusing pulse: half its block, the step, the readout up to k = 0
    lead = refocus.duration - refocus.center + echo.center
    lag = echo.length - echo.center + refocus.center
    step = shortest(max(step_areas(p, echo, crush)), limit)
    prephase = max(shortest(echo.before + crush, limit), shortest(pulse.after, limit))
    least = up(max(lead + step, lag + step, pulse.duration - pulse.center + prephase + refocus.center), half) * 2
    spacing, at_te = echo_times(p, least, half)
    step = nearest(spacing / 2 - lead, half)
    return Train(
        excitation=pulse,
        refocus=(refocus,) * p.echo_train,
        angles=np.full(p.echo_train, p.refocusing_angle),
        readout=echo,
        crush=crush,
        prephase=nearest(spacing / 2 - (pulse.duration - pulse.center) - refocus.center, half),
        step=step,
        back=nearest(spacing - step - echo.length - refocus.duration, half),
        rest=gentle(rest_area, 5e-3, limit),
        rest_area=rest_area,
        spacing=spacing,
        at_te=at_te,
    )


def step_areas(p: Protocol, echo: Readout, crush: float) -> tuple[float, float, float]:
    """1/m: the largest lobes before and after a readout."""
    return crush + abs(echo.before - echo.after), p.matrix[1] // 2 / p.fov[1], p.matrix[2] // 2 / p.fov[2]


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


def turned(pulse: Excitation, phase: float) -> RfPulse:
    """The excitation turns about y and the refocusing pulses about x, so that echoes keep the excitation's phase."""
    return replace(pulse.pulse, phase_offset=(pulse.pulse.phase_offset + phase) % (2 * np.pi))


def train_table(
    events: Events,
    p: Protocol,
    limit: Limits,
    plan: Train,
    lines: Lines,
    excite: Event,
    refocus: Sequence[Event],
    labels: Mapping[str, Any] | None,
) -> Table:
    """(train,) repetitions of excitation, echoes and spoiler; `refocus` is by echo."""
    echo, pulse = plan.readout, plan.excitation
    unit = unit_lobe(max(echo.before + plan.crush, abs(pulse.after)), plan.prephase, limit)
    prephase = {
        0: events.gradient(0, scaled(unit, echo.before + plan.crush)),
        2: events.gradient(2, scaled(unit, -pulse.after)),
    }
    layout = [
        Block(pulse.duration, rf=excite, gradients=_selecting(events, pulse)),
        Block(plan.prephase, gradients=prephase),
    ]

    largest = max(step_areas(p, echo, plan.crush))
    step = delayed(unit_lobe(largest, plan.step, limit), plan.step)
    back = unit_lobe(largest, plan.back, limit)
    before = events.gradient(0, scaled(step, plan.crush))
    read = events.gradient(0, echo.gradient)
    after = events.gradient(0, scaled(back, plan.crush + echo.before - echo.after))
    adc = echo.adc(offset(p, 0))
    for i, block in enumerate(plan.refocus):
        heard = lines.heard[:, i]
        line = np.where(heard, lines.line[:, i], p.matrix[1] // 2)
        partition = np.where(heard, lines.partition[:, i], p.matrix[2] // 2)
        k_line = (line - p.matrix[1] // 2) / p.fov[1]
        k_partition = (partition - p.matrix[2] // 2) / p.fov[2]
        window = np.full(len(line), -1)
        window[heard] = events.windows(adc, np.pi / 2 + line_phase(p, line[heard], partition[heard]))
        marks: dict[str, Any] = {"LIN": np.where(heard, line, 0), "SEG": i}
        if p.is_3d:
            marks["PAR"] = np.where(heard, partition, 0)
        if lines.reference.any():
            marks |= {"REF": lines.reference[:, i], "IMA": lines.both[:, i]}
        steps: dict[int, Any] = {0: before, 1: events.steps(1, step, k_line), 2: events.steps(2, step, k_partition)}
        backs: dict[int, Any] = {0: after, 1: events.steps(1, back, -k_line), 2: events.steps(2, back, -k_partition)}
        layout += [
            Block(block.duration, rf=refocus[i], gradients=_selecting(events, block), labels=marks),
            Block(plan.step, gradients=steps, labels=marks),
            Block(echo.length, adc=window, gradients={0: read}, labels=marks),
            Block(plan.back, gradients=backs, labels=marks),
        ]
    spoiler = lobe(plan.rest_area, plan.rest, limit)
    layout.append(Block(plan.rest, gradients={2: events.gradient(2, spoiler)}))
    return repeated(events, len(lines.line), layout, labels)


def _selecting(events: Events, pulse: Excitation) -> dict[int, Event]:
    return {} if pulse.gradient is None else {2: events.gradient(2, pulse.gradient)}
