"""Few records judge for many."""

from __future__ import annotations

import numpy as np
import pytest

from lauterbur.acquisition.twin.rehearsal import _spokesmen


def test_a_few_records_stand_for_the_energy_of_all():
    loudness = np.random.default_rng(0).lognormal(sigma=1.5, size=100_000)
    some, stands_for = _spokesmen(loudness, 2000)
    assert len(some) <= 2000 and (np.diff(some) > 0).all()
    assert (stands_for[np.isin(some, np.argsort(-loudness)[:1000])] == 1).all()  # the loudest, for themselves
    assert stands_for.sum() == pytest.approx(len(loudness), rel=0.01)
    assert loudness[some] ** 2 @ stands_for == pytest.approx(np.sum(loudness**2), rel=0.02)
    few, alone = _spokesmen(loudness[:50], 2000)
    assert np.array_equal(few, np.arange(50)) and (alone == 1).all()
