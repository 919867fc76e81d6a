"""How turbo spin echo shares out time and lines: slices over a TR, inversions before trains, lines over echoes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.protocol.protocol import Protocol
from lauterbur.sequence.limits import nearest, up
from lauterbur.sequence.sampling import Plane, phase_lines

STARTED = 1.5  # times the echo at te: stronger echoes of a train that approaches its level are not heard


@dataclass(frozen=True)
class Slots:
    packages: list[NDArray[np.int64]]  # slices, -1 where a package has one less
    slot: float  # s, of one slice's train
    fill: float  # s, silent at the end of every train
    end: float  # s, silent at the end of every package
    wait: float  # s, between the inversions of a package and its trains
    ti: float | None


def slots(p: Protocol, length: float, raster: float) -> Slots:
    """Trains of this length, s, of all slices within one TR, neighbours far apart in time."""
    order = np.array([*range(0, p.slices, 2), *range(1, p.slices, 2)])
    slot = np.floor(p.tr / p.slices / raster + 1e-6) * raster
    if not slot >= length - 1e-9:
        raise ProtocolError(
            f"{p.name}: tr {p.tr * 1e3:.5g} ms is too short for {p.slices} trains of {length * 1e3:.4g} ms; at least "
            f"{up(p.slices * length, 1e-3) * 1e3:.0f} ms, or at most {int(p.tr / length)} slices, is possible"
        )
    return Slots([order], slot, slot - length, nearest(p.tr - p.slices * slot, raster), 0.0, None)


def inverted_slots(p: Protocol, length: float, slot: float, lead: float, raster: float) -> Slots:
    """Slices in packages: all of a package are inverted, `slot` s apart, then read in the same order and rhythm.

    `lead`, s, is how much later in its slot the excitation is centred than the inversion.
    """
    ti = p.ti or 0.0
    most = int((ti - lead) / slot + 1e-9)  # inversions that fit before the first train
    if not most >= 1:
        raise ProtocolError(
            f"{p.name}: ti {ti * 1e3:.4g} ms is too short for a train of {slot * 1e3:.4g} ms; at least "
            f"{up(slot + lead, 1e-3) * 1e3:.0f} ms is possible"
        )
    n_packages = -(-p.slices // most)
    m = -(-p.slices // n_packages)
    wait = nearest(ti - m * slot - lead, raster)
    used = 2 * m * slot + wait
    end = nearest(p.tr / n_packages - used, raster)
    if not end >= 0:
        raise ProtocolError(
            f"{p.name}: tr {p.tr * 1e3:.5g} ms is too short for {p.slices} slices in {n_packages} packages; at least "
            f"{up(n_packages * used, 1e-3) * 1e3:.0f} ms is possible"
        )
    packages = []
    for i in range(n_packages):
        mine = np.arange(i, p.slices, n_packages)
        packages.append(np.concatenate((mine, np.full(m - len(mine), -1))))
    return Slots(packages, slot, slot - length, end, wait, m * slot + wait + lead)


def dealt(p: Protocol, at_te: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], int]:
    """(shot, echo) lines, -1 for none, and whether each is a reference, and both.

    Lines are dealt in rising order to bands of one line per shot; the band with the centre is played at te, the others
    follow round the train.
    """
    chosen = phase_lines(p)
    n, n_echoes = len(chosen), p.echo_train
    n_shots = -(-n // n_echoes)
    centre = int(np.searchsorted(chosen.index, p.matrix[1] // 2))
    empty = n_shots * n_echoes - n
    # places left empty go to the outer edges, so that the centre comes to lie in the middle of its band
    first = min(range(empty + 1), key=lambda e: abs((centre + e) % n_shots - (n_shots - 1) / 2))
    place = np.full(n_shots * n_echoes, -1)
    place[first : first + n] = np.arange(n)
    bands = place.reshape(n_echoes, n_shots)
    bands = np.roll(bands, at_te - (centre + first) // n_shots, axis=0).T
    taken = bands >= 0
    pick = np.maximum(bands, 0)
    return (
        np.where(taken, chosen.index[pick], -1),
        taken & chosen.reference[pick],
        taken & chosen.reference[pick] & chosen.regular[pick],
        n_shots,
    )


def dealt_outwards(
    chosen: Plane, shape: tuple[int, ...], strength: NDArray[np.float64], at_te: int
) -> NDArray[np.int64]:
    """(shot, echo) indices into the chosen pairs, -1 for none: the centre of k-space at te, then echoes ever less like that one.

    Rings of one pair per shot, from the centre outwards, go to echoes in the order of how much their `strength` (echo,)
    differs from that at te, equal ones to the nearest in time first: a ring much stronger than its neighbours would
    paint its own period over the image. Echoes stronger than STARTED times that at te hear nothing: the train still starts.
    Within a ring the shots follow each other by angle, so that a shot moves along a ray (Busse et al., MRM 2008, 60:640).
    """
    unlike = np.round(np.abs(strength / strength[at_te] - 1), 2)
    heard = [echo for echo in range(len(strength)) if strength[echo] <= STARTED * strength[at_te]]
    order = sorted(heard, key=lambda echo: (unlike[echo], abs(echo - at_te), -echo))
    ky, kz = ((index - n // 2) / n for index, n in zip((chosen.line, chosen.partition), shape, strict=True))
    outwards = np.lexsort((np.arctan2(kz, ky), np.round(np.hypot(ky, kz), 9)))
    n = len(outwards)
    n_shots = -(-n // len(order))
    place = np.full(n_shots * len(order), -1)
    place[:n] = outwards
    shots = np.full((n_shots, len(strength)), -1)
    for ring, echo in zip(place.reshape(len(order), n_shots), order, strict=True):
        taken = ring[ring >= 0]
        shots[: len(taken), echo] = taken[np.argsort(np.arctan2(kz[taken], ky[taken]), kind="stable")]
    return shots
