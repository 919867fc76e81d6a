"""Encoding: sums of magnetisation over all spins at the k-space points of many readouts.

    out[r, t] += sum_m W[r, t, m] sum_v values[m, v] box(k[r, t]) exp(-2 pi i k[r, t].r_v)

Three ways to the same sum, the cheapest that fits is taken: a separable one where spins and k-space lie on parallel
grids (three short transforms), a non-uniform FFT otherwise (finufft), and the sum itself where it is small.
The box of the n-th polynomial is a product of j_n(pi k.edge) (boxes.py), so dephasing inside a voxel is exact.

While k runs straight and steadily, off-resonance is a shift of the spins along it (Drift), which costs no components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import finufft
import numba
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.boxes import Order, box_factor, leftover
from lauterbur.acquisition.twin.place import Place
from lauterbur.acquisition.twin.transform import (
    PHASE_TOLERANCE,
    WIDTH,
    Transform,
    levels,
    patterns,
    spread_spectrum,
    spreading,
)

Float = NDArray[np.float64]
NUFFT_TOLERANCE = 1e-5
DIRECT_LIMIT = 3e7  # spins times points
BLOCK_BYTES = 400e6  # of volumes transformed at once


@dataclass(frozen=True, eq=False)
class Drift:
    """Off-resonance f during a straight readout: the spin is heard as if at r + f shift, off resonance for `time` alone."""

    shift: Float  # m/Hz, (3,)
    time: Float  # s since the pulse, (sample,): what is left for the time course

    @staticmethod
    def none(time: Float) -> Drift:
        return Drift(np.zeros(3), time)

    @staticmethod
    def of(k: Float, time: Float, offset: float) -> Drift:
        """k (row, sample, 3) 1/m since the pulse, time (sample,) s, offset: Hz, the largest."""
        n = len(time)
        if n < 8:
            return Drift.none(time)
        quarter, half = n // 4, n // 2
        velocity = (k[0, quarter + half] - k[0, quarter]) / (time[quarter + half] - time[quarter])
        if not np.linalg.norm(velocity) > 0:
            return Drift.none(time)
        shift = velocity / (velocity @ velocity)
        along = k @ shift
        if np.abs(along - along[:1]).max() * offset > PHASE_TOLERANCE:
            return Drift.none(time)
        left = time - along.mean(axis=0)
        return Drift(shift, left) if np.ptp(left) < 0.3 * np.ptp(time) else Drift.none(time)


@dataclass(frozen=True, eq=False)
class Course:
    """How loud each component is in each readout and sample: W[r, t, m] = sum_j readouts[m, r, j] time[m, j, t]."""

    readouts: NDArray[np.complex64]  # (component, row, term)
    time: NDArray[np.complex64]  # (component, term, sample)
    terms: NDArray[np.int64]  # (component,) how many terms each has

    def subset(self, which: NDArray) -> Course:
        return Course(self.readouts[which], self.time[which], self.terms[which])

    def of(self, rows: NDArray | slice) -> NDArray[np.complex64]:
        """(row, component, sample)"""
        return np.einsum("mrj,mjt->rmt", self.readouts[:, rows], self.time, optimize=True)


@numba.njit(parallel=True, cache=True)
def _scatter(index, coil, values, out):
    for m in numba.prange(values.shape[0]):
        for v in range(len(index)):
            out[m, index[v]] += values[m, v] * coil[v]


@numba.njit(parallel=True, cache=True)
def _spread(index, taps, coil, values, out):
    for m in numba.prange(values.shape[0]):
        for v in range(len(index)):
            value = values[m, v] * coil[v]
            at = index[v]
            for i in range(WIDTH):
                out[m, at + i] += taps[v, i] * value


@numba.njit(parallel=True, cache=True)
def _listen(lines, at, rows, readouts, time, terms, readout, channel, out, energy):
    """out[readout[r], channel, t] += sum_m W[r, m, t] lines[m, at[r], t] for r in rows; energy[r, m] of each."""
    n = time.shape[2]
    for i in numba.prange(len(rows)):
        r = rows[i]
        weight = np.empty(n, np.complex64)
        target = out[readout[r], channel]
        for m in range(len(terms)):
            for t in range(n):
                weight[t] = readouts[m, r, 0] * time[m, 0, t]
            for j in range(1, terms[m]):
                for t in range(n):
                    weight[t] += readouts[m, r, j] * time[m, j, t]
            line = lines[m, at[i]]
            total = np.float32(0)
            for t in range(n):
                value = weight[t] * line[t]
                total += value.real * value.real + value.imag * value.imag
                target[t] += value
            energy[r, m] += total


class Separable:
    """Spins on a lattice, straight readouts along one of its axes, phase encoding along the others."""

    def __init__(
        self,
        place: Place,
        k: Float,
        axes: tuple[int, int, int],
        lines: list[NDArray],
        drift: Drift | None,
        offset: Float | None,
    ):
        assert place.lattice is not None
        self.place, self.lattice, self.axes = place, place.lattice, axes  # (readout, b, c) as lattice axes x=0 y=1 z=2
        affine, shape = self.lattice.affine, self.lattice.shape
        self.sizes = (shape[2], shape[1], shape[0])
        kappa = k @ affine[:3, :3]
        self.first = np.linalg.solve(affine[:3, :3], affine[:3, 3])  # the origin, in steps of the lattice
        a, b, c = axes
        quantum = PHASE_TOLERANCE / max(self.sizes)
        self.b_values, self.b_index = levels(kappa[:, 0, b], quantum)
        self.c_values, self.c_index = levels(kappa[:, 0, c], quantum)
        self.lines = [(rows, kappa[rows[0], :, a]) for rows in lines]
        self.n_samples = k.shape[1]
        self.fineness, self.origin, self.n_a = 1, 0.0, self.sizes[a]
        self.index, self.taps = None, None
        if drift is not None and offset is not None and drift.shift.any():
            self._between(kappa[:, :, a], offset * np.linalg.solve(affine[:3, :3], drift.shift)[a])
        self.transforms: dict[tuple[int, int, int], Transform] = {}

    def _between(self, kappa: Float, moved: Float) -> None:
        """Spins that lie between the lattice's places along the readout: moved (n,) steps."""
        if np.abs(moved).max() * max(1.0, np.abs(kappa).max()) < PHASE_TOLERANCE:
            return
        a, b, c = self.axes
        _, ny, nx = self.lattice.shape
        flat = self.lattice.index
        where = (flat % nx, flat // nx % ny, flat // (ny * nx))
        self.fineness = max(1, math.ceil(4 * np.abs(kappa).max() - 1e-6))
        place = (where[a] + moved) * self.fineness
        self.origin = math.floor(place.min()) - WIDTH / 2
        place -= self.origin
        start, taps = np.empty(len(place), np.int64), np.empty((len(place), WIDTH), np.float32)
        spreading(place, start, taps)
        self.n_a = int(start.max()) + WIDTH
        self.index = ((where[c] * self.sizes[b]) + where[b]) * self.n_a + start
        self.taps = taps

    def _matrix(self, axis: int, turns: Float, order: int) -> NDArray[np.complex64]:
        """(point, index): phase and box of one axis, with its part of the origin's phase."""
        affine = self.lattice.affine
        steps = np.arange(self.sizes[axis], dtype=float)
        spread = self.taps is not None and axis == self.axes[0]
        if spread:
            steps = (np.arange(self.n_a) + self.origin) / self.fineness
        out = np.exp(-2j * np.pi * turns[:, None] * (self.first[axis] + steps)[None, :])
        if spread:
            out /= spread_spectrum(turns / self.fineness)[:, None]
        if self.place.edges is not None:
            direction = affine[:3, axis] / np.linalg.norm(affine[:3, axis])
            scale = self.place.edges[axis] @ direction / np.linalg.norm(affine[:3, axis])
            out *= leftover(turns * scale, order)[:, None]
        return out.astype(np.complex64)

    def _transform(self, which: int, order: int, pattern: int = 0) -> Transform:
        """which: 0 the readout, 1 and 2 the phase encodings."""
        key = (which, order, pattern)
        if key not in self.transforms:
            turns = (self.lines[pattern][1], self.b_values, self.c_values)[which]
            step = self.fineness if which == 0 else 1
            self.transforms[key] = Transform.of(self._matrix(self.axes[which], turns, order), turns / step)
        return self.transforms[key]

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
        if n_b * n_c > 8 * len(k) + 64:  # neither grid nor anything near one: radial stars, random points
            return None
        # c is contracted first: the axis that shrinks most
        if n_b / sizes[b] < n_c / sizes[c]:
            b, c = c, b
        return (along, b, c), lines

    def _volume(self, values, coil) -> NDArray[np.complex64]:
        """(component, c, b, a)"""
        a, b, c = self.axes
        if self.taps is not None:
            out = np.zeros((len(values), self.sizes[c] * self.sizes[b] * self.n_a), np.complex64)
            _spread(self.index, self.taps, coil, values, out)
            return out.reshape(-1, self.sizes[c], self.sizes[b], self.n_a)
        image = np.zeros((len(values), math.prod(self.lattice.shape)), np.complex64)
        _scatter(self.lattice.index, coil, values, image)
        return np.ascontiguousarray(image.reshape(-1, *self.lattice.shape).transpose(0, 3 - c, 3 - b, 3 - a))

    def add(self, values, order: Order, coil, course: Course, out, readout, channel) -> Float:
        """values (m, n) at the spins, coil (n,); adds into out[readout, channel]. Returns each component's energy."""
        a, b, c = self.axes
        orders = (order[a], order[b], order[c])
        energy = np.zeros((len(readout), len(values)), np.float32)
        n_b, n_c = len(self.b_values), len(self.c_values)
        largest = max(self.n_a * self.sizes[b] * max(self.sizes[c], n_c), n_b * n_c * (self.n_a + self.n_samples))
        step = max(1, min(len(values), int(BLOCK_BYTES / (16 * largest))))
        for lo in range(0, len(values), step):
            some = slice(lo, lo + step)
            part = self._transform(2, orders[2]).apply(self._volume(values[some], coil), 1)
            part = self._transform(1, orders[1]).apply(part, 2)  # (m, c, b, a)
            source = part.reshape(part.shape[0], -1, part.shape[3])
            heard = energy[:, some]
            for i, (rows, _) in enumerate(self.lines):
                at = self.c_index[rows] * part.shape[2] + self.b_index[rows]
                lines, back = np.unique(at, return_inverse=True)
                wanted = np.ascontiguousarray(source[:, lines]) if len(lines) < 0.9 * source.shape[1] else source
                if wanted is source:
                    back = at
                encoded = self._transform(0, orders[0], i).apply(wanted, 2)
                _listen(
                    encoded,
                    back.reshape(-1),
                    rows,
                    course.readouts[some],
                    course.time[some],
                    course.terms[some],
                    readout,
                    channel,
                    out,
                    heard,
                )
        return energy.sum(axis=0, dtype=float)


class Nufft:
    """Any k-space: from a lattice to points, or from points to points."""

    def __init__(self, place: Place, k: Float):
        self.place, self.k = place, k
        flat = k.reshape(-1, 3)
        self.phase = np.ones(1, np.complex64)
        if place.lattice is not None:
            affine, shape = place.lattice.affine, place.lattice.shape
            kappa = flat @ affine[:3, :3]
            middle = affine[:3, :3] @ np.array([shape[2] // 2, shape[1] // 2, shape[0] // 2]) + affine[:3, 3]
            self.phase = np.exp(-2j * np.pi * (flat @ middle)).astype(np.complex64)
            self.turns = [
                np.ascontiguousarray(2 * np.pi * (kappa[:, i] - np.round(kappa[:, i])), np.float32) for i in range(3)
            ]
            # finufft sums index -n/2.. n/2-1 for the same middle; a rounded kappa changes nothing at integer indices
            self.flat_axes = [i for i in range(3) if np.ptp(kappa[:, i]) * max(shape[2 - i], 1) < 1e-5]
            self.kappa = kappa

    def add(self, values, order: Order, coil, course: Course, out, readout, channel) -> Float:
        n_rows, n_samples = self.k.shape[:2]
        factor = np.broadcast_to(box_factor(self.k, self.place.edges, order), (n_rows, n_samples)).astype(np.float32)
        energy = np.zeros(len(values))
        for m in range(len(values)):
            if self.place.lattice is not None:
                result = self._from_lattice(values[m], coil)
            else:
                result = self._from_points(values[m] * coil)
            result = (result * self.phase).reshape(n_rows, n_samples) * factor
            result *= course.readouts[m] @ course.time[m]
            energy[m] = float(np.vdot(result, result).real)
            for row in range(n_rows):
                out[readout[row], channel, :n_samples] += result[row]
        return energy

    def _from_lattice(self, values, coil) -> NDArray[np.complex64]:
        lattice = self.place.lattice
        assert lattice is not None
        image = np.zeros((1, math.prod(lattice.shape)), np.complex64)
        _scatter(lattice.index, coil, values[None], image)
        image = image.reshape(lattice.shape)
        live = [axis for axis in range(3) if axis not in self.flat_axes]
        for axis in self.flat_axes:  # k does not move along this axis: sum it with its one phase
            n = lattice.shape[2 - axis]
            phase = np.exp(-2j * np.pi * self.kappa[0, axis] * (np.arange(n) - n // 2)).astype(np.complex64)
            image = np.moveaxis(np.tensordot(image, phase, axes=(2 - axis, 0))[None], 0, 2 - axis)
        # modes ordered (x, y, z) for the coordinates given; C-order arrays are (z, y, x): finufft's first is slowest
        image = np.ascontiguousarray(image.reshape([lattice.shape[2 - axis] for axis in reversed(live)]))
        points = [self.turns[axis] for axis in reversed(live)]
        if not live:
            return np.full(self.k.shape[0] * self.k.shape[1], image.sum(), np.complex64)
        plan = {1: finufft.nufft1d2, 2: finufft.nufft2d2, 3: finufft.nufft3d2}[len(live)]
        return plan(*points, image, eps=NUFFT_TOLERANCE, isign=-1)

    def _from_points(self, values) -> NDArray[np.complex64]:
        position = self.place.position
        targets = self.k.reshape(-1, 3)
        live = [i for i in range(3) if np.ptp(targets[:, i]) * np.ptp(position[:, i]) > 1e-6]
        phase = np.ones(len(position), complex)
        for i in range(3):
            if i not in live:
                phase *= np.exp(-2j * np.pi * targets[0, i] * position[:, i])
        strength = np.ascontiguousarray(values * phase, np.complex128)
        if not live:
            return np.full(len(targets), strength.sum(), np.complex64)
        sources = [np.ascontiguousarray(2 * np.pi * position[:, i]) for i in live]
        wanted = [np.ascontiguousarray(targets[:, i]) for i in live]
        plan = {1: finufft.nufft1d3, 2: finufft.nufft2d3, 3: finufft.nufft3d3}[len(live)]
        return plan(*sources, strength, *wanted, eps=NUFFT_TOLERANCE, isign=-1).astype(np.complex64)


class Direct:
    """The sum itself."""

    def __init__(self, place: Place, k: Float):
        self.place, self.k = place, k

    def add(self, values, order: Order, coil, course: Course, out, readout, channel) -> Float:
        strength = (values * coil).T.astype(np.complex128)
        energy = np.zeros(len(values))
        n_samples = self.k.shape[1]
        step = max(1, int(2e7 / max(len(strength) * n_samples, 1)))
        for lo in range(0, len(self.k), step):
            k = self.k[lo : lo + step]
            turns = k.reshape(-1, 3) @ self.place.position.T
            encoded = np.exp(-2j * np.pi * turns) @ strength  # (point, m)
            encoded = encoded.reshape(len(k), n_samples, -1).transpose(0, 2, 1) * course.of(slice(lo, lo + step))
            encoded *= np.asarray(box_factor(k, self.place.edges, order)).reshape(
                -1, 1, n_samples if encoded.size and self.place.edges is not None else 1
            )
            energy += (np.abs(encoded) ** 2).sum(axis=(0, 2))
            for row, signal in enumerate(encoded.sum(axis=1)):
                out[readout[lo + row], channel, :n_samples] += signal
        return energy


def encoder(place: Place, k: Float, time: Float, offset: Float) -> tuple[Separable | Nufft | Direct, Drift]:
    """k: 1/m, (row, sample, 3) and time: s, (sample,) since the pulse; offset: Hz, (n,) of the spins.

    Returns the way to sum, and the drift that it takes care of.
    """
    drift = Drift.of(k, time, float(np.abs(offset).max(initial=0.0)))
    fit = Separable.fits(place, k)
    if fit is not None:
        assert place.lattice is not None
        steps = np.linalg.solve(place.lattice.affine[:3, :3], drift.shift) * np.abs(offset).max()
        across = [abs(steps[axis]) for axis in fit[0][1:]]
        if max(across) * np.abs(k @ place.lattice.affine[:3, :3]).max() > PHASE_TOLERANCE:
            drift = Drift.none(time)
        return Separable(place, k, *fit, drift, offset), drift
    if place.lattice is None or len(place.position) * k.shape[0] * k.shape[1] <= DIRECT_LIMIT:
        moved = Place(place.position + offset[:, None] * drift.shift, place.edges, None)
        return (Direct if len(place.position) * k.shape[0] * k.shape[1] <= DIRECT_LIMIT else Nufft)(moved, k), drift
    return Nufft(place, k), Drift.none(time)
