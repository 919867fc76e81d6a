"""How loud all spins are together, beside the sum over them written out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lauterbur.acquisition.twin.boxes import box_factor
from lauterbur.acquisition.twin.collective import Chorus, _listened, together
from lauterbur.acquisition.twin.course import Course, Drift
from lauterbur.acquisition.twin.judge import GUESSED
from lauterbur.acquisition.twin.place import Place

STEP = 6e-3  # m
ORDERS = ((0, 0, 0), (0, 0, 0), (0, 1, 0))  # of the components


def turned(angle: float) -> tuple[Place, np.ndarray]:
    """Boxes of a disc side by side, turned against the axes, and something smooth on them."""
    c, s = np.cos(angle), np.sin(angle)
    edges = STEP * np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    index = np.stack(np.meshgrid(np.arange(30), np.arange(26), [0], indexing="ij"), axis=-1).reshape(-1, 3)
    index = index[np.hypot(index[:, 0] - 14, index[:, 1] - 13) < 12]
    value = np.exp(-((index[:, 0] - 12) ** 2 + (index[:, 1] - 15) ** 2) / 60) * np.exp(0.1j * index[:, 0])
    return Place(index @ edges, edges, None), value


def test_boxes_on_no_lattice_have_the_grid_of_their_boxes():
    place, _ = turned(0.3)
    grid = place.grid
    assert grid is not None and len(np.unique(grid.index)) == len(place.position)
    z, y, x = np.unravel_index(grid.index, grid.shape)
    where = np.column_stack((x, y, z)) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    assert np.abs(where - place.position).max() < 1e-9
    assert Place(place.position, None, None).grid is None  # points have no boxes
    assert Place(place.position, np.diag([1e-3, 1e-3, 0.0]), None).grid is None  # nor flat ones a grid


@pytest.mark.parametrize("angle", [0.0, 0.3])
@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])  # boxes at the largest offset, which is 100 Hz
@pytest.mark.parametrize("heard", [slice(0, 6), slice(12, 20), slice(0, 32)])  # the rim of k-space, its middle, all
def test_components_are_as_loud_as_their_sum_where_they_are_heard(angle: float, shift: float, heard: slice) -> None:
    place, value = turned(angle)
    ky, kx = np.meshgrid((np.arange(32) - 16) / 32 / STEP, (np.arange(32) - 15.5) / 32 / STEP, indexing="ij")
    k = np.stack((kx, ky, np.zeros_like(kx)), axis=-1)
    rows = np.zeros((len(ORDERS), 32, 1), np.complex64)
    rows[:, heard, 0] = (np.exp(1j * np.arange(32)) * np.array([[1], [0.5], [1j]]))[:, heard]
    course = Course(rows, np.ones((len(ORDERS), 1, 32), np.complex64), np.ones(len(ORDERS), np.int64))
    found = SimpleNamespace(
        n_components=len(ORDERS),
        course=course,
        energy=np.ones(len(ORDERS)),
        orders=lambda: [((0, 0, 0), slice(0, 2)), ((0, 1, 0), slice(2, 3))],
    )
    sound = np.array([value, value * np.linspace(0, 1, len(value)), value]).astype(np.complex64)
    offset = 100 * np.sin(place.position[:, 0] / 0.03)
    drift = Drift(np.array([shift * STEP / 100, 0, 0]), np.zeros(32))
    whose = np.abs(value)
    got = together(found, k, place, offset, drift, whose, lambda which: sound[:, which], np.random.default_rng(0))
    waves = np.exp(-2j * np.pi * (k @ (place.position + offset[:, None] * drift.shift).T)) @ sound.T
    factor = np.stack([np.asarray(box_factor(k, place.edges, order)) for order in ORDERS], axis=-1)
    signal = waves * factor * rows[:, :, 0].T[:, None, :]
    strength = np.mean(np.abs(rows[:, :, 0]) ** 2, axis=1) * np.sum(np.abs(sound) ** 2, axis=1)
    signal /= np.sqrt(np.mean(factor**2, axis=(0, 1)) * strength)  # over what they would be heard one by one
    for some in ([0], [1], [2], [0, 1], [0, 1, 2]):
        right = np.mean(np.abs(signal[..., some].sum(axis=-1)) ** 2)
        assert GUESSED[0] < right / got.energy(np.isin(np.arange(3), some)) < GUESSED[1]  # which the judge counts with


def test_a_component_that_no_spin_of_the_blocks_speaks_in_is_not_taken_to_be_silent():
    place, value = turned(0.0)
    k = np.zeros((4, 8, 3))
    k[..., 0] = np.arange(8) / 8 / STEP
    course = Course(np.ones((2, 4, 1), np.complex64), np.ones((2, 1, 8), np.complex64), np.ones(2, np.int64))
    found = SimpleNamespace(
        n_components=2, course=course, energy=np.array([1.0, 0.3]), orders=lambda: [((0, 0, 0), slice(0, 2))]
    )
    sound = np.array([value, 0 * value]).astype(np.complex64)
    still = Drift(np.zeros(3), np.zeros(8))
    got = together(
        found,
        k,
        place,
        0 * np.abs(value),
        still,
        np.abs(value),
        lambda which: sound[:, which],
        np.random.default_rng(0),
    )
    assert got.products[1, 1] == 0.3 and got.products[0, 1] == 0 and got.energy() > 0.3


def test_the_quietest_are_left_out_as_long_as_they_bring_little_together():
    alike = Chorus(np.outer([1, 1, 1, 10], [1, 1, 1, 10]).astype(complex))  # n of them bring n^2, not n
    assert alike.needed(2.0).tolist() == [False, False, True, True] and alike.energy() == 169
    apart = Chorus(np.diag([1.0, 1, 1, 100]).astype(complex))
    assert apart.needed(2.0).tolist() == [False, False, False, True]
    assert not apart.needed(11.0).any() and apart.needed(0.5).all()


def test_some_points_of_k_space_stand_for_all_of_them():
    kappa = np.random.default_rng(0).uniform(-0.5, 0.5, (200_000, 3))
    some, stands_for = _listened(kappa, 20_000, np.random.default_rng(1))
    assert len(some) <= 20_000 and stands_for.sum() == pytest.approx(len(kappa), rel=0.02)
    loud = np.exp(-0.5 * (np.linalg.norm(kappa, axis=1) / 0.05) ** 2)  # a smooth object is loud near k = 0
    assert loud[some] @ stands_for == pytest.approx(loud.sum(), rel=0.05)
