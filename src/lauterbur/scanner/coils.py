"""Transmit coils as thin conductors, generated from a few numbers: loops, dipoles or a volume coil on a cylinder.

   loops, from the feet          one loop, unrolled           volume coil: the same loops, without gaps,
        .-1--2-.                     -->--                    driven together as cos and sin of their angle;
       8        3    x = left       |     |   z (head)        what flows in a rung is what its two loops differ by
       7        4    y = down       ^     v   ^
        '-6--5-'                     --<--    |    (seen from outside)

Loop 1 is centred at the angle 0, on the patient's left (+x); the next ones follow towards the back (+y).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.scanner.arrays import panels
from lauterbur.scanner.machine import Conductor, TransmitArray
from lauterbur.scanner.table import Table

FINEST = 0.015  # m: longest straight piece of a conductor
DECOUPLING = ("none", "neighbours", "all")  # whose reactive coupling a network takes out
SPEED_OF_LIGHT = 299792458.0  # m/s, exact (SI)


def transmit_array(table: Table, name: str, frequency: float, bore: float) -> TransmitArray:
    """One section [transmit.arrays.NAME] of a profile."""
    kind = table.text("kind")
    if kind == "surface loops":
        width, depth = table.numbers("semi_axes", "length", 2, least=0.01, most=3)
        rows, columns = table.count("rows", most=32), table.count("columns", most=32)
        length, span = table.number("length", "length", least=0.01, most=3), table.number("span", "angle", most=math.pi)
        array = surface_loops(name, rows, columns, (width, depth), length, span)
    elif kind in ("loops", "dipoles", "volume"):
        count = table.count("rungs" if kind == "volume" else "channels", most=256)
        radius = table.number("radius", "length", least=0.01, most=3)
        length = table.number("length", "length", least=0.01, most=3)
        if kind == "loops":
            gap = table.number("gap", "length", least=0, most=1)
            if not gap < 2 * math.pi * radius / count:
                raise table.error(
                    "gap",
                    f"is {gap:g} m; {count} loops on this cylinder have {2 * math.pi * radius / count:.3g} m each",
                )
            array = cylinder_loops(name, count, radius, length, gap)
        elif kind == "dipoles":
            if not length * frequency <= SPEED_OF_LIGHT / 2:
                raise table.error(
                    "length",
                    f"is {length:g} m; a dipole is at most half a wave long, {SPEED_OF_LIGHT / frequency / 2:.3g} m here",
                )
            array = cylinder_dipoles(name, count, radius, length, frequency)
        elif count < 4:
            raise table.error("rungs", f"is {count}; a volume coil needs at least 4")
        else:
            array = volume_coil(name, count, radius, length)
        shield = table.number("shield_radius", "length", 0.0, least=0, most=3)
        if shield and not shield > 1.02 * radius:
            raise table.error(
                "shield_radius", f"is {shield:g} m; it must be more than 1.02 times the conductors' {radius:g} m"
            )
        array = replace(array, shield_radius=shield, depth=table.number("depth", "length", 0.0, least=0, most=1))
    else:
        raise table.error("kind", f"is {kind!r}; known are loops, dipoles, volume, surface loops")
    region, decoupling = table.text("region", ""), table.text("decoupling", array.decoupling)
    if decoupling not in DECOUPLING:
        raise table.error("decoupling", f"is {decoupling!r}; known are {', '.join(DECOUPLING)}")
    if region == "body" and array.radius and not array.radius >= bore / 2:
        raise table.error(
            "radius", f"is {array.radius:g} m; a body coil lies outside the patient's bore, {bore / 2:g} m in radius"
        )
    conductor_radius = table.number("conductor_radius", "length", most=0.1)
    thickest = min(np.ptp(conductor.points, axis=0).max() for conductor in array.conductors) / 8
    if not conductor_radius <= thickest:
        raise table.error(
            "conductor_radius",
            f"is {conductor_radius:.3g} m; at most {thickest:.3g} m makes sense for conductors of this size",
        )
    array = replace(
        array,
        region=region,
        decoupling=decoupling,
        conductor_radius=conductor_radius,
        unloaded_q=table.number("unloaded_q", "ratio", least=1),
        capacitors=table.count("capacitors", most=1000) if array.conductors[0].is_closed else 1,
        clearance=table.number("clearance", "length", least=0, most=1),
    )
    table.finish()
    return array


def cylinder_loops(name: str, channels: int, radius: float, length: float, gap: float) -> TransmitArray:
    """`channels` loops side by side around a cylinder, `gap` m between neighbours; one port each."""
    width = 2 * math.pi / channels - gap / radius
    loops = tuple(_curved_loop(2 * math.pi * i / channels, width, radius, length) for i in range(channels))
    return TransmitArray(name, loops, np.eye(channels), radius=radius, length=length)


def cylinder_dipoles(name: str, channels: int, radius: float, length: float, frequency: float) -> TransmitArray:
    """Dipoles along z around a cylinder, fed in the middle; the current is a sinusoid that ends at the tips.

    sin(k (h - |z|)) / sin(k h): of a thin dipole (King, Theory of linear antennas, 1956); h at most a quarter wave.
    """
    pieces = 2 * max(8, math.ceil(length / 2 / FINEST * 3))  # charge changes fast along it
    z = np.linspace(-length / 2, length / 2, pieces + 1)
    k = 2 * math.pi * frequency / SPEED_OF_LIGHT
    current = np.sin(k * (length / 2 - np.abs(z))) / math.sin(k * length / 2)
    conductors = []
    for i in range(channels):
        angle = 2 * math.pi * i / channels
        points = np.column_stack(
            [np.full_like(z, radius * math.cos(angle)), np.full_like(z, radius * math.sin(angle)), z]
        )
        conductors.append(Conductor(points, current, is_closed=False))
    return TransmitArray(name, tuple(conductors), np.eye(channels), radius=radius, length=length)


def volume_coil(name: str, rungs: int, radius: float, length: float) -> TransmitArray:
    """A birdcage in its two useful modes: mesh n carries cos(angle n) for port 1 and sin(angle n) for port 2, as the ladder's
    own resonance makes it (Hayes et al., J Magn Reson 1985, 63:622); its other modes are taken as far from resonance."""
    angle = 2 * math.pi * np.arange(rungs) / rungs
    meshes = tuple(_curved_loop(a, 2 * math.pi / rungs, radius, length) for a in angle)
    modes = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return TransmitArray(name, meshes, modes, radius=radius, length=length)


def surface_loops(
    name: str, rows: int, columns: int, semi_axes: tuple[float, float], length: float, span: float
) -> TransmitArray:
    """Loops on the body's surface, front and back, as the flexible receive panels; one port each."""
    panel = panels(name, rows, columns, semi_axes, length, span)
    loops = tuple(Conductor(loop.points, np.ones(len(loop.points))) for loop in panel.loops)
    return TransmitArray(
        name, loops, np.eye(len(loops)), length=length, semi_axes=panel.semi_axes, flexible=True, decoupling="all"
    )


def _curved_loop(angle: float, width: float, radius: float, length: float) -> Conductor:
    """A rectangle bent onto the cylinder, `width` rad wide; seen from outside its current turns anticlockwise."""
    turns = max(4, math.ceil(width * radius / FINEST))
    steps = max(4, math.ceil(length / FINEST))
    across = angle + width * (np.arange(turns) / turns - 0.5)
    along = length * (np.arange(steps) / steps - 0.5)
    corners: list[NDArray] = [
        _on_cylinder(across, -length / 2, radius),
        _on_cylinder(angle + width / 2, along, radius),
        _on_cylinder(2 * angle - across, length / 2, radius),
        _on_cylinder(angle - width / 2, -along, radius),
    ]
    points = np.concatenate(corners)
    return Conductor(points, np.ones(len(points)))


def _on_cylinder(angle: NDArray | float, z: NDArray | float, radius: float) -> NDArray[np.float64]:
    angle, z = np.broadcast_arrays(angle, z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1)
