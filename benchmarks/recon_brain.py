"""A real brain of 8 receivers, sampled to an eighth: a tenth of the samples outside the centre is withheld, and foretold by every method.

    python benchmarks/recon_brain.py ../shared/data/kspace/brain_8ch_poisson.npy
    python benchmarks/recon_brain.py ../shared/data/kspace/brain_8ch_poisson.npy --tune    # the learned prior tuned to it, needs torch

Compressed sensing gets the weight that foretells best; tuning never sees what is withheld here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.encoded import Planes
from lauterbur.recon.espirit import plane_maps
from lauterbur.recon.fft import fft, resized
from lauterbur.recon.irregular import solved
from lauterbur.recon.learned import learned_image
from lauterbur.recon.learned_network import least_squares, scale_of, shipped_weights
from lauterbur.recon.regularisation import noise_level, sparse_weight
from lauterbur.recon.sparse import LEAST_CONFIDENCE, sparse_image
from lauterbur.recon.tuning import tuned
from lauterbur.recon.withheld import Measured
from lauterbur.sequence.poisson import elliptical_radius

CENTRE = 24  # lines that calibrate
WEIGHTS = (0.02, 0.05, 0.1, 0.6, 1.0, 1.7)  # of the rule's


def real_brain(path: Path, *, tune: bool = False) -> dict[str, np.ndarray]:
    """Images of all methods by name; prints what each makes of the withheld samples."""
    k = np.load(path)
    k = k / np.abs(k).max()
    mask = np.any(k != 0, axis=0)
    rng = np.random.default_rng(0)
    y, x = (np.abs(np.arange(n) - n // 2 + 0.5) < CENTRE / 2 for n in mask.shape)
    outer = np.flatnonzero((mask & ~(y[:, None] & x[None])).ravel())
    held = np.zeros(mask.size, bool)
    held[rng.choice(outer, len(outer) // 10, replace=False)] = True
    held = held.reshape(mask.shape)
    kept = mask & ~held
    samples = (k * kept).astype(np.complex64)
    radius = elliptical_radius(mask.shape)[kept]
    noise = noise_level(samples[:, kept].T[..., None], radius)
    found = plane_maps(resized(resized(k, CENTRE, 1), CENTRE, 2), mask.shape)
    maps = found.sensitivity[0] * (found.eigenvalue[0] >= LEAST_CONFIDENCE)
    sense = CartesianSense(np.ascontiguousarray(maps[None, None], np.complex64), kept, 1)

    def missed(image: np.ndarray) -> float:
        told = fft(maps * image, (1, 2))
        return float(np.linalg.norm((told - k)[:, held]) / np.linalg.norm(k[:, held]))

    right = sense.adjoint(samples[None])
    problem = Planes(sense, right, float(np.linalg.norm(samples) ** 2), int(kept.sum()) * len(k))
    rule = sparse_weight(noise, float(kept.mean()))
    sparse = {w: sparse_image(problem, w * rule)[0][0, 0] for w in WEIGHTS}
    best = min(sparse, key=lambda w: missed(sparse[w]))
    ours, fit = learned_image(sense, samples[None], noise=noise)
    least = solved(samples[None], kept, sense.maps[:, 0], noise=0.0)[0]
    images = {
        "zero-filled": right[0, 0], "SENSE": least, "CS, by rule": sparse[1.0], "CS, oracle": sparse[best], "learned": ours[0, 0],
    }  # fmt: skip
    if tune:
        scale = scale_of(least_squares(sense, right))
        weights, brought = tuned([Measured(sense.maps[0, 0], samples, kept, noise, scale)], shipped_weights())
        images["learned, tuned"] = learned_image(sense, samples[None], noise=noise, weights=weights)[0][0, 0]
        print(
            f"\ntuned in {brought.steps} steps: {brought.before:.4f} to {brought.after:.4f} of samples that it withheld"
        )
    print(
        f"\nreal brain, {k.shape[0]} receivers, {kept.mean():.3f} sampled; error of {held.sum()} withheld places, relative"
    )
    for method, image in images.items():
        print(f"     {method:14}{missed(image):8.4f}")
    print(
        f"     oracle's weight {best:g} of the rule's; noise taken {noise:.2e}; learned leaves a residual of {fit.residual / noise:.2f}, "
        f"least squares of {fit.least_squares / noise:.2f} noise",
        flush=True,
    )
    return images


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="complex k-space (rx, y, x), zero where not measured")
    parser.add_argument("--tune", action="store_true")
    given = parser.parse_args()
    real_brain(given.file, tune=given.tune)
