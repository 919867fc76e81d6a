"""The headline: sub-millimetre vessel walls in 11 and in 3.5 minutes, at 5 T and at 3 T: what is lost, and where 3 T fails.

    python benchmarks/vessel_wall.py --quick --out folder          # one head, two noise seeds, sense and cs
    python benchmarks/vessel_wall.py --out folder                  # three heads, two seeds, and the learned prior
    python benchmarks/vessel_wall.py --whole-brain --out folder    # all of one head, one seed, at 5 T: pictures alone

The twin plays `brain/vessel-wall` (every second line and partition, SENSE) and `brain/vessel-wall-fast` (Poisson disc, compressed sensing at a
stated part of its rule's weight, and the learned prior of the same data) on heads with a circle of Willis: with its plaques and its flap, and
healthy. 3.2 cm of it about the circle (2.2 cm if quick) are played, heard and judged: vessel_scans.py. A run that was
interrupted goes on where it was; of other code or protocols take another folder.

Measured where vessels are lone and healthy: lumen and wall (study/vessel_wall.py) beside the truth, and how many sections show
no edge: none at all, and none that stands out of the noise of a sample, the same bar for every arm. (What compressed sensing leaves has less
noise than that, so signals in its units tell brightness, not the noise of that image: how much a wall's pixels differ from seed to seed
does.) Detected: by an observer who knows place and shape, lesion against the same place in the healthy subject; area under
the ROC curve over lesions, seeds and subjects. The observations of a lesion are in units of its healthy mean.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vessel_scans import (
    CIRCLE,
    METHODS,
    QUICK,
    REACH,
    SUBJECTS,
    WHOLE_BRAIN,
    Slab,
    heads,
    imaged,
    minutes,
    places,
    signals,
    thin,
)

import lauterbur as lb
from lauterbur.image import Image
from lauterbur.study.planes import to_patient_axes
from lauterbur.study.vessel_wall import Section, painted, sections, seen, separation
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.vessels import PLAQUE, WALL
from lauterbur.units import mm


@dataclass(frozen=True)
class Outcome:
    """One image: of an arm, a scanner, a subject, a seed."""

    found: list[Section]
    with_it: list[float]  # per lesion
    without: list[float]
    walls: NDArray[np.float64]  # signal of the wall's pixels, in standard deviations of the noise of a sample
    edgeless: float  # share of sections without a wall, however little it would have to stand out
    image: Image


def solid(subject: Subject, image: Image) -> NDArray[np.float64]:
    """(z, y, x) share of each pixel that walls, plaques and flaps fill."""
    names = [tissue.name for tissue in subject.tissues]
    chosen = np.isin(subject.points.tissue, [names.index(name) for name in (WALL, PLAQUE)])
    return painted(subject.points, chosen, image.affine, image.pixels.shape[1:])


def templates(sick: Subject, healthy: Subject, image: Image, slab: Slab) -> list[NDArray[np.float64]]:
    more = np.maximum(solid(sick, image) - solid(healthy, image), 0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in more.shape), indexing="ij"), axis=-1)[..., ::-1]
    where = grid @ image.affine[:3, :3].T + image.affine[:3, 3]
    return [more * (np.linalg.norm(where - place, axis=-1) < REACH) for place in places(sick, slab).values()]


def judged(images: tuple[Image, ...], sick: Subject, healthy: Subject, slab: Slab) -> Outcome:
    bad, good = (np.abs(image.pixels[0]) for image in images)
    weights = templates(sick, healthy, images[0], slab)
    walls = solid(healthy, images[1]) > 0.6
    told_apart = sections(bad, images[0].affine, sick.vessels)
    return Outcome(
        sections(bad, images[0].affine, sick.vessels, noise=1.0),
        [seen(bad, w) for w in weights],
        [seen(good, w) for w in weights],
        good[walls],
        float(np.mean([np.isnan(one.wall) for one in told_apart])),
        images[0],
    )


def spread(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % interval, by bootstrap over sections."""
    kept = np.array([v for v in values if np.isfinite(v)])
    if not len(kept):
        return (float("nan"),) * 3
    drawn = np.random.default_rng(seed).choice(kept, (1000, len(kept))).mean(axis=1)
    return float(kept.mean()), *(float(v) for v in np.percentile(drawn, (2.5, 97.5)))


def steadiness(outcomes: list[Outcome], n_seeds: int) -> float:
    """Mean of the walls' pixels over their deviation from seed to seed: signal to noise of the image itself."""
    ratios = []
    for lo in range(0, len(outcomes), n_seeds):
        pixels = np.stack([outcome.walls for outcome in outcomes[lo : lo + n_seeds]])
        ratios.append(pixels.mean() / np.sqrt(np.mean(pixels.var(axis=0, ddof=1))))
    return float(np.mean(ratios))


def row(name: str, outcomes: list[Outcome], lesions: list[str], n_seeds: int) -> dict:
    found = [one for outcome in outcomes for one in outcome.found]
    lumen = [(s.lumen - s.true_lumen) / mm for s in found]
    wall = [(s.wall - s.true_wall) / mm for s in found]
    healthy = np.array([o.without for o in outcomes])  # (image, lesion)
    unit = healthy.mean(axis=0)
    present, absent = np.array([o.with_it for o in outcomes]) / unit, healthy / unit
    per_lesion = {lesion: separation(present[:, i], absent[:, i])[0] for i, lesion in enumerate(lesions)}
    both = separation(present.ravel(), absent.ravel())
    contrast = {lesion: float(value) for lesion, value in zip(lesions, (present - absent).mean(axis=0), strict=True)}
    told = {
        "sections, all images": len(found),
        "no lumen found, %": 100 * float(np.mean(np.isnan(lumen))),
        "no wall at all, %": 100 * float(np.mean([o.edgeless for o in outcomes])),
        "no wall found, %": 100 * float(np.mean(np.isnan(wall))),
        "lumen error, mm": spread(lumen),
        "lumen s.d., mm": float(np.nanstd(lumen)),
        "wall error, mm": spread(wall),
        "wall s.d., mm": float(np.nanstd(wall)),
        "wall signal, noise of a sample": float(np.mean([o.walls.mean() for o in outcomes])),
        "wall signal, its change by seed": steadiness(outcomes, n_seeds),
        "sharpness of the lumen, 1/mm": spread([s.sharpness * mm for s in found]),
        "wall over lumen": float(np.nanmedian([s.contrast for s in found])),
        "area under ROC": both,
        "area, each lesion": per_lesion,
        "contrast, each lesion": contrast,
    }
    print(f"\n{name}", flush=True)
    for key, value in told.items():
        if isinstance(value, tuple):
            print(f"  {key:32s} {value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})")
        elif isinstance(value, dict):
            print(f"  {key}: " + "; ".join(f"{k} {v:.2f}" for k, v in value.items()))
        else:
            print(f"  {key:32s} {value:.3g}")
    return told


def picture(shown: dict[str, Image], subject: Subject, slab: Slab, path: Path) -> None:
    """Three planes of every arm: the sylvian vessels, a plaque, the carotids."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    inside = list(places(subject, slab).values())
    cuts = [inside[0], inside[1], inside[-1]]
    figure, panels = plt.subplots(
        len(cuts), len(shown), figsize=(3.1 * len(shown), 3.1 * len(cuts)), layout="constrained", squeeze=False
    )
    for column, (name, image) in zip(panels.T, shown.items(), strict=True):
        size = np.abs(image.pixels[0])
        for panel, place in zip(column, cuts, strict=True):
            index = np.linalg.inv(image.affine) @ np.array([*place, 1.0])
            axis = int(np.argmax(np.abs(image.affine[2, :3])))  # of the image, along the patient's z
            plane = np.take(size, round(index[axis]), axis=2 - axis)
            rest = [a for a in (2, 1, 0) if a != axis]  # of the plane, first and last
            first, last = rest[0], rest[1]
            a, b = round(index[first]), round(index[last])
            lo_a, lo_b = max(a - 45, 0), max(b - 45, 0)
            cut = plane[lo_a : lo_a + 90, lo_b : lo_b + 90]
            panel.imshow(cut.T, cmap="gray", vmin=0, vmax=1.1 * np.percentile(cut, 98))
            panel.set_axis_off()
        column[0].set_title(name, fontsize=9)
    figure.savefig(path, dpi=110)
    print(path)


def overview(shown: dict[str, Image], path: Path) -> None:
    """Three planes through the middle of every image."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(shown), 3, figsize=(13, 4.6 * len(shown)), layout="constrained", squeeze=False)
    for row, (name, image) in zip(panels, shown.items(), strict=True):
        size, _ = to_patient_axes(np.abs(image.pixels[0]), image.affine)
        for axis, panel in enumerate(row):
            plane = np.take(size, size.shape[axis] // 2, axis=axis)
            top = np.percentile(plane, 95)  # the scalp outshines the brain
            panel.imshow(plane, cmap="gray", vmin=0, vmax=top, origin="lower" if axis else "upper")
            panel.set_axis_off()
        row[0].set_title(name, fontsize=10)
    figure.savefig(path, dpi=110)
    print(path)


def whole_brain(out: Path, scanners: list[str], methods: list[str]) -> None:
    shown = {}
    for scanner in map(lb.load_scanner, scanners):
        for method in methods:
            protocol = lb.load_protocol(METHODS[method])
            start = time.perf_counter()
            kept = out / f"{scanner.name}-{METHODS[method].replace('/', '-')}-whole"
            program = lb.build_program(thin(protocol, WHOLE_BRAIN), scanner)
            (raw,), chain = signals(program, scanner, 0, WHOLE_BRAIN, kept, with_healthy=False)
            played = time.perf_counter()
            image = imaged(raw, chain, 0, method, kept)
            print(
                f"{scanner.name}, {method}: signals in {played - start:.0f} s, image in {time.perf_counter() - played:.0f} s",
                flush=True,
            )
            shown[f"{scanner.name}, {minutes(protocol, scanner):.1f} min, {method}"] = image
            overview(shown, out / "whole_brain.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one head, two noise seeds, 2.2 cm, sense and cs")
    parser.add_argument("--whole-brain", action="store_true", help="pictures of a whole head, at 5 T unless said")
    parser.add_argument("--scanners", nargs="+", help="5T and 3T unless given")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="arms that are reconstructed")
    parser.add_argument("--heads", type=int, help="so many of the three")
    parser.add_argument("--out", type=Path, default=Path("vessel_wall"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.whole_brain:
        return whole_brain(given.out, given.scanners or ["5T"], given.methods or ["sense", "cs"])
    methods = given.methods or (["sense", "cs"] if given.quick else ["sense", "cs", "learned"])
    n_subjects, n_seeds, slab = (1, 2, QUICK) if given.quick else (len(SUBJECTS), 2, CIRCLE)
    n_subjects = n_subjects if given.heads is None else min(given.heads, n_subjects)
    told, shown, lesions = {}, {}, list(places(heads(0)[0], slab))
    for scanner in map(lb.load_scanner, given.scanners or ["5T", "3T"]):
        for method in methods:
            protocol = lb.load_protocol(METHODS[method])
            name, outcomes = f"{scanner.name}, {minutes(protocol, scanner):.1f} min, {method}", []
            for number in range(n_subjects):
                both = heads(number)
                start = time.perf_counter()
                kept = (
                    given.out / f"{scanner.name}-{METHODS[method].replace('/', '-')}-{number}-{1e3 * slab.depth:.0f}mm"
                )
                program = lb.build_program(thin(protocol, slab), scanner)
                raws, chain = signals(program, scanner, number, slab, kept)
                print(f"{name}, subject {number}: signals in {time.perf_counter() - start:.0f} s", flush=True)
                for seed in range(n_seeds):
                    start = time.perf_counter()
                    images = tuple(imaged(raw, chain, 2 * seed + i, method, kept) for i, raw in enumerate(raws))
                    outcomes.append(judged(images, *both, slab))
                    print(f"  seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
            told[name] = row(name, outcomes, lesions, n_seeds)
            shown[name] = outcomes[0].image
            (given.out / "vessel_wall.json").write_text(json.dumps(told, indent=1))
            picture(shown, heads(0)[0], slab, given.out / "vessel_wall.png")
    return None


if __name__ == "__main__":
    main()
