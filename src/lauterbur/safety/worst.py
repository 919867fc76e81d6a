"""The worst of many: a value and the place it stands at, gathered so that NaN is never lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.program import Program


@dataclass
class Worst:
    """The largest value seen so far, and a word on where. NaN is larger than everything."""

    value: float = 0.0
    where: str = ""

    def see(self, value: float, where: str) -> None:
        if np.isnan(value) or (value > self.value and not np.isnan(self.value)):
            self.value, self.where = float(value), where


ROUNDING = 1e-5  # Pulseq files carry six digits: what is designed at its limit may be read this much above it


def settle(value: float, limit: float) -> float:
    """The value; or the limit, where it lies above it by no more than the rounding of a file."""
    return limit if limit < value <= limit * (1 + ROUNDING) else value


def largest(values: NDArray[np.float64]) -> int:
    """Index of the largest value, or of the first NaN."""
    return int(np.argmax(np.where(np.isnan(values), np.inf, values)))


def place(program: Program, block: int) -> str:
    """'block 17 at 0.482 s', counting blocks from 1 as a Pulseq file does."""
    start = float(np.sum(program.durations[:block]))
    return f"block {block + 1} at {start:.6g} s"


def worst_window(
    start: NDArray[np.float64], end: NDArray[np.float64], amount: NDArray[np.float64], window: float
) -> tuple[float, str]:
    """The largest mean over any `window` seconds of amounts that each come evenly from its start to its end, in order."""
    if not len(start):
        return 0.0, ""
    knot = np.maximum.accumulate(np.column_stack((start, end)).ravel())
    total = np.concatenate(([0.0], np.cumsum(amount)))
    if not (np.isfinite(total[-1]) and np.isfinite(knot[-1])):
        return float("nan"), "the whole program"
    reached = np.column_stack((total[:-1], total[1:])).ravel()
    begin = np.concatenate((start, end - window))  # the worst window begins with a start, or ends with an end
    inside = np.interp(begin + window, knot, reached) - np.interp(begin, knot, reached)
    i = int(np.argmax(inside))
    return float(inside[i] / window), f"{window:g} s from {max(begin[i], 0.0):.4g} s"
