import numpy as np
import pytest

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import AIR, LinearRate, PowerLaw, Spread, Subject, Tissue
from lauterbur.subject.parameters import parameters, relaxation
from lauterbur.subject.tissues import read_tissues

N = 48
TISSUE = Tissue(
    "t", 0.8, PowerLaw(1.0, 0.0), LinearRate(10.0, 0.0), LinearRate(0.0, 2.0), Spread(0.05, 0.08, 0.1, 0.02)
)


def cube(seed=0, **changes):
    labels = np.ones((1, N, N, N), np.uint8)
    fields = dict(fraction=labels.astype(np.float32), affine=np.diag([2e-3, 2e-3, 2e-3, 1]), tissues=(AIR, TISSUE))
    return Subject("cube", labels, seed=seed, **{**fields, **changes})


def test_the_spread_has_the_tables_mean_and_deviation_in_each_quantity():
    found = parameters(cube(), 5.0)
    means = {"proton_density": 0.8, "t1": 1.0, "t2": 0.1, "t2_prime": 0.1}
    for name, mean in means.items():
        values, spread = getattr(found, name), getattr(TISSUE.spread, name)
        assert values.dtype == np.float32
        assert values.mean() == pytest.approx(mean, rel=0.25 * spread)
        assert values.std() / values.mean() == pytest.approx(spread, rel=0.15)


def test_t1_and_t2_rise_and_fall_together_and_neighbours_resemble_each_other():
    found = parameters(cube(), 5.0)
    assert 0.6 < np.corrcoef(found.t1, found.t2)[0, 1] < 0.8
    field = np.log(found.t1).reshape(N, N, N)
    assert 0.35 < np.corrcoef(field[:-1].ravel(), field[1:].ravel())[0, 1] < 0.65  # half smooth, half voxel by voxel
    assert abs(np.corrcoef(field[:-30].ravel(), field[30:].ravel())[0, 1]) < 0.2


def test_the_same_seed_gives_the_same_texture_wherever_the_grid_is_cut():
    subject = cube(seed=3)
    region = np.zeros((N, N, N), bool)
    region[10:12, 5:, ::3] = True
    whole, part = parameters(subject, 5.0), parameters(subject, 5.0, region=region)
    np.testing.assert_array_equal(part.voxel, np.flatnonzero(region))
    np.testing.assert_array_equal(part.t2, whole.t2[part.voxel])
    np.testing.assert_array_equal(parameters(subject, 5.0, seed=4).t1, parameters(cube(seed=4), 5.0).t1)
    assert not np.array_equal(whole.t1, parameters(cube(seed=4), 5.0).t1)


def test_air_and_empty_compartments_give_no_entries():
    labels = np.stack([np.ones((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
    fraction = np.full(labels.shape, 0.5, np.float32)
    fraction[0, 0] = 0
    found = parameters(Subject("s", labels, fraction, np.eye(4), (AIR, TISSUE)), 5.0)
    assert len(found.t1) == 48 and set(found.tissue) == {1}


def test_relaxation_at_5_t_lies_where_the_3_and_7_t_measurements_put_it():
    table = read_tissues()
    expected = {  # T1, T2 in ms at 5 T: shared facts, derived from Wright, Cox, PMC4335643
        "white matter": (1001, 57), "grey matter": (1800, 56), "putamen": (1512, None), "caudate": (1563, None),
        "kidney cortex": (1489, 114), "kidney medulla": (1917, 132), "myocardium": (1480, 37.5),
    }  # fmt: skip
    for name, (t1, t2) in expected.items():
        found = relaxation(table[name], 5.0)
        assert found[0] * 1e3 == pytest.approx(t1, rel=0.005)
        if t2 is not None:
            assert found[1] * 1e3 == pytest.approx(t2, rel=0.02)


def test_t1_grows_and_t2_shrinks_with_field_for_every_tissue_that_gives_signal():
    for tissue in read_tissues().values():
        if tissue.proton_density > 0:
            low, high = relaxation(tissue, 1.5), relaxation(tissue, 7.0)
            assert high[0] >= low[0] and high[1] <= low[1] and high[2] <= low[2]
            assert low[1] <= low[0] and high[1] <= high[0]  # T2 <= T1


def test_t2_star_of_brain_is_35_to_40_ms_at_5_t():
    for name in ("white matter", "grey matter"):
        _, t2, t2_prime = relaxation(read_tissues()[name], 5.0)
        assert 0.035 < 1 / (1 / t2 + 1 / t2_prime) < 0.040


def test_a_field_outside_the_table_is_refused():
    with pytest.raises(InputError, match=r"1\.5 to 7 T, not at 9\.4 T"):
        parameters(cube(), 9.4)


def test_maps_replace_the_tissues_values_and_hold_at_their_field_only():
    maps = {"t1": np.full((N, N, N), 0.7, np.float32), "off_resonance": np.full((N, N, N), 40, np.float32)}
    subject = cube(maps=maps, map_field_strength=3.0)
    found = parameters(subject, 3.0)
    assert np.all(found.t1 == np.float32(0.7)) and found.t2.std() > 0
    assert found.off_resonance is not None and np.all(found.off_resonance == 40)
    with pytest.raises(InputError, match="hold at 3 T, not at 5 T"):
        parameters(subject, 5.0)


def test_every_tissue_names_the_source_of_its_relaxation_and_a_dielectric():
    for tissue in read_tissues().values():
        assert tissue.dielectric
        if tissue.proton_density > 0:
            assert {"relaxation"} <= set(tissue.sources) or {"t1", "t2"} <= set(tissue.sources)
