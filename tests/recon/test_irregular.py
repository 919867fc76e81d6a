"""Lines left out in no regular pattern."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from boxes import Scan, nrmse
from laws import random_complex

from lauterbur.errors import InputError
from lauterbur.recon.fft import fft, ifft
from lauterbur.recon.irregular import on_grid, solved
from lauterbur.recon.reconstruction import reconstruct

SCAN = Scan(matrix=(24, 48, 36), n_rx=12)


@lru_cache(maxsize=1)
def full():
    return SCAN.raw()


def away(scan):
    """(readout,) distance from k = 0, 1 at the edge; and whether in the 12 x 12 centre."""
    line, section = scan.lines().T
    y, z = line - scan.matrix[1] // 2, section - scan.matrix[2] // 2
    return np.hypot(2 * y / scan.matrix[1], 2 * z / scan.matrix[2]), (np.abs(y) < 6) & (np.abs(z) < 6)


def variable_density(scan, seed=0):
    """About 2 of 5 lines, denser towards a fully measured centre."""
    distance, centre = away(scan)
    rng = np.random.default_rng(seed)
    return np.flatnonzero(centre | (rng.random(len(distance)) < np.clip(1.1 - distance, 0.12, 1) ** 1.5))


def zero_filled(raw, keep):
    """The reconstruction of the same lines with zeros between them."""
    samples = np.zeros_like(raw.samples)
    samples[keep] = raw.samples[keep]
    return reconstruct(replace(raw, samples=samples)).pixels


def test_the_solution_is_the_direct_combination_where_every_line_was_measured():
    maps = random_complex((3, 5, 8, 10), 1)
    maps = (maps / np.linalg.norm(maps, axis=1, keepdims=True)).astype(np.complex64)
    k_space = random_complex((3, 5, 8, 10), 2).astype(np.complex64)
    direct = np.sum(maps.conj() * ifft(k_space, (2, 3)), axis=1)
    assert nrmse(solved(k_space, np.ones((8, 10), bool), maps), direct) < 1e-3


def test_the_solution_is_exact_where_the_receivers_tell_all():
    maps = random_complex((2, 8, 12, 10), 1)
    maps = (maps / np.linalg.norm(maps, axis=1, keepdims=True)).astype(np.complex64)
    truth = random_complex((2, 12, 10), 2)
    mask = np.random.default_rng(3).random((12, 10)) < 0.5
    found = solved((fft(maps * truth[:, None], (2, 3)) * mask).astype(np.complex64), mask, maps, iterations=60)
    assert nrmse(found, truth) < 5e-3


def test_noise_that_is_known_is_not_fitted():
    rng = np.random.default_rng(5)
    maps = np.broadcast_to(np.array([0.6, 0.8], np.complex64)[:, None, None], (1, 2, 16, 16))
    mask = rng.random((16, 16)) < 0.4
    truth = np.zeros((1, 16, 16), np.complex64)
    truth[:, 5:11, 4:12] = 3
    noise = random_complex((1, 2, 16, 16), 6)
    noise *= np.sqrt(2 * mask.sum()) / np.linalg.norm(noise * mask)  # of standard deviation 1
    k_space = ((fft(maps * truth[:, None], (2, 3)) + noise) * mask).astype(np.complex64)
    level = 2.0 * mask.sum()
    found = solved(k_space, mask, maps, noise=level)
    left = (k_space - fft(maps * found[:, None], (2, 3))) * mask
    assert np.sum(np.abs(left) ** 2) <= level
    assert not solved(noise.astype(np.complex64) * mask, mask, maps, noise=1.01 * level).any()


def test_maps_on_their_own_grid_stay_and_doubtful_places_are_empty():
    maps = random_complex((2, 3, 6, 7), 4)
    maps = (maps / np.linalg.norm(maps, axis=1, keepdims=True)).astype(np.complex64)
    confidence = np.ones((2, 6, 7), np.float32)
    confidence[0, 1, 2] = 0.1
    found = on_grid(maps, confidence, (6, 7), 0.5)
    assert not found[0, :, 1, 2].any()
    found[0, :, 1, 2] = maps[0, :, 1, 2]
    assert np.allclose(found, maps, atol=1e-5)


def test_variable_density_comes_nearer_to_the_full_scan_than_zeros_do():
    keep = variable_density(SCAN)
    assert len(keep) < 0.45 * full().n_readouts
    whole = np.abs(reconstruct(full()).pixels)
    found = reconstruct(full().only(keep))
    error, zeros = nrmse(np.abs(found.pixels), whole), nrmse(np.abs(zero_filled(full(), keep)), whole)
    assert error < 0.07 and error < 0.5 * zeros
    facts = found.provenance["reconstruction"]
    assert facts["method"] == "SENSE by conjugate gradients"
    assert facts["measured_lines"] == [len(keep), 48 * 36] and "acceleration" not in facts
    assert "g_factor" not in found.maps


def test_a_slice_with_random_lines_is_solved_too():
    scan = Scan(matrix=(32, 48, 1), fov=(0.2, 0.22, 0.005), n_rx=12)
    raw = replace(scan.raw(), header=replace(scan.header, dimensions=2))
    line = scan.lines()[:, 0] - 24
    keep = np.flatnonzero((np.abs(line) < 8) | (np.random.default_rng(1).random(48) < 0.5))
    whole = np.abs(reconstruct(raw).pixels)
    error = nrmse(np.abs(reconstruct(raw.only(keep)).pixels), whole)
    assert error < 0.5 * nrmse(np.abs(zero_filled(raw, keep)), whole)


def test_irregular_gaps_for_one_receiver_are_refused():
    scan = replace(SCAN, n_rx=1)
    with pytest.raises(InputError, match="with one receiver"):
        reconstruct(scan.raw().only(variable_density(scan)))


def test_a_prior_may_be_sparser_than_receivers_alone():
    scan = replace(SCAN, n_rx=2)
    keep = variable_density(scan)
    raw = scan.raw().only(keep)
    with pytest.raises(InputError, match=r"at least .* receivers but there are 2: use method='cs'"):
        reconstruct(raw)
    whole = np.abs(reconstruct(scan.raw()).pixels)
    for method in ("cs", "learned"):
        error = nrmse(np.abs(reconstruct(raw, method=method).pixels), whole)
        assert error < 0.97 * nrmse(np.abs(zero_filled(scan.raw(), keep)), whole), method


def test_irregular_gaps_without_a_measured_centre_are_refused_with_the_remedy():
    keep = np.flatnonzero(np.random.default_rng(0).random(full().n_readouts) < 0.6)
    with pytest.raises(InputError, match=r"no regular pattern .* contiguous lines about k = 0 along .*reference lines"):
        reconstruct(full().only(keep))


def test_silence_gives_an_empty_image():
    assert not reconstruct(replace(full(), samples=0 * full().samples)).pixels.any()


@pytest.mark.parametrize("method", ["cs", "sense"])
def test_progress_rises_to_the_whole(method):
    heard = []
    raw = full().only(variable_density(SCAN))
    reconstruct(raw, method=method, progress=lambda done, words: heard.append((done, words)))
    done = [share for share, _ in heard]
    assert done == sorted(done) and done[-1] == 1.0
    assert {words for _, words in heard} == {"reconstruction"}
    assert len(done) > SCAN.matrix[0] or method == "sense"
