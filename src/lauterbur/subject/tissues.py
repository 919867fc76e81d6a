"""Tissue tables: what is known of each tissue as functions of field, read from TOML in people's units.

read_tissues()                   # the table shipped in data/tissues.toml, which also shows the form
read_tissues("mine.toml")        # a user's own; with   extends = "standard"   it need only say what differs
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lauterbur.errors import FileFormatError
from lauterbur.scanner.table import read_toml
from lauterbur.subject.anatomy import LinearRate, PowerLaw, Spread, Tissue
from lauterbur.units import ms

STANDARD = Path(__file__).parent / "data" / "tissues.toml"
MOST_TISSUES = 256  # labels are uint8
KEYS = (
    "proton_density", "t1_ms", "t1_exponent", "t2_ms", "t2_prime_ms", "susceptibility_ppm", "chemical_shift_ppm",
    "diffusion_um2_per_ms", "density", "dielectric", "spread", "source",
)  # fmt: skip


def read_tissues(path: str | Path | None = None) -> dict[str, Tissue]:
    """Every tissue of a table by its name, in the order of the file."""
    return dict(_standard()) if path is None else _read(Path(path))


@cache
def _standard() -> dict[str, Tissue]:
    return _read(STANDARD)


def _read(path: Path) -> dict[str, Tissue]:
    content = read_toml(path)
    entries = content.pop("tissue", {})
    extends = content.pop("extends", None)
    if extends not in (None, "standard"):
        raise FileFormatError(
            path, "extends", f"is {extends!r:.80}; only 'standard', the table shipped, can be extended"
        )
    field_range = _field_range(path, content.pop("field_range_T", [1.5, 7.0]))
    if content:
        raise FileFormatError(
            path,
            str(next(iter(content)))[:80],
            "is not a key of a tissue table; known are tissue, extends, field_range_T",
        )
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise FileFormatError(path, "tissue", "must hold one section for each tissue, like [tissue.fat]")

    tissues: dict[str, Tissue] = dict(_standard()) if extends else {}
    raw = read_toml(STANDARD)["tissue"] if extends else {}
    for name, entry in entries.items():
        tissues[name] = _tissue(path, name, {**raw.get(name, {}), **entry}, field_range)
    if not 0 < len(tissues) <= MOST_TISSUES:
        raise FileFormatError(path, "tissue", f"has {len(tissues)} tissues; a table has 1 to {MOST_TISSUES}")
    return tissues


def _tissue(path: Path, name: str, entry: Mapping[str, Any], field_range: tuple[float, float]) -> Tissue:
    where = f"tissue.{name:.60}"
    unknown = [key for key in entry if key not in KEYS]
    if unknown:
        raise FileFormatError(
            path, f"{where}.{unknown[0]:.60}", f"is not a property of a tissue; known are {', '.join(KEYS)}"
        )

    def number(key: str, default: float | None, least: float, most: float) -> float:
        value = entry.get(key, default)
        if value is None:
            raise FileFormatError(path, f"{where}.{key}", "is missing")
        return _number(path, f"{where}.{key}", value, least, most)

    def text(key: str) -> str:
        value = entry.get(key, "")
        if not isinstance(value, str) or len(value) > 200:
            raise FileFormatError(path, f"{where}.{key}", "must be a short text")
        return value

    density = number("proton_density", None, 0, 2)
    signal = density > 0
    sources = entry.get("source", {})
    if not isinstance(sources, dict) or not all(isinstance(value, str) for value in sources.values()):
        raise FileFormatError(path, f"{where}.source", "must give a text for each quantity")
    t1 = _by_field(path, f"{where}.t1_ms", entry.get("t1_ms"), needed=signal)
    exponent = number("t1_exponent", 0.0, -1, 2)
    if len(t1) == 2 and "t1_exponent" in entry:
        raise FileFormatError(path, f"{where}.t1_exponent", "is not free where t1_ms is given at two fields")
    tissue = Tissue(
        name=name,
        proton_density=density,
        t1=_power_law(t1, exponent),
        r2=_rate(_by_field(path, f"{where}.t2_ms", entry.get("t2_ms"), needed=signal)),
        r2_prime=_proportional(path, f"{where}.t2_prime_ms", entry.get("t2_prime_ms")),
        spread=_spread(path, f"{where}.spread", entry.get("spread", {})),
        susceptibility=number("susceptibility_ppm", 0.0, -1e4, 1e4),
        chemical_shift=number("chemical_shift_ppm", 0.0, -100, 100),
        diffusion=number("diffusion_um2_per_ms", 0.0, 0, 1e6) * 1e-9,
        density=number("density", 1000.0, 0, 3e4),
        dielectric=text("dielectric"),
        field_range=field_range if signal else (0.0, 100.0),
        sources=dict(sources),
    )
    for edge in field_range:  # a straight line through two rates must not fall below zero inside the range
        if tissue.r2.intercept + tissue.r2.slope * edge < 0:
            raise FileFormatError(path, f"{where}.t2_ms", f"gives a negative 1/T2 at {edge:g} T; narrow field_range_T")
    return tissue


def _number(path: Path, where: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise FileFormatError(path, where, f"is {value!r:.60}; it must be a number from {least:g} to {most:g}")
    return float(value)


def _field_range(path: Path, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise FileFormatError(path, "field_range_T", "must be two fields in T, [1.5, 7.0]")
    lowest, highest = (_number(path, "field_range_T", edge, 1e-3, 100) for edge in value)
    if not lowest <= highest:
        raise FileFormatError(
            path, "field_range_T", f"runs from {lowest:g} to {highest:g} T; the first must be the lower"
        )
    return lowest, highest


def _by_field(path: Path, where: str, value: Any, *, needed: bool) -> list[tuple[float, float]]:
    """[(T, s), ...], one or two, lowest field first."""
    if value is None and not needed:
        return []
    if not isinstance(value, dict) or not 1 <= len(value) <= 2:
        raise FileFormatError(
            path, where, 'must give milliseconds at one or two fields, like { "3" = 838, "7" = 1126 }'
        )
    points = []
    for field, time in value.items():
        try:
            strength = float(field)
        except ValueError:
            raise FileFormatError(path, where, f"{field!r:.40} is not a field in T") from None
        points.append((_number(path, where, strength, 1e-3, 100), _number(path, where, time, 1e-3, 1e6) * ms))
    if len({field for field, _ in points}) < len(points):
        raise FileFormatError(path, where, "gives the same field twice")
    return sorted(points)


def _power_law(points: list[tuple[float, float]], exponent: float) -> PowerLaw:
    if not points:
        return PowerLaw(math.inf, 0.0)
    if len(points) == 2:
        exponent = math.log(points[1][1] / points[0][1]) / math.log(points[1][0] / points[0][0])
    return PowerLaw(points[0][1] / points[0][0] ** exponent, exponent)


def _rate(points: list[tuple[float, float]]) -> LinearRate:
    if not points:
        return LinearRate(0.0, 0.0)
    if len(points) == 1:
        return LinearRate(1 / points[0][1], 0.0)
    (low, first), (high, second) = points
    slope = (1 / second - 1 / first) / (high - low)
    return LinearRate(1 / first - slope * low, slope)


def _proportional(path: Path, where: str, value: Any) -> LinearRate:
    if value is None:
        return LinearRate(0.0, 0.0)
    points = _by_field(path, where, value, needed=True)
    if len(points) == 2:
        return _rate(points)
    return LinearRate(0.0, 1 / points[0][1] / points[0][0])


def _spread(path: Path, where: str, value: Any) -> Spread:
    names = ("t1", "t2", "t2_prime", "proton_density")
    if not isinstance(value, dict) or not set(value) <= set(names):
        raise FileFormatError(path, where, f"must give relative standard deviations of {', '.join(names)}")
    return Spread(**{key: _number(path, f"{where}.{key}", number, 0, 1) for key, number in value.items()})
