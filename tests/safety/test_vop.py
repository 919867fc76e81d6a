"""Virtual observation points: never below any matrix, nowhere too high by more than z, and fewer than the plain greedy's."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from sar_bodies import random_drives, random_matrices

from lauterbur.errors import InputError
from lauterbur.safety.matrices import packed, unpacked
from lauterbur.safety.semidefinite import COVERED, REFUTED, covered
from lauterbur.safety.vop import compress, greedy, largest_eigenvalue


def heat(matrices, drive):
    return np.einsum("dc,pce,de->dp", drive.conj(), matrices, drive, optimize=True).real


def largest_shortfall(matrices, points, drive):
    """The largest SAR above the points' bound, per watt, after climbing from each drive."""
    step = 0.5 / np.linalg.norm(matrices, ord=2, axis=(1, 2)).max()
    worst = -np.inf
    for _ in range(60):
        true, bound = heat(matrices, drive), heat(points, drive)
        worst = max(worst, float((true.max(axis=1) - bound.max(axis=1)).max()))
        up, down = matrices[true.argmax(axis=1)], points[bound.argmax(axis=1)]
        drive = drive + step * np.einsum("dce,de->dc", up - down, drive)
        drive /= np.linalg.norm(drive, axis=1, keepdims=True)
    return worst


def points_of(matrices, chosen, z):
    return matrices[chosen] + z * np.eye(matrices.shape[1])


@pytest.fixture(scope="module")
def many():
    return unpacked(packed(random_matrices(600, 4, seed=0)).astype(np.float32))


@pytest.mark.parametrize("overestimation", [0.05, 0.1, 0.3])
def test_no_drive_heats_more_than_the_points_say(many, overestimation):
    chosen, z = compress(packed(many), overestimation=overestimation)
    points = points_of(many, chosen, z)
    assert z == pytest.approx(overestimation * np.linalg.eigvalsh(many).max(), rel=1e-6)
    drive = random_drives(20_000, 4, seed=1)
    assert (heat(many, drive).max(axis=1) - heat(points, drive).max(axis=1)).max() < 0
    assert largest_shortfall(many, points, drive[:100]) < 0


def test_leaving_out_a_point_is_noticed(many):
    chosen, z = compress(packed(many), overestimation=0.1)
    found = [largest_shortfall(many, points_of(many, np.delete(chosen, i), z), random_drives(300, 4, seed=2))
             for i in range(0, len(chosen), max(1, len(chosen) // 5))]  # fmt: skip
    assert max(found) > 0


def test_points_are_nowhere_too_high_by_more_than_z(many):
    chosen, z = compress(packed(many), overestimation=0.1)
    drive = random_drives(20_000, 4, seed=3)
    excess = heat(points_of(many, chosen, z), drive).max(axis=1) - heat(many, drive).max(axis=1)
    assert excess.max() <= z * (1 + 1e-9)


def test_fewer_points_than_plain_greedy(many):
    p = packed(many)
    chosen, z = compress(p, overestimation=0.1)
    assert len(chosen) <= 0.8 * len(greedy(p, z))


def test_plain_greedy_dominates_each_matrix_by_one_point(many):
    z = 0.1 * largest_eigenvalue(packed(many))
    points = points_of(many, greedy(packed(many), z), z)
    for matrix in many[::7]:
        assert np.linalg.eigvalsh(points - matrix)[:, 0].max() > -1e-9 or np.linalg.eigvalsh(matrix)[-1] <= z


def test_a_verdict_comes_with_its_proof(many):
    p = packed(many)
    z = 0.05 * largest_eigenvalue(p)
    v = p[:40].astype(np.float64)
    verdict, proof = covered(p, v, z, 400, 4, 50)
    assert (verdict == COVERED).any() and (verdict == REFUTED).any()
    refuted = verdict == REFUTED
    x = proof[refuted].astype(np.float64)
    own, best = np.einsum("pm,pm->p", x, p[refuted]), (x @ v.T).max(axis=1)
    assert (own - best > z * (1 - 1e-5)).all()
    np.testing.assert_allclose(x[:, :4].sum(axis=1), 1, rtol=1e-5)  # a density matrix: trace 1
    drive = random_drives(3000, 4, seed=5)
    bound = heat(unpacked(v), drive).max(axis=1) + z
    assert (heat(many[verdict == COVERED], drive).max(axis=1) <= bound * (1 + 1e-9)).all()


def test_a_mixture_counts_where_no_single_point_suffices():
    a, b = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    half = np.diag([0.5, 0.5])
    verdict, _ = covered(packed(np.array([half])), packed(np.array([a, b])), 0.01, 400, 2, 1)
    assert verdict[0] == COVERED
    verdict, _ = covered(packed(np.array([half])), packed(np.array([a])), 0.01, 400, 2, 1)
    assert verdict[0] == REFUTED


def test_the_answer_does_not_depend_on_the_unit_or_on_a_unitary_mixing(many):
    small = packed(many[:200])
    counts = {len(compress(scale * small, overestimation=0.1)[0]) for scale in (1e-6, 1.0, 1e6)}
    assert max(counts) - min(counts) <= 1
    u = np.linalg.qr(random_matrices(1, 4, seed=9, rank=4)[0])[0]
    turned = packed(u.conj().T @ many[:200] @ u)
    chosen, z = compress(turned, overestimation=0.1)
    assert z == pytest.approx(compress(small, overestimation=0.1)[1], rel=1e-6)
    drive = random_drives(5000, 4, seed=6)
    matrices = unpacked(turned)
    assert (heat(matrices, drive).max(axis=1) - heat(points_of(matrices, chosen, z), drive).max(axis=1)).max() < 0


def test_degenerate_sets():
    same = packed(np.repeat(np.eye(3)[None] * 2, 10, axis=0).astype(complex))
    chosen, z = compress(same, overestimation=0.1)
    assert len(chosen) == 1 and z == pytest.approx(0.2)
    chosen, z = compress(np.zeros((5, 9)), overestimation=0.1)
    assert len(chosen) == 1 and z == 0
    assert len(compress(same, overestimation=0.1, z=5.0)[0]) == 1  # all of it below z
    with pytest.raises(InputError, match="overestimation -1"):
        compress(same, overestimation=-1)
    same[3, 1] = np.nan
    with pytest.raises(InputError, match="matrix 3 of 10 holds NaN"):
        compress(same, overestimation=0.1)


@pytest.mark.skipif("LAUTERBUR_TEST_DATA" not in os.environ, reason="needs the folder of test data")
def test_the_points_of_a_real_heart_at_3_t():
    file = Path(os.environ["LAUTERBUR_TEST_DATA"]) / "fields" / "VOPs.mat"
    matrices = unpacked(packed(scipy.io.loadmat(file)["VOP"]))
    chosen, z = compress(packed(matrices), overestimation=0.1)
    points = points_of(matrices, chosen, z)
    drive = random_drives(10_000, 8, seed=7)
    assert len(chosen) <= 0.8 * len(greedy(packed(matrices), z))
    assert (heat(matrices, drive).max(axis=1) - heat(points, drive).max(axis=1)).max() < 0
    assert largest_shortfall(matrices, points, drive[:100]) < 0
