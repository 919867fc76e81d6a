"""Maxwell in a head: eight unshielded loops of 10 x 20 cm on a cylinder; seconds, iterations and memory.

    python benchmarks/maxwell.py                          # head at 5, 4 and 2.5 mm
    python benchmarks/maxwell.py --torso                  # instead: an ellipsoid of about 360,000 voxels at 5 mm
    python benchmarks/maxwell.py --grow --out head-growth.png  # instead: iterations, CPU seconds and memory against voxels

Aims on two quiet cores: head at 4 mm 45 s (at most 90), torso 3 min (6) and 4 GB, head at 2.5 mm 8 min. Each size runs alone
in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from pathlib import Path

import numpy as np

import lauterbur as lb
from lauterbur.fields.incident import Conductor, incident_fields
from lauterbur.fields.integral import Solution, b1_plus, memory_needed, solve
from lauterbur.fields.medium import Medium, centres, medium_of
from lauterbur.units import EPSILON_0

FREQUENCY = 210.8e6


def loops(
    centre: tuple[float, float, float], radius: float, width: float = 0.1, length: float = 0.2, count: int = 8
) -> list[Conductor]:
    """Rectangles bent around a cylinder along z, 1 A each; the current turns about the outward direction."""
    made = []
    for c in range(count):
        angle = 2 * np.pi * c / count + np.linspace(-0.5, 0.5, 7) * width / radius
        low = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(7, -length / 2)], 1)
        up = np.array([0, 0, length])
        right = np.linspace(low[-1], low[-1] + up, 8)[1:-1]
        left = np.linspace(low[0] + up, low[0], 8)[1:-1]
        points = np.concatenate([low, right, low[::-1] + up, left]) + np.asarray(centre)
        made.append(Conductor(np.stack([points, np.roll(points, -1, 0)], 1), np.ones(len(points), complex)))
    return made


def around(medium: Medium, gap: float = 0.025) -> list[Conductor]:
    """Eight loops centred on the body (of a head: its upper part)."""
    body = medium.permittivity != 1 if medium.density is None else medium.density > 0
    place = centres(medium, body)
    middle = (place.min(axis=0) + place.max(axis=0)) / 2
    everything = centres(medium, medium.permittivity != 1)
    radius = float(np.hypot(*(everything - middle)[:, :2].T).max()) + gap
    return loops((middle[0], middle[1], middle[2]), radius, width=min(0.1, 2 * np.pi * radius / 8 - 0.005))


def head(size: float, frequency: float = FREQUENCY) -> Medium:
    return medium_of(lb.load_subject("head"), frequency, size)


def torso(size: float = 5e-3) -> Medium:
    """An ellipsoid 40 x 27 cm wide and 1.24 m long, cut to 0.6 m: fat around muscle around lungs and a heart."""
    semi = np.array([0.2, 0.135, 0.62])
    half = [int(np.ceil(s / size)) + 2 for s in (semi[0], semi[1], 0.3)]
    x, y, z = (np.arange(-h, h + 1) * size for h in half)

    def within(scale: float, cx: float = 0.0, cz: float = 0.0, shape: np.ndarray = semi) -> np.ndarray:
        a, b, c = scale * shape
        return ((x - cx) / a) ** 2 + (y[:, None] / b) ** 2 + ((z[:, None, None] - cz) / c) ** 2 < 1

    def tissue(relative: float, sigma: float) -> complex:
        return relative + 1j * sigma / (2 * np.pi * FREQUENCY * EPSILON_0)

    eps = np.ones((len(z), len(y), len(x)), np.complex64)
    eps[within(1)] = tissue(5.72, 0.038)
    eps[within(0.88)] = tissue(59.9, 0.746)
    for side in (-0.08, 0.08):
        eps[within(1, side, 0.15, np.array([0.06, 0.08, 0.12]))] = tissue(26.3, 0.338)
    eps[within(1, 0.02, 0.12, np.array([0.05, 0.05, 0.06]))] = tissue(74.3, 0.841)
    eps[np.abs(z) > 0.3 - size] = 1
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = x[0], y[0], z[0]
    return Medium(eps, affine, FREQUENCY)


def timed(what: str, size: float, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    small = head(12e-3)
    solve(small, incident_fields(small, around(small)))  # compiled before it is timed
    medium = torso(size) if what == "torso" else head(size)
    begin, cpu = time.perf_counter(), time.process_time()
    incident = incident_fields(medium, around(medium))
    coil = time.perf_counter() - begin
    solution = solve(medium, incident)
    row = {
        "mm": 1e3 * size,
        "voxels": int((medium.permittivity != 1).sum()),
        "unknowns": int(np.count_nonzero(solution.current[0])),
        "iterations": solution.iterations,
        "seconds": time.perf_counter() - begin,
        "of them incident": coil,
        "CPU seconds": time.process_time() - cpu,
        "GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "GiB foreseen": memory_needed(medium, 8) / 2**30,
        "imbalance": solution.imbalance,
        "asymmetry": float(np.abs(solution.impedance - solution.impedance.T).max() / np.abs(solution.impedance).max()),
    }
    queue.put(row)


def alone(what: str, size: float) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue = context.Queue()  # type: ignore[type-arg]
    process = context.Process(target=timed, args=(what, size, queue))
    process.start()
    row = queue.get()
    process.join()
    print(what, ", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
    return row


def circular(solution: Solution) -> np.ndarray:
    """T, (z, y, x): a loop at azimuth phi makes B1+ ~ exp(i phi), so it is driven with exp(-i phi)."""
    drive = np.exp(-2j * np.pi * np.arange(8) / 8)
    return np.abs(np.einsum("c,czyx->zyx", drive, b1_plus(solution)))


def grow(out: Path | None) -> None:
    rows = [alone("head", size) for size in (10e-3, 8e-3, 7e-3, 6e-3, 5e-3, 4e-3)]
    if out:
        plt = _plots()
        figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), constrained_layout=True)
        voxels = np.array([row["voxels"] for row in rows])
        for axis, name in zip(axes, ("iterations", "CPU seconds", "GiB"), strict=True):
            values = np.array([row[name] for row in rows])
            axis.plot(voxels / 1000, values, "o-")
            axis.plot(voxels / 1000, values[-1] * voxels / voxels[-1], "k:", label="as the voxels")
            axis.set(xlabel="thousand voxels in the body", title=name, ylim=(0, 1.1 * values.max()))
        axes[0].set_ylabel("head, eight channels together")
        axes[-1].legend()
        figure.savefig(out, dpi=90)


def _plots():  # type: ignore[no-untyped-def]
    os.environ.setdefault("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt

    return plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=float, nargs="+", default=[5, 4, 2.5], help="mm, of the head")
    parser.add_argument("--torso", action="store_true")
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--out", type=Path, help="PNG")
    arguments = parser.parse_args()
    if arguments.torso:
        alone("torso", 5e-3)
    elif arguments.grow:
        grow(arguments.out)
    else:
        for size in arguments.steps:
            alone("head", 1e-3 * size)


if __name__ == "__main__":
    main()
