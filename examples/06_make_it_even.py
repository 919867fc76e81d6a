"""Shimming on plain arrays: somebody's maps of eight channels, weights and kT-points that make the flip angle even."""

# %% Maps as a mapping scan might give them: waves of 16 cm from eight lines around a ball
import numpy as np

import lauterbur as lb
from lauterbur.shim.composite import plan_train
from lauterbur.units import deg, mm, ms

step, n = 8 * mm, 24
axis = (np.arange(n) - n / 2) * step
z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
ball = x**2 + y**2 + z**2 < (75 * mm) ** 2
b1 = []
for turn in 2 * np.pi * np.arange(8) / 8:
    away = np.hypot(x - 0.14 * np.cos(turn), y - 0.14 * np.sin(turn))
    b1.append(2e-8 * np.exp(1j * (2 * np.pi * away / 0.16 + turn)) / away)
affine = np.diag([step, step, step, 1.0])
affine[:3, 3] = axis[0]
fields = lb.FieldMaps(
    affine=affine,
    off_resonance=np.zeros(ball.shape, np.float32),
    b1_plus=(np.array(b1) * ball).astype(np.complex64),
    b1_minus=np.zeros((0, *ball.shape), np.complex64),
    noise_resistance=np.zeros((0, 0), complex),
    density=np.float32(1000) * ball,
)

# %% Phases aligned, phases free, phases and magnitudes free
for mode in ("cp", "phase", "mls"):
    print(f"{mode:10s} {100 * lb.design_shim(fields, mode=mode).promised['variation']:5.1f} % variation of |B1+|")

# %% kT-points: short pulses with steps through k-space between them
scanner = lb.load_scanner("5T")
for points in (2, 3, 5):
    plan = plan_train(scanner, flip_angle=10 * deg, tr=20 * ms, n_points=points)
    shim = lb.design_shim(fields, mode="kt-points", plan=plan)
    print(f"{points} points   {100 * shim.promised['flip-angle variation']:5.1f} % variation of the flip angle")
