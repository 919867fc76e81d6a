"""True scans of the twin, without noise, as k-space of many receivers: to learn from, and on other subjects to judge by.

    python training/twin_scans.py --out bank          # some minutes each on one core

The receivers are cold (3 K), so that noise of any strength can be added later. Everything is sampled; who wants less leaves lines out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.simulation import Twin
from lauterbur.fields.solution import solve_fields
from lauterbur.protocol.library import load_protocol
from lauterbur.protocol.protocol import Protocol
from lauterbur.rawdata import RawData
from lauterbur.recon.espirit import plane_maps
from lauterbur.recon.fft import fft, ifft, resized
from lauterbur.recon.layout import cartesian_layout
from lauterbur.recon.readout import gathered
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.population import population
from lauterbur.units import deg, mm, ms

COLD = 3.0  # K, where noise is a tenth of that at room temperature
COILS = 12
TRAINING_SEED = 2000  # of subjects learned from: benchmarks judge on others
Complex = NDArray[np.complex64]


@dataclass(frozen=True)
class Scan:
    """What is scanned how: a kind of subject and changes to a protocol of the library."""

    protocol: str
    subject: str  # head or torso
    changes: Callable[[Protocol], Protocol]


def _whole(**changes: Any) -> Callable[[Protocol], Protocol]:
    return lambda p: replace(p, acceleration=(1, 1), reference_lines=(0, 0), **changes)


def _slices(n: int, matrix: int, gap: float) -> Callable[[Protocol], Protocol]:
    return lambda p: _whole(matrix=(matrix, matrix, 1), slices=n, slice_gap=gap)(p)


SCANS = {
    "t2": Scan("brain/t2-tse", "head", _slices(5, 192, 16 * mm)),
    "t1": Scan(
        "brain/t1-gre",
        "head",
        _whole(
            dimensions=2, matrix=(192, 192, 1), fov=(240 * mm, 240 * mm, 4 * mm), slices=4, slice_gap=20 * mm,
            tr=120 * ms, te=(4 * ms,), flip_angle=40 * deg, rf_duration=2 * ms, dummies=10,
        ),
    ),
    "flair": Scan("brain/flair", "head", _slices(3, 160, 25 * mm)),
    "body": Scan("body/t2-tse", "torso", _whole(matrix=(256, 176, 1), slices=3, slice_gap=40 * mm)),
}  # fmt: skip


def subject_of(kind: str, seed: int) -> Subject:
    return next(population(kind, 1, seed, **({"arms": False} if kind == "torso" else {})))


def scanned(scan: Scan, subject: Subject, seed: int, coils: int = COILS) -> RawData:
    machine = load_scanner("5T")
    cold = replace(machine, temperature=COLD)
    program = build_program(scan.changes(load_protocol(scan.protocol)), machine)
    twin = Twin(subject, cold, solve_fields(cold, subject), seed=seed, coils=coils, measure_error=False)
    return twin.play(program)


def planes_of(raw: RawData, n_planes: int) -> list[Complex]:
    """k-space (rx, a, b) of slices (readout, phase), or of positions along the readout of a volume (partition, phase)."""
    assert raw.header is not None
    layout = cartesian_layout(raw, raw.header)
    assert layout is not None
    lines = gathered(raw, layout, layout.image, np.eye(raw.n_rx), np.zeros((raw.n_readouts, 2)))
    n_x, n_z, n_y = lines.n_x, layout.n_partitions, layout.phase.n
    k = np.zeros((len(layout.slices), raw.n_rx, n_z, n_y, n_x), np.complex64)
    k[lines.slice, :, lines.section, lines.line] = lines.samples
    if layout.partition is None:
        return [np.ascontiguousarray(fft(k[s, :, 0], 2).transpose(0, 2, 1)) for s in chosen_slices(len(k), n_planes)]
    energy = np.sum(np.abs(k[0]) ** 2, axis=(0, 1, 2))
    seen = np.flatnonzero(energy > 0.3 * energy.max())
    chosen = seen[np.linspace(0, len(seen) - 1, n_planes + 2).astype(int)[1:-1]]
    return [np.ascontiguousarray(k[0, ..., x]) for x in chosen]


def chosen_slices(n_slices: int, n_planes: int) -> NDArray[np.intp]:
    """As many as are wanted, spread over the stack."""
    return np.unique(np.round(np.linspace(0, n_slices - 1, n_planes + 2)[1:-1]).astype(np.intp))


def combined(k: Complex) -> Complex:
    """(a, b): one picture of all receivers, by maps of the centre."""
    block = resized(resized(k, 24, 1), 24, 2)
    found = plane_maps(block, (k.shape[1], k.shape[2]))
    picture = np.sum(found.sensitivity[0].conj() * ifft(k, (1, 2)), axis=0)
    return np.asarray(picture * (found.eigenvalue[0] > 0.7), np.complex64)


def main() -> None:
    from pictures import centred, save

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bank"))
    parser.add_argument("--scans", nargs="+", choices=SCANS, default=list(SCANS))
    parser.add_argument("--subjects", type=int, default=1, help="of each scan")
    parser.add_argument("--planes", type=int, default=60, help="of each volume")
    options = parser.parse_args()
    for name in options.scans:
        for i in range(options.subjects):
            number = 10 * list(SCANS).index(name) + i
            file, scan = options.out / f"twin-{number:02d}.npy", SCANS[name]
            if not file.exists():
                raw = scanned(scan, subject_of(scan.subject, TRAINING_SEED + number), TRAINING_SEED + number)
                save([centred(combined(k)) for k in planes_of(raw, options.planes)], file)


if __name__ == "__main__":
    main()
