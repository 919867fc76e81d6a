"""Every closed form is a law for every engine: tests that ask for `engine` run once for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lauterbur.acquisition.twin.reference import play
from lauterbur.acquisition.twin.simulation import simulate
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.program import Program

Engine = Callable[..., np.ndarray]  # (program, spins, receive=None, *, spins_per_voxel=None) -> (readout, rx, sample)


def reference(program: Program, spins: Spins, receive=None, *, spins_per_voxel: int | None = None) -> np.ndarray:
    return play(program, spins, receive, spins_per_voxel=spins_per_voxel)


def fast(program: Program, spins: Spins, receive=None, *, spins_per_voxel: int | None = None) -> np.ndarray:
    """`spins_per_voxel` is the reference engine's affair."""
    raw = simulate(program, spins, receive, engine="fast")
    assert raw.header.provenance["engine"] == "fast", "the reference stood in for the fast engine"
    return raw.samples


engines: dict[str, Engine] = {"fast": fast, "reference": reference}
# Of the whole magnetisation, for a single spin after a few pulses. The fast engine drops states, and parts of slice
# profiles, that matter less than what it is asked for (0.1 % of the signal of many spins).
errors = {"fast": 5e-3, "reference": 2e-5}


@pytest.fixture(params=sorted(engines))
def engine(request: pytest.FixtureRequest) -> Engine:
    return engines[request.param]


@pytest.fixture
def allowed(engine: Engine) -> float:
    return next(errors[name] for name, known in engines.items() if known is engine)


@pytest.fixture
def data() -> Path:
    folder = os.environ.get("LAUTERBUR_TEST_DATA")
    if not folder:
        pytest.skip("LAUTERBUR_TEST_DATA is not set: no real data to compare with")
    return Path(folder)
