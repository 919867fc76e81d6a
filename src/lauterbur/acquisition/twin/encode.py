"""Encoding: sums of magnetisation over all spins at the k-space points of many readouts.

    out[r, t] += sum_m W[r, t, m] sum_v values[m, v] box(k[r, t]) exp(-2 pi i k[r, t].r_v)

Three ways to the same sum, the cheapest that fits is taken: a separable one where spins and k-space lie on parallel
grids (three small matrix products), a non-uniform FFT otherwise (finufft), and the sum itself where it is small.
A box of edges e1, e2, e3 has box(k) = sinc(k.e1) sinc(k.e2) sinc(k.e3), so dephasing inside a voxel is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import finufft
import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lauterbur.acquisition.twin.spins import Lattice, Spins

Float = NDArray[np.float64]
PHASE_TOLERANCE = 2e-4  # turns: how far a k-space point may lie from the separable grid, times the object's half width
NUFFT_TOLERANCE = 1e-5
DIRECT_LIMIT = 3e7  # spins times points


def find_lattice(spins: Spins) -> Lattice | None:
    """The regular grid along the patient axes that these positions lie on, if they do."""
    if spins.lattice is not None:
        return spins.lattice
    axes, index = [], []
    for axis in range(3):
        values, where = np.unique(np.round(spins.position[:, axis], 9), return_inverse=True)
        if len(values) > 1:
            step = np.min(np.diff(values))
            place = (values - values[0]) / step
            if np.abs(place - np.round(place)).max() > 1e-3 or place[-1] > 4 * len(values) + 16:
                return None
            # the mean spacing is known better than the smallest
            step = (values[-1] - values[0]) / round(float(place[-1]))
            where = np.round(place).astype(np.int64)[where]
            axes.append((values[0], step, round(float(place[-1])) + 1))
        else:
            where = np.zeros(len(where), np.int64)
            axes.append((values[0], 1e-3, 1))
        index.append(where.reshape(-1))
    shape = (axes[2][2], axes[1][2], axes[0][2])
    if math.prod(shape) > max(64 * len(spins), 4096):
        return None
    affine = np.eye(4)
    for axis in range(3):
        affine[axis, axis], affine[axis, 3] = axes[axis][1], axes[axis][0]
    return Lattice(shape, affine, (index[2] * shape[1] + index[1]) * shape[2] + index[0])


@dataclass(frozen=True, eq=False)
class Place:
    """Where the spins lie, and how big their boxes are."""

    position: Float  # m, (n, 3)
    edges: Float | None  # m, (3, 3), rows; None for points
    lattice: Lattice | None

    def subset(self, chosen: NDArray) -> Place:
        if self.lattice is None:
            return Place(self.position[chosen], self.edges, None)
        _, ny, nx = self.lattice.shape
        index = self.lattice.index[chosen]
        z, y, x = index // (ny * nx), index // nx % ny, index % nx
        lo = np.array([x.min(), y.min(), z.min()])
        size = np.array([x.max(), y.max(), z.max()]) - lo + 1
        affine = self.lattice.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ lo
        flat = ((z - lo[2]) * size[1] + (y - lo[1])) * size[0] + (x - lo[0])
        position = self.position[chosen] if self.position.size else self.position
        return Place(position, self.edges, Lattice((int(size[2]), int(size[1]), int(size[0])), affine, flat))


def box_factor(k: Float, edges: Float | None, center: Float | None = None) -> Float | float:
    """sinc product of the boxes at k (..., 3); `center` (3,) is subtracted first."""
    if edges is None:
        return 1.0
    away = k if center is None else k - center
    factor = np.ones(k.shape[:-1])
    for edge in edges:
        factor = factor * np.sinc(away @ edge)
    return factor


@numba.njit(parallel=True, cache=True)
def _scatter(index, coil, values, out):
    for m in numba.prange(values.shape[0]):
        for v in range(len(index)):
            out[m, index[v]] += values[m, v] * coil[v]


@numba.njit(parallel=True, cache=True)
def _gather_product(volume, at, courses, rows, out):
    """out[rows[i], t] += sum_m courses[i, m, t] volume[m, at[i], t]."""
    for i in numba.prange(len(rows)):
        row = out[rows[i]]
        for m in range(courses.shape[1]):
            line, w = volume[m, at[i]], courses[i, m]
            for t in range(line.shape[0]):
                row[t] += w[t] * line[t]


@dataclass(frozen=True, eq=False)
class Course:
    """How each component is weighed in each readout and sample: W[r, t, m] = sum_j readouts[r, j] time[j, m, t]."""

    readouts: NDArray[np.complex64]  # (row, rank)
    time: NDArray[np.complex64]  # (rank, component, sample)

    def of(self, rows: NDArray | slice) -> NDArray[np.complex64]:
        """(row, component, sample)"""
        chosen = self.readouts[rows]
        return (chosen @ self.time.reshape(len(self.time), -1)).reshape(len(chosen), *self.time.shape[1:])


class Separable:
    """Spins on a lattice, straight readouts along one of its axes, phase encoding along the others."""

    def __init__(self, place: Place, k: Float, center: Float | None, axes: tuple[int, int, int], lines: list[NDArray]):
        assert place.lattice is not None
        self.lattice = place.lattice
        affine, shape = self.lattice.affine, self.lattice.shape
        sizes = (shape[2], shape[1], shape[0])
        self.axes = axes  # (readout, b, c) as lattice axes x=0 y=1 z=2
        kappa = k @ affine[:3, :3]
        first = np.linalg.solve(affine[:3, :3], affine[:3, 3])  # the origin, in steps of the lattice
        a, b, c = axes
        directions = affine[:3, :3].T / np.linalg.norm(affine[:3, :3], axis=0)[:, None]

        def matrix(axis: int, turns: Float) -> NDArray[np.complex64]:
            """(point, index): phase and box of one axis, with its part of the origin's phase."""
            out = np.exp(-2j * np.pi * turns[:, None] * (first[axis] + np.arange(sizes[axis]))[None, :])
            if place.edges is not None:
                shift = 0.0 if center is None else float(center @ affine[:3, axis])
                scale = place.edges[axis] @ directions[axis] / np.linalg.norm(affine[:3, axis])
                out *= np.sinc((turns - shift) * scale)[:, None]
            return out.astype(np.complex64)

        quantum = PHASE_TOLERANCE / max(sizes)
        kb, kc = kappa[:, 0, b], kappa[:, 0, c]
        self.b_values, self.b_index = _levels(kb, quantum)
        self.c_values, self.c_index = _levels(kc, quantum)
        self.along_b = Transform.of(matrix(b, self.b_values), self.b_values)
        self.along_c = Transform.of(matrix(c, self.c_values), self.c_values)
        self.patterns = [(rows, Transform.of(matrix(a, kappa[rows[0], :, a]), kappa[rows[0], :, a])) for rows in lines]
        self.k, self.sizes = k, sizes

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
        lines = _patterns(kappa[:, :, along] * sizes[along])
        if lines is None:
            return None
        b, c = others
        n_b, n_c = (len(_levels(kappa[:, 0, axis], PHASE_TOLERANCE / sizes.max())[0]) for axis in (b, c))
        if n_b * n_c > 8 * len(k) + 64:  # neither grid nor anything near one: radial stars, random points
            return None
        # c is contracted first: the axis that shrinks most
        if n_b / sizes[b] < n_c / sizes[c]:
            b, c = c, b
        return (along, b, c), lines

    def add(self, values, coil, course: Course, out) -> None:
        """values (m, n) at the spins, coil (n,); adds into out (r, t)."""
        shape = self.lattice.shape
        image = np.zeros((len(values), math.prod(shape)), np.complex64)
        _scatter(self.lattice.index, coil, values, image)
        a, b, c = self.axes
        volume = np.ascontiguousarray(image.reshape(-1, *shape).transpose(0, 3 - c, 3 - b, 3 - a))
        del image
        m, _, n_b, n_a = volume.shape
        n_c = len(self.c_values)
        step = max(1, min(m, int(400e6 / (8 * n_c * (n_b * n_a + len(self.b_values) * (n_a + self.k.shape[1]))))))
        for lo in range(0, m, step):  # a few components at a time
            part = self.along_c.apply(volume[lo : lo + step], 1)
            part = self.along_b.apply(part, 2)  # (m, c, b, a)
            source = part.reshape(part.shape[0], -1, n_a)
            some = Course(course.readouts, np.ascontiguousarray(course.time[:, lo : lo + step]))
            for rows, along in self.patterns:
                at = self.c_index[rows] * part.shape[2] + self.b_index[rows]
                lines, back = np.unique(at, return_inverse=True)
                wanted = np.ascontiguousarray(source[:, lines]) if len(lines) < 0.7 * source.shape[1] else source
                if wanted is source:
                    back = at
                encoded = along.apply(wanted, 2)
                for first in range(0, len(rows), 512):
                    here = rows[first : first + 512]
                    _gather_product(encoded, back.reshape(-1)[first : first + 512], some.of(here), here, out)


@dataclass(frozen=True, eq=False)
class Transform:
    """One axis: index to k. A fast Fourier transform where the k lie on a grid that fits, else a matrix product."""

    matrix: NDArray[np.complex64]  # (k, index)
    n: int = 0  # length of the transform; 0: use the matrix
    bins: NDArray[np.intp] | None = None  # (k,)
    before: NDArray[np.complex64] | None = None  # (index,) phase that brings the first k to bin 0
    after: NDArray[np.complex64] | None = None  # (k,) boxes and the origin's phase

    @staticmethod
    def of(matrix: NDArray[np.complex64], turns: Float) -> Transform:
        size = matrix.shape[1]
        if len(turns) < 24 or size < 24:
            return Transform(matrix)
        base = turns.min()
        away = np.sort(turns - base)
        steps = np.diff(away)
        step = steps[steps > 1e-9].min(initial=np.inf)
        if not np.isfinite(step) or step <= 0:
            return Transform(matrix)
        n = round(1 / step)
        if not size / 4 <= n <= 4 * size:
            return Transform(matrix)
        place = (turns - base) * n
        if np.abs(place - np.round(place)).max() * size / n > 10 * PHASE_TOLERANCE:
            return Transform(matrix)
        before = np.exp(-2j * np.pi * base * np.arange(size))
        bins = np.round(place).astype(np.intp)
        return Transform(matrix, n, bins % n, before.astype(np.complex64), matrix[:, 0].copy())

    def apply(self, array: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
        """The same array with this axis turned from index to k; the axis may be 1, 2 or last."""
        last = axis == array.ndim - 1
        if not self.n:
            if last:
                return np.matmul(array, self.matrix.T)
            if axis == array.ndim - 2:
                return np.matmul(self.matrix, array)
            flat = array.reshape(array.shape[0], array.shape[1], -1)
            return np.matmul(self.matrix, flat).reshape(array.shape[0], -1, *array.shape[2:])
        assert self.before is not None and self.after is not None and self.bins is not None
        along = (-1,) + (1,) * (array.ndim - 1 - axis)
        turned = array * self.before.reshape(along)
        size = array.shape[axis]
        if size > self.n:  # the object is longer than the field of view: it folds
            shape = list(turned.shape)
            shape[axis] = -(-size // self.n) * self.n
            padded = np.zeros(shape, np.complex64)
            padded[(slice(None),) * axis + (slice(0, size),)] = turned
            turned = padded.reshape(*shape[:axis], -1, self.n, *shape[axis + 1 :]).sum(axis=axis)
        out = scipy.fft.fft(turned, self.n, axis=axis, workers=-1, overwrite_x=True)
        if not np.array_equal(self.bins, np.arange(self.n)):
            out = np.take(out, self.bins, axis=axis)
        out *= self.after.reshape(along)
        return out


class Nufft:
    """Any k-space: from a lattice to points, or from points to points."""

    def __init__(self, place: Place, k: Float, center: Float | None):
        self.place, self.k = place, k
        self.factor = np.broadcast_to(box_factor(k, place.edges, center), k.shape[:-1]).astype(np.float32)
        flat = k.reshape(-1, 3)
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
        else:
            self.phase = np.ones(1, np.complex64)

    def add(self, values, coil, course: Course, out) -> None:
        n_rows, n_samples = self.k.shape[:2]
        for m in range(len(values)):
            if self.place.lattice is not None:
                result = self._from_lattice(values[m], coil)
            else:
                result = self._from_points(values[m] * coil)
            result = (result * self.phase).reshape(n_rows, n_samples) * self.factor
            out += result * (course.readouts @ course.time[:, m])

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

    def __init__(self, place: Place, k: Float, center: Float | None):
        self.place, self.k = place, k
        self.factor = np.broadcast_to(box_factor(k, place.edges, center), k.shape[:-1])

    def add(self, values, coil, course: Course, out) -> None:
        strength = (values * coil).T.astype(np.complex128)
        step = max(1, int(2e7 / max(len(strength) * self.k.shape[1], 1)))
        for lo in range(0, len(self.k), step):
            k = self.k[lo : lo + step]
            turns = k.reshape(-1, 3) @ self.place.position.T
            encoded = np.exp(-2j * np.pi * turns) @ strength  # (point, m)
            encoded = encoded.reshape(len(k), k.shape[1], -1)
            w = course.of(slice(lo, lo + step))
            out[lo : lo + step] += np.einsum("rtm,rmt->rt", encoded, w) * self.factor[lo : lo + step]


def encoder(place: Place, k: Float, center: Float | None = None) -> Separable | Nufft | Direct:
    """k: 1/m, (readout, sample, 3). `center` (3,): where in k the boxes' own dephasing is already in the values."""
    fit = Separable.fits(place, k)
    if fit is not None:
        return Separable(place, k, center, *fit)
    if len(place.position) * k.shape[0] * k.shape[1] <= DIRECT_LIMIT:
        return Direct(place, k, center)
    return Nufft(place, k, center)


def audition(place: Place, k: Float, center: Float | None, values, course: Course, rng: np.random.Generator) -> float:
    """Mean |signal|^2 of one uniform coil over a few random readouts and samples, by the sum itself."""
    n = int(np.clip(2e8 / max(values.size, 1), 24, 128))
    rows, samples = rng.integers(k.shape[0], size=n), rng.integers(k.shape[1], size=n)
    at = k[rows, samples]
    mix = np.einsum("pj,jmp->pm", course.readouts[rows], course.time[:, :, samples])
    signal = np.zeros(n, complex)
    step = max(1, int(4e6 / n))
    for lo in range(0, values.shape[1], step):
        turns = at @ place.position[lo : lo + step].T
        signal += np.einsum("pv,pv->p", mix @ values[:, lo : lo + step], np.exp(-2j * np.pi * turns))
    return float(np.mean(np.abs(signal * box_factor(at, place.edges, center)) ** 2))


def _levels(values: Float, quantum: float) -> tuple[Float, NDArray[np.intp]]:
    """Distinct values up to `quantum`, and which each one is."""
    order = np.argsort(values, kind="stable")
    jump = np.concatenate(([True], np.diff(values[order]) > quantum))
    group = np.cumsum(jump) - 1
    index = np.empty(len(values), np.intp)
    index[order] = group
    sums = np.bincount(group, values[order])
    return sums / np.bincount(group), index


def _patterns(lines: Float) -> list[NDArray] | None:
    """Rows that share one course along the readout; None where there are many different ones."""
    remaining = np.arange(len(lines))
    found = []
    while len(remaining):
        same = np.abs(lines[remaining] - lines[remaining[0]]).max(axis=1) < PHASE_TOLERANCE
        found.append(remaining[same])
        remaining = remaining[~same]
        if len(found) > 16:
            return None
    return found
