"""k-space as played."""

from __future__ import annotations

import numpy as np
import pytest
from programs import Builder, flat

from lauterbur.acquisition.trajectory import flip_angle, moment, pulse_use, trajectory
from lauterbur.errors import ResourceError
from lauterbur.program import Adc, Column, Gradient, gradient_points


def test_a_moment_is_the_integral_of_the_straight_lines():
    gradient = Gradient(np.array([0, 1e-4, 1e-4, 5e-4, 9e-4]), np.array([0.0, 2e4, 3e4, 3e4, -1e4]), delay=2e-4)
    fine = np.linspace(0, 1.5e-3, 150_001)
    value = np.interp(fine - 2e-4, gradient.time, gradient.waveform, left=0, right=0)
    summed = np.concatenate([[0], np.cumsum((value[1:] + value[:-1]) / 2 * np.diff(fine))])
    np.testing.assert_allclose(moment(gradient, fine[::1000]), summed[::1000], atol=2e-3)


def test_k_starts_at_the_centre_of_an_excitation():
    program = Builder().pulse(np.pi / 2, duration=1e-3, g=(0, 0, 4e4)).listen(10, 1e-5, g=(1e5, 0, 0)).program()
    played = trajectory(program)
    np.testing.assert_allclose(played.k[0, :, 2], 4e4 * 0.5e-3, rtol=1e-6)
    np.testing.assert_allclose(played.k[0, :, 0], 1e5 * (np.arange(10) + 0.5) * 1e-5, rtol=1e-6)
    assert played.time[0] == pytest.approx(1e-3 + 5e-6)
    assert played.te[0] == pytest.approx(0.5e-3 + 5e-6)


def test_a_refocusing_pulse_negates_k_at_its_centre():
    builder = Builder().pulse(np.pi / 2, duration=1e-4).wait(1e-3, (70, -20, 5))
    program = builder.pulse(np.pi, duration=2e-3, g=(0, 0, 1e4)).listen(1, 1e-6).program()
    np.testing.assert_allclose(trajectory(program).k[0, 0], [-70, 20, -(5 + 10) + 10], atol=1e-4)


def test_inversions_and_saturations_leave_k_alone():
    for use in ("inversion", "saturation", "preparation", "other"):
        builder = Builder().pulse(np.pi / 2, duration=1e-4).wait(1e-3, (70, 0, 0)).pulse(np.pi, use=use)
        np.testing.assert_allclose(trajectory(builder.listen(1, 1e-6).program()).k[0, 0], [70, 0, 0], atol=1e-4)


def test_a_pulse_of_unknown_use_is_judged_by_its_angle():
    program = Builder().pulse(np.pi / 2).pulse(np.deg2rad(120)).program()
    assert flip_angle(program.rf[0]) == pytest.approx(np.pi / 2)
    assert [pulse_use(p) for p in program.rf] == ["excitation", "refocusing"]


def test_the_centre_sample_is_that_of_an_even_fft():
    def center(first: float) -> int:
        program = (
            Builder().pulse(0.5, duration=1e-6).wait(1e-3, (first, 0, 0)).listen(64, 1e-5, g=(4e5, 0, 0)).program()
        )
        return int(trajectory(program).center_sample[0])

    assert center(-128.0) == 32  # samples at +-2 1/m are equally near: the later one
    assert center(-130.0) == 32  # k = 0 exactly at sample 32
    assert center(-126.0) == 31


def test_readouts_without_gradients_are_centred_at_their_start():
    assert trajectory(Builder().pulse(0.5).listen(64, 1e-5).program()).center_sample[0] == 0


def test_a_rotation_turns_what_is_played():
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    builder = Builder().pulse(0.5, duration=1e-6).listen(8, 1e-5, g=(1e5, 0, 0))
    builder.rows[1][Column.ROTATION] = 0
    played = trajectory(builder.program(rotations=turn[None])).k[0]
    np.testing.assert_allclose(played[:, 1], 1e5 * (np.arange(8) + 0.5) * 1e-5, rtol=1e-6)
    assert not played[:, 0].any()


def test_k_agrees_with_the_rendered_gradients_of_a_whole_program():
    rng = np.random.default_rng(2)
    builder = Builder().pulse(0.5, duration=1e-6)
    for _ in range(5):
        shape = [
            Gradient(np.linspace(0, 9e-4, 10), rng.normal(size=10) * 1e5, delay=1e-4, kind="shaped") for _ in "xyz"
        ]
        builder.block(1.2e-3, gradients=shape, adc=Adc(50, 2e-5, 1e-4))
    program = builder.program()
    played = trajectory(program)
    so_far = np.zeros(3)
    for i in range(5):
        time, value = gradient_points(program, i + 1)
        fine = np.linspace(0, 1.2e-3, 120_001)
        g = np.column_stack([np.interp(fine, time, value[:, axis]) for axis in range(3)])
        k = so_far + np.concatenate([[[0, 0, 0]], np.cumsum((g[1:] + g[:-1]) / 2 * 1e-8, axis=0)])
        at = np.round((1e-4 + (np.arange(50) + 0.5) * 2e-5) / 1e-8).astype(int)
        np.testing.assert_allclose(played.k[i], k[at], atol=2e-2)
        so_far = k[-1]


def test_too_many_samples_are_refused_before_memory_is_spent():
    program = Builder().pulse(0.5).block(1.0, adc=Adc(10**12, 1e-9), gradients=[flat(1.0, 1.0), None, None]).program()
    with pytest.raises(ResourceError, match="1000000000000 samples"):
        trajectory(program)
