"""The fast engine against converged isochromats on a slice of the head: how far apart, and how well the judge knows it.

    python benchmarks/agreement.py                      # five contrasts at the accuracies of `simulate` and of a scan
    python benchmarks/agreement.py --trials 8           # and how often the error lies below the judge's upper limit
    python benchmarks/agreement.py --only EPI
    python benchmarks/agreement.py --trials 10 --finest # the trials alone, against the fast engine at its finest: minutes
    python benchmarks/agreement.py --trials 10 --finest --first-seed 100 --only TSE

The slice comes from the subject `head` at 5 T: voxels of 6 mm with the tissues' natural spread of T1, T2 and T2', turned
against the image; relative B1 0.6 to 1.3 and off-resonance to +-200 Hz. Several plays of the reference with other
isochromats, a prime number per voxel, give the error free of their noise: <f - r1, f - r2> has mean |f - truth|^2. Its
imaginary part has mean zero and the same spread, so that the mean over all pairs of plays comes with its own standard
error; an error whose square is twice that can be told from none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np

import lauterbur as lb
from lauterbur.acquisition.twin import reference
from lauterbur.acquisition.twin.accuracy import FINE, IMAGING, Accuracy
from lauterbur.acquisition.twin.fast import play_fast
from lauterbur.acquisition.twin.judge import judge, plan_trial
from lauterbur.acquisition.twin.material import spins_from
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.program import Program
from lauterbur.sequence.contrasts import build_program

STEP = 6  # voxels of the subject along an edge of a box in the plane
DEPTH = 8  # layers of 1 mm
HEIGHT = 0.03  # m above the isocentre
TURN = 0.3  # rad
PULSE_STEP = 5e-6  # s, of the reference: at 1 kHz from a pulse's frequency that is wrong by 4e-5
LEVELS = "at the finest accuracy", "at that of simulate", "at that of a scan"


def slice_of_head(layers: int) -> Spins:
    """Boxes of 6 mm in the plane: one deep layer for 3D, several thin ones for slice selection."""
    scanner, subject = lb.load_scanner("5T"), lb.load_subject("head")
    whole = spins_from(subject, lb.solve_fields(scanner, subject), scanner, seed=0)
    cell = np.round(whole.position * 1e3).astype(int)
    z = cell[:, 2] - int(HEIGHT * 1e3)
    some = np.flatnonzero((cell[:, 0] % STEP == 0) & (cell[:, 1] % STEP == 0) & (z >= 0) & (z < layers))
    some = some[(np.abs(whole.weight[some]) > 0.2 * np.abs(whole.weight).max()) & (whole.t2[some] > 5e-3)]
    x = whole.position[some] - [0.0, 0.016, HEIGHT + (layers - 1) / 2e3]
    c, s = np.cos(TURN), np.sin(TURN)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    depth = 1e-3 if layers > 1 else DEPTH * 1e-3
    edges = np.diag([STEP * 1e-3, STEP * 1e-3, depth]) @ turn
    return Spins(
        x @ turn,
        whole.proton_density[some],
        whole.t1[some],
        np.minimum(whole.t2[some], 0.3),
        np.minimum(whole.t2_prime[some], 0.2),
        200 * np.sin(30 * x[:, 0]) * np.cos(25 * x[:, 1]),
        0.95 + 0.35 * np.cos(20 * x[:, 1] + 7 * x[:, 0]),
        volume=np.full(len(some), abs(np.linalg.det(edges))),
        edges=edges,
    )


def programs() -> dict[str, tuple[Program, int]]:
    """Library protocols on a matrix the reference can afford, and the layers of the slice they need."""
    scanner = lb.load_scanner("5T")
    flat = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    volume = dict(
        fov=(0.22, 0.22, 0.016), matrix=(32, 32, 2), acceleration=(1, 1), reference_lines=(0, 0), position=(0.0, 0.0, 0.0),
        directions=flat,
    )  # fmt: skip
    plane = dict(slices=1, acceleration=(1, 1), reference_lines=(0, 0), position=(0.0, 0.0, 0.0), directions=flat)

    def built(name: str, **changes) -> Program:
        return build_program(replace(lb.load_protocol(name), **changes), scanner)

    return {
        "spoiled GRE": (built("brain/t1-gre", **volume, dummies=20), 1),
        "MPRAGE": (built("brain/t1-mprage", **volume, ti=0.3, tr=0.8), 1),
        "bSSFP": (built("brain/bssfp", **volume), 1),
        "TSE": (built("brain/t2-tse", **plane, fov=(0.22, 0.22, 3e-3), matrix=(60, 60, 1), tr=2.0), DEPTH),
        "EPI": (built("brain/epi", **plane, fov=(0.224, 0.224, 3e-3), matrix=(48, 48, 1), tr=0.5), DEPTH),
    }


def trials(program: Program, spins: Spins, seeds: range, error: Callable[[np.ndarray], float]) -> int:
    """In how many plays at the accuracy of a scan, one for each seed, the error lies below the judge's upper limit."""
    below = 0
    for seed in seeds:
        trial = plan_trial(program, spins, seed)
        assert trial is not None
        played_so, _ = play_fast(program, spins, accuracy=IMAGING, seed=seed, witness=trial.witness)
        judged, wrong = judge(trial, spins, seed=seed), error(played_so)
        below += wrong < judged["upper95"]
        print(
            f"    seed {seed}: error {100 * wrong:.2f} %, judged {100 * judged['estimate']:.2f} %, upper limit "
            f"{100 * judged['upper95']:.2f} %",
            flush=True,
        )
    return below


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=0, help="seeds for the coverage of the judge's upper limit")
    parser.add_argument("--first-seed", type=int, default=0, help="of the trials: others than were looked at before")
    parser.add_argument("--isochromats", type=int, default=1021, help="per voxel")
    parser.add_argument("--plays", type=int, default=2, help="of the reference; the resolution grows with their number")
    parser.add_argument(
        "--finest", action="store_true", help="the fast engine at its finest is the truth of the trials"
    )
    parser.add_argument("--only", help="one of the contrasts")
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.trials)
    below = played = 0
    for name, (program, layers) in programs().items():
        if asked.only not in (None, name):
            continue
        spins = slice_of_head(layers)
        begin = time.perf_counter()
        if asked.finest:
            right = play_fast(program, spins, accuracy=FINE)[0]

            def apart(fast: np.ndarray, right=right) -> float:
                return float(np.linalg.norm(fast - right) / np.linalg.norm(right))

            others = [apart(play_fast(program, spins, accuracy=a)[0]) for a in (Accuracy(), IMAGING)]
            shown = ", ".join(f"{100 * e:.2f} % {what}" for e, what in zip(others, LEVELS[1:], strict=True))
            print(f"{name}, against the fast engine at its finest: {shown}", flush=True)
            below, played = below + trials(program, spins, seeds, apart), played + asked.trials
            continue
        plays = [
            reference.play(program, spins, spins_per_voxel=asked.isochromats, seed=seed, pulse_step=PULSE_STEP)
            for seed in range(1, asked.plays + 1)
        ]
        pairs = list(combinations(plays, 2))
        norm = float(np.mean([np.vdot(one, two).real for one, two in pairs]))

        def squares(fast: np.ndarray, pairs=pairs, norm=norm) -> np.ndarray:
            """(pair,) of the relative error, with a noise whose real and imaginary parts are alike."""
            return np.array([np.vdot(fast - one, fast - two) for one, two in pairs]) / norm

        def error(fast: np.ndarray) -> float:
            return float(np.sqrt(max(squares(fast).real.mean(), 0)))

        tissues = len(np.unique(np.column_stack((spins.t1, spins.t2)), axis=0))
        fast = [play_fast(program, spins, accuracy=accuracy)[0] for accuracy in (FINE, Accuracy(), IMAGING)]
        shown = ", ".join(f"{100 * error(f):.2f} % {what}" for f, what in zip(fast, LEVELS, strict=True))
        within = np.linalg.norm(fast[1] - fast[0]) / np.linalg.norm(fast[0])
        noise = np.sqrt(np.mean([np.linalg.norm(one - two) ** 2 for one, two in pairs]) / (2 * norm))
        standard = np.linalg.norm(squares(fast[0]).imag) / len(pairs)
        print(
            f"{name}: {len(spins)} voxels, {tissues} pairs of T1 and T2, {len(plays[0])} readouts; error {shown}; the first "
            f"two lie {100 * within:.2f} % apart; one play of the reference scatters by {100 * noise:.2f} %, and the mean of "
            f"{len(pairs)} pairs tells errors from {100 * np.sqrt(2 * standard):.2f} %; "
            f"{time.perf_counter() - begin:.0f} s",
            flush=True,
        )
        below, played = below + trials(program, spins, seeds, error), played + asked.trials
    if played:
        print(f"the error lay below the upper limit in {below} of {played} trials")


if __name__ == "__main__":
    main()
