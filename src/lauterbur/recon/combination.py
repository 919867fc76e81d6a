"""From lines in k-space to one complex volume: slabs of x, each transformed, unfolded and combined on its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.coils import CoarseMaps, planes_at
from lauterbur.recon.fft import fft, ifft, resized
from lauterbur.recon.irregular import on_grid, solved
from lauterbur.recon.layout import Layout
from lauterbur.recon.low_resolution import low_resolution
from lauterbur.recon.readout import SLAB, WORKERS, Hybrid
from lauterbur.recon.sampling import Sampling
from lauterbur.recon.sense import unfolded

COARSE = 96  # points of the sensitivity maps along each axis of a plane, at most
LEAST_CONFIDENCE = 0.5  # ESPIRiT eigenvalue below which an aliased pixel counts as empty


def grid_for(layout: Layout, n_x: int) -> tuple[int, int, int]:
    """Points of the coarse maps along partition, phase, readout."""
    n_z = layout.n_partitions
    most = COARSE if n_z == 1 else COARSE // 3  # along the readout of a volume every point is a plane to solve
    return (
        1 if n_z == 1 else min(COARSE, max(n_z, 12)),
        min(COARSE, max(layout.phase.n, 12)),
        min(most, max(n_x, 12)),
    )


def combine_(
    lines: Hybrid,
    which: NDArray[np.intp],
    layout: Layout,
    sampling: Sampling,
    maps: CoarseMaps,
    volume: NDArray[np.complex64],
    g_factor: NDArray[np.float32] | None,
    *,
    is_white: bool = False,
) -> None:
    """Fills volume (z, y, x) on the encoded grid from the lines of one frame (3D) or slice (2D).

    `is_white`: the noise of every readout is known, and 1; what is unfolded is weighed against it.
    """
    if not sampling.is_regular:
        return _combine_irregular_(lines, which, layout, sampling, maps, volume, is_white)
    r_y, r_z = sampling.factors
    n_z, n_y = layout.n_partitions, layout.phase.n
    even_z, even_y = -(-n_z // r_z) * r_z, -(-n_y // r_y) * r_y  # a grid that the factors divide
    on_lattice = sampling.lattice[lines.section[which], lines.line[which]]
    chosen = which[on_lattice]
    section = lines.section[chosen] + even_z // 2 - n_z // 2
    line = lines.line[chosen] + even_y // 2 - n_y // 2
    offsets = (
        (sampling.offsets[0] + even_y // 2 - n_y // 2) % r_y,
        (sampling.offsets[1] + even_z // 2 - n_z // 2) % r_z,
    )
    n_rx, n_x = lines.samples.shape[1:]
    width = max(1, int(SLAB // (n_rx * even_z * even_y * 8)))
    low = low_resolution(lines, which, sampling, maps, LEAST_CONFIDENCE) if is_white and r_y * r_z > 1 else None

    def work(start: int) -> None:
        stop = min(start + width, n_x)
        k_space = np.zeros((stop - start, n_rx, even_z, even_y), np.complex64)
        k_space[:, :, section, line] = lines.samples[chosen, :, start:stop].transpose(2, 1, 0)
        position = (np.arange(start, stop) - n_x // 2) / n_x
        sensitivity, confidence = planes_at(maps, position)
        known = None if low is None else low.images(start, stop, sensitivity, (even_z, even_y))
        image, g = unfolded(
            ifft(k_space, (2, 3)),
            sensitivity,
            confidence,
            (r_y, r_z),
            offsets,
            least_confidence=LEAST_CONFIDENCE if r_y * r_z > 1 else 0.0,
            known=known,
            rest=None if low is None or known is None else low.rest(known),
        )
        if (even_z, even_y) != (n_z, n_y):
            image = ifft(resized(resized(fft(image, (1, 2)), n_z, 1), n_y, 2), (1, 2))
            rows, columns = np.arange(n_z) * even_z // n_z, np.arange(n_y) * even_y // n_y
            g = g[:, rows][:, :, columns]
        volume[:, :, start:stop] = image.transpose(1, 2, 0)
        if g_factor is not None:
            g_factor[:, :, start:stop] = g.transpose(1, 2, 0)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(0, n_x, width)))


def _combine_irregular_(
    lines: Hybrid,
    which: NDArray[np.intp],
    layout: Layout,
    sampling: Sampling,
    maps: CoarseMaps,
    volume: NDArray[np.complex64],
    is_white: bool,
) -> None:
    n_z, n_y = layout.n_partitions, layout.phase.n
    n_rx, n_x = lines.samples.shape[1:]
    width = max(1, int(SLAB // (4 * n_rx * n_z * n_y * 8)))  # maps, lines and two transforms beside each other
    noise = n_rx * float(np.sum(1 / lines.averages[which])) if is_white else 0.0

    def work(start: int) -> None:
        stop = min(start + width, n_x)
        k_space = np.zeros((stop - start, n_rx, n_z, n_y), np.complex64)
        k_space[:, :, lines.section[which], lines.line[which]] = lines.samples[which, :, start:stop].transpose(2, 1, 0)
        sensitivity, confidence = planes_at(maps, (np.arange(start, stop) - n_x // 2) / n_x)
        whole = on_grid(sensitivity, confidence, (n_z, n_y), LEAST_CONFIDENCE)
        volume[:, :, start:stop] = solved(k_space, sampling.mask, whole, noise=noise).transpose(1, 2, 0)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(0, n_x, width)))
