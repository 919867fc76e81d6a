"""Many right sides in one subspace: against a direct solver, with little memory, with an operator that cannot be solved."""

import numpy as np
import pytest

from lauterbur.errors import ResourceError
from lauterbur.fields.krylov import solved


def problem(n=300, channels=4, seed=3):
    rng = np.random.default_rng(seed)

    def noise(*shape):
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    matrix = np.eye(n, dtype=np.complex64) * (1 + 0.5j) + 0.5 * noise(n, n) / np.sqrt(n)
    return matrix, noise(channels, n), lambda rows: (matrix @ rows.T).T


@pytest.mark.parametrize("capacity", [1000, 24])  # the second begins anew several times
def test_the_answer_is_that_of_a_direct_solver(capacity):
    matrix, right, operator = problem()
    answer = solved(operator, np.copy, right, np.zeros_like(right), capacity, 1e-5)
    exact = np.linalg.solve(matrix.astype(complex), right.T).T
    assert np.linalg.norm(answer.solution - exact) < 1e-4 * np.linalg.norm(exact)
    left = right - operator(answer.solution.astype(np.complex64))
    assert np.allclose(np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1), answer.residual, atol=1e-6)
    assert answer.residual.max() <= 1e-5


def test_a_report_knows_the_solution_so_far():
    _, right, operator = problem()
    seen = []

    def report(solution, norm, count):
        left = right - operator(solution().astype(np.complex64))
        seen.append((np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1), norm.copy(), count))

    solved(operator, np.copy, right, np.zeros_like(right), 1000, 1e-4, report)
    assert all(np.allclose(left, norm, atol=1e-5) for left, norm, _ in seen)
    assert [count for _, _, count in seen] == sorted(count for _, _, count in seen)


def test_channels_that_are_alike_share_their_directions():
    _, right, operator = problem()
    alone = solved(operator, np.copy, right[:1], np.zeros_like(right[:1]), 1000, 1e-4)
    same = np.repeat(right[:1], 4, axis=0) * np.array([1, 2j, -3, 0.5])[:, None].astype(np.complex64)
    assert solved(operator, np.copy, same, np.zeros_like(same), 1000, 1e-4).iterations < 2 * alone.iterations


def test_an_operator_that_loses_the_right_side_is_told():
    _, right, _ = problem()
    with pytest.raises(ResourceError, match="did not settle"):
        solved(np.zeros_like, np.copy, right, np.zeros_like(right), 1000, 1e-4)
