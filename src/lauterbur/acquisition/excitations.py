"""What was excited, and when: the slice, angle and time of every excitation, and which readouts listen to it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.trajectory import flip_angle, pulse_uses
from lauterbur.program import Column, Float, Program, RfPulse, adc_blocks, block_starts, rf_steps

_INVERTS = np.deg2rad(150)  # less is a saturation
_WIDEST = 0.5  # m: a "slice" thicker than this selects nothing


@dataclass(frozen=True, eq=False)
class Excitations:
    time: Float  # s, (excitation,), of the effective centre
    flip_angle: Float  # rad, (excitation,), nominal
    normal: Float  # (excitation, 3) unit vector along the selection gradient, 0 where nothing is selected
    position: Float  # m, (excitation, 3), centre of what is selected
    thickness: Float  # m, (excitation,), full width at half maximum for a small angle; NaN where nothing is selected
    since_inversion: Float  # s, (excitation,); NaN before any inversion
    inversions: Float  # s, times of the inversions
    of_readout: NDArray[np.intp]  # (readout,) which excitation; -1 before the first
    pulses_before: NDArray[np.intp]  # (readout,) how many pulses of any use were played before it


def excitations(program: Program, *, larmor_frequency: float = 0.0) -> Excitations:
    i_rf = program.blocks[:, Column.RF]
    starts = block_starts(program)
    uses = pulse_uses(program)
    pulsed, listening = np.flatnonzero(i_rf >= 0), adc_blocks(program)
    exciting = np.array([b for b in pulsed if uses[i_rf[b]] == "excitation"], np.intp)

    selected: dict[tuple[int, ...], tuple[Float, Float, float]] = {}
    angles: dict[int, float] = {}
    shapes: dict[Hashable, int] = {}
    widths: dict[Hashable, float] = {}  # Hz
    rows = []
    for b in exciting:
        pulse = program.rf[i_rf[b]]
        shape = shapes.setdefault(_content(pulse), len(shapes))
        key = (shape, *program.blocks[b, [Column.GX, Column.GY, Column.GZ, Column.ROTATION]].tolist())
        if key not in selected:
            form = (pulse.waveform.tobytes(), pulse.time.tobytes(), pulse.duration)
            if form not in widths:
                widths[form] = _bandwidth(pulse)
            selected[key] = _selection(program, int(b), pulse, widths[form], larmor_frequency)
        if shape not in angles:
            angles[shape] = flip_angle(pulse)
        rows.append((starts[b] + pulse.delay + pulse.center, angles[shape], *selected[key]))

    inversions = np.array([starts[b] + _center(program, b) for b in _inversions(program, uses, pulsed, listening)])
    time = np.array([r[0] for r in rows])
    last = np.searchsorted(inversions, time) - 1
    since = np.where(last >= 0, time - inversions[last], np.nan) if len(inversions) else np.full(len(time), np.nan)
    return Excitations(
        time,
        np.array([r[1] for r in rows]),
        np.array([r[2] for r in rows]).reshape(-1, 3),
        np.array([r[3] for r in rows]).reshape(-1, 3),
        np.array([r[4] for r in rows]),
        since,
        inversions,
        np.searchsorted(exciting, listening, side="right") - 1,
        np.searchsorted(pulsed, listening, side="right"),
    )


def _content(pulse: RfPulse) -> Hashable:
    """What tells pulses apart but for their phases."""
    waveform, time = np.ascontiguousarray(pulse.waveform), np.ascontiguousarray(pulse.time)
    return (waveform.tobytes(), time.tobytes(), pulse.delay, pulse.center, pulse.frequency_offset, pulse.frequency_ppm)


def _center(program: Program, block: int) -> float:
    pulse = program.rf[program.blocks[block, Column.RF]]
    return pulse.delay + pulse.center


def _selection(
    program: Program, block: int, pulse: RfPulse, bandwidth: float, larmor_frequency: float
) -> tuple[Float, Float, float]:
    """Unit normal, centre (m) and thickness (m) of what a pulse selects: gamma-bar G.r = frequency offset."""
    g = np.zeros(3)
    for axis, i in enumerate(program.blocks[block, Column.GX : Column.GZ + 1]):
        if i >= 0 and len(program.gradients[i].time):
            own, middle = program.gradients[i], pulse.delay + pulse.center
            g[axis] = np.interp(middle - own.delay, own.time, own.waveform, left=0.0, right=0.0)
    turn = program.blocks[block, Column.ROTATION]
    g = program.rotations[turn] @ g if turn >= 0 else g
    strength = float(np.linalg.norm(g))
    if not strength > 0:
        return np.zeros(3), np.zeros(3), np.nan
    thickness = bandwidth / strength
    if not thickness <= _WIDEST:
        return np.zeros(3), np.zeros(3), np.nan
    offset = pulse.frequency_offset + pulse.frequency_ppm * 1e-6 * larmor_frequency
    return g / strength, g * offset / strength**2, thickness


def _bandwidth(pulse: RfPulse) -> float:
    """Hz, full width at half maximum of the pulse's spectrum (the small-angle slice profile)."""
    lengths, values = rf_steps(pulse)
    if not np.any(values):
        return np.inf
    step = pulse.duration / 1024
    held = values[np.minimum(np.searchsorted(np.cumsum(lengths), (np.arange(1024) + 0.5) * step), len(values) - 1)]
    spectrum = np.fft.fftshift(np.abs(np.fft.fft(held, 32768)))
    above = np.flatnonzero(spectrum >= spectrum.max() / 2)
    return float(above[-1] - above[0] + 1) / (32768 * step)


def _inversions(program: Program, uses: list[str], pulsed: NDArray[np.intp], listening: NDArray[np.intp]) -> list[int]:
    """Blocks that invert: pulses that say so, and those of unknown use that turn far enough with nothing listening
    before the next excitation."""
    found = []
    i_rf = program.blocks[:, Column.RF]
    for b, after in zip(pulsed, np.append(pulsed[1:], -1)[: len(pulsed)], strict=True):
        if uses[i_rf[b]] == "inversion":
            found.append(int(b))
        elif program.rf[i_rf[b]].use in ("undefined", "") and after >= 0 and flip_angle(program.rf[i_rf[b]]) > _INVERTS:
            heard = np.searchsorted(listening, after) > np.searchsorted(listening, b)
            if uses[i_rf[after]] == "excitation" and not heard:
                found.append(int(b))
    return found
