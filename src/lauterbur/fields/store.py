"""Solutions kept in a folder, one file per channel, named by a hash of all that it depends on.

The same files are checkpoints: written while the solver runs, under another name first, then renamed. What is read is only
where the solver begins - it computes the residual anew - so an old, torn or foreign file costs time, not truth.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.fields.lattice import Lattice
from lauterbur.fields.medium import Medium, step

VERSION = 2  # of the equation that is solved


def channel_keys(medium: Medium, right: NDArray[np.complex64], shield: Lattice | None = None) -> list[str]:
    """One per row of right, (channel, unknown): the medium, the frequency, the shield, and what excites this channel."""
    around = None if shield is None else (shield.columns.basis.radius, shield.columns.basis.centre)
    common = hashlib.sha256(
        f"maxwell {VERSION} {step(medium)!r} {medium.frequency!r} {medium.permittivity.shape} {around}".encode()
    )
    common.update(medium.permittivity.tobytes())
    keys = []
    for row in right:
        own = common.copy()
        own.update(row.tobytes())
        keys.append(own.hexdigest()[:32])
    return keys


def stored(folder: Path, keys: list[str], unknowns: int) -> NDArray[np.complex64]:
    """(channel, unknown): zero where nothing usable lies in the folder."""
    found = np.zeros((len(keys), unknowns), np.complex64)
    for row, key in zip(found, keys, strict=True):
        try:
            values = np.load(folder / f"{key}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue
        if values.shape == row.shape and values.dtype == np.complex64 and np.isfinite(values).all():
            row[:] = values
    return found


def opened(folder: Path) -> Path:
    """The folder, made where there is none: before minutes are spent on what could not be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise _unwritable(folder, problem) from problem
    return folder


def store(folder: Path, keys: list[str], solution: NDArray[np.complex128]) -> None:
    opened(folder)
    try:
        for key, row in zip(keys, solution, strict=True):
            unfinished = folder / f"{key}.{os.getpid()}.unfinished"
            with open(unfinished, "wb") as file:
                np.save(file, row.astype(np.complex64))
            os.replace(unfinished, folder / f"{key}.npy")
    except OSError as problem:
        raise _unwritable(folder, problem) from problem


def _unwritable(folder: Path, problem: OSError) -> InputError:
    return InputError(
        f"the cache of field solutions {folder} cannot be written: {problem.strerror or problem}; choose another folder"
    )
