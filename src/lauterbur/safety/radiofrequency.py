"""What the transmitter can do: peak B1, power per channel, mean power, pulse length. What it does to the patient is SAR.

Power needs to know how many watts make one nominal hertz. A prescan finds that (`Program.reference_drive`); without
it the profile's own scale is taken: all channels at peak power make peak B1.
"""

from __future__ import annotations

import numpy as np

from lauterbur.findings import Finding
from lauterbur.program import Column, Program, RfPulse
from lauterbur.safety.worst import largest, place, settle, worst_window
from lauterbur.scanner.machine import Scanner
from lauterbur.units import GAMMA_BAR

POWER_WINDOW = 10.0  # s, over which the amplifiers' mean power is taken


def _peak(pulse: RfPulse) -> float:
    return float(np.max(np.abs(pulse.waveform), initial=0.0))  # Hz


def _energy(pulse: RfPulse) -> float:
    """Integral of |b1|^2, Hz2 s."""
    w = pulse.waveform
    if pulse.is_stepped:
        return float(np.sum(np.abs(w) ** 2) * pulse.duration / max(len(w), 1))
    a, b = w[:-1], w[1:]
    return float(np.sum(np.diff(pulse.time) * (np.abs(a) ** 2 + (a * np.conj(b)).real + np.abs(b) ** 2)) / 3)


def radiofrequency_findings(program: Program, scanner: Scanner) -> list[Finding]:
    played = np.flatnonzero(program.blocks[:, Column.RF] >= 0)
    if not len(played):
        return []
    tx = scanner.transmit
    pulse, shim = program.blocks[played, Column.RF], program.blocks[played, Column.SHIM]
    weight = np.append(np.max(np.abs(program.shims), axis=1, initial=0.0), 1.0)[shim]  # the last: all channels alike
    total = np.append(np.sum(np.abs(program.shims) ** 2, axis=1), float(tx.channels))[shim]

    peak = np.array([_peak(p) for p in program.rf])[pulse] * weight / GAMMA_BAR  # T
    length = np.array([p.duration for p in program.rf])[pulse]
    i, j = largest(peak), largest(length)
    found = [
        Finding(
            "RF peak B1",
            settle(float(peak[i]), tx.peak_b1),
            tx.peak_b1,
            "T",
            f"{scanner.name} profile: nominal, all channels together",
            place(program, int(played[i])),
            "lengthen the pulse or lower its flip angle",
        ),
        Finding(
            "RF pulse length",
            float(length[j]),
            tx.max_duration,
            "s",
            f"{scanner.name} profile",
            place(program, int(played[j])),
            "shorten the pulse",
        ),
    ]

    drive = program.reference_drive
    scale = "by the prescan's reference drive"
    if drive is None:
        drive = np.sqrt(tx.peak_power) / (GAMMA_BAR * tx.peak_b1)
        scale = "estimated: all channels at peak power make peak B1"
    watts = (drive * peak * GAMMA_BAR) ** 2
    k = largest(watts)
    energy = np.array([_energy(p) for p in program.rf])[pulse] * total * drive**2
    per_block = np.zeros(program.n_blocks)
    per_block[played] = energy
    mean, where = worst_window(program, per_block, POWER_WINDOW)
    found += [
        Finding(
            "RF peak power per channel",
            settle(float(watts[k]), tx.peak_power),
            tx.peak_power,
            "W",
            f"{scanner.name} profile; {scale}",
            place(program, int(played[k])),
            "lengthen the pulse or lower its flip angle",
        ),
        Finding(
            "RF mean power",
            mean,
            tx.average_power,
            "W",
            f"{scanner.name} profile, all channels, any {POWER_WINDOW:g} s; {scale}",
            where,
            "lengthen TR, or lower the flip angles",
        ),
    ]
    if len(program.shims):
        found.append(
            Finding(
                "transmit channels addressed",
                float(program.shims.shape[1]),
                float(tx.channels),
                "",
                f"{scanner.name} profile",
                "",
                "give as many channel weights as the machine has channels",
            )
        )
    return found
