"""Named protocols, and a user's own: TOML with people's units, every key accounted for.

load_protocol("brain/t1-mprage")     # from the library
load_protocol("knee.toml")           # a file of one's own, in the form that protocol/data shows
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from lauterbur.errors import FileFormatError, InputError, ProtocolError
from lauterbur.protocol.protocol import MULTISLICE, Protocol, checked

DATA = Path(__file__).parent / "data"
LARGEST_FILE = 200_000  # bytes; a protocol has about one thousand

UNITS: dict[str, dict[str, float]] = {
    "length": {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0},
    "frequency": {"Hz": 1.0, "kHz": 1e3, "Hz/px": 1.0},
    "angle": {"rad": 1.0, "deg": math.pi / 180},
}

# Readout, phase and slice directions of the usual orientations (patient: x left, y back, z head), right-handed.
ORIENTATIONS = {
    ("axial", "AP"): ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ("axial", "LR"): ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    ("sagittal", "AP"): ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    ("sagittal", "HF"): ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    ("coronal", "LR"): ((0, 0, -1), (-1, 0, 0), (0, 1, 0)),
    ("coronal", "HF"): ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def list_protocols() -> tuple[str, ...]:
    """The names of the library, in order."""
    return tuple(sorted(file.relative_to(DATA).with_suffix("").as_posix() for file in DATA.rglob("*.toml")))


def load_protocol(name: str | Path) -> Protocol:
    """A protocol of the library by its name, or one from a TOML file."""
    if str(name) in list_protocols():
        return read_protocol(DATA / f"{name}.toml", str(name))
    path = Path(name)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if is_file:
        return read_protocol(path, path.stem)
    raise InputError(f"no protocol {str(name)[:200]!r}: neither a file nor one of {', '.join(list_protocols())}")


def read_protocol(path: Path, name: str) -> Protocol:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise FileFormatError(path, "", f"{size} bytes; a protocol has at most {LARGEST_FILE}")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError, RecursionError) as problem:
        raise FileFormatError(path, "", f"not valid TOML: {problem}") from None
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {problem.strerror}") from None
    return protocol_from(content, path, name)


def protocol_from(content: Mapping[str, Any], path: object, name: str) -> Protocol:
    """A checked protocol of parsed TOML; `path` is for messages."""
    known = [*_READERS, "orientation", "phase_direction", "read_vector", "phase_vector"]
    for key in content:
        if key not in known:
            raise FileFormatError(path, str(key)[:60], f"is not known; known are {', '.join(known)}")
    values: dict[str, Any] = {"name": name}
    for key, entry in content.items():
        if key in _READERS:
            values[key] = _READERS[key](path, key, entry)
    values["contrast"] = str(values.get("contrast", "")).upper()
    values.setdefault("dimensions", 2 if values["contrast"] in MULTISLICE else 3)
    values["directions"] = _directions(content, path)
    required = [
        f.name
        for f in fields(Protocol)
        if f.name in ("contrast", "fov", "matrix", "te", "tr", "flip_angle", "bandwidth")
    ]
    for key in required:
        if key not in values or values[key] == "":
            raise FileFormatError(path, key, "is missing")
    if len(values["matrix"]) == 2 and values["dimensions"] == 2:
        values["matrix"] = (*values["matrix"], 1)
    for key in ("fov", "matrix"):
        if len(values[key]) != 3:
            raise FileFormatError(path, key, f"has {len(values[key])} numbers; readout, phase and slice are needed")
    try:
        return checked(Protocol(**values))
    except ProtocolError as problem:
        raise ProtocolError(f"{path}: {problem}" if str(path) != name else str(problem)) from None


def _directions(content: Mapping[str, Any], path: object) -> tuple:
    if "read_vector" in content or "phase_vector" in content:
        if "orientation" in content or "phase_direction" in content:
            raise FileFormatError(path, "orientation", "give either a name or read_vector and phase_vector, not both")
        rows = []
        for key in ("read_vector", "phase_vector"):
            if key not in content:
                raise FileFormatError(path, key, "is missing; read_vector and phase_vector come together")
            vector = np.array(_plain_numbers(path, key, content[key], 3))
            length = np.linalg.norm(vector)
            if not 1e-6 < length < 1e6:
                raise FileFormatError(path, key, f"is {content[key]}; a direction of length one is needed")
            rows.append(vector / length)
        if not abs(rows[0] @ rows[1]) < 1e-4:
            raise FileFormatError(path, "phase_vector", "is not at a right angle to read_vector")
        phase = rows[1] - (rows[0] @ rows[1]) * rows[0]
        phase /= np.linalg.norm(phase)
        axes = (rows[0], phase, np.cross(rows[0], phase))
        return tuple(tuple(float(x) for x in axis) for axis in axes)
    plane = _text(path, "orientation", content.get("orientation", "axial"))
    choices = [phase for name, phase in ORIENTATIONS if name == plane]
    if not choices:
        raise FileFormatError(
            path, "orientation", f"{plane!r} is not known; choose axial, sagittal or coronal, or vectors"
        )
    phase = _text(path, "phase_direction", content.get("phase_direction", choices[0]))
    if phase not in choices:
        raise FileFormatError(
            path, "phase_direction", f"{phase!r} does not lie in {plane}; choose {' or '.join(choices)}"
        )
    return tuple(tuple(float(x) for x in axis) for axis in ORIENTATIONS[plane, phase])


_QUANTITY = re.compile(r"([-+0-9.eExX, ]{1,400}?) *([A-Za-z/]{1,10})")


def _quantities(path: object, key: str, entry: Any, kind: str) -> tuple[float, ...]:
    """'220 x 208 mm' -> (0.22, 0.208)."""
    form = f"a text such as {'220 x 208 mm' if kind == 'length' else '3.0 ' + next(iter(UNITS[kind]))!r}"
    if not isinstance(entry, str) or len(entry) > 1000:
        raise FileFormatError(path, key, f"is {str(entry)[:60]!r}; expected {form}, with a unit")
    match = _QUANTITY.fullmatch(entry.strip())
    units = UNITS[kind]
    if match is None or match[2] not in units:
        raise FileFormatError(path, key, f"is {entry[:60]!r}; expected {form}, in {', '.join(units)}")
    try:
        numbers = [float(word) for word in re.split(r"[xX, ]+", match[1].strip(" ,"))]
    except ValueError:
        raise FileFormatError(path, key, f"is {entry[:60]!r}; expected {form}") from None
    if not all(math.isfinite(number) for number in numbers) or len(numbers) > 64:
        raise FileFormatError(path, key, f"is {entry[:60]!r}; expected at most 64 finite numbers")
    return tuple(float(f"{number * units[match[2]]:.12g}") for number in numbers)  # 0.208, not 0.20800000000000002


def _one(kind: str) -> Callable[[object, str, Any], float]:
    def read(path: object, key: str, entry: Any) -> float:
        numbers = _quantities(path, key, entry, kind)
        if len(numbers) != 1:
            raise FileFormatError(path, key, f"has {len(numbers)} numbers; one is needed")
        return numbers[0]

    return read


def _many(kind: str, n: int | None = None) -> Callable[[object, str, Any], tuple[float, ...]]:
    def read(path: object, key: str, entry: Any) -> tuple[float, ...]:
        numbers = _quantities(path, key, entry, kind)
        if n is not None and len(numbers) != n:
            raise FileFormatError(path, key, f"has {len(numbers)} numbers; {n} are needed")
        return numbers

    return read


def _plain_numbers(path: object, key: str, entry: Any, n: int) -> tuple[float, ...]:
    ok = isinstance(entry, list) and len(entry) == n
    ok = ok and all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= 1e12 for x in entry)
    if not ok:
        raise FileFormatError(path, key, f"is {str(entry)[:60]!r}; expected a list of {n} numbers")
    return tuple(float(x) for x in entry)


def _count(path: object, key: str, entry: Any) -> int:
    if isinstance(entry, bool) or not isinstance(entry, int) or not abs(entry) <= 1_000_000:
        raise FileFormatError(path, key, f"is {str(entry)[:60]!r}; expected a whole number of at most 1000000")
    return entry


def _counts(path: object, key: str, entry: Any) -> tuple[int, ...]:
    if not isinstance(entry, list) or not 1 <= len(entry) <= 3:
        raise FileFormatError(path, key, f"is {str(entry)[:60]!r}; expected a list of whole numbers")
    return tuple(_count(path, key, x) for x in entry)


def _pair_of_counts(default: int) -> Callable[[object, str, Any], tuple[int, ...]]:
    def read(path: object, key: str, entry: Any) -> tuple[int, ...]:
        if isinstance(entry, list) and len(entry) == 2:
            return _counts(path, key, entry)
        return (_count(path, key, entry), default)

    return read


def _parts(path: object, key: str, entry: Any) -> tuple[float, ...]:
    return _plain_numbers(path, key, entry if isinstance(entry, list) else [entry, 1.0], 2)


def _ratio(path: object, key: str, entry: Any) -> float:
    return _plain_numbers(path, key, [entry], 1)[0]


def _truth(path: object, key: str, entry: Any) -> bool:
    if not isinstance(entry, bool):
        raise FileFormatError(path, key, f"is {str(entry)[:60]!r}; expected true or false")
    return entry


def _text(path: object, key: str, entry: Any) -> str:
    if not isinstance(entry, str) or len(entry) > 500 or not entry.isprintable():
        raise FileFormatError(path, key, f"is {str(entry)[:60]!r}; expected one line of text")
    return entry


# What a protocol file may say, and how each entry is read. Named as the fields of Protocol.
_READERS: dict[str, Callable[[object, str, Any], Any]] = {
    "description": _text,
    "contrast": _text,
    "dimensions": _count,
    "fov": _many("length", 3),
    "matrix": _counts,
    "slices": _count,
    "slice_gap": _one("length"),
    "position": _many("length", 3),
    "te": _many("time"),
    "tr": _one("time"),
    "ti": _one("time"),
    "flip_angle": _one("angle"),
    "refocusing_angle": _one("angle"),
    "bandwidth": _one("frequency"),
    "echo_train": _count,
    "echo_spacing": _one("time"),
    "acceleration": _pair_of_counts(1),
    "reference_lines": _pair_of_counts(0),
    "partial_fourier": _parts,
    "sampling": _text,
    "caipi_shift": _count,
    "undersampling": _ratio,
    "sampling_seed": _count,
    "elliptical": _truth,
    "trajectory": _text,
    "shots": _count,
    "golden_order": _count,
    "dummies": _count,
    "averages": _count,
    "frames": _count,
    "lines_per_frame": _count,
    "rf_duration": _one("time"),
    "rf_time_bandwidth": _ratio,
    "slab_thickness": _one("length"),
    "rf_spoiling": _one("angle"),
    "fat_saturation": _truth,
    "target": _text,
}
