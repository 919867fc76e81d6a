"""Which lines and partitions are played: regular undersampling with reference lines, partial Fourier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.protocol.protocol import Protocol

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Lines:
    """Lines of one axis, rising; k = (index - n//2) / fov."""

    index: Int  # (line,)
    regular: NDArray[np.bool_]  # on the undersampled grid
    reference: NDArray[np.bool_]  # in the fully sampled centre

    def __len__(self) -> int:
        return len(self.index)


def lines(n: int, acceleration: int, n_reference: int, partial_fourier: float, name: str) -> Lines:
    """Every `acceleration`-th line through the centre, and a block of reference lines that begins on one of them."""
    centre = n // 2
    first = round(n * (1 - partial_fourier))
    regular = (np.arange(n) - centre) % acceleration == 0
    reference = np.zeros(n, bool)
    if n_reference:
        start = centre - n_reference // 2
        start -= (start - centre) % acceleration
        start = max(0, start)
        reference[start : start + n_reference] = True
        if acceleration > 1 and n_reference < 2 * acceleration:
            raise ProtocolError(
                f"{n_reference} reference lines along {name} cannot calibrate an acceleration of {acceleration}; "
                f"use at least {2 * acceleration}, better {8 * acceleration}"
            )
    elif acceleration > 1:
        raise ProtocolError(
            f"acceleration {acceleration} along {name} needs reference lines; use about {8 * acceleration}"
        )
    played = (regular | reference) & (np.arange(n) >= first)
    index = np.flatnonzero(played)
    return Lines(index, regular[index], reference[index] & (acceleration > 1))


def phase_lines(protocol: Protocol) -> Lines:
    p = protocol
    return lines(p.matrix[1], p.acceleration[0], p.reference_lines[0], p.partial_fourier[0], "phase")


def partition_lines(protocol: Protocol) -> Lines:
    p = protocol
    return lines(p.matrix[2], p.acceleration[1], p.reference_lines[1], p.partial_fourier[1], "partition")


@dataclass(frozen=True)
class Plane:
    """Pairs of line and partition in the order played."""

    line: Int
    partition: Int
    reference: NDArray[np.bool_]  # REF: calibrates
    both: NDArray[np.bool_]  # IMA: calibrates and is image data


def plane(protocol: Protocol, *, partitions_inside: bool) -> Plane:
    """What a 3D acquisition plays: lines inside partitions, or partitions inside lines.

    A pair is played when both its indices are regular, or when both lie among the reference lines (of an axis that is
    not accelerated every index counts as both).
    """
    y, z = phase_lines(protocol), partition_lines(protocol)
    if partitions_inside:
        iy, iz = np.repeat(np.arange(len(y)), len(z)), np.tile(np.arange(len(z)), len(y))
    else:
        iy, iz = np.tile(np.arange(len(y)), len(z)), np.repeat(np.arange(len(z)), len(y))
    accelerated = max(protocol.acceleration) > 1
    image = y.regular[iy] & z.regular[iz]
    y_reference = y.reference if protocol.acceleration[0] > 1 else np.ones(len(y), bool)
    z_reference = z.reference if protocol.acceleration[1] > 1 else np.ones(len(z), bool)
    reference = y_reference[iy] & z_reference[iz] & accelerated
    keep = image | reference
    return Plane(y.index[iy][keep], z.index[iz][keep], reference[keep], (reference & image)[keep])
