"""Composite pulses of many spins as hard ones: each spin with the flip angle and the phase that it really gets.

What a composite does hangs on all channels' fields and on the place, so that every spin would be its own atom. Integrated
once for each spin it is a rotation; its angle takes the place of B1+, by which atoms are interpolated.

    R = Rz(out) R(angle) Rz(in)     `out` is put into the field's phase; `in` + `out` would act as off-resonance does over
                                    one repetition, of second order in the angle, and is left out: the judge sees what that costs
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.played import PulseShape
from lauterbur.acquisition.twin.pulses import pulse_maps
from lauterbur.acquisition.twin.spins import Spins

CHUNK = 200_000  # spins
LENGTH = 1e-6  # s, of the hard pulse


def as_hard(line: Timeline, spins: Spins) -> tuple[Timeline, Spins]:
    """The same where no pulse is a composite."""
    composite = [i for i, shape in enumerate(line.shapes) if len(np.unique(shape.drive)) > 1]
    if not composite:
        return line, spins
    b1 = np.atleast_2d(spins.b1_plus)
    weights = np.array([np.ones(len(b1), complex) if drive is None else drive for drive in line.drives])
    plain = sorted({int(shape.drive[0]) for i, shape in enumerate(line.shapes) if i not in composite})
    field = np.empty((len(composite) + len(plain), len(spins)), complex)
    shapes = list(line.shapes)
    for row, i in enumerate(composite):
        shapes[i], field[row] = _hard(line.shapes[i], weights, b1, spins, row)
    for row, drive in enumerate(plain, start=len(composite)):
        field[row] = weights[drive] @ b1
        for i, shape in enumerate(line.shapes):
            if i not in composite and shape.drive[0] == drive:
                shapes[i] = replace(shape, drive=np.full_like(shape.drive, row))
    driven = Spins(
        spins.position,
        spins.proton_density,
        spins.t1,
        spins.t2,
        spins.t2_prime,
        spins.off_resonance,
        field,
        spins.diffusion,
        spins.volume,
        spins.edges,
        spins.off_resonance_gradient,
        spins.lattice,
    )
    return replace(line, shapes=tuple(shapes), drives=tuple(np.eye(len(field), dtype=complex))), driven


def _hard(
    shape: PulseShape, weights: NDArray[np.complex128], b1: NDArray[np.complex128], spins: Spins, row: int
) -> tuple[PulseShape, NDArray[np.complex128]]:
    """The hard pulse, and the relative field (n,) that makes it turn every spin as the composite does."""
    played = _joined_steps(shape)
    angle, turn = np.empty(len(spins)), np.empty(len(spins), complex)
    for lo in range(0, len(spins), CHUNK):
        some = slice(lo, lo + CHUNK)
        maps = pulse_maps(
            played,
            weights @ b1[:, some],
            spins.off_resonance[some],
            spins.position[some],
            spins.t1[some],
            spins.t2[some],
        )
        excited = maps[4] + 1j * maps[5].astype(float)
        angle[some], turn[some] = np.arctan2(np.abs(excited), maps[10]), excited
    typical = float(np.average(angle, weights=np.abs(spins.weight))) or 1.0
    hard = replace(
        shape,
        length=np.array([LENGTH]),
        b1=np.array([typical / (2 * np.pi * LENGTH)], complex),
        frequency=0.0,
        gradient=np.zeros((1, 3)),
        before=LENGTH / 2,
        after=LENGTH / 2,
        moment_before=np.zeros(3),
        moment_after=np.zeros(3),
        drive=np.array([row]),
    )
    still = np.zeros(1)
    one = pulse_maps(hard, np.ones((row + 1, 1)), still, np.zeros((1, 3)), still + np.inf, still + np.inf)
    phase = np.angle(turn) - np.angle(one[4, 0] + 1j * one[5, 0])
    return hard, angle / typical * np.exp(1j * phase)


def _joined_steps(shape: PulseShape) -> PulseShape:
    """Neighbouring steps that turn magnetisation alike as one: exact but for the relaxation within."""
    is_new = np.ones(len(shape.length), bool)
    same_field = np.abs(np.diff(shape.b1)) <= 1e-9 * np.abs(shape.b1).max()
    same_gradient = np.abs(np.diff(shape.gradient, axis=0)).max(axis=1) <= 1e-6 * max(np.abs(shape.gradient).max(), 1.0)
    is_new[1:] = ~(same_field & same_gradient & (np.diff(shape.drive) == 0))
    first = np.flatnonzero(is_new)
    return replace(
        shape,
        length=np.add.reduceat(shape.length, first),
        b1=shape.b1[first],
        gradient=shape.gradient[first],
        drive=shape.drive[first],
    )
