"""Laws of the encoding: adjoints, normal operators, and what each operator means, against slow sums."""

import numpy as np
import pytest
from laws import assert_adjoint, random_complex

from lauterbur.errors import InputError
from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.nufft import Nufft
from lauterbur.recon.operators import (
    Chain,
    Fourier,
    Phase,
    Sampled,
    Sensitivity,
    Subspace,
    normal_of,
    off_resonance_operator,
    subspace_basis,
)
from lauterbur.recon.toeplitz import toeplitz_sense


def mask_of(shape, seed=0):
    return np.random.default_rng(seed).random(shape) < 0.4


CASES = {
    "fourier": (Fourier((1, 2)), (2, 7, 8), (2, 7, 8)),
    "sampled": (Sampled(mask_of((7, 8))), (2, 7, 8), (2, 7, 8)),
    "sensitivity": (Sensitivity(random_complex((2, 3, 6, 5), 1)), (2, 6, 5), (3, 6, 5)),
    "sensitivity of frames": (Sensitivity(random_complex((2, 3, 6, 5), 1)), (4, 2, 6, 5), (4, 3, 6, 5)),
    "subspace": (Subspace(random_complex((6, 2), 2)), (2, 5, 4), (6, 5, 4)),
    "chain": (
        Chain(Sampled(mask_of((6, 5))), Fourier((1, 2)), Sensitivity(random_complex((2, 3, 6, 5), 1))),
        (2, 6, 5),
        (3, 6, 5),
    ),
    "cartesian": (CartesianSense(random_complex((2, 2, 3, 6, 5), 3), mask_of((6, 5))), (2, 2, 6, 5), (2, 3, 6, 5)),
    "off-resonance": (
        off_resonance_operator(
            Nufft(np.random.default_rng(0).uniform(-0.5, 0.5, (40, 2)), (6, 5)),
            np.random.default_rng(1).uniform(-80, 120, (6, 5)),
            np.linspace(0, 0.01, 40),
        ),
        (6, 5),
        (40,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_adjoint_is_the_adjoint(name):
    operator, domain, codomain = CASES[name]
    assert_adjoint(operator.forward, operator.adjoint, domain, codomain)


def test_phase_is_adjoint_over_the_reals():
    operator = Phase(np.exp(1j * np.random.default_rng(0).uniform(0, 6, (5, 4))).astype(np.complex64))
    x, y = random_complex((5, 4), 1), random_complex((5, 4), 2)
    assert np.isclose(np.vdot(y, operator.forward(x)).real, np.vdot(operator.adjoint(y), x).real, rtol=1e-4)


@pytest.mark.parametrize("shape", [(12, 10), (9, 10), (1, 16)])
@pytest.mark.parametrize("pattern", ["any", "lines", "columns", "all"])
@pytest.mark.parametrize("n_sets", [1, 2])
def test_the_fast_normal_operator_is_forward_and_adjoint(shape, pattern, n_sets):
    mask = mask_of(shape, 3)
    mask = {"any": mask, "lines": mask[:, :1] | np.zeros_like(mask), "columns": mask[:1] | np.zeros_like(mask)}.get(
        pattern, np.ones(shape, bool)
    )
    operator = CartesianSense(random_complex((3, n_sets, 5, *shape), 1), mask)
    assert len(operator.axes) <= {"any": 2, "lines": 1, "columns": 1, "all": 0}[pattern]
    x = random_complex((3, n_sets, *shape), 2)
    slow = operator.adjoint(operator.forward(x))
    assert np.allclose(operator.normal(x), slow, atol=1e-5 * np.abs(slow).max())


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match="same"):
        CartesianSense(random_complex((1, 1, 2, 6, 5), 0), np.ones((5, 6), bool))


@pytest.mark.parametrize("shape", [(10, 12), (7, 8), (6, 5, 4)])
def test_the_toeplitz_normal_operator_is_gridding_there_and_back(shape):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (300, len(shape)))
    weights = rng.uniform(0.2, 1, 300).astype(np.float32)
    maps = random_complex((2, 3, *shape), 1)
    nufft, coils = Nufft(points, shape), Sensitivity(maps)
    x = random_complex((2, *shape), 2)
    slow = coils.adjoint(nufft.adjoint(weights * nufft.forward(coils.forward(x))))
    fast = toeplitz_sense(points, maps, weights).normal(x)
    assert np.linalg.norm(fast - slow) < 1e-4 * np.linalg.norm(slow)


def test_off_resonance_is_the_sum_over_precessing_voxels():
    rng = np.random.default_rng(0)
    k, time = rng.uniform(-0.5, 0.5, (60, 2)), np.linspace(0.002, 0.02, 60)
    frequency = rng.uniform(-100, 150, (8, 6))
    image = random_complex((8, 6), 1)
    y, x = np.meshgrid(np.arange(8) - 4, np.arange(6) - 3, indexing="ij")
    phase = np.outer(k[:, 0], y.ravel()) + np.outer(k[:, 1], x.ravel()) + np.outer(time, frequency.ravel())
    slow = np.exp(-2j * np.pi * phase) @ image.ravel() / np.sqrt(48)
    fast = off_resonance_operator(Nufft(k, (8, 6)), frequency, time).forward(image)
    assert np.linalg.norm(fast - slow) < 3e-3 * np.linalg.norm(slow)


def test_few_components_hold_all_decays():
    te = np.arange(1, 17) * 0.01
    curves = np.exp(-te / np.linspace(0.03, 0.3, 50)[:, None])
    basis = subspace_basis(curves, 3)
    left = curves - curves @ basis.conj() @ basis.T
    assert np.linalg.norm(left) < 5e-3 * np.linalg.norm(curves)


def test_operators_without_a_normal_one_of_their_own_go_there_and_back():
    operator, domain, _ = CASES["chain"]
    x = random_complex(domain, 5)
    assert np.allclose(normal_of(operator)(x), operator.adjoint(operator.forward(x)))
    assert normal_of(CASES["cartesian"][0]) == CASES["cartesian"][0].normal
