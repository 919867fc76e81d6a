"""The first form of the fields, on small subjects around which the shipped arrays are placed."""

from dataclasses import replace

import numpy as np
import pytest

import lauterbur as lb
from lauterbur.errors import InputError
from lauterbur.fields.placement import place
from lauterbur.scanner.profiles import load_scanner
from lauterbur.subject.anatomy import AIR, LinearRate, PowerLaw, Subject, Tissue

WATER = Tissue(
    "water",
    1.0,
    PowerLaw(1.0, 0.0),
    LinearRate(10, 0),
    LinearRate(0, 0),
    dielectric="Brain (Grey Matter)",
    field_range=(0, 20),
)


def ellipsoid(semi_axes, step=4e-3, centre=(0.0, 0.0, 0.0), name="ellipsoid"):
    half = [int(np.ceil(s / step)) + 1 for s in semi_axes]
    x, y, z = (np.arange(-h, h + 1) * step for h in half)
    inside = (x[None, None] / semi_axes[0]) ** 2 + (y[None, :, None] / semi_axes[1]) ** 2 + (
        z[:, None, None] / semi_axes[2]
    ) ** 2 < 1
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = np.array([x[0], y[0], z[0]]) + centre
    labels = inside[None].astype(np.uint8)
    return Subject(name, labels, labels.astype(np.float32), affine, (AIR, WATER))


HEAD = (0.075, 0.095, 0.11)


def with_few_loops(name="5T"):
    """The scanner with three loops of its head array, where receive does not matter."""
    scanner = load_scanner(name)
    return replace(scanner, receive=(replace(scanner.receive[0], loops=scanner.receive[0].loops[:3]),))


def test_a_head_gets_forty_eight_maps_and_their_noise():
    subject = ellipsoid(HEAD)
    fields = lb.solve_fields(load_scanner("5T"), subject)
    assert fields.provenance["array"] == "head48"
    assert fields.b1_minus.shape[0] == 48 and fields.noise_resistance.shape == (48, 48)
    assert fields.off_resonance.shape == subject.labels.shape[1:]
    assert fields.b1_plus.shape == (8, *subject.labels.shape[1:])
    assert np.linalg.eigvalsh(fields.noise_resistance).min() > 0
    assert fields.provenance["nearest_conductor"] >= 0.008
    diagonal = np.diag(fields.noise_resistance).real
    own = load_scanner("5T").receive[0].resistance
    assert (diagonal > own).all() and (diagonal < 30).all()


def test_channels_at_peak_power_reach_the_peak_b1_together():
    scanner = load_scanner("5T")
    fields = lb.solve_fields(scanner, ellipsoid(HEAD, 8e-3))
    total = abs(fields.b1_plus[:, 3, 3, 3].sum()) * np.sqrt(scanner.transmit.peak_power)
    assert total == pytest.approx(scanner.transmit.peak_b1)


def test_maps_follow_the_subject_when_it_moves():
    scanner, away = with_few_loops(), np.array([0.01, -0.02, 0.03])
    here, there = ellipsoid(HEAD, 8e-3), ellipsoid(HEAD, 8e-3, away)
    first, second = lb.solve_fields(scanner, here), lb.solve_fields(scanner, there)
    assert np.allclose(first.b1_minus, second.b1_minus, rtol=1e-4, atol=1e-12)
    assert np.allclose(second.provenance["array_origin"], np.array(first.provenance["array_origin"]) + away)


def test_a_sphere_needs_no_shim():
    fields = lb.solve_fields(with_few_loops(), ellipsoid((0.08, 0.08, 0.08)), shim_order=0)
    inside = ellipsoid((0.06, 0.06, 0.06)).labels[0].sum()
    values = np.sort(np.abs(fields.off_resonance[ellipsoid((0.08, 0.08, 0.08)).labels[0] > 0]))
    assert values[:inside].max() < 0.1 * 9.4 * 210.76  # jagged 4 mm voxels; the middle feels nothing of 9.4 ppm
    assert values[: inside // 4].max() < 12


def test_the_shim_makes_the_field_more_uniform():
    subject = ellipsoid((0.07, 0.095, 0.06), 6e-3)
    inside = subject.labels[0] > 0
    spread = [
        lb.solve_fields(with_few_loops(), subject, shim_order=order).off_resonance[inside].std() for order in (0, 1, 2)
    ]
    assert spread[0] >= spread[1] >= spread[2]


def test_a_subjects_own_field_map_stays_as_it_is():
    subject = ellipsoid(HEAD, 8e-3)
    own = np.random.default_rng(0).normal(0, 50, subject.labels.shape[1:]).astype(np.float32)
    brought = Subject(
        "own", subject.labels, subject.fraction, subject.affine, subject.tissues, maps={"off_resonance": own}
    )
    assert np.array_equal(lb.solve_fields(with_few_loops(), brought).off_resonance, own)


def test_a_trunk_gets_the_flexible_array_drawn_around_it():
    subject = ellipsoid((0.17, 0.12, 0.2), 8e-3)
    fields = lb.solve_fields(load_scanner("5T"), subject)
    assert fields.provenance["array"] == "body24"
    assert 0.01 <= fields.provenance["nearest_conductor"] < 0.06
    assert fields.b1_minus.shape[0] == 24


def test_what_does_not_fit_is_said_with_its_size():
    trunk = ellipsoid((0.17, 0.12, 0.2), 8e-3)
    with pytest.raises(InputError, match=r"30\.4 cm wide"):
        lb.solve_fields(load_scanner("5T"), trunk, array="head48")
    with pytest.raises(InputError, match="head48, body24"):
        lb.solve_fields(load_scanner("5T"), trunk, array="knee16")
    with pytest.raises(InputError, match="bore"):
        place(load_scanner("5T"), np.array([[0.4, 0, 0], [-0.4, 0, 0], [0, 0.4, 0], [0, -0.4, 0.0]]))


def test_five_tesla_hears_about_1_6_times_as_well_as_three():
    """Array-optimal SNR in the middle of the head, before relaxation: 1.65 times if the body's noise rules, more where coils do."""
    subject = ellipsoid(HEAD, 8e-3)
    heard = []
    for name in ("3T", "5T"):
        scanner = load_scanner(name)
        fields = lb.solve_fields(scanner, subject)
        middle = fields.b1_minus[:, *(n // 2 for n in fields.b1_minus.shape[1:])]
        optimal = np.sqrt((middle.conj() @ np.linalg.solve(fields.noise_resistance, middle)).real)
        heard.append(scanner.field_strength**2 * optimal)
    assert 1.45 < heard[1] / heard[0] < 1.85
