"""Spins: what the twin's engines play on - points or little boxes of magnetisation, each with its tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lauterbur.errors import InputError


@dataclass(frozen=True, eq=False)
class Lattice:
    """A regular grid the spins lie on; several spins may share a voxel, and most voxels may be empty."""

    shape: tuple[int, int, int]  # (z, y, x)
    affine: NDArray[np.float64]  # (4, 4): (i_x, i_y, i_z, 1) -> patient m
    index: NDArray[np.int64]  # (n,) flat C-order index of each spin into shape


class Spins:
    """Magnetisation at n places. A spin without volume is a point; with a volume it is a box.

    A spin weighs proton_density, times volume where given. A box is a cube of that volume along the patient axes,
    or, where `edges` is given, the parallelepiped those three edge vectors span (the same for every spin).
    """

    position: NDArray[np.float64]  # m, (n, 3), patient
    proton_density: NDArray[np.float64]  # relative to water, (n,)
    t1: NDArray[np.float64]  # s, (n,)
    t2: NDArray[np.float64]  # s, (n,)
    t2_prime: NDArray[np.float64]  # s, (n,); inf = none: exp(-|t| / t2_prime), Lorentzian
    off_resonance: NDArray[np.float64]  # Hz, (n,), chemical shift included
    b1_plus: NDArray[np.complex128]  # relative to nominal, (n,), or (tx, n) per transmit channel
    diffusion: NDArray[np.float64]  # m2/s, (n,)
    volume: NDArray[np.float64] | None  # m3, (n,)
    edges: NDArray[np.float64] | None  # m, (3, 3), rows are the edge vectors of every box
    off_resonance_gradient: NDArray[np.float64] | None  # Hz/m, (n, 3): how the off-resonance varies inside the box
    lattice: Lattice | None

    def __init__(
        self,
        position: ArrayLike,
        proton_density: ArrayLike = 1.0,
        t1: ArrayLike = np.inf,
        t2: ArrayLike = np.inf,
        t2_prime: ArrayLike = np.inf,
        off_resonance: ArrayLike = 0.0,
        b1_plus: ArrayLike = 1.0,
        diffusion: ArrayLike = 0.0,
        volume: ArrayLike | None = None,
        edges: ArrayLike | None = None,
        off_resonance_gradient: ArrayLike | None = None,
        lattice: Lattice | None = None,
    ):
        place = np.ascontiguousarray(position, np.float64)
        if place.ndim != 2 or place.shape[1] != 3:
            raise InputError(f"spins: position has shape {place.shape}; it must be (n, 3), in metres")
        n = len(place)

        def per_spin(name: str, value: ArrayLike, dtype: type = np.float64) -> NDArray:
            array: NDArray = np.asarray(value, dtype)
            if array.ndim == 0:
                array = np.full(n, array, dtype)
            if array.shape != (n,):
                raise InputError(f"spins: {name} has shape {array.shape}; position has {n} spins, so it must be ({n},)")
            return np.ascontiguousarray(array)

        def check(name: str, valid: ArrayLike, rule: str) -> None:
            wrong = np.flatnonzero(np.logical_not(valid))
            if len(wrong):
                raise InputError(f"spins: {name} of spin {wrong[0]} is not {rule} ({len(wrong)} of {n} spins)")

        times = {"t1": per_spin("t1", t1), "t2": per_spin("t2", t2), "t2_prime": per_spin("t2_prime", t2_prime)}
        numbers = {
            "proton_density": per_spin("proton_density", proton_density),
            "off_resonance": per_spin("off_resonance", off_resonance),
            "diffusion": per_spin("diffusion", diffusion),
        }
        b1 = np.asarray(b1_plus, np.complex128)
        b1 = b1 if b1.ndim == 2 else per_spin("b1_plus", b1_plus, np.complex128)
        size = None if volume is None else per_spin("volume", volume)
        sides = None if edges is None else np.ascontiguousarray(edges, np.float64)
        gradient = None if off_resonance_gradient is None else np.ascontiguousarray(off_resonance_gradient, np.float64)

        for name, value in times.items():
            check(name, value > 0, "a positive time in seconds")
        for name, value in numbers.items():
            check(name, np.isfinite(value), "finite")
        check("position", np.isfinite(place).all(axis=1), "finite")
        check("diffusion", numbers["diffusion"] >= 0, "zero or positive")
        if b1.shape[-1] != n:
            raise InputError(f"spins: b1_plus has shape {b1.shape}; it must be ({n},) or (tx, {n})")
        check("b1_plus", np.isfinite(np.atleast_2d(b1)).all(axis=0), "finite")
        if size is not None:
            check("volume", (size > 0) & np.isfinite(size), "positive and finite")
        if sides is not None and sides.shape != (3, 3):
            raise InputError(f"spins: edges has shape {sides.shape}; it must be (3, 3)")
        if gradient is not None and gradient.shape != (n, 3):
            raise InputError(f"spins: off_resonance_gradient has shape {gradient.shape}; it must be ({n}, 3)")
        values: dict[str, object] = {
            "position": place,
            **times,
            **numbers,
            "b1_plus": b1,
            "volume": size,
            "edges": sides,
            "off_resonance_gradient": gradient,
            "lattice": lattice,
        }
        for name, held in values.items():
            object.__setattr__(self, name, held)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"spins are frozen; build new ones instead of setting {name}")

    def __len__(self) -> int:
        return len(self.position)

    @property
    def weight(self) -> NDArray[np.float64]:
        """(n,) proton density, times volume where given."""
        return self.proton_density if self.volume is None else self.proton_density * self.volume

    def subset(self, chosen: NDArray) -> Spins:
        """The spins at these indices (or where the mask is true), off their lattice."""
        return Spins(
            self.position[chosen],
            self.proton_density[chosen],
            self.t1[chosen],
            self.t2[chosen],
            self.t2_prime[chosen],
            self.off_resonance[chosen],
            self.b1_plus[..., chosen],
            self.diffusion[chosen],
            None if self.volume is None else self.volume[chosen],
            self.edges,
            None if self.off_resonance_gradient is None else self.off_resonance_gradient[chosen],
        )
