"""Every closed form is a law for every engine: tests that ask for `engine` run once for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lauterbur.acquisition.twin.reference import play
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.program import Program

Engine = Callable[..., np.ndarray]  # (program, spins, receive=None, *, spins_per_voxel=None) -> (readout, rx, sample)


def reference(program: Program, spins: Spins, receive=None, *, spins_per_voxel: int | None = None) -> np.ndarray:
    return play(program, spins, receive, spins_per_voxel=spins_per_voxel)


engines: dict[str, Engine] = {"reference": reference}


@pytest.fixture(params=sorted(engines))
def engine(request: pytest.FixtureRequest) -> Engine:
    return engines[request.param]


@pytest.fixture
def data() -> Path:
    folder = os.environ.get("LAUTERBUR_TEST_DATA")
    if not folder:
        pytest.skip("LAUTERBUR_TEST_DATA is not set: no real data to compare with")
    return Path(folder)
