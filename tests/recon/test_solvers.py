"""Solvers against exact solutions, priors against their definitions."""

import numpy as np
import pytest
from laws import assert_adjoint, assert_unitary, random_complex

from lauterbur.errors import InputError
from lauterbur.recon.low_rank import LocallyLowRank, LowRank, SparseInTime, low_rank_plus_sparse, shrunk
from lauterbur.recon.shifts import Shifts
from lauterbur.recon.solvers import conjugate_gradient, fista, largest_eigenvalue, primal_dual
from lauterbur.recon.total_variation import TotalVariation
from lauterbur.recon.wavelets import FAMILIES, Wavelet, daubechies


def problem(n=12, m=20):
    matrix = random_complex((m, n), 0, np.complex128) / np.sqrt(m)
    right = matrix.conj().T @ random_complex((m,), 1, np.complex128)
    gram = matrix.conj().T @ matrix
    return gram, lambda x: gram @ x, right


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("is_preconditioned", [False, True])
def test_conjugate_gradients_solve_the_normal_equations(ridge, is_preconditioned):
    gram, normal, right = problem()
    by_diagonal = (lambda r: r / (np.diag(gram).real + ridge)) if is_preconditioned else None
    found = conjugate_gradient(normal, right, iterations=60, tolerance=1e-7, ridge=ridge, precondition=by_diagonal)
    assert np.allclose(found, np.linalg.solve(gram + ridge * np.eye(len(gram)), right), atol=1e-4)


@pytest.mark.parametrize("is_preconditioned", [False, True])
def test_conjugate_gradients_end_at_the_first_image_that_leaves_no_more_than_the_noise(is_preconditioned):
    """The solver never sees A or y: what is left of |A x - y|^2 it knows from its own steps alone."""
    n, m = 12, 20
    matrix, data = random_complex((m, n), 0, np.complex128) / np.sqrt(m), random_complex((m,), 1, np.complex128)
    gram, right = matrix.conj().T @ matrix, matrix.conj().T @ data
    by_diagonal = (lambda r: r / np.diag(gram).real) if is_preconditioned else None
    energy = float(np.linalg.norm(data) ** 2)
    least = float(np.linalg.norm(data - matrix @ np.linalg.solve(gram, right)) ** 2)
    noise = least + 0.05 * (energy - least)
    left = []
    conjugate_gradient(
        lambda x: gram @ x, right, iterations=60, tolerance=1e-9, precondition=by_diagonal, misfit=(energy, noise),
        watch=lambda i, x: left.append(float(np.linalg.norm(data - matrix @ x) ** 2)),
    )  # fmt: skip
    assert left[-1] <= noise * (1 + 1e-6) and len(left) > 1 and min(left[:-1]) > noise


class Lasso:
    def prox(self, image, threshold, rng):
        return image * np.maximum(1 - threshold / np.maximum(np.abs(image), 1e-20), 0)


def test_fista_ends_where_no_gradient_is_larger_than_the_weight():
    gram, normal, right = problem()
    weight = 0.3 * np.abs(right).max()
    bound = largest_eigenvalue(normal, right)
    assert np.linalg.eigvalsh(gram)[-1] <= bound <= 1.1 * np.linalg.eigvalsh(gram)[-1]
    seen = []
    x = fista(normal, right, Lasso(), weight, iterations=400, lipschitz=bound, watch=lambda i, _: seen.append(i))
    gradient = right - gram @ x
    is_on = np.abs(x) > 1e-6
    assert seen == list(range(400)) and 0 < is_on.sum() < len(x)
    assert np.allclose(gradient[is_on], weight * x[is_on] / np.abs(x[is_on]), atol=1e-3 * weight)
    assert np.all(np.abs(gradient) <= 1.001 * weight)


def test_total_variation_is_adjoint_and_the_primal_dual_solution_is_optimal():
    prior = TotalVariation((0, 1))
    assert_adjoint(prior.analyse, prior.synthesise, (6, 7), (2, 6, 7))
    noisy = np.kron([[0.0, 1.0], [2.0, 1.0]], np.ones((8, 8))) + 0.1 * random_complex((16, 16), 2, np.complex128)
    weight = 0.15

    def cost(x):
        return 0.5 * np.linalg.norm(x - noisy) ** 2 + weight * np.linalg.norm(prior.analyse(x), axis=0).sum()

    found = primal_dual(lambda x: x, noisy, prior, weight, iterations=400)
    for seed in range(5):
        for size in (0.1, -0.1, 0.01):
            assert cost(found) <= cost(found + size * random_complex((16, 16), 10 + seed, np.complex128)) + 1e-6
    assert cost(found) < 0.8 * cost(noisy)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 16, 24), (1, 2)), ((2, 25, 45), (1, 2)), ((13, 14, 33), (0, 1, 2)), ((50, 7), (0,))]
)
def test_wavelets_are_orthonormal_for_every_length(family, shape, axes):
    wavelet = Wavelet(axes, family)
    assert_unitary(wavelet.coefficients, wavelet.image, shape)


@pytest.mark.parametrize("family", FAMILIES)
def test_wavelets_do_not_see_polynomials_and_match_the_slow_sums(family):
    taps, n = daubechies(FAMILIES[family]), 24
    high = taps[::-1] * (-1) ** np.arange(len(taps))
    x = random_complex((n,), 0)
    slow = [sum(f[t] * x[(2 * k + t) % n] for t in range(len(taps))) for f in (taps, high) for k in range(n // 2)]
    found = Wavelet((0,), family).coefficients(x)
    assert np.allclose(found[n // 2 :], slow[n // 2 :], atol=1e-5)
    assert abs(np.sum(high * np.arange(len(taps)) ** (FAMILIES[family] - 1))) < 1e-4
    both = Wavelet((0, 1), family).coefficients(x[:, None] * np.ones((1, n), np.complex64))
    assert np.allclose(both[n // 2 :, n // 2 :], 0, atol=1e-5)  # constant along one axis: nothing diagonal


def test_the_wavelet_prior_takes_away_the_threshold_wherever_it_is_shifted():
    x, shifts = random_complex((1, 32, 40), 0), Shifts(3)
    assert np.allclose(Wavelet((1, 2)).prox(x, 0.0, shifts), x, atol=1e-5)
    much = Wavelet((1, 2)).prox(x, 1e3, shifts)  # coarse averages remain
    assert np.linalg.norm(much) < 0.3 * np.linalg.norm(x)  # a sixteenth of the energy
    wavelet = Wavelet((1, 2), "haar")
    c = wavelet.coefficients(x)
    corner = np.zeros(c.shape, bool)
    corner[:, :8, :10] = True
    c = np.where(corner, c, c * np.maximum(1 - 0.7 / np.abs(c), 0))

    class Still(Shifts):
        def next(self, periods):
            return [0 for _ in periods]

    assert np.allclose(wavelet.prox(x, 0.7, Still()), wavelet.image(c.astype(np.complex64)), atol=1e-5)


def test_an_unknown_wavelet_is_refused():
    with pytest.raises(InputError, match="choose one of haar"):
        Wavelet((0,), "mexican hat")


def test_singular_values_are_shrunk():
    matrix = random_complex((3, 5, 40), 0, np.complex128)
    left, value, right = np.linalg.svd(matrix, full_matrices=False)
    slow = (left * np.maximum(value - 4.0, 0)[:, None]) @ right
    assert np.allclose(shrunk(matrix, 4.0), slow, atol=1e-8)
    x = matrix.reshape(3, 5, 8, 5)[0]
    assert np.allclose(LowRank().prox(x, 4.0, Shifts()), slow[0].reshape(5, 8, 5), atol=1e-8)


@pytest.mark.parametrize("shape", [(4, 17, 19), (4, 1, 16, 9)])
def test_locally_low_rank_keeps_series_of_one_course_and_lowers_noise(shape):
    shifts = Shifts()
    course = np.arange(1, 5).reshape(-1, *[1] * (len(shape) - 1)) * (1 + 0.5j)
    series = course * np.ones(shape)
    noisy = series + 0.3 * random_complex(shape, 1, np.complex128)
    assert np.allclose(LocallyLowRank().prox(series, 0.0, shifts), series)
    cleaned = LocallyLowRank().prox(noisy, 3.0, shifts)
    assert np.linalg.norm(cleaned - series) < 0.8 * np.linalg.norm(noisy - series)


def test_low_rank_plus_sparse_tells_the_still_from_the_beating():
    frames = np.arange(16)
    still = np.outer(np.ones(16), np.r_[np.zeros(10), np.full(30, 2.0)]).reshape(16, 5, 8).astype(complex)
    beating = np.zeros((16, 5, 8), complex)
    beating[:, 1, 1] = 3 * np.cos(2 * np.pi * 4 * frames / 16)
    background, dynamics = low_rank_plus_sparse(lambda x: x, still + beating, low_rank=4.0, sparse=0.05, iterations=200)
    assert np.linalg.norm(background + dynamics - still - beating) < 0.1 * np.linalg.norm(still)
    assert abs(dynamics[0, 1, 1]) > 2 * abs(background[0, 1, 1])
    assert np.allclose(SparseInTime().prox(beating, 0.0, Shifts()), beating)
