"""What makes each contrast itself: CPMG, balance, spoiling, inversion, selection, quiet trains."""

from dataclasses import replace

import numpy as np
import pytest
from small_protocols import SMALL

from lauterbur.acquisition.twin.reference import play
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.program import Column, b1, block_starts, gradient_points, rf_steps
from lauterbur.protocol.library import load_protocol
from lauterbur.rawdata import header_from_json
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.sequence.epi import is_quiet
from lauterbur.sequence.excitation import selective
from lauterbur.sequence.limits import limits
from lauterbur.sequence.pulses import fat_saturation, inversion, inversion_bandwidth, sinc
from lauterbur.units import deg, mm, ms

SCANNER = load_scanner("5T")
LIMIT = limits(SCANNER, ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def centres(program, use):
    """(pulse,) s: centres of all pulses of this use; and the blocks that play them."""
    blocks = [
        b for b in np.flatnonzero(program.blocks[:, Column.RF] >= 0) if program.rf[program.blocks[b, 0]].use == use
    ]
    start = block_starts(program)
    pulses = [program.rf[program.blocks[b, Column.RF]] for b in blocks]
    return np.array([start[b] + p.delay + p.center for b, p in zip(blocks, pulses, strict=True)]), np.array(blocks)


def moments(program, times):
    """(time, 3) 1/m: integral of the gradients from the start up to each time, by the trapezoidal rule on all points."""
    start = block_starts(program)
    pieces = [gradient_points(program, b) for b in range(program.n_blocks)]
    t = np.concatenate([start[b] + piece[0] for b, piece in enumerate(pieces)])
    g = np.concatenate([piece[1] for piece in pieces])
    whole = np.concatenate((np.zeros((1, 3)), np.cumsum((g[1:] + g[:-1]) / 2 * np.diff(t)[:, None], axis=0)))
    at = np.clip(np.searchsorted(t, times, side="right") - 1, 0, len(t) - 2)
    rest = np.asarray(times) - t[at]
    slope = (g[at + 1] - g[at]) / np.maximum(t[at + 1] - t[at], 1e-12)[:, None]
    return whole[at] + g[at] * rest[:, None] + slope * rest[:, None] ** 2 / 2


@pytest.mark.parametrize("name", ["tse", "flair"])
def test_cpmg_every_interval_gains_twice_the_first_half(name):
    program = build_program(SMALL[name], SCANNER)
    excited, _ = centres(program, "excitation")
    refocused, _ = centres(program, "refocusing")
    trains = refocused.reshape(len(excited), -1)
    spacing = np.diff(trains, axis=1)
    np.testing.assert_allclose(spacing, spacing[0, 0], atol=1e-9)
    np.testing.assert_allclose(trains[:, 0] - excited, spacing[0, 0] / 2, atol=1e-9)
    for excite, train in zip(excited, trains, strict=True):
        gained = np.diff(moments(program, [excite, *train]), axis=0)
        np.testing.assert_allclose(gained[1:], 2 * gained[:1].repeat(len(train) - 1, axis=0), atol=1e-3)


def test_echoes_of_imperfect_refocusing_stay_in_phase_off_resonance_and_off_centre():
    """Points of a slice that precess and are refocused by 120 degrees only: every echo has the phase of the first."""
    protocol = replace(
        SMALL["tse"], refocusing_angle=120 * deg, position=(8 * mm, 5 * mm, 12 * mm), slices=1, dummies=0
    )
    program = build_program(protocol, SCANNER)
    header = header_from_json(program.definitions["LauterburHeader"])
    place = np.array(header.slice_positions[0])
    z = np.linspace(-6.0 * mm, 6.0 * mm, 401)  # finer than any state the crushers wind up
    for off_resonance in (0.0, 43.0):
        spins = Spins(place + np.outer(z, header.directions[2]), t1=1.0, t2=0.1, off_resonance=off_resonance)
        first = np.arange(protocol.echo_train)  # the first shot, before which there was nothing
        signal = play(program, spins, readouts=first)[:, 0, header.encoded_matrix[0] // 2]
        signal = signal * np.exp((first + 1) * header.echo_spacing / 0.1)
        assert np.abs(np.angle(signal / signal[0])).max() < 0.05
        assert np.abs(signal[1:]).min() > 0.85 * np.abs(signal).max()


@pytest.mark.parametrize("name", ["bssfp", "bssfp-2d"])
def test_balanced_means_no_moment_is_left_between_pulses(name):
    program = build_program(SMALL[name], SCANNER)
    excited, blocks = centres(program, "excitation")
    gained = np.diff(moments(program, excited), axis=0)
    slices = np.asarray(program.labels.get("SLC", np.zeros(program.n_blocks, int)))[blocks]
    np.testing.assert_allclose(gained[slices[1:] == slices[:-1]], 0, atol=1e-3)
    lengths = np.diff(excited)[slices[1:] == slices[:-1]]
    tr = SMALL[name].tr
    assert np.all(np.isclose(lengths, tr) | np.isclose(lengths, tr / 2))
    pulses = [program.rf[i] for i in program.blocks[blocks, Column.RF]]
    sense = np.sign([np.real(p.waveform[len(p.waveform) // 2] * np.exp(1j * p.phase_offset)) for p in pulses])
    if name == "bssfp":
        np.testing.assert_array_equal(sense[1:], -sense[:-1])


@pytest.mark.parametrize("name", ["gre", "multi-echo", "mprage"])
def test_spoiling_leaves_two_turns_per_voxel_along_the_readout_and_quadratic_phases(name):
    program = build_program(SMALL[name], SCANNER)
    excited, blocks = centres(program, "excitation")
    n = SMALL[name].matrix[2] if name == "mprage" else len(excited)
    gained = np.diff(moments(program, excited[:n]), axis=0)
    voxel = SMALL[name].fov[0] / SMALL[name].matrix[0]
    np.testing.assert_allclose(np.abs(gained[:, 0]) * voxel, 2.0, atol=1e-6)
    np.testing.assert_allclose(gained[:, 1], 0, atol=1e-3)
    np.testing.assert_allclose(gained[:, 2], gained[0, 2], atol=1e-3)  # the front half of the slab's own gradient
    phase = [program.rf[i].phase_offset for i in program.blocks[blocks, Column.RF]]
    second = np.diff(phase, 2)
    np.testing.assert_allclose(np.exp(1j * second), np.exp(1j * 117 * deg), atol=1e-6)


def turned(pulse, offsets, scale=1.0):
    """(offset, 3) magnetisation that starts along z, by Rodrigues' formula step by step; offsets in Hz."""
    lengths, values = rf_steps(pulse)
    if len(values) > 5000:  # eight steps of a long smooth pulse as one
        every = np.arange(0, len(values), 8)
        means = np.add.reduceat(values * lengths, every) / np.add.reduceat(lengths, every)
        lengths, values = np.add.reduceat(lengths, every), means
    time = np.cumsum(lengths) - lengths / 2
    field = scale * b1(pulse, time, values)
    m = np.tile([0.0, 0.0, 1.0], (len(offsets), 1))
    for length, b in zip(lengths, field, strict=True):
        # dM/dt = -2 pi (b_x, b_y, f) x M turned to the signs of units.py: b along x takes z towards y
        axis = np.stack([-np.full(len(offsets), b.real), -np.full(len(offsets), b.imag), -offsets], axis=1)
        rate = np.linalg.norm(axis, axis=1, keepdims=True)
        axis = axis / np.maximum(rate, 1e-12)
        angle = 2 * np.pi * rate * length
        along = np.sum(axis * m, axis=1, keepdims=True) * axis
        m = along + (m - along) * np.cos(angle) + np.cross(axis, m) * np.sin(angle)
    return m


@pytest.mark.parametrize("scale", [0.6, 0.8, 1.0, 1.3])
def test_the_inversion_inverts_whatever_b1_within_its_band(scale):
    inside = np.linspace(-0.4, 0.4, 17) * inversion_bandwidth()
    assert turned(inversion(LIMIT), inside, scale)[:, 2].max() < -0.9
    outside = np.array([-1.0, 1.0]) * inversion_bandwidth()
    assert turned(inversion(LIMIT), outside, scale)[:, 2].min() > 0.95


def test_a_selective_pulse_selects_its_slice():
    pulse = sinc(90 * deg, 3 * ms, 6.0, LIMIT)
    thickness, place = 5 * mm, 23 * mm
    amplitude = 6.0 / pulse.duration / thickness
    excited = selective(pulse, amplitude, place, LIMIT)
    z = place + np.linspace(-10, 10, 401) * mm
    across = np.hypot(*turned(excited.pulse, amplitude * z)[:, :2].T)
    assert across[np.abs(z - place) < 1.5 * mm].min() > 0.9
    assert across[np.abs(z - place) > 4 * mm].max() < 0.05
    width = np.sum(across > 0.5) * (z[1] - z[0])
    assert width == pytest.approx(thickness, rel=0.1)


@pytest.mark.parametrize("machine", ["5T", "3T"])
def test_fat_is_saturated_and_water_spared(machine):
    larmor = load_scanner(machine).larmor_frequency
    shift = -3.4e-6 * larmor
    pulse = fat_saturation(shift, LIMIT)
    fat, water = turned(pulse, np.array([shift, 0.0]))[:, 2]
    assert abs(fat) < 0.2
    assert water > 0.98
    assert turned(pulse, shift + np.array([-40.0, 40.0]))[:, 2] == pytest.approx(fat, abs=0.2)


def test_flair_inverts_each_slice_ti_before_its_excitation():
    program = build_program(SMALL["flair"], SCANNER)
    header = header_from_json(program.definitions["LauterburHeader"])
    (inverted, first), (excited, second) = centres(program, "inversion"), centres(program, "excitation")
    for i in range(SMALL["flair"].slices):
        before = inverted[np.asarray(program.labels["SLC"])[first] == i]
        after = excited[np.asarray(program.labels["SLC"])[second] == i]
        np.testing.assert_allclose(after - before, header.ti, atol=1e-9)
        np.testing.assert_allclose(np.diff(after), header.tr, atol=1e-9)
    assert header.ti == pytest.approx(SMALL["flair"].ti, abs=1e-5)
    assert header.tr == pytest.approx(SMALL["flair"].tr, abs=1e-5)


def test_mprage_reaches_the_centre_ti_after_the_inversion():
    program = build_program(SMALL["mprage"], SCANNER)
    header = header_from_json(program.definitions["LauterburHeader"])
    (inverted, _), (excited, blocks) = centres(program, "inversion"), centres(program, "excitation")
    listening = np.flatnonzero(np.diff(np.append(blocks, program.n_blocks)) > 0)
    middle = np.asarray(program.labels["PAR"])[blocks] == header.matrix[2] // 2
    last = inverted[np.searchsorted(inverted, excited[middle & np.isin(np.arange(len(blocks)), listening)]) - 1]
    heard = excited[middle][1:]  # the dummy train has no labels of its own
    np.testing.assert_allclose(heard - last[-len(heard) :], header.ti, atol=1e-9)
    assert header.ti == pytest.approx(SMALL["mprage"].ti, abs=1e-5)
    np.testing.assert_allclose(np.diff(inverted), header.tr, atol=1e-9)


def test_an_epi_train_without_a_wished_spacing_keeps_off_the_forbidden_bands():
    program = build_program(replace(load_protocol("brain/epi"), echo_spacing=None, bandwidth=1700.0), SCANNER)
    spacing = header_from_json(program.definitions["LauterburHeader"]).echo_spacing
    assert is_quiet(spacing, SCANNER.gradients)
    for low, high in (
        (0.62, 0.70),
        (0.80, 0.88),
        (0.98, 1.05),
        (1.09, 1.17),
    ):  # FACTS: forbidden either way they are read
        assert not low * ms <= spacing <= high * ms
        assert not low * ms <= 2 * spacing <= high * ms
