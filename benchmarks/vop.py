"""SAR on a torso: time of 10 g averaging, and virtual observation points beside the plain greedy. On a quiet machine:

    python benchmarks/vop.py                       # stand-in fields of eight loops, 5 mm (loop_fields.py)
    python benchmarks/vop.py --step 0.008 --arms
    python benchmarks/vop.py --fields torso.h5     # fields by Maxwell, of lauterbur fields

Underestimation is looked for in 100,000 random drives and by climbing from 200 of them.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from loop_fields import loop_fields

from lauterbur.fields.files import read_fields
from lauterbur.fields.maps import FieldMaps
from lauterbur.safety.averaging import LIMB, cube_means, cube_parts
from lauterbur.safety.cubes import averaging_cubes
from lauterbur.safety.heating import absorbed
from lauterbur.safety.matrices import packed, unpacked
from lauterbur.safety.vop import compress, greedy, largest_eigenvalue
from lauterbur.study.clock import peak_memory


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
    parts = np.array_split(local, max(1, len(local) // 20_000))
    largest = np.concatenate([np.linalg.eigvalsh(unpacked(part))[:, -1] for part in parts])
    local, largest = local[np.argsort(-largest)], np.sort(largest)[::-1]
    drive = drives(n, tx, 0)
    bound = np.concatenate(
        [(forms(some) @ points.T.astype(np.float32)).max(axis=1) for some in np.array_split(drive, 50)]
    )
    drive, bound = drive[np.argsort(bound)], np.sort(bound)
    count, worst = 0, -np.inf
    for start in range(0, n, 250):
        # no matrix heats more than its largest eigenvalue: those that cannot come above the bound, or nearer to it, are left out
        some = slice(start, start + 250)
        able = int(np.searchsorted(-largest, -(bound[start] + min(worst, 0.0))))
        if able == 0:
            break
        over = (forms(drive[some]) @ local[:able].T).max(axis=1) - bound[some]
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


def warm_up() -> None:
    """Kernels are compiled here."""
    small = loop_fields(12e-3, arms=False)
    tissue, power = absorbed(small)
    warm = cube_means(averaging_cubes(small.density, tissue.spacing, 10e-3), power, tissue.row)
    compress(warm[::50], overestimation=0.1)
    greedy(warm[::50], 0.1 * largest_eigenvalue(warm))


def matrices_of(fields: FieldMaps) -> tuple[np.ndarray, np.ndarray]:
    """The 10 g matrices, packed, and the part of the body that each belongs to."""
    with Clock("power matrices"):
        tissue, power = absorbed(fields)
    with Clock(f"cubes of {len(tissue.voxel)} voxels"):
        cubes = averaging_cubes(fields.density * (tissue.row >= 0), tissue.spacing, 10e-3)
    with Clock(f"10 g matrices of {len(cubes.side)} cubes"):
        local = cube_means(cubes, power, tissue.row)
        part = np.zeros(tissue.row.shape, np.uint8) if fields.part is None else fields.part
        of_cube = cube_parts(cubes, part, tissue.row >= 0)
    return local, of_cube


def compressed(what: str, local: np.ndarray, n_drives: int, climbers: int, every: int) -> None:
    """Compression at 10 %, and the search for drives that heat more than its points say."""
    with Clock(f"ours, {what}, 10 %"):
        chosen, z = compress(local, overestimation=0.1)
    hot = local[local[:, : round(local.shape[1] ** 0.5)].sum(axis=1) > z]  # the rest cannot exceed z
    print(f"{what}: {len(chosen)} points of {len(local)} matrices ({len(hot)} of them above z = {z:.3g} W/kg per W)")
    count, worst, climbed = underestimation(hot[::every], with_allowance(local[chosen], z), n_drives, climbers)
    print(
        f"{what}: {count} underestimations in {n_drives} random drives of {len(hot[::every])} matrices; largest SAR less "
        f"bound {worst:.3g}, after climbing from {climbers} of them {climbed:.3g} W/kg per W",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", help="solved fields of lauterbur fields, in place of the stand-in")
    parser.add_argument("--step", type=float, default=5e-3, help="m, of the stand-in")
    parser.add_argument("--arms", action="store_true", help="in the stand-in")
    parser.add_argument("--drives", type=int, default=100_000)
    options = parser.parse_args()
    warm_up()

    fields = read_fields(options.fields) if options.fields else loop_fields(options.step, arms=options.arms)
    local, part = matrices_of(fields)
    del fields
    if options.fields:  # each part has its own limit, and so its own points
        for what, held in (("head and trunk", part != LIMB), ("limbs", part == LIMB)):
            if held.any():
                compressed(what, local[held], options.drives, 200, 1)
    else:
        trace = local[:, : round(local.shape[1] ** 0.5)].sum(axis=1)
        some = np.random.default_rng(1).choice(np.flatnonzero(trace > 0.1 * trace.max()), 1800, replace=False)
        few = local[np.sort(some)]
        with Clock("plain greedy, 1800 matrices, 10 %"):
            plain = greedy(few, 0.1 * largest_eigenvalue(few))
        print(f"plain greedy: {len(plain)} points")
        compressed("1800 matrices", few, options.drives, 200, 1)
        compressed("all matrices", local, options.drives // 10, 50, 10)
    print(f"peak memory {peak_memory() / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
