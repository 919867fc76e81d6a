"""Problems to learn from: a picture seen by receivers, undersampled, with noise - and what its full, noise-free data would give.

`problem(bank, seed, shape, n_rx)` is a pure function of its seed. Maps are found from the noisy centre by ESPIRiT as in a reconstruction
wherever the object ends inside the field of view; where it fills it, as after the crop along a readout, they are the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.compress import compression
from lauterbur.recon.espirit import plane_maps
from lauterbur.recon.fft import fft, ifft, resized
from lauterbur.recon.learned_network import first_image, least_squares
from lauterbur.sequence.poisson import elliptical_radius, poisson_disc

Complex = NDArray[np.complex64]
SHARES = {"head": 0.3, "torso": 0.1, "shapes": 0.15, "twin": 0.45}  # of what is drawn
LATTICES = ((1, 2), (2, 1), (2, 2), (3, 2), (2, 3), (1, 3), (3, 3), (4, 2), (2, 4))
CONFIDENT = 0.6  # eigenvalue of a map below which a place counts as empty


@dataclass(frozen=True)
class Problem:
    right: Complex  # (a, b) A' y
    least: Complex  # (a, b) by least squares
    start: Complex  # (a, b) what the first turn starts from
    maps: Complex  # (rx, a, b), zero outside the object
    mask: NDArray[np.bool_]  # (a, b)
    noise: float  # standard deviation of a sample, both parts together
    target: Complex  # (a, b) the full, noise-free data combined with the same maps


class Bank:
    """Pictures of files KIND-*.npy, each (n, 2, y, x); kinds are drawn by their shares."""

    def __init__(self, folder: Path):
        self.files: list[list[NDArray[np.float16]]] = []
        self.shares: list[float] = []
        for kind, share in SHARES.items():
            found = [np.load(path, mmap_mode="r") for path in sorted(folder.glob(f"{kind}-??.npy"))]
            if found:
                self.files.append(found)
                self.shares.append(share)
        if not self.files:
            raise SystemExit(f"{folder} holds no pictures; make them with training/pictures.py")

    def draw(self, rng: np.random.Generator) -> Complex:
        of_kind = self.files[rng.choice(len(self.files), p=np.array(self.shares) / sum(self.shares))]
        pictures = of_kind[rng.integers(len(of_kind))]
        real, imaginary = np.asarray(pictures[rng.integers(len(pictures))], np.float32)
        return (real + 1j * imaginary).astype(np.complex64)


def object_of(
    rng: np.random.Generator, picture: Complex, shape: tuple[int, int], is_fine: bool = False
) -> tuple[Complex, bool]:
    """The picture turned, mirrored, made coarser as a scan would or enlarged, and cut; whether the object ends inside.

    is_fine: mostly parts of it, about as fine as it is (a millimetre of a head) or smoother than its pixels could show; else whole ones
    of two or three millimetres prevail.
    """
    picture = np.rot90(picture, rng.integers(4))
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if rng.random() < 0.5:
        picture = picture.conj()
    fits = rng.random() < (0.2 if is_fine else 0.6)
    longest = max(np.ptp(np.flatnonzero(np.abs(picture).max(axis=1 - axis) > 0.02)) + 1 for axis in (0, 1))
    factor = (
        rng.uniform(0.75, 0.98) * min(shape) / longest
        if fits
        else rng.uniform(*((0.65, 1.4) if is_fine else (0.5, 0.85)))
    )
    n = 2 * int(np.clip(factor, 0.3, 1.4) * len(picture) / 2)
    small = ifft(resized(resized(fft(picture, (0, 1)), n, 0), n, 1), (0, 1))
    if fits:
        return resized(resized(small, shape[0], 0), shape[1], 1), True
    for _ in range(8):
        a, b = (int(rng.integers(max(n - m, 0) + 1)) for m in shape)
        part = small[a : a + shape[0], b : b + shape[1]]
        if np.mean(np.abs(part) > 0.1) > 0.3:
            break
    return resized(resized(part, shape[0], 0), shape[1], 1), False


def with_details(rng: np.random.Generator, picture: Complex) -> Complex:
    """Half of the pictures with small things added: blobs, spindles, rings and arcs of one to a dozen pixels, fainter or brighter than what
    they lie in. Rings have an inside of their own, as vessels have; there is no disc without a wall, by which benchmarks judge."""
    if rng.random() < 0.5:
        return picture
    size = np.abs(picture)
    places = np.flatnonzero(size > 0.15 * size.max())
    if len(places) == 0:
        return picture
    picture = picture.copy()
    for place in rng.choice(places, int(rng.integers(1, 25))):
        centre = np.array(np.unravel_index(place, picture.shape))
        low, high = np.maximum(centre - 16, 0), np.minimum(centre + 17, picture.shape)
        window = (slice(low[0], high[0]), slice(low[1], high[1]))
        y, x = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]), indexing="ij")
        dy, dx = y - centre[0] + rng.uniform(-0.5, 0.5), x - centre[1] + rng.uniform(-0.5, 0.5)
        angle, reach, slim = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(1.0), np.log(7.0))), rng.uniform(0.4, 1.0)
        u, v = dx * np.cos(angle) + dy * np.sin(angle), (dy * np.cos(angle) - dx * np.sin(angle)) / slim
        radius = np.hypot(u, v)
        change = rng.choice([-1.0, 1.0]) * np.exp(rng.uniform(np.log(0.1), np.log(1.2)))
        if rng.random() < 0.6:
            part = np.exp(-0.5 * (radius / (0.6 * reach)) ** 2) * change
        else:
            wall = np.exp(rng.uniform(np.log(0.5), np.log(1.8)))
            part = np.exp(-0.5 * ((radius - reach) / wall) ** 2) * change
            if rng.random() < 0.5:  # an arc: a wall that is thicker on one side
                part = part * np.clip(0.5 + np.cos(np.arctan2(v, u) - rng.uniform(0, 2 * np.pi)), 0, 1)
            part = part + np.clip(reach - radius, 0, 1) * rng.uniform(-1, 0.3)
        picture[window] *= np.maximum(1 + part, 0).astype(np.float32)
    return picture


def with_vessels(rng: np.random.Generator, picture: Complex) -> Complex:
    """A third of the pictures with tubes added, across or along the plane: a lumen, mostly dark, of one to ten pixels, a wall of half a pixel to two,
    and often a dark rim as of the fluid that arteries of the brain lie in. Curves are parabolas."""
    if rng.random() > 1 / 3:
        return picture
    size = np.abs(picture)
    bright = np.quantile(size[size > 0.02 * size.max()], 0.9) if np.any(size) else 0.0
    places = np.flatnonzero(size > 0.02 * size.max())
    if bright == 0 or len(places) == 0:
        return picture
    picture = picture.copy()
    for place in rng.choice(places, int(rng.integers(1, 13))):
        centre = np.array(np.unravel_index(place, picture.shape)) + rng.uniform(-0.5, 0.5, 2)
        length = 0.0 if rng.random() < 0.5 else rng.uniform(4, 30)
        radius, wall = np.exp(rng.uniform(np.log([0.5, 0.5]), np.log([5.0, 2.0])))
        rim = rng.uniform(0, 8) if rng.random() < 0.6 else 0.0
        way = rng.normal(size=(2, 2)) * [[1.0], [0.3]]
        way *= length / 2 / max(float(np.linalg.norm(way[0])), 1e-9)
        t = np.linspace(-1, 1, max(int(2 * length), 1))[:, None] if length else np.zeros((1, 1))
        curve = centre + t * way[0] + t**2 * way[1]
        reach = radius + wall + rim + 2
        low = np.clip((curve.min(axis=0) - reach).astype(int), 0, picture.shape)
        high = np.clip((curve.max(axis=0) + reach + 1).astype(int), 0, picture.shape)
        if np.any(high <= low):
            continue
        window = (slice(low[0], high[0]), slice(low[1], high[1]))
        grid = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
        distance = cKDTree(curve).query(grid)[0]
        part = picture[window]
        phase = np.exp(1j * np.angle(ndimage.gaussian_filter(part, 2.0) + 1e-9))
        for end, value in (
            (radius + wall + rim, rng.uniform(0, 0.4)),
            (radius + wall, np.exp(rng.uniform(np.log(0.1), 0.0))),
            (radius, rng.uniform(0, 0.15) if rng.random() < 0.8 else rng.uniform(0.5, 1.2)),
        ):
            if end == radius + wall and length and rng.random() < 0.3:
                continue  # one without a wall, along the plane alone: no disc without one
            inside = np.clip(end - distance + 0.5, 0, 1)
            part = part * (1 - inside) + inside * value * bright * phase
        picture[window] = part
    return picture.astype(np.complex64)


def receivers(rng: np.random.Generator, shape: tuple[int, int], n_loops: int) -> Complex:
    """(loop, a, b) of loops around the object: falling as a loop's axis field, turning with direction and distance."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    reach, size = rng.uniform(1.0, 1.5), rng.uniform(0.35, 0.9)
    wave = rng.uniform(1.0, 6.0)
    maps = []
    for i in range(n_loops):
        angle = 2 * np.pi * (i + rng.uniform(-0.3, 0.3)) / n_loops
        dx, dy, dz = x - reach * np.cos(angle), y - reach * np.sin(angle), rng.uniform(-0.6, 0.6)
        square = dx * dx + dy * dy + dz * dz
        turn = np.arctan2(dy, dx) * rng.choice([0.0, 1.0]) + 2 * np.pi * np.sqrt(square) / wave + rng.uniform(0, 7)
        maps.append((size * size / (size * size + square)) ** 1.5 * np.exp(1j * turn))
    return np.stack(maps).astype(np.complex64)


def sampled(rng: np.random.Generator, shape: tuple[int, int], most: float) -> NDArray[np.bool_]:
    """A mask with its centre, of at most one in `most` points: Poisson discs, random of variable density or a lattice; lines."""
    kind = rng.choice(["poisson", "density", "lattice", "lines", "comb"], p=[0.4, 0.15, 0.15, 0.2, 0.1])
    y, x = (np.arange(n) - n // 2 for n in shape)
    if kind in ("lines", "comb"):
        centre = np.abs(x) < rng.integers(6, 11)
        factor = rng.uniform(1.6, min(most, 5.0))
        if kind == "comb":
            lines = centre | ((x + rng.integers(8)) % int(rng.integers(2, 6)) == 0)
        else:
            wanted = max(int(shape[1] / factor) - int(centre.sum()), 4)
            weight = np.where(centre, 0, (1.05 - np.abs(x) / (shape[1] / 2)) ** rng.uniform(0, 2.5))
            lines = centre.copy()
            lines[rng.choice(shape[1], wanted, replace=False, p=weight / weight.sum())] = True
        return np.broadcast_to(lines, shape).copy()
    radius = elliptical_radius(shape)
    allowed = radius <= 1 if rng.random() < 0.6 else np.ones(shape, bool)
    half = rng.integers(6, 11)
    centre = (np.abs(y)[:, None] < half) & (np.abs(x)[None] < half)
    factor = np.exp(rng.uniform(np.log(2.2), np.log(min(most, 16))))
    wanted = int(np.clip(shape[0] * shape[1] / factor, centre.sum() + 200, allowed.sum()))
    if kind == "poisson":
        return np.asarray(poisson_disc(allowed, centre, wanted, int(rng.integers(2**31))))
    if kind == "lattice":
        r_y, r_x = LATTICES[rng.integers(len(LATTICES))]
        lattice = ((y[:, None] % r_y) == 0) & ((x[None] + y[:, None] // r_y * rng.integers(2)) % r_x == 0)
        return (lattice & allowed) | centre
    weight = np.where(allowed & ~centre, (1.05 - np.minimum(radius, 1)) ** rng.uniform(0, 3), 0).ravel()
    mask = centre.ravel().copy()
    mask[rng.choice(mask.size, wanted - int(centre.sum()), replace=False, p=weight / weight.sum())] = True
    return mask.reshape(shape)


def problem(bank: Bank, seed: Any, shape: tuple[int, int], n_rx: int, is_fine: bool = False) -> Problem:
    rng = np.random.default_rng(seed)
    image, ends = object_of(rng, with_vessels(rng, with_details(rng, bank.draw(rng))), shape, is_fine)
    if not np.any(image):
        image = image + np.float32(1e-3)
    views = receivers(rng, shape, int(rng.integers(n_rx, 3 * n_rx + 1)))
    seen = views * image
    mixing, _ = compression(seen.reshape(len(seen), -1)[:, ::7], n_rx)
    true_maps = np.tensordot(mixing.astype(np.complex64), views, axes=1)
    seen = true_maps * image
    whole = np.linalg.norm(seen, axis=0)
    bright = np.sqrt(np.mean(np.sort(whole.ravel() ** 2)[-max(whole.size // 20, 1) :]))
    noise = float(bright) * float(np.exp(-rng.uniform(np.log(8), np.log(150))))
    k = fft(seen, (1, 2))
    white = rng.standard_normal((2, *k.shape), np.float32)
    noisy = k + np.float32(noise / np.sqrt(2)) * (white[0] + 1j * white[1])
    mask = sampled(rng, shape, 4.0 * n_rx)
    if n_rx == 1:
        maps = np.ones((1, *shape), np.complex64)
    elif ends:
        rows, columns = (np.flatnonzero(mask[shape[0] // 2]), np.flatnonzero(mask[:, shape[1] // 2]))
        reach = [_reach(found, n) for found, n in ((columns, shape[0]), (rows, shape[1]))]
        block = [slice(n // 2 - min(r, 12), n // 2 + min(r, 12)) for n, r in zip(shape, reach, strict=True)]
        found = plane_maps(noisy[:, block[0], block[1]], shape, noise=noise)
        inside = ndimage.binary_dilation(found.eigenvalue[0] >= CONFIDENT, iterations=1)
        maps = found.sensitivity[0] * inside
    else:
        maps = true_maps / np.maximum(np.linalg.norm(true_maps, axis=0), 1e-9)
    sense = CartesianSense(np.ascontiguousarray(maps[None, None], np.complex64), mask, 1)
    right = sense.adjoint((noisy * mask)[None])
    least = least_squares(sense, right)
    start = first_image(sense, right, noise, least)
    target = np.sum(maps.conj() * seen, axis=0)
    return Problem(right[0, 0], least[0, 0], start[0, 0], maps, mask, noise, target)


def _reach(measured: NDArray[np.intp], n: int) -> int:
    """Half width of the contiguous centre."""
    reach = 0
    have = set(measured.tolist())
    while n // 2 + reach in have and n // 2 - reach - 1 in have:
        reach += 1
    return max(reach, 3)
