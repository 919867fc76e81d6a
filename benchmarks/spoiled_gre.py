"""The twin's headline: 3D spoiled GRE, 10,240 TR x 128 samples, 153,000 voxels, 8 coils, from .seq on disk to MRD on disk.

    python benchmarks/spoiled_gre.py                          # ours: time, memory, measured error
    python benchmarks/spoiled_gre.py --peers                  # beside it blochsimulator and MRzeroCore on a piece of the job
    python benchmarks/spoiled_gre.py --peers --peer-python PEERS/bin/python --budget 300
    python benchmarks/spoiled_gre.py --grow --out growth.png  # instead: seconds against voxels, coils and TRs

The peers may live in another environment (peers.py says how to make one). The ratio is theirs to ours in time per voxel
and ADC sample, with as many coils on both sides and as many threads as OMP_NUM_THREADS or the machine has; ours is played
again after the peers, and the slower of the two plays counts. Ours includes reading the .seq and writing the MRD.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from gre_job import N_PARTITION, N_PHASE, N_READ, STEP, coils, phantom, program

import lauterbur as lb
from lauterbur.acquisition.twin.accuracy import Accuracy

N_TRS = N_PHASE * N_PARTITION
GROWTH = {  # what grows -> (voxels, coils, TRs); the rest stays
    "voxels": [(n, 8, 2560) for n in (10_000, 20_000, 40_000, 80_000, 160_000)],
    "coils": [(40_000, n, 2560) for n in (1, 2, 4, 8, 16, 32)],
    "TRs": [(40_000, 8, n) for n in (640, 1280, 2560, 5120, 10_240)],
}


def ours(n_voxels: int, n_coils: int, n_trs: int, folder: Path, step: float = STEP) -> tuple[float, lb.RawData]:
    """Seconds from the .seq file to the MRD file, and what was written. Small jobs too have the accuracy of large ones."""
    path = folder / "spgr.seq"
    lb.write_program(program(n_trs), path)
    spins = phantom(n_voxels, step)
    receive = coils(spins, n_coils)
    begin = time.perf_counter()
    raw = lb.simulate(lb.read_program(path), spins, receive, accuracy=Accuracy())
    lb.write_raw(raw, folder / "raw.mrd")
    return time.perf_counter() - begin, raw


def headline(n_voxels: int, n_coils: int, folder: Path, step: float) -> float:
    seconds, raw = ours(n_voxels, n_coils, N_TRS, folder, step)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    speed = n_voxels * N_TRS * N_READ / seconds
    print(
        f"ours: {n_voxels} voxels of {1e3 * step:.2f} mm x {N_TRS} TRs x {N_READ} samples, {n_coils} coils: {seconds:.1f} s, peak {memory:.2f} GiB, "
        f"{speed:.3g} voxel samples/s; {raw.header.provenance.get('fast')}",
        flush=True,
    )
    spins = phantom(n_voxels, step)
    judged = lb.simulate(lb.read_program(folder / "spgr.seq"), spins, coils(spins, n_coils), measure_error=True)
    print(f"measured error: {judged.header.provenance.get('simulation_error')}", flush=True)
    return seconds


def grow(folder: Path, out: Path) -> None:
    """A picture of seconds against each size, the other two held."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    known: dict[tuple[int, int, int], float] = {}
    figure, panels = plt.subplots(1, len(GROWTH), figsize=(11, 3.6), sharey=True, layout="constrained")
    for place, (panel, (what, jobs)) in enumerate(zip(panels, GROWTH.items(), strict=True)):
        axis = ("voxels", "coils", "TRs").index(what)
        for job in jobs:
            if job not in known:
                known[job] = ours(*job, folder)[0]
            print("{} voxels, {} coils, {} TRs:".format(*job), f"{known[job]:.2f} s", flush=True)
        sizes, seconds = [job[axis] for job in jobs], [known[job] for job in jobs]
        held = ", ".join(f"{n:,} {name}" for i, (name, n) in enumerate(zip(GROWTH, jobs[0], strict=True)) if i != axis)
        panel.loglog(sizes, seconds, "o-", label="measured")
        panel.loglog(sizes, [seconds[-1] * n / sizes[-1] for n in sizes], ":", color="grey", label="in proportion")
        panel.set(xlabel=what, title=held)
        panel.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=8)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        if place == 0:
            panel.set_ylabel("s, from .seq to MRD")
            panel.legend()
    figure.suptitle("3D spoiled GRE on the twin")
    figure.savefig(out, dpi=130)
    print(out)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--voxels", type=int, default=153_000)
    ask.add_argument(
        "--step", type=float, default=STEP, help="m, the voxels' edge; other than the image's it does not fit its grid"
    )
    ask.add_argument("--coils", type=int, default=8)
    ask.add_argument("--grow", action="store_true", help="the growth study instead of the headline")
    ask.add_argument("--out", type=Path, default=Path("growth.png"), help="its picture")
    ask.add_argument("--peers", action="store_true", help="play the peers, too")
    ask.add_argument("--peer-python", default=sys.executable, help="an interpreter that has the peers")
    ask.add_argument("--budget", type=float, default=300.0, help="seconds that a peer's piece may take")
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours(2000, 1, 256, folder)  # compile the kernels
        if asked.grow:
            return grow(folder, asked.out)
        seconds = headline(asked.voxels, asked.coils, folder, asked.step)
        if asked.peers:
            from peers import against

            results = against(asked.voxels, asked.coils, asked.peer_python, asked.budget)
            again, _ = ours(asked.voxels, asked.coils, N_TRS, folder, asked.step)
            speed = asked.voxels * N_TRS * N_READ / max(seconds, again)
            print(f"ours again: {again:.1f} s")
            for peer, theirs in results.items():
                print(
                    f"ours / {peer} = {speed / theirs.speed:.0f} per voxel and sample, {asked.coils} coils on both sides, "
                    f"their error {100 * theirs.error:.2f} %"
                )


if __name__ == "__main__":
    main()
