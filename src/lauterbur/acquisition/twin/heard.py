"""Which states are heard in which readouts: those whose k-vector comes near enough to where the readout listens."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from lauterbur.acquisition.twin.boxes import box_factor
from lauterbur.acquisition.twin.compile import Timeline
from lauterbur.acquisition.twin.graph import K_GRID, Graph
from lauterbur.acquisition.twin.passes import Pass
from lauterbur.acquisition.twin.place import Place
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.transform import alike

Float = NDArray[np.float64]
MANY = 512  # k-vectors; beyond that each is judged by its distance from k = 0 alone


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
        cut = Records(
            self.state[:last],
            self.slot[:last],
            self.first[: n + 1],
            self.pulse[:last],
            self.tau[:last],
            self.k[:last],
            self.readout[:0],
            self.record[:0],
            self.is_silent[:0],
            self.loudness[:0],
        )
        return line, graph, cut


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The power spectrum of the spins on their lattice, periodic in k: where in k-space a state can still be heard."""

    power: NDArray[np.float32]  # (z, y, x) cycles per voxel, FFT order
    place: Place

    @staticmethod
    def of(place: Place, strength: Float) -> Spectrum | None:
        lattice = place.lattice
        if lattice is None or place.edges is None:
            return None
        image = np.bincount(lattice.index, strength, minlength=math.prod(lattice.shape)).astype(np.float32)
        # few planes have few bins, between which a sharp edge's side lobes would hide: look more finely, and at the peaks
        fine = [n if n >= 64 else max(16, 4 * n) for n in lattice.shape]
        power = np.abs(scipy.fft.fftn(image.reshape(lattice.shape), fine, workers=2)) ** 2
        width = [1 if n >= 64 else 5 for n in lattice.shape]
        return Spectrum(maximum_filter(power, width, mode="wrap") if max(width) > 1 else power, place)

    def energy(self, k: Float) -> Float:
        """(...,) of k (..., 3)."""
        assert self.place.lattice is not None
        kappa = k @ self.place.lattice.affine[:3, :3]
        shape = self.power.shape
        at = [np.round(kappa[..., axis] * shape[2 - axis]).astype(np.int64) % shape[2 - axis] for axis in range(3)]
        return self.power[at[2], at[1], at[0]] * box_factor(k, self.place.edges) ** 2

    def share(self, part: Pass, readout: NDArray, k: Float, envelope: Float) -> Float:
        """(pair,) r.m.s. signal of a state at k against one at k = 0, over a few of its readouts and samples."""
        vectors, which = alike(np.round(k / K_GRID).astype(np.int64))
        if len(vectors) > MANY:
            return envelope
        rng = np.random.default_rng(0)
        line = part.timeline
        order = np.argsort(which, kind="stable")
        edges = np.searchsorted(which[order], np.arange(len(vectors) + 1))

        def loudness(rows: NDArray, offset: Float) -> tuple[float, float]:
            """Over all, and of a typical readout."""
            total = []
            for kind in np.unique(line.window[rows]):
                some = rows[line.window[rows] == kind]
                window = line.windows[kind]
                base = line.base[some] - line.k[line.pulse[some]] + offset
                points = base[:, None, :] + window[rng.integers(len(window), size=(len(some), 24))]
                total.append(self.energy(points).mean(axis=1))
            each = np.concatenate(total)
            return float(each.mean()), float(np.median(each))

        # what a heard readout brings: the loudest k-vector sets the scale, but not by the few samples next to k = 0
        found, typical = np.transpose(
            [loudness(readout[rng.choice(order[lo:hi], 48)], k[order[lo]]) for lo, hi in pairwise(edges)]
        )
        return np.sqrt(np.minimum(found / typical.max(), 1.0))[which] if typical.max() > 0 else envelope


def reachable(part: Pass, graph: Graph, place: Place, spectrum: Spectrum | None, floor: float) -> Found:
    """Every state loud enough in every readout. Boxes silence states far from k = 0; points never do.

    How much is left of a state at k is what the spins' own spectrum, times the boxes' sinc, has around k; where that
    is not known, the sinc's envelope at the nearest sample.
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
        estimate = graph.amplitude[state, slot].astype(float)
        alone = estimate
        if edges is not None:
            away = sign * (graph.k[state] @ edges.T)
            distance = np.maximum(np.maximum(low[owner] + away, -(high[owner] + away)), 0)
            with np.errstate(divide="ignore"):
                left = np.prod(np.minimum(1, 1 / (math.pi * distance)), axis=1)
            alone = estimate * left
            if spectrum is not None:
                left = np.minimum(left, spectrum.share(part, readouts[owner], sign * graph.k[state], left))
            estimate *= left
        if slot == 1:
            estimate, alone = (
                np.where(within == 0, 0, estimate),
                np.where(within == 0, 0, alone),
            )  # its own mirror image
        keep = alone > floor
        out.append(
            (
                readouts[owner[keep]],
                pulse[owner[keep]],
                state[keep],
                np.full(keep.sum(), slot),
                estimate[keep],
                alone[keep],
                np.zeros(keep.sum(), bool),
            )
        )
    return Found(*(np.concatenate(parts) for parts in zip(*out, strict=True)))
