"""What the learned prior is trained on, and that training and product say the same. The law of torch needs the extra "train"."""

import sys
from pathlib import Path

import numpy as np
import pytest

from lauterbur.recon.cartesian_sense import CartesianSense

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
import batches
import pictures
from problems import Bank, problem


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


def test_problems_made_ahead_are_those_made_in_turn(folder, monkeypatch):
    monkeypatch.setattr(batches, "AHEAD", 2)
    ahead, in_turn = (list(batches.batches(folder, 3, range(2, 9), 1, 0.5, makers)) for makers in (2, 0))
    assert len(ahead) == len(in_turn) == 7
    for (one,), (other,) in zip(ahead, in_turn, strict=True):
        assert np.allclose(one.right, other.right) and np.allclose(one.target, other.target)
    left = batches.batches(folder, 3, range(9), 1, 0.5, 1)
    next(left)
    left.close()  # a run that stops in the middle: nothing waits
