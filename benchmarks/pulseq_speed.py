"""How fast Pulseq files are written and read.

python benchmarks/pulseq_speed.py            # 10,240 TRs of RF-spoiled 3D GRE (51,200 blocks), and 100,000 blocks
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from lauterbur.formats.pulseq import read_program, write_program
from lauterbur.program import Adc, Column, Gradient, Program, RfPulse


def spoiled_gre(n_trs: int, n_partitions: int = 80) -> Program:
    """RF-spoiled 3D gradient echo, five blocks per TR, every TR with its own RF and receiver phase."""
    shape = np.sinc(np.linspace(-2, 2, 1000)) * np.hanning(1000) * 250 + 0j
    middles = (np.arange(1000) + 0.5) / 1e6
    phases = np.mod(np.deg2rad(117) * np.arange(n_trs) * (np.arange(n_trs) + 1) / 2, 2 * np.pi)
    rf = tuple(RfPulse(shape, middles, 1e-3, 100e-6, 0.5e-3, 0.0, p, use="excitation") for p in phases.tolist())
    adc = tuple(Adc(128, 10e-6, 100e-6, 0.0, p) for p in phases.tolist())

    def trapezoid(amplitude: float, rise: int, flat: int) -> Gradient:
        return Gradient(np.array([0, rise, rise + flat, 2 * rise + flat]) / 1e6, amplitude * np.array([0.0, 1, 1, 0]))

    n_lines = -(-n_trs // n_partitions)
    gradients = [trapezoid(3e5, 100, 1300), trapezoid(-4e5, 100, 400), trapezoid(6e5, 100, 800)]
    gradients += [trapezoid(a, 100, 400) for a in np.linspace(-3e5, 3e5, n_lines) + 0.1]
    gradients += [trapezoid(a, 100, 400) for a in np.linspace(-2e5, 2e5, n_partitions) + 0.1]
    line, partition = np.divmod(np.arange(n_trs), n_partitions)
    blocks = np.full((n_trs, 5, len(Column)), -1, np.int32)
    blocks[:, 0, Column.RF] = np.arange(n_trs)
    blocks[:, 1, Column.GX] = 1
    blocks[:, 1, Column.GY], blocks[:, 1, Column.GZ] = 3 + line, 3 + n_lines + partition
    blocks[:, 2, Column.GX], blocks[:, 2, Column.ADC] = 0, np.arange(n_trs)
    blocks[:, 3, Column.GX] = 2
    blocks[:, 3, Column.GY], blocks[:, 3, Column.GZ] = 2 + n_lines - line, 2 + n_lines + n_partitions - partition
    durations = np.tile(np.array([120, 60, 150, 100, 70]) / 1e5, n_trs)
    labels = {"LIN": np.repeat(line, 5).astype(np.int32), "PAR": np.repeat(partition, 5).astype(np.int32)}
    return Program(
        blocks=blocks.reshape(-1, len(Column)),
        durations=durations,
        rf=rf,
        gradients=tuple(gradients),
        adc=adc,
        labels=labels,
        definitions={"Name": "gre3d", "FOV": (0.22, 0.22, 0.08)},
    )


def main() -> None:
    for n_trs in (10_240, 20_000):
        program = spoiled_gre(n_trs)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "gre.seq"
            start = time.perf_counter()
            write_program(program, path)
            written = time.perf_counter()
            again = read_program(path)
            done = time.perf_counter()
            size = path.stat().st_size / 1e6
        same = np.array_equal(again.blocks, program.blocks)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{program.n_blocks} blocks, {size:.1f} MB: written in {written - start:.2f} s, read in {done - written:.2f} s,"
            f" peak memory {memory:.0f} MiB, {'the same table' if same else 'NOT the same table'}"
        )


if __name__ == "__main__":
    main()
