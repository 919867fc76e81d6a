"""Reconstruction sees raw data only. Here they are made by hand: a square, eight receivers, noise, every second line."""

# %% Raw data of a square, seen by eight receivers
import numpy as np

import lauterbur as lb
from lauterbur.rawdata import Header

n, n_rx, fov = 96, 8, 0.24
chance = np.random.default_rng(0)
place = (np.arange(n) - n // 2) * fov / n
x, y = np.meshgrid(place, place)  # (y, x)
square = (np.abs(x) < 0.06) & (np.abs(y) < 0.08)
around = np.exp(2j * np.pi * np.arange(n_rx) / n_rx)
coils = np.exp(-((x - 0.15 * around.real[:, None, None]) ** 2 + (y - 0.15 * around.imag[:, None, None]) ** 2) / 0.03)
coils = coils * around[:, None, None]
space = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(square * coils, axes=(1, 2)), norm="ortho"), axes=(1, 2))
space = space + 0.005 * (chance.standard_normal((*space.shape, 2)) @ [1, 1j])

# %% Every second line, and 24 reference lines in the middle
lines = np.flatnonzero((np.arange(n) % 2 == 0) | (np.abs(np.arange(n) - n // 2) < 12))
k_axis = (np.arange(n) - n // 2) / fov
k = np.zeros((len(lines), n, 3), np.float32)
k[..., 0], k[..., 1] = k_axis, k_axis[lines][:, None]
header = Header((n, n, 1), (fov, fov, 0.005), slice_positions=((0.0, 0.0, 0.0),), slice_thickness=0.005, dimensions=2)
raw = lb.RawData(
    samples=np.ascontiguousarray(space[:, lines].transpose(1, 0, 2)).astype(np.complex64),
    n_samples=np.full(len(lines), n, np.int32),
    k=k,
    time=np.arange(len(lines)) * 5e-3,
    dwell=np.full(len(lines), 10e-6),
    center_sample=np.full(len(lines), n // 2, np.int32),
    labels={"LIN": lines.astype(np.int32)},
    header=header,
)

# %% To disk, back, and to an image
lb.write_raw(raw, "square.mrd")
image = lb.reconstruct(lb.read_raw("square.mrd"))
picture = np.abs(image.pixels[0, 0])
print(image.provenance["reconstruction"]["method"], picture.shape)
picture = picture / np.median(picture[square])
print(f"inside {picture[square].mean():.2f}, outside {picture[~square].mean():.3f}")
assert picture[~square].mean() < 0.1
