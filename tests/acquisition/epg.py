"""An extended phase graph for instantaneous pulses (Weigel, J Magn Reson Imaging 41:266, 2015), written for the tests.

States F+ (k), F- (k), Z (k), k = 0, 1, 2 ... turns of dephasing per unit gradient. Our sense of rotation: a pulse of flip a
and phase p about the axis (cos p, sin p) turns M clockwise about it, that is M -> rotation by -a.
"""

from __future__ import annotations

import numpy as np


class PhaseGraph:
    def __init__(self, n_states: int):
        self.f_plus, self.f_minus, self.z = (np.zeros(n_states, complex) for _ in range(3))
        self.z[0] = 1.0

    def pulse(self, flip: float, phase: float) -> None:
        """phase in our sense: b = |b| exp(i phase)."""
        a, p = -flip, phase
        c, s, u = np.cos(a / 2) ** 2, np.sin(a / 2) ** 2, np.exp(1j * p)
        f_plus = c * self.f_plus + u**2 * s * self.f_minus - 1j * u * np.sin(a) * self.z
        f_minus = np.conj(u) ** 2 * s * self.f_plus + c * self.f_minus + 1j * np.conj(u) * np.sin(a) * self.z
        z = -0.5j * np.conj(u) * np.sin(a) * self.f_plus + 0.5j * u * np.sin(a) * self.f_minus + np.cos(a) * self.z
        self.f_plus, self.f_minus, self.z = f_plus, f_minus, z

    def relax(self, time: float, t1: float, t2: float) -> None:
        self.f_plus *= np.exp(-time / t2)
        self.f_minus *= np.exp(-time / t2)
        self.z *= np.exp(-time / t1)
        self.z[0] += 1 - np.exp(-time / t1)

    def shift(self) -> None:
        """One unit of gradient: F+ moves up, F- (the conjugate of negative states) moves down."""
        self.f_plus[1:] = self.f_plus[:-1].copy()
        self.f_minus[:-1] = self.f_minus[1:].copy()
        self.f_minus[-1] = 0
        self.f_plus[0] = np.conj(self.f_minus[0])
