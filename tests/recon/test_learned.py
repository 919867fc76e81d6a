"""The learned prior: a kernel like its slow reference, an image true to the data whatever the network says, and honest limits."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from boxes import Scan, nrmse
from scipy.signal import correlate2d
from test_methods import noisy, random_lines
from typer.testing import CliRunner

from lauterbur.cli import app
from lauterbur.errors import InputError
from lauterbur.formats.mrd import write_raw
from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.encoded import Planes, squared_residual
from lauterbur.recon.fft import fft
from lauterbur.recon.irregular import solved
from lauterbur.recon.learned import consistent, learned_image, mixed, out_of_range
from lauterbur.recon.learned_network import (
    Turn,
    Weights,
    convolved,
    folded,
    least_squares,
    read_weights,
    scale_of,
    shipped_weights,
    unfolded,
)
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.recon.regularisation import sparse_weight
from lauterbur.recon.sparse import sparse_image
from lauterbur.sequence.poisson import elliptical_radius, poisson_disc
from lauterbur.study.fit_report import fit_lines

N_RX = 6


def loops(shape, n):
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    angle = 2 * np.pi * np.arange(n) / n
    away = np.hypot(x - 1.2 * np.cos(angle)[:, None, None], y - 1.2 * np.sin(angle)[:, None, None])
    maps = np.exp(1j * (2 * away + angle[:, None, None])) / (0.3 + away**2) ** 1.5
    return (maps / np.linalg.norm(maps, axis=0)).astype(np.complex64)


def discs(shape, seed):
    """Soft-edged discs in a larger one, with a smooth phase: nothing that the weights were trained on."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(shape[0]) - shape[0] / 2, np.arange(shape[1]) - shape[1] / 2, indexing="ij")
    image = 0.6 * np.clip(0.45 * min(shape) - np.hypot(x, y), 0, 1)
    for _ in range(25):
        a, b = rng.uniform(-0.28, 0.28, 2) * shape
        image += rng.uniform(-0.3, 0.5) * np.clip(rng.uniform(1, 0.12 * min(shape)) - np.hypot(x - b, y - a), 0, 1)
    return (np.maximum(image, 0) * np.exp(1j * (x / 40 + (y / 60) ** 2))).astype(np.complex64)


@lru_cache(maxsize=8)
def case(seed=0, shape=(96, 110), factor=6.0, snr=30.0, n_rx=N_RX):
    """Truth, operator, samples and their noise."""
    rng = np.random.default_rng(seed)
    truth, maps = discs(shape, seed), loops(shape, n_rx)
    noise = scale_of(truth) / snr
    y, x = (np.abs(np.arange(n) - n // 2 + 0.5) < 9 for n in shape)
    n = round(shape[0] * shape[1] / factor)
    mask = poisson_disc(elliptical_radius(shape) <= 1, y[:, None] & x[None], n, seed)
    k = fft(maps * truth, (1, 2))
    k = k + noise / np.sqrt(2) * (rng.normal(size=k.shape) + 1j * rng.normal(size=k.shape))
    return truth, CartesianSense(maps[None, None], mask, 1), (k * mask)[None].astype(np.complex64), noise


def problem_of(sense, samples):
    return Planes(
        sense, sense.adjoint(samples), float(np.linalg.norm(samples) ** 2), int(sense.mask.sum()) * samples.shape[1]
    )


@pytest.mark.parametrize(("n_in", "n_out", "workers"), [(3, 8, 1), (5, 6, 1), (4, 7, 3), (1, 1, 2)])
def test_the_kernel_is_the_obvious_sum(n_in, n_out, workers):
    rng = np.random.default_rng(0)
    source = np.zeros((n_in, 13, 18), np.float32)
    source[:, 1:-1, 1:-1] = rng.normal(size=(n_in, 11, 16))
    kernel, bias = rng.normal(size=(n_out, n_in, 3, 3)).astype(np.float32), rng.normal(size=n_out).astype(np.float32)
    slow = np.stack(
        [
            sum(correlate2d(source[i, 1:-1, 1:-1], kernel[o, i], "same") for i in range(n_in)) + bias[o]
            for o in range(n_out)
        ]
    )
    for rectify in (False, True):
        found = convolved(source, kernel, bias, rectify=rectify, workers=workers)
        assert np.allclose(found[:, 1:-1, 1:-1], np.maximum(slow, 0) if rectify else slow, atol=1e-4)
        rim = found.copy()
        rim[:, 1:-1, 1:-1] = 0
        assert not rim.any()  # what the next layer reads beyond the edge


def test_folding_puts_each_square_into_channels_and_back():
    image = np.arange(2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
    channels = folded(image)
    assert channels.shape == (8, 3, 4)
    assert channels[:4, 1, 2].tolist() == [image[0, 2, 4], image[0, 2, 5], image[0, 3, 4], image[0, 3, 5]]
    assert np.array_equal(unfolded(channels), image)


def test_the_shipped_weights_are_small_and_are_those_that_were_tested():
    weights = shipped_weights()
    count = sum(k.size for t in weights.turns for k in t.kernels)
    assert 5e4 < count < 4e5
    assert all(np.isfinite(k).all() for t in weights.turns for k in t.kernels)


def test_weights_of_another_hash_are_refused(tmp_path):
    np.savez(
        tmp_path / "w.npz",
        group=[0],
        trust=np.zeros((1, 2)),
        kernel_0_0=np.zeros((16, 26, 3, 3)),
        bias_0_0=np.zeros(16),
    )
    data = (tmp_path / "w.npz").read_bytes()
    assert len(read_weights(data).turns) == 1
    with pytest.raises(InputError, match=r"SHA-256 .* is expected; install lauterbur again"):
        read_weights(data, "0" * 64)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("factor", [4.0, 8.0])
def test_it_beats_compressed_sensing_at_its_best_weight(seed, factor):
    truth, sense, samples, noise = case(seed, factor=factor)
    image, _ = learned_image(sense, samples, noise=noise)
    problem, rule = problem_of(sense, samples), sparse_weight(noise, float(sense.mask.mean()))
    best = min(nrmse(sparse_image(problem, w * rule)[0][0, 0], truth) for w in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0))
    assert nrmse(image[0, 0], truth) < 0.9 * best


@pytest.mark.parametrize(
    ("shape", "factor", "n_rx"),
    [((57, 60), 4.0, 6), ((320, 290), 12.0, 6), ((96, 110), 2.5, 1), ((110, 96), 4.0, 2), ((96, 96), 6.0, 16)],
)
def test_it_serves_small_and_large_planes_with_few_and_many_receivers(shape, factor, n_rx):
    truth, sense, samples, noise = case(5, shape=shape, factor=factor, n_rx=n_rx)
    image, _ = learned_image(sense, samples, noise=noise)
    rule = sparse_weight(noise, float(sense.mask.mean()))
    sparse = sparse_image(problem_of(sense, samples), rule)[0][0, 0]
    assert nrmse(image[0, 0], truth) < nrmse(sparse, truth)


@pytest.mark.parametrize("factor", [1.5, 6.0, 12.0])
@pytest.mark.parametrize("snr", [8.0, 60.0])
def test_it_never_adds_error_to_least_squares(factor, snr):
    truth, sense, samples, noise = case(3, factor=factor, snr=snr)
    least = solved(samples, sense.mask, sense.maps[:, 0], noise=noise**2 * problem_of(sense, samples).n_samples)[0]
    image, _ = learned_image(sense, samples, noise=noise)
    assert nrmse(image[0, 0], truth) < nrmse(least, truth)


def test_measured_data_are_not_moved_beyond_their_noise():
    _, sense, samples, noise = case()
    image, fit = learned_image(sense, samples, noise=noise)
    problem = problem_of(sense, samples)
    residual = np.sqrt(squared_residual(problem, image) / problem.n_samples)
    assert residual == pytest.approx(fit.residual, rel=1e-3)
    assert fit.residual <= 1.01 * max(noise, fit.least_squares)


def test_a_spoiled_network_cannot_move_measured_data():
    _, sense, samples, noise = case()
    rng = np.random.default_rng(0)

    def spoiled(turn):
        kernels = tuple((k + 0.3 * rng.normal(size=k.shape)).astype(np.float32) for k in turn.kernels)
        return Turn(kernels, turn.biases, (-9.0, 0.0))

    weights = Weights(tuple(spoiled(t) for t in shipped_weights().turns[:1]), "spoiled")
    image, fit = learned_image(sense, samples, noise=noise, weights=weights)
    assert np.isfinite(image).all()
    assert fit.residual <= 1.01 * max(noise, fit.least_squares)


def test_the_last_steps_move_no_more_than_asked():
    _, sense, samples, _ = case()
    problem = problem_of(sense, samples)
    start = least_squares(sense, problem.right)
    least = squared_residual(problem, start)
    worse = start * np.float32(0.8)
    allowed = 0.5 * (squared_residual(problem, worse) + least)
    _, residual = consistent(problem, worse, allowed)
    assert residual == pytest.approx(allowed, rel=1e-2)
    _, residual = mixed(problem, worse, squared_residual(problem, worse), start, least, allowed)
    assert residual == pytest.approx(allowed, rel=1e-2)
    same, _ = consistent(problem, start, least * 1.01)
    assert np.array_equal(same, start)


def test_units_do_not_matter():
    _, sense, samples, noise = case()
    one, _ = learned_image(sense, samples, noise=noise)
    other, _ = learned_image(sense, samples * np.float32(1e4), noise=1e4 * noise)
    assert nrmse(other / 1e4, one) < 1e-3


def test_planes_of_odd_size_and_empty_ones_are_solved():
    truth, sense, samples, noise = case(4, shape=(97, 81), factor=4.0)
    both = CartesianSense(np.concatenate([sense.maps, sense.maps]), sense.mask, 1)
    image, _ = learned_image(both, np.concatenate([samples, 0 * samples]), noise=noise)
    assert nrmse(image[0, 0], truth) < 0.12
    assert not image[1].any()


def test_more_threads_give_the_same_image():
    _, sense, samples, noise = case()
    one, _ = learned_image(sense, samples, noise=noise)
    two, _ = learned_image(CartesianSense(sense.maps, sense.mask, 2), samples, noise=noise)
    assert nrmse(two, one) < 1e-4


def test_out_of_its_range_it_says_why():
    _, sense, samples, noise = case()
    ok = scale_of(least_squares(sense, sense.adjoint(samples)))
    assert out_of_range(sense, noise, ok) is None
    assert "2 sets of maps" in out_of_range(
        CartesianSense(np.concatenate([sense.maps, 0 * sense.maps], axis=1), sense.mask), noise, ok
    )
    small = CartesianSense(sense.maps[..., :40], sense.mask[:, :40])
    assert "96 x 40 points has an axis outside 56 to 512" in out_of_range(small, noise, ok)
    few = np.zeros_like(sense.mask)
    few[44:52, 40:60] = True
    assert "one in 66.00 samples" in out_of_range(CartesianSense(sense.maps, few), noise, ok)
    assert "one in 1.00 samples" in out_of_range(CartesianSense(sense.maps, np.ones_like(few)), noise, ok)
    assert "signal to noise ratio is 5.0" in out_of_range(sense, ok / 5, ok)
    assert "not known" in out_of_range(sense, 0.0, ok)
    with pytest.raises(InputError, match="does not apply: the signal to noise ratio"):
        learned_image(sense, samples, noise=ok)


def test_samples_that_make_no_sense_are_refused():
    _, sense, samples, noise = case()
    with pytest.raises(InputError, match="samples have shape"):
        learned_image(sense, samples[:, :3], noise=noise)
    spoiled = samples.copy()
    spoiled[0, 0, 48, 55] = np.nan
    with pytest.raises(InputError, match="NaN"):
        learned_image(sense, spoiled, noise=noise)


SCAN = Scan(matrix=(12, 64, 56), n_rx=8)


@lru_cache(maxsize=1)
def volume():
    return random_lines(noisy(SCAN, noise=1e-6), 0.22, scan=SCAN)


def test_a_volume_is_solved_plane_by_plane_and_reported():
    whole = reconstruct(noisy(SCAN, noise=1e-8)).pixels[0] / 100
    image, sparse, least = (reconstruct(volume(), method=m) for m in ("learned", "cs", "sense"))
    errors = [nrmse(one.pixels[0], whole) for one in (image, sparse, least)]
    assert errors[0] < 0.9 * errors[2]
    assert errors[0] < 1.02 * errors[1]  # flat boxes are what wavelets are best at, and withheld samples say so
    facts = image.provenance["reconstruction"]
    assert facts["method"] == "learned prior"
    (fit,) = facts["fits"]
    assert fit["weights"] == shipped_weights().sha256
    assert fit["residual"] <= 1.01 * max(fit["noise"], fit["least_squares"])
    assert any("data moved the learned image by" in line for line in fit_lines(image))


def test_out_of_range_compressed_sensing_takes_over_and_says_so():
    raw = random_lines(noisy(), 0.3)  # 40 x 32 points
    image = reconstruct(raw, method="learned")
    facts = image.provenance["reconstruction"]
    assert facts["method"] == "compressed sensing"
    assert any("learned prior was not used: a plane of 32 x 40 points" in note for note in facts["notes"])
    assert np.array_equal(image.pixels, reconstruct(raw, method="cs").pixels)


def test_a_weight_has_no_effect_and_is_refused():
    with pytest.raises(InputError, match="regularisation has no effect on method 'learned'"):
        reconstruct(volume(), method="learned", regularisation=1.0)


def test_unknown_noise_is_taken_from_the_outermost_lines():
    image = reconstruct(replace(volume(), noise=None), method="learned")
    (fit,) = image.provenance["reconstruction"]["fits"]
    assert fit["noise"] > 0


def test_the_prompt_reports_what_the_learned_prior_did(tmp_path):
    write_raw(volume(), tmp_path / "raw.mrd")
    words = ["recon", str(tmp_path / "raw.mrd"), "--method", "learned", "--report", "--out", str(tmp_path / "images")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "learned prior, 8 of 8 receivers" in result.output
    assert "data moved the learned image by" in result.output
