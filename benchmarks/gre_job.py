"""The benchmarked job: a 3D spoiled GRE of 10,240 TR x 128 samples, a ball of up to 153,000 boxes, an array of coils."""

from __future__ import annotations

import numpy as np

import lauterbur as lb
from lauterbur.program import Adc, Gradient, Program, RfPulse

N_READ, N_PHASE, N_PARTITION = 128, 128, 80
FOV = (0.256, 0.256, 0.160)  # m
TR = 10e-3
STEP = 2e-3  # m


def _lobe(area: float, length: float = 1e-3, ramp: float = 2e-4) -> Gradient:
    top = area / (length - ramp)
    return Gradient(np.array([0, ramp, length - ramp, length]), np.array([0, top, top, 0.0]))


def program(n_tr: int = N_PHASE * N_PARTITION) -> Program:
    """RF-spoiled (117 degrees), gradient-spoiled by two cycles per 2 mm, phase encoding rewound; a hard 0.2 ms pulse."""
    dwell, ramp, flip = 20e-6, 2e-4, np.deg2rad(15)
    slope = 1 / FOV[0] / dwell
    window = N_READ * dwell
    readout = Gradient(np.array([0, ramp, ramp + window, 2 * ramp + window]), np.array([0, slope, slope, 0.0]))
    before = _lobe(-slope * (window / 2 + ramp / 2 + dwell / 2))
    spoiler = _lobe(1000.0 - slope * (window / 2 + ramp / 2 - dwell / 2))
    phase = [_lobe((i - N_PHASE // 2) / FOV[1]) for i in range(N_PHASE)]
    partition = [_lobe((i - N_PARTITION // 2) / FOV[2]) for i in range(N_PARTITION)]
    rewind = [_lobe(-(i - N_PHASE // 2) / FOV[1]) for i in range(N_PHASE)]
    unwind = [_lobe(-(i - N_PARTITION // 2) / FOV[2]) for i in range(N_PARTITION)]
    gradients = (readout, before, spoiler, *phase, *partition, *rewind, *unwind)
    y, z = 3, 3 + N_PHASE
    back_y, back_z = z + N_PARTITION, z + N_PARTITION + N_PHASE

    phases = np.deg2rad(117.0 * np.arange(n_tr) * (np.arange(n_tr) + 1) / 2 % 360)
    distinct, which = np.unique(np.round(phases, 9), return_inverse=True)
    height = flip / (2 * np.pi * 2e-4)
    rf = tuple(
        RfPulse(
            np.full(2, height, complex),
            np.array([0, 2e-4]),
            2e-4,
            1e-4,
            1e-4,
            phase_offset=p,
            use="excitation",
            is_stepped=False,
        )
        for p in distinct
    )
    adc = tuple(Adc(N_READ, dwell, ramp, phase_offset=p) for p in distinct)
    i = np.arange(n_tr)
    line, part = i % N_PHASE, i // N_PHASE
    blocks = np.full((n_tr, 5, 9), -1, np.int32)
    blocks[:, 0, 0] = which
    blocks[:, 1, 1], blocks[:, 1, 2], blocks[:, 1, 3] = 1, y + line, z + part
    blocks[:, 2, 1], blocks[:, 2, 4] = 0, which
    blocks[:, 3, 1], blocks[:, 3, 2], blocks[:, 3, 3] = 2, back_y + line, back_z + part
    lengths = np.array([4e-4, 1e-3, 2 * ramp + window, 1e-3])
    durations = np.tile([*lengths, TR - lengths.sum()], n_tr)
    labels = {
        "LIN": np.repeat(line, 5).astype(np.int32),
        "PAR": np.repeat(part, 5).astype(np.int32),
    }
    return Program(
        blocks.reshape(-1, 9), durations, rf, gradients, adc, labels=labels, definitions={"Name": "spgr", "FOV": FOV}
    )


def phantom(n_voxels: int, step: float = STEP, seed: int = 0) -> lb.Spins:
    """A ball of boxes, 100 tissues in blocks, smooth off-resonance to +-200 Hz and relative B1 0.6 to 1.3, finite T2'.

    step: m, the boxes' edge; that of the image's voxels unless another is given, which its grid then does not fit.
    """
    rng = np.random.default_rng(seed)
    side = (3 * n_voxels / (4 * np.pi)) ** (1 / 3)
    n = int(np.ceil(2 * side)) + 2
    grid = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2] * 3, indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    grid = grid[np.argsort(np.linalg.norm(grid, axis=1), kind="stable")[:n_voxels]]
    position = grid * step
    tissue = (np.floor(position / 0.012).astype(int) @ np.array([7, 31, 57])) % 100
    t1, t2 = np.exp(rng.uniform(np.log(0.3), np.log(4.3), 100)), np.exp(rng.uniform(np.log(0.02), np.log(0.4), 100))
    x, y, z = position.T
    return lb.Spins(
        position,
        rng.uniform(0.6, 1, 100)[tissue],
        t1[tissue],
        np.minimum(t2, t1)[tissue],
        rng.uniform(0.03, 0.1, 100)[tissue],
        200 * np.sin(30 * x + 20 * y) * np.cos(25 * z),
        0.95 + 0.35 * np.cos(44 * x - 30 * z),
        volume=np.full(len(x), step**3),
    )


def coils(spins: lb.Spins, n: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(n) / n
    centre = 0.14 * np.column_stack((np.cos(angle), np.sin(angle), 0.3 * np.cos(3 * angle)))
    away = np.linalg.norm(spins.position[None] - centre[:, None], axis=2)
    return (np.exp(1j * angle)[:, None] * 0.05 / (0.02 + away)).astype(np.complex64)
