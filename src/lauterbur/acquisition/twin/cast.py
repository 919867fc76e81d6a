"""The cast: a program's spins as the fast engine sees them, and the atoms that stand in for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.atoms import Extent
from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.place import Place, find_lattice
from lauterbur.acquisition.twin.played import Played, PulseShape
from lauterbur.acquisition.twin.pulses import N_COLUMNS, pulse_maps
from lauterbur.acquisition.twin.selection import prepares
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.transform import alike
from lauterbur.errors import InputError

Float = NDArray[np.float64]
RATES = 2, 3  # of longitudinal and transverse relaxation that a pulse is played with
SLOW = 0.03, 0.2  # times the pulse's length: rates that are interpolated
MUCH = 0.7  # of the atoms' plays that this may take
Parameters = dict[
    str, Float
]  # t1, t2, offset, diffusion, u, b1, b1_prepared (n,), position (n, 3), field (drive, n) complex


@dataclass(frozen=True, eq=False)
class Cast:
    spins: Spins
    place: Place
    weight: NDArray[np.complex128]  # (n,), with the phase of B1+ where all pulses share it
    b1: NDArray[np.complex128]  # (tx, n) relative B1+; of a shared field its size alone, (1 or 2, n)
    drives: NDArray[np.complex128]  # (drive, tx) channel weights
    u: Float  # m, (n,) along the selected axis
    is_shared_field: bool  # by all pulses; but inversions and saturations, whose phase nobody sees, may have another

    @property
    def strongest(self) -> float:
        """The largest relative B1+ of any spin under any drive."""
        return max((float(np.abs(drive @ self.b1).max()) for drive in self.drives), default=0.0)

    def driven(self, drive: int) -> Cast:
        """As if all pulses shared this drive; see Pass.driven_alike."""
        size, turn = _polar(self.drives[drive] @ self.b1)
        return replace(
            self,
            weight=self.weight * turn,
            b1=size[None, :],
            drives=np.ones((1, 1), complex),
            is_shared_field=True,
        )

    def parameters(self, chosen: NDArray, shift: Float, axis: Float) -> Parameters:
        """Of these spins, moved by `shift` (3,) m inside their boxes (with the off-resonance the shift brings)."""
        s = self.spins
        offset = s.off_resonance[chosen]
        if s.off_resonance_gradient is not None and shift.any():
            offset = offset + s.off_resonance_gradient[chosen] @ shift
        field = self.b1[:, chosen] if self.is_shared_field else self.drives @ self.b1[:, chosen]
        return {
            "t1": s.t1[chosen],
            "t2": s.t2[chosen],
            "offset": offset,
            "diffusion": s.diffusion[chosen],
            "u": self.u[chosen] + shift @ axis,
            "position": s.position[chosen] + shift,
            "field": field,
            "b1": np.abs(field[0]),
            "b1_prepared": np.abs(field[1]) if self.is_shared_field and len(field) == 2 else np.zeros(len(offset)),
        }


def cast(spins: Spins, played: Played, axis: Float | None) -> Cast:
    b1 = np.atleast_2d(spins.b1_plus)
    weights = [np.ones(len(b1), complex) if drive is None else drive for drive in played.drives]
    weights = weights or [np.ones(len(b1), complex)]
    for drive in weights:
        if len(drive) != len(b1):
            raise InputError(
                f"the program drives {len(drive)} transmit channels, but the spins carry b1_plus of {len(b1)}; "
                f"give b1_plus as ({len(drive)}, n)"
            )
    edges = spins.edges
    if edges is None and spins.volume is not None:
        sides = np.cbrt(spins.volume)
        if np.ptp(sides) > 1e-6 * sides.max():
            raise InputError(
                f"spins: boxes of one simulation share one size, but volume runs from {spins.volume.min():.3g} to "
                f"{spins.volume.max():.3g} m3; put partial volumes into proton_density"
            )
        edges = np.eye(3) * sides.mean()
    if spins.volume is None:
        edges = None
    place = Place(spins.position, edges, find_lattice(spins))
    u = spins.position @ (np.zeros(3) if axis is None else axis)
    weight, mixed = spins.weight.astype(complex), np.array(weights)
    others = [prepares(shape) for shape in played.shapes if (shape.drive != 0).any()]
    is_shared = len(mixed) == 1 or (len(mixed) == 2 and all(others))
    if is_shared:
        size, turn = _polar(mixed @ b1)
        weight, b1, mixed = weight * turn[0], size, np.eye(len(mixed), dtype=complex)
    return Cast(spins, place, weight, b1, mixed, u, is_shared)


def _polar(field: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Size and unit phase."""
    size = np.abs(field)
    return size.astype(complex), np.where(size > 0, field / np.where(size > 0, size, 1), 1)


def maps_of(line: Timeline, parameters: Parameters) -> NDArray[np.float32]:
    """(shape, N_COLUMNS, atom), zero for shapes that are not played.

    The atoms of a grid differ in relaxation more often than in anything else. What little it does during a pulse is smooth, so
    that each distinct spin plays few rates, between which the maps are interpolated.
    """
    p = parameters
    out = np.zeros((len(line.shapes), N_COLUMNS, len(p["t1"])), np.float32)
    key = np.column_stack((p["offset"], p["position"], p["field"].real.T, p["field"].imag.T))
    first, which = alike(key)
    r1, r2 = 1 / p["t1"], 1 / p["t2"]
    for i in np.unique(line.shape):
        shape = line.shapes[i]
        drive = p["field"]

        def played(
            who: NDArray, t1: NDArray, t2: NDArray, shape: PulseShape = shape, drive: NDArray = drive
        ) -> NDArray:
            return pulse_maps(shape, drive[:, who], p["offset"][who], p["position"][who], t1, t2)

        length = float(shape.length.sum())
        slow = (r1 * length < SLOW[0]) & (r2 * length < SLOW[1])
        if len(first) * RATES[0] * RATES[1] > MUCH * np.count_nonzero(slow):
            out[i] = played(np.arange(len(r1)), p["t1"], p["t2"])
            continue
        nodes_1, nodes_2 = (Extent.of("rate", r[slow]).chebyshev(n) for r, n in zip((r1, r2), RATES, strict=True))
        rates = [(a, b) for a in nodes_1.nodes for b in nodes_2.nodes]
        with np.errstate(divide="ignore"):  # nothing relaxes: T1 or T2 is infinite
            times = 1 / np.array(rates)
        maps = [played(first, *np.broadcast_to(pair[:, None], (2, len(first)))) for pair in times]
        weights_1, weights_2 = nodes_1.weights(r1[slow]).T, nodes_2.weights(r2[slow]).T
        weights = (weights_1[:, None, :] * weights_2[None, :, :]).reshape(len(maps), -1)
        _mix(np.array(maps), which[slow], weights.astype(np.float32), np.flatnonzero(slow), out[i])
        quick = np.flatnonzero(~slow)
        out[i][:, quick] = played(quick, p["t1"][quick], p["t2"][quick])
    return out


@numba.njit(parallel=True, cache=True)
def _mix(maps, which, weights, where, out):
    """out[:, where[a]] = sum_j weights[j, a] maps[j, :, which[a]]"""
    for column in numba.prange(maps.shape[1]):
        for a in range(len(where)):
            total = np.float32(0)
            for j in range(maps.shape[0]):
                total += weights[j, a] * maps[j, column, which[a]]
            out[column, where[a]] = total


def joined(parts: list[Parameters]) -> Parameters:
    return {name: np.concatenate([p[name] for p in parts], axis=-1 if name == "field" else 0) for name in parts[0]}


@dataclass(frozen=True, eq=False)
class ExactAtoms:
    """One atom for each distinct spin (and place inside its box)."""

    parameters: Parameters
    index: NDArray[np.int64]  # (quadrature, n) the atom of each spin

    def values(self, table: NDArray[np.complex64], parts: list[Parameters], chosen: NDArray) -> NDArray:
        """(place, n, column): rows of `table` (atom, column) of these spins."""
        return table[self.index[:, chosen]]


def exact_atoms(parts: list[Parameters]) -> ExactAtoms:
    everything = joined(parts)
    field = everything["field"]
    rows = np.column_stack(
        [everything[name] for name in ("t1", "t2", "offset", "diffusion")]
        + [everything["position"], field.real.T, field.imag.T]
        if np.ptp(everything["u"]) or not np.isfinite(everything["u"][0])
        else [everything[name] for name in ("t1", "t2", "offset", "diffusion")] + [field.real.T, field.imag.T]
    )
    _, first, index = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    chosen = {name: (v[:, first] if name == "field" else v[first]) for name, v in everything.items()}
    return ExactAtoms(chosen, index.reshape(len(parts), -1))
