"""Who stands in for whom: spins that are the same, and pulses played with few relaxation rates."""

from __future__ import annotations

import numpy as np
import pytest
from programs import Builder, sinc

from lauterbur.acquisition.twin.cast import RATES, maps_of
from lauterbur.acquisition.twin.compile import timeline
from lauterbur.acquisition.twin.pulses import pulse_maps
from lauterbur.acquisition.twin.transform import alike


@pytest.mark.parametrize("turn", [lambda x: x, lambda x: -x, np.reciprocal])
def test_rows_of_short_floating_point_numbers_are_told_apart(turn):
    rng = np.random.default_rng(0)
    rows = turn(np.unique(rng.normal(size=(300_000, 2)).astype(np.float32).astype(float), axis=0))
    everything = np.concatenate((rows, -rows, rows[::-1]))
    first, which = alike(everything)
    assert len(first) == 2 * len(rows)
    assert np.array_equal(everything[first][which], everything)


def test_pulses_of_few_rates_do_what_pulses_of_every_rate_do():
    length = 4e-3
    line = timeline(Builder().shaped(sinc(length, np.pi / 2, 3), length).program())
    rng = np.random.default_rng(0)
    n_offsets, n = 5, 400
    offset = rng.uniform(-1000, 1000, n_offsets)[np.arange(n) % n_offsets]
    t1, t2 = rng.uniform(0.2, 4, n), rng.uniform(0.025, 1, n)
    t1[0] = t2[0] = np.inf
    t2[1] = 1e-3  # too quick to be interpolated
    field, position = np.ones((1, n), complex), np.zeros((n, 3))
    got = maps_of(line, {"t1": t1, "t2": t2, "offset": offset, "position": position, "field": field})[0]
    assert n_offsets * np.prod(RATES) < n / 2  # which is why they are few
    shape = line.shapes[0]
    right = pulse_maps(shape, field[0], offset, position, t1, t2)
    unrelaxed = pulse_maps(shape, field[0], offset, position, np.full(n, np.inf), np.full(n, np.inf))
    assert np.abs(got[:, 1] - right[:, 1]).max() < 1e-6
    assert np.abs(right - unrelaxed)[:, 2:].max() > 0.01
    assert np.abs(got - right).max() < 1e-4
