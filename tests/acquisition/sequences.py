"""Small imaging programs, written out block by block."""

from __future__ import annotations

import numpy as np

from lauterbur.program import Adc, Gradient, Program, RfPulse

NONE = [-1] * 4


def lobe(area: float, length: float = 1e-3, ramp: float = 1e-4) -> Gradient:
    top = area / (length - ramp)
    return Gradient(np.array([0, ramp, length - ramp, length]), np.array([0, top, top, 0.0]))


def hard(flip: float, phase: float = 0.0, use: str = "excitation", length: float = 2e-4) -> RfPulse:
    height = flip / (2 * np.pi * length)
    return RfPulse(
        np.full(2, height, complex),
        np.array([0, length]),
        length,
        0.0,
        length / 2,
        phase_offset=phase,
        use=use,
        is_stepped=False,
    )


def window(n: int, fov: float, dwell: float) -> tuple[Gradient, Gradient]:
    """A readout gradient and the lobe before it."""
    slope = 1 / fov / dwell
    readout = Gradient(np.array([0, 1e-4, 1e-4 + n * dwell, 2e-4 + n * dwell]), np.array([0, slope, slope, 0.0]))
    return readout, lobe(-slope * (n * dwell / 2 + 0.5e-4))


def spoiled(n: int = 24, inversion: bool = False) -> Program:
    fov, dwell, tr = 0.2, 2e-5, 10e-3
    readout, before = window(n, fov, dwell)
    phases = np.deg2rad(117.0 * np.arange(n) * (np.arange(n) + 1) / 2 % 360)
    rf = [hard(np.deg2rad(15), p) for p in phases] + [hard(np.pi, use="inversion")]
    adc = [Adc(n, dwell, 1e-4, phase_offset=p) for p in phases]
    gradients = [readout, before, lobe(300.0)]
    gradients += [lobe(sign * (i - n // 2) / fov) for sign in (1, -1) for i in range(n)]
    blocks, durations = [], []
    if inversion:
        blocks += [[n, -1, -1, -1, -1, *NONE], [-1, 2, 2, -1, -1, *NONE], [-1] * 9]
        durations += [2e-4, 1e-3, 0.4]
    for i in range(n):
        blocks += [[i, -1, -1, -1, -1, *NONE], [-1, 1, 3 + i, -1, -1, *NONE], [-1, 0, -1, -1, i, *NONE]]
        blocks += [[-1, 2, 3 + n + i, -1, -1, *NONE], [-1] * 9]
        durations += [2e-4, 1e-3, 2e-4 + n * dwell, 1e-3]
        durations.append(tr - sum(durations[-4:]))
    return Program(np.array(blocks, np.int32), np.array(durations), tuple(rf), tuple(gradients), tuple(adc))


def balanced(n: int = 24, dummies: int = 12) -> Program:
    fov, dwell, tr = 0.2, 1e-5, 4e-3
    readout, before = window(n, fov, dwell)
    flip = np.deg2rad(40)
    rf = (hard(flip), hard(flip, np.pi), hard(flip / 2, np.pi))
    gradients = [readout, before, *[lobe(sign * (i - n // 2) / fov) for sign in (1, -1) for i in range(n)]]
    adc = (Adc(n, dwell, 1e-4), Adc(n, dwell, 1e-4, phase_offset=np.pi))
    blocks, durations = [[2, -1, -1, -1, -1, *NONE]], [tr / 2]
    gap = (tr - 2e-4 - 2e-3 - 2e-4 - n * dwell) / 2
    for i in range(-dummies, n):
        j, odd = max(i, 0), (i + dummies) % 2
        blocks += [[odd, -1, -1, -1, -1, *NONE], [-1, 1, 2 + j, -1, -1, *NONE], [-1] * 9]
        blocks += [[-1, 0, -1, -1, odd if i >= 0 else -1, *NONE], [-1] * 9, [-1, 1, 2 + n + j, -1, -1, *NONE]]
        durations += [2e-4, 1e-3, gap, 2e-4 + n * dwell, gap, 1e-3]
    return Program(np.array(blocks, np.int32), np.array(durations), rf, tuple(gradients), adc)


def sinc(flip: float, phase: float, use: str, delay: float) -> RfPulse:
    t = (np.arange(300) + 0.5) * 1e-5
    shape = np.sinc((t - 1.5e-3) * 4 / 3e-3) * (0.54 + 0.46 * np.cos(2 * np.pi * (t - 1.5e-3) / 3e-3))
    shape *= flip / (2 * np.pi * shape.sum() * 1e-5)
    return RfPulse(shape.astype(complex), t, 3e-3, delay, 1.5e-3, phase_offset=phase, use=use)


def spin_echoes(n: int = 16, echoes: int = 8, spacing: float = 12e-3) -> Program:
    """A turbo spin echo of one 5 mm slice, refocused by 150 degrees."""
    fov, dwell = 0.2, 2e-5
    readout, _ = window(n, fov, dwell)
    select = 4 / 3e-3 / 5e-3
    excite = Gradient(np.array([0, 1e-4, 3.1e-3, 3.2e-3]), np.array([0, 1, 1, 0.0]) * select)
    crush = 800.0 / 0.95e-3
    corners = np.array([0, 1e-4, 1e-3, 1.1e-3, 4.1e-3, 4.2e-3, 5.1e-3, 5.2e-3])
    refocus = Gradient(corners, np.array([0, crush, crush, select, select, crush, crush, 0.0]))
    half = 1 / fov / dwell * (n * dwell / 2 + 0.5e-4)
    gradients = [excite, refocus, lobe(-select * 1.55e-3), readout, lobe(half)]
    gradients += [lobe(sign * (i - n // 2) / fov) for sign in (1, -1) for i in range(n)]
    rf = (sinc(np.pi / 2, 0.0, "excitation", 1e-4), sinc(np.deg2rad(150), np.pi / 2, "refocusing", 1.1e-3))
    blocks, durations = [], []
    gap = spacing / 2 - 2.6e-3 - 1e-3 - 1e-4 - n * dwell / 2
    for shot in range(n // echoes):
        blocks += [[0, -1, -1, 0, -1, *NONE], [-1, 4, -1, 2, -1, *NONE], [-1] * 9]
        durations += [3.2e-3, 1e-3, spacing / 2 - 1.6e-3 - 1e-3 - 2.6e-3]
        for echo in range(echoes):
            line = echo * (n // echoes) + shot
            blocks += [
                [1, -1, -1, 1, -1, *NONE],
                [-1, -1, 5 + line, -1, -1, *NONE],
                [-1] * 9,
                [-1, 3, -1, -1, 0, *NONE],
            ]
            blocks += [[-1] * 9, [-1, -1, 5 + n + line, -1, -1, *NONE]]
            durations += [5.2e-3, 1e-3, gap, 2e-4 + n * dwell, gap, 1e-3]
        blocks.append([-1] * 9)
        durations.append(0.3)
    return Program(np.array(blocks, np.int32), np.array(durations), rf, tuple(gradients), (Adc(n, dwell, 1e-4),))


def echo_planar(n: int = 24, shots: int = 2) -> Program:
    """A single-shot echo-planar image of one 5 mm slice, played twice, with three lines ahead that tell its phases."""
    fov, dwell = 0.2, 1e-5
    select = 4 / 3e-3 / 5e-3
    excite = Gradient(np.array([0, 1e-4, 3.1e-3, 3.2e-3]), np.array([0, 1, 1, 0.0]) * select)
    slope = 1 / fov / dwell
    line = np.array([0, 1e-4, 1e-4 + n * dwell, 2e-4 + n * dwell])
    forth, back = (Gradient(line, sign * np.array([0, slope, slope, 0.0])) for sign in (1, -1))
    before = lobe(-slope * (n * dwell / 2 + 0.5e-4))
    blip = Gradient(np.array([0, 5e-5, 1e-4]), np.array([0, 1 / fov / 5e-5, 0.0]))
    gradients = (excite, lobe(-select * 1.55e-3), forth, back, before, blip, lobe(-n / 2 / fov))
    blocks, durations = [], []
    for _ in range(shots):
        blocks += [[0, -1, -1, 0, -1, *NONE], [-1, 4, -1, 1, -1, *NONE]]
        durations += [3.2e-3, 1e-3]
        for i in range(n + 3):
            blocks.append([-1, 2 + i % 2, -1, -1, 0, *NONE])
            durations.append(2e-4 + n * dwell)
            if i == 2:
                blocks.append([-1, -1, 6, -1, -1, *NONE])
                durations.append(1e-3)
            elif i > 2:
                blocks.append([-1, -1, 5, -1, -1, *NONE])
                durations.append(1e-4)
        blocks.append([-1] * 9)
        durations.append(0.5)
    rf = (sinc(np.deg2rad(80), 0.0, "excitation", 1e-4),)
    return Program(np.array(blocks, np.int32), np.array(durations), rf, gradients, (Adc(n, dwell, 1e-4),))
