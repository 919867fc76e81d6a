"""One excitation's blocks rewritten as a train: pulses with their weights, steps in between, and what rephases.

kT-points   block j: a step in the dead time, the hard pulse, ringdown; a last block rephases
spokes      block j: the program's own selective block; between them blocks that wind the selection back and step
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, UnsupportedError
from lauterbur.program import Column, Gradient, Program, RfPulse, gradient_points, rf_steps
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.composite import TrainPlan, largest_area, plan_train, slew_and_amplitude, step_window, up
from lauterbur.shim.pulse import CompositePulse
from lauterbur.shim.shim import Shim

Float = NDArray[np.float64]
NEGLIGIBLE = 1e-5  # 1/m: an area that turns no phase by a hundred-thousandth of a turn in any body
SPOKE_STEP = 12.0  # 1/m, per axis, that a spoke's rewinder leaves room for
TIMES = 2e-9  # s, rounding


@dataclass(frozen=True)
class Piece:
    """One block of a train; indices into the program's events."""

    rf: int
    gradients: tuple[int, int, int]
    rotation: int
    shim: int  # row of pulse.weights, all slices one after the other; -1 none
    duration: float  # s
    later: float = 0.0  # s, how much later than before the train's middle is followed by what comes next (first piece)


def excitation_angle(pulse: RfPulse, raster: float) -> complex:
    """rad: its size is the nominal flip angle on resonance, its phase that of the pulse."""
    lengths, values = rf_steps(pulse, raster)
    return complex(2 * np.pi * np.sum(lengths * values))


@dataclass(frozen=True, eq=False)
class Excitation:
    """A block that excites, on its machine, and the lists that new events go into."""

    program: Program
    block: int
    scanner: Scanner
    rf: list[RfPulse]
    gradients: list[Gradient]

    @property
    def pulse(self) -> RfPulse:
        return self.program.rf[self.program.blocks[self.block, Column.RF]]

    @property
    def where(self) -> str:
        return f"block {self.block + 1}"


def train_pieces(
    program: Program, block: int, shim: Shim, i: int, scanner: Scanner, rf: list[RfPulse], gradients: list[Gradient]
) -> list[Piece]:
    """Adds new events to `rf` and `gradients`; i: the slice."""
    pulse = shim.pulse
    assert pulse is not None
    old = Excitation(program, block, scanner, rf, gradients)
    angle = excitation_angle(old.pulse, program.rasters.rf)
    is_small = abs(angle) <= 0.35 and pulse.flip_angle <= 0.35
    if not (abs(abs(angle) - pulse.flip_angle) <= 0.02 * pulse.flip_angle or is_small):
        raise InputError(
            f"{old.where} turns by {np.degrees(abs(angle)):.4g} deg; the {pulse.kind} were designed for "
            f"{np.degrees(pulse.flip_angle):.4g} deg, and large angles do not scale: design them for this program (plan_of)"
        )
    pieces, middle = (_points if pulse.kind == "kt-points" else _spokes)(old, pulse, i)
    if np.any(np.abs(pulse.rephasing[i]) > NEGLIGIBLE):
        wait = up(_window_for(pulse.rephasing[i], scanner), scanner.spectrometer.block_raster)
        pieces.append(Piece(-1, _lobes(pulse.rephasing[i], wait, scanner, gradients), -1, -1, wait))
    after = sum(p.duration for p in pieces) - middle
    before = float(program.durations[block]) - old.pulse.delay - old.pulse.center
    return [replace(pieces[0], later=after - before), *pieces[1:]]


def _points(old: Excitation, pulse: CompositePulse, i: int) -> tuple[list[Piece], float]:
    """The blocks but for the rephasing one, and the train's middle, s from their start."""
    program, scanner = old.program, old.scanner
    during = _moment(program, old.block)
    if np.any(np.abs(during) > NEGLIGIBLE) or abs(old.pulse.frequency_offset) > 1e-6:
        raise UnsupportedError(
            f"{old.where} excites selectively (gradient or frequency offset), and kT-points excite everything; design "
            "spokes for slices, or choose a protocol without a slab"
        )
    window, tx = step_window(scanner), scanner.transmit
    length = up(window + pulse.duration + tx.ringdown_time, scanner.spectrometer.block_raster)
    n_samples = round(pulse.duration / program.rasters.rf)
    if abs(length - pulse.duration - pulse.gap) > TIMES or abs(n_samples * program.rasters.rf - pulse.duration) > TIMES:
        raise InputError(
            f"these kT-points were designed for pulses of {pulse.duration * 1e6:g} us and gaps of {pulse.gap * 1e6:g} us; on "
            f"{scanner.name} the gap is {(length - pulse.duration) * 1e6:g} us: design them for this machine (plan_train)"
        )
    n = pulse.n_points
    before = -(pulse.steps[i].sum(axis=0) + pulse.rephasing[i])  # nothing is excited yet: the train's area becomes zero
    lead = window
    while np.any(np.abs(before) > largest_area(lead, scanner)):
        lead += 2 * scanner.gradients.raster
    angle = excitation_angle(old.pulse, program.rasters.rf)
    waveform = np.full(n_samples, angle / (2 * np.pi * n * pulse.duration), complex)
    time = np.asarray((np.arange(n_samples) + 0.5) * program.rasters.rf, float)
    new = replace(
        old.pulse,
        waveform=waveform,
        time=time,
        duration=pulse.duration,
        center=pulse.duration / 2,
        delay=window,
        is_stepped=True,
    )
    first = replace(new, delay=lead)
    indices = [_added(old.rf, first), _added(old.rf, new)]

    pieces = []
    areas = [before, *pulse.steps[i]]
    for j, area in enumerate(areas):
        moves = _lobes(area, lead if j == 0 else window, scanner, old.gradients)
        whole = length if j else up(lead + pulse.duration + tx.ringdown_time, scanner.spectrometer.block_raster)
        pieces.append(Piece(indices[min(j, 1)], moves, -1, i * n + j, whole))
    return pieces, lead + (n * pulse.duration + (n - 1) * pulse.gap) / 2


def _spokes(old: Excitation, pulse: CompositePulse, i: int) -> tuple[list[Piece], float]:
    """As `_points`."""
    program, scanner, block = old.program, old.scanner, old.block
    row = program.blocks[block]
    window = spoke_window(program, block, scanner)
    length, duration = old.pulse.duration, float(program.durations[block])
    if abs(duration + window - length - pulse.gap) > TIMES or abs(length - pulse.duration) > TIMES:
        raise InputError(
            f"these spokes were designed for pulses of {pulse.duration * 1e6:g} us, {pulse.gap * 1e6:g} us apart; {old.where} "
            f"has {length * 1e6:g} and {(duration + window - length) * 1e6:g}: design them for this program"
        )
    n = pulse.n_points
    selected = _areas(program, block)
    played = (int(row[Column.GX]), int(row[Column.GY]), int(row[Column.GZ]))
    part = _added(old.rf, replace(old.pulse, waveform=old.pulse.waveform / n))
    pieces = []
    for j in range(n):
        pieces.append(Piece(part, played, int(row[Column.ROTATION]), i * n + j, duration))
        if j < n - 1:
            moves = _lobes(pulse.steps[i][j] - selected, window, scanner, old.gradients)
            pieces.append(Piece(-1, moves, -1, -1, window))
    return pieces, old.pulse.delay + old.pulse.center + (n - 1) * (duration + window) / 2


def plan_of(
    program: Program, scanner: Scanner, *, mode: str, n_points: int = 5, duration: float = 150e-6, share: float = 1.0
) -> TrainPlan:
    """A train for this program's excitations on this machine: their angle and repetition, and the time between pulses."""
    uses = np.array([p.use == "excitation" for p in program.rf] + [False])
    blocks = np.flatnonzero(uses[program.blocks[:, Column.RF]])
    if not len(blocks):
        raise InputError("this program has no excitation to plan for")
    old = program.rf[program.blocks[blocks[0], Column.RF]]
    lengths, values = rf_steps(old, program.rasters.rf)
    angle = float(abs(excitation_angle(old, program.rasters.rf)))
    mean_tr = float(program.durations.sum()) / len(blocks)
    if mode != "spokes":
        return plan_train(scanner, flip_angle=angle, tr=mean_tr, n_points=n_points, duration=duration, share=share)
    mean = abs(np.sum(lengths * values)) / old.duration
    gap = float(program.durations[blocks[0]]) + spoke_window(program, int(blocks[0]), scanner) - old.duration
    return TrainPlan(
        angle,
        mean_tr,
        n_points,
        old.duration,
        gap,
        SPOKE_STEP,
        share=share,
        peak_ratio=float(np.max(np.abs(values)) / mean),
        energy_ratio=float(np.sum(lengths * np.abs(values) ** 2) / old.duration / mean**2),
    )


def spoke_window(program: Program, block: int, scanner: Scanner) -> float:
    """s: how long the selection takes to be wound back, with room for a step."""
    most = np.abs(_areas(program, block)) + SPOKE_STEP
    return up(_window_for(most, scanner, is_gentle=True), scanner.spectrometer.block_raster)


def _window_for(area: Float, scanner: Scanner, *, is_gentle: bool = False) -> float:
    raster = 2 * scanner.gradients.raster
    window = raster * 2
    while np.any(np.abs(area) > largest_area(window, scanner, is_gentle=is_gentle)):
        window += raster
    return window


def _lobes(area: Float, window: float, scanner: Scanner, gradients: list[Gradient]) -> tuple[int, int, int]:
    """Trapezoids of these areas (x, y, z) that fill the window, and their indices."""
    slew, amplitude = slew_and_amplitude(scanner)
    raster = scanner.gradients.raster
    found = []
    for size in area:
        if abs(size) <= NEGLIGIBLE:
            found.append(-1)
            continue
        rises = raster * np.arange(1, int(window / 2 / raster + 1e-6) + 1)
        peak = abs(size) / (window - rises)
        fits = rises[(peak <= amplitude) & (peak <= slew * rises * (1 + 1e-9))]
        if not len(fits):
            most = largest_area(window, scanner)
            raise InputError(
                f"a step of {abs(size):.4g} 1/m does not fit in {window * 1e6:.0f} us on {scanner.name}; at most {most:.4g} 1/m"
            )
        rise = float(fits[-1])
        flat = window - 2 * rise
        top = size / (window - rise)
        is_flat = flat > TIMES
        time = [0.0, rise, rise + flat, window] if is_flat else [0.0, rise, window]
        values = [0.0, top, top, 0.0] if is_flat else [0.0, top, 0.0]
        gradients.append(Gradient(np.round(time, 9), np.array(values)))
        found.append(len(gradients) - 1)
    return found[0], found[1], found[2]


def _areas(program: Program, block: int) -> Float:
    """1/m (3,), of the block's gradients, rotation included."""
    row = program.blocks[block]
    turn = program.rotations[row[Column.ROTATION]] if row[Column.ROTATION] >= 0 else np.eye(3)
    played = [program.gradients[g] if g >= 0 else None for g in row[Column.GX : Column.GZ + 1]]
    return np.asarray(turn @ [0.0 if g is None else np.trapezoid(g.waveform, g.time) for g in played])


def _moment(program: Program, block: int) -> Float:
    """1/m (3,): area of the magnitude of the gradients during the pulse."""
    pulse = program.rf[program.blocks[block, Column.RF]]
    time, values = gradient_points(program, block)
    fine = np.linspace(pulse.delay, pulse.delay + pulse.duration, 101)
    return np.array([np.trapezoid(np.abs(np.interp(fine, time, values[:, a])), fine) for a in range(3)])


def _added(pool: list[RfPulse], event: RfPulse) -> int:
    pool.append(event)
    return len(pool) - 1
