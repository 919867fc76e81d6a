"""Spirals from the centre outwards, as fast as slew, amplitude and nerves let them be; even or of variable density.

The arm k = r exp(i theta) has turns 1 / FOV(r) apart, d theta / d r = 2 pi FOV(r) / shots. At every step r speeds up as much as
the slew allows until the amplitude is reached (Hargreaves 2001, thesis, Stanford; Kim et al. 2003, MRM 50:214). How much slew that is hangs
on how fast the gradient turns: nerves feel slow swings more.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ProtocolError
from lauterbur.program import Gradient
from lauterbur.protocol.protocol import Protocol
from lauterbur.scanner.machine import SafeAxis
from lauterbur.sequence.arm import Arm
from lauterbur.sequence.limits import Limits, ramp, up
from lauterbur.units import GAMMA_BAR

OVERSAMPLING = 1.4  # of the samples along the arm where it is fastest
INNER = 0.25  # of the radius: up to there a spiral of variable density is fully sampled
NERVE_MARGIN = 0.9  # of the nerve laws, for what a turning gradient does beyond a steady sinusoid
STEPS = 10  # of the integration, per step of the gradient
FEWEST_STEPS = 10  # of the gradient, in an arm
LONGEST = 0.1  # s; no longer arm is worth playing

Float = NDArray[np.float64]


def field_of_view(radius: float, edge: float, fov: float, undersampling: float) -> tuple[float, float]:
    """m, and its slope m2: what the turns at a radius, 1/m, are dense enough for; `edge` is the largest radius."""
    inner = INNER * edge
    if undersampling == 1 or radius <= inner:
        return fov, 0.0
    slope = fov * (1 / undersampling - 1) / (edge - inner)
    return fov + slope * (radius - inner), slope


def slew_at(rate: float, limit: Limits, safe: tuple[SafeAxis, ...]) -> float:
    """Hz/m/s: the slew allowed of a gradient that turns at `rate`, rad/s.

    Each axis then swings 2 g in half a turn, which the law of nerve stimulation bounds by nerve_slope (pi / rate + nerve_time); its slew
    is rate g. The SAFE model feels a steady sinusoid of slew S as S (a1 |L1| + a2 2 / pi + a3 |L3|), its first-order low
    passes at that rate (safety/safe.py).
    """
    allowed = limit.slew
    if limit.nerve_slope < math.inf:
        allowed = min(allowed, NERVE_MARGIN * limit.nerve_slope * (math.pi + rate * limit.nerve_time) / 2)
    for axis in safe:
        low = [1 / math.hypot(1.0, rate * tau) for tau in axis.tau]
        felt = axis.a[0] * low[0] + axis.a[1] * 2 / math.pi + axis.a[2] * low[2]
        allowed = min(allowed, NERVE_MARGIN * axis.limit * GAMMA_BAR / felt)
    return allowed


def spiral_gradient(
    fov: float, edge: float, shots: int, undersampling: float, limit: Limits, safe: tuple[SafeAxis, ...] = ()
) -> Float:
    """(step, 2) Hz/m at the middles of the gradient raster, from rest to the radius `edge`, 1/m, for a field of view in m.

    The last step lies within the edge. Ends early at LONGEST.
    """
    step = limit.raster / STEPS
    r = speed = theta = 0.0
    found = []
    for i in range(round(LONGEST / step)):
        size, slope = field_of_view(r, edge, fov, undersampling)
        u, du = 2 * math.pi * size / shots, 2 * math.pi * slope / shots
        slew = slew_at(u * speed, limit, safe)
        # |k''|^2 = (r'' - r u^2 r'^2)^2 + (2 u r'^2 + r u r'' + r u' r'^2)^2 = slew^2, the larger root
        inwards, sideways = -r * u * u * speed**2, (2 * u + r * du) * speed**2
        a, b = 1 + (r * u) ** 2, inwards + r * u * sideways
        left = b * b - a * (inwards**2 + sideways**2 - slew**2)
        faster = (-b + math.sqrt(left)) / a if left > 0 else -b / a
        most = limit.amplitude / math.hypot(1.0, r * u)
        speed = min(max(speed + faster * step, 0.0), most)
        r += speed * step
        theta += u * speed * step
        if r >= edge:
            break
        if i % STEPS == STEPS // 2 - 1:  # the middle of a raster step
            u = 2 * math.pi * field_of_view(r, edge, fov, undersampling)[0] / shots
            found.append(speed * (1 + 1j * r * u) * complex(math.cos(theta), math.sin(theta)))
    played = np.array(found)
    return np.stack((played.real, played.imag), axis=1)


def spiral_arm(protocol: Protocol, limit: Limits, safe: tuple[SafeAxis, ...] = ()) -> Arm:
    """One arm, its ramp down, and its window; at most 1 / bandwidth long, or a ProtocolError says how many shots would be."""
    p = protocol
    edge = p.matrix[0] / p.fov[0] / 2

    def path(shots: int) -> Float:
        return spiral_gradient(p.fov[0], edge, shots, p.undersampling, limit, safe)

    played = path(p.shots)
    if not len(played) >= FEWEST_STEPS:
        raise ProtocolError(
            f"{p.name}: {p.shots} shots reach the edge of k-space within {len(played)} steps of the gradient; at least "
            f"{FEWEST_STEPS} make an arm: play fewer shots, or more voxels"
        )
    longest = 1 / p.bandwidth
    if not len(played) * limit.raster <= longest + 1e-9:
        more = p.shots + 1
        while len(path(more)) * limit.raster > longest and more < 4096:
            more = math.ceil(more * 1.05)
        enough = f"{more} shots" if more < 4096 else "fewer voxels"
        raise ProtocolError(
            f"{p.name}: an arm of {p.shots} shots lasts {len(played) * limit.raster * 1e3:.3g} ms, but a bandwidth of {p.bandwidth:g} "
            f"Hz per pixel allows {longest * 1e3:.3g} ms; {enough}, or {1 / (len(played) * limit.raster):.0f} Hz, is possible"
        )
    return _with_window(p, limit, played)


def _with_window(p: Protocol, limit: Limits, played: Float) -> Arm:
    fastest = float(np.max(np.hypot(*played.T)))
    dwell = math.floor(1 / (OVERSAMPLING * p.fov[0] * fastest) / limit.adc_raster + 1e-6) * limit.adc_raster
    if not dwell >= limit.min_dwell - 1e-12:
        raise ProtocolError(
            f"{p.name}: a field of view of {p.fov[0] * 1e3:.0f} mm along this spiral needs a sample every {dwell * 1e6:.2g} us; this "
            f"receiver takes one every {limit.min_dwell * 1e6:g} us; fewer shots, or a smaller field of view, are possible"
        )
    duration = len(played) * limit.raster
    n = int(duration / dwell + 1e-6)
    if not n <= limit.max_samples:
        raise ProtocolError(
            f"{p.name}: an arm of {n} samples; this receiver takes {limit.max_samples} at once: play more shots"
        )

    # down to zero on both axes together, gently enough for what is wound back next
    last = 1.5 * played[-1] - 0.5 * played[-2]
    down = up(1.3 * ramp(float(np.hypot(*last)), limit), limit.raster)
    n_down = round(down / limit.raster)
    falling = last * (1 - (np.arange(n_down) + 0.5) / n_down)[:, None]
    whole = np.concatenate((played, falling))
    start = up(limit.adc_dead + dwell / 2, limit.raster)
    steps = np.arange(len(whole), dtype=np.float64)
    time: Float = np.concatenate(([0.0], (steps + 0.5) * limit.raster, [len(whole) * limit.raster]))
    waveforms = np.concatenate((np.zeros((1, 2)), whole, np.zeros((1, 2))))
    delay = round(math.floor((start - dwell / 2) * 1e6 + 1e-6) * 1e-6, 9)
    gradient = Gradient(np.asarray(np.round(time, 9)), waveforms[:, 0], round(start, 9), "arbitrary")
    sampled = delay - start + (np.arange(n, dtype=np.float64) + 0.5) * dwell
    length = up(start + float(time[-1]), limit.block_raster)
    return Arm(
        along=gradient,
        across=replace(gradient, waveform=waveforms[:, 1]),
        n_samples=n,
        dwell=round(dwell, 10),
        delay=delay,
        length=up(max(length, delay + n * dwell + limit.adc_dead), limit.block_raster),
        center=start,
        before=0.0,
        after=tuple(float(a) for a in np.trapezoid(waveforms, time, axis=0)),  # type: ignore[arg-type]
        first_excess=0.0,
        last_excess=max(0.0, float(np.hypot(*last)) - limit.nerve_slope * down)
        if limit.nerve_slope < math.inf
        else 0.0,
        k=played_k(time, waveforms, sampled),
        fov=p.fov[0],
    )


def played_k(time: Float, waveforms: Float, at: Float) -> Float:
    """(n, 2) 1/m: the integral of straight pieces between the points (point, 2) Hz/m until each of `at`, s."""
    step = np.diff(time)[:, None]
    total = np.concatenate((np.zeros((1, 2)), np.cumsum(step * (waveforms[1:] + waveforms[:-1]) / 2, axis=0)))
    i = np.clip(np.searchsorted(time, at, side="right") - 1, 0, len(time) - 2)
    inside = np.clip(at - time[i], 0.0, None)[:, None]
    slope = (waveforms[i + 1] - waveforms[i]) / step[i]
    return np.asarray(total[i] + inside * (waveforms[i] + inside * slope / 2))
