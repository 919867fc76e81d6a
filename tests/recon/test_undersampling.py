"""What was not measured: parallel imaging, partial Fourier, asymmetric echoes."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from boxes import Scan, nrmse

from lauterbur.errors import InputError
from lauterbur.recon import combination
from lauterbur.recon.low_resolution import low_resolution
from lauterbur.recon.partial_fourier import projected
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.recon.sampling import calibration_block, describe
from lauterbur.recon.sense import unfolded

N_RX = 12
NOISE = 4e-6  # of a sample, both parts


@lru_cache(maxsize=1)
def full():
    return reconstruct(Scan(n_rx=N_RX).raw()).pixels[0]


@pytest.mark.parametrize(("factors", "limit"), [((2, 1), 0.02), ((3, 1), 0.07), ((2, 2), 0.07)], ids=["2", "3", "2x2"])
def test_undersampled_lines_are_unfolded(factors, limit):
    image = reconstruct(Scan(n_rx=N_RX, factors=factors).raw())
    assert nrmse(np.abs(image.pixels[0]), np.abs(full())) < limit
    assert image.provenance["reconstruction"]["acceleration"] == list(factors)
    g = image.maps["g_factor"]
    assert g.shape == image.pixels.shape[1:]
    assert np.median(g[g > 0]) >= 1


def test_a_matrix_that_the_factor_does_not_divide_is_unfolded_too():
    scan = Scan(matrix=(40, 37, 20), n_rx=N_RX)
    whole = reconstruct(scan.raw()).pixels
    assert nrmse(np.abs(reconstruct(replace(scan, factors=(2, 1)).raw()).pixels), np.abs(whole)) < 0.03


def test_separate_reference_lines_calibrate_but_do_not_enter_the_image():
    scan = Scan(n_rx=N_RX, factors=(2, 1))
    raw, lines = scan.raw(), scan.lines()
    on_lattice = (lines[:, 0] - scan.matrix[1] // 2) % 2 == 0
    near = np.abs(lines[:, 0] - scan.matrix[1] // 2) < scan.reference_lines / 2
    labels = {**raw.labels, "REF": near.astype(np.int32), "IMA": (near & on_lattice).astype(np.int32)}
    labelled, plain = reconstruct(replace(raw, labels=labels)).pixels, reconstruct(raw).pixels
    assert nrmse(np.abs(labelled), np.abs(plain)) < 0.01


def test_reference_lines_of_later_echoes_do_not_spoil_the_maps():
    scan = Scan(matrix=(32, 32, 12), n_rx=8, factors=(2, 1))
    raw, lines = scan.raw(), scan.lines()
    on_lattice = (lines[:, 0] - scan.matrix[1] // 2) % 2 == 0
    near = np.abs(lines[:, 0] - scan.matrix[1] // 2) < scan.reference_lines / 2
    labels = {**raw.labels, "REF": near.astype(np.int32), "IMA": (near & on_lattice).astype(np.int32)}
    both = replace(
        raw,
        samples=np.concatenate([raw.samples, -raw.samples]),
        n_samples=np.tile(raw.n_samples, 2),
        k=np.concatenate([raw.k, raw.k]),
        time=np.tile(raw.time, 2),
        dwell=np.tile(raw.dwell, 2),
        center_sample=np.tile(raw.center_sample, 2),
        labels={
            **{k: np.tile(v, 2) for k, v in labels.items()},
            "ECO": np.repeat(np.array([0, 1], np.int32), len(near)),
        },
    )
    one, two = reconstruct(replace(raw, labels=labels)).pixels[0], reconstruct(both).pixels
    assert nrmse(two[0], one) < 1e-4
    assert np.allclose(two[1], -two[0], atol=1e-5 * np.abs(one).max())


def test_the_solution_of_aliased_pixels_is_exact_for_exact_maps():
    rng = np.random.default_rng(0)
    n_x, n_rx, n_z, n_y, r = 3, 4, 1, 12, 3
    truth = rng.normal(size=(n_x, n_z, n_y)) + 1j * rng.normal(size=(n_x, n_z, n_y))
    maps = rng.normal(size=(n_x, n_rx, n_z, n_y)) + 1j * rng.normal(size=(n_x, n_rx, n_z, n_y))
    maps /= np.linalg.norm(maps, axis=1, keepdims=True)
    from lauterbur.recon.fft import fft, ifft

    k = fft(maps * truth[:, None], (2, 3))
    k[..., np.arange(n_y) % r != 1] = 0
    found, g = unfolded(
        ifft(k, (2, 3)), maps.astype(np.complex64), np.ones((n_x, n_z, n_y), np.float32), (r, 1), (1, 0)
    )
    assert nrmse(found, truth) < 1e-2  # the ridge
    assert (g >= 1).all()


def random_group(rest, known=None, truth=None, seed=0):
    """Images and g-factor of what falls three onto each other, seen by four receivers; by default of one bright pixel."""
    rng = np.random.default_rng(seed)
    n_x, n_rx, n_y, r = 3, 4, 12, 3
    maps = rng.normal(size=(n_x, n_rx, 1, n_y)) + 1j * rng.normal(size=(n_x, n_rx, 1, n_y))
    maps = (maps / np.linalg.norm(maps, axis=1, keepdims=True)).astype(np.complex64)
    if truth is None:
        truth = np.zeros((n_x, 1, n_y), np.complex64)
        truth[:, 0, 5] = 1 + 2j
    from lauterbur.recon.fft import fft, ifft

    k = fft(maps * truth[:, None], (2, 3))
    k[..., np.arange(n_y) % r != 1] = 0
    sure = np.ones((n_x, 1, n_y), np.float32)
    return unfolded(ifft(k, (2, 3)), maps, sure, (r, 1), (1, 0), known=known, rest=np.full_like(sure, rest))


@pytest.mark.parametrize("rest", [np.inf, 10.0, 0.1, 1e-3, 1e-12])
def test_however_strong_the_noise_a_pixel_passes_with_weight_one(rest):
    found, g = random_group(rest)
    assert np.allclose(found[:, 0, 5], 1 + 2j, atol=1e-4 if rest >= 0.1 else 1e-3)
    assert (g >= 1).all()


def test_unfolding_is_the_sum_of_receivers_with_least_noise_and_folds():
    from lauterbur.recon.fft import fft, ifft

    rng = np.random.default_rng(3)
    n_rx, n_y, r, line = 4, 12, 3, 1
    maps = rng.normal(size=(1, n_rx, 1, n_y)) + 1j * rng.normal(size=(1, n_rx, 1, n_y))
    maps = (maps / np.linalg.norm(maps, axis=1, keepdims=True)).astype(np.complex64)
    truth, known = (rng.normal(size=(1, 1, n_y)) + 1j * rng.normal(size=(1, 1, n_y)) for _ in range(2))
    rest = np.exp(rng.uniform(-2, 4, (1, 1, n_y)))
    k = fft(maps * truth[:, None], (2, 3))
    k[..., np.arange(n_y) % r != line] = 0
    aliased = ifft(k, (2, 3))
    found, g = unfolded(
        aliased, maps, np.ones((1, 1, n_y), np.float32), (r, 1), (line, 0), known=known.astype(np.complex64),
        rest=rest.astype(np.float32),
    )  # fmt: skip
    turn = np.exp(2j * np.pi * np.arange(r) * (n_y // 2 - line) / r)
    for y in range(n_y):
        group = (y + np.arange(r) * n_y // r) % n_y
        encoding = (
            maps[0, :, 0, group].T * turn / r
        )  # (rx, pixel), dense; noise of a sample is 1, of a folded pixel 1 / r
        covariance = encoding @ np.diag(rest[0, 0, group]) @ encoding.conj().T + np.eye(n_rx) / r
        own = np.linalg.solve(covariance, encoding[:, 0])
        own /= np.vdot(encoding[:, 0], own).conj()
        left = aliased[0, :, 0, y] - encoding @ known[0, 0, group]
        assert found[0, 0, y] == pytest.approx(known[0, 0, y] + np.vdot(own, left), rel=1e-4)
        assert g[0, 0, y] == pytest.approx(np.linalg.norm(own) * np.linalg.norm(encoding[:, 0]), rel=1e-3)


def test_folds_are_taken_for_noise_the_more_noise_there_is():
    (quiet, g_quiet), (loud, g_loud) = random_group(np.inf), random_group(1.0)
    others = np.arange(12) != 5
    assert np.abs(quiet[..., others]).max() < 1e-2 < np.abs(loud[..., others]).max()
    assert (g_loud <= g_quiet * (1 + 1e-4)).all()
    assert g_loud.mean() < 0.9 * g_quiet.mean()


def test_what_is_known_does_not_fold_however_strong_the_noise():
    rng = np.random.default_rng(5)
    truth = (rng.normal(size=(3, 1, 12)) + 1j * rng.normal(size=(3, 1, 12))).astype(np.complex64)
    found, _ = random_group(0.1, known=truth, truth=truth)
    assert np.allclose(found, truth, atol=1e-5)


def low_resolutions(monkeypatch, raws, level):
    """What reconstruct() takes for the strength of each, with noise of this level known."""
    seen = []

    def watched(*given):
        seen.append(low_resolution(*given))
        return seen[-1]

    monkeypatch.setattr(combination, "low_resolution", watched)
    rng = np.random.default_rng(7)
    noise = (level * (rng.normal(size=(10, 4000)) + 1j * rng.normal(size=(10, 4000)))).astype(np.complex64)
    for raw in raws:
        reconstruct(replace(raw, noise=noise))
    return seen


def test_how_strong_the_rest_is_does_not_depend_on_what_was_left_out(monkeypatch):
    scans = [Scan((16, 60, 48), n_rx=10, factors=f, reference_lines=20) for f in ((2, 2), (3, 2), (3, 3))]
    seen = low_resolutions(monkeypatch, [scan.raw(NOISE, seed=1) for scan in scans], NOISE)
    rest = np.array([low.rest_strength for low in seen])
    assert np.ptp(rest) < 0.1 * rest.mean()
    assert np.ptp([low.strength for low in seen]) < 0.02 * seen[0].strength
    assert seen[0].strength > 5 * rest.mean()


def test_averages_make_the_rest_stronger_against_the_noise_and_nothing_else(monkeypatch):
    raw = Scan((16, 60, 48), n_rx=10, factors=(2, 2), reference_lines=20).raw(0.01 * NOISE, seed=1)
    n = raw.n_readouts
    twice = raw.only(np.r_[np.arange(n), np.arange(n)])
    twice = replace(twice, labels={**twice.labels, "AVG": np.repeat(np.array([0, 1], np.int32), n)})
    one, two = low_resolutions(monkeypatch, [raw, twice], 0.01 * NOISE)
    assert two.strength == pytest.approx(one.strength, rel=0.01)
    assert two.rest_strength == pytest.approx(2 * one.rest_strength, rel=0.01)


@pytest.mark.parametrize(("factors", "most"), [((2, 2), 0.9), ((3, 3), 0.6)], ids=["2x2", "3x3"])
def test_noise_that_is_known_makes_unfolding_better(factors, most):
    scan = Scan(matrix=(16, 60, 48), n_rx=10, factors=factors, reference_lines=20)
    rng = np.random.default_rng(7)
    noise = (6 * NOISE * (rng.normal(size=(10, 4000)) + 1j * rng.normal(size=(10, 4000)))).astype(np.complex64)
    truth = reconstruct(replace(scan, factors=(1, 1)).raw()).pixels[0]
    raw = scan.raw(6 * NOISE, seed=1)
    known = reconstruct(replace(raw, noise=noise)).pixels[0]
    least = reconstruct(replace(raw, noise=1e-3 * noise)).pixels[0] / 1000  # told that there is hardly any
    truth /= 6 * NOISE * np.sqrt(2)  # whitened
    assert nrmse(known, truth) < most * nrmse(least, truth)


@pytest.mark.parametrize(("partial", "limit"), [((0.75, 1.0), 0.1), ((0.75, 0.8), 0.12)])
def test_partial_fourier_is_completed_better_than_by_zeros(partial, limit):
    raw = Scan(n_rx=N_RX, partial=partial).raw()
    error = nrmse(np.abs(reconstruct(raw).pixels[0]), np.abs(full()))
    zeros = nrmse(np.abs(reconstruct(raw, partial_fourier=False).pixels[0]), np.abs(full()))
    assert error < limit
    assert error < 0.85 * zeros


def test_an_asymmetric_echo_is_completed():
    scan = Scan(fov=(0.26, 0.26, 0.2))
    whole = reconstruct(scan.raw()).pixels
    raw = replace(scan, cut=24).raw()
    error = nrmse(reconstruct(raw).pixels, whole)
    assert error < 0.85 * nrmse(reconstruct(raw, partial_fourier=False).pixels, whole)


def test_projection_brings_an_image_without_phase_closer():
    rng = np.random.default_rng(1)
    image = rng.uniform(size=(24, 16)).astype(np.complex64)
    from lauterbur.recon.fft import fft, ifft

    measured = np.arange(24) >= 4
    k = fft(image, 0) * measured[:, None]
    error = [nrmse(projected(ifft(k, 0), {0: measured}, iterations=n), image) for n in (0, 20)]
    assert error[1] < 0.5 * error[0]


def test_a_cut_corner_is_not_undersampling():
    z, y = np.meshgrid(np.arange(16) - 8, np.arange(20) - 10, indexing="ij")
    found = describe((z / 8) ** 2 + (y / 10) ** 2 <= 1.0)
    assert found.factors == (1, 1) and found.is_regular


def test_the_lattice_and_the_calibration_block_are_found():
    mask = np.zeros((12, 30), bool)
    mask[1::2, 2::3] = True
    mask[3:9, 10:20] = True
    found = describe(mask)
    assert found.factors == (3, 2) and found.offsets == (2, 1) and found.is_regular
    block = calibration_block(mask)
    assert block[0].start <= 3 and block[0].stop >= 9 and (block[1].start, block[1].stop) == (10, 20)


def test_undersampling_without_reference_lines_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"reference lines about k = 0 along phase; at least 6"):
        reconstruct(Scan(n_rx=4, factors=(2, 1), reference_lines=0).raw())


def test_more_aliases_than_receivers_are_refused():
    with pytest.raises(InputError, match="needs at least 4 receivers but there are 2"):
        reconstruct(Scan(n_rx=2, factors=(2, 2)).raw())


def test_a_gap_in_the_lines_is_refused_with_its_place():
    raw = Scan(n_rx=4).raw()
    rng = np.random.default_rng(0)
    keep = np.sort(rng.choice(raw.n_readouts, int(0.7 * raw.n_readouts), replace=False))
    gapped = raw.only(keep)
    with pytest.raises(InputError, match="no regular pattern"):
        reconstruct(gapped)
