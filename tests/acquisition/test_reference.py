"""What the reference engine alone promises: repeatability, partial listening, samples within pulses, clear refusals."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from programs import Builder, hard

from lauterbur.acquisition.twin.reference import play
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.errors import InputError
from lauterbur.program import Adc


def small_scan() -> Builder:
    builder = Builder()
    for i in range(6):
        builder.pulse(0.4, 0.3 * i * i, 2e-4, g=(0, 0, 5e4)).wait(1e-3, (-32, 4 * i, -5)).listen(
            64, 1e-5, g=(1e5, 0, 0)
        )
        builder.wait(2e-3, (20, -4 * i, 30))
    return builder


def some_spins(n: int = 50) -> Spins:
    rng = np.random.default_rng(1)
    return Spins(
        rng.normal(size=(n, 3)) * 0.03,
        rng.uniform(0.5, 1, n),
        rng.uniform(0.3, 2, n),
        rng.uniform(0.03, 0.2, n),
        rng.uniform(0.02, 0.1, n),
        rng.normal(size=n) * 50,
        rng.uniform(0.7, 1.3, n),
        volume=1e-9,
        off_resonance_gradient=rng.normal(size=(n, 3)) * 1e3,
    )


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_threads():
    program, spins = small_scan().program(), some_spins()
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = play(program, spins, spins_per_voxel=16, seed=7)
        numba.set_num_threads(before)
        several = play(program, spins, spins_per_voxel=16, seed=7)
    finally:
        numba.set_num_threads(before)
    assert one.tobytes() == several.tobytes()
    assert play(program, spins, spins_per_voxel=16, seed=8).tobytes() != one.tobytes()


def test_chosen_readouts_are_those_of_the_whole():
    program, spins = small_scan().program(), some_spins()
    whole = play(program, spins, np.ones((3, 50)), spins_per_voxel=8)
    np.testing.assert_allclose(
        play(program, spins, np.ones((3, 50)), spins_per_voxel=8, readouts=[4, 1]), whole[[4, 1]], atol=1e-15
    )


def test_more_sub_spins_come_closer():
    program, spins = small_scan().program(), some_spins()
    fine = play(program, spins, spins_per_voxel=2048)
    errors = [
        np.linalg.norm(play(program, spins, spins_per_voxel=n) - fine) / np.linalg.norm(fine) for n in (8, 32, 128)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_samples_within_a_pulse_follow_the_magnetisation():
    length, n = 1e-3, 20
    builder = Builder().block(length, rf=hard(np.pi / 2, np.pi / 3, length), adc=Adc(n, length / n))
    signal = play(builder.program(), Spins(np.zeros((1, 3))))[0, 0]
    t = (np.arange(n) + 0.5) / n
    np.testing.assert_allclose(signal, 1j * np.exp(-1j * np.pi / 3) * np.sin(np.pi / 2 * t), atol=1e-6)


def test_a_pulse_with_an_offset_and_samples_around_it_equals_the_same_pulse_alone():
    pulse = hard(np.pi / 2, 0.4, 1e-3, frequency=250.0)
    late = Builder().block(1e-3, rf=pulse).listen(10, 1e-4)
    around = Builder().block(2e-3, rf=pulse, adc=Adc(20, 1e-4))
    spins = Spins([[0, 0, 0]], t1=0.5, t2=0.05, off_resonance=90.0)
    np.testing.assert_allclose(play(around.program(), spins)[0, 0, 10:], play(late.program(), spins)[0, 0], atol=1e-5)


def test_readouts_of_different_lengths_are_padded_with_zeros():
    program = Builder().pulse(0.5).listen(4, 1e-5).listen(9, 1e-5).program()
    signal = play(program, Spins(np.zeros((1, 3))))
    assert signal.shape == (2, 1, 9)
    assert not signal[0, 0, 4:].any() and signal[1, 0].all()


def test_a_program_that_never_listens_gives_nothing():
    assert play(Builder().pulse(0.5).program(), Spins(np.zeros((2, 3)))).shape == (0, 1, 0)


def test_wrong_shapes_and_counts_are_named():
    program, spins = small_scan().program(), some_spins()
    with pytest.raises(InputError, match=r"receive has shape \(2, 49\); it must be \(rx, 50\)"):
        play(program, spins, np.ones((2, 49)))
    with pytest.raises(InputError, match="readouts must be different indices from 0 to 5"):
        play(program, spins, readouts=[6])
    with pytest.raises(InputError, match="finite t2_prime"):
        play(program, spins, spins_per_voxel=1)
    with pytest.raises(InputError, match="at least 1"):
        play(program, spins, spins_per_voxel=0)
    shimmed = Builder().pulse(0.5, shim=[1, 1j]).listen(2, 1e-5).program()
    with pytest.raises(InputError, match="weighs 2 transmit channels, but b1_plus has 1"):
        play(shimmed, Spins(np.zeros((1, 3))))


def test_progress_ends_at_one():
    told: list[float] = []
    play(small_scan().program(), some_spins(), spins_per_voxel=4, progress=told.append)
    assert told[-1] == 1.0
