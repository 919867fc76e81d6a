"""Signals of an independent simulator (JEMRIS, of KomaMRI.jl's accuracy comparison; data/README.md): point spins on a
1 mm lattice, column along x and row along y, the off-resonance of the file in rad/s in our sense, nothing conjugated."""

from __future__ import annotations

from importlib import import_module

import h5py
import numpy as np
import pytest

from lauterbur.acquisition.trajectory import sample_times, trajectory
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.program import Column, adc_blocks, block_starts


def phantom(path) -> Spins:
    with h5py.File(path) as file:
        m0, rate1, rate2, _, offset = np.moveaxis(file["sample/data"][:].astype(float), -1, 0)
    row, column = np.nonzero(m0)
    x, y = (column - (m0.shape[1] - 1) / 2) * 1e-3, (row - (m0.shape[0] - 1) / 2) * 1e-3
    inside = (row, column)
    with np.errstate(divide="ignore"):
        t1, t2 = 1e-3 / rate1[inside], 1e-3 / rate2[inside]
    return Spins(np.column_stack([x, y, 0 * x]), m0[inside], t1, t2, off_resonance=offset[inside] / (2 * np.pi))


def exact_sum(program, spins: Spins) -> np.ndarray:
    """Every point's phase and decay since the middle of the one pulse."""
    k = trajectory(program).k.reshape(-1, 3).astype(float)
    starts = block_starts(program)
    pulse = program.rf[0]
    blocks = adc_blocks(program)
    time = np.concatenate([starts[b] + sample_times(program.adc[program.blocks[b, Column.ADC]]) for b in blocks])
    time = time - pulse.delay - pulse.center
    total = np.zeros(len(time), complex)
    for place, weight, t2, f in zip(spins.position, spins.weight, spins.t2, spins.off_resonance, strict=True):
        total += weight * np.exp(-2j * np.pi * (k @ place + f * time) - time / t2)
    return total


def difference(signal: np.ndarray, other: np.ndarray) -> float:
    """NRMSE after one complex scale."""
    scale = np.vdot(signal, other) / np.vdot(signal, signal)
    return float(np.linalg.norm(scale * signal - other) / np.linalg.norm(other))


@pytest.mark.parametrize(
    ("name", "spins", "limit"),
    [("a.column1d", "column1d", 0.012), ("b.spheresCS", "sphere_chemical_shift", 0.008)],
)
def test_an_independent_simulator_agrees(engine, data, name, spins, limit):
    pulseq = import_module("lauterbur.formats.pulseq")
    sequence = "5.koma_paper__comparison_accuracy__sequences__EPI__epi_100x100_TE100_FOV230.seq"
    program = pulseq.read_program(data / "sequences" / "komamri" / sequence)
    points = phantom(data / "signals" / f"2.phantoms__{spins}.h5")
    with h5py.File(data / "signals" / f"{name}__signals.h5") as file:
        theirs = file["signal/channels/00"][:, 0] + 1j * file["signal/channels/00"][:, 1]
    ours = engine(program, points)[:, 0].ravel()
    assert difference(ours, theirs) <= limit
    assert difference(ours, exact_sum(program, points)) <= 1e-3
