"""How readouts through the centre of k-space are turned in the plane: golden angles for spokes, even ones for spirals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def golden_angles(n: int, order: int = 1) -> NDArray[np.float64]:
    """(n,) rad in [0, 2 pi): each spoke pi / (golden ratio + order - 1) further than the one before.

    Order 1 is 111.246 degrees (Winkelmann et al. 2007, IEEE TMI 26:68): any number of successive spokes covers the half turn
    nearly evenly. Higher orders are the tiny golden angles (Wundrak et al. 2015, IEEE TMI 34:1262), which turn gradients less.
    """
    return np.mod(np.arange(n) * math.pi / (GOLDEN_RATIO + order - 1), 2 * math.pi)


def even_angles(n: int) -> NDArray[np.float64]:
    """(n,) rad: a whole turn in equal steps."""
    return 2 * np.pi * np.arange(n) / n
