"""A spin echo on one spin: build a program by hand, simulate it, and find T2 and T2' in the signal."""

# %% Two pulses and a long listen
import numpy as np

import lauterbur as lb
from lauterbur.program import Adc, Column, RfPulse
from lauterbur.units import ms, us

te, dwell, n = 20 * ms, 20 * us, 1500


def hard_pulse(turns, use):
    """A block pulse of 100 us that turns the magnetisation by so many full turns."""
    duration = 100 * us
    return RfPulse(
        np.full(1, turns / duration, complex), np.array([duration / 2]), duration, 0.0, duration / 2, use=use
    )


blocks = np.full((4, len(Column)), -1, np.int32)
blocks[0, Column.RF] = 0
blocks[2, Column.RF] = 1
blocks[3, Column.ADC] = 0
durations = np.array([100 * us, te / 2 - 100 * us, 100 * us, n * dwell + 1 * ms])
program = lb.Program(
    blocks, durations, (hard_pulse(0.25, "excitation"), hard_pulse(0.5, "refocusing")), (), (Adc(n, dwell),)
)

# %% Play it, with both engines. T2' is a broad line: the reference needs many isochromats to be as good
spins = lb.Spins(position=[[0.0, 0.0, 0.0]], t1=1.0, t2=0.08, t2_prime=0.02, off_resonance=15.0)
signal = lb.simulate(program, spins).samples[0, 0]
judge = lb.simulate(program, spins, engine="reference", spins_per_voxel=8192).samples[0, 0]
apart = np.linalg.norm(signal - judge) / np.linalg.norm(judge)
print(f"fast against reference: {apart:.1e}")
assert apart < 2e-3

# %% The echo stands at TE, as high as T2 says
time = 50 * us + te / 2 + 50 * us + (np.arange(n) + 0.5) * dwell  # from the centre of the excitation
at = int(np.argmax(np.abs(signal)))
print(f"echo at {time[at] * 1e3:.2f} ms, height {np.abs(signal[at]):.4f}; T2 alone would give {np.exp(-te / 0.08):.4f}")
assert abs(time[at] - te) < 0.2 * ms and abs(np.abs(signal[at]) - np.exp(-te / 0.08)) < 0.02
