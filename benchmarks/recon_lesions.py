"""Small lesions in undersampled images: how many vanish, and how many appear that are not there.

    python benchmarks/recon_lesions.py --cache folder       # the cache of benchmarks/recon_quality.py does
    python benchmarks/recon_lesions.py --quick

Discs of two and three pixels, 30 % brighter or darker than their tissue, are planted into a T2-weighted scan of the twin: found where at
least half of the contrast appears in the image; falsely found where half of it, of either sign, appears in even tissue without any
lesion. Learned from were blobs, rings and vessels of many sizes and contrasts, and no disc without a wall (training/problems.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from recon_quality import case_of, images_of, twin_planes
from scipy import ndimage

from lauterbur.recon.fft import fft, ifft

SNR = 30.0  # of the brightest twentieth, were all sampled


def lesions(
    planes: dict[str, list[np.ndarray]], factors: tuple[float, ...], snr: float, n_each: int, cache: Path | None
) -> None:
    """Discs planted where tissue is even, brighter or darker by 30 % of it."""
    rng = np.random.default_rng(5)
    print(f"\nplanted lesions, 30 % of the tissue's signal, signal to noise {snr:g}")
    print(f"{'R':>4} {'diameter':>9} {'method':14}{'found':>12}{'falsely found':>15}{'contrast kept':>15}")
    for factor in factors:
        for diameter in (2.0, 3.0):
            hits: dict[str, list] = {m: [] for m in ("SENSE", "CS, by rule", "learned")}
            false: dict[str, list] = {m: [] for m in hits}
            for name, of_scan in planes.items():
                for i, k in enumerate(of_scan):
                    plain = ifft(k, (1, 2))
                    size = np.linalg.norm(plain, axis=0)
                    places, even = even_places(size, rng, n_each), even_places(size, rng, 4 * n_each)
                    y, x = np.indices(size.shape)
                    planted = np.zeros_like(size)
                    for a, b in places:
                        sign = float(rng.choice([-1.0, 1.0]))
                        inside = np.clip(diameter / 2 + 0.5 - np.hypot(y - a, x - b), 0, 1)
                        planted += 0.3 * sign * inside
                    case = case_of(name, k, factor, snr, 7 + i)
                    other = case_of(name, fft((plain * (1 + planted)).astype(np.complex64), (1, 2)), factor, snr, 7 + i)
                    keep = [
                        None
                        if cache is None
                        else cache / f"lesions-{name}-{len(of_scan)}-{i}-{factor:g}-{d:g}-{n_each}.npz"
                        for d in (0.0, diameter)
                    ]
                    without, with_ = images_of(case, keep[0], (1.0,)), images_of(other, keep[1], (1.0,))
                    for m in hits:
                        for a, b in places:
                            near, rim = _near(y - a, x - b, diameter)
                            true, zero = (_contrast(c.truth, near, rim) for c in (other, case))
                            hits[m].append((_contrast(with_[m], near, rim) - zero) / (true - zero))
                        for a, b in even:
                            near, rim = _near(y - a, x - b, diameter)
                            ghost = _contrast(without[m], near, rim) - _contrast(case.truth, near, rim)
                            false[m].append(abs(ghost) / (0.3 * float(np.abs(case.truth)[near].mean())))
            for m in hits:
                share, ghost = np.array(hits[m]), np.array(false[m])
                print(
                    f"{factor:4g} {diameter:6g} px {m:14}{interval(share >= 0.5):>12}{interval(ghost >= 0.5):>15}"
                    f"{100 * np.mean(share):10.0f} +-{100 * np.std(share):2.0f}%",
                    flush=True,
                )


def even_places(size: np.ndarray, rng: np.random.Generator, n: int) -> list[tuple[int, int]]:
    """Far from edges and from each other, in tissue of some brightness."""
    steep = ndimage.maximum_filter(ndimage.gaussian_gradient_magnitude(size, 1.0), 5)
    tissue = ndimage.minimum_filter(size, 7) > 0.12 * size.max()
    candidates = np.argwhere(tissue & (steep < np.quantile(steep[tissue], 0.6)))
    chosen: list[tuple[int, int]] = []
    for a, b in rng.permutation(candidates):
        if all(np.hypot(a - c, b - d) > 10 for c, d in chosen):
            chosen.append((int(a), int(b)))
        if len(chosen) == n:
            break
    return chosen


def _near(y: np.ndarray, x: np.ndarray, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """The disc, and a rim of three pixels around it."""
    away = np.hypot(y, x)
    return away <= diameter / 2, (away > diameter / 2 + 1) & (away <= diameter / 2 + 4)


def _contrast(image: np.ndarray, near: np.ndarray, rim: np.ndarray) -> float:
    size = np.abs(image)
    return float(size[near].mean() - size[rim].mean())


def interval(found: np.ndarray) -> str:
    """Per cent, and Wilson's 95 % interval (1927)."""
    n, p, z = len(found), float(np.mean(found)), 1.96
    middle, half = (
        (p + z * z / (2 * n)) / (1 + z * z / n),
        z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n),
    )
    return f"{100 * p:.0f} ({100 * max(middle - half, 0):.0f}-{100 * min(middle + half, 1):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few of them")
    parser.add_argument("--cache", type=Path, help="folder that keeps twin scans and images")
    options = parser.parse_args()
    planes = {"t2": twin_planes("t2", 3, options.cache, None)}
    lesions(planes, (4.0, 8.0), SNR, 4 if options.quick else 10, options.cache)


if __name__ == "__main__":
    main()
