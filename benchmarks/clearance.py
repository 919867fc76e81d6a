"""Every protocol of the library against every limit of the gate, as the tables of docs/safety.md.

    python benchmarks/clearance.py                                        # machine limits and nerves: 5T, 5T-2.7MW, 3T
    python benchmarks/clearance.py --fields head.h5 --fields torso.h5     # and heat at 5 T, in these solved fields
    python benchmarks/clearance.py --fields ... --write                   # into docs/safety.md, between its marks

`lauterbur fields --subject head --out head.h5` makes such a file. brain/* are judged in a head, shimmed for the brain;
body/* and heart/* in a torso, each shimmed for its own target: `--mode`, circularly polarised unless given. Exits with 1 where a
protocol is refused.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lauterbur.fields.files import read_fields
from lauterbur.fields.maps import FieldMaps
from lauterbur.findings import Finding
from lauterbur.protocol.library import list_protocols, load_protocol
from lauterbur.safety.gate import assess
from lauterbur.safety.sar import SarModel, sar_model
from lauterbur.scanner.profiles import load_scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.shim.planned import plan_shim
from lauterbur.shim.playing import apply_shim
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.library import load_subject
from lauterbur.subject.targets import target_mask

WITH_FIELDS, ALONE = "5T", ("5T", "5T-2.7MW", "3T")
SUBJECT = {"brain": "head", "body": "torso", "heart": "torso"}  # by the first part of a protocol's name
DOCS = Path(__file__).parents[1] / "docs" / "safety.md"
BEGIN, END = "<!-- benchmarks/clearance.py writes from here -->", "<!-- to here -->"
FINER = {"T/m": (1e3, "mT/m"), "s": (1e3, "ms"), "W": (1e-3, "kW"), "Hz": (1e-3, "kHz")}  # how people say it
Known = tuple[Subject, FieldMaps, SarModel]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", action="append", default=[], help="solved fields of 5T in a head, or a torso")
    parser.add_argument("--mode", default="cp", help="a static mode of lauterbur shim")
    parser.add_argument("--protocols", help="names, with commas; all without it")
    parser.add_argument("--write", action="store_true", help="into docs/safety.md")
    arguments = parser.parse_args()
    names = arguments.protocols.split(",") if arguments.protocols else list(list_protocols())
    known = {}
    for path in arguments.fields:
        subject, *rest = loaded(path)
        known[subject.name] = (subject, *rest)

    parts, refused = [], False
    for subject_name, (subject, fields, sar) in known.items():
        held = [name for name in names if SUBJECT[name.split("/")[0]] == subject_name]
        text, ok = table(WITH_FIELDS, held, (subject, fields, sar), arguments.mode)
        transmit = fields.provenance["transmit"]
        parts.append(
            f"### {WITH_FIELDS}, with heat: the `{subject_name}` in {transmit['array']}\n\nMaxwell at "
            f"{1e3 * transmit['step']:g} mm, {len(sar.local)} virtual observation points, safety factor {sar.safety_factor:g}, "
            f"R = {sar.exposed_fraction:.2f}, first-level limits, shim `{arguments.mode}`.\n\n{text}"
        )
        refused |= not ok
    for scanner in ALONE:
        held = [
            name for name in names if not (scanner == WITH_FIELDS and SUBJECT[name.split("/")[0]] in known)
        ]  # the rest is above
        if held:
            text, ok = table(scanner, held)
            parts.append(f"### {scanner}, machine and nerves alone\n\n{text}")
            refused |= not ok
    written = "\n\n".join(parts)
    print(written)
    if arguments.write:
        before, after = DOCS.read_text().split(BEGIN)[0], DOCS.read_text().split(END)[1]
        DOCS.write_text(f"{before}{BEGIN}\n\n{written}\n\n{END}{after}")
    return int(refused)


def loaded(path: str) -> Known:
    scanner = load_scanner(WITH_FIELDS)
    subject = load_subject(str(read_fields(path).provenance["subject"]), field_strength=scanner.field_strength)
    fields = read_fields(path, scanner=scanner, subject=subject)
    return subject, fields, sar_model(fields)


def table(scanner_name: str, names: Sequence[str], known: Known | None = None, mode: str = "cp") -> tuple[str, bool]:
    """Rows are limits, columns protocols; and whether all were cleared."""
    scanner = load_scanner(scanner_name)
    columns: list[dict[str, Finding]] = []
    verdicts, seconds = [], []
    for name in names:
        protocol = load_protocol(name)
        program = build_program(protocol, scanner)
        fields, sar = None, None
        if known:
            subject, fields, sar = known
            mask = target_mask(subject, protocol.target)
            program = apply_shim(program, plan_shim(program, scanner, fields, sar, target=mask, mode=mode))
        begin = time.process_time()
        found, _ = assess(program, scanner, fields, sar)
        seconds.append(f"{time.process_time() - begin:.1f}")
        broken = [f.quantity for f in found if not f.ok]
        verdicts.append("refused: " + ", ".join(broken) if broken else "cleared")
        columns.append(gathered(found))
    lines = [
        f"| limit | | source | {' | '.join(names)} |",
        "|---" * (len(names) + 3) + "|",
        f"| verdict | | | {' | '.join(verdicts)} |",
    ]
    for row in dict.fromkeys(row for column in columns for row in column):
        cells = [column.get(row) for column in columns]
        some = next(f for f in cells if f is not None)
        is_one = len({f.limit for f in cells if f is not None}) == 1
        bound = limit(some) if is_one else "the second number"
        lines.append(f"| {row} | {bound} | {source(some)} | " + " | ".join(cell(f, not is_one) for f in cells) + " |")
    lines.append(f"| the gate itself, CPU s | | | {' | '.join(seconds)} |")
    return "\n".join(lines), all(verdict == "cleared" for verdict in verdicts)


def gathered(found: Sequence[Finding]) -> dict[str, Finding]:
    """Of each kind the worst finding: over axes, bands and rasters; and all that may not occur at all as one."""
    worst: dict[str, Finding] = {}
    for f in found:
        row = re.sub(r", [xyz]$", "", f.quantity)
        row = "gradient power in a forbidden band, share" if row.startswith("gradient power in") else row
        row = "distance of a time from its raster" if row.endswith("from the raster") else row
        row = "faults of a program, of every kind" if f.limit == 0 else row
        row += ", told only" if f.is_advice else ""
        if row not in worst or not share(f) <= share(worst[row]):
            worst[row] = f
    return worst


def share(f: Finding) -> float:
    return f.value / f.limit if f.limit > 0 else f.value


def cell(f: Finding | None, with_limit: bool) -> str:
    """The value, and the margin in percent of the limit."""
    if f is None:
        return "-"
    if f.limit == 0:
        return f"{f.value:g}"
    value = number(f.value * scale(f)[0])
    return (
        f"{value} / {number(f.limit * scale(f)[0])} ({100 * f.margin:.0f})"
        if with_limit
        else f"{value} ({100 * f.margin:.0f})"
    )


def limit(f: Finding) -> str:
    return f"{number(f.limit * scale(f)[0])} {scale(f)[1]}".strip()


def scale(f: Finding) -> tuple[float, str]:
    """To the unit people read, by the size of the limit: 0.12 T/m is 120 mT/m."""
    if f.unit == "T" and f.limit < 1e-3:
        return 1e6, "uT"
    if f.unit == "s" and f.limit >= 10:
        return 1.0, "s"
    return FINER.get(f.unit, (1.0, f.unit))


def number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def source(f: Finding) -> str:
    """The rule, short: what differs from scan to scan is left out."""
    rule = re.sub(r"; (by the prescan|estimated|safety factor).*", "", f.rule)
    return ("what a program is" if f.limit == 0 else rule).replace("|", "&#124;")


if __name__ == "__main__":
    sys.exit(main())
