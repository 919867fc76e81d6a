"""Readout and RawData: what every acquisition yields - twin, replay or hardware - and all that reconstruction sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError

# Encoding counters carried by every readout, by their Pulseq names. Meanings: LIN phase-encode line, PAR partition,
# SLC slice, ECO echo, REP repetition, PHS cardiac phase, SET set, SEG segment, AVG average.
COUNTERS = ("LIN", "PAR", "SLC", "ECO", "REP", "PHS", "SET", "SEG", "AVG")
# Flags, 0 or 1: NAV phase-correction (navigator) line, REV readout played backwards, REF parallel-imaging reference,
# IMA reference line that is image data too, NOISE noise adjust scan, SMS, PMC, NOROT, NOPOS, NOSCL as in Pulseq.
FLAGS = ("NAV", "REV", "REF", "IMA", "NOISE", "SMS", "PMC", "NOROT", "NOPOS", "NOSCL")


@dataclass(frozen=True)
class Header:
    """What is true of the whole acquisition."""

    matrix: tuple[int, int, int]  # reconstructed voxels along readout, phase, slice/partition
    fov: tuple[float, float, float]  # m, along the same
    encoded_matrix: tuple[int, int, int] | None = None  # with oversampling and partial Fourier filled; None = matrix
    encoded_fov: tuple[float, float, float] | None = None  # m; None = fov
    directions: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    # unit vectors of readout, phase and slice/partition axes in patient coordinates, rows
    position: tuple[float, float, float] = (
        0.0,
        0.0,
        0.0,
    )  # m, centre of the field of view (of the slice stack), patient
    slice_positions: tuple[tuple[float, float, float], ...] = ()  # m, patient, centre of slice SLC=i; empty for 3D
    slice_thickness: float | None = None  # m
    trajectory: str = "cartesian"  # cartesian | epi | radial | spiral | other
    dimensions: int = 3  # 2 or 3: how many axes are Fourier-encoded
    te: tuple[float, ...] = ()  # s, per ECO
    tr: float | None = None  # s
    ti: float | None = None  # s
    flip_angle: float | None = None  # rad
    echo_spacing: float | None = None  # s
    bandwidth: float | None = None  # Hz per pixel
    acceleration: tuple[int, int] = (1, 1)  # along phase, partition
    field_strength: float | None = None  # T
    larmor_frequency: float | None = None  # Hz
    protocol: str = ""
    contrast: str = ""  # e.g. GRE, MPRAGE, TSE, FLAIR, BSSFP, EPI
    patient: str = ""  # name of the subject
    coils: str = ""  # receive array
    provenance: Mapping[str, Any] = field(
        default_factory=dict
    )  # source: twin | replay | hardware; hash; seed; versions


@dataclass(frozen=True)
class Readout:
    """One ADC window."""

    samples: NDArray[np.complex64]  # (rx, sample)
    k: NDArray[np.float32]  # 1/m, (sample, 3), as played, patient axes
    time: float  # s, of the first sample, from the start of the program
    dwell: float  # s
    labels: Mapping[str, int]  # COUNTERS and FLAGS
    center_sample: int = 0  # the sample nearest to k = 0 along the readout


@dataclass(frozen=True)
class RawData:
    """All readouts of one acquisition; zero-padded where their lengths differ."""

    samples: NDArray[np.complex64]  # (readout, rx, sample); may be a memory map
    n_samples: NDArray[np.int32]  # (readout,)
    k: NDArray[np.float32]  # 1/m, (readout, sample, 3), as played, patient axes; 0 in the padding
    time: NDArray[np.float64]  # s, (readout,), of the first sample
    dwell: NDArray[np.float64]  # s, (readout,)
    center_sample: NDArray[np.int32]  # (readout,)
    labels: Mapping[str, NDArray[np.int32]]  # COUNTERS and FLAGS -> (readout,); absent = all zero
    header: Header | None = None  # None: nothing is known beyond the samples (e.g. a bare simulation)
    noise: NDArray[np.complex64] | None = None  # (rx, sample): a noise-only scan, same dwell and receiver gain
    noise_dwell: float | None = None  # s
    te: NDArray[np.float64] | None = None  # s, (readout,): from the last excitation to k = 0, where known

    @property
    def n_readouts(self) -> int:
        return int(self.samples.shape[0])

    @property
    def n_rx(self) -> int:
        return int(self.samples.shape[1])

    def label(self, name: str) -> NDArray[np.int32]:
        """(readout,) values of a counter or flag; zeros where it was never set."""
        value = self.labels.get(name)
        return np.zeros(self.n_readouts, np.int32) if value is None else value

    def only(self, which: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> RawData:
        """These readouts alone, in this order: a mask (readout,), or indices; header and noise stay."""
        return replace(
            self,
            samples=self.samples[which],
            n_samples=self.n_samples[which],
            k=self.k[which],
            time=self.time[which],
            dwell=self.dwell[which],
            center_sample=self.center_sample[which],
            labels={name: value[which] for name, value in self.labels.items()},
            te=None if self.te is None else self.te[which],
        )


def header_to_json(header: Header) -> str:
    """One compact line, the same for equal headers; numbers keep every digit, unset fields stay away."""
    plain = {f.name: getattr(header, f.name) for f in fields(header)}
    defaults = {f.name: f.default for f in fields(header) if f.default is not MISSING}
    kept = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in plain.items()
        if name not in defaults or value != defaults[name]
    }
    if not kept.get("provenance", True):
        del kept["provenance"]
    try:
        return json.dumps(kept, separators=(",", ":"), sort_keys=True, allow_nan=False, default=_plain_number)
    except (TypeError, ValueError) as problem:
        raise InputError(f"this header cannot be written as JSON: {problem}") from None


def header_from_json(text: str) -> Header:
    """The header that `header_to_json` wrote; anything else is an InputError that names the field and its rule."""
    if len(text) > _LONGEST_HEADER:
        raise InputError(f"header: {len(text)} characters; at most {_LONGEST_HEADER} are read")
    try:
        found = json.loads(text, parse_constant=lambda name: float(name))
    except (ValueError, RecursionError) as problem:
        raise InputError(f"header: not JSON ({problem})") from None
    if not isinstance(found, dict):
        raise InputError(f"header: JSON holds a {type(found).__name__}; expected an object with matrix and fov")
    unknown = sorted(set(found) - set(_RULES))
    if unknown:
        raise InputError(f"header: unknown field {unknown[0]!r}; known are {', '.join(sorted(_RULES))}")
    missing = [name for name in ("matrix", "fov") if name not in found]
    if missing:
        raise InputError(f"header: field {missing[0]!r} is missing")
    return Header(**{name: _RULES[name](name, value) for name, value in found.items()})


_LONGEST_HEADER = 4_000_000  # characters: 10,000 slice positions with all digits take less than one million


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _number(name: str, value: Any, *, least: float = -1e12, above: float | None = None) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e12
    if not (is_number and value >= least and (above is None or value > above)):
        rule = f"above {above:g}" if above is not None else f"at least {least:g}" if least > -1e12 else "finite"
        raise InputError(f"header: {name} is {str(value)[:60]!r}; expected a number, {rule}")
    return float(value)


def _positive(name: str, value: Any) -> float:
    return _number(name, value, above=0.0)


def _not_negative(name: str, value: Any) -> float:
    return _number(name, value, least=0.0)


def _count(name: str, value: Any) -> int:
    if not (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000):
        raise InputError(f"header: {name} is {str(value)[:60]!r}; expected a whole number from 1 to 1000000")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"header: {name} is {str(value)[:60]!r}; expected text")
    return value


def _several(rule: Callable[[str, Any], Any], n: int | None = None) -> Callable[[str, Any], tuple]:
    def checked(name: str, value: Any) -> tuple:
        if not isinstance(value, list) or (n is not None and len(value) != n):
            raise InputError(f"header: {name} is {str(value)[:60]!r}; expected a list of {n or 'several'} values")
        return tuple(rule(f"{name}[{i}]", entry) for i, entry in enumerate(value))

    return checked


def _axes(name: str, value: Any) -> tuple:
    rows = _several(_several(_number, 3), 3)(name, value)
    if not np.allclose(np.array(rows) @ np.array(rows).T, np.eye(3), atol=1e-4):
        raise InputError(f"header: {name} is {rows}; expected three unit vectors at right angles")
    return rows


def _choice(*allowed: Any) -> Callable[[str, Any], Any]:
    def checked(name: str, value: Any) -> Any:
        if not (isinstance(value, str | int) and not isinstance(value, bool) and value in allowed):
            raise InputError(f"header: {name} is {str(value)[:60]!r}; expected one of {', '.join(map(str, allowed))}")
        return value

    return checked


def _or_none(rule: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else rule(name, value)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"header: {name} is {str(value)[:60]!r}; expected an object")
    return value


# What each field of a header may hold when it comes from a file.
_RULES: dict[str, Callable[[str, Any], Any]] = {
    "matrix": _several(_count, 3),
    "fov": _several(_positive, 3),
    "encoded_matrix": _or_none(_several(_count, 3)),
    "encoded_fov": _or_none(_several(_positive, 3)),
    "directions": _axes,
    "position": _several(_number, 3),
    "slice_positions": _several(_several(_number, 3)),
    "slice_thickness": _or_none(_positive),
    "trajectory": _choice("cartesian", "epi", "radial", "spiral", "other"),
    "dimensions": _choice(2, 3),
    "te": _several(_not_negative),
    "tr": _or_none(_not_negative),
    "ti": _or_none(_not_negative),
    "flip_angle": _or_none(_number),
    "echo_spacing": _or_none(_not_negative),
    "bandwidth": _or_none(_positive),
    "acceleration": _several(_count, 2),
    "field_strength": _or_none(_positive),
    "larmor_frequency": _or_none(_positive),
    "protocol": _text,
    "contrast": _text,
    "patient": _text,
    "coils": _text,
    "provenance": _mapping,
}
