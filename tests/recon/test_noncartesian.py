"""Radial and arbitrary trajectories."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import HEAD, Scan, box_image, nrmse, raw_of, ring, signal

from lauterbur.errors import InputError
from lauterbur.rawdata import Header
from lauterbur.recon.reconstruction import reconstruct

N, FOV = 48, 0.24
FLAT = tuple((c, (*s[:2], 1.0), a) for c, s, a in HEAD)
HEADER = Header(matrix=(N, N, 1), fov=(FOV, FOV, 0.005), trajectory="radial", dimensions=2, slice_thickness=0.005)


def spokes(n: int = 90, *, n_rx: int = 1, phases=None, header=HEADER):
    angle = np.pi * np.arange(n) / n
    radius = (np.arange(2 * N) - N + 0.5) / (2 * FOV)
    k = np.zeros((n, 2 * N, 3))
    k[..., 0], k[..., 1] = np.outer(np.cos(angle), radius), np.outer(np.sin(angle), radius)
    samples = signal(k, ring(n_rx) if n_rx > 1 else None, boxes=FLAT)
    if phases is not None:
        samples = samples * np.exp(1j * phases)[:, None, None]
    return raw_of(samples, k, header, LIN=np.arange(n))


def cut(image):
    """Truth in the plane z = 0 of the flat boxes."""
    return box_image(image.affine, image.pixels.shape[1:], boxes=tuple(((*c[:2], 0.0), s, a) for c, s, a in FLAT))


def test_radial_spokes_give_the_object_where_it_is_and_as_bright_as_a_grid_does():
    image = reconstruct(spokes())
    truth = cut(image)
    assert nrmse(np.abs(image.pixels[0]), np.abs(truth)) < 0.3  # a disc of k-space against hard edges
    grid = (np.arange(N) - N // 2) / FOV
    k = np.stack([*np.meshgrid(grid, grid, indexing="xy"), np.zeros((N, N))], axis=-1)
    even = reconstruct(raw_of(signal(k, boxes=FLAT), k, replace(HEADER, trajectory="cartesian"), LIN=np.arange(N)))
    assert np.allclose(even.affine, image.affine)
    inside = (0, 0, slice(20, 24), slice(18, 22))
    assert np.isclose(np.mean(image.pixels[inside].real), np.mean(even.pixels[inside].real), rtol=0.1)
    assert np.abs(np.angle(np.mean(image.pixels[inside]))) < 0.1


def test_several_receivers_are_combined():
    image = reconstruct(spokes(n_rx=6))
    y, x = np.meshgrid((np.arange(N) - N // 2) / N * FOV, (np.arange(N) - N // 2) / N * FOV, indexing="ij")
    shading = sum(np.abs(r.sensitivity(np.stack([x, y, 0 * x], axis=-1))) ** 2 for r in ring(6)) ** 0.5
    assert nrmse(np.abs(image.pixels[0]), np.abs(cut(image)) * shading) < 0.4


def test_spokes_of_alternating_sign_are_turned_alike():
    turned = reconstruct(spokes(phases=np.pi * (np.arange(90) % 2)))
    assert nrmse(turned.pixels, reconstruct(spokes()).pixels) < 0.01
    assert "same phase" in turned.provenance["reconstruction"]["notes"][0]


def test_a_trajectory_alone_tells_how_to_grid_it():
    image = reconstruct(replace(spokes(), header=None, labels={}))
    assert image.provenance["reconstruction"]["method"] == "density-compensated NUFFT"
    assert nrmse(np.abs(image.pixels[0]), np.abs(cut(image))) < 0.4


def test_a_volume_of_scattered_lines_is_gridded():
    scan = Scan(matrix=(24, 24, 16), fov=(0.26, 0.26, 0.2))
    even = reconstruct(scan.raw())
    gridded = reconstruct(scan.raw(), method="nufft")
    assert np.allclose(gridded.affine, even.affine)
    assert nrmse(np.abs(gridded.pixels), np.abs(even.pixels)) < 0.15


def test_a_radial_scan_without_its_trajectory_is_refused():
    raw = spokes()
    with pytest.raises(InputError, match=r"raw.k is zero everywhere"):
        reconstruct(replace(raw, k=np.zeros_like(raw.k)))
