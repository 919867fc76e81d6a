"""Encoding: sums of magnetisation over all spins at the k-space points of many readouts.

    out[r, t] += sum_m W[r, t, m] sum_v values[m, v] box(k[r, t]) exp(-2 pi i k[r, t].r_v)

Three ways to the same sum, the cheapest that fits is taken: a separable one where spins and k-space lie on parallel
grids (three short transforms), a non-uniform FFT otherwise (finufft), and the sum itself where it is small.
The box of the n-th polynomial is a product of j_n(pi k.edge) (boxes.py), so dephasing inside a voxel is exact.

Off-resonance that is a shift of the spins (course.Drift) is taken care of here.
"""

from __future__ import annotations

import math

import finufft
import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.boxes import Order, box_factor
from lauterbur.acquisition.twin.course import Course, Drift
from lauterbur.acquisition.twin.place import Place
from lauterbur.acquisition.twin.separable import Separable, scatter
from lauterbur.acquisition.twin.transform import PHASE_TOLERANCE, alike

Float = NDArray[np.float64]
NUFFT_TOLERANCE = 3e-5  # 8e-5 is reached: single precision
TIGHT = 1.25  # times as fine as it must be is the grid behind it: a tenth to a half of the time of finufft's 2
K_STEP = 1e-3  # 1/m: readouts closer than this listen alike
DIRECT_LIMIT = 3e7  # spins times points
TINY = 2e5  # likewise: not worth anything else
MANY_TURNS = 8.0  # of off-resonance during a readout: better points that drift than a lattice and more components


class Nufft:
    """From a lattice to any k-space."""

    def __init__(self, place: Place, k: Float):
        assert place.lattice is not None
        self.place, self.k = place, k
        flat = k.reshape(-1, 3)
        affine, shape = place.lattice.affine, place.lattice.shape
        self.kappa = flat @ affine[:3, :3]
        middle = affine[:3, :3] @ np.array([shape[2] // 2, shape[1] // 2, shape[0] // 2]) + affine[:3, 3]
        self.phase = np.exp(-2j * np.pi * (flat @ middle)).astype(np.complex64)
        # finufft sums index -n/2.. n/2-1 for the same middle; a rounded kappa changes nothing at integer indices
        turns = 2 * np.pi * (self.kappa - np.round(self.kappa))
        self.turns = [np.ascontiguousarray(turns[:, i], np.float32) for i in range(3)]
        self.flat_axes = [i for i in range(3) if np.ptp(self.kappa[:, i]) * max(shape[2 - i], 1) < 1e-5]

    def add(self, values, which, order: Order, coil, course: Course, out, readout, channel) -> Float:
        n_rows, n_samples = self.k.shape[:2]
        factor = np.broadcast_to(box_factor(self.k, self.place.edges, order), (n_rows, n_samples)).astype(np.float32)
        energy = np.zeros(len(which))
        for m, component in enumerate(which):
            result = (self._from_lattice(values[component], coil) * self.phase).reshape(n_rows, n_samples) * factor
            result *= course.readouts[m] @ course.time[m]
            energy[m] = float(np.vdot(result, result).real)
            for row in range(n_rows):
                out[readout[row], channel, :n_samples] += result[row]
        return energy

    def _from_lattice(self, values, coil) -> NDArray[np.complex64]:
        lattice = self.place.lattice
        assert lattice is not None
        image = np.zeros((1, math.prod(lattice.shape)), np.complex64)
        scatter(lattice.index, coil, values[None], np.zeros(1, np.intp), image)
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
        return plan(*points, image, eps=NUFFT_TOLERANCE, isign=-1, upsampfac=TIGHT)


class Points:
    """From points anywhere to any k-space; readouts that listen alike are summed once."""

    def __init__(self, place: Place, k: Float):
        self.place, self.k = place, k
        first, self.alike = alike(np.round(k.reshape(len(k), -1) / K_STEP).astype(np.int64))
        targets, position = k[first].reshape(-1, 3), place.position
        live = [i for i in range(3) if np.ptp(targets[:, i]) * np.ptp(position[:, i]) > 1e-6]
        still = [i for i in range(3) if i not in live]
        self.n_targets = len(targets)
        self.phase = np.exp(-2j * np.pi * (position[:, still] @ targets[0, still])).astype(np.complex64)
        self.plan = None
        if live:
            self.plan = finufft.Plan(3, len(live), eps=NUFFT_TOLERANCE, isign=-1, dtype="complex64", upsampfac=TIGHT)
            sources = [np.ascontiguousarray(2 * np.pi * (position[:, i] - position[0, i]), np.float32) for i in live]
            wanted = [np.ascontiguousarray(targets[:, i], np.float32) for i in live]
            empty = [None] * (3 - len(live))
            self.points = (*sources, *empty, *wanted, *empty)  # the plan reads them where they are
            self.plan.setpts(*self.points)
        self.origin = np.exp(-2j * np.pi * (targets[:, live] @ position[0, live])).astype(np.complex64)

    def add(self, values, which, order: Order, coil, course: Course, out, readout, channel) -> Float:
        n_rows, n_samples = self.k.shape[:2]
        factor = np.broadcast_to(box_factor(self.k, self.place.edges, order), (n_rows, n_samples)).astype(np.float32)
        turned = (coil * self.phase).astype(np.complex64)
        energy = np.zeros(len(which))
        for m, component in enumerate(which):
            strength = values[component] * turned
            heard = np.full(self.n_targets, strength.sum()) if self.plan is None else self.plan.execute(strength)
            result = (heard * self.origin).reshape(-1, n_samples)[self.alike] * factor
            result *= course.readouts[m] @ course.time[m]
            energy[m] = float(np.vdot(result, result).real)
            out[readout, channel, :n_samples] += result
        return energy


class Direct:
    """The sum itself."""

    def __init__(self, place: Place, k: Float):
        self.place, self.k = place, k

    def add(self, values, which, order: Order, coil, course: Course, out, readout, channel) -> Float:
        strength = (values[which] * coil).T.astype(np.complex128)
        energy = np.zeros(len(which))
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


def encoder(place: Place, k: Float, time: Float, offset: Float) -> tuple[Separable | Nufft | Points | Direct, Drift]:
    """k: 1/m, (row, sample, 3) and time: s, (sample,) since the pulse; offset: Hz, (n,) of the spins.

    Returns the way to sum, and the drift that it takes care of.
    """
    drift = Drift.of(k, time, float(np.abs(offset).max(initial=0.0)))
    work = len(place.position) * k.shape[0] * k.shape[1]
    fit = Separable.fits(place, k) if work > TINY else None
    turns = np.ptp(time) * np.abs(offset).max(initial=0.0)  # that the drift takes care of
    if fit is not None:
        assert place.lattice is not None
        steps = np.linalg.solve(place.lattice.affine[:3, :3], drift.shift) * np.abs(offset).max()
        across = max(abs(steps[axis]) for axis in fit[0][1:])
        if across * np.abs(k @ place.lattice.affine[:3, :3]).max() <= PHASE_TOLERANCE:
            return Separable(place, k, *fit, drift, offset), drift
        if turns < MANY_TURNS:
            return Separable(place, k, *fit, Drift.none(time), offset), Drift.none(time)
    if place.lattice is None or work <= DIRECT_LIMIT or (drift.shift.any() and turns >= MANY_TURNS):
        moved = Place(place.position + offset[:, None] * drift.shift, place.edges, None)
        return (Direct if work <= DIRECT_LIMIT else Points)(moved, k), drift
    return Nufft(place, k), Drift.none(time)
