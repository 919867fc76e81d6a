"""Boxes and transforms: the series against integrals and scipy, and fast transforms against the plain sum."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from lauterbur.acquisition.twin.boxes import Inside, leftover, spherical_bessel
from lauterbur.acquisition.twin.transform import Transform, spread_spectrum, spreading, transforms


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 14, 26])
def test_spherical_bessel_functions_agree_with_scipy(n: int) -> None:
    out = np.zeros(n)
    for z in (0.0, 1e-9, 0.05, 0.1, 0.49, 0.51, 1.49, 1.51, np.pi, 2 * np.pi, *np.linspace(-40, 40, 333)):
        spherical_bessel(z, out)
        expected = [scipy.special.spherical_jn(m, abs(z)) * (-1.0 if z < 0 and m % 2 else 1.0) for m in range(n)]
        np.testing.assert_allclose(out, expected, atol=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.7), (0.5, -1.3), (-0.4, 4.0), (0.0, 2.0)])
def test_polynomials_put_a_dephased_profile_together_again(a: float, b: float) -> None:
    nodes = np.polynomial.legendre.leggauss(4)[0]
    terms = Inside(np.zeros((4, 3)), (nodes, np.zeros(1), np.zeros(1)), np.eye(3)).polynomials((12, 0, 0))[0]
    profile = np.random.default_rng(0).standard_normal(4)
    x, w = np.polynomial.legendre.leggauss(60)
    through = np.polynomial.polynomial.polyval(x, np.polynomial.polynomial.polyfit(nodes, profile, 3))
    exact = (w / 2 * through * np.exp(-1j * np.pi * (a + b) * x)).sum()
    bessel = np.zeros(terms.shape[2])
    spherical_bessel(np.pi * b, bessel)
    found = sum(leftover(np.array(a), n) * (terms[n] @ bessel @ profile) for n in range(13))
    assert abs(found - exact) < 1e-9


def plain(turns: np.ndarray, base: float, values: np.ndarray) -> np.ndarray:
    return values @ np.exp(-2j * np.pi * (turns - base)[:, None] * np.arange(values.shape[-1])[None]).T


LEVELS = {
    "whole": (np.arange(64) - 32) / 64,
    "half a step off": (np.arange(64) - 31.5) / 64,
    "two-fold, with reference lines": np.unique(np.concatenate((np.arange(-32, 32, 2), np.arange(-6, 6)))) / 64,
    "folded": (np.arange(30) - 15) / 30,
    "no grid": np.sort(np.random.default_rng(1).uniform(-0.5, 0.5, 40)),
}


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_transforms_bring_every_level(name: str, axis: int) -> None:
    turns, size = LEVELS[name], 50
    rng = np.random.default_rng(3)
    base, parts = transforms(turns, size)
    assert sorted(np.concatenate([part.levels for part in parts])) == list(range(len(turns)))
    shape = [2, 3, 4, 5]
    shape[axis] = max(size, *(part.n for part in parts))
    array = np.zeros(shape, np.complex64)
    np.moveaxis(array, axis, -1)[..., :size] = rng.standard_normal((*np.moveaxis(array, axis, -1).shape[:-1], size))
    expected = plain(turns, base, np.moveaxis(array, axis, -1)[..., :size])
    for part in parts:
        assert isinstance(part, Transform)
        found = np.moveaxis(part.apply(array, axis, size), axis, -1)[..., part.at]
        np.testing.assert_allclose(found, expected[..., part.levels], atol=2e-4 * np.abs(expected).max())
    assert (name == "no grid") == (parts[-1].n == 0)


def test_spins_between_places_are_heard_where_they_are() -> None:
    rng = np.random.default_rng(4)
    place, strength = rng.uniform(10, 50, 30), rng.standard_normal(30)
    start, taps = np.empty(30, np.int64), np.empty((30, 6), np.float32)
    spreading(place, start, taps)
    grid = np.zeros(64)
    np.add.at(grid, start[:, None] + np.arange(6), taps * strength[:, None])
    turns = np.linspace(-1 / 3, 1 / 3, 41)  # of a grid finer by 1.5 than the band
    found = plain(turns, 0.0, grid) / spread_spectrum(turns)
    expected = np.exp(-2j * np.pi * turns[:, None] * place[None]) @ strength
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
