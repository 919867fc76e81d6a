"""What a remedy says, done: by the operator to the protocol, or by the physicist to the waveforms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lauterbur.findings import Finding
from lauterbur.program import Column, Program
from lauterbur.protocol.protocol import Protocol
from lauterbur.units import deg

LONGEST_TR = 60.0  # s that a protocol may have
NUMBER = r"([\d.]+(?:e[+-]?\d+)?)"


def followed(
    told: Finding, protocol: Protocol, plan: Program, build: Callable[[Protocol], Program]
) -> Iterator[tuple[str, Program]]:
    """The words of each alternative that a remedy gives in numbers, and the program that does it."""
    remedy = told.remedy
    for match in re.finditer(rf"lengthen tr from {NUMBER} to {NUMBER} s", remedy):
        if float(match[2]) <= LONGEST_TR:
            yield match[0], build(replace(protocol, tr=float(match[2])))
    for match in re.finditer(rf"lengthen TR to {NUMBER} times", remedy):
        if protocol.tr * float(match[1]) <= LONGEST_TR:
            yield match[0], build(replace(protocol, tr=protocol.tr * float(match[1])))
    for match in re.finditer(rf"lower (flip_angle|refocusing_angle) from {NUMBER} to {NUMBER} deg", remedy):
        yield match[0], build(replace(protocol, **{match[1]: float(match[3]) * deg}))
    for match in re.finditer(rf"play (all|the \w+) pulses at {NUMBER} of their amplitude", remedy):
        use = match[1].removeprefix("the ")
        yield match[0], softer_pulses(plan, float(match[2]), lambda pulse, use=use: use in ("all", pulse.use))
    for match in re.finditer(rf"lower its flip angle from {NUMBER} to {NUMBER} deg", remedy):
        yield match[0], softer_pulses(plan, float(match[2]) / float(match[1]), lambda pulse: True)
    for match in re.finditer(rf"(?:lengthen|shorten) the pulse from {NUMBER} to {NUMBER} ms", remedy):
        yield match[0], stretched_pulses(plan, float(match[2]) / float(match[1]))
    for match in re.finditer(rf"shorten the pulses to {NUMBER} of now", remedy):
        yield match[0], stretched_pulses(plan, float(match[1]))
    for match in re.finditer(rf"to {NUMBER} % of what it is", remedy):
        share = float(match[1]) / 100
        yield match[0], weaker(plan, np.sqrt(share) if "amplifier power" in told.quantity else share)
    for match in re.finditer(rf"lower the gradients to {NUMBER} of what they are", remedy):
        yield match[0], weaker(plan, float(match[1]))
    for match in re.finditer(rf"ramp at {NUMBER} % of the slew", remedy):
        yield match[0], weaker(plan, float(match[1]) / 100)
    for match in re.finditer(rf"ramp {NUMBER} mT/m in {NUMBER} ms or more", remedy):
        now = re.match(rf"{NUMBER} mT/m in {NUMBER} ms", told.where)
        assert now is not None, told.where
        yield match[0], slower(plan, float(match[2]) / float(now[2]))


def weaker(plan: Program, share: float) -> Program:
    return replace(plan, gradients=tuple(replace(g, waveform=g.waveform * share) for g in plan.gradients))


def slower(plan: Program, factor: float) -> Program:
    """All gradients of equal heights in times longer by a factor, and all blocks with them."""
    gradients = tuple(replace(g, time=g.time * factor, delay=g.delay * factor) for g in plan.gradients)
    return replace(plan, gradients=gradients, durations=plan.durations * factor)


def softer_pulses(plan: Program, share: float, which: Callable) -> Program:
    return replace(plan, rf=tuple(replace(p, waveform=p.waveform * share) if which(p) else p for p in plan.rf))


def stretched_pulses(plan: Program, factor: float) -> Program:
    """Pulses of equal turn in times longer by a factor; their blocks last as much longer."""
    rf = tuple(
        replace(
            p,
            time=p.time * factor,
            duration=p.duration * factor,
            center=p.center * factor,
            waveform=p.waveform / factor,
        )
        for p in plan.rf
    )
    longest = max((p.duration for p in plan.rf), default=0.0)
    more = np.where(plan.blocks[:, Column.RF] >= 0, longest * max(factor - 1, 0.0), 0.0)
    return replace(plan, rf=rf, durations=plan.durations + more)
