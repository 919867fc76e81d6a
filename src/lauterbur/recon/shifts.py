"""Where the pairs of a wavelet or the blocks of a prior begin: elsewhere in every iteration, at even and at odd places in turn.

What a prior does at one place of its pairs and not at the other is left in the image as a pattern of blocks. Shifts at random (Figueiredo and Nowak
2003, IEEE TIP 12:906) wash it out where there are many of them; few leave chance in the image. Here each run of 2^d
iterations, d axes, begins once at every combination of even and odd, opposites after each other, and only the rest is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Shifts:
    """One sequence of shifts, which follows from its seed. Which of them are even and which odd is the same for every seed and length."""

    def __init__(self, seed: int = 0):
        self._rng, self._count = np.random.default_rng(seed), 0

    def next(self, periods: Sequence[int]) -> list[int]:
        """A shift below each period; 0 where the period is 1."""
        moved = [i for i, n in enumerate(periods) if n > 1]
        half, is_opposite = divmod(self._count % 2 ** len(moved), 2)
        self._count += 1
        found = [0] * len(periods)
        for bit, i in enumerate(moved):
            odd = (half >> bit & 1) ^ is_opposite
            found[i] = 2 * int(self._rng.integers((periods[i] + 1 - odd) // 2)) + odd
        return found
