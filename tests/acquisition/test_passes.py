"""What a pass leaves out must not be missed."""

from __future__ import annotations

import numpy as np
from programs import Builder

from lauterbur.acquisition.twin.compile import timeline
from lauterbur.acquisition.twin.passes import with_shapes


def train(*, is_idle_kept: bool):
    """Echoes between pulses that may be left out: before the first, between pulses, before a readout, and at the end."""

    def idle() -> None:
        if is_idle_kept:
            builder.pulse(1e-9, duration=3e-4)
        else:
            builder.wait(3e-4)

    builder = Builder()
    for k in (40.0, -90.0):
        idle()
        builder.wait(2e-3, (k, 0, 60))
        builder.pulse(np.pi / 2)
        builder.wait(2e-3, (60, 0, k))
        idle()
        idle()
        builder.wait(2e-3, (k, 20, 0))
        builder.pulse(np.pi)
        builder.wait(3e-3, (80, 0, k))
        idle()
        builder.wait(3e-3, (0, -k, k))
        builder.listen(16, 1e-5, g=(1e4, 0, 0))
        idle()
    return timeline(builder.program(), with_diffusion=True)


def test_a_timeline_without_idle_pulses_is_the_timeline_of_a_program_without_them():
    full, right = train(is_idle_kept=True), train(is_idle_kept=False)
    idle = next(i for i, shape in enumerate(full.shapes) if np.abs(shape.b1).max() < 1e-3)
    got = with_shapes(full, np.arange(len(full.shapes)) != idle)
    assert len(got.time) == len(right.time) == len(full.time) - 10
    assert np.array_equal(got.pulse, right.pulse)
    for name in ("time", "k", "heard"):
        assert np.allclose(getattr(got, name), getattr(right, name), rtol=1e-9, atol=1e-9), name
    assert np.allclose(got.diffusion[1:], right.diffusion[1:], rtol=1e-9, atol=1e-9)  # [0]: nothing is dephased yet


def test_diffusion_weakens_whatever_is_left_out():
    full = train(is_idle_kept=True)
    for left_out in range(len(full.shapes)):
        got = with_shapes(full, np.arange(len(full.shapes)) != left_out)
        spread = got.diffusion[1:, 3] * np.diff(got.time) - (got.diffusion[1:, :3] ** 2).sum(axis=1)
        assert (spread > -1e-9).all()  # Cauchy and Schwarz: no b value is negative
