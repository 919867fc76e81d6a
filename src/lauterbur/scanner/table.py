"""Reading a machine's TOML: numbers with people's units and a source beside each, into SI, every key accounted for.

amplitude = { value = 120, unit = "mT/m", source = "FDA 510(k) K250246" }   # as in the profiles shipped
amplitude = "80 mT/m"                                                       # short, in a user's own profile
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lauterbur.errors import FileFormatError

LARGEST_FILE = 1_000_000  # bytes; a profile has about ten thousand

# What a number can be, and the units people may write it in, as factors to SI.
UNITS: dict[str, dict[str, float]] = {
    "field": {"T": 1.0, "mT": 1e-3, "uT": 1e-6},
    "frequency": {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6},
    "length": {"m": 1.0, "cm": 1e-2, "mm": 1e-3},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "gradient": {"T/m": 1.0, "mT/m": 1e-3, "uT/m": 1e-6},
    "curvature": {"T/m2": 1.0, "mT/m2": 1e-3, "uT/m2": 1e-6},
    "slew": {"T/m/s": 1.0, "mT/m/ms": 1.0},
    "sensitivity": {"T/m/A": 1.0, "mT/m/A": 1e-3, "uT/m/A": 1e-6},
    "inductance": {"H": 1.0, "mH": 1e-3, "uH": 1e-6},
    "resistance": {"Ohm": 1.0, "mOhm": 1e-3},
    "voltage": {"V": 1.0, "kV": 1e3},
    "current": {"A": 1.0, "kA": 1e3},
    "power": {"W": 1.0, "kW": 1e3, "MW": 1e6},
    "field rate": {"T/s": 1.0, "mT/s": 1e-3},
    "temperature": {"K": 1.0},
    "angle": {"rad": 1.0, "deg": math.pi / 180},
    "ratio": {"": 1.0, "1": 1.0, "%": 1e-2, "ppm": 1e-6},
    "decibel": {"dB": 1.0},
}


class Table:
    """One section of a TOML file; `finish` refuses what nobody asked for."""

    def __init__(self, path: object, values: Mapping[str, Any], prefix: str, sources: dict[str, str]):
        self.path, self.values, self.prefix, self.sources = path, values, prefix, sources
        self.seen: set[str] = set()

    def error(self, key: str, problem: str) -> FileFormatError:
        return FileFormatError(self.path, f"{self.prefix}{key}", problem)

    def raw(self, key: str, default: Any = None, *, needed: bool = True) -> Any:
        self.seen.add(key)
        if key in self.values:
            return self.values[key]
        if needed:
            raise self.error(key, "is missing")
        return default

    def section(self, key: str, *, needed: bool = True) -> Table:
        values = self.raw(key, {}, needed=needed)
        if not isinstance(values, dict):
            raise self.error(key, f"must be a section of the file, not {kind_of(values)}")
        return Table(self.path, values, f"{self.prefix}{key}.", self.sources)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.raw(key, default, needed=default is None)
        if not isinstance(value, str) or len(value) > 500 or not value.isprintable():
            raise self.error(key, f"must be a line of text of at most 500 characters, not {kind_of(value)}")
        return value

    def number(
        self, key: str, kind: str, default: float | None = None, *, least: float | None = None, most: float = math.inf
    ) -> float:
        """One number in SI; positive unless `least` says what the smallest allowed is."""
        value, factor = self._value(key, kind, default)
        return self._checked(key, value, factor, kind, least, most)

    def count(self, key: str, *, most: int) -> int:
        value, _ = self._value(key, "ratio", None)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise self.error(key, f"is {value!r}; it must be a whole number from 1 to {most}")
        return value

    def truth(self, key: str, default: bool) -> bool:
        value = self.raw(key, default, needed=False)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {kind_of(value)}")
        return value

    def numbers(self, key: str, kind: str, length: int, *, least: float, most: float) -> tuple[float, ...]:
        value, factor = self._value(key, kind, None)
        if not isinstance(value, list) or len(value) != length:
            raise self.error(key, f"must be a list of {length} numbers, not {kind_of(value)}")
        return tuple(self._checked(key, item, factor, kind, least, most) for item in value)

    def pairs(self, key: str, kinds: tuple[str, str]) -> tuple[tuple[float, float], ...]:
        """A list of pairs, or nothing; the unit is one for both, or one each as in ["mm", "ppm"]."""
        if key not in self.values:
            self.seen.add(key)
            return ()
        entry = self.raw(key)
        if not isinstance(entry, dict):
            raise self.error(key, f"must be {{ value = [[a, b], ...], unit = ... }}, not {kind_of(entry)}")
        self._note_source(key, entry)
        units = entry.get("unit")
        units = [units, units] if isinstance(units, str) else units
        if not isinstance(units, list) or len(units) != 2:
            raise self.error(key, f"unit must be a text or a pair of texts, not {kind_of(units)}")
        factors = [self._factor(key, unit, kind) for unit, kind in zip(units, kinds, strict=True)]
        pairs = entry.get("value")
        if (
            not isinstance(pairs, list)
            or len(pairs) > 1000
            or any(not isinstance(p, list) or len(p) != 2 for p in pairs)
        ):
            raise self.error(key, "value must be a list of at most 1000 pairs of numbers")
        return tuple(
            (
                self._checked(key, first, factors[0], kinds[0], 0.0, math.inf),
                self._checked(key, second, factors[1], kinds[1], 0.0, math.inf),
            )
            for first, second in pairs
        )

    def finish(self) -> None:
        unknown = sorted(set(self.values) - self.seen)
        if unknown:
            known = ", ".join(sorted(self.seen))
            raise self.error(unknown[0][:80], f"is not known here; known are {known}")

    def _value(self, key: str, kind: str, default: float | None) -> tuple[Any, float]:
        entry = self.raw(key, default, needed=default is None)
        if key not in self.values:
            return default, 1.0
        if isinstance(entry, dict):
            self._note_source(key, entry)
            if "value" not in entry:
                raise self.error(key, "has no value; write { value = ..., unit = ..., source = ... }")
            return entry["value"], self._factor(key, entry.get("unit", ""), kind)
        if isinstance(entry, str):
            written, _, unit = entry.strip().partition(" ")
            try:
                return float(written), self._factor(key, unit.strip(), kind)
            except ValueError:
                raise self.error(key, f"{entry[:60]!r} is not a number and a unit") from None
        return entry, self._factor(key, "", kind)

    def _factor(self, key: str, unit: Any, kind: str) -> float:
        known = UNITS[kind]
        if not isinstance(unit, str) or unit not in known:
            written = f"unit {unit[:30]!r}" if isinstance(unit, str) and unit else "no unit"
            names = ", ".join(name for name in known if name)
            raise self.error(
                key, f"has {written}; a {kind} is written in {names}" + (" or without unit" if "" in known else "")
            )
        return known[unit]

    def _note_source(self, key: str, entry: Mapping[str, Any]) -> None:
        unknown = set(entry) - {"value", "unit", "source", "confirmed"}
        if unknown:
            raise self.error(
                f"{key}.{sorted(unknown)[0][:80]}", "is not known here; known are value, unit, source, confirmed"
            )
        source, confirmed = entry.get("source", ""), entry.get("confirmed", True)
        if not isinstance(source, str) or not isinstance(confirmed, bool):
            raise self.error(key, "source must be a text and confirmed true or false")
        if source or not confirmed:
            self.sources[f"{self.prefix}{key}"] = source if confirmed else f"unconfirmed: {source}".rstrip(": ")

    def _checked(self, key: str, value: Any, factor: float, kind: str, least: float | None, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"must be a number ({kind}), not {kind_of(value)}")
        try:
            number = float(f"{float(value) * factor:.15g}")  # 10 us is 1e-5 s, not 9.999999999999999e-06
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.error(key, f"is {value!r:.40}; it must be finite")
        if not (number > 0 if least is None else number >= least):
            allowed = "positive" if least is None else f"at least {least:g} in SI units"
            raise self.error(key, f"is {value!r:.40}; it must be {allowed}")
        if not number <= most:
            raise self.error(key, f"is {value!r:.40}, {number:g} in SI units; at most {most:g} makes sense")
        return number


def kind_of(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "a section",
    }
    return names.get(type(value), type(value).__name__)


def read_toml(path: Path) -> dict[str, Any]:
    """The file as a dictionary, or a FileFormatError that names it and the line."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise FileFormatError(path, "", f"is larger than {LARGEST_FILE} bytes; a profile is a short text")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as problem:
        raise FileFormatError(path, "", f"cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise FileFormatError(path, f"byte {problem.start}", "is not UTF-8 text") from None
    except RecursionError:
        raise FileFormatError(path, "", "is nested too deeply") from None
    except ValueError as problem:  # TOMLDecodeError, and integers with too many digits
        raise FileFormatError(path, "", f"is not valid TOML: {str(problem)[:200]}") from None
