"""Withheld samples: what is withheld, that the best mixture is found by them, and that a wrong network is left out."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import nrmse
from test_learned import case, problem_of, volume

from lauterbur.recon import learned_scan
from lauterbur.recon.cartesian_sense import CartesianSense
from lauterbur.recon.fft import fft
from lauterbur.recon.learned import learned_image
from lauterbur.recon.learned_network import first_image, least_squares, scale_of, shipped_weights, unrolled
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.recon.regularisation import sparse_weight
from lauterbur.recon.sparse import sparse_image
from lauterbur.recon.withheld import Measured, foretold, judges, split, spread
from lauterbur.study.fit_report import fit_figure, fit_lines


def measured(seed=3, shape=(96, 110), factor=6.0):
    truth, sense, samples, noise = case(seed, shape=shape, factor=factor)
    scale = scale_of(least_squares(sense, sense.adjoint(samples)))
    return truth, sense, samples, noise, Measured(sense.maps[0, 0], samples[0], sense.mask, noise, scale)


def wrong(by=4.0):
    """The shipped weights, but every network overdoes what it does by so many times."""
    right = shipped_weights()
    return replace(
        right, turns=tuple(replace(t, kernels=(*t.kernels[:-1], (1 + by) * t.kernels[-1])) for t in right.turns)
    )


@pytest.mark.parametrize("of_lines", [False, True])
def test_the_measured_places_are_split_in_two_and_the_centre_is_always_given(of_lines):
    rng = np.random.default_rng(0)
    mask = rng.random((60, 71)) < 0.3
    if of_lines:
        mask = np.broadcast_to(mask[:1], mask.shape)
    mask = mask | (np.abs(np.arange(71) - 35) < 3)
    given, held = split(rng, mask, 0.25)
    assert np.array_equal(given | held, mask) and not np.any(given & held)
    near = (slice(None) if of_lines else slice(29, 32), slice(33, 38))
    assert not held[near].any() and 0.2 < held.sum() / mask.sum() < 0.25
    assert not of_lines or np.array_equal(held, np.broadcast_to(held[:1], held.shape))
    assert not np.array_equal(split(rng, mask, 0.25)[1], held)  # anew each time


def test_a_few_planes_away_from_the_ends_are_asked():
    assert spread(1) == [0] and spread(2) == [0, 1]
    assert spread(100) == [20, 40, 60, 80]


@pytest.mark.parametrize("by", [0.0, 0.5, 1.0])
def test_the_share_is_that_of_least_error_among_all(by):
    *_, one = measured(3)
    *_, other = measured(4)
    planes, weights = [one, other], wrong(by)
    said = foretold(planes, weights)
    shares = np.linspace(0, 1, 101)
    left, energy, count = np.zeros(101), 0.0, 0
    for plane, (given, held) in zip(planes, judges(planes), strict=True):
        assert not np.any(given & held) and np.array_equal(given | held, plane.mask)
        sense = CartesianSense(plane.maps[None, None], given, 1)
        right = sense.adjoint((plane.samples * given)[None])
        start = first_image(sense, right, plane.noise, least_squares(sense, right))
        image = unrolled(sense, right, plane.noise, weights, scale=plane.scale)
        for i, t in enumerate(shares):
            seen = fft(plane.maps * (t * image + (1 - t) * start)[0, 0], (1, 2))
            left[i] += np.linalg.norm((seen - plane.samples)[:, held]) ** 2
        energy += np.linalg.norm(plane.samples[:, held]) ** 2
        count += held.sum() * len(plane.maps)
    errors = np.sqrt(left / energy)
    assert said.withheld == count
    assert said.share == pytest.approx(shares[np.argmin(errors)], abs=0.01)
    assert said.mixed == pytest.approx(errors.min(), rel=1e-4)
    assert (said.learned, said.sparse) == pytest.approx((errors[-1], errors[0]), rel=1e-4)


def test_what_foretells_best_is_nearest_to_the_truth():
    truth, sense, samples, noise, plane = measured(5, shape=(110, 96), factor=5.0)
    right = sense.adjoint(samples)
    start = first_image(sense, right, noise, least_squares(sense, right))
    for weights in (shipped_weights(), wrong(0.5)):
        image = unrolled(sense, right, noise, weights, scale=plane.scale)
        error = [nrmse((t * image + (1 - t) * start)[0, 0], truth) for t in np.linspace(0, 1, 21)]
        assert error[round(20 * foretold([plane], weights).share)] < 1.01 * min(error)


def test_of_a_wrong_network_nothing_is_used_and_compressed_sensing_is_left():
    truth, sense, samples, noise, _ = measured()
    image, fit = learned_image(sense, samples, noise=noise, weights=wrong())
    rule = sparse_weight(noise, float(sense.mask.mean()))
    sparse, _ = sparse_image(problem_of(sense, samples), rule)
    assert fit.foretold.share < 0.05
    # the last steps fit the samples to their noise, which compressed sensing by its rule does not
    assert nrmse(image[0, 0], truth) < 1.1 * nrmse(sparse[0, 0], truth)


def test_of_a_right_network_most_is_used():
    *_, plane = measured()
    said = foretold([plane], shipped_weights())
    assert said.share > 0.7 and said.mixed <= said.learned < said.sparse


def test_silence_says_nothing():
    *_, plane = measured()
    said = foretold([replace(plane, samples=0 * plane.samples)], shipped_weights())
    assert np.isfinite([said.share, said.learned, said.sparse, said.mixed]).all()


def test_a_scan_says_how_much_of_it_is_the_networks(monkeypatch):
    facts = reconstruct(volume(), method="learned").provenance["reconstruction"]
    (fit,) = facts["fits"]
    assert 0 < fit["foretold"]["share"] <= 1 and fit["foretold"]["withheld"] > 1000
    monkeypatch.setattr(learned_scan, "shipped_weights", wrong)
    image = reconstruct(volume(), method="learned")
    facts = image.provenance["reconstruction"]
    assert any(note.startswith("only 0% of the image is the network's") for note in facts["notes"])
    assert any("0% the network's, withheld samples foretold to" in line for line in fit_lines(image))
    figure = fit_figure(image)
    figure.canvas.draw()
    (text,) = (one for one in figure.texts if "the network's" in one.get_text())
    assert text.get_window_extent().x1 < figure.bbox.x1  # no line leaves the page
    sparse = reconstruct(volume(), method="cs")
    assert nrmse(image.pixels[0], sparse.pixels[0]) < 0.03
