"""shim.json: a shim as plain JSON. Complex numbers are pairs [real, imaginary]; every unit is SI.

write_shim(shim, "shim.json")          # appears whole or not at all
read_shim("shim.json")                 # refuses what is malformed, not finite or of the wrong shape
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from lauterbur.errors import FileFormatError, InputError
from lauterbur.formats.atomic import replacing
from lauterbur.shim.pulse import CompositePulse
from lauterbur.shim.shim import MODES, Shim
from lauterbur.shim.slices import Slices

VERSION = 1
MOST_BYTES = 50_000_000
MOST_CHANNELS = 1024


def write_shim(shim: Shim, path: str | os.PathLike[str]) -> None:
    pulse, slices = shim.pulse, shim.slices
    record: dict[str, Any] = {
        "lauterbur_shim": VERSION,
        "mode": shim.mode,
        "target": shim.target,
        "array": shim.array,
        "reference_drive": float(shim.reference_drive),
        "weights": _pairs(shim.weights),
        "slices": None
        if slices is None
        else {
            "normal": slices.normal.tolist(),
            "positions": slices.positions.tolist(),
            "thickness": float(slices.thickness),
        },
        "pulse": None
        if pulse is None
        else {
            "kind": pulse.kind,
            "weights": _pairs(pulse.weights),
            "steps": pulse.steps.tolist(),
            "rephasing": pulse.rephasing.tolist(),
            "flip_angle": float(pulse.flip_angle),
            "duration": float(pulse.duration),
            "gap": float(pulse.gap),
        },
        "b0": None if shim.b0 is None else np.asarray(shim.b0, float).tolist(),
        "promised": {name: float(value) for name, value in shim.promised.items()},
    }
    try:
        text = json.dumps(record, indent=1, allow_nan=False)
    except ValueError:
        raise InputError("this shim holds a value that is not finite; it is not written") from None
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_shim(path: str | os.PathLike[str]) -> Shim:
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise FileFormatError(file, "", f"is {size / 1e6:.0f} MB; a shim has at most {MOST_BYTES / 1e6:.0f} MB")
        record = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as problem:
        raise InputError(f"{file}: cannot be read ({problem.strerror or problem})") from None
    except (ValueError, RecursionError) as problem:
        raise FileFormatError(file, "", f"is not a shim in JSON ({problem})") from None
    if not isinstance(record, dict) or record.get("lauterbur_shim") != VERSION:
        raise FileFormatError(
            file, "lauterbur_shim", f"is not {VERSION}; this is not a shim that this version can read"
        )
    try:
        return _shim(record)
    except (InputError, KeyError, TypeError, ValueError, OverflowError) as problem:
        what = f"{problem.args[0]!r} is missing" if isinstance(problem, KeyError) else str(problem)
        raise FileFormatError(file, "", what) from None


def _shim(record: dict[str, Any]) -> Shim:
    if record["mode"] not in MODES:
        raise InputError(f"mode {record['mode']!r}; known are {', '.join(MODES)}")
    weights = _complex(record["weights"], "weights", (1, 2))
    drive = float(record["reference_drive"])
    if not (np.isfinite(drive) and drive > 0):
        raise InputError(f"reference_drive {drive}; it must be positive")
    given, s = record["slices"], None
    if given is not None:
        positions = _real(given["positions"], "slices.positions", (1,))
        s = Slices(_real(given["normal"], "slices.normal", (1,)), positions, float(given["thickness"]))
    held, pulse = record["pulse"], None
    if held is not None:
        w = _complex(held["weights"], "pulse.weights", (3,))
        pulse = CompositePulse(
            str(held["kind"]),
            w,
            _real(held["steps"], "pulse.steps", (3,), (w.shape[0], w.shape[1] - 1, 3)),
            _real(held["rephasing"], "pulse.rephasing", (2,)),
            float(held["flip_angle"]),
            float(held["duration"]),
            float(held["gap"]),
        )
        if w.shape[-1] != weights.shape[-1]:
            raise InputError(f"pulse.weights drive {w.shape[-1]} channels, weights {weights.shape[-1]}")
    n_slices = max(weights.shape[0] if weights.ndim == 2 else 1, 1 if pulse is None else len(pulse.weights))
    if n_slices > 1 and (s is None or len(s.positions) != n_slices):
        raise InputError(
            f"weights or pulse are for {n_slices} slices; slices names {0 if s is None else len(s.positions)}"
        )
    b0 = None if record["b0"] is None else _real(record["b0"], "b0", (1, 2))
    promised = {str(name): float(value) for name, value in dict(record["promised"]).items()}
    array = record.get("array", "")  # files of before 2026-12 do not say
    if not isinstance(array, str):
        raise InputError(f"array {array!r:.80} must be a name")
    return Shim(record["mode"], str(record["target"]), weights, drive, s, pulse, b0, promised, array)


def _pairs(values: np.ndarray) -> list:
    array = np.asarray(values, complex)
    return np.stack((array.real, array.imag), axis=-1).tolist()


def _real(values: Any, name: str, dimensions: tuple[int, ...], shape: tuple[int, ...] | None = None) -> np.ndarray:
    array = np.array(values)
    if shape is not None and 0 in shape and array.size == 0:
        return np.zeros(shape)
    if array.dtype.kind not in "iuf" or array.ndim not in dimensions or 0 in array.shape:
        raise InputError(
            f"{name} must be an array of numbers with {' or '.join(map(str, dimensions))} axes, not {array.shape}"
        )
    if not np.isfinite(array.astype(float)).all():
        raise InputError(f"{name} holds a value that is not finite")
    return array.astype(float)


def _complex(values: Any, name: str, dimensions: tuple[int, ...]) -> np.ndarray:
    array = _real(values, name, tuple(d + 1 for d in dimensions))
    if array.shape[-1] != 2 or array.shape[-2] > MOST_CHANNELS:
        raise InputError(
            f"{name} must be pairs [real, imaginary] of at most {MOST_CHANNELS} channels, not {array.shape}"
        )
    return np.asarray(array[..., 0] + 1j * array[..., 1])


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")
