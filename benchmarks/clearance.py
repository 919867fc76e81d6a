"""Every protocol of the library against every limit of the gate, at 5 T and 3 T, as a markdown table for docs/safety.md.

    python benchmarks/clearance.py                                             # machine limits and nerves
    python benchmarks/clearance.py --scanners 5T --sar head.h5 --drive 0.0204 --weights weights.npy      # SAR too

`--sar` is a model that write_sar wrote, `--drive` the prescan's sqrt(W)/Hz, `--weights` (tx,) a static shim in our phase
sense (all channels alike without it). Values are shares of the limit in percent; under each table the gate's CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lauterbur.program import Column, Program
from lauterbur.protocol.library import list_protocols, load_protocol
from lauterbur.safety.gate import assess
from lauterbur.safety.sar import SarModel
from lauterbur.safety.sarfile import read_sar
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program

GROUPS = {  # heading -> how the quantities begin; the worst of a group is shown
    "amplitude": "gradient amplitude",
    "slew": "gradient slew",
    "volts": "gradient amplifier volts",
    "power": "gradient amplifier power",
    "mean power": "gradient mean power",
    "r.m.s.": "gradient r.m.s.",
    "heat": "gradient heat",
    "acoustic": "gradient power in",
    "nerve law": "nerve stimulation, share",
    "SAFE, axis": ("nerve stimulation by the SAFE model, x", "nerve stimulation by the SAFE model, y",
                   "nerve stimulation by the SAFE model, z"),
    "SAFE, all": "nerve stimulation by the SAFE model, all",
    "cardiac": "dB/dt",
    "B1": "RF peak B1",
    "RF power": "RF mean power",
    "RF duty": "RF duty",
    "whole-body SAR": "whole-body SAR",
    "head SAR": "head SAR",
    "partial SAR": "partial-body SAR",
    "local SAR": "local SAR",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scanners", default="5T,5T-2.7MW,3T")
    parser.add_argument("--sar", help="a SAR model, of the first scanner's transmit array")
    parser.add_argument("--drive", type=float, help="sqrt(W)/Hz")
    parser.add_argument("--weights", help=".npy, (tx,)")
    parser.add_argument("--protocols", help="names, with commas; all without it")
    arguments = parser.parse_args()
    sar = read_sar(arguments.sar) if arguments.sar else None
    weights = np.load(arguments.weights) if arguments.weights else None
    names = arguments.protocols.split(",") if arguments.protocols else list_protocols()
    for name in arguments.scanners.split(","):
        print(table(name, names, sar, arguments.drive, weights), flush=True)


def shimmed(program: Program, drive: float | None, weights: np.ndarray | None) -> Program:
    """The program with a prescan's drive and one static shim on every pulse."""
    if weights is None:
        return replace(program, reference_drive=drive)
    blocks = program.blocks.copy()
    blocks[:, Column.SHIM] = np.where(blocks[:, Column.RF] >= 0, 0, -1)
    return replace(program, blocks=blocks, shims=np.conj(weights)[None], reference_drive=drive)


def table(
    scanner_name: str,
    names: Sequence[str],
    sar: SarModel | None = None,
    drive: float | None = None,
    weights: np.ndarray | None = None,
) -> str:
    scanner = load_scanner(scanner_name)
    lines, seconds = [], {}
    used: dict[str, bool] = dict.fromkeys(GROUPS, False)
    for protocol in names:
        program = shimmed(build_program(load_protocol(protocol), scanner), drive, weights)
        begin = time.process_time()
        found, _ = assess(program, scanner, None, sar)
        seconds[protocol] = time.process_time() - begin
        cells = []
        for heading, start in GROUPS.items():
            shares = [f.value / f.limit for f in found if f.quantity.startswith(start)]
            used[heading] |= bool(shares)
            cells.append(f"{100 * np.max(shares):.0f}" if shares else "-")
        broken = [f.quantity for f in found if not f.ok]
        lines.append((protocol, cells, "cleared" if not broken else "refused: " + ", ".join(broken)))
    keep = [i for i, heading in enumerate(GROUPS) if used[heading]]
    headings = [list(GROUPS)[i] for i in keep]
    rows = [
        f"| {scanner_name} | " + " | ".join(headings) + " | verdict |",
        "|---" * (len(keep) + 2) + "|",
        *(f"| {name} | " + " | ".join(cells[i] for i in keep) + f" | {verdict} |" for name, cells, verdict in lines),
    ]
    slowest = max(seconds, key=lambda name: seconds[name])
    return "\n".join(rows) + f"\n\nThe gate took at most {seconds[slowest]:.1f} CPU seconds ({slowest}).\n"


if __name__ == "__main__":
    main()
