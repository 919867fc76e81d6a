"""What the receivers see: ESPIRiT maps, several sets, virtual receivers along the readout."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import Scan, ring
from laws import random_complex

from lauterbur.errors import InputError
from lauterbur.recon.coilmaps import calibrate
from lauterbur.recon.compress import compression, geometric_compression
from lauterbur.recon.espirit import enlarging, leading, operator_lags, plane_maps, plane_operator, signal_space
from lauterbur.recon.fft import fft, resized


def smooth_receivers(n: int, n_rx: int) -> np.ndarray:
    y, x = np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2, indexing="ij")
    angle = 2 * np.pi * np.arange(n_rx) / n_rx
    centre = 0.55 * n * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    maps = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / (0.4 * n**2) + 0.9j * i) for i, (a, b) in enumerate(centre)]
    return np.stack(maps).astype(np.complex64)


def disc(n: int, radius: float) -> np.ndarray:
    y, x = np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2, indexing="ij")
    return ((x / n) ** 2 + (y / n) ** 2 < radius**2) * (1 + 0.5 * (x > 0) - 0.3 * (y > n / 8))


def test_the_operator_is_the_projection_onto_patches_summed_over_their_places():
    calibration = random_complex((3, 9, 8), 0)
    signal = signal_space(calibration, (4, 3), threshold=0.5)
    operator = plane_operator(operator_lags(signal), (12, 10))
    flat = signal.reshape(len(signal), -1)
    projector = (flat.T @ flat.conj()).reshape(3, 4, 3, 3, 4, 3)
    for a, b in ((0, 0), (3, 7), (11, 5)):
        r = np.array([(a - 6) / 12, (b - 5) / 10])
        turn = np.exp(2j * np.pi * (np.arange(4)[:, None] * r[0] + np.arange(3) * r[1]))
        slow = np.einsum("iabjcd,ab,cd->ij", projector, turn, turn.conj()) / 12
        assert np.allclose(operator[a, b], slow, atol=1e-5)


def test_iterated_eigenvectors_are_those_of_the_library():
    square = random_complex((40, 5, 5), 1)
    operator = (square @ square.conj().transpose(0, 2, 1)).astype(np.complex64)
    vectors, values = leading(operator, random_complex((40, 2, 5), 2), 300)
    exact, frames = np.linalg.eigh(operator)
    assert np.allclose(values, exact[:, :-3:-1], rtol=1e-3)
    assert np.min(np.abs(np.sum(frames[:, :, -1].conj() * vectors[:, 0], axis=1))) > 0.999


def test_a_place_where_a_second_map_nearly_fits_is_not_left_between_the_two():
    """Where the object almost reaches both edges of the field of view the second eigenvalue is near 1 too."""
    frames = np.linalg.qr(random_complex((40, 6, 6), 1))[0]
    operator = (frames * np.array([1, 0.98, 0.6, 0.3, 0.1, 0])) @ frames.conj().transpose(0, 2, 1)
    start = frames[:, :, 0] + 3 * frames[:, :, 1]
    vectors, values = leading(operator.astype(np.complex64), start[:, None].astype(np.complex64))
    assert np.allclose(values, 1, atol=1e-4)
    assert np.min(np.abs(np.sum(frames[:, :, 0].conj() * vectors[:, 0], axis=1))) > 0.9999


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e5, 1e12])
def test_maps_know_no_units(unit):
    """Raw data of strong signal are no silence and no null space: squares of their energies are beyond single precision."""
    n, n_rx = 48, 6
    k = fft(smooth_receivers(n, n_rx) * disc(n, 0.4), (1, 2)) + 1e-2 * random_complex((n_rx, n, n), 3)
    block = resized(resized(k, 20, 1), 20, 2).astype(np.complex64)
    noise = 1e-2 * np.sqrt(2)
    one, other = (plane_maps(np.complex64(u) * block, (n, n), noise=u * noise) for u in (1.0, unit))
    assert len(signal_space(np.complex64(unit) * block, (6, 6), noise=unit * noise)) == len(
        signal_space(block, (6, 6), noise=noise)
    )
    assert np.allclose(one.eigenvalue, other.eigenvalue, atol=1e-3)
    inside = disc(n, 0.35) > 0
    alike = np.abs(np.sum(one.sensitivity[0].conj() * other.sensitivity[0], axis=0))
    assert np.all(alike[inside] > 0.999)


def test_interpolation_returns_the_points_it_was_given():
    matrix = enlarging(32, 8)
    assert np.allclose(matrix[::4], np.eye(8), atol=1e-6) and np.allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_maps_on_the_fine_grid_are_the_receivers():
    n, n_rx = 96, 8
    truth = smooth_receivers(n, n_rx)
    inside = disc(n, 0.4)
    k = fft((truth * inside).astype(np.complex64), (1, 2))
    found = plane_maps(resized(resized(k, 24, 1), 24, 2), (n, n))
    unit = truth / np.linalg.norm(truth, axis=0)
    along = np.sum(found.sensitivity[0].conj() * unit, axis=0) * found.sensitivity[0]
    error = np.linalg.norm(unit - along, axis=0)[inside > 0]
    assert np.sqrt(np.mean(error**2)) < 0.01  # span error
    assert np.median(found.eigenvalue[0][inside > 0]) > 0.99


def test_two_sets_explain_an_object_larger_than_the_field_of_view():
    n, n_rx = 96, 8
    truth = smooth_receivers(n, n_rx)
    texture = 1 + np.random.default_rng(0).uniform(size=(n, n))  # else one smooth map could explain the sum
    whole = truth * disc(n, 0.42) * texture
    folded = whole.reshape(n_rx, 2, n // 2, n).sum(axis=1)  # half the field of view along the first axis
    k = fft(folded.astype(np.complex64), (1, 2))
    block = resized(resized(k, 24, 1), 24, 2)
    left = []
    for sets in (1, 2):
        maps = plane_maps(block, (n // 2, n), sets=sets).sensitivity
        image = np.einsum("scyx,cyx->syx", maps.conj(), folded)
        left.append(np.linalg.norm(folded - np.einsum("scyx,syx->cyx", maps, image)) / np.linalg.norm(folded))
    assert left[1] < 0.3 * left[0], left
    overlap = np.einsum("acyx,bcyx->abyx", maps.conj(), maps)
    assert np.allclose(overlap, np.eye(2)[:, :, None, None], atol=1e-3)


def test_virtual_receivers_along_the_readout_keep_more_and_stay_smooth():
    samples = np.stack([random_complex((6, 3), x) @ random_complex((3, 50), 10 + x) for x in range(12)], axis=-1)
    samples = samples.transpose(1, 0, 2)  # (place, rx, x)
    mixing, kept = geometric_compression(samples, 3)
    _, energy = compression(samples.transpose(1, 0, 2).reshape(6, -1), 3)
    assert kept > 0.9999 > energy[:3].sum() / energy.sum()
    assert np.allclose(mixing @ mixing.conj().transpose(0, 2, 1), np.eye(3), atol=1e-5)
    smooth = np.stack([r.sensitivity(np.array([[0.001 * x, 0.0, 0.0] for x in range(30)])) for r in ring(6)])
    rows, _ = geometric_compression((smooth * random_complex((40, 1, 1), 3)).astype(np.complex64), 1)
    assert np.max(np.abs(np.diff(rows, axis=0))) < 0.05


@pytest.mark.parametrize("sets", [1, 2])
def test_calibrate_gives_orthonormal_maps_on_the_grid_of_the_image(sets):
    raw = Scan(matrix=(28, 24, 16), n_rx=6, factors=(2, 1)).raw()
    maps = calibrate(raw, coils=5, sets=sets)
    assert maps.sensitivity.shape == (sets, 5, 16, 24, 28)
    assert maps.eigenvalue.shape == (sets, 16, 24, 28)
    norm = np.linalg.norm(maps.sensitivity, axis=1)
    assert np.allclose(norm[maps.eigenvalue >= 0.8], 1, atol=1e-3) and not norm[maps.eigenvalue < 0.8].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"sets": 9}, "between 1 and"), ({"kernel": 1}, "between 2 and 12"), ({"threshold": 2.0}, "between 0 and 1"), ({"crop": 1.5}, "below 1")],
    ids=["sets", "kernel", "threshold", "crop"],
)  # fmt: skip
def test_impossible_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        calibrate(Scan(matrix=(16, 16, 8), n_rx=4).raw(), **options)


def test_missing_or_silent_calibration_is_refused():
    with pytest.raises(InputError, match="contiguous lines about k = 0 along phase"):
        calibrate(Scan(n_rx=4, factors=(2, 1), reference_lines=0).raw())
    raw = Scan(matrix=(16, 16, 8), n_rx=4).raw()
    with pytest.raises(InputError, match="every receiver are zero"):
        calibrate(replace(raw, samples=np.zeros_like(raw.samples)))
