"""What the learned prior is trained on, and that training and product say the same. The law of torch needs the extra "train"."""

import sys
from pathlib import Path

import numpy as np
import pytest

from lauterbur.recon.cartesian_sense import CartesianSense

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
import batches
import pictures
from problems import Bank, problem, with_vessels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    pictures.of_shapes(2, 5, folder)
    return folder


@pytest.fixture(scope="module")
def bank(folder):
    return Bank(folder)


@pytest.mark.parametrize(("seed", "n_rx"), [(1, 4), (2, 6), (3, 1)])
def test_a_problem_is_its_seed_and_its_target_fits_the_data_to_the_noise(bank, seed, n_rx):
    one, same = (problem(bank, [seed], (64, 80), n_rx) for _ in range(2))
    assert np.array_equal(one.right, same.right) and np.array_equal(one.target, same.target)
    sense = CartesianSense(np.ascontiguousarray(one.maps[None, None]), one.mask, 1)
    # |A x - y| needs y: of the target's own k-space it is A' (y - A x) that must look like noise seen through A'
    left = one.right - sense.normal(one.target[None, None])[0, 0]
    inside = np.any(one.maps != 0, axis=0)
    told = np.sqrt(np.mean(np.abs(left[inside]) ** 2))
    assert 0.5 < told / (one.noise * np.sqrt(one.mask.mean())) < 3


def test_torch_and_numpy_say_the_same(bank):
    pytest.importorskip("torch")
    from train import check_the_product

    from lauterbur.recon.learned_torch import Unrolled, packed

    network = Unrolled(2, 1, 8, 3)
    assert check_the_product(network, problem(bank, [4], (64, 80), 4), packed(network)) < 2e-3


def test_a_pool_is_kept_and_goes_on_where_it_was_left(folder, bank, tmp_path):
    assert list(batches.fill(folder, tmp_path, 3, 2, 2, 0.5, 2)) == [1, 2]
    first = (tmp_path / "000000.npz").stat().st_mtime_ns
    assert list(batches.fill(folder, tmp_path, 3, 3, 2, 0.5, 1)) == [1, 2, 3]
    assert (tmp_path / "000000.npz").stat().st_mtime_ns == first
    for number in range(3):
        for one, other in zip(batches.batch_of(bank, 3, number, 2, 0.5), batches.kept(tmp_path, number), strict=True):
            assert np.allclose(one.right, other.right) and np.array_equal(one.mask, other.mask)
            assert one.noise == other.noise
    whole = [batches.seen(tmp_path, 3, number, 3)[0].target for number in range(6)]
    assert np.array_equal(whole[4], batches.seen(tmp_path, 3, 4, 3)[0].target)
    assert sorted(np.linalg.norm(whole[i]) for i in range(3)) == pytest.approx(
        sorted(np.linalg.norm(whole[i]) for i in range(3, 6))
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_problem_seen_from_another_side_is_as_true(bank, seed):
    one = problem(bank, [8], (63, 80), 3)
    other = batches.turned(one, np.random.default_rng(seed), seed % 2 == 1)

    def left(p):
        return (
            p.right
            - CartesianSense(np.ascontiguousarray(p.maps[None, None]), p.mask, 1).normal(p.target[None, None])[0, 0]
        )

    assert np.linalg.norm(left(other)) == pytest.approx(np.linalg.norm(left(one)), rel=1e-4)


def test_planted_vessels_are_where_something_is(bank):
    picture, found = bank.draw(np.random.default_rng(1)), 0
    for seed in range(12):
        planted = with_vessels(np.random.default_rng(seed), picture)
        found += not np.array_equal(planted, picture)
        assert planted.shape == picture.shape and np.all(np.isfinite(planted))
        assert np.abs(planted).max() < 2 * np.abs(picture).max()
    assert 1 <= found < 12


def test_a_grown_network_says_the_same(bank):
    torch = pytest.importorskip("torch")
    from train import grown, tensors

    from lauterbur.recon.learned_torch import Unrolled

    network = Unrolled(2, 2, 8, 3)
    *inputs, _ = tensors([problem(bank, [4], (64, 80), 4)])
    with torch.no_grad():
        before, wider, longer = (one(*inputs) for one in (network, grown(network, 2, 12), grown(network, 4, 8)))
    assert (before[-1] - wider[-1]).abs().max() < 1e-5
    assert (before[-1] - longer[1]).abs().max() < 1e-5 and len(longer) == 4
    assert (before[-1] - longer[-1]).norm() < 0.2 * before[-1].norm()
