"""Receive arrays as loops of wire, generated from a few numbers: a close-fitting helmet, or flexible panels front and back.

Loops overlap as neighbours do in practice, so that their mutual inductance vanishes (Roemer et al., MRM 1990, 16:192):
circular loops with centres 0.75 diameters apart. Preamplifiers are taken as perfect: no current flows in the others.

       helmet, from the left                 panels, from the feet
          .-----.                               .--o--o--o--.       front (-y)
        /  o o o  \\      z (head)             o               o
       | o o o o o |     ^                    |     body      |
 face  |     o o o |     |                    o               o
       '-    o o o |     +--> y (back)         '--o--o--o--'        back (+y)
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.scanner.machine import Array, Loop
from lauterbur.units import MU_0

OVERLAP = 0.75  # distance of neighbouring circular loops' centres, in diameters (Roemer 1990)
CORNERS = 24  # of a loop's polygon; its area is 1.1 % below the circle's
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # Vogel, Math Biosci 1979, 44:179


def helmet(
    name: str, channels: int, semi_axes: tuple[float, float, float], skirt: float, face_angle: float, face_height: float
) -> Array:
    """Loops all over a half ellipsoid and the elliptic cylinder below it, down to z = -skirt, but for an opening at the face.

    A spiral of equal steps in z and golden-angle turns covers a unit sphere, and the cylinder around it, evenly (Archimedes:
    a band's area is proportional to its height); the semi-axes stretch it. The face is open within face_angle to each side
    of the front, below z = face_height.
    """
    a, b, c = semi_axes
    centres = np.zeros((0, 3))
    total = channels
    while len(centres) < channels:
        step = (1 + skirt / c) / total
        height = 1 - step * (np.arange(total) + 0.5)
        turn = GOLDEN_ANGLE * np.arange(total)
        from_front = np.abs((turn + math.pi / 2 + math.pi) % (2 * math.pi) - math.pi)  # the front is -y: angle -90 deg
        is_open = (from_front < face_angle) & (height * c < face_height)
        radius = np.sqrt(1 - np.clip(height, 0, 1) ** 2)
        centres = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)[~is_open]
        total += 1
    centres = centres[:channels]

    normals = np.column_stack([centres[:, 0] / a, centres[:, 1] / b, np.maximum(centres[:, 2], 0) / c])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    area = 2 * math.pi * ((a * b * c) ** (2 / 3) + math.sqrt(a * b) * skirt) * channels / (total - 1)
    pitch = math.sqrt(2 * area / channels / math.sqrt(3))  # of a hexagonal lattice of this density
    loops = tuple(
        circle(centre, normal, pitch / OVERLAP / 2) for centre, normal in zip(centres * semi_axes, normals, strict=True)
    )
    return Array(name, loops, semi_axes=semi_axes)


def panels(name: str, rows: int, columns: int, semi_axes: tuple[float, float], length: float, span: float) -> Array:
    """Two panels of rows x columns loops, front and back, bent around an elliptic cylinder, each over an angle `span`."""
    a, b = semi_axes
    pitch_z = length / rows
    radius = max(pitch_z, math.sqrt(a * b) * span / columns) / OVERLAP / 2 * 0.95
    loops = []
    for front in (-math.pi / 2, math.pi / 2):  # -y, then +y
        for i_row in range(rows):
            for i_column in range(columns):
                angle = front + ((i_column + 0.5) / columns - 0.5) * span
                centre = np.array([a * math.cos(angle), b * math.sin(angle), ((i_row + 0.5) / rows - 0.5) * length])
                normal = np.array([math.cos(angle) / a, math.sin(angle) / b, 0.0])
                loops.append(circle(centre, normal / np.linalg.norm(normal), radius))
    return Array(name, tuple(loops), semi_axes=(a, b, length / 2), flexible=True)


def circle(centre: NDArray, normal: NDArray, radius: float) -> Loop:
    """A loop whose current turns right-handed around `normal`."""
    across = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    up = np.cross(normal, across)
    turn = 2 * math.pi * np.arange(CORNERS) / CORNERS
    return Loop(centre + radius * (np.outer(np.cos(turn), across) + np.outer(np.sin(turn), up)))


def loop_radius(loop: Loop) -> float:
    """m: the mean distance of the wire from its centre."""
    return float(np.linalg.norm(loop.points - loop.points.mean(axis=0), axis=1).mean())


def with_losses(array: Array, unloaded_q: float, conductor_radius: float, frequency: float) -> Array:
    """The array with each loop's own resistance, w L / Q, where L = mu0 a (ln(8 a / w) - 2), of a thin round wire of radius w
    (Grover, Inductance Calculations, 1946), a the mean radius of its loops."""
    radius = float(np.mean([loop_radius(loop) for loop in array.loops]))
    inductance = MU_0 * radius * (math.log(8 * radius / conductor_radius) - 2)
    return replace(
        array, resistance=2 * math.pi * frequency * inductance / unloaded_q, conductor_radius=conductor_radius
    )
