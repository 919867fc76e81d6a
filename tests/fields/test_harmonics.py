"""Shim coils: what they can make is taken away exactly, within their limits; harmonics obey Laplace."""

import numpy as np
import pytest

from lauterbur.errors import InputError
from lauterbur.fields.harmonics import NAMES, adjusted, best_terms, shim_limits, solid_harmonics, with_terms
from lauterbur.scanner.profiles import load_scanner

MILLIMETRE = np.diag([1e-3, 1e-3, 1e-3, 1.0])


def test_a_shim_takes_out_exactly_what_its_coils_can_make():
    shape = (20, 22, 24)
    affine = np.array([[2e-3, 1e-4, 0, -0.02], [0, 2e-3, 0, 0.01], [0, 0, 3e-3, -0.03], [0, 0, 0, 1.0]])
    x, y, z = (part.astype(int) for part in np.meshgrid(*(np.arange(n) for n in shape[::-1]), indexing="ij"))
    place = np.stack([x, y, z], axis=-1).transpose(2, 1, 0, 3) @ affine[:3, :3].T + affine[:3, 3]
    rng = np.random.default_rng(2)
    for order in (0, 1, 2):
        field = sum(rng.normal() * 100 * term for term in solid_harmonics(place / 0.05, order)).astype(np.float32)
        region = rng.random(shape) > 0.3
        left, terms = adjusted(field, region, affine, order)
        assert np.abs(left).max() < 1e-3 * np.abs(field).max() + 1e-3
        assert len(terms) == (1, 4, 9)[order]


def test_shim_terms_obey_laplace():
    place = np.random.default_rng(3).standard_normal((7, 3))
    h = 1e-3
    for i_term in range(9):
        laplacian = (
            sum(solid_harmonics(place + s * h * axis, 2)[i_term] for axis in np.eye(3) for s in (-1, 1))
            - 6 * solid_harmonics(place, 2)[i_term]
        )
        assert np.abs(laplacian / h**2).max() < 1e-6


def test_a_shim_needs_signal_and_a_known_order():
    field = np.zeros((4, 4, 4), np.float32)
    with pytest.raises(InputError, match="signal"):
        adjusted(field, field > 0, MILLIMETRE, 1)
    with pytest.raises(InputError, match="order 3"):
        adjusted(field, field == 0, MILLIMETRE, 3)


def test_a_field_beyond_a_coil_s_limit_keeps_the_rest():
    """On a body symmetric about the isocentre z2 is orthogonal to all but the frequency: what is left is the closed form."""
    axis = np.linspace(-0.08, 0.08, 17)
    place = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    place = place[np.linalg.norm(place, axis=1) < 0.08]
    z2 = solid_harmonics(place, 2)[NAMES.index("z2")]
    terms = best_terms(5000.0 * z2, place, 2, limits={"z2": 3000.0})
    assert terms[NAMES.index("z2")] == pytest.approx(-3000.0)
    left = 5000.0 * z2 + np.stack(solid_harmonics(place, 2), axis=-1) @ terms
    assert np.allclose(left, 2000.0 * (z2 - z2.mean()), atol=1e-6)
    assert (
        np.abs(5000.0 * z2 + np.stack(solid_harmonics(place, 2), axis=-1) @ best_terms(5000.0 * z2, place, 2)).max()
        < 1e-6
    )


def test_terms_are_added_where_the_voxels_lie():
    affine = np.array([[0, 2e-3, 0, -0.02], [-2e-3, 0, 0, 0.01], [0, 0, 3e-3, -0.03], [0, 0, 0, 1.0]])
    terms = np.arange(1.0, 10.0) * 10
    shape = (3, 4, 5)
    found = with_terms(np.full(shape, 7, np.float32), affine, terms)
    z, y, x = 2, 1, 4
    place = affine[:3, :3] @ [x, y, z] + affine[:3, 3]
    assert found[z, y, x] == pytest.approx(
        7 + sum(c * t for c, t in zip(terms, solid_harmonics(place, 2), strict=True))
    )


def test_terms_that_nothing_tells_apart_stay_small():
    """In one slice away from the isocentre xz is x, yz is y, and z2 is x2 and y2: no large currents against each other."""
    rng = np.random.default_rng(0)
    place = np.concatenate((rng.uniform(-0.08, 0.08, (500, 2)), np.full((500, 1), 0.03)), axis=1)
    field = 300 * place[:, 0] + 2000 * place[:, 0] * place[:, 1] + 5
    terms = best_terms(field, place, 2)
    assert np.abs(field + np.stack(solid_harmonics(place, 2), axis=-1) @ terms).max() < 1e-3
    assert np.abs(terms[1:4]).max() < 400 and np.abs(terms[4:]).max() < 1e4


def test_a_scanner_s_coils_have_the_limits_of_its_profile():
    limits = shim_limits(load_scanner("5T"), 2)
    assert limits["z2"] == pytest.approx(4.96e-3 * 42.577478518e6) and set(limits) == set(NAMES[1:])
    assert shim_limits(load_scanner("5T"), 0) == {}
