"""Random programs that pass the gate, and how one of their blocks is made to play something else."""

from dataclasses import replace

import numpy as np

from lauterbur.program import Adc, Column, Gradient, Program, RfPulse
from lauterbur.safety.sar import sar_from_matrices
from lauterbur.scanner.profiles import load_scanner
from lauterbur.units import GAMMA_BAR

MACHINE = load_scanner("5T")
TX = MACHINE.transmit.channels
DRIVE = 0.05  # sqrt(W)/Hz
COOL = sar_from_matrices(
    np.eye(TX)[None] * 1e-5, whole_body=np.eye(TX) * 1e-6, head=np.eye(TX) * 1e-6, partial_body=np.eye(TX) * 1e-6
)


def ramp(amplitude, rise, flat, fall, delay=0.0):
    time = np.round(np.cumsum([0.0, rise, flat, fall]), 9)
    return Gradient(time, GAMMA_BAR * np.array([0.0, amplitude, amplitude, 0.0]), delay)


def pulse(b1, n=500, delay=1e-4, use="excitation"):
    time = (np.arange(n) + 0.5) * 1e-6
    shape = np.hanning(n + 2)[1:-1] * np.exp(1j * np.linspace(0, 1, n))
    return RfPulse(GAMMA_BAR * b1 * shape, time, n * 1e-6, delay, n * 5e-7, use=use)


def good(rng):
    """A few blocks of everything the machine has, within all limits."""
    n_g, n_blocks = 6, int(rng.integers(3, 10))
    rises = 1e-5 * rng.integers(20, 40, n_g)
    gradients = tuple(
        ramp(
            rng.uniform(-0.012, 0.012),
            r,
            1e-5 * rng.integers(1, 40),
            r + 1e-5 * rng.integers(0, 10),
            1e-5 * rng.integers(0, 9),
        )
        for r in rises
    )
    rf = (pulse(rng.uniform(1e-6, 6e-6)), pulse(rng.uniform(1e-6, 6e-6), use="refocusing"))
    adc = (Adc(64, 5e-6, 2e-5), Adc(100, 4e-6, 3e-5))
    blocks = np.full((n_blocks, len(Column)), -1, np.int32)
    kind = rng.integers(0, 3, n_blocks)  # a pulse, a window, or neither
    blocks[:, Column.RF] = np.where(kind == 0, rng.integers(0, 2, n_blocks), -1)
    blocks[:, Column.ADC] = np.where(kind == 1, rng.integers(0, 2, n_blocks), -1)
    for column in (Column.GX, Column.GY, Column.GZ):
        blocks[:, column] = np.where(rng.random(n_blocks) < 0.6, rng.integers(0, n_g, n_blocks), -1)
    angle = rng.uniform(-3, 3)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    blocks[:, Column.ROTATION] = np.where(rng.random(n_blocks) < 0.2, 0, -1)
    blocks[:, Column.SHIM] = np.where((kind == 0) & (rng.random(n_blocks) < 0.5), 0, -1)
    shims = np.exp(2j * np.pi * rng.random((1, TX)))
    durations = 1e-5 * rng.integers(500, 900, n_blocks)
    return Program(
        blocks, durations, rf, gradients, adc, turn[None], shims, reference_drive=DRIVE, definitions={"TR": (0.02,)}
    )


def at(rng, plan):
    return int(rng.integers(plan.n_blocks))


def with_gradient(rng, plan, gradient):
    """One axis of one block plays it, unturned; the block is long enough, and its neighbours leave that axis silent."""
    i, axis = at(rng, plan), int(rng.integers(3))
    blocks, durations = plan.blocks.copy(), plan.durations.copy()
    blocks[i, Column.GX + axis], blocks[i, Column.ROTATION] = len(plan.gradients), -1
    durations[i] = max(durations[i], np.ceil((gradient.delay + gradient.duration) / 1e-5 - 1e-6) * 1e-5)
    return replace(plan, blocks=blocks, durations=durations, gradients=(*plan.gradients, gradient)), "xyz"[axis]


def with_pulse(rng, plan, event, length=None):
    i = at(rng, plan)
    blocks, durations = plan.blocks.copy(), plan.durations.copy()
    blocks[i, [Column.RF, Column.ADC, Column.SHIM]] = len(plan.rf), -1, -1
    needed = np.ceil((event.delay + event.duration + 2e-5) / 1e-5) * 1e-5 if length is None else length
    durations[i] = needed if length is not None else max(durations[i], needed)
    if length is not None:
        blocks[i, Column.GX : Column.GZ + 1] = -1
    return replace(plan, blocks=blocks, durations=durations, rf=(*plan.rf, event))


def with_window(rng, plan, event, length=None):
    i = at(rng, plan)
    blocks, durations = plan.blocks.copy(), plan.durations.copy()
    blocks[i, [Column.RF, Column.ADC, Column.SHIM]] = -1, len(plan.adc), -1
    needed = np.ceil((event.delay + event.n_samples * event.dwell + 1e-5) / 1e-5) * 1e-5
    if np.isfinite(needed):
        durations[i] = max(durations[i], needed)
    if length is not None:
        durations[i] = length
        blocks[i, Column.GX : Column.GZ + 1] = -1
    return replace(plan, blocks=blocks, durations=durations, adc=(*plan.adc, event))


def with_durations(rng, plan, value):
    durations = plan.durations.copy()
    durations[at(rng, plan)] = value
    return replace(plan, durations=durations)


def with_first(rng, plan):
    """Nothing but what the block itself plays lies before or after: programs of one silent block."""
    rows = np.full((1, len(Column)), -1, np.int32)
    return replace(plan, blocks=rows, durations=np.array([6e-3]))


def keeper(rules):
    """A decorator that keeps functions under their names."""

    def keep(function):
        rules[function.__name__] = function
        return function

    return keep
