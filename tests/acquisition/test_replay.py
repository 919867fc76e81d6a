"""Recorded readouts come back as they were."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from programs import Builder

from lauterbur.acquisition.base import gather
from lauterbur.acquisition.replay import Replay
from lauterbur.errors import InputError
from lauterbur.rawdata import Header, RawData, Readout


def recording() -> RawData:
    rng = np.random.default_rng(4)
    lengths = (5, 3, 5)
    readouts = [
        Readout(
            (rng.normal(size=(2, n)) + 1j * rng.normal(size=(2, n))).astype(np.complex64),
            rng.normal(size=(n, 3)).astype(np.float32),
            0.1 * i,
            1e-5,
            {"LIN": i, "NAV": int(i == 1)},
            n // 2,
        )
        for i, n in enumerate(lengths)
    ]
    return gather(readouts, Header((5, 3, 1), (0.1, 0.1, 0.1)))


def test_gathering_pads_with_zeros_and_keeps_every_label():
    raw = recording()
    assert raw.samples.shape == (3, 2, 5) and not raw.samples[1, :, 3:].any()
    np.testing.assert_array_equal(raw.n_samples, [5, 3, 5])
    np.testing.assert_array_equal(raw.label("LIN"), [0, 1, 2])
    np.testing.assert_array_equal(raw.label("NAV"), [0, 1, 0])


def test_a_replay_gathered_again_is_the_recording():
    raw = recording()
    again = gather(Replay(raw).acquire(), raw.header)
    for name in ("samples", "n_samples", "k", "time", "dwell", "center_sample"):
        np.testing.assert_array_equal(getattr(again, name), getattr(raw, name))
    assert again.header == raw.header


def test_a_recording_of_another_program_is_refused():
    program = Builder().pulse(0.5).listen(4, 1e-5).program()
    with pytest.raises(InputError, match="holds 3 readouts, but the program listens 1 times"):
        Replay(recording()).acquire(SimpleNamespace(program=program))


def test_readouts_with_different_channels_are_refused():
    one = Readout(np.zeros((1, 2), np.complex64), np.zeros((2, 3), np.float32), 0.0, 1e-5, {})
    two = Readout(np.zeros((2, 2), np.complex64), np.zeros((2, 3), np.float32), 0.0, 1e-5, {})
    with pytest.raises(InputError, match=r"\[1, 2\] receive channels"):
        gather([one, two])
