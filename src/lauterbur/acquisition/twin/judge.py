"""How wrong the fast engine was: some of its spins, heard one by one, played again by other means, in two steps.

What it left out (few atoms, few states, few components, all shared by millions of spins) shows beside a phase graph of
these spins alone, each its own atom, with limits ten times finer. This is free of noise.

Whether a phase graph is the physics of this program shows beside the reference engine, which shares nothing with it.
There isochromats stand still, because a walk leaves its voxel for good, and T2 is short enough for them to dephase: so
the phase graph plays such spins for it. Isochromats are a random sample of a voxel, so two independent plays r1, r2 are
compared with the phase graph f: their errors have mean zero and do not correlate, hence the mean of Re<f - r1, f - r2>
is |f - truth|^2, free of the isochromats' own error.

Errors and signals of different voxels are added in squares, each by how seldom it would be drawn. The upper limit is the
95th percentile of a bootstrap over voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin import reference
from lauterbur.acquisition.twin.accuracy import Accuracy
from lauterbur.acquisition.twin.compile import timeline
from lauterbur.acquisition.twin.fast import play_fast
from lauterbur.acquisition.twin.selection import Selection, selected_axis
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.witness import Witness
from lauterbur.program import Column, Program, adc_blocks, receiver_phase

VOXELS = 40
READOUTS = 24
PULSES = 500  # of the program's beginning
BUDGET = 2e8  # isochromats times pulses, both plays together
COUNTS = 509, 1021, 2039, 4093  # isochromats per voxel, primes: a spoiler's whole turns must not meet the lattice's
SAMPLE_COST = 0.05  # of hearing one sample, in pulses played
LONGEST_T2 = 0.2  # s, of still isochromats
PULSE_STEP = 2e-5  # s
GUESSED = 0.5, 1.5  # true energy over estimated energy of what was left out
ALIKE = 0.4  # cosine between that and the other errors, either way: up to this on a slice of the head
SLICE = 0.08  # of the excited signal's norm may lie outside of what is taken for a slice
ALONE = Accuracy(states=2e-4, heard=1e-3, rank=3e-4)


@dataclass(frozen=True, eq=False)
class Trial:
    """What is to be judged: a beginning of the program that the reference can afford, and where to listen."""

    program: Program
    witness: Witness
    isochromats: int


def plan_trial(program: Program, spins: Spins, seed: int, *, larmor_frequency: float = 0.0) -> Trial | None:
    """None where there is nothing to hear."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x1D6E]))
    if not np.abs(spins.weight).sum() > 0 or not len(adc_blocks(program)):
        return None
    pulses = np.flatnonzero(program.blocks[:, Column.RF] >= 0)
    n_blocks = program.n_blocks
    if len(pulses) > PULSES:
        n_blocks = int(pulses[PULSES])
        listening = adc_blocks(program)
        n_blocks = max(n_blocks, int(listening[min(2 * READOUTS, len(listening)) - 1]) + 1)
    beginning = replace(
        program,
        blocks=program.blocks[:n_blocks],
        durations=program.durations[:n_blocks],
        labels={name: values[:n_blocks] for name, values in program.labels.items()},
    )
    listening = adc_blocks(beginning)
    weight = np.abs(spins.weight) ** 2 * _excited(beginning, spins, larmor_frequency)
    if not weight.sum() > 0:
        return None
    heard = min(VOXELS, int(np.count_nonzero(weight)))
    chosen = np.sort(rng.choice(len(spins), heard, replace=False, p=weight / weight.sum()))
    readouts = np.sort(rng.choice(len(listening), min(READOUTS, len(listening)), replace=False))
    n_pulses = max(1, int(np.count_nonzero(beginning.blocks[:, Column.RF] >= 0)))
    n_most = max(a.n_samples for a in program.adc)
    work = n_pulses + SAMPLE_COST * len(readouts) * n_most
    isochromats = max((n for n in COUNTS if 2 * heard * work * n <= BUDGET), default=COUNTS[0])
    signal = np.zeros((len(readouts), heard, n_most), np.complex64)
    return Trial(beginning, Witness(chosen, readouts, signal), isochromats)


def _excited(program: Program, spins: Spins, larmor_frequency: float) -> NDArray[np.bool_]:
    """(spin,) those in a slice that the program listens to."""
    line = timeline(program, larmor_frequency=larmor_frequency)
    axis = selected_axis(line.shapes)
    everyone = np.ones(len(spins), bool)
    if axis is None or not axis.any() or not len(line.time):
        return everyone
    u = spins.position @ axis
    selection = Selection.of(line, axis, u, spins.off_resonance, float(np.abs(spins.b1_plus).max()))
    found = ~everyone
    for which in np.unique(selection.excitations(np.flatnonzero(line.pulse >= 0))):
        if which >= 0:
            reach = selection.reach(int(which), 0.0, SLICE)
            found |= everyone if reach is None else reach.holds(u, spins.off_resonance)
    return found


def judge(trial: Trial, spins: Spins, *, larmor_frequency: float = 0.0, seed: int = 0) -> dict[str, float | int]:
    """{estimate, upper95}: relative r.m.s. error of the fast engine's signal; its three parts, and how it was found."""
    witness = trial.witness
    played = spins.subset(witness.spins)
    seldom = 1 / np.abs(played.weight) ** 2  # they were drawn by this
    alone = _alone(trial, played, larmor_frequency)
    power = np.einsum("rvs,rvs->v", alone.conj(), alone, dtype=complex).real * seldom
    short = witness.signal - alone
    error = np.einsum("rvs,rvs->v", short.conj(), short, dtype=complex).real * seldom
    physics = seldom * _physics(trial, played, larmor_frequency, seed)
    parts = {
        "of_atoms_states_and_components": float(_relative(error.sum(), power.sum())),
        "of_the_phase_graph": float(_relative(physics.sum(), power.sum())),
        "of_what_was_left_out": float(np.sqrt(witness.missing)),
    }
    error = error + physics
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xB007]))
    draws = rng.integers(len(error), size=(2000, len(error)))
    with np.errstate(divide="ignore", invalid="ignore"):
        voxels = np.asarray(_relative(error[draws].sum(axis=1), power[draws].sum(axis=1)))
    # what all spins together do not show is itself an estimate from a few blocks of them
    missing = np.sqrt(witness.missing * rng.uniform(*GUESSED, size=len(voxels)))
    alike = rng.uniform(-ALIKE, ALIKE, size=len(voxels))
    found = np.sqrt(voxels**2 + missing**2 + 2 * alike * voxels * missing)
    # the isochromats' own noise may leave a square below zero, which is no error of zero: the mean over what may be true
    estimate, upper = float(np.sqrt(np.mean(found**2))), float(np.quantile(found, 0.95))
    return {
        "estimate": estimate,
        "upper95": max(upper, estimate),
        **parts,
        "voxels": len(error),
        "readouts": len(witness.readouts),
        "isochromats_per_voxel": trial.isochromats,
        "blocks_judged": trial.program.n_blocks,
    }


def _alone(trial: Trial, spins: Spins, larmor_frequency: float) -> NDArray[np.complex64]:
    """(readout, spin, sample): the witnesses in a phase graph of their own, not demodulated."""
    witness = Witness(np.arange(len(spins)), trial.witness.readouts, np.zeros_like(trial.witness.signal))
    play_fast(
        trial.program,
        spins,
        np.zeros((0, len(spins)), np.complex64),
        larmor_frequency=larmor_frequency,
        accuracy=ALONE,
        witness=witness,
        demodulate=False,
    )
    return witness.signal


def _physics(trial: Trial, spins: Spins, larmor_frequency: float, seed: int) -> NDArray[np.float64]:
    """(spin,) |phase graph - isochromats|^2, with an error of mean zero."""
    still = Spins(
        spins.position,
        spins.proton_density,
        spins.t1,
        np.minimum(spins.t2, LONGEST_T2),
        spins.t2_prime,
        spins.off_resonance,
        spins.b1_plus,
        0.0,
        spins.volume,
        spins.edges,
        spins.off_resonance_gradient,
    )
    readouts = trial.witness.readouts
    graph = _alone(trial, still, larmor_frequency)
    adcs = [trial.program.adc[i] for i in trial.program.blocks[adc_blocks(trial.program), Column.ADC]]
    for i, readout in enumerate(readouts):
        demodulation = receiver_phase(adcs[readout], larmor_frequency=larmor_frequency)
        graph[i, :, : len(demodulation)] *= demodulation
    one, two = (
        reference.play(
            trial.program,
            still,
            np.eye(len(still), dtype=complex),
            larmor_frequency=larmor_frequency,
            spins_per_voxel=trial.isochromats,
            seed=2 * seed + which,
            readouts=readouts,
            pulse_step=PULSE_STEP,
        )
        for which in (1, 2)
    )
    graph = graph[:, :, : one.shape[2]]
    return np.einsum("rvs,rvs->v", (graph - one).conj(), graph - two, dtype=complex).real


def _relative(error: NDArray | float, power: NDArray | float) -> NDArray | float:
    out = np.sqrt(np.maximum(error, 0) / np.where(np.asarray(power) > 0, power, np.inf))
    return float(out) if np.ndim(out) == 0 else out
