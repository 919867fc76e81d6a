"""Tuning to a scan: that it helps where weights are wrong, and never harms. Laws of torch need the extra "train"."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from boxes import nrmse
from test_learned import volume
from test_methods import noisy, random_lines
from test_withheld import measured

from lauterbur.errors import InputError
from lauterbur.recon.encoded import encoded, measured_planes
from lauterbur.recon.epi import ghost_phases
from lauterbur.recon.layout import cartesian_layout
from lauterbur.recon.learned import learned_image
from lauterbur.recon.learned_network import read_weights, shipped_weights, unrolled
from lauterbur.recon.readout import gathered
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.recon.tuning import tuned
from lauterbur.study.fit_report import fit_lines

WITHOUT = "torch is not installed (the extra `train`); of the plain registry it brings gigabytes of CUDA"


def test_the_samples_of_planes_are_those_of_their_normal_equations():
    raw = noisy()
    layout = cartesian_layout(raw, raw.header)
    mixing = np.eye(raw.n_rx)
    lines = gathered(raw, layout, layout.image, mixing, ghost_phases(raw, layout, mixing))
    which = np.arange(len(lines.line))
    rng = np.random.default_rng(0)
    shape = (2, 1, raw.n_rx, layout.n_partitions, layout.phase.n)
    maps = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    problem = encoded(lines, which, layout, maps, 10, 12)
    samples, mask = measured_planes(lines, which, layout, 10, 12)
    assert np.array_equal(mask, problem.sense.mask)
    np.testing.assert_allclose(problem.sense.adjoint(samples), problem.right, atol=1e-5 * np.abs(problem.right).max())


def test_tuning_without_torch_or_without_the_learned_prior_is_refused_at_once(monkeypatch):
    with pytest.raises(InputError, match="tuning has no effect on method 'cs'; use it with 'learned'"):
        reconstruct(volume(), method="cs", tune=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs torch; pip install .*lauterbur\[train\]"):
        reconstruct(volume(), method="learned", tune=True)


def test_out_of_range_nothing_is_tuned_and_a_note_says_why(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # torch would not be asked for
    facts = reconstruct(random_lines(noisy(), 0.3), method="learned", tune=True).provenance["reconstruction"]
    assert "tuning" not in facts and facts["method"] == "compressed sensing"
    assert any("learned prior was not tuned: a plane of 32 x 40 points" in note for note in facts["notes"])


@pytest.mark.parametrize("shape", [(64, 80), (57, 61)])
def test_the_network_of_weights_says_what_they_say(shape):
    torch = pytest.importorskip("torch", reason=WITHOUT)
    from lauterbur.recon.learned_torch import network_of, packed
    from lauterbur.recon.tuning import _lesson

    weights = shipped_weights()
    network = network_of(weights)
    again = read_weights(packed(network))
    assert all(
        np.array_equal(a, b)
        for one, two in zip(weights.turns, again.turns, strict=True)
        for a, b in zip(one.kernels, two.kernels, strict=True)
    )
    _, sense, samples, noise, plane = measured(shape=shape, factor=4.0)
    with torch.no_grad():
        lesson = _lesson(plane, plane.mask, plane.mask)
        theirs = network(*lesson.inputs)[-1][0].numpy() * plane.scale
    ours = unrolled(sense, sense.adjoint(samples), noise, weights, orientations=1)[0, 0]
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(ours)


def test_wrong_weights_are_mended_by_the_scan_itself_and_right_ones_stay_or_get_better():
    pytest.importorskip("torch", reason=WITHOUT)
    truth, sense, samples, noise, plane = measured()
    right = shipped_weights()
    wrong = replace(right, turns=tuple(replace(t, biases=(*t.biases[:-1], t.biases[-1] + 0.02)) for t in right.turns))
    mended, told = tuned([plane], wrong)
    same, _ = tuned([plane], wrong)
    assert mended.sha256 == same.sha256 == told.weights  # a function of its seed
    assert told.steps > 0 and told.after < told.before
    error = {
        name: nrmse(learned_image(sense, samples, noise=noise, weights=w)[0][0, 0], truth)
        for name, w in (("right", right), ("wrong", wrong), ("mended", mended))
    }
    assert error["mended"] < error["wrong"]
    kept, told = tuned([plane], right)
    assert told.after <= told.before and (told.steps > 0 or kept is right)
    assert nrmse(learned_image(sense, samples, noise=noise, weights=kept)[0][0, 0], truth) < 1.02 * error["right"]


def test_a_scan_is_tuned_to_and_says_so():
    pytest.importorskip("torch", reason=WITHOUT)
    image = reconstruct(volume(), method="learned", tune=True)
    facts = image.provenance["reconstruction"]
    assert facts["tuning"]["after"] <= facts["tuning"]["before"] and facts["tuning"]["withheld"] > 1000
    assert all(fit["weights"] == facts["tuning"]["weights"] for fit in facts["fits"])
    assert any("tuned to this scan in" in line for line in fit_lines(image))
