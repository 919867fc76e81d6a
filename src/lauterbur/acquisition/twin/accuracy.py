"""How wrong the fast engine was: some of its spins, played again by the reference engine, which shares nothing with it.

Isochromats can only walk slowly, so the reference plays without diffusion; what diffusion does to these few spins is taken
from the phase graph, each spin its own atom, and that alone is not judged.

Isochromats are themselves a random sample of a voxel, so two independent plays r1, r2 are compared with the fast f: their
errors have mean zero and do not correlate, hence the mean of Re<f - r1, f - r2> is |f - truth|^2, free of the isochromats'
own error. Errors and signals of different voxels are added in squares. The upper limit is the 95th percentile of a
bootstrap over voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin import reference
from lauterbur.acquisition.twin.fast import Accuracy, play_fast
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.witness import Witness
from lauterbur.program import Column, Program, adc_blocks, receiver_phase

VOXELS = 40
READOUTS = 24
BUDGET = 3e7  # isochromats times pulses, both plays together
FEWEST, MOST = 512, 2048  # isochromats per voxel: their own error limits what can be seen
ALONE = Accuracy(states=2e-3, heard=5e-3)  # of a difference that is itself small
SAMPLE_COST = 0.15  # of hearing one sample, in pulses played


@dataclass(frozen=True, eq=False)
class Trial:
    """What is to be judged: a beginning of the program that the reference can afford, and where to listen."""

    program: Program
    witness: Witness
    isochromats: int


def plan_trial(program: Program, spins: Spins, seed: int, *, budget: float = BUDGET) -> Trial | None:
    """None where there is nothing to hear."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x1D6E]))
    weight = np.abs(spins.weight) ** 2
    if not weight.sum() > 0 or not len(adc_blocks(program)):
        return None
    heard = min(VOXELS, int(np.count_nonzero(weight)))
    chosen = np.sort(rng.choice(len(spins), heard, replace=False, p=weight / weight.sum()))
    pulses = np.flatnonzero(program.blocks[:, Column.RF] >= 0)
    affordable = int(budget / (2 * heard * FEWEST))
    n_blocks = program.n_blocks
    if len(pulses) > affordable:
        n_blocks = int(pulses[affordable])
        listening = adc_blocks(program)
        n_blocks = max(n_blocks, int(listening[min(7, len(listening) - 1)]) + 1)
    beginning = replace(
        program,
        blocks=program.blocks[:n_blocks],
        durations=program.durations[:n_blocks],
        labels={name: values[:n_blocks] for name, values in program.labels.items()},
    )
    listening = adc_blocks(beginning)
    readouts = np.sort(rng.choice(len(listening), min(READOUTS, len(listening)), replace=False))
    n_pulses = max(1, int(np.count_nonzero(beginning.blocks[:, Column.RF] >= 0)))
    n_most = max(a.n_samples for a in program.adc)
    work = n_pulses + SAMPLE_COST * len(readouts) * n_most
    isochromats = int(np.clip(budget / (2 * heard * work), FEWEST, MOST))
    signal = np.zeros((len(readouts), heard, n_most), np.complex64)
    return Trial(beginning, Witness(chosen, readouts, signal, []), isochromats)


def judge(trial: Trial, spins: Spins, *, larmor_frequency: float = 0.0, seed: int = 0) -> dict[str, float | int]:
    """{estimate, upper95}: relative r.m.s. error of the fast engine's signal; and how it was found."""
    witness = trial.witness
    played = spins.subset(witness.spins)
    judged = _still(played) if played.diffusion.any() else played
    one_by_one = np.eye(len(judged), dtype=complex)
    adcs = [trial.program.adc[i] for i in trial.program.blocks[adc_blocks(trial.program), Column.ADC]]
    fast = witness.signal.copy()
    if judged is not played:
        fast -= _alone(trial, played, larmor_frequency) - _alone(trial, judged, larmor_frequency)
    for i, readout in enumerate(witness.readouts):
        demodulation = receiver_phase(adcs[readout], larmor_frequency=larmor_frequency)
        fast[i, :, : len(demodulation)] *= demodulation
    plays = [
        reference.play(
            trial.program,
            judged,
            one_by_one,
            larmor_frequency=larmor_frequency,
            spins_per_voxel=trial.isochromats,
            seed=2 * seed + which + 1,
            readouts=witness.readouts,
        )
        for which in (0, 1)
    ]
    width = plays[0].shape[2]
    error, power = _by_voxel(fast[:, :, :width], *plays)
    error = error + sum(witness.left_out) * power.mean()  # what all spins together do not show, spread over them
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xB007]))
    draws = rng.integers(len(error), size=(2000, len(error)))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(_relative(error[draws].sum(axis=1), power[draws].sum(axis=1)))
    # the isochromats' own noise may leave a square below zero, which is no error of zero: the mean over what may be true
    estimate, upper = float(np.sqrt(np.mean(found**2))), float(np.quantile(found, 0.95))
    return {
        "estimate": estimate,
        "upper95": max(upper, estimate),
        "voxels": len(error),
        "readouts": len(witness.readouts),
        "isochromats_per_voxel": trial.isochromats,
        "blocks_judged": trial.program.n_blocks,
    }


def _alone(trial: Trial, spins: Spins, larmor_frequency: float) -> NDArray[np.complex64]:
    """(readout, spin, sample): the witnesses in the phase graph, each its own atom."""
    witness = Witness(np.arange(len(spins)), trial.witness.readouts, np.zeros_like(trial.witness.signal), [])
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


def _still(spins: Spins) -> Spins:
    """Without diffusion."""
    return Spins(
        spins.position,
        spins.proton_density,
        spins.t1,
        spins.t2,
        spins.t2_prime,
        spins.off_resonance,
        spins.b1_plus,
        0.0,
        spins.volume,
        spins.edges,
        spins.off_resonance_gradient,
    )


def _by_voxel(fast: NDArray, first: NDArray, second: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    error = np.einsum("rvs,rvs->v", (fast - first).conj(), fast - second, dtype=complex).real
    power = np.einsum("rvs,rvs->v", first.conj(), second, dtype=complex).real
    return error, power


def _relative(error: NDArray | float, power: NDArray | float) -> NDArray | float:
    out = np.sqrt(np.maximum(error, 0) / np.where(np.asarray(power) > 0, power, np.inf))
    return float(out) if np.ndim(out) == 0 else out
