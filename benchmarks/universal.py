"""Universal kT-points at 5 T: made for some heads of a population, played in others, beside pulses tailored to those.

    python benchmarks/universal.py --cache folder                             # fields are solved once: half a minute a head
    python benchmarks/universal.py --cache folder --train 12 --points 3 5 7 --picture heads.png

Heads vary in size, shape, position and tilt (lauterbur.subject.population); the coil stays where it lies around the head
they were made from. Target: the brain. Excitation and limits are those of benchmarks/shimming_5t.py;
--free designs without limits, a few times as fast, and judges the heat of what comes out all the same.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from shimming_5t import ANGLE, PULSE, TR, budget_for, design, played

import lauterbur as lb
from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.safety.sar import SarModel, sar_model
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.composite import plan_train
from lauterbur.shim.files import write_shim
from lauterbur.shim.flip_angle import flip_angle_map, variation
from lauterbur.shim.shim import Shim, design_shim
from lauterbur.shim.target import chosen_voxels
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.head import head
from lauterbur.subject.population import population
from lauterbur.subject.resample import resample
from lauterbur.subject.targets import target_mask

GRAIN = 4e-3  # m, of the heads
SEED = 5


@dataclass(frozen=True, eq=False)
class Person:
    name: str
    fields: FieldMaps
    sar: SarModel | None  # not of those whose heat nobody asks for
    brain: np.ndarray  # bool (z, y, x), on the grid of the transmit maps


def people(scanner: Scanner, n: int, step: float, cache: Path | None, n_judged: int) -> list[Person]:
    """n heads that fit into the coil; of the first n_judged the heat is modelled."""
    middle = coil_centre(scanner)
    found: list[Person] = []
    for subject in population("head", 2 * n + 10, SEED, spacing=GRAIN):
        start = time.process_time()
        try:
            fields = lb.solve_fields(scanner, subject, method="maxwell", step=step, isocentre=middle, cache=cache)
        except InputError as problem:
            print(f"{subject.name} is left out: {problem}")
            continue
        found.append(person(subject, fields, len(found) < n_judged))
        print(
            f"{subject.name}: {int(found[-1].brain.sum())} voxels of brain, {time.process_time() - start:.0f} s",
            flush=True,
        )
        if len(found) == n:
            return found
    raise InputError(f"only {len(found)} of {2 * n + 10} heads fit into the coil; {n} are needed")


def coil_centre(scanner: Scanner) -> tuple[float, float, float]:
    """Of the head coil around the head that the population was made from."""
    from lauterbur.fields.coarse import coarse_body
    from lauterbur.fields.position import position
    from lauterbur.fields.solution import surface

    return position(scanner, surface(coarse_body(resample(head(), GRAIN), scanner.larmor_frequency, GRAIN))).centre


def person(subject: Subject, fields: FieldMaps, is_judged: bool) -> Person:
    model = sar_model(fields) if is_judged else None
    fields = replace(fields, e=None)
    return Person(subject.name, fields, model, chosen_voxels(fields, target_mask(subject, "brain")))


def universal(some: list[Person], scanner: Scanner, n_points: int, is_free: bool) -> Shim:
    return design_shim(
        [one.fields for one in some],
        None if is_free else [one.sar for one in some],
        target=[one.brain for one in some],
        mode="universal",
        budget=None if is_free else budget_for(some[0].sar, scanner, ANGLE),
        plan=plan_train(scanner, flip_angle=ANGLE, tr=TR, n_points=n_points, duration=PULSE),
    )


def tailored(one: Person, scanner: Scanner, n_points: int, is_free: bool) -> Shim:
    if not is_free:
        return design(one.fields, one.sar, one.brain, f"kt-points {n_points}", scanner)
    plan = plan_train(scanner, flip_angle=ANGLE, tr=TR, n_points=n_points, duration=PULSE)
    return design_shim(one.fields, target=one.brain, mode="kt-points", plan=plan)


def in_person(one: Person, shim: Shim, scanner: Scanner) -> dict[str, float]:
    """Flip-angle variation and mean, and the largest shares of limits, of any shim in this head."""
    figures = played(one.fields, one.sar, one.brain, shim, scanner)
    angle = flip_angle_map(one.fields, shim, ANGLE)[one.brain]
    return {
        "variation": variation(angle),
        "mean, deg": float(np.degrees(angle.mean())),
        "local SAR": max(v for n, v in figures.items() if n.startswith("local SAR") and n.endswith("W/kg")),
        "SAR share": max(v for n, v in figures.items() if "SAR" in n and n.endswith("share of limit")),
        "power share": max(v for n, v in figures.items() if "power, share" in n),
    }


def row(name: str, shim: str, f: dict[str, float]) -> str:
    return (
        f"{name:10s} {shim:14s} {100 * f['variation']:8.2f} {f['mean, deg']:9.2f} {f['local SAR']:10.2f} {f['SAR share']:10.2f} "
        f"{f['power share']:12.2f}"
    )


def compare(
    known: list[Person], unseen: list[Person], scanner: Scanner, n_points: int, is_free: bool
) -> dict[str, dict[str, Shim]]:
    """Prints the table; per unseen head the shims that were played in it."""
    start = time.process_time()
    common = universal(known, scanner, n_points, is_free)
    used = time.process_time() - start
    print(
        f"\n{n_points} kT-points of {len(known)} heads, {used:.0f} s: variation over all of them "
        f"{100 * common.promised['flip-angle variation']:.2f} %, worst {100 * common.promised['flip-angle variation, worst subject']:.2f} %"
    )
    print(
        f"{'head':10s} {'shim':14s} {'flip CV %':>8s} {'mean deg':>9s} {'SAR W/kg':>10s} {'SAR share':>10s} {'power share':>12s}"
    )
    made, worse = {}, []
    for one in unseen:
        own = {
            "cp": design(one.fields, one.sar, one.brain, "cp", scanner),
            "tailored": tailored(one, scanner, n_points, is_free),
            "universal": common,
        }
        figures = {name: in_person(one, shim, scanner) for name, shim in own.items()}
        for name, f in figures.items():
            print(row(one.name, name, f), flush=True)
        worse.append(100 * (figures["universal"]["variation"] - figures["tailored"]["variation"]))
        made[one.name] = own
    print(
        f"universal less tailored: {np.mean(worse):.2f} points on average, {max(worse):.2f} at worst (asked: at most 3)"
    )
    return made


def picture(path: Path, unseen: list[Person], made: dict[str, dict[str, Shim]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = ("cp", "tailored", "universal")
    figure, axes = plt.subplots(
        3, len(unseen), figsize=(2.1 * len(unseen) + 0.8, 6.6), layout="constrained", squeeze=False
    )
    for column, one in enumerate(unseen):
        middle = round(float(np.mean(np.nonzero(one.brain)[0])))
        body = chosen_voxels(one.fields, None)
        for axis, name in zip(axes[:, column], names, strict=True):
            angle = np.degrees(flip_angle_map(one.fields, made[one.name][name], ANGLE))
            inside = angle[one.brain]
            drawn = axis.imshow(np.where(body, angle, np.nan)[middle], vmin=0, vmax=20, cmap="viridis")
            axis.contour(one.brain[middle], levels=[0.5], colors="w", linewidths=0.8)
            axis.set_title(f"{one.name}, {name}: {100 * inside.std() / inside.mean():.1f} %", fontsize=8)
            axis.set_axis_off()
    figure.colorbar(drawn, ax=axes, label="flip angle, deg (asked: 10)", shrink=0.6)
    figure.suptitle("Heads that the universal pulse has not seen, 5 T; brain outlined", fontsize=10)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, nargs="+", default=[16], help="how many heads it is made for")
    parser.add_argument("--unseen", type=int, default=4)
    parser.add_argument("--points", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--step", type=float, default=8e-3, help="m, of Maxwell's grid")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the solved fields")
    parser.add_argument("--free", action="store_true", help="design without limits")
    parser.add_argument("--out", type=Path, help="keeps the last universal pulse, as JSON")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    scanner = lb.load_scanner("5T")
    n = given.unseen + max(given.train)
    everybody = people(scanner, n, given.step, given.cache, given.unseen if given.free else n)
    unseen, known = everybody[: given.unseen], everybody[given.unseen :]
    for n in given.train:
        for n_points in given.points:
            made = compare(known[:n], unseen, scanner, n_points, given.free)
    if given.out:
        write_shim(made[unseen[0].name]["universal"], given.out)
    if given.picture:
        picture(given.picture, unseen, made)


if __name__ == "__main__":
    main()
