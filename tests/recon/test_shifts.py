"""Shifts that go round: every place as often as the others, and what compressed sensing gains by them."""

import itertools

import numpy as np
import pytest

from lauterbur.recon.shifts import Shifts
from lauterbur.recon.solvers import fista
from lauterbur.recon.wavelets import Wavelet


@pytest.mark.parametrize("periods", [(8,), (16, 8), (5, 1, 7), (2, 4, 32)])
def test_every_round_begins_once_at_every_even_and_odd_place(periods):
    shifts, moved = Shifts(1), [i for i, n in enumerate(periods) if n > 1]
    for _ in range(5):
        found = np.array([shifts.next(periods) for _ in range(2 ** len(moved))])
        assert np.all((found >= 0) & (found < periods))
        parities = [tuple(row) for row in found[:, moved] % 2]
        assert sorted(parities) == sorted(itertools.product((0, 1), repeat=len(moved)))
        assert np.all(np.sum(parities[::2], axis=1) + np.sum(parities[1::2], axis=1) == len(moved))  # opposites


def test_every_place_is_as_likely_as_the_others_of_its_kind():
    shifts = Shifts(2)
    found = np.array([shifts.next([8])[0] for _ in range(8000)])
    assert np.bincount(found) == pytest.approx(np.full(8, 1000), abs=5 * np.sqrt(1000))


def test_what_is_even_is_the_same_for_every_seed_and_length():
    one, other = Shifts(1), Shifts(2)
    first, second = ([s.next(p) for _ in range(12)] for s, p in ((one, (16, 16)), (other, (32, 8))))
    assert np.array_equal(np.array(first) % 2, np.array(second) % 2)
    assert not np.array_equal(first, second)


class Everywhere:
    """The slow reference: the mean over every shift, which leaves no blocks."""

    def __init__(self, wavelet, period):
        self.wavelet, self.period = wavelet, period

    def prox(self, image, threshold, shifts):
        total = np.zeros_like(image)
        for a, b in itertools.product(range(self.period), repeat=2):

            class Here(Shifts):
                def next(self, periods, found=(0, a, b)):
                    return list(found)

            total += self.wavelet.prox(image, threshold, Here())
        return total / np.float32(self.period**2)


class AtRandom(Shifts):
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def next(self, periods):
        return [int(self.rng.integers(n)) for n in periods]


def test_where_there_are_only_even_and_odd_a_round_is_all_shifts():
    rng = np.random.default_rng(4)
    noisy = (rng.standard_normal((1, 16, 16)) + 1j * rng.standard_normal((1, 16, 16))).astype(np.complex64)
    wavelet = Wavelet((1, 2), "db2")  # 16 points have one level: shifts repeat after two
    everywhere = Everywhere(wavelet, 2).prox(noisy, 0.5, Shifts())
    for iterations in (4, 7):  # of data that are the image every step is the prior's alone, and no two starts are alike
        found = fista(lambda x: x.copy(), noisy, wavelet, 0.5, iterations=iterations, averaged=4)
        assert np.allclose(found, everywhere, atol=1e-5)
    assert not np.allclose(fista(lambda x: x.copy(), noisy, wavelet, 0.5, iterations=4), everywhere, atol=1e-2)


def test_means_of_rounds_are_nearly_as_good_as_all_shifts_and_better_than_the_last_one_by_chance():
    n = 40
    y, x = np.mgrid[:n, :n]
    truth = sum(
        np.where(np.hypot(y - a, x - b) < r, v, 0)
        for a, b, r, v in ((20, 20, 16, 1), (15, 17, 5, 0.6), (26, 24, 3, -0.5))
    ).astype(np.complex64)[None]
    rng = np.random.default_rng(0)
    mask = (rng.random((n, n)) < 0.4) | (np.hypot(*np.meshgrid(*2 * [np.arange(n) - n // 2])) < 5)
    mask = np.fft.ifftshift(mask)
    noise = 0.04 * (rng.standard_normal(truth.shape) + 1j * rng.standard_normal(truth.shape))
    samples = (np.fft.fft2(truth, norm="ortho") + noise) * mask

    def normal(image):
        return np.fft.ifft2(np.fft.fft2(image, norm="ortho") * mask, norm="ortho").astype(np.complex64)

    def error(prior, averaged, seed=0):
        right = np.fft.ifft2(samples, norm="ortho").astype(np.complex64)
        image = fista(normal, right, prior, 0.07, iterations=40, averaged=averaged, seed=seed)
        return np.linalg.norm(image - truth) / np.linalg.norm(truth)

    wavelet = Wavelet((1, 2), "db2")
    everywhere = error(Everywhere(wavelet, 4), 1)  # 40 points have two levels: shifts repeat after four
    found = [error(wavelet, 8, seed) for seed in range(4)]

    class Chance(Wavelet):
        def prox(self, image, threshold, shifts):
            return super().prox(image, threshold, chance)

    by_chance = []
    for seed in range(4):
        chance = AtRandom(seed)
        by_chance.append(error(Chance((1, 2), "db2"), 1))
    assert np.mean(found) < 0.97 * np.mean(by_chance)
    assert np.mean(found) < 1.08 * everywhere  # 8 of 16 places
