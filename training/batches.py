"""Batches of problems, each a pure function of seed and number, made first by some processes and kept. Needs no torch."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from problems import Bank, Problem, problem

SHAPES = ((96, 96), (96, 96), (80, 112), (112, 80), (128, 128))  # points of a plane
RECEIVERS = (1, 2, 4, 4, 6, 8, 8, 12, 12)  # after compression
_bank: Bank  # of a process that makes problems


def batch_of(bank: Bank, seed: int, number: int, size: int, fine: float = 0.0) -> list[Problem]:
    rng = np.random.default_rng([seed, number])
    shape, n_rx = SHAPES[rng.integers(len(SHAPES))], int(rng.choice(RECEIVERS))
    is_fine = bool(rng.random() < fine)
    return [problem(bank, [seed, number, i], shape, n_rx, is_fine) for i in range(size)]


def begin_making(folder: Path) -> None:
    """In a process that makes problems: the bank is opened once."""
    global _bank
    _bank = Bank(folder)


def made(seed: int, size: int, fine: float, keep: Path, number: int) -> None:
    """One file of the pool, unless it is there."""
    file = keep / f"{number:06d}.npz"
    if not file.exists():
        batch = batch_of(_bank, seed, number, size, fine)
        draft = file.with_suffix(".part.npz")
        np.savez(draft, **{f.name: np.stack([getattr(p, f.name) for p in batch]) for f in fields(Problem)})
        os.replace(draft, file)


def fill(folder: Path, keep: Path, seed: int, pool: int, size: int, fine: float, makers: int) -> Iterator[int]:
    """Makes the batches of a pool by so many processes, yielding how many there are."""
    keep.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(makers, context, begin_making, (folder,)) as processes:
        try:
            for i, _ in enumerate(processes.map(partial(made, seed, size, fine, keep), range(pool))):
                yield i + 1
        finally:
            processes.shutdown(wait=False, cancel_futures=True)


def kept(keep: Path, number: int) -> list[Problem]:
    with np.load(keep / f"{number:06d}.npz") as file:
        arrays = [file[f.name] for f in fields(Problem)]
    return [Problem(*values) for values in zip(*arrays, strict=True)]


def turned(p: Problem, rng: np.random.Generator, on_its_side: bool) -> Problem:
    """The problem seen in a mirror, on its side, backwards in phase: as true as it was.

    An image that is mirrored or conjugated has its samples at -k; one line of an even length has no such partner but itself.
    """
    images = {f.name: getattr(p, f.name) for f in fields(Problem) if f.name not in ("mask", "noise")}
    mask, phase = p.mask, np.exp(1j * rng.uniform(0, 2 * np.pi)).astype(np.complex64)
    for axis in (-2, -1):
        if rng.random() < 0.5:
            images = {name: np.flip(image, axis) for name, image in images.items()}
            mask = opposite(mask, axis)
    if rng.random() < 0.5:
        images = {name: image.conj() for name, image in images.items()}
        mask = opposite(opposite(mask, -2), -1)
    if on_its_side:
        images = {name: np.swapaxes(image, -2, -1) for name, image in images.items()}
        mask = mask.T
    images = {name: image if name == "maps" else image * phase for name, image in images.items()}
    return replace(p, mask=mask, **images)


def opposite(mask: np.ndarray, axis: int) -> np.ndarray:
    """Where -k was measured along an axis: zero lies at n // 2."""
    return np.roll(np.flip(mask, axis), 1 - mask.shape[axis] % 2, axis)


def seen(keep: Path, seed: int, number: int, pool: int) -> list[Problem]:
    """The batch learned from at that place: the pool comes in another order each time round, and each problem from another side."""
    order = np.random.default_rng([seed, 1, number // pool]).permutation(pool)
    rng = np.random.default_rng([seed, 2, number])
    on_its_side = bool(rng.random() < 0.5)
    return [turned(p, rng, on_its_side) for p in kept(keep, int(order[number % pool]))]
