"""What the fully sampled centre of k-space says of an image before anything is unfolded, and how strong the rest of it is.

Where lines were left out everywhere but in the centre, the centre alone is an image without folds, of low resolution. Unfolding (sense.py)
need only tell apart what is left beside it, and may weigh folds against noise: how strong both are follows from the samples
(after Lin et al. 2004, MRM 51:559).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.coils import CoarseMaps
from lauterbur.recon.fft import fft, ifft, resized
from lauterbur.recon.readout import Hybrid
from lauterbur.recon.sampling import Sampling, calibration_block

LEAST_LINES = 4  # of the centre along an accelerated axis: fewer are no image
FAINTEST = 1e-3  # of a sample's noise: the rest cannot be known to be fainter
DARKEST = 0.03  # of the mean strength of the rest, where the centre shows nothing


@dataclass(frozen=True)
class LowResolution:
    """The centre of k-space of one frame, tapered, as images on the grid of its maps."""

    samples: NDArray[np.complex64]  # (place, rx, x), tapered
    section: NDArray[np.intp]  # (place,) from k = 0
    line: NDArray[np.intp]
    strength: float  # mean square of the object's pixels as the centre shows them
    rest_strength: float  # of what it does not show, over the variance of a sample's noise

    def images(
        self, start: int, stop: int, sensitivity: NDArray[np.complex64], shape: tuple[int, int]
    ) -> NDArray[np.complex64]:
        """(x, z, y) of `shape` at readout positions [start, stop), combined by their maps (x, rx, zc, yc).

        In units of the orthonormal transform of all lines.
        """
        grid = sensitivity.shape[2:]
        k_space = np.zeros((stop - start, *sensitivity.shape[1:]), np.complex64)
        at_z, at_y = self.section + grid[0] // 2, self.line + grid[1] // 2
        k_space[:, :, at_z, at_y] = self.samples[:, :, start:stop].transpose(2, 1, 0)
        power = np.sum(np.abs(sensitivity) ** 2, axis=1)
        combined = np.sum(sensitivity.conj() * ifft(k_space, (2, 3)), axis=1)
        combined /= np.sqrt(np.maximum(power, np.float32(1e-6)))
        return np.asarray(ifft(resized(resized(fft(combined, (1, 2)), shape[0], 1), shape[1], 2), (1, 2)), np.complex64)

    def rest(self, images: NDArray[np.complex64]) -> NDArray[np.float32]:
        """How strong pixels are beside these images, mean square over the variance of a sample's noise: as they themselves are shared out."""
        if not self.strength > 0:
            return np.full(images.shape, self.rest_strength, np.float32)
        share = (images.real**2 + images.imag**2) / np.float32(self.strength)
        return np.asarray(self.rest_strength * np.maximum(share, DARKEST), np.float32)


def low_resolution(
    lines: Hybrid, which: NDArray[np.intp], sampling: Sampling, maps: CoarseMaps, least_confidence: float
) -> LowResolution:
    """Of one frame or slice with white noise of 1; without any centre, all of the image is the rest."""
    window = _taper(sampling, maps.sensitivity.shape[2:])
    mine = window[lines.section[which], lines.line[which]]
    central = mine > 0
    chosen = which[central]
    pixels = sampling.mask.size * lines.n_x * float(np.mean(maps.confidence >= least_confidence))
    outer = which[sampling.lattice[lines.section[which], lines.line[which]] & ~central]
    factor = sampling.factors[0] * sampling.factors[1]  # so many lines does each of the outer ones stand for
    rest = _energy(lines, chosen, 1 - mine[central]) + factor * _energy(lines, outer, np.ones(len(outer), np.float32))
    noise = float(np.mean(1 / lines.averages[which]))
    return LowResolution(
        lines.samples[chosen] * mine[central][:, None, None],
        lines.section[chosen] - sampling.mask.shape[0] // 2,
        lines.line[chosen] - sampling.mask.shape[1] // 2,
        max(_energy(lines, chosen, mine[central]) / max(pixels, 1.0), 0.0),
        max(rest / (max(pixels, 1.0) * noise), FAINTEST),
    )


def _energy(lines: Hybrid, which: NDArray[np.intp], weight: NDArray[np.float32]) -> float:
    """Of weighted lines, without what white noise of 1 adds."""
    some = lines.samples[which]
    energy = np.einsum("prx,prx->p", some.real, some.real) + np.einsum("prx,prx->p", some.imag, some.imag)
    return float(np.sum(weight**2 * (energy - some[0].size / lines.averages[which]))) if len(which) else 0.0


def _taper(sampling: Sampling, grid: tuple[int, ...]) -> NDArray[np.float32]:
    """(partition, phase) 1 at k = 0, 0 outside the centre, which is no wider than half of the maps' grid: products with maps stay on it."""
    window = np.zeros(sampling.mask.shape, np.float32)
    found = []
    for block, n, m in zip(calibration_block(sampling.mask), sampling.mask.shape, grid, strict=True):
        found.append(slice(max(block.start, n // 2 - m // 4), min(block.stop, n // 2 + (m + 3) // 4)))
    lengths = [max(block.stop - block.start, 0) for block in found]
    if all(length >= LEAST_LINES or f == 1 for length, f in zip(lengths, sampling.factors[::-1], strict=True)):
        window[found[0], found[1]] = np.outer(np.hanning(lengths[0] + 2)[1:-1], np.hanning(lengths[1] + 2)[1:-1])
    return window
