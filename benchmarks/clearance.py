"""Every protocol of the library against every limit of the gate, at 5 T and 3 T, as a markdown table for docs/safety.md.

    python benchmarks/clearance.py                     # machine limits; SAR where a model is given
    python benchmarks/clearance.py --sar sar.h5        # not yet: give --fields fields.h5 once fields are solved

Values are shares of the limit, in percent; the last line of each table says how long the gate took (CPU seconds).
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from lauterbur.protocol.library import list_protocols, load_protocol
from lauterbur.safety.gate import assess
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
    "SAR": ("whole-body SAR", "head SAR", "partial-body SAR", "local SAR"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scanners", default="5T,5T-2.7MW,3T")
    arguments = parser.parse_args()
    for name in arguments.scanners.split(","):
        print(table(name), flush=True)


def table(scanner_name: str) -> str:
    scanner = load_scanner(scanner_name)
    lines, seconds = [], {}
    used: dict[str, bool] = dict.fromkeys(GROUPS, False)
    for protocol in list_protocols():
        program = build_program(load_protocol(protocol), scanner)
        begin = time.process_time()
        found, _ = assess(program, scanner)
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
