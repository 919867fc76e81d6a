"""Cartesian data: what lands where, and what must not matter."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import HEAD, Scan, box_image, nrmse, raw_of, signal

from lauterbur.rawdata import Header
from lauterbur.recon.reconstruction import reconstruct

OBLIQUE = ((0.8, 0.6, 0.0), (-0.6, 0.8, 0.0), (0.0, 0.0, 1.0))
SAGITTAL = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
WIDE = (0.26, 0.26, 0.2)


def brightest(image):
    """Patient m of the brightest voxel."""
    z, y, x = np.unravel_index(np.argmax(np.abs(image.pixels[0])), image.pixels[0].shape)
    return (image.affine @ [x, y, z, 1])[:3]


@pytest.mark.parametrize("directions", [((1, 0, 0), (0, 1, 0), (0, 0, 1)), OBLIQUE, SAGITTAL])
@pytest.mark.parametrize("position", [(0.0, 0.0, 0.0), (0.012, -0.007, 0.009)])
@pytest.mark.parametrize("matrix", [(40, 36, 20), (41, 37, 21)])
def test_every_mark_lies_where_the_affine_says(directions, position, matrix):
    fov = (0.2, 0.26, 0.22) if directions is SAGITTAL else WIDE
    image = reconstruct(Scan(matrix=matrix, fov=fov, directions=directions, position=position).raw())
    truth = box_image(image.affine, image.pixels.shape[1:])
    assert nrmse(np.abs(image.pixels[0]), np.abs(truth)) < 0.4  # Gibbs ringing and partial volumes of hard edges
    background = np.median(np.abs(image.pixels[0])[truth == 1])
    for mark, value in ((1, 1.8), (2, 0.5), (3, 2.5), (4, 2.0)):
        i, j, m = np.round(np.linalg.solve(image.affine, [*HEAD[mark][0], 1])[:3]).astype(int)
        assert np.isclose(np.abs(image.pixels[0, m, j, i]) / background, value, rtol=0.3)
    assert np.allclose(brightest(image), HEAD[3][0], atol=0.015)


def test_pixels_are_the_density_times_voxel_times_the_root_of_the_number_of_samples():
    image = reconstruct(Scan(fov=WIDE).raw())
    scan = Scan(fov=WIDE)
    voxel = np.prod(np.array(scan.fov) / np.array(scan.matrix))
    n = np.prod(scan.matrix) * scan.oversampling
    inside = image.pixels[0, 7, 21, 14]  # within the large box alone
    assert np.isclose(inside.real, voxel * np.sqrt(n), rtol=0.1)
    assert abs(inside.imag) < 0.1 * inside.real


def test_oversampling_does_not_change_the_image():
    once, twice = reconstruct(Scan(fov=WIDE, oversampling=1).raw()), reconstruct(Scan(fov=WIDE, oversampling=2).raw())
    assert once.pixels.shape == twice.pixels.shape
    assert np.allclose(once.affine, twice.affine)
    assert nrmse(once.pixels, twice.pixels) < 0.1  # aliased ringing of the narrower one


def test_counters_alone_give_the_same_image_as_the_trajectory():
    scan = Scan(fov=WIDE)
    assert np.allclose(reconstruct(scan.raw()).pixels, reconstruct(replace(scan, has_k=False).raw()).pixels, atol=1e-7)


def test_the_trajectory_alone_gives_the_image_and_its_place():
    raw = Scan(fov=WIDE, oversampling=1).raw()
    bare = reconstruct(replace(raw, header=None, labels={}))
    full = reconstruct(raw)
    assert np.allclose(bare.affine, full.affine, atol=1e-6)
    assert np.allclose(bare.pixels, full.pixels, atol=1e-4 * np.abs(full.pixels).max())


def test_the_order_of_readouts_does_not_matter():
    raw = Scan(fov=WIDE).raw()
    order = np.random.default_rng(0).permutation(raw.n_readouts)
    mixed = replace(
        raw, samples=raw.samples[order], k=raw.k[order], labels={k: v[order] for k, v in raw.labels.items()}
    )
    assert np.allclose(reconstruct(raw).pixels, reconstruct(mixed).pixels, atol=1e-7)


def test_reversed_readouts_and_samples_between_grid_points_change_nothing():
    scan = Scan(fov=WIDE)
    raw, k, lines = scan.raw(), scan.k(), scan.lines()
    k = k + np.array([0.5 / (scan.fov[0] * 2), 0, 0])  # k = 0 falls between two samples
    k[::2] = k[::2, ::-1]
    shifted = raw_of(signal(k), k, scan.header, LIN=lines[:, 0], PAR=lines[:, 1])
    assert nrmse(reconstruct(shifted).pixels, reconstruct(raw).pixels) < 0.01


def test_averages_are_averaged_and_echoes_and_repetitions_become_frames():
    scan = Scan(matrix=(24, 20, 8), fov=WIDE)
    raw = scan.raw()
    n = raw.n_readouts
    scale = np.array([1, 3, 10, 20, 5, 7], np.float32)  # AVG 0, 1; then ECO 1; REP 1 with ECO 0, 1; AVG 1 of that
    counters = {"AVG": [0, 1, 0, 0, 0, 1], "ECO": [0, 0, 1, 0, 1, 1], "REP": [0, 0, 0, 1, 1, 1]}

    def tile(a):
        return np.concatenate([a] * 6)

    many = replace(
        raw,
        samples=np.concatenate([raw.samples * s for s in scale]),
        n_samples=tile(raw.n_samples),
        k=tile(raw.k),
        time=tile(raw.time),
        dwell=tile(raw.dwell),
        center_sample=tile(raw.center_sample),
        labels={**{k: tile(v) for k, v in raw.labels.items()}, **{k: np.repeat(v, n) for k, v in counters.items()}},
        header=replace(scan.header, te=(0.003, 0.007)),
    )
    one, all_ = reconstruct(raw).pixels[0], reconstruct(many)
    assert all_.te == (0.003, 0.007, 0.003, 0.007)
    for frame, factor in zip(all_.pixels, (2, 10, 20, 6), strict=True):
        assert np.allclose(frame, factor * one, atol=1e-4 * np.abs(one).max())


def slices_of(order, positions, matrix=(32, 28)):
    """2D slices: boxes cut at each position; SLC i lies at positions[i], played in `order`."""
    n_x, n_y = matrix
    k = np.zeros((n_y, n_x, 3))
    k[..., 0] = (np.arange(n_x) - n_x // 2) / WIDE[0]
    k[..., 1] = ((np.arange(n_y) - n_y // 2) / WIDE[1])[:, None]
    samples = []
    for i in order:
        cut = tuple(b for b in HEAD if abs(positions[i] - b[0][2]) <= b[1][2] / 2)
        samples.append(signal(k, boxes=tuple(((c[0], c[1], 0.0), (s[0], s[1], 1.0), a) for c, s, a in cut)))
    header = Header(
        matrix=(n_x, n_y, len(positions)),
        fov=WIDE,
        dimensions=2,
        slice_positions=tuple((0.0, 0.0, float(p)) for p in positions),
        slice_thickness=0.01,
    )
    n = len(order)
    return raw_of(
        np.concatenate(samples),
        np.concatenate([k] * n),
        header,
        LIN=np.tile(np.arange(n_y), n),
        SLC=np.repeat(order, n_y),
    )


def test_interleaved_slices_come_out_sorted_along_the_normal():
    positions = (np.arange(9) - 4) * 0.02
    image = reconstruct(slices_of([0, 2, 4, 6, 8, 1, 3, 5, 7], positions))
    assert np.allclose(image.affine[:3, 2], [0, 0, 0.02])
    assert np.allclose(brightest(image), HEAD[3][0], atol=0.015)
    upside_down = reconstruct(slices_of(range(9), positions[::-1]))
    assert np.allclose(upside_down.pixels, image.pixels, atol=1e-6)
    assert np.allclose(upside_down.affine, image.affine)


def test_normalising_flattens_a_smooth_shading_and_keeps_the_ratio_of_frames():
    from lauterbur.recon.normalise import normalised

    z, y, x = np.meshgrid(*(np.linspace(-1, 1, 40),) * 3, indexing="ij")
    ball = (x**2 + y**2 + z**2 < 0.8).astype(float)
    shading = 1 + 0.6 * x
    flat = normalised(np.stack([ball * shading, 2 * ball * shading]).astype(np.complex64), np.diag([0.005] * 3 + [1]))
    inner = x**2 + y**2 + z**2 < 0.5
    assert np.std(np.abs(flat[0])[inner]) < 0.5 * np.std((ball * shading)[inner])
    assert np.allclose(flat[1], 2 * flat[0])
