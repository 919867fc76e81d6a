"""Moments: what the gradients of single blocks do to phase, and to phase that diffuses, between two times."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from lauterbur.program import Column, Float, Gradient, Program


@dataclass(frozen=True, eq=False)
class Free:
    """Precession without RF: what its gradients do, and what diffusion needs (K is their integral from the start)."""

    duration: float  # s
    k: Float  # 1/m, (3,), K at the end
    k_integral: Float  # s/m, (3,), integral of K
    k_squared: float  # s/m2, integral of |K|^2

    def then(self, other: Free) -> Free:
        return Free(
            self.duration + other.duration,
            self.k + other.k,
            self.k_integral + self.k * other.duration + other.k_integral,
            self.k_squared + float(self.k @ (self.k * other.duration + 2 * other.k_integral)) + other.k_squared,
        )


STILL = Free(0.0, np.zeros(3), np.zeros(3), 0.0)


class Moments:
    """The gradients of single blocks; what one of them does between two times is worked out once.

    Every integral is a sum over axes, and rotations keep |K|: so gradients are integrated one by one and then turned.
    """

    def __init__(self, program: Program, larmor_frequency: float):
        self.program, self.larmor_frequency = program, larmor_frequency
        self.known: dict[Hashable, tuple[Float, Float, Float]] = {}
        first: dict[Hashable, int] = {}
        contents = [(g.time.tobytes(), g.waveform.tobytes(), g.delay) for g in program.gradients]
        self.alike = np.array([first.setdefault(c, i) for i, c in enumerate(contents)] + [-1])  # -1 finds the last

    def integrals(self, block: int, at: Float) -> tuple[Float, Float, Float]:
        """K (n, 3) 1/m, its integral (n, 3) s/m and that of |K|^2 (n,) s/m2, each from at[0] to every one of `at`."""
        row = self.program.blocks[block]
        k, k_integral, k_squared = np.zeros((len(at), 3)), np.zeros((len(at), 3)), np.zeros(len(at))
        for axis, i in enumerate(self.alike[row[Column.GX : Column.GZ + 1]].tolist()):
            if i >= 0:
                key = (i, at.tobytes())
                if key not in self.known:
                    self.known[key] = _integrals(self.program.gradients[i], at)
                k[:, axis], k_integral[:, axis], squared = self.known[key]
                k_squared += squared
        turn = row[Column.ROTATION]
        if turn >= 0:
            k, k_integral = k @ self.program.rotations[turn].T, k_integral @ self.program.rotations[turn].T
        return k, k_integral, k_squared

    def free(self, block: int, start: float, end: float) -> Free:
        if end <= start:
            return STILL
        k, k_integral, k_squared = self.integrals(block, np.array([start, end]))
        return Free(end - start, k[1], k_integral[1], float(k_squared[1]))

    def marks(self, block: int) -> list[Float]:
        """Where the gradients of a block have corners."""
        used = [self.program.gradients[i] for i in self.program.blocks[block, Column.GX : Column.GZ + 1] if i >= 0]
        return [g.delay + g.time for g in used]


def _integrals(gradient: Gradient, at: Float) -> tuple[Float, Float, Float]:
    """Of one gradient: K (n,), its integral and that of its square, each from at[0] to every one of `at`.

    K is a parabola on each straight line of the gradient; Gauss's rule with three nodes is exact for its square.
    """
    time = gradient.delay + gradient.time
    if not gradient.duration > 0:
        return np.zeros(len(at)), np.zeros(len(at)), np.zeros(len(at))
    edge = np.unique(np.concatenate([at, time[(time > at[0]) & (time < at[-1])]]))
    length = np.diff(edge)
    early, late = (np.interp(edge[:-1] + x * length, time, gradient.waveform, left=0, right=0) for x in (0.25, 0.75))
    mean, rise = (early + late) / 2, 2 * (late - early)  # over the whole piece
    begin = mean - rise / 2
    k = np.concatenate([[0.0], np.cumsum(mean * length)])
    first = np.cumsum(length * (k[:-1] + length * (begin / 2 + rise / 6)))
    second = np.zeros(len(length))
    for x, weight in zip(0.5 + np.sqrt(0.15) * np.array([-1, 0, 1]), np.array([5, 8, 5]) / 18, strict=True):
        second += weight * length * (k[:-1] + length * x * (begin + rise * x / 2)) ** 2
    wanted = np.searchsorted(edge, at)
    return k[wanted], np.concatenate([[0.0], first])[wanted], np.concatenate([[0.0], np.cumsum(second)])[wanted]
