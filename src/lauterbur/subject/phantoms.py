"""Phantoms: a ball, and a body whose left, right, front, back, head and foot nobody can mistake."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, ResourceError
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.tissues import read_tissues
from lauterbur.units import mm

MOST_VOXELS = 200_000_000
Distance = Callable[[NDArray, NDArray, NDArray], NDArray]  # (x, y, z) m -> m to the surface, negative inside


def sphere(*, radius: float = 80 * mm, tissue: str = "agar", spacing: float = 2 * mm, seed: int = 0) -> Subject:
    """A ball of one tissue in air around the isocentre, with partial volumes at its surface."""
    if not (np.isfinite(radius) and 0 < radius <= 1):
        raise InputError(f"sphere: a radius of {radius} m; it must be positive and at most 1 m")
    return _solid("sphere", [(tissue, _ball(0, 0, 0, radius))], np.full(3, radius + 10 * mm), spacing, seed)


def orientation(*, spacing: float = 2 * mm, seed: int = 0) -> Subject:
    """A box of agar, 120 x 150 x 130 mm, with its directions marked.

    front (-y)  a nose, low on the face           back (+y)  a bar of fat from left to right
    right (-x)  one ball of water                 left (+x)  two balls of water, one above the other
    head  (+z)  a round cap                       foot (-z)  flat; a letter L of water lies on it, its foot to the left
    """
    parts: list[tuple[str, Distance]] = [
        ("agar", _box((-60, 60), (-75, 75), (-65, 65))),
        ("agar", _ball(0, 0, 40 * mm, 52 * mm)),  # the cap rises 27 mm above the box
        ("agar", _ball(0, -75 * mm, -15 * mm, 18 * mm)),  # the nose
        ("fat", _box((-50, 50), (58, 68), (20, 30))),
        ("water", _ball(-40 * mm, 0, 0, 12 * mm)),
        ("water", _ball(40 * mm, 0, 22 * mm, 12 * mm)),
        ("water", _ball(40 * mm, 0, -22 * mm, 12 * mm)),
        ("water", _box((-30, -20), (-40, 30), (-58, -48))),  # the stroke of the L, front to back
        ("water", _box((-30, 15), (20, 30), (-58, -48))),  # its foot, to the left
    ]
    return _solid("orientation", parts, np.array([75, 105, 105]) * mm, spacing, seed)


def _ball(x: float, y: float, z: float, radius: float) -> Distance:
    return lambda px, py, pz: np.sqrt((px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2) - radius


def _box(*sides: tuple[float, float]) -> Distance:
    """Sides in mm."""

    def distance(*place: NDArray) -> NDArray:
        beyond = [np.maximum(low * mm - axis, axis - high * mm) for axis, (low, high) in zip(place, sides, strict=True)]
        return np.maximum(np.maximum(beyond[0], beyond[1]), beyond[2])

    return distance


def _solid(name: str, parts: list[tuple[str, Distance]], half: NDArray, spacing: float, seed: int) -> Subject:
    """Solids in air, each displacing those before it; a voxel's share from the distance of its centre to the surface."""
    if not (np.isfinite(spacing) and 1e-5 <= spacing <= 0.05):
        raise InputError(f"{name}: a voxel of {spacing} m; it must be 0.01 to 50 mm")
    shape = tuple(int(n) for n in 2 * np.ceil(half / spacing))[::-1]
    if np.prod(shape, dtype=float) > MOST_VOXELS:
        raise ResourceError(
            f"{name}: {shape} voxels of {spacing / mm:g} mm; at most {MOST_VOXELS:.0e}: choose a coarser spacing"
        )
    z, y, x = (
        ((np.arange(n) - (n - 1) / 2) * spacing).reshape([-1 if i == axis else 1 for i in range(3)])
        for axis, n in enumerate(shape)
    )
    table = read_tissues()
    names = list(dict.fromkeys(tissue for tissue, _ in parts))
    missing = [tissue for tissue in names if tissue not in table]
    if missing:
        raise InputError(f"{name}: there is no tissue {missing[0]!r}; known are {', '.join(table)}")
    labels = np.empty((len(names), *shape), np.uint8)
    labels[:] = np.arange(1, len(names) + 1, dtype=np.uint8)[:, None, None, None]
    fraction = np.zeros((len(names), *shape), np.float32)
    for tissue, distance in parts:
        share = np.clip(0.5 - distance(x, y, z) / spacing, 0, 1).astype(np.float32)
        fraction *= 1 - share
        fraction[names.index(tissue)] += share
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing for n in shape[::-1]]
    tissues = (table["air"], *(table[tissue] for tissue in names))
    return Subject(name, labels, fraction, affine, tissues, seed=seed, source="geometry")
