"""Fourier transforms, uniform and not."""

import numpy as np
import pytest
from laws import assert_adjoint, assert_unitary, random_complex

from lauterbur.recon.fft import fft, ifft, resized
from lauterbur.recon.nufft import Nufft, density_weights


@pytest.mark.parametrize("shape", [(8, 6), (7, 10), (9, 15), (16, 1)])
def test_the_centred_transform_is_unitary(shape):
    assert_unitary(lambda x: fft(x, (0, 1)), lambda x: ifft(x, (0, 1)), shape)


@pytest.mark.parametrize("n", [6, 8, 9, 15])
def test_the_transform_to_the_image_has_a_positive_exponent_about_index_half_n(n):
    centred = np.arange(n) - n // 2
    explicit = np.exp(2j * np.pi * np.outer(centred, centred) / n) / np.sqrt(n)
    x = random_complex((n,), 1)
    assert np.allclose(ifft(x, 0), explicit @ x, atol=1e-5)
    assert np.allclose(fft(x, 0), explicit.conj() @ x, atol=1e-5)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 2), (0, 1, 2)])
def test_a_batch_is_scaled_by_the_axes_that_are_transformed(axes):
    x = random_complex((3, 6, 5), 4)
    for door, theirs in ((fft, np.fft.fftn), (ifft, np.fft.ifftn)):
        shifted = np.fft.ifftshift(x, axes=axes)
        assert np.allclose(
            door(x, axes), np.fft.fftshift(theirs(shifted, axes=axes, norm="ortho"), axes=axes), atol=1e-5
        )


def test_a_transform_leaves_its_argument_alone():
    x = random_complex((6, 5), 2)
    before = x.copy()
    fft(x, (0, 1))
    assert np.array_equal(x, before)


@pytest.mark.parametrize(("have", "want"), [(8, 5), (5, 8), (7, 4), (4, 7), (6, 6)])
def test_resizing_keeps_the_centre_at_the_centre(have, want):
    x = np.zeros(have, np.complex64)
    x[have // 2] = 1
    assert np.argmax(np.abs(resized(x, want, 0))) == want // 2


@pytest.mark.parametrize("shape", [(7, 8), (5, 6, 4)])
def test_the_nonuniform_transform_and_its_adjoint_agree_with_explicit_sums(shape):
    points = np.random.default_rng(3).uniform(-0.5, 0.5, (40, len(shape)))
    operator = Nufft(points, shape)
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), axis=-1).reshape(
        -1, len(shape)
    )
    explicit = np.exp(-2j * np.pi * points @ grid.T) / np.sqrt(np.prod(shape))
    x, s = random_complex(shape, 4), random_complex((40,), 5)
    assert np.allclose(operator.forward(x), explicit @ x.ravel(), atol=1e-3)
    assert np.allclose(operator.adjoint(s).ravel(), explicit.conj().T @ s, atol=1e-3)
    assert_adjoint(operator.forward, operator.adjoint, shape, (40,))
    assert_adjoint(operator.forward, operator.adjoint, (2, *shape), (2, 40))


def test_density_weights_of_a_full_grid_are_one():
    n = 16
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1).reshape(-1, 2) / n - 0.5
    weights = density_weights(Nufft(grid, (n, n)))
    assert np.allclose(weights, 1, atol=0.02)


def test_density_weights_of_radial_spokes_rise_with_the_radius():
    n, spokes = 32, 64
    radius = (np.arange(2 * n) - n) / (2 * n)
    angle = np.pi * np.arange(spokes) / spokes
    points = np.stack([np.outer(np.sin(angle), radius), np.outer(np.cos(angle), radius)], axis=-1).reshape(-1, 2)
    weights = density_weights(Nufft(points, (n, n))).reshape(spokes, -1)[0]
    ramp = np.abs(radius) * np.pi / spokes * (1 / (2 * n)) * n * n  # area of a polar cell, in grid cells
    inner = (np.abs(radius) > 0.06) & (np.abs(radius) < 0.42)
    assert np.allclose(weights[inner], ramp[inner], rtol=0.15)
