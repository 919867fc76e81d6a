"""How good undersampled images are: zero-filled, SENSE, compressed sensing at its best weight, and the learned prior.

    python benchmarks/recon_quality.py --quick                                       # one scan of the twin, two factors
    python benchmarks/recon_quality.py --data ../shared/data --picture quality.png    # three scans and real data
    python benchmarks/recon_quality.py --data ../shared/data --scans "other person"   # another head than all learned from

1. Twin scans of subjects that nothing was trained on, everything sampled and without noise, which is the truth; noise is added and samples are
   left out by Poisson discs. SENSE stops at the noise. Compressed sensing (db2 wavelets) gets the weight of least true error, of three;
   with --bart PATH that of BART as well, of five weights, 60 iterations of the same wavelets and maps.
2. A real brain (--data): benchmarks/recon_brain.py.

Lesions: benchmarks/recon_lesions.py. Twin scans take minutes each; --cache FOLDER keeps them, and the images of all methods that need no
weights: of other code take another folder.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy.io

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from recon_brain import CENTRE, real_brain
from recon_peers import Bart
from recon_regions import regional_bias, tissue_bias, tissues_of
from twin_scans import SCANS, Scan, planes_of, scanned, subject_of

from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.encoded import Planes
from lauterbur.recon.espirit import plane_maps
from lauterbur.recon.fft import ifft, resized
from lauterbur.recon.irregular import solved
from lauterbur.recon.learned import learned_image
from lauterbur.recon.learned_network import scale_of
from lauterbur.recon.regularisation import sparse_weight
from lauterbur.recon.sparse import LEAST_CONFIDENCE, sparse_image
from lauterbur.sequence.poisson import elliptical_radius, poisson_disc
from lauterbur.study.quality import quality
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.tissues import read_tissues
from lauterbur.units import mm

TEST_SEED = 9001  # of subjects; training took 1001 and 2000 to 2039
FACTORS = (4.0, 6.0, 8.0, 10.0)
WEIGHTS = (0.6, 1.0, 1.7)  # of the rule's
BART_WEIGHTS = (0.008, 0.012, 0.018, 0.027, 0.04)  # of data that it scales itself
OTHER = "other person"
BART = "BART, oracle"
METHODS = ("zero-filled", "SENSE", "CS, by rule", "CS, oracle", "learned")


@dataclass(frozen=True)
class Case:
    """One plane with everything a method may know, and the truth."""

    name: str
    samples: np.ndarray  # (rx, a, b), zero where not measured
    sense: CartesianSense
    noise: float
    truth: np.ndarray | None  # (a, b), complex


def case_of(name: str, k: np.ndarray, factor: float, snr: float, seed: int) -> Case:
    """k-space (rx, a, b) without noise, undersampled by Poisson discs; maps from the noisy centre."""
    rng = np.random.default_rng(seed)
    shape = k.shape[1:]
    noise = scale_of(np.linalg.norm(ifft(k, (1, 2)), axis=0)) / snr
    white = rng.standard_normal((2, *k.shape), np.float32)
    noisy = k + np.float32(noise / np.sqrt(2)) * (white[0] + 1j * white[1])
    y, x = (np.abs(np.arange(n) - n // 2 + 0.5) < CENTRE / 2 for n in shape)
    mask = poisson_disc(elliptical_radius(shape) <= 1, y[:, None] & x[None], round(np.prod(shape) / factor), seed)
    block = resized(resized(noisy, CENTRE, 1), CENTRE, 2)
    found = plane_maps(block, shape, noise=noise)
    maps = found.sensitivity[0] * (found.eigenvalue[0] >= LEAST_CONFIDENCE)
    truth = np.sum(maps.conj() * ifft(k, (1, 2)), axis=0)
    sense = CartesianSense(np.ascontiguousarray(maps[None, None]), np.asarray(mask), 1)
    return Case(name, (noisy * mask).astype(np.complex64), sense, noise, truth)


def nearest(images: list[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """The image of least error, each at its best scale."""
    return max(images, key=lambda image: quality(np.abs(image)[None], np.abs(truth)[None]).psnr)


def images_of(case: Case, keep: Path | None, weights: tuple[float, ...] = WEIGHTS) -> dict[str, np.ndarray]:
    """By every method; those that do not change with the weights are kept in the file `keep`."""
    learned, _ = learned_image(case.sense, case.samples[None], noise=case.noise)
    if keep is not None and keep.exists():
        with np.load(keep) as file:
            return {name: file[name] for name in METHODS[:-1]} | {"learned": learned[0, 0]}
    sense, n = case.sense, case.samples.shape[0] * int(case.sense.mask.sum())
    right = sense.adjoint(case.samples[None])
    zero = right[0, 0] / np.float32(np.sqrt(case.sense.mask.mean()))
    least = solved(case.samples[None], sense.mask, sense.maps[:, 0], noise=n * case.noise**2)[0]
    problem = Planes(sense, right, float(np.linalg.norm(case.samples) ** 2), n)
    rule = sparse_weight(case.noise, float(sense.mask.mean()))
    sparse = {w: sparse_image(problem, w * rule)[0][0, 0] for w in weights}
    best = nearest(list(sparse.values()), case.truth)
    others = dict(zip(METHODS[:-1], (zero, least, sparse[1.0], best), strict=True))
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        np.savez(keep, **others)
    return others | {"learned": learned[0, 0]}


def bart_image(case: Case, path: Path) -> np.ndarray:
    """Compressed sensing by BART, of least true error."""
    with TemporaryDirectory() as folder:
        bart, found = Bart(path, Path(folder)), []
        bart.write("k", case.samples.transpose(1, 2, 0)[:, :, None])
        bart.write("maps", case.sense.maps[0, 0].transpose(1, 2, 0)[:, :, None])
        for weight in BART_WEIGHTS:
            bart.run("pics", "-S", "-i60", f"-RW:3:0:{weight}", "--wavelet", "dau2", "k", "maps", "out")
            found.append(bart.read("out"))
    return nearest(found, case.truth)


TISSUE_OF = {  # labels of the MGH head (data/anatomy/DCA_voxels.md) in our tissues; what is not named is muscle
    "air": (0, 130, 154), "white matter": (2, 41, 7, 46, 16, 28, 60, 85, 126), "cerebrospinal fluid": (4, 5, 43, 14, 15, 24, 122),
    "grey matter": (3, 42, 8, 47, 17, 18, 53, 54, 26, 58, 96, 97), "thalamus": (10, 49), "caudate": (11, 50),
    "putamen": (12, 51), "pallidum": (13, 52), "venous blood": (62,), "skin": (118, 124), "fat": (131, 119, 120, 153),
    "cortical bone": (129, 135, 146, 147), "cancellous bone": (142,), "vitreous": (143, 145), "lens": (144,), "sclera": (140, 150),
    "mucosa": (133,),
}  # fmt: skip


def other_person(path: Path) -> Subject:
    """The MGH head: another person than Colin27, whom all heads learned from descend of. Whole voxels, no partial volumes."""
    model = scipy.io.loadmat(path)["MODEL"]
    placed = model[::-1].transpose(0, 2, 1)[:, ::-1]  # it runs down, left, forward; ours are z up, y back, x left
    tissues = read_tissues()
    names = ("air", "muscle", *(name for name in TISSUE_OF if name != "air"))
    table = np.full(256, names.index("muscle"), np.uint8)
    for name, labels in TISSUE_OF.items():
        table[list(labels)] = names.index(name)
    labels = table[placed]
    brain = np.argwhere(labels == names.index("white matter")).mean(axis=0)
    occupied = np.argwhere(labels > 0)
    low, high = occupied.min(axis=0), occupied.max(axis=0) + 1
    labels = np.ascontiguousarray(labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = np.array([0, 16, 16]) * mm - (brain - low)[::-1] * mm  # the brain where the protocols look
    fraction = (labels > 0).astype(np.float32)
    return Subject("MGH head", labels[None], fraction[None], affine, tuple(tissues[n] for n in names), seed=TEST_SEED)


def judged_subject(name: str, data: Path | None) -> tuple[Scan, Subject]:
    """What is scanned by that name, and how."""
    if name != OTHER:
        return SCANS[name], subject_of(SCANS[name].subject, TEST_SEED)
    assert data is not None
    return SCANS["t2"], other_person(data / "anatomy" / "MGH_DCA_head_model.mat")


def twin_planes(name: str, n_planes: int, cache: Path | None, data: Path | None) -> list[np.ndarray]:
    file = None if cache is None else cache / f"{name}-{n_planes}.npy"
    if file is not None and file.exists():
        return list(np.load(file))
    planes = planes_of(scanned(*judged_subject(name, data), TEST_SEED), n_planes)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack(planes))
    return planes


def table(
    planes: dict[str, list[np.ndarray]],
    tissues: dict[str, np.ndarray],
    factors: tuple[float, ...],
    snr: float,
    cache: Path | None,
    bart: Path | None,
) -> dict[float, list]:
    """Prints means over planes; returns, per factor, (case, images) of all planes."""
    kept: dict[float, list] = {}
    print(
        f"\ntwin, subjects not trained on, signal to noise {snr:g} if fully sampled; {sum(map(len, planes.values()))} planes"
    )
    print(
        f"{'R':>4} {'method':14}{'PSNR dB':>9}{'NRMSE':>8}{'SSIM':>7}{'HFEN':>7}{'bias of tissues, worst':>24}{'of brightnesses':>18}"
    )
    for factor in factors:
        rows: dict[str, list] = {name: [] for name in (*METHODS, *([BART] if bart else ()))}
        kept[factor] = []
        for name, of_scan in planes.items():
            for i, k in enumerate(of_scan):
                case = case_of(f"{name} {i}", k, factor, snr, 100 * i + int(factor))
                keep = None if cache is None else cache / f"{name}-{len(of_scan)}-{i}-{factor:g}-{snr:g}.npz"
                images = images_of(case, keep)
                if bart is not None:
                    images[BART] = bart_image(case, bart)
                kept[factor].append((case, images))
                for method, image in images.items():
                    found = quality(np.abs(image)[None], np.abs(case.truth)[None])
                    bias = (*tissue_bias(image, case.truth, tissues[name][i]), *regional_bias(image, case.truth))
                    rows[method].append((found.psnr, found.nrmse, found.ssim, found.hfen, *bias))
        for method, values in rows.items():
            psnr, nrmse, ssim, hfen, *bias = np.mean(values, axis=0)
            tissue, worst_tissue, level, worst_level = (100 * b for b in bias)
            print(
                f"{factor:4g} {method:14}{psnr:9.2f}{nrmse:8.4f}{ssim:7.3f}{hfen:7.3f}{tissue:15.2f}%{worst_tissue:7.2f}%"
                f"{level:10.2f}%{worst_level:6.2f}%",
                flush=True,
            )
        if bart is not None:
            gain = np.array(rows["learned"])[:, 0] - np.array(rows[BART])[:, 0]
            print(f"     learned over {BART}: {gain.mean():+.2f} dB (planes {gain.min():+.2f} to {gain.max():+.2f})")
        ours, best, zero = (np.array(rows[m]) for m in ("learned", "CS, oracle", "zero-filled"))
        gain = ours[:, 0] - best[:, 0]
        print(
            f"     learned over CS, oracle: {gain.mean():+.2f} dB (planes {gain.min():+.2f} to {gain.max():+.2f}); NRMSE below "
            f"zero-filled in {np.sum(ours[:, 1] < zero[:, 1])} of {len(ours)} planes",
            flush=True,
        )
    return kept


def picture(kept: dict[float, list], brain: dict[str, np.ndarray] | None, path: Path) -> None:
    """Truth, images and errors (times five) of one plane at the largest factor but one; below the real brain."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    factor = sorted(kept)[-2 if len(kept) > 1 else -1]
    case, images = kept[factor][len(kept[factor]) // 3]
    names = ("zero-filled", "SENSE", "CS, oracle", "learned")
    figure, panels = plt.subplots(
        2 + (brain is not None), 5, figsize=(11, 4.6 + 2.4 * (brain is not None)), layout="constrained"
    )
    top = np.quantile(np.abs(case.truth), 0.995)
    panels[0, 0].imshow(np.abs(case.truth), cmap="gray", vmin=0, vmax=top)
    panels[0, 0].set_title("truth", fontsize=9)
    for j, name in enumerate(names, 1):
        found = quality(np.abs(images[name])[None], np.abs(case.truth)[None])
        panels[0, j].imshow(np.abs(images[name]) * found.scale, cmap="gray", vmin=0, vmax=top)
        panels[0, j].set_title(f"{name}, {found.psnr:.1f} dB", fontsize=9)
        panels[1, j].imshow(
            5 * np.abs(np.abs(images[name]) * found.scale - np.abs(case.truth)), cmap="magma", vmin=0, vmax=top
        )
    panels[1, 0].imshow(case.sense.mask, cmap="gray")
    panels[1, 0].set_title(f"samples, R = {factor:g}", fontsize=9)
    if brain is not None:
        top = np.quantile(np.abs(brain["learned"]), 0.995)
        for j, name in enumerate(names, 1):
            size = np.abs(brain[name])
            size = size * np.vdot(size, np.abs(brain["learned"])) / np.vdot(size, size)
            panels[2, j].imshow(size, cmap="gray", vmin=0, vmax=top)
        panels[2, 1].set_title("real brain, 8 receivers, R = 9", fontsize=9)
    for panel in panels.ravel():
        panel.set_axis_off()
    figure.savefig(path, dpi=110)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one scan, two factors")
    parser.add_argument("--data", type=Path, help="folder with kspace/brain_8ch_poisson.npy and anatomy/")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--cache", type=Path, help="folder that keeps twin scans")
    parser.add_argument("--scans", nargs="+", choices=[*SCANS, OTHER], default=["t2", "t1", "body"])
    parser.add_argument("--snr", type=float, nargs="+", default=[30.0])
    parser.add_argument("--bart", type=Path, help="BART's program: its compressed sensing beside ours")
    parser.add_argument("--planes", type=int, default=3, help="of each scan")
    options = parser.parse_args()
    factors = (4.0, 8.0) if options.quick else FACTORS
    names = ["t2"] if options.quick else options.scans
    if OTHER in names and options.data is None:
        parser.error(f"the scan {OTHER!r} needs --data")
    planes = {name: twin_planes(name, options.planes, options.cache, options.data) for name in names}
    tissues = {name: tissues_of(*judged_subject(name, options.data), options.planes) for name in names}
    kept: dict[float, list] = {}
    for snr in options.snr:
        kept = table(planes, tissues, factors, snr, options.cache, options.bart)
    brain = None
    if options.data is not None:
        brain = real_brain(options.data / "kspace" / "brain_8ch_poisson.npy")
    if options.picture is not None:
        picture(kept, brain, options.picture)


if __name__ == "__main__":
    main()
