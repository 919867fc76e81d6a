"""Every method of reconstruct() on undersampled scans of boxes: better than what it must beat, honest about noise and fit."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from boxes import Scan, nrmse, raw_of, ring, signal

from lauterbur.errors import InputError, ResourceError
from lauterbur.recon.coilmaps import calibrate
from lauterbur.recon.grappa import kernels
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.recon.regularisation import noise_level
from lauterbur.recon.replica import noise_by_replicas

SCAN = Scan(matrix=(16, 40, 32), n_rx=8)
NOISE = 4e-6  # of a sample, both parts


def noisy(scan=SCAN, noise=NOISE, seed=0):
    rng = np.random.default_rng(seed + 100)
    only = noise * (rng.normal(size=(scan.n_rx, 4000)) + 1j * rng.normal(size=(scan.n_rx, 4000)))
    return replace(scan.raw(noise, seed), noise=only.astype(np.complex64))


def random_lines(raw, fraction, seed=0, scan=SCAN):
    rng = np.random.default_rng(seed)
    y, z = raw.label("LIN") - scan.matrix[1] // 2, raw.label("PAR") - scan.matrix[2] // 2
    centre = (np.abs(y) < 8) & (np.abs(z) < 8)
    return raw.only(np.flatnonzero(centre | (rng.random(len(y)) < fraction)))


@lru_cache(maxsize=1)
def full():
    return reconstruct(noisy(noise=0.01 * NOISE)).pixels[0] / 100  # in units of NOISE


def test_compressed_sensing_beats_least_squares_on_noisy_random_lines():
    raw = random_lines(noisy(noise=4 * NOISE), 0.2)
    sparse, least = reconstruct(raw, method="cs"), reconstruct(raw, method="sense")
    assert nrmse(sparse.pixels[0], full()) < 0.8 * nrmse(least.pixels[0], full())
    facts = sparse.provenance["reconstruction"]
    (fit,) = facts["fits"]
    assert facts["method"] == "compressed sensing"
    assert 0.8 < fit["residual"] / fit["noise"] < 1.2  # neither loose nor tight
    assert fit["weight"] == pytest.approx(np.sqrt(facts["measured_lines"][0] / facts["measured_lines"][1]), rel=1e-6)


def test_a_weight_of_nothing_is_least_squares_and_a_large_one_blurs():
    raw = random_lines(noisy(), 0.4)
    exact, much = (reconstruct(raw, method="cs", regularisation=w) for w in (0.0, 1e4))
    assert nrmse(exact.pixels[0], full()) < 0.1
    assert nrmse(much.pixels[0], full()) > 3 * nrmse(exact.pixels[0], full())  # coarse averages alone


def test_slices_are_solved_as_planes():
    scan = Scan(matrix=(32, 40, 1), n_rx=8)
    k = replace(scan).k()[:, :, :]
    rng = np.random.default_rng(0)
    line = np.arange(40) - 20
    keep = np.flatnonzero((np.abs(line) < 6) | (rng.random(40) < 0.4))
    header = replace(scan.header, dimensions=2, slice_positions=((0.0, 0.0, 0.0),), slice_thickness=0.005)
    k[..., 2] = 0
    whole = raw_of(signal(k, ring(8)), k, header, LIN=np.arange(40))
    truth = reconstruct(whole).pixels[0]
    found = reconstruct(whole.only(keep), method="cs").pixels[0]
    assert nrmse(found, truth) < 0.15
    maps = calibrate(whole.only(keep))
    assert maps.sensitivity.shape == (1, 8, 1, 40, 32)
    given = reconstruct(whole.only(keep), method="cs", maps=maps).pixels[0]
    assert nrmse(given, truth) < 0.15


@pytest.mark.parametrize("method", ["sense", "grappa"])
def test_the_g_factor_is_the_noise_of_replicas(method):
    scan = Scan(matrix=(8, 36, 16), n_rx=8, factors=(2, 1), oversampling=1)
    raw, lines = noisy(scan), scan.lines()
    on_lattice = (lines[:, 0] - scan.matrix[1] // 2) % 2 == 0
    near = np.abs(lines[:, 0] - scan.matrix[1] // 2) < scan.reference_lines / 2
    labels = {**raw.labels, "REF": near.astype(np.int32), "IMA": (near & on_lattice).astype(np.int32)}
    first = np.flatnonzero(near & on_lattice)  # image data too: played once more as reference alone
    raw = replace(raw, labels=labels).only(np.r_[np.arange(raw.n_readouts), first])
    alone = np.r_[near & ~on_lattice, np.ones(len(first), bool)]
    raw = replace(raw, labels={**raw.labels, "REF": alone * 1, "IMA": raw.labels["IMA"] * 0})
    image = reconstruct(raw, method=method)
    assert image.provenance["reconstruction"]["method"] == method.upper()
    measured = noise_by_replicas(raw, method=method, replicas=24)
    whole = np.abs(image.pixels[0])
    inside = whole > 0.3 * whole.max()
    told = image.maps["g_factor"] * np.sqrt(2)  # of one acceleration, in noise of a full scan
    ratio = measured[inside] / told[inside]
    assert abs(np.median(ratio) - 1) < 0.12
    assert np.percentile(np.abs(ratio / np.median(ratio) - 1), 75) < 0.25


@pytest.mark.parametrize(("factors", "limit"), [((2, 1), 0.05), ((2, 2), 0.12)], ids=["2", "2x2"])
def test_grappa_completes_regular_lines(factors, limit):
    scan = Scan(matrix=(16, 40, 32), n_rx=10, factors=factors, reference_lines=20)
    whole = reconstruct(replace(scan, factors=(1, 1)).raw()).pixels[0]
    found = reconstruct(scan.raw(), method="grappa")
    assert nrmse(found.pixels[0], whole) < limit
    assert found.maps["g_factor"].shape == found.pixels.shape[1:]


def test_grappa_weights_reproduce_the_missing_lines_of_their_own_calibration():
    from lauterbur.recon.fft import fft, resized

    n = 48
    y, x = np.meshgrid(np.arange(n) - 24, np.arange(n) - 24, indexing="ij")
    position = np.stack([x * 0.004, y * 0.004, 0 * x], axis=-1)
    views = np.stack([r.sensitivity(position) for r in ring(8)]) * (np.hypot(x, y) < 18)
    k = fft(views.astype(np.complex64), (1, 2))
    kernel = kernels(resized(resized(k, 24, 1), 24, 2)[:, None], (2, 1))[:, :, 0]
    lattice = k * (np.arange(n) % 2 == 0)[:, None]
    out = np.zeros_like(k)
    for a in range(kernel.shape[2]):
        for b in range(kernel.shape[3]):
            shifted = np.roll(lattice, (a - kernel.shape[2] // 2, b - kernel.shape[3] // 2), (1, 2))
            out += np.einsum("ij,jyx->iyx", kernel[:, :, a, b], shifted)
    assert nrmse(out, k) < 0.03


def beating(n_frames=6, fraction=0.25, noise=2 * NOISE):
    scans = []
    for i in range(n_frames):
        raw = random_lines(noisy(noise=noise, seed=i), fraction, seed=i)
        gain = np.float32(1 + 0.4 * np.sin(i))
        scans.append(replace(raw, samples=raw.samples * gain if noise == 0 else raw.samples))
    rep = np.repeat(np.arange(n_frames), [s.n_readouts for s in scans])
    joined = {name: np.concatenate([s.labels[name] for s in scans]) for name in scans[0].labels}
    return replace(
        scans[0],
        samples=np.concatenate([s.samples for s in scans]),
        n_samples=np.concatenate([s.n_samples for s in scans]),
        k=np.concatenate([s.k for s in scans]),
        time=np.concatenate([s.time for s in scans]),
        dwell=np.concatenate([s.dwell for s in scans]),
        center_sample=np.concatenate([s.center_sample for s in scans]),
        labels={**joined, "REP": rep.astype(np.int32)},
    )


def test_a_series_solved_together_beats_its_frames_alone():
    raw = beating()
    together, alone = reconstruct(raw, method="low-rank"), reconstruct(raw, method="sense")
    error = [np.mean([nrmse(frame, full()) for frame in image.pixels]) for image in (together, alone)]
    assert together.pixels.shape[0] == 6
    assert error[0] < 0.7 * error[1]
    assert together.provenance["reconstruction"]["fits"][0]["residual"] > 0


def test_receivers_compressed_along_the_readout_lose_less():
    raw = random_lines(SCAN.raw(), 0.5)
    truth = reconstruct(SCAN.raw()).pixels[0]
    error = [
        nrmse(reconstruct(raw, method="cs", coils=4, along_readout=along, regularisation=0.0).pixels[0], truth)
        for along in (True, False)
    ]
    assert error[0] < error[1]


def test_several_sets_of_maps_are_used():
    scan = Scan(matrix=(24, 40, 24), n_rx=8)
    raw = random_lines(scan.raw(), 0.5, scan=scan)
    truth = reconstruct(scan.raw()).pixels[0]
    soft = reconstruct(raw, method="sense", maps=calibrate(raw, sets=2))
    assert soft.provenance["reconstruction"]["method"] == "soft SENSE"
    assert nrmse(np.abs(soft.pixels[0]), np.abs(truth)) < 0.15


def test_the_noise_level_is_that_of_the_outermost_lines():
    rng = np.random.default_rng(0)
    lines = 3 * (rng.normal(size=(200, 4, 32)) + 1j * rng.normal(size=(200, 4, 32))) / np.sqrt(2)
    distance = np.abs(np.arange(200) - 100.0)
    lines[distance < 30] *= 50
    assert noise_level(lines, distance) == pytest.approx(3, rel=0.03)


REFUSALS = {
    "unknown method": ({"method": "magic"}, "choose one of"),
    "weight": ({"method": "cs", "regularisation": -1.0}, "neither 'auto' nor a weight"),
    "word": ({"method": "cs", "regularisation": "strong"}, "neither 'auto' nor a weight"),
    "maps' name": ({"method": "cs", "maps": "sake"}, "give 'espirit'"),
    "no lattice": ({"method": "grappa"}, "no regular pattern"),
    "one frame": ({"method": "low-rank"}, "needs several frames"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_method_cannot_do_is_refused_with_the_remedy(name):
    options, words = REFUSALS[name]
    with pytest.raises(InputError, match=words):
        reconstruct(random_lines(SCAN.raw(), 0.3), **options)


def test_maps_of_another_size_of_other_receivers_or_of_nothing_are_refused():
    raw = random_lines(Scan(matrix=(16, 24, 16), n_rx=4).raw(), 0.5, scan=Scan(matrix=(16, 24, 16)))
    maps = calibrate(raw)
    cropped = replace(maps, sensitivity=maps.sensitivity[..., :-2])
    empty = replace(maps, sensitivity=np.zeros_like(maps.sensitivity))
    broken = replace(maps, sensitivity=np.where(maps.eigenvalue[:, None] > 0.9, np.nan, maps.sensitivity))
    fewer = calibrate(replace(raw, samples=raw.samples[:, :3]))
    for wrong, words in (
        (cropped, "the data need"),
        (empty, "zero everywhere"),
        (broken, "NaN"),
        (fewer, "4 receivers"),
    ):
        with pytest.raises(InputError, match=words):
            reconstruct(raw, method="cs", maps=wrong)
    with pytest.raises(InputError, match="leave out one of the two"):
        reconstruct(raw, method="cs", maps=maps, along_readout=True)


def test_a_problem_larger_than_the_machine_is_refused_before_work(monkeypatch):
    monkeypatch.setattr("lauterbur.recon.checks.memory_of_machine", lambda: 1e6)
    with pytest.raises(ResourceError, match=r"needs about .* GiB of memory but the machine has 0\.0 GiB; compress"):
        reconstruct(SCAN.raw(), method="cs")


@pytest.mark.parametrize("method", ["sense", "cs"])
def test_silent_receivers_do_no_harm(method):
    raw = random_lines(SCAN.raw(), 0.4)
    silent = replace(raw, samples=np.concatenate([raw.samples, 0 * raw.samples[:, :2]], axis=1))
    assert nrmse(reconstruct(silent, method=method).pixels, reconstruct(raw, method=method).pixels) < 0.02


def test_too_small_a_calibration_for_grappa_is_refused():
    with pytest.raises(InputError, match="too small for GRAPPA"):
        reconstruct(Scan(n_rx=8, factors=(3, 1), reference_lines=7).raw(), method="grappa")


def test_replicas_need_the_noise_and_more_than_one():
    with pytest.raises(InputError, match="no noise scan"):
        noise_by_replicas(SCAN.raw())
    with pytest.raises(InputError, match="at least 2"):
        noise_by_replicas(noisy(), replicas=1)
