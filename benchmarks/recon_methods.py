"""Every method of `lauterbur recon` beside the others on scans of the twin: GRAPPA on lattices, low rank over echoes.

    python benchmarks/recon_methods.py --cache folder --picture methods.png     # the scan is played once, some minutes
    python benchmarks/recon_methods.py --cache folder --quick                   # two factors of each

A spoiled gradient echo of a head that nothing was trained on, 3D, five echoes, 12 receivers, everything sampled and without noise: the truth
is its SENSE image. Noise is added (signal to noise 30 in half of the head), readouts are left out, and what is left goes
through `lb.reconstruct`.

1. The first echo on a lattice with a sampled centre: GRAPPA, SENSE, compressed sensing, learned.
2. All echoes, each with Poisson discs of its own: SENSE, compressed sensing and learned echo by echo, low rank over all of them.

Compressed sensing and low rank get the weight of least true error, of three: the rule's, its 0.6 and 1.7.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from recon_quality import TEST_SEED
from twin_scans import COILS, COLD, subject_of

import lauterbur as lb
from lauterbur.acquisition.twin.simulation import Twin
from lauterbur.fields.solution import solve_fields
from lauterbur.image import Image
from lauterbur.rawdata import RawData
from lauterbur.sequence.poisson import elliptical_radius, poisson_disc
from lauterbur.study.quality import quality
from lauterbur.units import ms

MATRIX = (96, 112, 72)  # readout, phase, partition
ECHOES = (3 * ms, 7 * ms, 11 * ms, 15 * ms, 19 * ms)
CENTRE = 20  # lines along both axes that are always measured
SNR = 30.0
LATTICES = {4: (2, 2), 6: (3, 2), 8: (4, 2), 9: (3, 3)}  # along phase and partition
FACTORS = (4.0, 6.0, 8.0, 10.0)
WEIGHTS = (0.6, 1.0, 1.7)  # of the rule's


def scan(cache: Path | None) -> RawData:
    """Fully sampled, of cold receivers."""
    file = None if cache is None else cache / "five-echoes.mrd"
    if file is not None and file.exists():
        return lb.read_raw(file)
    protocol = replace(
        lb.load_protocol("brain/t1-gre"),
        matrix=MATRIX,
        te=ECHOES,
        tr=24 * ms,
        acceleration=(1, 1),
        reference_lines=(0, 0),
    )
    machine = replace(lb.load_scanner("5T"), temperature=COLD)
    subject = subject_of("head", TEST_SEED)
    program = lb.build_program(protocol, machine)
    raw = Twin(subject, machine, solve_fields(machine, subject), seed=1, coils=COILS, measure_error=False).play(program)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        lb.write_raw(raw, file)
    return raw


def with_noise(raw: RawData, truth: Image, seed: int) -> RawData:
    """So much of the receivers' own noise that half of the first echo stands SNR times above it; the truth is in units of noise."""
    size = np.abs(truth.pixels[0])
    factor = np.float32(np.median(size[size > 0.1 * np.quantile(size, 0.99)]) / SNR)
    covariance = raw.noise @ raw.noise.conj().T / raw.noise.shape[1]
    lower = np.linalg.cholesky(covariance).astype(np.complex64)
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((2, *raw.samples.shape), np.float32)
    own = np.einsum("ij,rjt->rit", lower, (white[0] + 1j * white[1]) / np.float32(np.sqrt(2)), optimize=True)
    return replace(raw, samples=raw.samples + factor * own.astype(np.complex64), noise=factor * raw.noise)


def sampled(raw: RawData, masks: list[np.ndarray]) -> RawData:
    """Readouts whose place is in the mask (phase, partition) of their echo."""
    echo, line, partition = (raw.label(name) for name in ("ECO", "LIN", "PAR"))
    return raw.only(np.array([masks[e][y, z] for e, y, z in zip(echo, line, partition, strict=True)]))


def centre() -> np.ndarray:
    y, z = (np.abs(np.arange(n) - n // 2 + 0.5) < CENTRE / 2 for n in MATRIX[1:])
    return y[:, None] & z[None]


def lattice(factors: tuple[int, int]) -> np.ndarray:
    y, z = (np.arange(n) - n // 2 for n in MATRIX[1:])
    return (y[:, None] % factors[0] == 0) & (z[None] % factors[1] == 0) | centre()


def discs(factor: float, seed: int) -> np.ndarray:
    allowed = elliptical_radius(MATRIX[1:]) <= 1
    return np.asarray(poisson_disc(allowed, centre(), round(np.prod(MATRIX[1:]) / factor), seed))


def judged(image: Image, truth: Image) -> tuple[float, float, float, float]:
    """Mean PSNR (dB), NRMSE, SSIM and NRMSE within the head, of the echoes."""
    each = [
        (whole.psnr, whole.nrmse, whole.ssim, inside(a, b))
        for a, b in zip(np.abs(image.pixels), np.abs(truth.pixels), strict=True)
        for whole in (quality(a, b),)
    ]
    psnr, nrmse, ssim, within = np.mean(each, axis=0)
    return float(psnr), float(nrmse), float(ssim), float(within)


def inside(image: np.ndarray, truth: np.ndarray) -> float:
    """NRMSE where there is something to see: noise in the air about the head is of no interest."""
    where = truth > 0.1 * np.quantile(truth, 0.99)
    seen, true = image[where], truth[where]
    error = seen * (np.vdot(seen, true) / np.vdot(seen, seen)) - true
    return float(np.linalg.norm(error) / np.linalg.norm(true))


def best(raw: RawData, method: str, truth: Image) -> tuple[Image, float]:
    """By the weight of least true error, and that weight over the rule's."""
    by_rule = lb.reconstruct(raw, method=method)
    rule = float(np.mean([fit["weight"] for fit in by_rule.provenance["reconstruction"]["fits"]]))
    tried = {w: by_rule if w == 1.0 else lb.reconstruct(raw, method=method, regularisation=w * rule) for w in WEIGHTS}
    weight = min(tried, key=lambda w: judged(tried[w], truth)[1])
    return tried[weight], weight


def compare(name: str, raw: RawData, truth: Image, methods: tuple[str, ...]) -> dict[str, Image]:
    """Prints a row of each method."""
    n_places = truth.pixels.shape[0] * MATRIX[1] * MATRIX[2]
    print(f"\n{name}: one in {n_places / raw.n_readouts:.2f} lines measured", flush=True)
    images = {}
    for method in methods:
        start = time.process_time()
        if method in ("cs", "low-rank"):
            images[method], weight = best(raw, method, truth)
            said = f"{weight:g} of the rule's weight"
        else:
            images[method] = lb.reconstruct(raw, method=method)
            said = "; ".join(str(note) for note in images[method].provenance["reconstruction"].get("notes", ()))
        psnr, nrmse, ssim, within = judged(images[method], truth)
        used = time.process_time() - start
        print(
            f"  {method:10s} {psnr:6.2f} dB  NRMSE {nrmse:.4f}, in the head {within:.4f}  SSIM {ssim:.3f}  {used:5.0f} CPU s  {said}",
            flush=True,
        )
    return images


def picture(rows: list[tuple[str, Image, dict[str, Image], int]], path: Path) -> None:
    """A plane of the truth and of every method, and three times their errors below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = 1 + max(len(images) for *_, images, _ in rows)
    figure, panels = plt.subplots(
        2 * len(rows), columns, figsize=(2.3 * columns, 3.2 * len(rows)), layout="constrained"
    )
    for i, (title, truth, images, echo) in enumerate(rows):
        true = np.abs(truth.pixels[echo])
        at = true.shape[2] // 2
        top = np.quantile(true[:, :, at], 0.995)
        panels[2 * i, 0].imshow(true[::-1, :, at], cmap="gray", vmin=0, vmax=top)
        panels[2 * i, 0].set_title(f"{title}: truth", fontsize=9)
        for j, (method, image) in enumerate(images.items(), 1):
            size = np.abs(image.pixels[echo])
            found = quality(size, true)
            panels[2 * i, j].imshow(found.scale * size[::-1, :, at], cmap="gray", vmin=0, vmax=top)
            panels[2 * i, j].set_title(f"{method}, {found.psnr:.1f} dB", fontsize=9)
            wrong = 3 * np.abs(found.scale * size - true)[::-1, :, at]
            panels[2 * i + 1, j].imshow(wrong, cmap="magma", vmin=0, vmax=top)
    for panel in panels.ravel():
        panel.set_axis_off()
    figure.savefig(path, dpi=100)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two factors")
    parser.add_argument("--lattices", nargs="*", default=("grappa", "sense", "cs", "learned"), help="methods of 1")
    parser.add_argument("--echoes", nargs="*", default=("sense", "cs", "low-rank", "learned"), help="methods of 2")
    parser.add_argument("--cache", type=Path, help="a folder that keeps the scan")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    full = scan(given.cache)
    truth = lb.reconstruct(full, method="sense")
    noisy = with_noise(full, truth, seed=3)
    first = replace(truth, pixels=truth.pixels[:1])
    rows = []
    for factor, steps in list(LATTICES.items())[: 2 if given.quick else None]:
        raw = noisy.only(noisy.label("ECO") == 0)
        images = compare(
            f"lattice {steps[0]} x {steps[1]}",
            sampled(raw, [lattice(steps)]),
            first,
            tuple(given.lattices),
        )
        if factor == 6:
            rows.append((f"lattice {steps[0]} x {steps[1]}", first, images, 0))
    for factor in FACTORS[:: 2 if given.quick else 1] if given.echoes else ():
        masks = [discs(factor, 10 * int(factor) + i) for i in range(len(ECHOES))]
        images = compare(f"echoes, R = {factor:g}", sampled(noisy, masks), truth, tuple(given.echoes))
        if factor == 8:
            rows.append((f"R = {factor:g}, echo 3", truth, images, 2))
    if given.picture and rows:
        picture(rows, given.picture)


if __name__ == "__main__":
    main()
