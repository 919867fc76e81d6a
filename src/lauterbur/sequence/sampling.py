"""Which lines and partitions are played: regular or shifted undersampling, Poisson discs, reference lines, partial Fourier.

         regular           caipi             poisson, elliptical
line    x . x . x .       x . x . x .          . x . x
  |     . . . . . .       . . . . . .        x . . . . x
  v     x . x . x .       . x . x . x        . x o o . .       o: the fully sampled centre
        . . . . . .       . . . . . .          x . . x
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.protocol.protocol import Protocol
from lauterbur.sequence.poisson import elliptical_radius, poisson_disc

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Lines:
    """Lines of one axis, rising; k = (index - n//2) / fov."""

    index: Int  # (line,)
    regular: Bool  # on the undersampled grid
    reference: Bool  # in the fully sampled centre

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
    reference: Bool  # REF: calibrates
    both: Bool  # IMA: calibrates and is image data

    def __len__(self) -> int:
        return len(self.line)


def plane(protocol: Protocol, *, partitions_inside: bool) -> Plane:
    """What a 3D acquisition plays: lines inside partitions, or partitions inside lines.

    Regular: a pair is played when both its indices are regular, or when both lie among the reference lines (of an axis
    that is not accelerated every index counts as both). Other samplings put their own image pairs in place of these.
    """
    image, reference = pairs(protocol)
    played = image | reference
    if partitions_inside:
        line, partition = np.nonzero(played)
    else:
        partition, line = np.nonzero(played.T)
    return Plane(line, partition, reference[line, partition], (reference & image)[line, partition])


def pairs(protocol: Protocol) -> tuple[Bool, Bool]:
    """(line, partition): which are image data, and which calibrate the receivers; some are both."""
    p = protocol
    shape = p.matrix[1:]
    if p.sampling == "poisson":
        return _poisson(p)
    y, z = phase_lines(p), partition_lines(p)
    image, reference = np.zeros(shape, bool), np.zeros(shape, bool)
    if p.sampling == "caipi":
        _begin(image, p)[...] = caipi(shape, p.acceleration, p.caipi_shift)[_first(p)]
    else:
        image[np.ix_(y.index[y.regular], z.index[z.regular])] = True
    if max(p.acceleration) > 1:
        y_index = y.index[y.reference] if p.acceleration[0] > 1 else y.index
        z_index = z.index[z.reference] if p.acceleration[1] > 1 else z.index
        reference[np.ix_(y_index, z_index)] = True
    if p.elliptical:
        inside = elliptical_radius(shape) <= 1
        image &= inside
        reference &= inside
    return image, reference


def caipi(shape: tuple[int, ...], acceleration: tuple[int, int], shift: int) -> Bool:
    """(line, partition): every acceleration[0]-th line, its partitions `shift` further at each: Breuer et al., MRM 2006, 55:549."""
    line = np.arange(shape[0])[:, None] - shape[0] // 2
    partition = np.arange(shape[1])[None, :] - shape[1] // 2
    along_line, along_partition = acceleration
    turn = line // along_line
    return (line % along_line == 0) & ((partition - shift * turn) % along_partition == 0)


def _poisson(p: Protocol) -> tuple[Bool, Bool]:
    """Exactly 1 / undersampling of what the protocol covers is played, the fully sampled centre included."""
    shape = p.matrix[1:]
    allowed, centre = np.zeros(shape, bool), np.zeros(shape, bool)
    _begin(allowed, p)[...] = True
    if p.elliptical:
        allowed &= elliptical_radius(shape) <= 1
    block = tuple(
        slice(n // 2 - count // 2, n // 2 - count // 2 + count)
        for n, count in zip(shape, p.reference_lines, strict=True)
    )
    centre[block] = True
    n = round(np.count_nonzero(allowed) / p.undersampling)
    try:
        image = poisson_disc(allowed, centre, n, p.sampling_seed)
    except ProtocolError as problem:
        raise ProtocolError(f"{p.name}: {problem}") from None
    return image, centre & allowed


def _first(p: Protocol) -> tuple[slice, slice]:
    first = [round(n * (1 - part)) for n, part in zip(p.matrix[1:], p.partial_fourier, strict=True)]
    return slice(first[0], None), slice(first[1], None)


def _begin(mask: Bool, p: Protocol) -> Bool:
    """The part of k-space that a partial Fourier acquisition covers, as a view."""
    return mask[_first(p)]
