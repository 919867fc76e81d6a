"""What others need for the same job: the largest piece of it that each finishes in a budget, at about 1 % error.

    python3 -m venv PEERS && PEERS/bin/pip install torch==2.13.0 MRzeroCore==1.2.0 blochsimulator==2.9.5
    python benchmarks/spoiled_gre.py --peers --peer-python PEERS/bin/python     # beside ours, with the ratio
    python benchmarks/peers.py --peer-python PEERS/bin/python --budget 20       # theirs alone

- Equal accuracy first. 32 voxels of the job are played for 64 TRs at random places of its k-space, each voxel heard
  alone: errors and signals of different voxels add in squares, as they do over the whole of k-space. The judge is our
  reference engine, four times, so that its own isochromats' errors fall out (see twin/judge.py). Its isochromats
  spread along x, the spoiler's direction, and over the T2' line; y and z only encode, so a box's decay along them is a
  factor. One complex scale is free.
- MRzeroCore plays the same boxes with T2'; its threshold is lowered until it is within 1 %.
- blochsimulator has no T2', and one isochromat per voxel spoils nothing. It gets an easier job, judged as such: no T2',
  and voxels extended along the spoiler only; as many isochromats as are within 1 % of that. Over a box in three
  dimensions and a T2' line it would take thousands.
- Then the piece: all coils, voxels doubled until all are there, then TRs, while the time foreseen is within the budget.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from gre_job import N_PARTITION, N_PHASE, N_READ, coils, phantom, program
from numpy.typing import NDArray

import lauterbur as lb
from lauterbur.acquisition.trajectory import trajectory
from lauterbur.acquisition.twin import reference
from lauterbur.program import Program

ACCURACY = 0.01
VOXELS, TRS = 32, 64  # of the small piece
ISOCHROMATS, JUDGES = 4096, 4  # isochromats per voxel of each judge
FIRST = (1024, 8)  # voxels, TRs of the first piece that is timed
PLAYER = Path(__file__).with_name("peer_players.py")


@dataclass(frozen=True)
class Peer:
    """A peer, and the settings to try, from the cheapest to the most exact."""

    name: str
    easier: bool  # no T2', voxels extended along x only
    settings: Sequence[Mapping[str, Any]]


PEERS = (
    Peer(
        "MRzeroCore",
        False,
        [
            {"threshold": t, "max_states": 200, "voxels_at_once": 4096}
            for t in (1e-2, 3e-3, 1e-3, 6e-4, 4e-4, 2e-4, 1e-4, 3e-5)
        ],
    ),
    Peer(
        "blochsimulator",
        True,
        [{"isochromats": n, "sampling": "midpoint"} for n in (1, 32, 64, 96, 112, 128, 160, 192, 256, 384, 512)],
    ),
)


@dataclass(frozen=True)
class Result:
    """What a peer did."""

    voxels: int
    trs: int
    seconds: float
    error: float
    settings: Mapping[str, Any]

    @property
    def speed(self) -> float:
        """Voxels x ADC samples per second, each sample for all coils."""
        return self.voxels * self.trs * N_READ / self.seconds


def play(
    peer: Peer,
    settings: Mapping[str, Any],
    piece: Program,
    spins: lb.Spins,
    receive: NDArray,
    python: str,
    limit: float,
) -> tuple[dict[str, Any], NDArray[np.complex64]]:
    """A peer's own account, and its signal (rx, sample); RuntimeError where it fails, TimeoutExpired where it is too slow."""
    assert spins.volume is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lb.write_program(piece, folder / "piece.seq")
        np.savez(
            folder / "spins.npz",
            position=spins.position,
            weight=spins.proton_density,
            t1=spins.t1,
            t2=spins.t2,
            t2_prime=spins.t2_prime,
            frequency=spins.off_resonance,
            b1_plus=spins.b1_plus,
            receive=receive,
            edge=np.cbrt(spins.volume[0]),
        )
        threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        (folder / "settings.json").write_text(json.dumps({"peer": peer.name, "threads": threads, **settings}))
        done = subprocess.run([python, PLAYER, folder], capture_output=True, text=True, timeout=limit)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"rc {done.returncode}")
        return json.loads((folder / "result.json").read_text()), np.load(folder / "signal.npy")


def small_piece(spins: lb.Spins) -> tuple[Program, lb.Spins]:
    """Some voxels, and a beginning of the job whose lines and partitions are taken at random from all of it."""
    rng = np.random.default_rng(1)
    some = spins.subset(np.sort(rng.choice(len(spins), min(VOXELS, len(spins)), replace=False)))
    whole = program()
    blocks = whole.blocks.reshape(N_PHASE * N_PARTITION, 5, -1)
    heard = rng.choice(len(blocks), TRS, replace=False)
    beginning = blocks[:TRS].copy()  # the pulses' phases in their order
    beginning[:, 1], beginning[:, 3] = blocks[heard, 1], blocks[heard, 3]  # encoding and its rewinding
    piece = replace(whole, blocks=beginning.reshape(TRS * 5, -1), durations=whole.durations[: TRS * 5], labels={})
    return piece, some


def truth(piece: Program, some: lb.Spins, easier: bool) -> NDArray:
    """(judge, voxel, readout, sample): what each voxel sends, by judges whose errors are independent."""
    assert some.volume is not None
    edge = float(np.cbrt(some.volume[0]))
    rods = lb.Spins(
        some.position,
        some.proton_density,
        some.t1,
        some.t2,
        np.inf if easier else some.t2_prime,
        some.off_resonance,
        some.b1_plus,
        volume=some.volume,
        edges=np.diag([edge, 1e-9, 1e-9]),
    )
    alone = np.eye(len(some), dtype=complex)
    judges = np.array(
        [reference.play(piece, rods, alone, spins_per_voxel=ISOCHROMATS, seed=101 + i) for i in range(JUDGES)]
    ).swapaxes(1, 2)
    k = trajectory(piece).k
    box = 1.0 if easier else np.sinc(k[..., 1] * edge) * np.sinc(k[..., 2] * edge)
    return judges * box


def settle(peer: Peer, spins: lb.Spins, python: str, limit: float) -> tuple[Mapping[str, Any], float]:
    """The cheapest settings within ACCURACY, or else the best, and their error."""
    piece, some = small_piece(spins)
    judges = truth(piece, some, peer.easier)
    own = np.sqrt(JUDGES / (JUDGES - 1)) * np.linalg.norm(judges - judges.mean(axis=0)) / np.linalg.norm(judges)
    print(f"{peer.name}: judged by {JUDGES} x {ISOCHROMATS} isochromats per voxel, each {100 * own:.2f} % off")
    best: tuple[Mapping[str, Any], float] = ({}, np.inf)
    for settings in peer.settings:
        _, signal = play(peer, settings, piece, some, np.eye(len(some), dtype=complex), python, limit)
        error = nrmse(signal.reshape(judges.shape[1:]), judges)
        print(f"  {settings}: NRMSE {100 * error:.2f} %", flush=True)
        if error < best[1]:
            best = settings, error
        if error <= ACCURACY:
            break
    return best


def nrmse(signal: NDArray, judges: NDArray) -> float:
    """Relative r.m.s. error after one complex scale; judges' own errors do not correlate, so they fall out in pairs."""
    scale = np.vdot(signal, judges.mean(axis=0)) / np.vdot(signal, signal).real
    pairs = list(combinations(range(len(judges)), 2))
    off = scale * signal - judges
    error = np.mean([np.vdot(off[i], off[j]).real for i, j in pairs])
    power = np.mean([np.vdot(judges[i], judges[j]).real for i, j in pairs])
    return float(np.sqrt(max(0.0, error / power)))


def largest(
    peer: Peer, settings: Mapping[str, Any], error: float, spins: lb.Spins, n_coils: int, python: str, budget: float
) -> Result:
    """The largest piece within the budget, found by growing it; each piece is foreseen from the one before."""
    voxels, trs = min(FIRST[0], len(spins)), FIRST[1]
    whole = N_PHASE * N_PARTITION
    while True:
        some = spins.subset(np.arange(voxels) * len(spins) // voxels)
        receive = coils(some, n_coils)
        told, _ = play(peer, settings, program(trs), some, receive, python, 3 * budget)
        if told["seconds"] < 40:  # short pieces suffer from whatever else the machine does
            again, _ = play(peer, settings, program(trs), some, receive, python, 3 * budget)
            told = min(told, again, key=lambda t: t["seconds"])
        done = Result(voxels, trs, told["seconds"], error, settings)
        print(f"  {voxels} voxels x {trs} TRs: {done.speed:.3g} voxel samples/s, {told}", flush=True)
        doublings = int(np.floor(np.log2(max(1.0, budget / max(done.seconds, 1e-3)))))
        if doublings < 1 or (voxels == len(spins) and trs == whole):
            return done
        growth = 2 ** min(doublings, 3)
        if voxels < len(spins):
            voxels = min(voxels * growth, len(spins))
        else:
            trs = min(trs * growth, whole)


def against(n_voxels: int, n_coils: int, python: str, budget: float, names: Sequence[str] = ()) -> dict[str, Result]:
    """Each peer that the interpreter `python` has."""
    spins = phantom(n_voxels)
    results = {}
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        if subprocess.run([python, "-c", f"import {peer.name}"], capture_output=True).returncode:
            print(f"{peer.name} is not installed for {python}: see peers.py")
            continue
        try:
            settings, error = settle(peer, spins, python, 3 * budget)
            done = largest(peer, settings, error, spins, n_coils, python, budget)
        except (RuntimeError, subprocess.TimeoutExpired) as reason:
            print(f"{peer.name} did not play: {reason}")
            continue
        hours = n_voxels * N_PHASE * N_PARTITION * N_READ / done.speed / 3600
        print(
            f"{peer.name}: {done.voxels} voxels x {done.trs} TRs x {N_READ} samples, {n_coils} coils, in {done.seconds:.1f} s: "
            f"{done.speed:.3g} voxel samples/s at NRMSE {100 * error:.2f} %{' of an easier job' if peer.easier else ''} "
            f"with {dict(settings)}; the whole job would take {hours:.1f} h"
        )
        results[peer.name] = done
    return results


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--voxels", type=int, default=153_000)
    ask.add_argument("--coils", type=int, default=8)
    ask.add_argument("--budget", type=float, default=300.0, help="seconds that a piece may take")
    ask.add_argument("--peer-python", default=sys.executable, help="an interpreter that has the peers")
    ask.add_argument("--peer", action="append", choices=[p.name for p in PEERS], help="only this one")
    asked = ask.parse_args()
    against(asked.voxels, asked.coils, asked.peer_python, asked.budget, asked.peer or ())


if __name__ == "__main__":
    main()
