"""Plays one piece of the job on another simulator. Runs under the peer's own interpreter and imports nothing of ours.

    PEER_PYTHON benchmarks/peer_players.py FOLDER

FOLDER holds piece.seq, settings.json and spins.npz, written by peers.py; signal.npy (rx, sample) and result.json are added.
The seconds are those from the .seq file to the signal in memory: starting Python, imports, reading our arrays and
writing the signal are not charged.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Played = tuple[NDArray[np.complex64], dict[str, Any]]


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(begin: tuple[float, float]) -> dict[str, Any]:
    wall, busy = clocks()
    return {"seconds": wall - begin[0], "core_seconds": busy - begin[1]}


def blochsimulator(path: Path, spins: Mapping[str, NDArray], settings: Mapping[str, Any]) -> Played:
    """Isochromats spread evenly along x, the spoiler's direction, by its own sampling. It knows no T2'.

    Voxels are a list here, not a grid: the phantom is a column of voxels whose positions are then put right.
    """
    import blochsimulator as bs

    warnings.simplefilter("ignore")
    simulator = bs.BlochSimulator(num_threads=settings["threads"])
    sampling = bs.SpinSampling((settings["isochromats"], 1, 1), method=settings["sampling"])
    edge = float(spins["edge"])

    begin = clocks()
    program = bs.load_pulseq(path)
    column = {name: spins[name][..., None, None] for name in ("t1", "t2", "weight", "frequency", "b1_plus", "receive")}
    phantom = bs.phantom.Phantom(
        column["t1"].shape,
        (1.0, 1.0, 1.0),
        column["t1"],
        column["t2"],
        pd_map=column["weight"],
        b0_map=column["frequency"],
        tx_sensitivity_map=column["b1_plus"],
        rx_sensitivity_maps=column["receive"],
        affine_ijk_to_xyz_m=np.diag([edge, edge, edge, 1.0]),
    )
    phantom.positions = spins["position"]
    heard = simulator.simulate_sequence(
        program,
        phantom,
        spoiler_mode="gradient",
        spin_sampling=sampling,
        simulation_timestep_s=1.0,  # a hard pulse is one exact step, not 200
    )
    return np.atleast_2d(heard.signal).astype(np.complex64), since(begin)


def mrzerocore(path: Path, spins: Mapping[str, NDArray], settings: Mapping[str, Any]) -> Played:
    """Its phase graph, with the exact decay of a box voxel.

    Its pre-pass takes states past the voxel's Nyquist frequency for silent, which costs 12 % here, as a box still rings at
    1.5 cycles: so it is told of none. RF phases enter with the sign opposite to precession, against Pulseq's: places and
    frequencies are mirrored, and the signal comes out conjugate.
    """
    import MRzeroCore as mr0
    import torch

    torch.set_num_threads(settings["threads"])
    torch.set_grad_enabled(False)
    edge = float(spins["edge"])

    def data(some: slice) -> mr0.SimData:
        def real(name: str, sign: float = 1.0) -> torch.Tensor:
            return torch.as_tensor(sign * spins[name][some], dtype=torch.float32)

        return mr0.SimData(
            real("weight"),
            real("t1"),
            real("t2"),
            real("t2_prime"),
            torch.zeros(len(spins["t1"][some])),
            real("frequency", -1.0),
            torch.as_tensor(spins["b1_plus"][None, some], dtype=torch.complex64),
            torch.as_tensor(spins["receive"][:, some].conj(), dtype=torch.complex64),
            torch.ones(3),
            torch.eye(4),
            real("position", -1.0),
            torch.full((3,), float("inf")),
            lambda k, nyquist: torch.prod(torch.sinc(k * edge), dim=1),
        )

    n, at_once, threshold = len(spins["t1"]), settings["voxels_at_once"], settings["threshold"]
    begin = clocks()
    sequence = mr0.Sequence.import_file(str(path), exact_trajectories=False)
    graph = mr0.compute_graph(sequence, data(slice(None)), settings["max_states"], min(1e-4, threshold))
    signal = sum(
        mr0.execute_graph(
            graph, sequence, data(slice(start, start + at_once)), threshold, threshold, print_progress=False
        )
        for start in range(0, n, at_once)
    )
    spent = since(begin)
    states = [sum(d.dist_type == "z0" or d.latent_signal >= threshold for d in repetition) for repetition in graph[1:]]
    return signal.numpy().T.conj(), {**spent, "states_of_the_last_tr": int(states[-1])}


def main() -> None:
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    with np.load(folder / "spins.npz") as stored:
        spins = {name: stored[name] for name in stored}
    play = {"blochsimulator": blochsimulator, "MRzeroCore": mrzerocore}[settings["peer"]]
    signal, result = play(folder / "piece.seq", spins, settings)
    np.save(folder / "signal.npy", signal)
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
