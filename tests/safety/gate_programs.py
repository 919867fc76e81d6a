"""Small programs for the gate's tests, written as a physicist would say them."""

import numpy as np

from lauterbur.program import Adc, Column, Gradient, Program, RfPulse
from lauterbur.units import GAMMA_BAR


def trapezoid(amplitude, rise, flat, *, delay=0.0, fall=None):
    """amplitude in T/m."""
    fall = rise if fall is None else fall
    time = np.cumsum([0.0, rise, flat, fall])
    return Gradient(time, GAMMA_BAR * np.array([0.0, amplitude, amplitude, 0.0]), delay)


def lobe(*points, delay=0.0):
    """Points (s, T/m) joined by lines."""
    time, value = np.array(points, float).T
    return Gradient(time, GAMMA_BAR * value, delay, "shaped")


def hard_pulse(b1=5e-6, duration=1e-3, delay=100e-6):
    """b1 in T."""
    n = round(duration / 1e-6)
    time = (np.arange(n) + 0.5) * 1e-6
    return RfPulse(np.full(n, GAMMA_BAR * b1, complex), time, duration, delay, duration / 2, use="excitation")


def program(*blocks, rotations=None, shims=None):
    """Blocks as dicts: duration, and rf, gx, gy, gz, adc, rotation (index), shim (index)."""
    events = {"rf": [], "g": [], "adc": []}
    table = np.full((len(blocks), len(Column)), -1, np.int32)
    seen = {}
    columns = {"rf": Column.RF, "gx": Column.GX, "gy": Column.GY, "gz": Column.GZ, "adc": Column.ADC}
    for row, block in zip(table, blocks, strict=True):
        for name, column in columns.items():
            if name in block:
                kind = events["g" if name.startswith("g") else name]
                row[column] = seen.setdefault(id(block[name]), len(kind))
                if row[column] == len(kind):
                    kind.append(block[name])
        row[Column.ROTATION] = block.get("rotation", -1)
        row[Column.SHIM] = block.get("shim", -1)
    more = {} if rotations is None else {"rotations": np.asarray(rotations, float)}
    more |= {} if shims is None else {"shims": np.asarray(shims, complex)}
    durations = np.array([block["duration"] for block in blocks], float)
    return Program(table, durations, tuple(events["rf"]), tuple(events["g"]), tuple(events["adc"]), **more)


def echo_train(spacing, n_echoes, amplitude=0.03, rise=100e-6):
    """A plain EPI readout train on x."""
    lobes = [trapezoid(s * amplitude, rise, spacing - 2 * rise) for s in (1, -1)]
    return program(*[{"duration": spacing, "gx": lobes[i % 2]} for i in range(n_echoes)])


def gradient_echo(tr=7e-3, n=200, rf=None):
    """A spoiled gradient echo with phase encoding on y."""
    rf = rf or hard_pulse()
    slab, winder = trapezoid(0.01, 100e-6, 1.1e-3), trapezoid(-0.015, 150e-6, 0.5e-3)
    read, spoil = trapezoid(0.01, 100e-6, 1.9e-3), trapezoid(0.02, 150e-6, 1e-3)
    adc = Adc(128, 10e-6, 400e-6)
    encode = [trapezoid(0.02 * (i / n - 0.5), 150e-6, 0.5e-3) for i in range(n)]
    blocks = []
    for i in range(n):
        blocks += [
            {"duration": 1.4e-3, "rf": rf, "gz": slab},
            {"duration": 0.8e-3, "gx": winder, "gy": encode[i]},
            {"duration": 2.1e-3, "gx": read, "adc": adc},
            {"duration": 1.3e-3, "gz": spoil},
            {"duration": tr - 5.6e-3},
        ]
    return program(*blocks)
