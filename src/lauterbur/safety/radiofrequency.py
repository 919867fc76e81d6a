"""What the transmitter can do: peak B1, peak and mean power, voltage, pulse length, duty. The patient's part is exposure.py.

Power needs to know how many watts make one nominal hertz. A prescan finds that (`Program.reference_drive`); without
it the profile's own scale is taken: all channels at peak power make peak B1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.findings import Finding
from lauterbur.program import Program
from lauterbur.safety.pulses import Pulses, most, pulses
from lauterbur.safety.remedies import cooler, down_to, flip_angle, longer, up_to
from lauterbur.safety.worst import largest, place, settle
from lauterbur.scanner.machine import Scanner
from lauterbur.units import GAMMA_BAR

POWER_WINDOW = 10.0  # s, over which the amplifiers' mean power and duty are taken
PLUG = 50.0  # Ohm, of the lines to the coil; a forward wave a in sqrt(W) has the peak voltage sqrt(2 R) |a|


def channel_weights(program: Program, channels: int) -> NDArray[np.complex128]:
    """(shim + 1, tx), in our sense; the last one, index -1, is that of blocks without a shim: all channels alike."""
    alike = np.ones((1, channels), np.complex128)
    return np.concatenate((np.conj(program.shims), alike)) if len(program.shims) else alike


def radiofrequency_findings(
    program: Program, scanner: Scanner, s_matrix: NDArray[np.complex128] | None = None
) -> list[Finding]:
    """`s_matrix`, (tx, tx): what the coil sends back; None: a matched one."""
    played = pulses(program)
    if not len(played):
        return []
    tx = scanner.transmit
    weights = channel_weights(program, tx.channels)[played.shim]  # (pulse, tx)
    strongest = np.max(np.abs(weights), axis=1)
    drive, scale = program.reference_drive, "by the prescan's reference drive"
    nominal = (
        played.peak / GAMMA_BAR
    )  # T: the mean over the target, whatever the weights; watts and volts judge each channel
    if drive is None:
        nominal = nominal * strongest  # nobody knows what the weights make
        drive = np.sqrt(tx.peak_power) / (GAMMA_BAR * tx.peak_b1)
        scale = "estimated: all channels at peak power make peak B1"
    coil = np.zeros((tx.channels, tx.channels)) if s_matrix is None else np.asarray(s_matrix)
    reflected = np.max(np.abs(weights @ (np.eye(tx.channels) + coil).T), axis=1)

    profile = f"{scanner.name} profile"
    found = [
        _peak(program, played, "RF peak B1", nominal, tx.peak_b1, "T",
              f"{profile}: nominal, all channels together", 1),
        _peak(program, played, "RF pulse length", played.end - played.start, tx.max_duration, "s", profile, 0),
        _peak(program, played, "RF peak power per channel", (drive * played.peak * strongest) ** 2, tx.peak_power, "W",
              f"{profile}; {scale}", 2),
        _peak(program, played, "RF voltage at a plug", np.sqrt(2 * PLUG) * drive * played.peak * reflected,
              tx.peak_voltage, "V", f"{profile}: forward and reflected wave in {PLUG:g} Ohm; {scale}", 1),
    ]  # fmt: skip

    power = np.abs(weights) ** 2 * drive**2  # (pulse, tx): W per Hz2
    within = f"any {POWER_WINDOW:g} s"
    found.append(_mean(program, played, "RF mean power", power.sum(axis=1), tx.average_power, "W",
                       f"{profile}, all channels, {within}; {scale}"))  # fmt: skip
    sums = [most(played, played.energy * power[:, c], POWER_WINDOW)[0] for c in range(tx.channels)]
    hardest = largest(np.array(sums))
    found.append(_mean(program, played, "RF mean power per channel", power[:, hardest], tx.average_power / tx.channels,
                       "W", f"{profile}: an equal share for every channel, {within}; {scale}"))  # fmt: skip
    on, begin = most(played, played.end - played.start, POWER_WINDOW)
    remedy = ""
    if on / POWER_WINDOW > tx.duty_cycle:
        shorter = f"shorten the pulses to {down_to(0.999 * tx.duty_cycle * POWER_WINDOW / on):.3g} of now"
        rest = longer(
            program,
            played.start,
            played.end,
            lambda start, end, _: (
                most(replace(played, start=start, end=end), end - start, POWER_WINDOW)[0] / POWER_WINDOW / tx.duty_cycle
            ),
        )
        remedy = ", or ".join(filter(None, (shorter, rest)))
    found.append(
        Finding(
            "RF duty cycle",
            on / POWER_WINDOW,
            tx.duty_cycle,
            "",
            f"{profile}: share of {within} that pulses fill",
            f"{POWER_WINDOW:g} s from {begin:.4g} s",
            remedy,
        )
    )
    return found


def _peak(
    program: Program,
    played: Pulses,
    quantity: str,
    value: NDArray[np.float64],
    limit: float,
    unit: str,
    rule: str,
    order: int,
) -> Finding:
    """The worst pulse; its value grows as its amplitude to the power `order`, or as its length for 0."""
    i = largest(value)
    worst = settle(float(value[i]), limit)
    remedy = ""
    if worst > limit:
        length, angle = float(played.end[i] - played.start[i]), flip_angle(program.rf[int(played.event[i])])
        if order == 0:
            remedy = f"shorten the pulse from {length * 1e3:.4g} to {down_to(limit) * 1e3:.4g} ms"
        else:
            factor = (worst / limit) ** (1 / order) * 1.001
            remedy = f"lengthen the pulse from {length * 1e3:.4g} to {up_to(length * factor) * 1e3:.4g} ms"
            if angle > 0:
                remedy += f", or lower its flip angle from {angle:.4g} to {down_to(angle / factor):.3g} deg"
    return Finding(quantity, worst, limit, unit, rule, place(program, int(played.block[i])), remedy)


def _mean(
    program: Program,
    played: Pulses,
    quantity: str,
    power: NDArray[np.float64],
    limit: float,
    unit: str,
    rule: str,
) -> Finding:
    """The worst mean of energy times `power`, (pulse,) W per Hz2, over the window."""

    def judge(pulses_: Pulses, _: float) -> float:
        return most(pulses_, pulses_.energy * power, POWER_WINDOW)[0] / POWER_WINDOW / limit

    worst, begin = most(played, played.energy * power, POWER_WINDOW)
    value = worst / POWER_WINDOW
    remedy = cooler(program, played, judge) if np.isfinite(value) and value > limit else ""
    return Finding(quantity, value, limit, unit, rule, f"{POWER_WINDOW:g} s from {begin:.4g} s", remedy)
