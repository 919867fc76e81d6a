"""SENSE for lines left out in no regular pattern: variable density, Poisson discs, missing lines.

Least squares over the whole plane by conjugate gradients (Pruessmann et al. 2001, MRM 46:638), every position along the
readout on its own, with the reference lines among the data. Noise must be white. Stopping is the regularisation: where the
noise is known, as soon as no more than the noise is left (Morozov 1966), else after few steps. There is no g-factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.fft import fft, ifft

ITERATIONS = 8  # more fits noise and the errors of the maps: on a head, a fourth of the lines, no noise, 8 is best
TOLERANCE = 1e-3  # of the residual against that of the empty image
RIDGE = 1e-4  # of the unit weight of a fully measured pixel: bounds what was hardly measured


def on_grid(
    sensitivity: NDArray[np.complex64], confidence: NDArray[np.float32], shape: tuple[int, int], least: float
) -> NDArray[np.complex64]:
    """Coarse periodic maps (x, rx, zc, yc) on the whole grid (x, rx, z, y): unit norm, zero where less sure than `least`."""
    values, sure = sensitivity, confidence
    for axis, n in ((-2, shape[0]), (-1, shape[1])):
        coarse = values.shape[axis]
        at = (np.arange(n) - n // 2) / n * coarse + coarse // 2
        low = np.floor(at).astype(int)
        weight = (at - low).astype(np.float32).reshape(-1, 1) if axis == -2 else (at - low).astype(np.float32)
        values, sure = (
            np.take(v, low % coarse, axis) * (1 - weight) + np.take(v, (low + 1) % coarse, axis) * weight
            for v in (values, sure)
        )
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    inside = (sure >= least)[:, None]
    return np.where(inside, values / np.maximum(norm, np.float32(1e-6)), 0).astype(np.complex64)


def solved(
    k_space: NDArray[np.complexfloating[Any, Any]],
    mask: NDArray[np.bool_],
    sensitivity: NDArray[np.complex64],
    *,
    noise: float = 0.0,
    iterations: int = ITERATIONS,
) -> NDArray[np.complex64]:
    """Images (x, z, y) from k-space (x, rx, z, y) known where mask (z, y); maps (x, rx, z, y) are zero outside the object.

    `noise`: energy of the noise in the samples of one x, if known: what is left below it is not fitted.
    """
    measured = mask.astype(np.complex64)

    def seen(image: NDArray[Any]) -> NDArray[Any]:
        return fft(sensitivity * image[:, None], (2, 3)) * measured

    def energy(values: NDArray[Any]) -> NDArray[Any]:
        return np.sum(np.abs(values.reshape(len(values), -1)) ** 2, axis=1)[:, None, None]

    def combined(lines: NDArray[Any]) -> NDArray[Any]:
        return np.sum(sensitivity.conj() * ifft(lines, (2, 3)), axis=1)

    left = k_space * measured  # CGLS: the residual lives among the samples
    gradient = combined(left)
    image = np.zeros_like(gradient)
    direction, slope = gradient, energy(gradient)
    enough = TOLERANCE**2 * slope
    for _ in range(iterations):
        is_active = (slope > enough) & (energy(left) > noise)  # each x ends by itself, whatever its neighbours do
        if not is_active.any():
            break
        lines = seen(direction)
        curvature = energy(lines) + RIDGE * energy(direction)
        step = np.where(is_active, slope / np.maximum(curvature, np.finfo(np.float32).tiny), 0).astype(np.float32)
        image = image + step * direction
        left = left - step[:, None] * lines
        gradient = combined(left) - np.float32(RIDGE) * image
        before, slope = slope, energy(gradient)
        direction = gradient + slope / np.maximum(before, np.finfo(np.float32).tiny) * direction
    return image.astype(np.complex64)
