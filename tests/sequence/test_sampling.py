"""What is played of k-space: discs that keep their distance, exact numbers, shifted lattices, a density that falls."""

from dataclasses import replace

import numpy as np
import pytest
from small_protocols import BASE

from lauterbur.errors import ProtocolError
from lauterbur.program import program_hash
from lauterbur.protocol.protocol import checked
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.sequence.poisson import elliptical_radius, poisson_disc, relative_radii
from lauterbur.sequence.sampling import caipi, pairs, plane
from lauterbur.units import ms

WIDE = replace(
    BASE, matrix=(32, 96, 80), sampling="poisson", undersampling=7.3, reference_lines=(12, 10), elliptical=True
)


def mask_of(protocol):
    chosen = plane(checked(protocol), partitions_inside=False)
    places = np.stack([chosen.line, chosen.partition], axis=1)
    assert len(np.unique(places, axis=0)) == len(places)  # none twice
    mask = np.zeros(protocol.matrix[1:], bool)
    mask[chosen.line, chosen.partition] = True
    return mask, chosen


@pytest.mark.parametrize("undersampling", [1.0, 2.5, 7.3, 12.0])
@pytest.mark.parametrize("partial", [(1.0, 1.0), (0.75, 0.8)])
def test_the_acceleration_is_exact_whatever_is_covered(undersampling, partial):
    p = replace(WIDE, undersampling=undersampling, partial_fourier=partial)
    covered = np.count_nonzero(pairs(replace(p, undersampling=1.0))[0])
    mask, chosen = mask_of(p)
    assert mask.sum() == round(covered / undersampling)
    assert not mask[elliptical_radius(mask.shape) > 1].any()
    assert not mask[: round(96 * (1 - partial[0]))].any() and not mask[:, : round(80 * (1 - partial[1]))].any()
    assert mask[48 - 6 : 48 + 6, 40 - 5 : 40 + 5].all() and chosen.reference.sum() == 120
    assert np.array_equal(chosen.reference, chosen.both)


def test_samples_outside_the_centre_keep_their_distance():
    shape = (90, 70)
    centre = np.zeros(shape, bool)
    centre[40:50, 30:40] = True
    mask = poisson_disc(np.ones(shape, bool), centre, 700, seed=5) & ~centre
    y, z = np.nonzero(mask)
    apart = np.hypot(y[:, None] - y, z[:, None] - z)
    np.fill_diagonal(apart, np.inf)
    # radii are one scale times the known profile; `even`: that of a square lattice of equal density
    relative = relative_radii(shape)[y, z]
    scale = np.min(apart / np.minimum(relative[:, None], relative))
    even = np.sqrt(np.sum(1 / relative_radii(shape) ** 2) / 700)
    assert scale > 0.7 * even  # a triangular lattice would reach 1.07


def test_a_single_place_beside_the_centre_is_found():
    centre = np.zeros((16, 8), bool)
    centre[5:11, 2:6] = True
    mask = poisson_disc(np.ones((16, 8), bool), centre, 25, seed=0)
    assert mask.sum() == 25 and mask[centre].all()


def test_density_falls_from_the_centre_as_the_radii_say():
    shape = (240, 200)
    allowed = elliptical_radius(shape) <= 1
    mask = poisson_disc(allowed, np.zeros(shape, bool), 3200, seed=1)
    ring = (elliptical_radius(shape) * 5).astype(int)
    share = np.array([mask[ring == i].mean() for i in range(1, 5)])
    expected = np.array([np.mean(1 / relative_radii(shape)[ring == i] ** 2) for i in range(1, 5)])
    np.testing.assert_allclose(share / share.sum(), expected / expected.sum(), rtol=0.12)
    halves = [mask[:120].sum(), mask[120:].sum(), mask[:, :100].sum(), mask[:, 100:].sum()]
    assert max(halves) < 1.06 * min(halves)  # no side is preferred


def test_equal_seeds_give_equal_programs_and_others_do_not():
    scanner = load_scanner("5T")
    small = replace(WIDE, matrix=(32, 40, 30), reference_lines=(8, 8), tr=12 * ms, te=(4 * ms,), dummies=0)
    first, again, other = (
        program_hash(build_program(replace(small, sampling_seed=seed), scanner)) for seed in (3, 3, 4)
    )
    assert first == again != other


def test_caipi_is_a_lattice_shifted_from_line_to_line():
    mask = caipi((24, 24), (2, 3), 1)
    assert mask.sum() == 24 * 24 / 6 and mask[12, 12]
    for step in ((2, 1), (0, 3), (4, 2)):
        assert np.array_equal(mask, np.roll(mask, step, axis=(0, 1)))
    assert not np.array_equal(mask, np.roll(mask, (2, 0), axis=(0, 1)))
    # the smallest distance between two aliases is larger than without the shift
    assert np.array_equal(caipi((24, 24), (2, 3), 0), np.outer(np.arange(24) % 2 == 0, np.arange(24) % 3 == 0))
    played, chosen = mask_of(
        replace(BASE, matrix=(32, 24, 24), acceleration=(2, 3), sampling="caipi", reference_lines=(8, 8))
    )
    assert np.array_equal(played & mask, mask) and chosen.reference.sum() == 64


def test_an_elliptical_plane_is_the_regular_one_without_its_corners():
    p = replace(BASE, matrix=(32, 64, 48), acceleration=(2, 2), reference_lines=(16, 16))
    whole, _ = mask_of(p)
    cut, _ = mask_of(replace(p, elliptical=True))
    inside = elliptical_radius(whole.shape) <= 1
    assert np.array_equal(cut, whole & inside) and cut.sum() < whole.sum()


@pytest.mark.parametrize(
    "change, sentence",
    [
        (dict(sampling="random"), "choose one of regular, caipi, poisson"),
        (dict(sampling="poisson", acceleration=(2, 2)), "say undersampling = 4.0 instead"),
        (dict(undersampling=3.0), "needs sampling = 'poisson'"),
        (dict(sampling="caipi", acceleration=(2, 1)), "accelerate both"),
        (dict(sampling="caipi", acceleration=(2, 2), caipi_shift=2), "between 0 and 1 partitions is possible"),
        (dict(elliptical=True, contrast="MPRAGE", ti=0.3, tr=0.7), "plays whole partitions"),
        (dict(sampling="poisson", undersampling=float("nan")), "between 1 and 64"),
    ],
)
def test_what_cannot_be_sampled_is_refused_with_what_can(change, sentence):
    with pytest.raises(ProtocolError, match=sentence):
        checked(replace(BASE, **change))


def test_a_centre_larger_than_the_samples_is_refused():
    with pytest.raises(ProtocolError, match="undersample by at least 1 and at most"):
        plane(replace(WIDE, undersampling=60.0), partitions_inside=True)
