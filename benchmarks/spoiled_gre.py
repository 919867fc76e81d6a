"""The twin's headline: 3D spoiled GRE, 10,240 TR x 128 samples, 150,000 voxels, 8 coils, from .seq on disk to MRD on disk.

    python benchmarks/spoiled_gre.py                  # ours: time, memory, measured error
    python benchmarks/spoiled_gre.py --grow           # growth with voxels, coils and TRs
    python benchmarks/spoiled_gre.py --peers          # blochsimulator and MRzeroCore, where installed, on a piece of the job

A peer plays the first TRs of the same file on the same voxels with one coil; its speed is quoted per voxel and sample, and
the ratio is ours to the faster. blochsimulator plays one isochromat per voxel, so its own error is not ours (PEERS).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

import lauterbur as lb
from lauterbur.program import Adc, Gradient, Program, RfPulse

N_READ, N_PHASE, N_PARTITION = 128, 128, 80
FOV = (0.256, 0.256, 0.160)  # m
TR = 10e-3


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


def phantom(n_voxels: int, seed: int = 0) -> lb.Spins:
    """A ball of boxes, 100 tissues in blocks, smooth off-resonance to +-200 Hz and relative B1 0.6 to 1.3, finite T2'."""
    rng = np.random.default_rng(seed)
    side = (3 * n_voxels / (4 * np.pi)) ** (1 / 3)
    n = int(np.ceil(2 * side)) + 2
    step = 0.14 / n
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
        0.95 + 0.35 * np.cos(22 * x - 15 * z),
        volume=np.full(len(x), step**3),
    )


def coils(spins: lb.Spins, n: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(n) / n
    centre = 0.14 * np.column_stack((np.cos(angle), np.sin(angle), 0.3 * np.cos(3 * angle)))
    away = np.linalg.norm(spins.position[None] - centre[:, None], axis=2)
    return (np.exp(1j * angle)[:, None] * 0.05 / (0.02 + away)).astype(np.complex64)


def ours(n_voxels: int, n_coils: int, n_tr: int, folder: Path, measure: bool = True) -> tuple[float, dict]:
    path = folder / "spgr.seq"
    lb.write_program(program(n_tr), path)
    spins = phantom(n_voxels)
    receive = coils(spins, n_coils)
    begin = time.perf_counter()
    raw = lb.simulate(lb.read_program(path), spins, receive)
    lb.write_raw(raw, folder / "raw.mrd")
    seconds = time.perf_counter() - begin
    report = dict(raw.header.provenance)
    if measure:
        report = dict(lb.simulate(lb.read_program(path), spins, receive, measure_error=True).header.provenance)
    return seconds, report


def peers(n_voxels: int, folder: Path, budget: float) -> dict[str, float]:
    """voxels x samples per second of each peer that is installed."""
    speeds: dict[str, float] = {}
    spins = phantom(n_voxels)
    try:
        import MRzeroCore as mr0  # type: ignore[import-not-found]
        import torch  # type: ignore[import-not-found]
    except ImportError:
        print("MRzeroCore is not installed: pip install torch==2.13.0 MRzeroCore==1.2.0")
    else:
        for n_tr in (2, 4, 8):
            path = folder / "piece.seq"
            lb.write_program(program(n_tr), path, version="1.4.1")
            sequence = mr0.Sequence.import_file(str(path))
            size = torch.tensor([0.14, 0.14, 0.14])
            data = mr0.SimData(
                *(
                    torch.as_tensor(v, dtype=torch.float32)
                    for v in (spins.proton_density, spins.t1, spins.t2, spins.t2_prime)
                ),
                torch.zeros(len(spins)),
                torch.as_tensor(spins.off_resonance, dtype=torch.float32),
                torch.as_tensor(spins.b1_plus[None], dtype=torch.complex64),
                torch.ones((1, len(spins)), dtype=torch.complex64),
                size,
                torch.as_tensor(spins.position, dtype=torch.float32),
                torch.tensor([36.0, 36.0, 36.0]),
                lambda t: torch.ones(t.shape[0]),
            )
            begin = time.perf_counter()
            graph = mr0.compute_graph(sequence, data, 200, 1e-4)
            mr0.execute_graph(graph, sequence, data, 0.01, 0.01, print_progress=False)
            seconds = time.perf_counter() - begin
            speeds["MRzeroCore 1.2.0"] = n_voxels * n_tr * N_READ / seconds
            print(
                f"MRzeroCore: {n_tr} TRs, {n_voxels} voxels in {seconds:.1f} s: {speeds['MRzeroCore 1.2.0']:.3g} voxel samples/s"
            )
            if seconds > budget / 3:
                break
    return speeds


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--voxels", type=int, default=153_000)
    ask.add_argument("--coils", type=int, default=8)
    ask.add_argument("--grow", action="store_true")
    ask.add_argument("--peers", action="store_true")
    ask.add_argument("--budget", type=float, default=300.0, help="seconds a peer may take")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours(2000, 1, 256, folder, measure=False)  # compile the kernels
        seconds, report = ours(asked.voxels, asked.coils, N_PHASE * N_PARTITION, folder)
        speed = asked.voxels * asked.coils * N_PHASE * N_PARTITION * N_READ / seconds
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"ours: {seconds:.1f} s, peak {memory:.2f} GiB, {speed:.3g} voxel samples/s; {report.get('fast')}")
        print(f"measured error: {report.get('simulation_error')}")
        if asked.grow:
            for voxels, n_coils, n_tr in (
                (20_000, 8, 10240),
                (60_000, 8, 10240),
                (153_000, 2, 10240),
                (153_000, 8, 2560),
            ):
                print(voxels, n_coils, n_tr, f"{ours(voxels, n_coils, n_tr, folder, measure=False)[0]:.1f} s")
        if asked.peers:
            for peer, other in peers(asked.voxels, folder, asked.budget).items():
                print(
                    f"{peer}: ours / theirs = {speed / other:.0f} per voxel, sample and coil ({speed / asked.coils / other:.0f} without coils)"
                )


if __name__ == "__main__":
    main()
