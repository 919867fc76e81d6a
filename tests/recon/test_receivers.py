"""Noise, compression and sensitivities."""

import numpy as np
import pytest
from boxes import Scan, nrmse, ring
from laws import random_complex

from lauterbur.errors import InputError
from lauterbur.recon.coils import coarse_maps
from lauterbur.recon.compress import compression
from lauterbur.recon.fft import fft, resized
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.recon.whiten import noise_covariance, whitening


def coloured_noise(n_rx: int, n: int, seed: int = 0):
    return random_complex((n_rx, n_rx), seed) @ random_complex((n_rx, n), seed + 1)


def test_whitened_noise_has_the_identity_as_its_covariance():
    noise = coloured_noise(6, 4000)
    mixed = whitening(noise_covariance(noise)) @ noise
    assert np.allclose(noise_covariance(mixed), np.eye(6), atol=1e-5)


def test_noise_of_an_image_is_one_where_the_noise_is_known():
    scan = Scan(matrix=(32, 32, 8), n_rx=4)
    raw = scan.raw()
    colour = random_complex((4, 4), 7) * 1e-7
    noise = (colour @ random_complex((4, 20000), 8)).astype(np.complex64)
    shape = raw.samples.shape
    lines = (colour @ random_complex((4, shape[0] * shape[2]), 9)).reshape(4, shape[0], shape[2]).transpose(1, 0, 2)
    from dataclasses import replace

    quiet = reconstruct(replace(raw, noise=noise)).pixels
    loud = reconstruct(replace(raw, samples=raw.samples + lines.astype(np.complex64), noise=noise)).pixels
    difference = (loud - quiet)[0, :, 8:24, 8:24]
    assert np.isclose(np.sqrt(np.mean(np.abs(difference) ** 2)), np.sqrt(2) / np.sqrt(2), rtol=0.15)


def test_a_silent_receiver_is_named_as_the_trouble_of_whitening():
    noise = coloured_noise(4, 100)
    noise[2] = 0
    with pytest.raises(InputError, match="silent"):
        whitening(noise_covariance(noise))


def test_a_short_noise_scan_is_refused():
    with pytest.raises(InputError, match="at least 64"):
        noise_covariance(coloured_noise(8, 20))


def test_compression_keeps_the_energy_of_a_low_rank_signal_and_white_noise_white():
    signal = random_complex((8, 3), 1) @ random_complex((3, 500), 2)
    rows, energy = compression(signal, 3)
    assert np.allclose(rows @ rows.conj().T, np.eye(3), atol=1e-10)
    assert np.isclose(np.linalg.norm(rows @ signal), np.linalg.norm(signal), rtol=1e-5)
    assert energy[3:].max() < 1e-6 * energy[0]


def test_compressed_receivers_give_nearly_the_same_image():
    raw = Scan(matrix=(32, 28, 12), n_rx=8).raw()
    full, less = reconstruct(raw), reconstruct(raw, coils=5)
    assert less.provenance["reconstruction"]["receivers"] == [8, 5]
    assert nrmse(np.abs(less.pixels), np.abs(full.pixels)) < 0.02


def test_sensitivity_maps_are_the_receivers_up_to_a_common_factor():
    n, n_rx, fov = 48, 6, np.array([0.2, 0.22])
    y, x = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    position = np.stack([(x - n // 2) / n * fov[0], (y - n // 2) / n * fov[1], 0 * x], axis=-1)
    truth = np.stack([r.sensitivity(position) for r in ring(n_rx)])
    disc = (position[..., 0] / 0.08) ** 2 + (position[..., 1] / 0.09) ** 2 < 1
    k = fft((truth * disc * (1 + 0.5 * (x > n // 2))).astype(np.complex64), (1, 2))
    maps = coarse_maps(resized(resized(k, 24, 1), 24, 2)[:, None], (1, n, n))
    found = maps.sensitivity[:, :, 0, :].transpose(1, 2, 0)
    unit = truth / np.linalg.norm(truth, axis=0)
    match = np.abs(np.sum(found.conj() * unit, axis=0))
    assert np.min(match[disc]) > 0.99
    assert np.allclose(np.linalg.norm(found, axis=0), 1, atol=1e-4)
