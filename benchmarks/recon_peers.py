"""BART at the prompt and SigPy in a process of its own, on the problems of recon_speed.py: seconds, memory, errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Result:
    name: str
    wall: float  # s
    cpu: float  # s
    error: float
    peak: float = 0.0  # GiB, where asked


WATCHED = """
import os, subprocess, sys, time
wall = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(time.perf_counter() - wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measured(command: Sequence[object], folder: Path | None = None) -> tuple[float, float, float]:
    """Wall and CPU seconds and peak memory in GiB of a process.

    A small process starts and watches it: the kernel counts the memory of whoever starts a process as that process's own.
    """
    watcher = [sys.executable, "-S", "-c", WATCHED, *map(str, command)]
    done = subprocess.run(watcher, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    wall, cpu, peak = map(float, done.stdout.split())
    return wall, cpu, peak


class Bart:
    """BART at the prompt, on its own files."""

    def __init__(self, path: Path, folder: Path):
        self.path, self.folder = path, folder

    def write(self, name: str, array: np.ndarray) -> None:
        """`array` with BART's axes first to last."""
        dims = [*array.shape, *[1] * (16 - array.ndim)]
        (self.folder / f"{name}.hdr").write_text("# Dimensions\n" + " ".join(map(str, dims)) + "\n")
        array.astype(np.complex64).ravel(order="F").tofile(self.folder / f"{name}.cfl")

    def read(self, name: str) -> np.ndarray:
        dims = [int(n) for n in (self.folder / f"{name}.hdr").read_text().splitlines()[1].split()]
        flat = np.fromfile(self.folder / f"{name}.cfl", np.complex64)
        return flat.reshape(dims, order="F").squeeze()

    def run(self, *words: object) -> tuple[float, float]:
        wall, cpu, _ = measured([self.path, *words], self.folder)
        return wall, cpu


SIGPY = """
import sys, time, numpy as np, sigpy as sp, sigpy.mri as mr
task, folder, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
load = lambda name: np.load(f"{folder}/{name}.npy")
k, maps = load("k"), load("maps")
kwargs = {"show_pbar": False}
if task == "espirit":
    work = lambda w: mr.app.EspiritCalib(k, calib_width=24, crop=0, **kwargs).run()
elif task == "radial":
    coord = load("points") * np.array(maps.shape[1:])
    work = lambda w: mr.app.SenseRecon(k, maps, coord=coord, max_iter=20, **kwargs).run()
else:
    iterations = 40 if task == "wavelet" else 30
    mask = load("mask")
    work = lambda w: mr.app.L1WaveletRecon(k, maps, w, weights=mask, max_iter=iterations, **kwargs).run()
weights = [float(w) for w in sys.argv[4:]] or [0.0]
if task != "volume": work(weights[0])
for i, w in enumerate(weights):
    wall, cpu = time.perf_counter(), time.process_time()
    out = work(w)
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
    np.save(f"{folder}/out{i}.npy", out)
"""


def sigpy(
    python: Path, task: str, folder: Path, judge: Callable[[np.ndarray], float], weights: tuple[float, ...]
) -> Result:
    command = [python, "-c", SIGPY, task, folder, 1, *weights]
    printed = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    times = [tuple(map(float, line.split())) for line in printed.splitlines()]
    errors = [judge(np.load(folder / f"out{i}.npy")) for i in range(len(times))]
    best = int(np.argmin(errors))
    return Result("SigPy", *times[best], errors[best])


def best_of(name: str, runs: list[tuple[tuple[float, float], float]]) -> Result:
    (wall, cpu), error = min(runs, key=lambda run: run[1])
    return Result(name, wall, cpu, error)
