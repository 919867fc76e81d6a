"""Batches of problems, each step's a pure function of seed and step, made in turn or ahead by other processes. Needs no torch."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from problems import Bank, Problem, problem

SHAPES = ((96, 96), (96, 96), (80, 112), (112, 80))  # points of a plane
RECEIVERS = (1, 2, 4, 4, 5, 6, 8, 8, 12)  # after compression
AHEAD = 16  # batches made before they are wanted
_bank: Bank  # of a process that makes problems


def batch_of(bank: Bank, seed: int, step: int, size: int, fine: float = 0.0) -> list[Problem]:
    rng = np.random.default_rng([seed, step])
    shape, n_rx = SHAPES[rng.integers(len(SHAPES))], int(rng.choice(RECEIVERS))
    is_fine = bool(rng.random() < fine)
    return [problem(bank, [seed, step, i], shape, n_rx, is_fine) for i in range(size)]


def begin_making(folder: Path) -> None:
    """In a process that makes problems: the bank is opened once."""
    global _bank
    _bank = Bank(folder)


def made(seed: int, size: int, fine: float, step: int) -> list[Problem]:
    return batch_of(_bank, seed, step, size, fine)


def batches(
    folder: Path, seed: int, steps: range, size: int, fine: float, makers: int
) -> Generator[list[Problem], None, None]:
    """Those of every step, in order; made ahead by so many processes of their own where there are `makers`."""
    if makers == 0:
        bank = Bank(folder)
        yield from (batch_of(bank, seed, step, size, fine) for step in steps)
        return
    asked = partial(made, seed, size, fine)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(makers, context, begin_making, (folder,)) as pool:
        ahead: deque[Future[list[Problem]]] = deque()
        try:
            for step in steps:
                ahead.append(pool.submit(asked, step))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
