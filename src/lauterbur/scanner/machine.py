"""Scanner and its parts: what the machine is made of, in SI."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SafeAxis:
    """One axis of the SAFE model of nerve stimulation (safety/safe.py)."""

    a: tuple[float, float, float]  # shares of the three low passes
    tau: tuple[float, float, float]  # s, their time constants
    limit: float  # T/m/s, what is 100 %: the mean threshold of stimulation
    weight: float = 1.0  # of this axis where all act together


@dataclass(frozen=True)
class Gradients:
    amplitude: float  # T/m, per axis
    slew: float  # T/m/s, per axis
    raster: float  # s
    sensitivity: float  # T/m per A
    inductance: float  # H
    resistance: float  # Ohm
    amplifier_voltage: float  # V
    amplifier_current: float  # A
    amplifier_power: float  # W, peak
    duty_cycle: float = 1.0  # highest allowed r.m.s. current as a fraction of amplifier_current
    forbidden_bands: tuple[
        tuple[float, float], ...
    ] = ()  # Hz, acoustic resonances, of the gradient waveform's spectrum
    band_threshold: float = 0.5  # share of an axis' gradient power in any 50 ms, allowed inside a forbidden band
    stimulation: dict[str, float] = field(default_factory=dict)  # rheobase T/s, chronaxie s, effective length m
    safe: tuple[SafeAxis, ...] = ()  # x, y, z; empty where nobody gave coefficients
    average_power: float = math.inf  # W, per axis: mean of |V I| over any 10 s
    heating_time: float = 60.0  # s, in which coil and amplifier forget the square of a current


@dataclass(frozen=True, eq=False)
class Conductor:
    """A thin wire of a transmit coil: a loop, or open from end to end. Its current has one shape; how much flows is one number."""

    points: NDArray[
        np.float64
    ]  # m, (point, 3); a loop closes implicitly, and its current is right-handed around outward
    current: NDArray[
        np.float64
    ]  # (point,), relative: 1 all along a loop that capacitors divide, 0 at the ends of a dipole
    is_closed: bool = True


@dataclass(frozen=True, eq=False)
class TransmitArray:
    """Conductors in a shield, and the plugs that drive them."""

    name: str  # "body8", "head8"
    conductors: tuple[Conductor, ...]
    modes: NDArray[
        np.float64
    ]  # (conductor, port): what flows in each conductor for 1 A of a port; identity in an array
    region: str = ""  # what it is for: "head", "body"
    conductor_radius: float = 5e-3  # m, of the round wire that stands for a strip of four times that width
    unloaded_q: float = 300.0  # of each port, tuned, without a body
    capacitors: int = 1  # per loop, evenly spaced: they keep its current uniform
    decoupling: str = "neighbours"  # reactive coupling taken out by a network: "none", "neighbours", "all"
    impedance: float = 50.0  # Ohm, of the plugs
    shield_radius: float = 0.0  # m, of the conducting cylinder around; 0 = none
    radius: float = 0.0  # m, of the cylinder the conductors lie on; for one drawn around the body see semi_axes
    length: float = 0.0  # m, along z
    semi_axes: tuple[float, float, float] = (0.0, 0.0, 0.0)  # m, of the surface a flexible array lies on
    flexible: bool = False  # is drawn around the body
    depth: float = 0.0  # m, of the coil's middle below the crown of a head; 0 = at the middle of the body
    clearance: float = 0.0  # m, least distance of a conductor from the body


@dataclass(frozen=True)
class Transmit:
    channels: int
    peak_power: float  # W per channel
    average_power: float  # W, all channels together
    peak_b1: float  # T, nominal, all channels together
    raster: float  # s
    dead_time: float  # s before a pulse
    ringdown_time: float  # s after a pulse
    duty_cycle: float = 1.0  # highest share of any 10 s that pulses may fill
    peak_voltage: float = math.inf  # V, of each channel's 50 Ohm plug, forward and reflected wave together
    local_sar_limits: bool = True  # whether the limits on local SAR hold for this array (safety/limits.py)
    max_duration: float = 0.1  # s
    arrays: tuple[TransmitArray, ...] = ()  # the first that fits the subject is used


@dataclass(frozen=True, eq=False)
class Loop:
    """A circular or rectangular receive or transmit loop as a closed polygon of wire."""

    points: NDArray[np.float64]  # m, (point, 3), patient, closed implicitly; right-handed current


@dataclass(frozen=True)
class Array:
    name: str  # "head48", "body24"
    loops: tuple[Loop, ...]
    region: str = ""  # what it is for: "head", "body"
    resistance: float = 0.0  # Ohm, each unloaded loop's own loss (coil noise)
    conductor_radius: float = 1e-3  # m
    semi_axes: tuple[float, float, float] = (
        0.0,
        0.0,
        0.0,
    )  # m, of the surface the loops lie on; its centre is the origin
    flexible: bool = False  # is drawn around the body (its x and y stretched to it) instead of the body put into it
    clearance: float = 0.0  # m, least distance of a conductor from the body


@dataclass(frozen=True)
class Spectrometer:
    adc_raster: float  # s
    adc_dead_time: float  # s before and after an ADC window
    block_raster: float  # s
    max_samples: int  # per ADC window
    min_dwell: float  # s
    noise_factor: float = 1.0  # of the receive chain, power ratio, >= 1


@dataclass(frozen=True)
class ShimCoils:
    """What corrects the static field: solid harmonics about the isocentre (fields/harmonics.py), each up to a strength."""

    order: int = 2  # 0: the frequency only; 1: also offsets of the gradients; 2: also coils of second order
    limits: dict[str, float] = field(
        default_factory=dict
    )  # T/m^degree by the term's name; of one not named there is no limit


@dataclass(frozen=True)
class Scanner:
    name: str  # "5T"
    field_strength: float  # T, true
    larmor_frequency: float  # Hz
    bore: float  # m, diameter
    gradients: Gradients
    transmit: Transmit
    receive: tuple[Array, ...]
    spectrometer: Spectrometer
    shim_coils: ShimCoils = field(default_factory=ShimCoils)
    temperature: float = 310.0  # K, of the patient, for noise
    homogeneity: tuple[tuple[float, float], ...] = ()  # (diameter m, ppm)
    sources: dict[str, str] = field(default_factory=dict)  # "gradients.amplitude" -> where the number comes from
    description: str = ""
