"""Finite pulses, and the signs of everything, against integrations that share no code with the engines."""

from __future__ import annotations

import numpy as np
import pytest
from programs import Builder, flat, hard, sinc
from scipy.integrate import solve_ivp

from lauterbur.acquisition.twin.spins import Spins
from lauterbur.program import Adc, Gradient, RfPulse

DURATION, GRADIENT = 2e-3, 4e5  # s, Hz/m: 2 kHz (time-bandwidth 4) select 5 mm


def profile_program(flip: float, frequency: float = 0.0, phase: float = 0.0):
    builder = Builder().shaped(sinc(DURATION, flip, 4), DURATION, phase, g=(0, 0, GRADIENT), frequency=frequency)
    return builder.wait(1e-3, (0, 0, -GRADIENT * DURATION / 2)).listen(1, 2e-6).program()


def line_along_z(z: np.ndarray, **tissue) -> Spins:
    return Spins(np.column_stack([0 * z, 0 * z, z]), **tissue)


def test_a_small_angle_slice_profile_is_the_fourier_transform_of_the_pulse(engine, allowed):
    z = np.linspace(-8e-3, 8e-3, 41)
    flip = np.deg2rad(1)
    signal = engine(profile_program(flip), line_along_z(z), np.eye(41, dtype=complex))[0, :, 0]
    b = sinc(DURATION, flip, 4)
    dt = DURATION / len(b)
    t = (np.arange(len(b)) + 0.5) * dt
    spectrum = np.exp(-2j * np.pi * GRADIENT * np.outer(z, DURATION / 2 - t)) @ b * dt
    np.testing.assert_allclose(signal, 2j * np.pi * spectrum, atol=min(allowed, 3e-4))


def rotating_frame(t, m, b, f, t1, t2):
    """dM/dt = 2 pi M x B - relaxation, written out; m is (3, n) flattened."""
    x, y, z = m.reshape(3, -1)
    return np.concatenate(
        [
            2 * np.pi * (y * f - z * b.imag) - x / t2,
            2 * np.pi * (z * b.real - x * f) - y / t2,
            2 * np.pi * (x * b.imag - y * b.real) - (z - 1) / t1,
        ]
    )


def test_a_ninety_degree_sinc_agrees_with_an_ode_solver_step_by_step(engine):
    z = np.linspace(-6e-3, 6e-3, 13)
    t1, t2, offset, shift, phase = 0.4, 0.02, 120.0, 700.0, 0.6
    program = profile_program(np.pi / 2, frequency=shift, phase=phase)
    spins = line_along_z(z, t1=t1, t2=t2, off_resonance=offset)
    signal = engine(program, spins, np.eye(13, dtype=complex))[0, :, 0]

    waveform = sinc(DURATION, np.pi / 2, 4)
    dt = DURATION / len(waveform)
    m = np.concatenate([np.zeros(26), np.ones(13)])
    for i, value in enumerate(waveform):

        def during(t, m, value=value):
            b = np.conj(value * np.exp(1j * (phase + 2 * np.pi * shift * t)))
            return rotating_frame(t, m, b, offset + GRADIENT * z, t1, t2)

        m = solve_ivp(during, (i * dt, (i + 1) * dt), m, rtol=1e-8, atol=1e-10).y[:, -1]
    xy = m[:13] + 1j * m[13:26]
    after = 1e-3 + 1e-6
    expected = xy * np.exp(-after / t2 - 2j * np.pi * (offset * after - GRADIENT * DURATION / 2 * z))
    np.testing.assert_allclose(signal, expected, atol=1e-4)


def test_every_sign_agrees_with_the_bloch_equation_in_the_laboratory_frame(engine):
    """A real field 2 A cos(2 pi (f0 + offset) t + phase) along x, B0 along z, at a Larmor frequency of 40 kHz.

    The field that turns the other way and Bloch-Siegert's shift are left in: they are of the order A / f0 = 1e-3.
    """
    f0, amplitude, length, phase, shift, off_resonance = 40e3, 40.0, 6e-3, 0.8, 55.0, 21.0
    g_pulse, g_read, place, rest, dwell = 3e3, -5e3, 0.011, 1e-3, 0.5e-3
    builder = Builder().pulse(2 * np.pi * amplitude * length, phase, length, g=(g_pulse, 0, 0), frequency=shift)
    program = builder.wait(rest).listen(4, dwell, g=(g_read, 0, 0), phase=0.0).program()
    signal = engine(program, Spins([[place, 0.0, 0.0]], off_resonance=off_resonance))[0, 0]

    def laboratory(t, m):
        gradient = g_pulse if t < length else g_read if t >= length + rest else 0.0
        b_x = 2 * amplitude * np.cos(2 * np.pi * (f0 + shift) * t + phase) if t < length else 0.0
        b = np.array([b_x, 0.0, f0 + off_resonance + gradient * place])
        return 2 * np.pi * np.cross(m, b)

    m, now, edges = np.array([0.0, 0.0, 1.0]), 0.0, [length, length + rest]
    samples = [length + rest + (i + 0.5) * dwell for i in range(4)]
    found = []
    for stop in [*edges, *samples]:
        m = solve_ivp(laboratory, (now, stop - 1e-12), m, rtol=1e-7, atol=1e-9, max_step=2e-6, method="DOP853").y[:, -1]
        now = stop
        found.append(complex(m[0], m[1]) * np.exp(2j * np.pi * f0 * stop))
    np.testing.assert_allclose(signal, found[2:], atol=4e-3)


def test_the_same_phase_on_pulse_and_receiver_cancels(engine):
    def played(phase, frequency):
        program = Builder().pulse(0.5, phase, 1e-5).wait(1e-3).listen(50, 2e-5, phase=phase, frequency=frequency)
        return engine(program.program(), Spins(np.zeros((1, 3)), off_resonance=10.0))[0, 0]

    np.testing.assert_allclose(played(1.1, 0.0), played(0.0, 0.0), atol=1e-6)
    turned = played(0.0, 0.0) * np.exp(2j * np.pi * 40 * (np.arange(50) + 0.5) * 2e-5)
    np.testing.assert_allclose(played(0.0, 40.0), turned, atol=1e-6)


def test_fat_is_displaced_along_the_readout_by_its_shift_over_the_gradient(engine):
    g, shift = 5e4, 700.0
    program = Builder().pulse(np.pi / 2, duration=1e-6).wait(1e-3, (-32, 0, 0)).listen(64, 2e-5, g=(g, 0, 0)).program()
    fat = engine(program, Spins([[0.01, 0, 0]], off_resonance=shift))[0, 0]
    water = engine(program, Spins([[0.01 + shift / g, 0, 0]]))[0, 0]
    ratio = fat / water
    np.testing.assert_allclose(ratio, ratio[0], atol=1e-5)


def test_fat_is_excited_in_a_slice_displaced_by_its_shift_over_the_gradient(engine):
    z, shift = np.linspace(-6e-3, 6e-3, 25), 800.0
    program, alone = profile_program(np.pi / 2), np.eye(25, dtype=complex)
    fat = engine(program, line_along_z(z, off_resonance=shift), alone)[0, :, 0]
    water = engine(program, line_along_z(z + shift / GRADIENT), alone)[0, :, 0]
    np.testing.assert_allclose(np.abs(fat), np.abs(water), atol=1e-4)


def test_a_saturation_pulse_of_a_narrow_band_acts_in_a_selected_slice(engine):
    """The band lies between the ends and the middle of the spins' offsets, where no coarse look would find it."""
    shift = -745.0
    frequencies = np.array([-1800.0, shift, 0.0, 1500.0])
    rf = RfPulse(
        sinc(8e-3, np.pi / 2, 3, 800).astype(complex),
        (np.arange(800) + 0.5) * 1e-5,
        8e-3,
        0.0,
        4e-3,
        shift,
        use="saturation",
    )

    def heard(builder: Builder) -> np.ndarray:
        waveform = sinc(DURATION, np.pi / 2, 4)
        builder.wait(20e-3).shaped(waveform, DURATION, g=(0, 0, GRADIENT))
        program = builder.wait(1e-3, (0, 0, -GRADIENT * DURATION / 2)).listen(1, 2e-6).program()
        z = -frequencies / GRADIENT  # all in the middle of the slice
        spins = line_along_z(z, off_resonance=frequencies, t2=3e-3, t1=1e3)  # what is not longitudinal fades
        return np.abs(engine(program, spins, np.eye(4, dtype=complex))[0, :, 0])

    saturated, plain = heard(Builder().block(8e-3, rf=rf)), heard(Builder().wait(8e-3))
    assert (plain > 0.3).all()
    left = saturated / plain
    assert left[1] < 0.3  # T2 is short against the pulse
    np.testing.assert_allclose(left[[0, 2, 3]], 1, atol=0.02)


def test_samples_on_a_gradient_ramp_see_the_ramp(engine):
    slope, n, dwell = 1e8, 40, 1e-5  # Hz/m/s
    ramp = Gradient(np.array([0, n * dwell]), np.array([0, slope * n * dwell]), kind="shaped")
    builder = Builder().pulse(np.pi / 2, duration=1e-7)
    program = builder.block(n * dwell, adc=Adc(n, dwell), gradients=(None, ramp, None)).program()
    signal = engine(program, Spins([[0, 0.02, 0]]))[0, 0]
    t = (np.arange(n) + 0.5) * dwell
    np.testing.assert_allclose(signal, 1j * np.exp(-2j * np.pi * slope * t**2 / 2 * 0.02), atol=1e-5)


def test_weak_pulses_act_in_proportion_to_b1(engine):
    signal = [
        engine(Builder().pulse(0.002, duration=1e-4).listen(1, 1e-6).program(), Spins(np.zeros((1, 3)), b1_plus=b))[
            0, 0, 0
        ]
        for b in (0.5, 1.0, 2.0j)
    ]
    np.testing.assert_allclose(signal, np.array([0.5, 1.0, 2.0j]) * 0.002j, atol=1e-7)


def test_channels_add_with_their_weights_and_phases(engine):
    channels = np.array([[1.0, 0.3 - 0.2j], [0.5j, 0.8]])  # (tx, n)
    weights = np.array([0.7 * np.exp(0.4j), 0.5 * np.exp(-1.2j)])  # Pulseq's sense
    program = Builder().pulse(1.0, duration=1e-4, shim=weights).listen(1, 1e-6).program()
    together = engine(program, Spins(np.zeros((2, 3)), b1_plus=channels), np.eye(2, dtype=complex))
    plain = Builder().pulse(1.0, duration=1e-4).listen(1, 1e-6).program()
    single = Spins(np.zeros((2, 3)), b1_plus=np.conj(weights) @ channels)
    np.testing.assert_allclose(together, engine(plain, single, np.eye(2, dtype=complex)), atol=1e-6)


def test_diffusion_weakens_an_echo_by_its_b_value(engine):
    """Stejskal-Tanner, rectangular lobes: b = (2 pi K)^2 (Delta - delta / 3)."""
    lobe, gap, k, d = 5e-3, 10e-3, 30e3, 2e-9
    g = [flat(k / lobe, lobe), None, None]
    builder = Builder().pulse(np.pi / 2, duration=1e-6).block(lobe, gradients=g).wait(gap / 2)
    builder.pulse(np.pi, np.pi / 2, 1e-6).wait(gap / 2).block(lobe, gradients=g).listen(1, 1e-8)
    spins = Spins(np.zeros((1, 3)), diffusion=d)
    signal = engine(builder.program(), spins, spins_per_voxel=20000)[0, 0, 0]
    b_value = (2 * np.pi * k) ** 2 * (lobe + gap - lobe / 3)
    assert b_value * d > 0.5
    assert np.abs(signal) == pytest.approx(np.exp(-b_value * d), abs=0.02)


def test_pulses_of_length_keep_their_offset_frequency_and_phase_between_repeats(engine):
    """The same pulse at two phases is integrated once: its second use must equal one that is played alone."""
    program = Builder().pulse(0.9, 0.7, 1e-3, frequency=333.0, g=(2e3, 0, 0)).listen(3, 1e-5)
    twice = Builder().pulse(0.9, 0.0, 1e-3, frequency=333.0, g=(2e3, 0, 0)).listen(3, 1e-5).wait(5.0)
    twice.pulse(0.9, 0.7, 1e-3, frequency=333.0, g=(2e3, 0, 0)).listen(3, 1e-5)
    spins = Spins([[0.02, 0, 0]], t1=0.1, t2=0.05)
    np.testing.assert_allclose(engine(twice.program(), spins)[1], engine(program.program(), spins)[0], atol=1e-6)


def test_hard_is_what_it_says():
    pulse = hard(np.pi / 2, duration=2e-4)
    assert abs(2 * np.pi * pulse.waveform[0] * pulse.duration) == pytest.approx(np.pi / 2)
