"""Which states are heard in which readouts: those whose k-vector comes near enough to where the readout listens."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter

from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.graph import Graph
from lauterbur.acquisition.twin.passes import Pass
from lauterbur.acquisition.twin.place import Place
from lauterbur.acquisition.twin.spins import Spins

Float = NDArray[np.float64]
LISTENED = 32  # samples of a readout, at most
BLUR = 5  # bins of a spectrum, that they miss no peak


@dataclass(frozen=True, eq=False)
class Found:
    """(pair,) a state heard in a readout."""

    readout: NDArray[np.intp]
    pulse: NDArray[np.intp]
    state: NDArray[np.intp]  # into the graph's states
    slot: NDArray[np.intp]  # 0: F(k, tau); 1: F(-k, -tau)
    estimate: Float  # its largest amplitude, with what all the boxes together leave of it
    alone: Float  # and with what one box leaves of it
    is_silent: NDArray[np.bool_]  # for the witness alone

    @cached_property
    def typical(self) -> float:
        """Amplitude of what a readout hears: r.m.s. over the readouts of the loudest state."""
        loudest = np.zeros(int(self.readout.max(initial=0)) + 1)
        np.maximum.at(loudest, self.readout, self.estimate)
        heard = loudest[loudest > 0]
        return float(np.sqrt(np.mean(heard**2))) if len(heard) else 1.0

    def floor(self, loudness: Float, allowed: float) -> float:
        """Of these loudnesses of pairs, what is not louder brings all together less than `allowed` of the typical, and
        none does alone: a quiet readout is not given up for the sake of many loud ones."""
        weakest = np.sort(loudness)
        n_readouts = len(np.unique(self.readout))
        n = int(np.searchsorted(np.cumsum(weakest**2), n_readouts * (allowed * self.typical) ** 2, side="right"))
        return min(float(weakest[n - 1]), allowed * self.typical) if n else -1.0

    def above(self, allowed: float, witnessed: NDArray[np.intp]) -> Found:
        """Those that matter to all spins together; in witnessed readouts, those that matter to any spin alone.

        allowed: part of what is heard that all the others may be.
        """
        is_silent = self.estimate <= self.floor(self.estimate, allowed)
        told = (self.alone > self.floor(self.alone, allowed)) & np.isin(self.readout, witnessed)
        keep = ~is_silent | told
        names = ("readout", "pulse", "state", "slot", "estimate", "alone")
        return Found(**{name: getattr(self, name)[keep] for name in names}, is_silent=is_silent[keep])

    def probes(self, graph: Graph, spins: Spins, who: NDArray[np.intp], rng) -> NDArray[np.complex64]:
        """(probe, state, 2): what these spins hear of F(k) and F(-k) of every state, each readout in a random phase."""
        sign = np.where(self.slot == 0, 1.0, -1.0)
        tau, k = sign * graph.tau[self.state], sign[:, None] * graph.k[self.state]
        left = self.alone / np.maximum(graph.amplitude[self.state, self.slot], 1e-30)
        left = left * np.exp(-np.abs(tau) / spins.t2_prime[who].max())
        out = np.zeros((len(who), *graph.source.shape[:1], 2), np.complex64)
        for heard, spin in zip(out, who, strict=True):
            turns = rng.random(int(self.readout.max(initial=0)) + 1)[self.readout]
            turns = turns + k @ spins.position[spin] + tau * spins.off_resonance[spin]
            np.add.at(heard, (self.state, self.slot), left * np.exp(2j * np.pi * turns))
        return out

    def records(self, graph: Graph, renumber: NDArray[np.int64]) -> Records:
        """Which amplitudes to keep, in the pruned graph."""
        state = renumber[self.state]
        alive = state >= 0
        code, back = np.unique(state[alive] * 2 + self.slot[alive], return_inverse=True)
        state, slot = code // 2, (code % 2).astype(np.int64)
        pulse = np.searchsorted(graph.first, state, side="right") - 1
        sign = np.where(slot == 0, 1.0, -1.0)
        return Records(
            state - graph.first[pulse],
            slot,
            np.searchsorted(pulse, np.arange(len(graph.first))),
            pulse,
            sign * graph.tau[state],
            sign[:, None] * graph.k[state],
            self.readout[alive],
            back.reshape(-1),
            self.is_silent[alive],
            self.alone[alive],
        )


@dataclass(frozen=True, eq=False)
class Records:
    state: NDArray[np.int64]  # (record,) state within its pulse
    slot: NDArray[np.int64]
    first: NDArray[np.int64]  # (pulse + 1,)
    pulse: NDArray[np.int64]  # (record,)
    tau: Float  # s, (record,) signed: what the state has dephased at its pulse
    k: Float  # 1/m, (record, 3) signed
    readout: NDArray[np.intp]  # (pair,) readouts that hear ...
    record: NDArray[np.intp]  # (pair,) ... these records
    is_silent: NDArray[np.bool_]  # (pair,) kept for the witness alone
    loudness: Float  # (pair,) the largest amplitude, with what one box leaves of it

    def subset(self, some: NDArray[np.intp]) -> Records:
        """These records (ascending) and no pairs."""
        return Records(
            self.state[some],
            self.slot[some],
            np.searchsorted(self.pulse[some], np.arange(len(self.first))),
            self.pulse[some],
            self.tau[some],
            self.k[some],
            self.readout[:0],
            self.record[:0],
            self.is_silent[:0],
            self.loudness[:0],
        )

    def beginning(self, line: Timeline, graph: Graph, n: int) -> tuple[Timeline, Graph, Records]:
        """The first n pulses of everything."""
        if n >= len(line.time):
            return line, graph, self
        end, last = graph.first[n], self.first[n]
        line = replace(
            line,
            shape=line.shape[:n],
            phase=line.phase[:n],
            time=line.time[:n],
            k=line.k[:n],
            diffusion=line.diffusion[:n],
        )
        graph = Graph(
            graph.first[: n + 1],
            graph.source[:end],
            graph.k[:end],
            graph.tau[:end],
            graph.amplitude[:end],
            graph.b_value[:end],
            graph.dropped,
        )
        cut = self.subset(np.arange(last))
        return line, graph, replace(cut, first=cut.first[: n + 1])


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The power spectrum of the spins on their grid, periodic in k: where in k-space a state can still be heard."""

    power: NDArray[np.float32]  # (z, y, x) cycles per voxel, FFT order
    place: Place
    is_uneven: NDArray[np.bool_]  # (edge,) along which what a box holds varies, so that its sinc has no zeros

    @staticmethod
    def of(place: Place, strength: Float, places: tuple[int, ...]) -> Spectrum | None:
        """strength (n,) of the spins; places: inside a box, per edge."""
        lattice = place.grid
        if lattice is None or place.edges is None:
            return None
        image = np.bincount(lattice.index, strength, minlength=math.prod(lattice.shape)).astype(np.float32)
        # few planes have few bins, between which a sharp edge's side lobes would hide: look more finely, and at the peaks
        fine = [n if n >= 64 else max(16, 4 * n) for n in lattice.shape]
        power = np.abs(scipy.fft.fftn(image.reshape(lattice.shape), fine, workers=2)) ** 2
        width = [1 if n >= 64 else 5 for n in lattice.shape]
        if max(width) > 1:
            power = maximum_filter(power, width, mode="wrap")
        power = uniform_filter(power, [BLUR if n == 1 else 1 for n in width], mode="wrap")
        return Spectrum(power, place, np.array(places) > 1)

    def energy(self, line: Timeline, readout: NDArray[np.intp], k: Float) -> Float:
        """(pair,) mean over a readout's samples of what a state at k (pair, 3) shows of all spins."""
        lattice, edges = self.place.grid, self.place.edges
        assert lattice is not None and edges is not None
        cells = lattice.affine[:3, :3]
        windows = []
        for window in line.windows:
            n = min(len(window), LISTENED)
            windows.append(window[(np.arange(n) + 0.5).astype(np.int64) * len(window) // n])
        base = line.base[readout] - line.k[line.pulse[readout]] + k
        return _energy(
            self.power,
            base @ cells,
            base @ edges.T,
            line.window[readout],
            np.concatenate(([0], np.cumsum([len(w) for w in windows]))),
            np.concatenate([w @ cells for w in windows]),
            np.concatenate([w @ edges.T for w in windows]),
            self.is_uneven,
        )


@numba.njit(parallel=True, cache=True)
def _energy(power, base, base_turns, kind, first, window, window_turns, is_uneven):
    """(pair,) mean of the periodic power at base + window, each (., 3) in cycles per lattice cell, times the boxes' sinc^2;
    where they are uneven, its envelope."""
    out = np.empty(len(base))
    n_z, n_y, n_x = power.shape
    for pair in numba.prange(len(base)):
        total = 0.0
        lo, hi = first[kind[pair]], first[kind[pair] + 1]
        for i in range(lo, hi):
            factor = 1.0
            for axis in range(3):
                a = math.pi * abs(base_turns[pair, axis] + window_turns[i, axis])
                if is_uneven[axis]:
                    s = 1 / max(a, 1.0)
                    factor *= s * s
                elif a > 1e-3:
                    s = math.sin(a) / a
                    factor *= s * s
            x = round((base[pair, 0] + window[i, 0]) * n_x) % n_x
            y = round((base[pair, 1] + window[i, 1]) * n_y) % n_y
            z = round((base[pair, 2] + window[i, 2]) * n_z) % n_z
            total += power[int(z), int(y), int(x)] * factor
        out[pair] = total / (hi - lo)
    return out


def reachable(part: Pass, graph: Graph, place: Place, spectrum: Spectrum | None, floor: float) -> Found:
    """Every state loud enough in every readout. Boxes silence states far from k = 0; points never do.

    How much all spins together show of a state at k is what their own spectrum, times the boxes' sinc, has around k;
    where that is not known, and for a spin alone, the sinc's envelope at the nearest sample.
    """
    edges = place.edges
    line = part.timeline
    readouts = part.readouts[line.pulse[part.readouts] >= 0]
    pulse = line.pulse[readouts].astype(np.intp)
    count = np.diff(graph.first)[pulse]
    owner = np.repeat(np.arange(len(readouts)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    state = graph.first[pulse][owner] + within
    out = []
    if edges is not None:
        low = np.array([(w @ edges.T).min(axis=0) for w in line.windows])
        high = np.array([(w @ edges.T).max(axis=0) for w in line.windows])
        base = (line.base[readouts] - line.k[pulse]) @ edges.T
        low, high = base + low[line.window[readouts]], base + high[line.window[readouts]]
    for slot, sign in ((0, 1.0), (1, -1.0)):
        amplitude = graph.amplitude[state, slot].astype(float)
        if slot == 1:
            amplitude = np.where(within == 0, 0, amplitude)  # its own mirror image
        left = np.ones(len(state))
        if edges is not None:
            away = sign * (graph.k[state] @ edges.T)
            distance = np.maximum(np.maximum(low[owner] + away, -(high[owner] + away)), 0)
            with np.errstate(divide="ignore"):
                left = np.prod(np.minimum(1, 1 / (math.pi * distance)), axis=1)
        some = np.flatnonzero(amplitude * left > floor)
        energy = np.ones(len(some))
        if spectrum is not None:
            energy = spectrum.energy(line, readouts[owner[some]], sign * graph.k[state[some]])
        out.append(
            (
                readouts[owner[some]],
                pulse[owner[some]],
                state[some],
                np.full(len(some), slot),
                amplitude[some],
                left[some],
                energy,
            )
        )
    readout, heard_after, heard_state, slots, amplitude, left, energy = (
        np.concatenate(parts) for parts in zip(*out, strict=True)
    )
    share = left
    if spectrum is not None:  # beside what the same readout hears best, that all of k-space is equally right
        best, loudest = np.zeros((2, len(line.start)))
        loudness = energy * amplitude**2
        np.maximum.at(loudest, readout, loudness)
        is_best = loudness == loudest[readout]
        best[readout[is_best]] = energy[is_best]
        share = np.sqrt(np.minimum(energy / np.maximum(best[readout], 1e-300), 1.0))
    return Found(
        readout, heard_after, heard_state, slots, amplitude * share, amplitude * left, np.zeros(len(readout), bool)
    )
