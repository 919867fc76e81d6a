"""Separable encoding: spins on a lattice and k-space on a grid parallel to it, three short transforms one after another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.boxes import Order, leftover
from lauterbur.acquisition.twin.course import Course, Drift
from lauterbur.acquisition.twin.place import Place
from lauterbur.acquisition.twin.transform import (
    PHASE_TOLERANCE,
    WIDTH,
    Transform,
    fineness,
    levels,
    patterns,
    spread_spectrum,
    spreading,
    transforms,
)

Float = NDArray[np.float64]
BLOCK_BYTES = 600e6  # of volumes transformed at once
SPARSEST = 32  # places of the grid of phase encoding for each readout: sparser ones are no grid


@numba.njit(parallel=True, cache=True)
def scatter(index, coil, values, which, out):
    """out[i, index[v]] += values[which[i], v] coil[v], in two halves of `out` at once."""
    cut = out.shape[1] // 2
    for both in numba.prange(2 * len(which)):
        i, late = both // 2, both % 2 == 1
        m = which[i]
        for v in range(len(index)):
            if (index[v] >= cut) == late:
                out[i, index[v]] += values[m, v] * coil[v]


@numba.njit(parallel=True, cache=True)
def _spread(index, taps, coil, values, which, line, out):
    """The same with several places for each spin, all in one `line` of the volume."""
    cut = out.shape[1] // line // 2 * line
    for both in numba.prange(2 * len(which)):
        part, late = out[both // 2], both % 2 == 1
        m = which[both // 2]
        for v in range(len(index)):
            at = index[v]
            if (at >= cut) == late:
                value = values[m, v] * coil[v]
                for i in range(WIDTH):
                    part[at + i] += taps[v, i] * value


@numba.njit(parallel=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
def _listen(lines, at, runs, rows, loudness, readouts, time, terms, readout, channel, out, energy):
    """out[readout[r], channel, t] += sum_m W[r, m, t] lines[m, at[r], bin(t)] for r in rows; energy[r, m] of each.

    runs (run, 3): samples from, to, and the bin of the first, which the others follow.
    """
    n = time.shape[2]
    for i in numba.prange(len(rows)):
        r = rows[i]
        weight, target = np.empty(n, np.complex64), np.zeros(n, np.complex64)
        for m in range(len(terms)):
            first = readouts[m, r, 0] * loudness[r]
            for t in range(n):
                weight[t] = first * time[m, 0, t]
            for j in range(1, terms[m]):
                more = readouts[m, r, j] * loudness[r]
                for t in range(n):
                    weight[t] += more * time[m, j, t]
            total = np.float32(0)
            for run in range(len(runs)):
                lo, hi = runs[run, 0], runs[run, 1]
                line = lines[m, at[i], runs[run, 2] : runs[run, 2] + hi - lo]
                for t in range(hi - lo):
                    value = weight[lo + t] * line[t]
                    total += value.real * value.real + value.imag * value.imag
                    target[lo + t] += value
            energy[r, m] += total
        for t in range(n):
            out[readout[r], channel, t] += target[t]


@numba.njit(parallel=True, cache=True)
def _gather(source, needed, out):
    """out[m, i] = source[m, needed[i]], with zeros to its end."""
    width = source.shape[2]
    for i in numba.prange(len(needed)):
        for m in range(source.shape[0]):
            for t in range(width):
                out[m, i, t] = source[m, needed[i], t]
            for t in range(width, out.shape[2]):
                out[m, i, t] = 0


def _runs(bins: NDArray[np.intp]) -> NDArray[np.intp]:
    edge = np.concatenate(([0], np.flatnonzero(np.diff(bins) != 1) + 1, [len(bins)]))
    return np.column_stack((edge[:-1], edge[1:], bins[edge[:-1]]))


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a separable encoding: its levels in turns per step, and the transforms that reach them."""

    turns: Float  # (level,) per step of the lattice
    size: int  # places
    base: float  # turns per place
    transforms: list[Transform]
    origin: NDArray[np.complex128]  # (level,) phase of the lattice's first place

    @property
    def room(self) -> int:
        """Places its transforms need."""
        return max(self.size, *(t.n for t in self.transforms))

    @staticmethod
    def of(turns: Float, size: int, first: float, per_step: float = 1.0, *, together: bool = False) -> Axis:
        """`size` places, `per_step` of them in a step of the lattice, the first one `first` steps from k's origin."""
        base, found = transforms(turns / per_step, size, together=together)
        return Axis(turns, size, base, found, np.exp(-2j * np.pi * turns * first))


class Separable:
    """Spins on a lattice, straight readouts along one of its axes, phase encoding along the others."""

    def __init__(
        self,
        place: Place,
        k: Float,
        axes: tuple[int, int, int],
        lines: list[NDArray],
        drift: Drift,
        offset: Float,
    ):
        assert place.lattice is not None
        self.place, self.axes, self.rows = place, axes, lines  # (readout, b, c) as lattice axes x=0 y=1 z=2
        affine, shape = place.lattice.affine, place.lattice.shape
        sizes = (shape[2], shape[1], shape[0])
        kappa = k @ affine[:3, :3]
        first = np.linalg.solve(affine[:3, :3], affine[:3, 3])  # the origin, in steps of the lattice
        a, b, c = axes
        flat = place.lattice.index
        where = (flat % shape[2], flat // shape[2] % shape[1], flat // (shape[2] * shape[1]))
        quantum = PHASE_TOLERANCE / max(sizes)
        b_turns, self.b_index = levels(kappa[:, 0, b], quantum)
        c_turns, self.c_index = levels(kappa[:, 0, c], quantum)
        self.b, self.c = Axis.of(b_turns, sizes[b], first[b]), Axis.of(c_turns, sizes[c], first[c])
        along = [kappa[rows[0], :, a] for rows in lines]
        moved = offset * np.linalg.solve(affine[:3, :3], drift.shift)[a]
        self.taps: NDArray[np.float32] | None = None
        self.fineness = 1.0
        position, origin, n_a = where[a].astype(float), 0.0, sizes[a]
        if np.abs(moved).max(initial=0.0) * max(1.0, np.abs(kappa[:, :, a]).max()) > PHASE_TOLERANCE:
            self.fineness = fineness(along[0])
            position = (where[a] + moved) * self.fineness
            origin = math.floor(position.min()) - WIDTH / 2
            position -= origin
            start, self.taps = np.empty(len(position), np.int64), np.empty((len(position), WIDTH), np.float32)
            spreading(position, start, self.taps)
            n_a = int(start.max()) + WIDTH
        else:
            start = where[a]
        self.shape = (self.c.room, self.b.room, n_a)
        self.index = (where[c] * self.shape[1] + where[b]) * n_a + start
        self.rooms: dict[str, NDArray[np.complex64]] = {}
        begin = first[a] + origin / self.fineness
        self.a = [Axis.of(turns, n_a, begin, self.fineness, together=True) for turns in along]
        self.bases = []  # what the transforms leave to the spins
        for axis in self.a:
            turns = axis.base * position + self.b.base * where[b] + self.c.base * where[c]
            self.bases.append(np.exp(-2j * np.pi * turns).astype(np.complex64))

    def _loudness(self, axis: Axis, which: int, order: Order) -> NDArray[np.complex64]:
        """(level,) the lattice's origin, the boxes, and what spreading did."""
        lattice = self.place.lattice
        assert lattice is not None
        out = axis.origin
        if self.taps is not None and which == self.axes[0]:
            # each transform hears its grid frequency; the base is in the spins already
            out = out / spread_spectrum(axis.turns / self.fineness - axis.base)
        if self.place.edges is not None:
            step = lattice.affine[:3, which]
            scale = self.place.edges[which] @ step / (step @ step)
            out = out * leftover(axis.turns * scale, order[which])
        return out.astype(np.complex64)

    @staticmethod
    def fits(place: Place, k: Float) -> tuple[tuple[int, int, int], list[NDArray]] | None:
        if place.lattice is None or k.shape[1] == 0:
            return None
        shape = place.lattice.shape
        sizes = np.array([shape[2], shape[1], shape[0]])
        if place.edges is not None:  # boxes must be parallel to the lattice
            across = np.linalg.inv(place.lattice.affine[:3, :3]) @ place.edges.T
            if np.abs(across - np.diag(np.diag(across))).max() > 1e-6:
                return None
        kappa = k @ place.lattice.affine[:3, :3]
        span = np.abs(kappa - kappa[:, :1]).max(axis=(0, 1)) * sizes
        along = int(np.argmax(span))
        others = [axis for axis in range(3) if axis != along]
        if any(span[axis] > PHASE_TOLERANCE for axis in others):
            return None
        lines = patterns(kappa[:, :, along] * sizes[along])
        if lines is None:
            return None
        b, c = others
        n_b, n_c = (len(levels(kappa[:, 0, axis], PHASE_TOLERANCE / sizes.max())[0]) for axis in (b, c))
        if n_b * n_c > SPARSEST * len(k) + 64:  # neither grid nor anything near one: radial stars, random points
            return None
        # c is contracted first: the axis that shrinks most
        if n_b / sizes[b] < n_c / sizes[c]:
            b, c = c, b
        return (along, b, c), lines

    def _room(self, name: str, shape: tuple[int, ...]) -> NDArray[np.complex64]:
        """Memory that is used again by the next components; what was in it is still there."""
        if name not in self.rooms or self.rooms[name].size < math.prod(shape):
            self.rooms[name] = np.zeros(math.prod(shape), np.complex64)
        return self.rooms[name][: math.prod(shape)].reshape(shape)

    def _volume(self, values, which, coil) -> NDArray[np.complex64]:
        """(component, c, b, a)"""
        out = self._room("volume", (len(which), math.prod(self.shape)))
        out[:] = 0
        if self.taps is not None:
            _spread(self.index, self.taps, coil, values, which, self.shape[2], out)
        else:
            scatter(self.index, coil, values, which, out)
        return out.reshape(-1, *self.shape)

    def add(self, values, which, order: Order, coil, course: Course, out, readout, channel) -> Float:
        """values[which] (m, n) at the spins, coil (n,); adds into out[readout, channel]. Returns each one's energy."""
        a, b, c = self.axes
        energy = np.zeros((len(readout), len(which)), np.float32)
        loudness = self._loudness(self.b, b, order)[self.b_index] * self._loudness(self.c, c, order)[self.c_index]
        step = max(1, min(len(which), int(BLOCK_BYTES / (24 * math.prod(self.shape)))))
        for i, rows in enumerate(self.rows):
            turned = coil * self.bases[i]
            samples = self._loudness(self.a[i], a, order)
            along = self.a[i].transforms[0]
            runs = _runs(along.at)
            for lo in range(0, len(which), step):
                some = slice(lo, lo + step)
                mine = course.readouts[some], course.time[some] * samples, course.terms[some]
                volume = self._volume(values, which[some], turned)
                for source, at, here in self._lines(volume, rows):
                    needed, back = np.unique(at, return_inverse=True)
                    lines = self._room("lines", (len(source), len(needed), self.a[i].room))
                    _gather(source, needed, lines)
                    encoded, heard = along.apply(lines, 2, self.shape[2]), energy[:, some]
                    _listen(encoded, back.reshape(-1), runs, here, loudness, *mine, readout, channel, out, heard)
        return energy.sum(axis=0, dtype=float)

    def _lines(self, volume, rows):
        """Lines along the readout (m, line, a), which of them each row listens to, and the rows, part by part."""
        for along_c in self.c.transforms:
            at_c = _places(along_c, len(self.c.turns))
            part = along_c.apply(volume, 1, self.c.size)
            for along_b in self.b.transforms:
                at_b = _places(along_b, len(self.b.turns))
                here = rows[(at_c[self.c_index[rows]] >= 0) & (at_b[self.b_index[rows]] >= 0)]
                if not len(here):
                    continue
                both = along_b.apply(part, 2, self.b.size)  # (m, c, b, a)
                at = at_c[self.c_index[here]] * both.shape[2] + at_b[self.b_index[here]]
                yield both.reshape(both.shape[0], -1, both.shape[3]), at, here


def _places(transform: Transform, n: int) -> NDArray[np.intp]:
    """(level,) where in the transform's result each level is, -1 for those it does not bring."""
    out = np.full(n, -1)
    out[transform.levels] = transform.at
    return out
