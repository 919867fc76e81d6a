"""Echo-planar data: ghosts of delays and phase errors, and samples on the ramps."""

import numpy as np
from boxes import HEAD, nrmse, raw_of, signal

from lauterbur.rawdata import Header
from lauterbur.recon.reconstruction import reconstruct

N, FOV = 48, 0.24
FLAT = tuple((c, (*s[:2], 1.0), a) for c, s, a in HEAD)
HEADER = Header(matrix=(N, N, 1), fov=(FOV, FOV, 0.005), trajectory="epi", dimensions=2, slice_thickness=0.005)


def ramp_sampled(n: int) -> np.ndarray:
    """(sample,) k in units of its extent, -1/2 to 1/2: a trapezoid whose ramps are sampled too."""
    t = (np.arange(n) + 0.5) / n
    ramp = 0.2
    speed = np.minimum(1, np.minimum(t, 1 - t) / ramp)
    k = np.cumsum(speed) - 0.5 * speed
    return k / k[-1] - 0.5 - (0.5 / k[-1] - 0.5) / 2 * 0


def played(shape: np.ndarray, *, delay: float = 0.0, phase: float = 0.0, navigators: int = 3, told: bool = False):
    """EPI with alternating readouts; `delay` in samples' k along the motion, `phase` rad on reversed lines.

    The errors are in the signal; k says so only when `told`.
    """
    lines = np.concatenate([np.full(navigators, N // 2), np.arange(N)])
    reverse = np.arange(len(lines)) % 2 == 1
    k = np.zeros((len(lines), len(shape), 3))
    k[..., 0] = np.where(reverse[:, None], -shape, shape)
    k[..., 1] = ((lines - N // 2) / FOV)[:, None]
    true = k.copy()
    true[..., 0] += np.where(reverse, -delay, delay)[:, None] / FOV
    samples = signal(true, boxes=FLAT) * np.exp(1j * phase * reverse)[:, None, None]
    labels = {"LIN": lines, "NAV": (np.arange(len(lines)) < navigators).astype(int), "REV": reverse.astype(int)}
    return raw_of(samples, true if told else k, HEADER, **labels)


UNIFORM = (np.arange(N) - N // 2) / FOV


def test_navigators_remove_the_ghost_of_delay_and_phase():
    clean = reconstruct(played(UNIFORM)).pixels
    ghosted = played(UNIFORM, delay=0.3, phase=0.7)
    fixed = reconstruct(ghosted).pixels
    without = reconstruct(
        raw_of(np.moveaxis(ghosted.samples[3:], 1, -1), ghosted.k[3:], HEADER, LIN=ghosted.labels["LIN"][3:])
    ).pixels
    assert nrmse(np.abs(without), np.abs(clean)) > 0.2
    assert nrmse(np.abs(fixed), np.abs(clean)) < 0.03


def test_a_trajectory_that_tells_its_delays_needs_no_navigators():
    clean = reconstruct(played(UNIFORM, navigators=0)).pixels
    told = reconstruct(played(UNIFORM, delay=0.3, navigators=0, told=True)).pixels
    assert nrmse(told, clean) < 0.03


def test_samples_on_the_ramps_are_regridded():
    shape = ramp_sampled(2 * N) * N / FOV
    assert np.ptp(np.diff(shape)) > 0.2 * np.max(np.diff(shape))
    clean, ramped = reconstruct(played(UNIFORM)).pixels, reconstruct(played(shape)).pixels
    assert ramped.shape == clean.shape
    assert nrmse(ramped, clean) < 0.06


def test_counters_and_rev_alone_turn_reversed_lines_round():
    told = played(UNIFORM)
    labels = {k: v for k, v in told.labels.items() if k != "NAV"}
    some = slice(3, None)
    raw = raw_of(
        np.moveaxis(told.samples[some], 1, -1),
        np.zeros_like(told.k[some]),
        HEADER,
        **{k: v[some] for k, v in labels.items()},
    )
    import dataclasses

    raw = dataclasses.replace(raw, center_sample=told.center_sample[some])
    assert nrmse(reconstruct(raw).pixels, reconstruct(told).pixels) < 1e-3
