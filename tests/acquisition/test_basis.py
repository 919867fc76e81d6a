"""Few components carry a group's signal: found by random projections as by all eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest

from lauterbur.acquisition.twin.basis import strongest


@pytest.mark.parametrize("falls", [0.05, 0.5, 5.0])  # a steep spectrum needs few projections; a flat one, all
@pytest.mark.parametrize("shape", [(700, 400), (300, 900), (60, 900), (900, 60)])
def test_what_is_left_out_is_less_than_allowed_and_the_rest_is_right(falls, shape):
    rng, rank = np.random.default_rng(0), min(*shape, 300)
    left, right = (np.linalg.qr(rng.standard_normal((n, rank)) + 1j * rng.standard_normal((n, rank)))[0] for n in shape)
    s = np.exp(-falls * np.arange(rank))
    matrix = (left * s) @ right.conj().T
    rest = 1e-8
    values, vectors = strongest(matrix, rest, np.random.default_rng(1))
    gram = matrix.conj().T @ matrix
    assert np.all(np.diff(values) <= 0)
    assert np.allclose(vectors.conj().T @ vectors, np.eye(len(values)), atol=1e-9)
    assert (s**2).sum() - values.sum() < rest
    loud = values > 30 * rest
    assert np.allclose(values[loud], s[: loud.sum()] ** 2, rtol=0.02)
    assert np.linalg.norm(matrix - matrix @ vectors @ vectors.conj().T) ** 2 < 1.5 * rest
    assert np.linalg.norm(gram @ vectors[:, 0] - values[0] * vectors[:, 0]) < 1e-6 * values[0]
    if falls == 5.0:
        assert len(values) < 100
