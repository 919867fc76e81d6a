"""SENSE, compressed sensing and low rank along any trajectory; stacks; off-resonance; and what is refused before work."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import HEAD, Scan, nrmse, raw_of, ring, signal

from lauterbur.errors import InputError, ResourceError, UnsupportedError
from lauterbur.rawdata import Header
from lauterbur.recon.coilmaps import calibrate
from lauterbur.recon.gridding import centre, full_radius, gridded, noise_of_centre
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.study.fit_report import fit_figure, fit_lines

N, FOV = 64, 0.24
FLAT = tuple((c, (*s[:2], 1.0), a) for c, s, a in HEAD)
HEADER = Header(matrix=(N, N, 1), fov=(FOV, FOV, 0.005), trajectory="radial", dimensions=2, slice_thickness=0.005)
GOLDEN = np.pi * (np.sqrt(5) - 1) / 2
NOISE = 2e-5


def spoke_k(angle, n=N, fov=FOV):
    radius = (np.arange(2 * n) - n) / (2 * fov)
    return np.stack(
        (np.outer(np.cos(angle), radius), np.outer(np.sin(angle), radius), np.zeros((len(angle), 2 * n))), -1
    )


def noisy(clean, k, header, noise, n_rx, seed=0, **labels):
    rng = np.random.default_rng(seed)

    def white(shape):
        return noise / np.sqrt(2) * (rng.normal(size=shape) + 1j * rng.normal(size=shape))

    raw = raw_of(clean + (white(clean.shape) if noise else 0), k, header, **labels)
    return replace(raw, noise=white((n_rx, 4000)).astype(np.complex64)) if noise else raw


def radial(n, *, n_rx=8, noise=NOISE, header=HEADER, **labels):
    k = spoke_k(GOLDEN * np.arange(n))
    return noisy(signal(k, ring(n_rx), boxes=FLAT), k, header, noise, n_rx, LIN=np.arange(n), **labels)


@pytest.fixture(scope="module")
def full():
    return reconstruct(radial(200, noise=0.0), method="sense").pixels[0]


def error(image, truth):
    return nrmse(np.abs(image.pixels[0]), np.abs(truth))


def test_least_squares_beats_gridding_and_sparsity_beats_least_squares_at_a_fourth_of_the_spokes(full):
    raw = radial(25)  # 101 would sample the edge fully
    found = {method: error(reconstruct(raw, method=method), full) for method in ("nufft", "sense", "cs")}
    assert found["sense"] < 0.5 * found["nufft"] and found["cs"] < 0.85 * found["sense"]
    assert found["cs"] < 0.03


def test_auto_is_sense_with_several_receivers_and_gridding_with_one():
    several, one = reconstruct(radial(40)), reconstruct(radial(40, n_rx=1))
    assert several.provenance["reconstruction"]["method"] == "SENSE by conjugate gradients"
    assert one.provenance["reconstruction"]["method"] == "density-compensated NUFFT"


def test_iterations_end_at_the_noise(full):
    """Where receivers are known well enough, no more than the noise is left, and not much less."""
    fit = reconstruct(radial(50, noise=2e-4), method="sense").provenance["reconstruction"]["fits"][0]
    assert 0.9 < fit["residual"] <= 1.0 and fit["iterations"] < 10


def test_iterative_images_are_as_bright_as_gridded_ones_and_in_units_of_the_noise(full):
    raw = radial(200)
    gridding, least = reconstruct(raw, method="nufft").pixels[0, 0], reconstruct(raw, method="sense").pixels[0, 0]
    inside = np.abs(least) > 0.5 * np.abs(least).max()
    assert np.mean(np.abs(gridding[inside])) == pytest.approx(np.mean(np.abs(least[inside])), rel=0.03)
    louder = replace(raw, samples=raw.samples * 7, noise=raw.noise * 7)
    np.testing.assert_allclose(reconstruct(louder, method="sense").pixels[0, 0], least, atol=1e-3 * np.abs(least).max())


def test_one_receiver_can_be_solved_too():
    raw = radial(90, n_rx=1)
    assert nrmse(*(np.abs(reconstruct(raw, method=m).pixels[0]) for m in ("sense", "nufft"))) < 0.15


def test_frames_of_few_spokes_are_told_apart_together(full):
    n_frames, per = 6, 13
    frame = np.repeat(np.arange(n_frames), per)
    k = spoke_k(GOLDEN * np.arange(n_frames * per))
    still = signal(k, ring(8), boxes=FLAT)
    bright = signal(k, ring(8), boxes=(((0.02, 0.02, 0.0), (0.04, 0.04, 1.0), 1.0),))
    course = 0.8 * np.sin(np.pi * (frame + 0.5) / n_frames)
    raw = noisy(
        still + bright * course[:, None, None], k, HEADER, NOISE, 8, LIN=np.tile(np.arange(per), n_frames), REP=frame
    )
    images = {m: reconstruct(raw, method=m).pixels[:, 0] for m in ("sense", "low-rank")}
    many = spoke_k(GOLDEN * np.arange(200))
    added = reconstruct(
        noisy(signal(many, ring(8), boxes=(((0.02, 0.02, 0.0), (0.04, 0.04, 1.0), 1.0),)), many, HEADER, 0.0, 8)
    )
    assert images["low-rank"].shape == (n_frames, N, N)
    # the course of the brightened block, in every frame: true where frames are solved together
    block = np.abs(added.pixels[0, 0]) > 0.8 * np.abs(added.pixels[0, 0]).max()
    seen, played = np.abs(images["low-rank"])[:, block].mean(axis=1), course[::per]
    line = np.polyfit(played, seen, 1)
    assert line[0] > 0 and np.std(seen - np.polyval(line, played)) < 0.05 * np.ptp(seen)
    still_part = [
        np.std(np.abs(images[m])[:, ~block & (np.abs(full[0]) > 0.3 * np.abs(full[0]).max())], axis=0).mean()
        for m in images
    ]
    assert still_part[1] < 0.5 * still_part[0]  # what stands still does not flicker


# ---- stacks


def stack(n_spokes=40, n_z=12, n_rx=6, *, turned=False, noise=0.0, directions=None):
    fov_z = 0.20
    header = Header(matrix=(40, 40, n_z), fov=(FOV, FOV, fov_z), trajectory="radial", dimensions=3)
    z, i = np.meshgrid(np.arange(n_z), np.arange(n_spokes), indexing="ij")
    angle = GOLDEN * (i + (z * 0.37 if turned else 0))
    k = spoke_k(angle.ravel(), 40)
    k[..., 2] = ((z - n_z // 2) / fov_z).ravel()[:, None]
    if directions is not None:
        header, k = replace(header, directions=directions), k @ np.asarray(directions, float)
    clean = signal(k, ring(n_rx) if n_rx > 1 else None)
    return noisy(clean, k, header, noise, n_rx, LIN=i.ravel(), PAR=z.ravel())


@pytest.fixture(scope="module")
def cartesian_volume():
    return reconstruct(Scan(matrix=(40, 40, 12), fov=(FOV, FOV, 0.20), n_rx=6).raw())


@pytest.mark.parametrize("order", ["as played", "shuffled"])
def test_a_stack_of_stars_is_a_pile_of_planes_where_a_grid_says_they_are(cartesian_volume, order):
    raw = stack(64)
    if order == "shuffled":
        keep = np.random.default_rng(0).permutation(raw.n_readouts)
        raw = raw.only(keep)
    image = reconstruct(raw)
    assert image.provenance["reconstruction"]["method"] == "SENSE by conjugate gradients"
    np.testing.assert_allclose(image.affine, cartesian_volume.affine)
    inside = np.abs(cartesian_volume.pixels[0]) > 0.2 * np.abs(cartesian_volume.pixels[0]).max()
    assert nrmse(np.abs(image.pixels[0])[inside], np.abs(cartesian_volume.pixels[0])[inside]) < 0.12


def test_a_stack_that_lies_oblique_is_the_same_stack():
    rows = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.2, 1.0, -0.3], [-0.1, 0.3, 1.0]]))[0]
    rows = rows * np.sign(np.linalg.det(rows))
    raw, turned = stack(20, n_rx=1), stack(20, n_rx=1, directions=tuple(map(tuple, rows)))
    turned = replace(turned, samples=raw.samples)  # the object turned with it
    assert nrmse(reconstruct(turned).pixels, reconstruct(raw).pixels) < 1e-3


def test_a_stack_turned_from_partition_to_partition_is_solved_as_a_volume(cartesian_volume):
    image = reconstruct(stack(48, turned=True), method="sense")
    inside = np.abs(cartesian_volume.pixels[0]) > 0.2 * np.abs(cartesian_volume.pixels[0]).max()
    assert nrmse(np.abs(image.pixels[0])[inside], np.abs(cartesian_volume.pixels[0])[inside]) < 0.2


def test_partitions_that_were_left_out_are_told():
    raw = stack(20)
    keep = raw.labels["PAR"] > 1
    raw = raw.only(keep)
    notes = reconstruct(raw).provenance["reconstruction"]["notes"]
    assert any("2 of 12 partitions were not measured" in note for note in notes)


# ---- off-resonance

ISLANDS = (  # disjoint boxes, each with a frequency of its own, Hz
    (((-0.05, 0.01, 0.0), (0.05, 0.12, 1.0), 1.0), 120.0),
    (((0.05, -0.02, 0.0), (0.06, 0.08, 1.0), 0.8), -60.0),
)


def spiral(*, te=(0.003, 0.004), duration=0.009, arms=8, off=1.0, receivers=None):
    """Two echoes of an even spiral over the islands, off resonance times `off`."""
    receivers = receivers or ring(6)
    n = int(1.3 * np.pi * N * N / 2 / arms)
    part = np.sqrt((np.arange(n) + 0.5) / n)  # even density
    turns = N / 2 / arms * part
    k = np.zeros((arms, n, 3))
    for i in range(arms):
        phase = 2 * np.pi * (turns + i / arms)
        k[i, :, 0], k[i, :, 1] = N / 2 / FOV * part * np.cos(phase), N / 2 / FOV * part * np.sin(phase)
    dwell = duration / n
    raws = []
    for echo in te:
        total = 0
        for box, frequency in ISLANDS:
            time = echo + np.arange(n) * dwell
            total = (
                total + signal(k, receivers, boxes=(box,)) * np.exp(-2j * np.pi * off * frequency * time)[None, :, None]
            )
        raws.append(total)
    header = replace(HEADER, trajectory="spiral", te=te)
    k = np.tile(k, (len(te), 1, 1))
    raw = raw_of(
        np.concatenate(raws), k, header, LIN=np.tile(np.arange(arms), len(te)), ECO=np.repeat(np.arange(len(te)), arms)
    )
    return replace(raw, dwell=np.full(len(k), dwell), center_sample=np.zeros(len(k), np.int32))


def test_two_echoes_of_a_spiral_tell_the_off_resonance_that_blurs_it():
    sharp = reconstruct(spiral(off=0.0))
    assert "off_resonance" not in sharp.maps
    blurred = reconstruct(spiral(te=(0.003,)))
    mended = reconstruct(spiral())
    truth = np.abs(sharp.pixels[0])
    assert nrmse(np.abs(mended.pixels[0]), truth) < 0.35 * nrmse(np.abs(blurred.pixels[0]), truth)
    y, x = np.meshgrid((np.arange(N) - N // 2) / N * FOV, (np.arange(N) - N // 2) / N * FOV, indexing="ij")
    for (middle, size, _), frequency in ISLANDS:
        core = (np.abs(x - middle[0]) < 0.3 * size[0]) & (np.abs(y - middle[1]) < 0.3 * size[1])
        assert mended.maps["off_resonance"][0][core].mean() == pytest.approx(frequency, abs=6)

    lines = fit_lines(mended)
    assert any("from two echoes" in line for line in lines) and any(
        "times as much of k-space" in line for line in lines
    )
    assert "off-resonance (Hz)" in [panel.get_title() for panel in fit_figure(mended).axes]


def test_the_phase_of_each_echo_survives_the_correction():
    """Images stay those at their te: between echoes each island turns by its own frequency."""
    image = reconstruct(spiral())
    y, x = np.meshgrid((np.arange(N) - N // 2) / N * FOV, (np.arange(N) - N // 2) / N * FOV, indexing="ij")
    for (middle, size, _), frequency in ISLANDS:
        core = (np.abs(x - middle[0]) < 0.3 * size[0]) & (np.abs(y - middle[1]) < 0.3 * size[1])
        turned = np.angle(np.mean(image.pixels[1, 0][core] * np.conj(image.pixels[0, 0][core]))) / (2 * np.pi * 0.001)
        assert -turned == pytest.approx(frequency, abs=8)


# ---- maps


def test_calibrated_maps_are_those_that_reconstruct_finds(full):
    raw = radial(40)
    maps = calibrate(raw, crop=0.5)
    assert maps.sensitivity.shape == (1, 8, 1, N, N)
    assert nrmse(reconstruct(raw, method="cs", maps=maps).pixels, reconstruct(raw, method="cs").pixels) < 1e-3
    assert calibrate(stack(20), sets=2).sensitivity.shape == (2, 6, 12, 40, 40)


def test_the_fully_sampled_centre_ends_where_spokes_part():
    """Neighbouring spokes are a step of the field of view apart at n / pi steps from the centre."""
    for n in (20, 50, 80):
        k = spoke_k(np.pi * np.arange(n) / n)[..., :2].reshape(-1, 2) * FOV / N
        assert full_radius(gridded(np.clip(k, -0.5, 0.5), (N, N))) == pytest.approx(n / np.pi, rel=0.3)


def test_the_noise_of_the_gridded_centre_is_foretold():
    rng = np.random.default_rng(0)
    grid = gridded(np.clip(spoke_k(GOLDEN * np.arange(60))[..., :2].reshape(-1, 2) * FOV / N, -0.5, 0.5), (N, N))
    white = (rng.normal(size=(40, len(grid.weights))) + 1j * rng.normal(size=(40, len(grid.weights)))) / np.sqrt(2)
    assert np.std(centre(grid, white.astype(np.complex64), 8)) == pytest.approx(noise_of_centre(grid, 8), rel=0.2)


# ---- refusals


def changed(raw, change):
    k = raw.k.copy()
    change(k)
    return replace(raw, k=k)


def leaves_the_plane(k):
    k[..., 2] = 0.6 * k[..., 0]


def runs_along_a_line(k):
    k[..., 1] = 0


def in_radians(k):
    k *= 2 * np.pi


def not_a_number(k):
    k[3, 17, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (leaves_the_plane, r"the header says 2D, but k reaches .* along the slice"),
        (runs_along_a_line, "does not move along phase"),
        (
            in_radians,
            r"% of the samples lie beyond the resolution of matrix 64 x 64 .* units of the trajectory, or give",
        ),
        (not_a_number, "the trajectory of readout 3 is not finite"),
    ],
)
def test_trajectories_that_cannot_be_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        reconstruct(changed(radial(40), change), method="cs")


def test_a_volume_that_stays_in_a_plane_is_refused():
    raw = replace(radial(40), header=replace(HEADER, matrix=(N, N, 8), fov=(FOV, FOV, 0.1), dimensions=3))
    with pytest.raises(InputError, match="does not move along partition"):
        reconstruct(raw)


@pytest.mark.parametrize("method", ["sense", "cs"])
def test_a_centre_that_tells_no_receivers_is_refused(method):
    raw = radial(40)
    holed = raw.k[0, :, :2] @ raw.k[0, :, :2].T
    distance = np.sqrt(np.diag(holed)) * FOV
    keep = distance > 5
    holed = replace(
        raw, samples=raw.samples[..., keep], k=raw.k[:, keep], n_samples=np.full(40, keep.sum(), np.int32),
        center_sample=np.zeros(40, np.int32),
    )  # fmt: skip
    with pytest.raises(InputError, match=r"slice SLC=0: the centre of k-space is fully sampled up to .* 8 receivers"):
        reconstruct(holed, method=method)


def test_what_a_trajectory_cannot_have_is_refused():
    raw = radial(40)
    with pytest.raises(InputError, match="not a set of parallel lines"):
        reconstruct(raw, method="grappa")
    with pytest.raises(InputError, match="needs several frames"):
        reconstruct(raw, method="low-rank")
    with pytest.raises(InputError, match="along_readout needs Cartesian lines"):
        reconstruct(raw, method="cs", coils=4, along_readout=True)
    maps = calibrate(raw)
    with pytest.raises(InputError, match="the data need"):
        reconstruct(raw, method="cs", maps=replace(maps, sensitivity=maps.sensitivity[..., :-2]))
    with pytest.raises(InputError, match="zero everywhere"):
        reconstruct(raw, method="cs", maps=replace(maps, sensitivity=0 * maps.sensitivity))
    with pytest.raises(InputError, match="NaN"):
        reconstruct(raw, method="cs", maps=replace(maps, sensitivity=np.nan * maps.sensitivity))
    with pytest.raises(UnsupportedError, match="leave out maps="):
        calibrate(stack(20, turned=True))


def test_a_problem_larger_than_the_machine_is_refused_before_work(monkeypatch):
    monkeypatch.setattr("lauterbur.recon.checks.memory_of_machine", lambda: 1e6)
    with pytest.raises(ResourceError, match=r"receivers needs about .* GiB .* compress"):
        reconstruct(radial(40), method="sense")


def test_a_frame_without_a_slice_is_named():
    frame = (np.arange(40) >= 20).astype(int)
    raw = radial(40, SLC=frame, REP=frame)
    with pytest.raises(InputError, match=r"frame .*REP.* has no readouts of slice"):
        reconstruct(raw, method="sense")
