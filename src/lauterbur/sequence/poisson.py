"""Variable-density Poisson-disc sampling of lines and partitions (Bridson 2007 for discs; Vasanawala et al. 2011 for MRI).

Places are tried in a random order; each is taken when nothing taken lies nearer than its radius, which grows from the
centre of k-space outwards. The scale of the radii is then sought so that exactly the wanted number of places is taken.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
RISE = 2.5  # radii grow by 1 + RISE times the distance from the centre: the edge is sampled 12 times less densely
SEARCH = 40  # halvings of the scale


def poisson_disc(allowed: Bool, centre: Bool, n: int, seed: int) -> Bool:
    """(line, partition) n places of `allowed`: all of `centre`, and others no nearer to each other than their radii.

    Distances count steps of the grid (one over each field of view). Equal seeds give equal places.
    """
    n_centre = int(np.count_nonzero(centre & allowed))
    free = allowed & ~centre
    n_free = int(np.count_nonzero(free))
    if not n_centre <= n <= n_centre + n_free:
        raise ProtocolError(
            f"{n} samples, of which {n_centre} fill the centre and at most {n_free} lie outside it: undersample by at least "
            f"1 and at most {(n_centre + n_free) / max(1, n_centre):.3g}, or choose fewer reference lines"
        )
    wanted = n - n_centre
    relative = relative_radii(allowed.shape)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(free.reshape(-1))).astype(np.int64)
    lower, upper = 0.0, 2.0 * math.sqrt(max(1, n_free) / max(1, wanted))
    while _taken(order, relative * upper, len(order)).sum() >= wanted > 1:  # the first is always taken
        lower, upper = upper, 2 * upper
    for _ in range(SEARCH):  # the largest scale at which there is still room for all
        middle = (lower + upper) / 2
        if _taken(order, relative * middle, wanted).sum() >= wanted:
            lower = middle
        else:
            upper = middle
    found: Bool = _taken(order, relative * lower, wanted)
    return found | (centre & allowed)


def relative_radii(shape: tuple[int, ...]) -> Float:
    """(line, partition): radii relative to that at the centre of k-space."""
    return 1 + RISE * elliptical_radius(shape)


def elliptical_radius(shape: tuple[int, ...]) -> Float:
    """(line, partition): distance from k = 0, one where a half axis of k-space ends."""
    y, z = ((np.arange(n) - n // 2) / max(1.0, n / 2) for n in shape)
    return np.hypot(y[:, None], z[None, :])


@numba.njit(cache=True)
def _taken(order: NDArray[np.int64], radius: Float, most: int) -> Bool:
    n_y, n_z = radius.shape
    taken = np.zeros((n_y, n_z), np.bool_)
    count = 0
    for place in order:
        if count >= most:
            break
        y, z = place // n_z, place % n_z
        r = radius[y, z]
        reach = int(r)
        is_free = True
        for v in range(max(0, y - reach), min(n_y, y + reach + 1)):
            for w in range(max(0, z - reach), min(n_z, z + reach + 1)):
                if taken[v, w]:
                    limit = min(r, radius[v, w])
                    if (v - y) ** 2 + (w - z) ** 2 < limit * limit:
                        is_free = False
                        break
            if not is_free:
                break
        if is_free:
            taken[y, z] = True
            count += 1
    return taken
