"""The headline: sub-millimetre vessel walls in 11 and in 3.5 minutes, at 5 T and at 3 T: what is lost, and where 3 T fails.

    python benchmarks/vessel_wall.py --quick --out folder     # one subject, two noise seeds
    python benchmarks/vessel_wall.py --out folder             # three subjects, four seeds

The twin plays `brain/vessel-wall` (every second line and partition, SENSE) and `brain/vessel-wall-fast` (Poisson disc,
compressed sensing, at the weight of the rule and at a tenth of it, and the learned prior of the same data) on heads with a circle of Willis: with its plaques and its flap, and healthy. Only 4 cm of it (2.4 cm if quick) about the circle
are played and heard: readout gradient, bandwidth per pixel and resolution are the protocol's, the field of view along the readout
is cut (no sample of the rest would reach these planes after the readout transform), so that the
volume is 80 (48) of its 480 planes. Signals are simulated once; noise is added by the
scanner's receivers as often as there are seeds. Signals and images are kept in the folder: a run that was interrupted goes on. Of other
code, protocols or scanners they are not: take another folder then.

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
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lauterbur as lb
from lauterbur.acquisition.twin.accuracy import IMAGING
from lauterbur.acquisition.twin.material import points_from, spins_from
from lauterbur.acquisition.twin.receiver import ReceiveChain, noise_readouts, noise_scan, receive_chain, sensitivities
from lauterbur.formats.nifti import read_nifti, write_nifti
from lauterbur.image import Image
from lauterbur.program import Program, duration
from lauterbur.protocol.protocol import Protocol
from lauterbur.rawdata import RawData
from lauterbur.recon.learned_network import SHA256
from lauterbur.recon.regularisation import sparse_weight
from lauterbur.scanner.machine import Scanner
from lauterbur.study.vessel_wall import Section, painted, sections, seen, separation
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.head import head
from lauterbur.subject.population import vary
from lauterbur.subject.vessels import PLAQUE, WALL, circle_of_willis, with_vessels
from lauterbur.units import deg, mm

SLOW, FAST = "brain/vessel-wall", "brain/vessel-wall-fast"
ARMS = ((SLOW, "sense"), (FAST, "cs"), (FAST, "weak-cs"), (FAST, "learned"))  # protocol and reconstruction
WEAK = 0.1  # of the rule's weight, in weak-cs: noisier, and less smooth
REACH = 8 * mm  # about a lesion
RECEIVERS = 12
SUBJECTS = (  # size, tilt about x, y, z
    (1.0, (0.0, 0.0, 0.0)),
    (0.96, (4 * deg, -2 * deg, 3 * deg)),
    (1.04, (-5 * deg, 2 * deg, -2 * deg)),
)


@dataclass(frozen=True)
class Slab:
    """What is played, along the patient's z; m."""

    middle: float
    depth: float


WHOLE, QUICK = Slab(-26 * mm, 40 * mm), Slab(-22 * mm, 24 * mm)


@dataclass(frozen=True)
class Outcome:
    """One image: of an arm, a scanner, a subject, a seed."""

    found: list[Section]
    with_it: list[float]  # per lesion
    without: list[float]
    walls: NDArray[np.float64]  # signal of the wall's pixels, in standard deviations of the noise of a sample
    edgeless: float  # share of sections without a wall, however little it would have to stand out
    image: Image


def thin(protocol: Protocol, slab: Slab) -> Protocol:
    """The protocol with a short field of view along the readout, about the circle of Willis."""
    n = 2 * round(slab.depth / protocol.fov[0] * protocol.matrix[0] / 2)
    x, y, _ = protocol.position
    return replace(
        protocol, fov=(slab.depth, *protocol.fov[1:]), matrix=(n, *protocol.matrix[1:]), position=(x, y, slab.middle)
    )


@lru_cache(maxsize=1)
def heads(number: int) -> tuple[Subject, Subject]:
    """The same head with and without lesions."""
    size, tilt = SUBJECTS[number]
    plain = replace(head(), seed=number)
    sick, healthy = (with_vessels(plain, circle_of_willis(diseased=ill)) for ill in (True, False))
    if size == 1.0 and not any(tilt):
        return sick, healthy
    return vary(sick, scale=size, tilt=tilt), vary(healthy, scale=size, tilt=tilt)


def signals(
    program: Program, scanner: Scanner, sick: Subject, healthy: Subject, slab: Slab, kept: Path
) -> tuple[RawData, RawData, ReceiveChain]:
    """Noise-free raw data of both: what is not in a vessel is the same, and is played once; read where they were `kept`."""
    fields = lb.solve_fields(scanner, sick)
    half = slab.depth / 2 + 2 * mm
    around = spins_from(
        sick, fields, scanner, region=np.array([[-1, -1, slab.middle - half], [1, 1, slab.middle + half]])
    )
    chain = receive_chain(fields, scanner, around, coils=RECEIVERS)
    files = [kept.with_name(f"{kept.name}-{which}.mrd") for which in ("sick", "healthy")]
    if all(file.exists() for file in files):
        return lb.read_raw(files[0]), lb.read_raw(files[1]), chain
    told = {"accuracy": IMAGING, "larmor_frequency": scanner.larmor_frequency}
    common = lb.simulate(program, around, sensitivities(chain, around), **told)
    both = []
    for subject in (sick, healthy):
        cloud = subject.points
        near = np.abs(cloud.position[:, 2] - slab.middle) < half
        cut = replace(cloud, position=cloud.position[near], volume=cloud.volume[near], tissue=cloud.tissue[near])
        points = points_from(replace(subject, points=cut), fields, scanner)
        own = lb.simulate(program, points, sensitivities(chain, points), **told)
        both.append(replace(common, samples=common.samples + own.samples))
    for raw, file in zip(both, files, strict=True):
        lb.write_raw(raw, file)
    return both[0], both[1], chain


def noisy(raw: RawData, chain: ReceiveChain, seed: int) -> RawData:
    samples = raw.samples.copy()
    for lo in range(0, len(samples), 1024):
        rows = np.arange(lo, min(lo + 1024, len(samples)))
        samples[rows] += noise_readouts(chain, rows, raw.n_samples[rows], raw.dwell[rows], seed)
    dwell = float(np.median(raw.dwell))
    return replace(raw, samples=samples, noise=noise_scan(chain, dwell, seed), noise_dwell=dwell)


def reconstructed(raw: RawData, method: str) -> Image:
    if method != "weak-cs":
        return lb.reconstruct(raw, method=method)
    _, lines, partitions = lb.load_protocol(FAST).matrix
    rule = sparse_weight(1.0, raw.n_readouts / (lines * partitions))  # the noise of whitened data is 1
    return lb.reconstruct(raw, method="cs", regularisation=WEAK * rule)


def imaged(raw: RawData, chain: ReceiveChain, seed: int, method: str, kept: Path) -> Image:
    """Of these signals with noise, magnitude; read where it was `kept`."""
    if not kept.exists():
        write_nifti(reconstructed(noisy(raw, chain, seed), method), kept)
    pixels, affine = read_nifti(kept)
    return Image(pixels[None].astype(np.complex64), affine)


def solid(subject: Subject, image: Image) -> NDArray[np.float64]:
    """(z, y, x) share of each pixel that walls, plaques and flaps fill."""
    names = [tissue.name for tissue in subject.tissues]
    chosen = np.isin(subject.points.tissue, [names.index(name) for name in (WALL, PLAQUE)])
    return painted(subject.points, chosen, image.affine, image.pixels.shape[1:])


def places(subject: Subject, slab: Slab) -> list[tuple[str, NDArray[np.float64]]]:
    """Lesions whose middle is played."""
    found = subject.vessels
    listed = [(f"plaque {100 * p.stenosis:.0f} %, {p.vessel}", np.array(p.position)) for p in found.plaques]
    listed += [(f"flap, {f.vessel}", (np.array(f.start) + np.array(f.end)) / 2) for f in found.flaps]
    return [(name, place) for name, place in listed if abs(place[2] - slab.middle) < slab.depth / 2 - REACH / 2]


def templates(sick: Subject, healthy: Subject, image: Image, slab: Slab) -> list[NDArray[np.float64]]:
    more = np.maximum(solid(sick, image) - solid(healthy, image), 0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in more.shape), indexing="ij"), axis=-1)[..., ::-1]
    where = grid @ image.affine[:3, :3].T + image.affine[:3, 3]
    return [more * (np.linalg.norm(where - place, axis=-1) < REACH) for _, place in places(sick, slab)]


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

    inside = [place for _, place in places(subject, slab)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one subject, two noise seeds")
    parser.add_argument("--scanners", nargs="+", default=["5T", "3T"])
    parser.add_argument("--signals", action="store_true", help="only play, and keep the signals")
    parser.add_argument(
        "--methods", nargs="+", default=[method for _, method in ARMS], help="arms that are reconstructed"
    )
    parser.add_argument("--out", type=Path, default=Path("vessel_wall"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    n_subjects, n_seeds = (1, 2) if given.quick else (3, 4)
    slab = QUICK if given.quick else WHOLE
    told, shown, lesions = {}, {}, places(heads(0)[0], slab)
    for scanner in map(lb.load_scanner, given.scanners):
        for arm, method in (one for one in ARMS if one[1] in given.methods):
            protocol = lb.load_protocol(arm)
            minutes = duration(lb.build_program(protocol, scanner)) / 60
            name, outcomes = f"{scanner.name}, {minutes:.1f} min, {method}", []
            for number in range(n_subjects):
                sick, healthy = heads(number)
                start = time.perf_counter()
                kept = given.out / f"{scanner.name}-{arm.replace('/', '-')}-{number}-{1e3 * slab.depth:.0f}mm"
                program = lb.build_program(thin(protocol, slab), scanner)
                *both, chain = signals(program, scanner, sick, healthy, slab, kept)
                print(f"{name}, subject {number}: signals in {time.perf_counter() - start:.0f} s", flush=True)
                if given.signals:
                    continue
                for seed in range(n_seeds):
                    start = time.perf_counter()
                    weights = f"-{SHA256[:8]}" if method == "learned" else ""
                    images = tuple(
                        imaged(
                            raw,
                            chain,
                            2 * seed + i,
                            method,
                            kept.with_name(f"{kept.name}-{method}{weights}-{seed}-{i}.nii.gz"),
                        )
                        for i, raw in enumerate(both)
                    )
                    outcomes.append(judged(images, sick, healthy, slab))
                    print(f"  seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
            if given.signals:
                continue
            told[name] = row(name, outcomes, [lesion for lesion, _ in lesions], n_seeds)
            shown[name] = outcomes[0].image
            (given.out / "vessel_wall.json").write_text(json.dumps(told, indent=1))
            picture(shown, heads(0)[0], slab, given.out / "vessel_wall.png")


if __name__ == "__main__":
    main()
