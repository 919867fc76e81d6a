"""Constants, and the words people type. Everything inside is SI; these factors stand where people read or write.

The signs of the whole product are drawn here, once:

    B0 along +z (patient: x to the left, y to the back, z to the head; DICOM's axes).
    A spin precesses as  M_xy(t) = M_xy(0) exp(-2 pi i (f t + k(t).r)),  k = gamma-bar * integral G dt,
    with f its off-resonance in Hz: positive f adds to G.r in the same sense.

              y                     RF along +x (phase 0) turns M_z towards +y:
              ^   .-> M(0)            dM_xy/dt = -2 pi i f M_xy + 2 pi i b M_z
              |  /                    dM_z/dt  = -2 pi Im(M_xy conj(b)),   b = gamma-bar B1+ in Hz, complex
              | /  ) turns
              |/  v  clockwise      RF phasors are peak values with exp(-i w t): b1_plus = (Bx + i By)/2,
              +-----> x             so b rotates clockwise too when its frequency is above the Larmor frequency.

Pulseq writes phases in the opposite sense (exp(+i phase), frequency offset positive = higher frequency);
`program.b1` is the one place that turns a Pulseq phase into b, `program.receiver_phase` the one for ADC phases.
"""

import math

GAMMA_BAR = 42.577478518e6  # Hz/T, proton gyromagnetic ratio over 2 pi (CODATA 2018)
BOLTZMANN = 1.380649e-23  # J/K, exact (SI 2019)
HBAR = 1.054571817e-34  # J s (SI 2019)
MU_0 = 1.25663706212e-6  # H/m (CODATA 2018)
EPSILON_0 = 8.8541878128e-12  # F/m (CODATA 2018)

mm = 1e-3
cm = 1e-2
ms = 1e-3
us = 1e-6
kHz = 1e3
MHz = 1e6
mT_per_m = 1e-3  # T/m
deg = math.pi / 180
ppm = 1e-6
