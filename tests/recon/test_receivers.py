"""Noise, compression and sensitivities."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import Scan, nrmse, ring
from laws import random_complex

from lauterbur.errors import InputError
from lauterbur.recon.coils import coarse_maps
from lauterbur.recon.compress import compression
from lauterbur.recon.espirit import spanned
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
    scan = Scan(matrix=(24, 24, 12), n_rx=4)
    raw = scan.raw()
    n, n_rx, length = raw.samples.shape
    colour = random_complex((4, 4), 7) * 1e-8
    noise = (colour @ random_complex((n_rx, 20000), 8)).astype(np.complex64)
    lines = (colour @ random_complex((n_rx, n * length), 9)).reshape(n_rx, n, length).transpose(1, 0, 2)

    def measured(noisy):
        """Reference lines without noise beside image lines, so that the maps do not follow the noise."""
        samples = raw.samples + noisy * lines.astype(np.complex64)
        return replace(
            raw,
            samples=np.concatenate([samples, raw.samples]),
            n_samples=np.tile(raw.n_samples, 2),
            k=np.concatenate([raw.k, raw.k]),
            time=np.tile(raw.time, 2),
            dwell=np.tile(raw.dwell, 2),
            center_sample=np.tile(raw.center_sample, 2),
            labels={"REF": np.repeat(np.array([0, 1], np.int32), n)},
            noise=noise,
        )

    difference = reconstruct(measured(1)).pixels - reconstruct(measured(0)).pixels
    assert np.isclose(np.sqrt(np.mean(np.abs(difference) ** 2)), 1, rtol=0.05)


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


def test_receivers_that_say_the_same_are_compressed_without_loss():
    raw = Scan(matrix=(24, 24, 12), n_rx=5).raw()
    mixed = replace(raw, samples=np.einsum("vc,rcs->rvs", random_complex((9, 5), 3), raw.samples))
    full, less = reconstruct(mixed), reconstruct(mixed, coils=5)
    assert less.provenance["reconstruction"]["receivers"] == [9, 5]
    assert less.provenance["reconstruction"]["energy_kept"] > 0.9999
    assert nrmse(np.abs(less.pixels), np.abs(full.pixels)) < 0.01


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


@pytest.mark.parametrize("n_patches", [20, 200])  # fewer than elements, and more
def test_patches_are_spanned_alike_from_either_gram_matrix(n_patches):
    patches = (random_complex((60, 8), 1) @ random_complex((8, n_patches), 2)).astype(np.complex64)
    span = spanned(patches)
    assert span.shape == (60, 8)
    assert np.allclose(span.conj().T @ span, np.eye(8), atol=1e-4)
    assert np.linalg.norm(patches - span @ (span.conj().T @ patches)) < 1e-4 * np.linalg.norm(patches)
