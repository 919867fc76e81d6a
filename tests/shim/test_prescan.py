"""The prescan: nominal on average, and shims made from noisy maps stand up in the true fields."""

import numpy as np
import pytest
from shim_fields import ellipsoid_fields

from lauterbur.errors import InputError
from lauterbur.shim.flip_angle import flip_angle_map, variation
from lauterbur.shim.prescan import mapped, prescan_drive
from lauterbur.shim.shim import design_shim
from lauterbur.shim.target import body, site
from lauterbur.units import GAMMA_BAR


def test_the_mean_flip_angle_is_nominal_after_the_prescan():
    fields = ellipsoid_fields(voxel=0.02)
    drive = prescan_drive(fields)
    assert np.mean(np.abs(site(fields).b1.sum(axis=0))) * drive * GAMMA_BAR == pytest.approx(1)
    shim = design_shim(fields, mode="cp")
    assert shim.reference_drive == pytest.approx(prescan_drive(fields, shim.weights))
    angle = flip_angle_map(fields, shim, 0.3)
    assert angle[body(fields)].mean() == pytest.approx(0.3)
    assert np.all(angle[~body(fields)] == 0)
    assert variation(angle[body(fields)]) == pytest.approx(shim.promised["variation"])


def test_a_shim_planned_on_noisy_maps_is_nearly_as_even_in_the_true_fields():
    fields = ellipsoid_fields(voxel=0.015)
    inside = body(fields)
    seen = mapped(fields, signal_to_noise=50, seed=1)
    assert not np.array_equal(seen.b1_plus, fields.b1_plus)
    assert np.array_equal(seen.b1_plus[:, ~inside], fields.b1_plus[:, ~inside])
    assert np.array_equal(seen.b1_plus, mapped(fields, signal_to_noise=50, seed=1).b1_plus)
    best = design_shim(fields).promised["variation"]
    planned = variation(flip_angle_map(fields, design_shim(seen), 0.1)[inside])
    assert best <= planned < best + 0.02


def test_requests_without_sense_are_refused():
    fields = ellipsoid_fields(voxel=0.02)
    with pytest.raises(InputError, match="channels"):
        prescan_drive(fields, np.ones(3))
    with pytest.raises(InputError, match="signal to noise"):
        mapped(fields, signal_to_noise=0, seed=1)
    with pytest.raises(InputError, match="channels"):
        flip_angle_map(ellipsoid_fields(voxel=0.02, n_tx=4), design_shim(fields), 0.1)
