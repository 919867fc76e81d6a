"""Scanner profiles: the machines we know, as TOML in data/, and a user's own, alone or as changes to one of ours.

load_scanner("5T")            # shipped: 5T, 5T-2.7MW (a weaker gradient amplifier), 3T
load_scanner("mine.toml")     # a file; with   extends = "5T"   it need only say what differs
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from lauterbur.errors import FileFormatError, InputError
from lauterbur.scanner.arrays import helmet, loop_radius, panels, with_losses
from lauterbur.scanner.coils import transmit_array
from lauterbur.scanner.machine import Array, Gradients, Scanner, ShimCoils, Spectrometer, Transmit
from lauterbur.scanner.nerves import safe_axes
from lauterbur.scanner.table import Table, read_toml
from lauterbur.units import GAMMA_BAR

DATA = Path(__file__).parent / "data"
SHIM_COILS = dict.fromkeys(("x", "y", "z"), "gradient") | dict.fromkeys(("z2", "xz", "yz", "x2-y2", "xy"), "curvature")


def profile_names() -> tuple[str, ...]:
    """The profiles shipped with the product, strongest first."""
    return tuple(sorted((path.stem for path in DATA.glob("*.toml")), reverse=True))


def load_scanner(name_or_path: str | Path) -> Scanner:
    """A machine by the name of its profile, or from a TOML file; every number checked."""
    if str(name_or_path) in profile_names():
        path = DATA / f"{name_or_path}.toml"
    else:
        path = Path(name_or_path)
        if "\0" in str(path) or not path.is_file():
            raise InputError(
                f"there is no scanner {str(name_or_path)[:200]!r}; known are {', '.join(profile_names())}, or give a TOML file"
            )
    return _scanner(path, _values(path))


def _values(path: Path) -> dict[str, Any]:
    """What a file says, laid over the profile it extends; those shipped may extend one another once."""
    values = read_toml(path)
    if "extends" not in values:
        return values
    base = values.pop("extends")
    if base not in profile_names() or DATA / f"{base}.toml" == path:
        raise FileFormatError(path, "extends", f"must be one of {', '.join(profile_names())}, not {base!r:.80}")
    return _merged(_values(DATA / f"{base}.toml"), values)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """base with the changes laid over it, section by section; an entry with a value is replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        is_section = both and "value" not in value and "value" not in base[key]
        merged[key] = _merged(base[key], value) if is_section else value
    return merged


def _scanner(path: Path, values: dict[str, Any]) -> Scanner:
    sources: dict[str, str] = {}
    top = Table(path, values, "", sources)
    name, description = top.text("name", path.stem), top.text("description", "")
    magnet = top.section("magnet")
    field_strength = magnet.number("field_strength", "field", most=30)
    larmor = magnet.number("larmor_frequency", "frequency", GAMMA_BAR * field_strength)
    if not abs(larmor / (GAMMA_BAR * field_strength) - 1) <= 0.01:
        raise magnet.error(
            "larmor_frequency",
            f"is {larmor / 1e6:.4g} MHz; protons at {field_strength:g} T precess at {GAMMA_BAR * field_strength / 1e6:.4g} MHz",
        )
    bore = magnet.number("bore", "length", most=3)
    homogeneity = magnet.pairs("homogeneity", ("length", "ratio"))
    temperature = magnet.number("temperature", "temperature", 310.0, most=1000)
    magnet.finish()

    scanner = Scanner(
        name=name,
        field_strength=field_strength,
        larmor_frequency=larmor,
        bore=bore,
        gradients=_gradients(top.section("gradients")),
        transmit=_transmit(top.section("transmit"), larmor, bore),
        receive=_receive(top.section("receive", needed=False), larmor),
        spectrometer=_spectrometer(top.section("spectrometer")),
        shim_coils=_shim_coils(top.section("shim_coils", needed=False)),
        temperature=temperature,
        homogeneity=tuple((diameter, ratio / 1e-6) for diameter, ratio in homogeneity),
        sources=sources,
        description=description,
    )
    top.finish()
    return scanner


def _gradients(table: Table) -> Gradients:
    stimulation = table.section("stimulation", needed=False)
    kinds = {"rheobase": "field rate", "chronaxie": "time", "effective_length": "length"}
    thresholds = {key: stimulation.number(key, kind) for key, kind in kinds.items() if key in stimulation.values}
    safe = safe_axes(stimulation.section("safe", needed=False))
    stimulation.finish()

    bands = list(_in_order(table, "forbidden_bands", table.pairs("forbidden_bands", ("frequency", "frequency"))))
    spacings = _in_order(table, "forbidden_echo_spacings", table.pairs("forbidden_echo_spacings", ("time", "time")))
    for shortest, longest in spacings:
        if not shortest > 0:
            raise table.error("forbidden_echo_spacings", "starts at 0; an echo spacing is positive")
        bands += [(1 / longest, 1 / shortest), (0.5 / longest, 0.5 / shortest)]

    gradients = Gradients(
        amplitude=table.number("amplitude", "gradient", most=10),
        slew=table.number("slew", "slew", most=1e5),
        raster=table.number("raster", "time", most=1e-3),
        sensitivity=table.number("sensitivity", "sensitivity"),
        inductance=table.number("inductance", "inductance"),
        resistance=table.number("resistance", "resistance", least=0),
        amplifier_voltage=table.number("amplifier_voltage", "voltage"),
        amplifier_current=table.number("amplifier_current", "current"),
        amplifier_power=table.number("amplifier_power", "power"),
        duty_cycle=table.number("duty_cycle", "ratio", 1.0, most=1),
        forbidden_bands=tuple(sorted(bands)),
        band_threshold=table.number("band_threshold", "ratio", 0.5, most=1),
        stimulation=thresholds,
        safe=safe,
        average_power=table.number("average_power", "power", table.number("amplifier_power", "power")),
        heating_time=table.number("heating_time", "time", 60.0, most=1e5),
    )
    reached = gradients.sensitivity * gradients.amplifier_current
    if not gradients.amplitude <= reached * 1.001:
        raise table.error(
            "amplitude",
            f"is {gradients.amplitude * 1e3:.4g} mT/m, but amplifier_current {gradients.amplifier_current:g} A times sensitivity reaches only {reached * 1e3:.4g} mT/m",
        )
    rate = gradients.amplifier_voltage / gradients.inductance * gradients.sensitivity
    if not gradients.slew <= rate * 1.001:
        raise table.error(
            "slew",
            f"is {gradients.slew:.4g} T/m/s, but amplifier_voltage {gradients.amplifier_voltage:g} V over the inductance reaches only {rate:.4g} T/m/s",
        )
    table.finish()
    return gradients


def _in_order(table: Table, key: str, pairs: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    for low, high in pairs:
        if not low < high:
            raise table.error(key, f"has the pair {low:g} to {high:g} (SI units); the first must be the smaller")
    return pairs


def _transmit(table: Table, frequency: float, bore: float) -> Transmit:
    arrays = table.section("arrays", needed=False)
    if len(arrays.values) > 100:
        raise arrays.error("", f"has {len(arrays.values)} arrays; at most 100 make sense")
    transmit = Transmit(
        arrays=tuple(transmit_array(arrays.section(name), name, frequency, bore) for name in arrays.values),
        channels=table.count("channels", most=1024),
        peak_power=table.number("peak_power", "power"),
        average_power=table.number("average_power", "power"),
        peak_b1=table.number("peak_b1", "field", most=1),
        raster=table.number("raster", "time", most=1e-3),
        dead_time=table.number("dead_time", "time", least=0, most=1),
        ringdown_time=table.number("ringdown_time", "time", least=0, most=1),
        max_duration=table.number("max_duration", "time", 0.1),
        duty_cycle=table.number("duty_cycle", "ratio", 1.0, most=1),
        # without a number: a wave of peak power wholly reflected
        peak_voltage=table.number("peak_voltage", "voltage", 2 * math.sqrt(100 * table.number("peak_power", "power"))),
        local_sar_limits=table.truth("local_sar_limits", True),
    )
    if not transmit.average_power <= transmit.channels * transmit.peak_power:
        raise table.error(
            "average_power",
            f"is {transmit.average_power:g} W, more than all channels' peak power together, {transmit.channels * transmit.peak_power:g} W",
        )
    for array in transmit.arrays:
        if array.modes.shape[1] != transmit.channels:
            raise arrays.error(
                array.name, f"has {array.modes.shape[1]} plugs; the scanner has {transmit.channels} transmit channels"
            )
    arrays.finish()
    table.finish()
    return transmit


def _spectrometer(table: Table) -> Spectrometer:
    spectrometer = Spectrometer(
        adc_raster=table.number("adc_raster", "time", most=1e-3),
        adc_dead_time=table.number("adc_dead_time", "time", least=0, most=1),
        block_raster=table.number("block_raster", "time", most=1e-2),
        max_samples=table.count("max_samples", most=2**31 - 1),
        min_dwell=table.number("min_dwell", "time", most=1e-2),
        noise_factor=10 ** (table.number("noise_figure", "decibel", 0.0, least=0, most=60) / 10),
    )
    table.finish()
    return spectrometer


def _shim_coils(table: Table) -> ShimCoils:
    """Strengths of the gradients' offsets and of coils of second order; a section that does not name one has no such coil."""
    if not table.values:
        return ShimCoils()
    table.seen.update(SHIM_COILS)
    limits = {name: table.number(name, SHIM_COILS[name]) for name in SHIM_COILS if name in table.values}
    table.finish()
    order = 2 if any(SHIM_COILS[name] == "curvature" for name in limits) else 1
    known = [name for name, kind in SHIM_COILS.items() if order == 2 or kind == "gradient"]
    return ShimCoils(order, {name: limits.get(name, 0.0) for name in known})


def _receive(table: Table, frequency: float) -> tuple[Array, ...]:
    if len(table.values) > 100:
        raise table.error("", f"has {len(table.values)} arrays; at most 100 make sense")
    arrays = tuple(_array(table.section(name), name, frequency) for name in table.values)
    table.finish()
    return arrays


def _array(table: Table, name: str, frequency: float) -> Array:
    kind, region = table.text("kind"), table.text("region", "")
    if kind == "helmet":
        axes = table.numbers("semi_axes", "length", 3, least=0.01, most=3)
        array = helmet(
            name,
            table.count("channels", most=1024),
            (axes[0], axes[1], axes[2]),
            table.number("skirt", "length", least=0, most=1),
            table.number("face_angle", "angle", 0.0, least=0, most=math.pi / 2),
            table.number("face_height", "length", 0.0, least=-1, most=1),
        )
    elif kind == "panels":
        width, depth = table.numbers("semi_axes", "length", 2, least=0.01, most=3)
        array = panels(
            name,
            table.count("rows", most=32),
            table.count("columns", most=32),
            (width, depth),
            table.number("length", "length", least=0.01, most=3),
            table.number("span", "angle", most=math.pi),
        )
    else:
        raise table.error("kind", f"is {kind!r}; known are helmet, panels")
    clearance = table.number("clearance", "length", least=0, most=1)
    unloaded_q, conductor_radius = (
        table.number("unloaded_q", "ratio", least=1),
        table.number("conductor_radius", "length"),
    )
    thickest = min(loop_radius(loop) for loop in array.loops) / 4
    if not conductor_radius <= thickest:
        raise table.error(
            "conductor_radius",
            f"is {conductor_radius:.3g} m; at most {thickest:.3g} m makes sense for loops of this size",
        )
    table.finish()
    return replace(with_losses(array, unloaded_q, conductor_radius, frequency), region=region, clearance=clearance)
