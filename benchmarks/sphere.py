"""Maxwell against exact series: a sphere of 10 cm, eps 60, 0.75 S/m, at 210.8 MHz, in a plane wave and beside a loop.

    python benchmarks/sphere.py                        # 10 to 2.5 mm: errors in the core, absorbed power, iterations, time
    python benchmarks/sphere.py --steps 10 5 --out convergence.png
    python benchmarks/sphere.py --layered --out layers.png   # instead: two layers, against the multilayer series

Errors are root mean squares relative to the field, in the core within 0.85 of the radius, of E and of B. The loop of 5 cm
radius lies 2 cm over the sphere's pole. Aims at 2.5 mm: 3 % (plane wave), 2 % (loop), absorbed power within 0.7 %.

The layered sphere is eps 70, 1.5 S/m within 6 cm and eps 20, 0.3 S/m around it; its errors are those in the core within 5 cm. Beside
them: what is left of the error when one complex factor is taken out, and the errors of a sphere of the exact series whose borders
are where the stairs put them (radii of the same volume as the voxels).
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fields"))

import mie
from spheres import RADIUS, C, core, error, permittivity, plane_wave, round_loop, sphere, wavenumber

from lauterbur.fields.incident import incident_fields
from lauterbur.fields.integral import solve

ABSORPTION = 0.5709991527  # Q_abs, exact
LOOP, HEIGHT = 0.05, 0.12  # m


def measured(step: float) -> dict[str, float]:
    medium, k = sphere(step), wavenumber()
    mask, points = core(medium, 0.85 * RADIUS)
    row: dict[str, float] = {"step": 1e3 * step, "voxels": float((medium.permittivity != 1).sum())}
    for name in ("plane", "loop"):
        plane = name == "plane"
        incident = plane_wave(medium) if plane else incident_fields(medium, [round_loop(LOOP, HEIGHT)])
        wall, cpu = time.perf_counter(), time.process_time()
        solution = solve(medium, incident)
        row[f"{name} s"], row[f"{name} cpu s"] = time.perf_counter() - wall, time.process_time() - cpu
        row[f"{name} iterations"] = solution.iterations
        if plane:
            e, b = mie.fields(points, [RADIUS], [permittivity()], k)
            b = b / C
            passing = 0.5 / (C * 4e-7 * np.pi) * np.pi * RADIUS**2
            row["absorbed %"] = 100 * (solution.absorbed[0, 0].real / passing / ABSORPTION - 1)
        else:
            exact = mie.LoopOverSphere(LOOP, HEIGHT, [RADIUS], [permittivity()], k)
            e, b = exact.fields(points)
            row["load %"] = 100 * abs(solution.impedance[0, 0] / exact.impedance() - 1)
        row[f"{name} E %"] = 100 * error(solution.e[0][:, mask].T, e)
        row[f"{name} B %"] = 100 * error(solution.b[0][:, mask].T, b)
        row[f"{name} imbalance"] = solution.imbalance
    return row


RADII = (0.06, RADIUS)  # m
LAYERS = ((70.0, 1.5), (20.0, 0.3))  # eps_r, S/m, from inside out


def layered(step: float) -> dict[str, float]:
    """Two layers: errors of E and B in the core, of the absorbed power, and how much of them the stairs' volume explains."""
    eps, k = [permittivity(*layer) for layer in LAYERS], wavenumber()
    medium = sphere(step, RADII, eps)
    mask, points = core(medium, 0.05)
    cpu = time.process_time()
    solution = solve(medium, plane_wave(medium))
    e, b = mie.fields(points, RADII, eps, k)
    found = solution.e[0][:, mask].T, solution.b[0][:, mask].T * C
    factor = np.vdot(found[0], e) / np.vdot(found[0], found[0])
    counts = np.array([(medium.permittivity == np.complex64(eps[0])).sum(), (medium.permittivity != 1).sum()])
    stairs = np.cbrt(counts * step**3 * 3 / (4 * np.pi))
    moved = mie.fields(points, stairs, eps, k)
    passing = 0.5 / (C * 4e-7 * np.pi) * np.pi * RADIUS**2
    return {
        "step": 1e3 * step,
        "voxels": float(counts[1]),
        "E %": 100 * error(found[0], e),
        "B %": 100 * error(found[1], b),
        "E less one factor %": 100 * error(factor * found[0], e),
        "E, radii of the stairs %": 100 * error(moved[0], e),
        "E against those radii %": 100 * error(found[0], moved[0]),
        "absorbed %": 100 * (solution.absorbed[0, 0].real / passing / mie.efficiencies(RADII, eps, k)[2] - 1),
        "iterations": solution.iterations,
        "cpu s": time.process_time() - cpu,
        "imbalance": solution.imbalance,
    }


def draw_layered(rows: list[dict[str, float]], out: Path) -> None:
    os.environ.setdefault("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), constrained_layout=True)
    steps = [row["step"] for row in rows]
    for name in ("E %", "B %", "absorbed %"):
        axis.loglog(steps, [abs(row[name]) for row in rows], "o-", label=name[:-2])
    axis.loglog(steps, [rows[0]["E %"] * step / steps[0] for step in steps], "k:", label="first order")
    axis.set(xlabel="voxel, mm", ylabel="error, %", title="layered sphere against the multilayer series")
    axis.legend()
    figure.savefig(out, dpi=110)


def draw(rows: list[dict[str, float]], out: Path) -> None:
    os.environ.setdefault("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    steps = [row["step"] for row in rows]
    for name in ("plane E %", "plane B %", "loop E %", "loop B %", "load %"):
        left.loglog(steps, [row[name] for row in rows], "o-", label=name[:-2])
    left.loglog(steps, [abs(row["absorbed %"]) for row in rows], "o-", label="absorbed power")
    left.loglog(steps, [row["step"] for row in rows], "k:", label="first order")
    left.set(xlabel="voxel, mm", ylabel="error, %", title="sphere against exact series")
    left.legend(fontsize=8)
    voxels = [row["voxels"] for row in rows]
    right.loglog(voxels, [row["plane cpu s"] for row in rows], "o-", label="CPU seconds")
    right.loglog(voxels, [row["plane iterations"] for row in rows], "o-", label="iterations")
    right.set(xlabel="voxels in the body", title="plane wave, one channel")
    right.legend()
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=float, nargs="+", default=[10, 6.25, 5, 4, 3.125, 2.5], help="mm")
    parser.add_argument("--layered", action="store_true", help="two layers instead of one")
    parser.add_argument("--out", type=Path, help="PNG of the convergence")
    arguments = parser.parse_args()
    solve(sphere(20e-3), plane_wave(sphere(20e-3)))  # compiled before it is timed
    rows = []
    for step in arguments.steps:
        rows.append((layered if arguments.layered else measured)(1e-3 * step))
        print(", ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if arguments.out:
        (draw_layered if arguments.layered else draw)(rows, arguments.out)


if __name__ == "__main__":
    main()
