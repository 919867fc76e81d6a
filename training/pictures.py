"""The pictures to learn from: slices of our own heads and torsos in closed-form contrasts, procedural shapes, and twin scans.

    python training/pictures.py --out bank --seed 1            # a few minutes of one core
    python training/twin_scans.py --out bank           # optional: true scans of the twin, slower

Nothing here is measured: anatomy, tissues and their spread are lauterbur.subject's. A picture is complex, noise-free, and about
twice as fine as what is trained on. Equal seeds give equal pictures.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lauterbur.recon.fft import fft, ifft
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.parameters import TissueMaps, parameters
from lauterbur.subject.population import population

SIZE = 224  # pixels of a picture
SHAPES_PER_FILE = 100
TRAINING_SEED = 1000  # of populations: benchmarks judge on others
Picture = NDArray[np.complex64]


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], width: float) -> NDArray[np.float32]:
    """Gaussian random field of unit deviation, correlated over `width` pixels."""
    step = max(1, int(width / 3))
    small = [n // step + 4 for n in shape]
    field = ndimage.gaussian_filter(rng.standard_normal(small), width / step, mode="wrap")
    field /= max(float(field.std()), 1e-9)
    if step > 1:
        field = ndimage.zoom(field, step, order=1)
    return field[: shape[0], : shape[1]].astype(np.float32)


def contrast_of(rng: np.random.Generator, p: TissueMaps) -> NDArray[np.float32]:
    """Signal of every compartment by the closed form of a spin echo, inversion recovery, spoiled or balanced gradient echo."""
    t1, t2 = p.t1.astype(float), p.t2.astype(float)
    kind = rng.choice(["spin echo", "inversion", "spoiled", "balanced", "density"], p=[0.35, 0.25, 0.25, 0.1, 0.05])
    if kind == "spin echo":
        repetition, echo = rng.uniform(0.4, 6.0), rng.uniform(0.008, 0.13)
        signal = (1 - np.exp(-repetition / t1)) * np.exp(-echo / t2)
    elif kind == "inversion":
        repetition, inversion, echo = rng.uniform(2.0, 9.0), rng.uniform(0.2, 2.6), rng.uniform(0.003, 0.09)
        signal = (1 - 2 * np.exp(-inversion / t1) + np.exp(-repetition / t1)) * np.exp(-echo / t2)
    elif kind == "spoiled":
        repetition, flip, echo = rng.uniform(0.005, 0.6), np.deg2rad(rng.uniform(5, 70)), rng.uniform(0.002, 0.03)
        e1 = np.exp(-repetition / t1)
        star = 1 / (1 / t2 + 1 / p.t2_prime.astype(float))
        signal = np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1) * np.exp(-echo / star)
    elif kind == "balanced":
        flip = np.deg2rad(rng.uniform(20, 70))
        signal = np.sin(flip) / (1 + np.cos(flip) + (1 - np.cos(flip)) * t1 / t2)
    else:
        signal = np.ones(len(t1))
    return (signal * p.proton_density * p.fraction).astype(np.float32)


def slice_of(rng: np.random.Generator, subject: Subject, axis: int, first: int, thick: int) -> list[Picture]:
    """Two contrasts of one slice, blurred by the decay along an echo train, with a smooth phase; the chemical shift turns fat."""
    shape = subject.labels.shape[1:]
    region = np.zeros(shape, bool)
    region[(slice(None),) * axis + (slice(first, first + thick),)] = True
    found = parameters(subject, float(rng.uniform(2.9, 5.0)), region=region)
    if len(found.voxel) < 2000:
        return []
    place = np.stack(np.unravel_index(found.voxel, shape))
    across = [a for a in range(3) if a != axis]
    flat = place[across[0]] * shape[across[1]] + place[across[1]]
    plane = (shape[across[0]], shape[across[1]])
    pictures = []
    for _ in range(2):
        signal = contrast_of(rng, found) * np.exp(1j * rng.uniform(0, np.pi) * (found.chemical_shift / 3.4))
        classes = np.digitize(found.t2, [0.05, 0.09, 0.2]) if rng.random() < 0.5 else np.zeros(len(flat), int)
        span = rng.uniform(0.02, 0.15)  # s, of the echo train
        total = np.zeros(plane, np.complex64)
        for i in np.unique(classes):
            mine = classes == i
            image = np.zeros(plane[0] * plane[1], np.complex64)
            image += np.bincount(flat[mine], signal.real[mine], len(image)) / thick
            image += 1j * np.bincount(flat[mine], signal.imag[mine], len(image)) / thick
            part = image.reshape(plane)
            if classes.any():
                k = np.linspace(-1, 1, plane[0])
                time = span * (np.abs(k) if rng.random() < 0.5 else (k + 1) / 2)
                part = ifft(fft(part, 0) * np.exp(-time / np.median(found.t2[mine])).astype(np.float32)[:, None], 0)
            total += part
        pictures.append(centred(total * phase_of(rng, plane)))
    return pictures


def phase_of(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """A smooth phase: of the transmit field, and of off-resonance with a steep place as above a sinus."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    phase = rng.normal(0, 1.0) * x + rng.normal(0, 1.0) * y + rng.normal(0, 0.7) * (x * x + y * y)
    phase = phase + rng.uniform(0, 0.8) * smooth_field(rng, shape, 30)
    if rng.random() < 0.4:
        cy, cx, width = rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), rng.uniform(0.08, 0.3)
        phase = phase + rng.normal(0, 3) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / width**2)
    return np.exp(1j * (phase + rng.uniform(0, 2 * np.pi))).astype(np.complex64)


def centred(image: Picture) -> Picture:
    """Cut or filled to SIZE x SIZE about its middle."""
    out = np.zeros((SIZE, SIZE), np.complex64)
    take = [min(n, SIZE) for n in image.shape]
    a, b = [(n - t) // 2 for n, t in zip(image.shape, take, strict=True)]
    c, d = [(SIZE - t) // 2 for t in take]
    out[c : c + take[0], d : d + take[1]] = image[a : a + take[0], b : b + take[1]]
    return out


def procedural(rng: np.random.Generator) -> Picture:
    """Shapes of random size, brightness and texture, lines, dots and a smooth phase; edges of about a pixel."""
    y, x = np.meshgrid(np.arange(SIZE) - SIZE / 2, np.arange(SIZE) - SIZE / 2, indexing="ij")
    wobble = [smooth_field(rng, (SIZE, SIZE), rng.uniform(8, 40)) * rng.uniform(0, 8) for _ in range(2)]
    u, v = x + wobble[0], y + wobble[1]
    half = rng.uniform(0.5, 0.98, 2) * SIZE / 2
    radius = np.hypot(u / half[0], v / half[1])
    body = np.clip((1 - radius) * half.min(), 0, 1)
    image = body * rng.uniform(0.2, 1.0)
    for _ in range(rng.integers(5, 60)):
        size = np.exp(rng.uniform(np.log(1.0), np.log(60)))
        angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.15, 1.0)
        cx, cy = rng.uniform(-0.9, 0.9, 2) * half
        du, dv = (
            (u - cx) * np.cos(angle) + (v - cy) * np.sin(angle),
            (v - cy) * np.cos(angle) - (u - cx) * np.sin(angle),
        )
        power = rng.choice([2.0, 2.0, 6.0])  # ellipses, rounded boxes
        distance = (np.abs(du / size) ** power + np.abs(dv / (size * ratio)) ** power) ** (1 / power)
        inside = np.clip((1 - distance) * size * ratio / rng.choice([1.0, 1.0, 4.0]) + 0.5, 0, 1)
        if rng.random() < 0.25:
            inside = inside * (distance > rng.uniform(0.5, 0.9))  # rings: walls, skulls
        value = rng.uniform(0, 1.2)
        image = image * (1 - inside) + inside * value if rng.random() < 0.7 else image + inside * rng.normal(0, 0.3)
    for _ in range(rng.integers(0, 12)):  # thin lines: vessels, sulci
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.6, 0.6) * SIZE / 2
        line = np.abs(u * np.cos(angle) + v * np.sin(angle) - offset)
        width = np.exp(rng.uniform(np.log(0.5), np.log(3)))
        part = (smooth_field(rng, (SIZE, SIZE), 40) > 0.3) if rng.random() < 0.7 else 1.0
        image = image + rng.normal(0, 0.5) * np.clip(width + 0.5 - line, 0, 1) * part
    if rng.random() < 0.6:
        texture = smooth_field(rng, (SIZE, SIZE), np.exp(rng.uniform(np.log(0.7), np.log(6))))
        where = smooth_field(rng, (SIZE, SIZE), 25) > rng.normal(0, 1)
        image = image * (1 + rng.uniform(0.02, 0.3) * texture * where)
    image = np.maximum(image, 0) * (body > 0) if rng.random() < 0.8 else np.maximum(image, 0)
    return (image * phase_of(rng, (SIZE, SIZE))).astype(np.complex64)


def of_subjects(kind: str, n: int, slices: int, seed: int, out: Path) -> None:
    """A file for each subject; those that exist are kept, so that an interrupted run goes on."""
    options = {} if kind == "head" else {"arms": False}
    for i, subject in enumerate(population(kind, n, seed, **options)):
        file = out / f"{kind}-{i:02d}.npy"
        if file.exists():
            continue
        rng = np.random.default_rng([seed, i, 7])
        pictures: list[Picture] = []
        for _ in range(slices):
            axis = int(rng.integers(3))
            thick = (
                int(rng.integers(2, 7)) if kind == "head" else int(rng.integers(1, 4))
            )  # texture averages out as in a slice
            length = subject.labels.shape[1 + axis]
            first = int(rng.integers(int(0.1 * length), int(0.9 * length) - thick))
            pictures += slice_of(rng, subject, axis, first, thick)
        save(pictures, file)


def of_shapes(n: int, seed: int, out: Path) -> None:
    for first in range(0, n, SHAPES_PER_FILE):
        file = out / f"shapes-{first // SHAPES_PER_FILE:02d}.npy"
        if not file.exists():
            save(
                [procedural(np.random.default_rng([seed, i])) for i in range(first, min(n, first + SHAPES_PER_FILE))],
                file,
            )


def save(pictures: list[Picture], path: Path) -> None:
    """Each scaled to a largest magnitude of 1, real and imaginary parts as float16; written whole, then renamed."""
    scaled = np.stack([p / max(float(np.abs(p).max()), 1e-12) for p in pictures])
    values = np.stack([scaled.real, scaled.imag], axis=1).astype(np.float16)
    draft = path.with_suffix(".part.npy")
    np.save(draft, values)
    os.replace(draft, path)
    print(f"{path}: {len(pictures)} pictures", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bank"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--torsos", type=int, default=6)
    parser.add_argument("--slices", type=int, default=32, help="of each subject, in two contrasts each")
    parser.add_argument("--procedural", type=int, default=300)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    seed = TRAINING_SEED + options.seed
    of_shapes(options.procedural, seed, options.out)
    of_subjects("head", options.heads, options.slices, seed, options.out)
    of_subjects("torso", options.torsos, options.slices, seed, options.out)


if __name__ == "__main__":
    main()
