"""SAR on a torso: time of 10 g averaging, and virtual observation points beside the plain greedy. On a quiet machine:

    python benchmarks/vop.py                       # stand-in fields of eight loops, 5 mm (loop_fields.py)
    python benchmarks/vop.py --step 0.008 --arms

Underestimation is looked for in 100,000 random drives and by climbing from 200 of them.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from loop_fields import loop_fields

from lauterbur.safety.averaging import cube_means
from lauterbur.safety.cubes import averaging_cubes
from lauterbur.safety.heating import absorbed
from lauterbur.safety.matrices import packed, unpacked
from lauterbur.safety.vop import compress, greedy, largest_eigenvalue


class Clock:
    def __init__(self, what: str):
        self.what = what

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        print(f"{self.what:48s} {wall:7.2f} s wall {cpu:7.2f} s CPU", flush=True)


def drives(n: int, tx: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n, tx)) + 1j * rng.normal(size=(n, tx))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def forms(drive: np.ndarray) -> np.ndarray:
    """(drive, tx^2) float32: its product with packed matrices is the SAR."""
    i, j = np.triu_indices(drive.shape[1], 1)
    product = 2 * drive[:, i].conj() * drive[:, j]
    return np.concatenate((np.abs(drive) ** 2, product.real, -product.imag), axis=1).astype(np.float32)


def underestimation(local: np.ndarray, points: np.ndarray, n: int, climbers: int) -> tuple[int, float, float]:
    """How many of n random drives heat more than the points say; the largest margin there, and after climbing (W/kg/W)."""
    tx = round(local.shape[1] ** 0.5)
    count, worst = 0, -np.inf
    for seed in range(0, n, 500):
        w = forms(drives(min(500, n - seed), tx, seed))
        over = (w @ local.T).max(axis=1) - (w @ points.T.astype(np.float32)).max(axis=1)
        count, worst = count + int((over > 0).sum()), max(worst, float(over.max()))
    drive = drives(climbers, tx, 10**6)
    step, climbed = 0.5 / largest_eigenvalue(local), -np.inf
    for _ in range(80):
        w = forms(drive)
        true, bound = w @ local.T, w @ points.T.astype(np.float32)
        climbed = max(climbed, float((true.max(axis=1) - bound.max(axis=1)).max()))
        slope = unpacked(local[true.argmax(axis=1)]) - unpacked(points[bound.argmax(axis=1)])
        drive = drive + step * np.einsum("dce,de->dc", slope, drive)
        drive /= np.linalg.norm(drive, axis=1, keepdims=True)
    return count, worst, climbed


def with_allowance(chosen: np.ndarray, z: float) -> np.ndarray:
    return packed(unpacked(chosen) + z * np.eye(round(chosen.shape[1] ** 0.5)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=float, default=5e-3, help="m")
    parser.add_argument("--arms", action="store_true")
    parser.add_argument("--drives", type=int, default=100_000)
    options = parser.parse_args()

    small = loop_fields(12e-3, arms=False)  # kernels are compiled here
    tissue, power = absorbed(small)
    warm = cube_means(averaging_cubes(small.density, tissue.spacing, 10e-3), power, tissue.row)
    compress(warm[::50], overestimation=0.1)
    greedy(warm[::50], 0.1 * largest_eigenvalue(warm))

    fields = loop_fields(options.step, arms=options.arms)
    with Clock("power matrices"):
        tissue, power = absorbed(fields)
    with Clock(f"cubes of {len(tissue.voxel)} voxels"):
        cubes = averaging_cubes(fields.density, tissue.spacing, 10e-3)
    with Clock(f"10 g matrices of {len(cubes.side)} cubes"):
        local = cube_means(cubes, power, tissue.row)

    trace = local[:, : len(fields.e)].sum(axis=1)
    some = np.random.default_rng(1).choice(np.flatnonzero(trace > 0.1 * trace.max()), 1800, replace=False)
    part = local[np.sort(some)]
    with Clock("plain greedy, 1800 matrices, 10 %"):
        plain = greedy(part, 0.1 * largest_eigenvalue(part))
    with Clock("ours, 1800 matrices, 10 %"):
        chosen, z = compress(part, overestimation=0.1)
    print(f"plain greedy {len(plain)} points, ours {len(chosen)}: {1 - len(chosen) / len(plain):.0%} fewer")
    print("underestimations, margins:", underestimation(part, with_allowance(part[chosen], z), options.drives, 200))

    with Clock(f"ours, all {len(local)} matrices, 10 %"):
        chosen, z = compress(local, overestimation=0.1)
    hot = local[trace > z]
    print(f"{len(chosen)} points of {len(local)} matrices ({len(hot)} of them above z)")
    found = underestimation(
        hot[:: max(1, len(hot) // 30_000)], with_allowance(local[chosen], z), options.drives // 10, 50
    )
    print("underestimations (of every tenth drive, of 30,000 matrices), margins:", found)


if __name__ == "__main__":
    main()
