"""Limits on RF heating, as data with their sources.

    iec_limits("normal")                            # nothing known of the exposed part: it is taken to be the whole body
    iec_limits("first level", exposed_fraction=0.3)
    iec_limits("normal", room_temperature=28)       # a warm room lowers the whole-body limit of the first level
    iec_limits("normal", is_local_transmit=False)   # the letter of the standard: no local limits for a body array

The standard binds local limits to local transmit coils; here they hold for body arrays too, unless switched off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lauterbur.errors import InputError

MODES = ("normal", "first level")
IEC = "IEC 60601-2-33:2010 (ed. 3), 201.12.4.103"
SOURCES = {
    "whole_body": f"{IEC}, whole-body SAR; first level lowered by 0.25 W/kg per degree above 25 C",
    "head": f"{IEC}, head SAR",
    "partial_body": f"{IEC}, partial-body SAR, R = exposed mass / patient mass",
    "local_head_trunk": f"{IEC}, local SAR over 10 g of head or trunk (unconfirmed)",
    "local_limb": f"{IEC}, local SAR over 10 g of the extremities (unconfirmed)",
    "short_window": "any 10 s, at most twice the limit (the same clause, unconfirmed)",
    "long_window": "any 6 min (the same clause, unconfirmed)",
}
LONG_WINDOW = 360.0  # s, over which every limit is a mean (the same clause, unconfirmed)
SHORT_WINDOW = 10.0  # s, over which the mean may reach SHORT_FACTOR times the limit (unconfirmed)
SHORT_FACTOR = 2.0  # (unconfirmed)


@dataclass(frozen=True)
class Limits:
    """Means over any `long_window`; over any `short_window` they may be `short_factor` times as much."""

    mode: str  # "normal" or "first level": controlled operating mode
    whole_body: float  # W/kg
    head: float  # W/kg
    partial_body: float  # W/kg, of the exposed part
    local_head_trunk: float  # W/kg, over 10 g; infinite where local limits do not apply
    local_limb: float  # W/kg, over 10 g; infinite where local limits do not apply
    long_window: float = LONG_WINDOW  # s
    short_window: float = SHORT_WINDOW  # s
    short_factor: float = SHORT_FACTOR
    sources: Mapping[str, str] = field(
        default_factory=lambda: dict(SOURCES)
    )  # name of a field above -> rule and source


def iec_limits(
    mode: str = "normal",
    exposed_fraction: float = 1.0,
    *,
    room_temperature: float = 25.0,
    is_local_transmit: bool = True,
) -> Limits:
    """Limits of an operating mode; exposed_fraction is R (SarModel.exposed_fraction), room_temperature in degrees Celsius."""
    if mode not in MODES:
        raise InputError(f"operating mode {mode!r}; known are {', '.join(MODES)}")
    if not 0 < exposed_fraction <= 1:
        raise InputError(
            f"exposed fraction {exposed_fraction}; it is the exposed share of the body's mass, above 0 and at most 1"
        )
    if not math.isfinite(room_temperature):
        raise InputError(f"room temperature {room_temperature}; it must be a finite number of degrees Celsius")
    is_normal = mode == "normal"
    warm = max(room_temperature - 25.0, 0.0)
    local = 1.0 if is_local_transmit else math.inf
    return Limits(
        mode=mode,
        whole_body=2.0 if is_normal else max(4.0 - 0.25 * warm, 2.0),  # SOURCES says whence each of these is
        head=3.2,
        partial_body=10.0 - (8.0 if is_normal else 6.0) * exposed_fraction,
        local_head_trunk=(10.0 if is_normal else 20.0) * local,  # unconfirmed
        local_limb=(20.0 if is_normal else 40.0) * local,  # unconfirmed
    )
