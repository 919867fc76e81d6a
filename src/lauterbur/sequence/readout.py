"""A readout lobe and its ADC window, placed so that k = 0 falls on sample n//2 (sample i lies at (i + 0.5) dwell).

Played backwards (the negative lobe of a bipolar train) the same grid of k is met in reverse: k = 0 on sample n//2 - 1,
so that turning the samples round is all it takes.

        ______________________
       /   |  |  |  |  |  |   \\          window from `delay`, n dwell long; `center` is when k = 0
    __/    .  .  .  k0 .  .    \\__
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lauterbur.errors import ProtocolError
from lauterbur.program import Adc, Gradient
from lauterbur.protocol.protocol import Protocol
from lauterbur.sequence.limits import Limits, ramp, trapezoid, up

OVERSAMPLING = 2  # along the readout, so that what lies beyond the field of view does not fold in


@dataclass(frozen=True)
class Readout:
    gradient: Gradient  # along the readout axis, Hz/m
    amplitude: float  # Hz/m
    n_samples: int
    dwell: float  # s
    delay: float  # s, from block start to the window
    delay_reversed: float  # s, the same for the negative lobe
    length: float  # s, of the lobe; a multiple of the block raster
    center: float  # s, from block start, when k = 0
    before: float  # 1/m, area of the lobe until then
    after: float  # 1/m, area from then on
    fov: float  # m, encoded: of all samples

    @property
    def bandwidth(self) -> float:
        """Hz per pixel, as played."""
        return 1 / (self.n_samples * self.dwell)

    def adc(self, offset: float, *, is_reversed: bool = False) -> Adc:
        """The window, tuned so that the position `offset`, m along the readout, becomes the centre of the image."""
        frequency = self.amplitude * offset * (-1 if is_reversed else 1)
        zero = self.n_samples // 2 - (1 if is_reversed else 0)
        phase = -2 * math.pi * frequency * (zero + 0.5) * self.dwell
        delay = self.delay_reversed if is_reversed else self.delay
        return Adc(self.n_samples, self.dwell, delay, frequency, phase % (2 * math.pi))


def readout(protocol: Protocol, limit: Limits, *, bipolar: bool = False, length: float | None = None) -> Readout:
    """For the protocol's matrix and bandwidth; `bipolar` where negative lobes must meet the same grid.

    With a `length`, s, the lobe lasts that long and its ramps take what the samples leave; without, it is as short as it
    goes.
    """
    n, dwell = _samples(protocol, limit, bipolar)
    fov = protocol.fov[0] * n / protocol.matrix[0]
    amplitude = 1 / (fov * dwell)
    if not amplitude <= limit.amplitude:
        most = protocol.bandwidth * limit.amplitude / amplitude
        raise ProtocolError(
            f"{protocol.name}: bandwidth {protocol.bandwidth:g} Hz per pixel with voxels of "
            f"{protocol.fov[0] / protocol.matrix[0] * 1e3:.3g} mm needs a gradient of {amplitude / limit.amplitude:.2g} times what "
            f"this machine gives; at most {most:.0f} Hz per pixel is possible"
        )
    rise = ramp(amplitude, limit)
    if length is not None:
        rise = max(rise, math.floor((length - up(n * dwell, limit.raster)) / 2 / limit.raster + 1e-6) * limit.raster)
    delay = max(rise, up(limit.adc_dead, 1e-6))
    flat = up(delay - rise + n * dwell, limit.raster)
    gradient = trapezoid(amplitude, rise, flat)
    length = up(max(2 * rise + flat, delay + n * dwell + limit.adc_dead), limit.block_raster)
    slack = 2 * rise + flat - delay - n * dwell
    delay += math.floor((slack - delay) / 2 * 1e6 + 1e-6) * 1e-6  # the window in the middle of the lobe
    center = delay + (n // 2 + 0.5) * dwell
    before = amplitude * (center - rise / 2)
    return Readout(
        gradient=gradient,
        amplitude=amplitude,
        n_samples=n,
        dwell=dwell,
        delay=round(delay, 9),
        delay_reversed=round(2 * rise + flat - n * dwell - delay, 9),
        length=length,
        center=center,
        before=before,
        after=amplitude * (rise + flat) - before,
        fov=fov,
    )


def _samples(protocol: Protocol, limit: Limits, bipolar: bool) -> tuple[int, float]:
    """Samples and dwell; where the window must be mirrored it lasts whole microseconds, at the cost of a few samples."""
    matrix, wanted = protocol.matrix[0], 1 / protocol.bandwidth
    best: tuple[float, int, float] | None = None
    for n in range(OVERSAMPLING * matrix, int(2.1 * matrix) + 1 if bipolar else OVERSAMPLING * matrix + 1, 2):
        per_microsecond = max(1, round(1e-6 / limit.adc_raster))
        step = per_microsecond // math.gcd(n, per_microsecond) if bipolar else 1
        ticks = step * max(1, round(wanted / n / limit.adc_raster / step))
        dwell = round(ticks * limit.adc_raster, 10)
        error = abs(n * dwell / wanted - 1) + 1e-4 * (n / matrix - OVERSAMPLING)
        if best is None or error < best[0]:
            best = (error, n, dwell)
    if best is None or not best[2] >= limit.min_dwell - 1e-12 or not best[1] <= limit.max_samples:
        most = 1 / (OVERSAMPLING * matrix * limit.min_dwell)
        raise ProtocolError(
            f"{protocol.name}: bandwidth {protocol.bandwidth:g} Hz per pixel with {matrix} voxels along the readout and two-fold "
            f"oversampling needs {wanted / OVERSAMPLING / matrix * 1e6:.3g} us per sample; this receiver takes one every "
            f"{limit.min_dwell * 1e6:g} us or slower, so at most {most:.0f} Hz per pixel is possible"
        )
    return best[1], best[2]
