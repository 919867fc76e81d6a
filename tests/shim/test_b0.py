"""The shim of the static field: what coils can make is taken away, limits hold, slices do better, real coils too."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shim_fields import ellipsoid_fields

from lauterbur.errors import InputError
from lauterbur.fields.harmonics import shim_limits, solid_harmonics
from lauterbur.scanner.machine import ShimCoils
from lauterbur.scanner.profiles import load_scanner
from lauterbur.shim.b0 import NAMES, b0_figures, design_b0, prescan_b0, shimmed_fields, solve_currents
from lauterbur.shim.composite import TrainPlan
from lauterbur.shim.shim import design_shim
from lauterbur.shim.slices import Slices
from lauterbur.shim.target import body, site


def with_field(amounts, rough=0.0):
    fields = ellipsoid_fields(voxel=0.012)
    shape = fields.off_resonance.shape
    i_z, i_y, i_x = np.indices(shape)
    place = np.stack([i_x, i_y, i_z], axis=-1) @ fields.affine[:3, :3].T + fields.affine[:3, 3]
    terms = solid_harmonics(place, 2)
    field = sum(amounts.get(name, 0.0) * term for name, term in zip(NAMES, terms, strict=True))
    field = field + rough * np.sin(place[..., 2] * 80) * place[..., 0] / 0.05
    return replace(fields, off_resonance=np.asarray(field, np.float32))


AMOUNTS = {"f0": 30.0, "x": 400.0, "z": -250.0, "z2": 3000.0, "xz": -2000.0, "x2-y2": 1500.0, "xy": 900.0}


def test_harmonics_that_the_coils_make_are_taken_away():
    fields = with_field(AMOUNTS)
    b0 = design_b0(fields, order=2)
    for name, value in zip(b0.names, b0.coefficients, strict=True):
        assert value == pytest.approx(-AMOUNTS.get(name, 0.0), abs=0.5)
    left = shimmed_fields(fields, b0).off_resonance[body(fields)]
    assert np.abs(left).max() < 0.01
    assert b0.before.rms > 10 and b0.after.rms < 0.01


def test_a_limit_holds_and_the_rest_makes_the_best_of_it():
    fields = with_field(AMOUNTS)
    b0 = design_b0(fields, order=2, limits={"z2": 1000.0, "xz": 500.0})
    found = dict(zip(b0.names, b0.coefficients, strict=True))
    assert found["z2"] == pytest.approx(-1000, rel=1e-6) and found["xz"] == pytest.approx(500, rel=1e-6)
    assert 0.01 < b0.after.rms < b0.before.rms
    s = site(fields)
    clipped = {**{n: -AMOUNTS.get(n, 0.0) for n in NAMES}, "z2": -1000.0, "xz": 500.0}
    plain = s.off_resonance + sum(clipped[n] * t for n, t in zip(NAMES, solid_harmonics(s.position, 2), strict=True))
    assert b0.after.rms <= plain.std() + 1e-9


def test_higher_orders_and_slices_are_never_worse():
    fields = with_field(AMOUNTS, rough=40.0)
    spread = [design_b0(fields, order=order).after.rms for order in (0, 1, 2)]
    assert spread[2] < spread[1] < spread[0]
    slices = Slices(np.array([0, 0, 1.0]), fields.affine[2, 3] + 0.012 * np.arange(12), 0.012)
    each = design_b0(fields, order=1, slices=slices)
    assert each.coefficients.shape == (12, 4)
    assert each.after.rms < 0.7 * spread[1]
    inside = body(fields)
    assert shimmed_fields(fields, each).off_resonance[inside].std() == pytest.approx(each.after.rms, rel=0.02)


def test_coils_that_are_on_already_are_adjusted_anew_and_count_against_their_limits():
    fields = with_field(AMOUNTS)
    first = design_b0(fields, order=2, limits={"z2": 1000.0})
    shimmed = shimmed_fields(fields, first)
    again = design_b0(shimmed, order=2, limits={"z2": 1000.0})
    assert np.allclose(again.coefficients, first.coefficients, rtol=1e-4, atol=0.01)
    assert again.before.rms == pytest.approx(first.before.rms, rel=1e-4)
    assert again.after.rms == pytest.approx(first.after.rms, rel=1e-3)
    weaker = shimmed_fields(shimmed, design_b0(shimmed, order=1))  # fewer terms than are on: the others go off
    assert np.allclose(
        weaker.off_resonance, shimmed_fields(fields, design_b0(fields, order=1)).off_resonance, atol=0.02
    )
    assert len(weaker.shim) == 4
    off = shimmed_fields(weaker, replace(first, coefficients=np.zeros(9)))
    assert np.allclose(off.off_resonance, fields.off_resonance, atol=0.02)


def test_a_scanner_shims_with_its_own_coils():
    amounts = {"f0": 30.0, "z2": 3e5}  # Hz/m2, more than a coil of 4.96 mT/m2 makes
    fields, scanner = with_field(amounts), load_scanner("5T")
    b0 = prescan_b0(fields, scanner)
    told = b0_figures(b0)
    assert told["share of limit"]["z2"] == pytest.approx(1, rel=1e-9)
    assert told["coils, T/m^n"]["z2"] == pytest.approx(-4.96e-3, rel=1e-9)
    assert max(v for n, v in told["share of limit"].items() if n != "z2") < 0.2
    strong = replace(scanner, shim_coils=ShimCoils())  # no limits
    assert prescan_b0(fields, strong).after.rms < 0.05 < b0.after.rms < b0.before.rms
    shimmed = shimmed_fields(fields, b0)
    assert shimmed_fields(shimmed, prescan_b0(shimmed, scanner)) is shimmed  # the best already: not a bit changes
    plain = prescan_b0(fields, scanner, order=0)
    assert plain.names == ("f0",) and plain.after.rms == pytest.approx(plain.before.rms)
    with pytest.raises(InputError, match="up to order 1"):
        prescan_b0(fields, replace(scanner, shim_coils=ShimCoils(1)), order=2)


def test_from_slice_to_slice_only_what_can_be_switched_changes():
    fields, scanner = with_field(AMOUNTS, rough=40.0), load_scanner("5T")
    slices = Slices(np.array([0, 0, 1.0]), fields.affine[2, 3] + 0.012 * np.arange(12), 0.012)
    whole, each = prescan_b0(fields, scanner), prescan_b0(fields, scanner, slices=slices)
    assert each.names == whole.names and each.coefficients.shape == (12, 9)
    assert np.all(each.coefficients[:, 4:] == whole.coefficients[4:])  # second order: slow
    assert np.ptp(each.coefficients[:, 1]) > 1000
    assert np.all(each.coefficients[:, 3] == whole.coefficients[3])  # across a slice of one voxel nothing is known
    assert each.after.rms < 0.7 * whole.after.rms and each.before.rms == pytest.approx(whole.before.rms)
    inside = body(fields)
    assert shimmed_fields(fields, each).off_resonance[inside].std() == pytest.approx(each.after.rms, rel=0.02)
    weak = replace(scanner, shim_coils=replace(scanner.shim_coils, limits={**scanner.shim_coils.limits, "x": 9.0e-6}))
    held = prescan_b0(fields, weak, slices=slices)  # 9 uT/m are 383 Hz/m, of some 400
    assert np.abs(held.coefficients[:, 1]).max() == pytest.approx(b0_limit(weak, "x"), rel=1e-9)
    assert each.after.rms < held.after.rms < whole.before.rms
    only = prescan_b0(fields, scanner, order=0, slices=slices)  # the frequency of each slice
    assert only.coefficients.shape == (12, 1) and each.after.rms < only.after.rms < only.before.rms


def b0_limit(scanner, name):
    return shim_limits(scanner, 2)[name]


def test_a_train_is_designed_for_what_the_b0_shim_leaves():
    fields = with_field({"z": 1500.0})
    b0 = design_b0(fields, order=1)
    plan = TrainPlan(np.radians(10), 0.02, n_points=1)
    shim = design_shim(fields, mode="kt-points", plan=plan, b0=b0)
    assert np.array_equal(shim.b0, b0.coefficients)
    assert shim.promised["off-resonance spread, Hz"] < 0.1 < shim.promised["off-resonance spread before, Hz"]
    still = design_shim(replace(fields, off_resonance=0 * fields.off_resonance), mode="kt-points", plan=plan)
    assert np.allclose(shim.pulse.weights, still.pulse.weights, atol=1e-3 * np.abs(still.pulse.weights).max())
    with pytest.raises(InputError, match="belongs to one subject"):
        design_shim([fields, fields], mode="universal", plan=plan, b0=b0)


def test_requests_without_sense_are_refused():
    fields = with_field({})
    with pytest.raises(InputError, match="order 3"):
        design_b0(fields, order=3)
    layers = Slices(np.array([0, 0, 1.0]), np.zeros(1), 0.012)
    for slices in (None, layers):
        with pytest.raises(InputError, match="z2"):
            design_b0(fields, order=1, limits={"z2": 1.0}, slices=slices)
    with pytest.raises(InputError, match="not finite"):
        solve_currents([1, np.nan], [[1], [2]])
    with pytest.raises(InputError, match="not empty"):
        solve_currents([1, 2], [[1, 2]])
    with pytest.raises(InputError, match="above its upper"):
        solve_currents([1, 2], [[1], [2]], 1, -1)


@pytest.mark.skipif("LAUTERBUR_TEST_DATA" not in os.environ, reason="needs the measured shim coils")
def test_measured_coils_undo_what_they_made_and_respect_their_limits():
    from scipy.io import loadmat

    data = loadmat(Path(os.environ["LAUTERBUR_TEST_DATA"]) / "fields/CalibrationDataSiemensMGH12Dec2020.mat")
    inside = data["mask"] > 0
    basis = data["F"][inside] @ np.linalg.inv(data["S"].astype(float))  # Hz per unit of each coil
    assert basis.shape[1] == 8
    rng = np.random.default_rng(0)
    amounts = rng.uniform(-1, 1, 8) * np.diag(data["S"])
    made = basis @ amounts + 5.0 * rng.normal(size=len(basis))
    free = solve_currents(made, basis)
    assert np.allclose(free, -amounts, atol=0.02 * np.abs(amounts).max())
    assert np.std(made + basis @ free) < 0.2 * np.std(made)
    most = 0.5 * np.abs(amounts).max()
    held = solve_currents(made, basis, -most, most)
    assert np.all(np.abs(held) <= most)
    rms = [np.sqrt(np.mean((made + basis @ c) ** 2)) for c in (free, held, np.clip(free, -most, most), 0 * free)]
    assert rms[0] < rms[1] <= rms[2] < rms[3]
