"""The verbs of a scan: what there is to scan, may it be played, play it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lauterbur.cli.prescan import load_patient, prescan_options, prescanned, tell_of_cache
from lauterbur.cli.prompt import (
    Cache,
    Coils,
    Engine,
    FieldsFile,
    Json,
    Scanner,
    Seed,
    Subject,
    Target,
    check_engine,
    check_file_target,
    command,
    console,
    minutes,
    print_findings,
    print_json,
    progress_bars,
    table,
)
from lauterbur.errors import InputError


@command
def protocols(scanner: Scanner = "5T", as_json: Json = False) -> None:
    """The library: contrast, resolution, scan time."""
    from lauterbur.errors import LauterburError
    from lauterbur.program import duration
    from lauterbur.protocol.library import list_protocols, load_protocol
    from lauterbur.protocol.protocol import resolution
    from lauterbur.scanner.profiles import load_scanner
    from lauterbur.sequence.contrasts import build_program

    machine = load_scanner(scanner)
    rows: list[dict[str, Any]] = []
    for name in list_protocols():
        protocol = load_protocol(name)
        try:
            seconds, problem = duration(build_program(protocol, machine)), ""
        except LauterburError as error:
            seconds, problem = None, str(error)
        rows.append(
            {
                "protocol": name,
                "contrast": protocol.contrast,
                "resolution_mm": [round(size * 1e3, 3) for size in resolution(protocol)],
                "matrix": [*protocol.matrix[:2], protocol.matrix[2] if protocol.is_3d else protocol.slices],
                "scan_time_s": seconds,
                "description": protocol.description,
                **({"problem": problem} if problem else {}),
            }
        )
    if as_json:
        return print_json(rows)

    shown = table("protocol", "contrast", "resolution (mm)", "matrix", "scan time", "")
    for row in rows:
        seconds = row["scan_time_s"]
        shown.add_row(
            row["protocol"],
            row["contrast"],
            " x ".join(f"{size:g}" for size in row["resolution_mm"]),
            " x ".join(str(n) for n in row["matrix"]),
            minutes(seconds) if seconds is not None else "not possible",
            row.get("problem") or row["description"],
        )
    console().print(shown)


@command
def scan(
    protocol: Annotated[str, typer.Argument(help="A protocol of the library, or a TOML file.")],
    scanner: Scanner = "5T",
    subject: Subject = "head",
    out: Annotated[Path, typer.Option(help="The scan's folder.")] = Path("study"),
    seed: Seed = 0,
    engine: Engine = "fast",
    coils: Coils = None,
    shim: Annotated[
        str | None,
        typer.Option(
            help="Prescan: cp, phase, mls, sar, spokes, kt-points, or a shim.json. The twin then plays in Maxwell's fields."
        ),
    ] = None,
    fields: FieldsFile = None,
    target: Target = None,
    cache: Cache = None,
    b0: Annotated[
        str, typer.Option(help="Shim of the static field: volume, slices (another in each), or off (frequency only).")
    ] = "volume",
    as_json: Json = False,
) -> None:
    """Scan a subject: from a protocol to images, raw data and a report."""
    from lauterbur.protocol.library import load_protocol
    from lauterbur.scanner.profiles import load_scanner
    from lauterbur.sequence.contrasts import build_program
    from lauterbur.study.folder import check_target

    check_engine(engine)
    check_target(out)
    wanted, machine = load_protocol(protocol), load_scanner(scanner)
    with progress_bars() as progress:
        patient = load_patient(subject, machine, progress)
        from lauterbur.journey import RECEIVERS
        from lauterbur.journey import scan as play

        kept = RECEIVERS if coils is None else coils
        prescan = prescan_options(
            machine, patient, lambda: build_program(wanted, machine), shim=shim, fields=fields, target=target, cache=cache,
            protocol=wanted,
        )  # fmt: skip
        result = play(
            wanted, machine, patient, seed=seed, engine=engine, coils=kept, b0=b0, out=out, progress=progress,
            **prescan,
        )  # fmt: skip
    tell_of_cache(result.fields)
    if as_json:
        return print((out / "summary.json").read_text(encoding="utf-8"), end="")
    if result.b0 is not None:
        before, after = result.b0.before, result.b0.after
        print(f"off-resonance: {before.rms:.1f} Hz r.m.s. before the B0 shim, {after.rms:.1f} after")
    error = result.simulation_error
    if error:
        print(f"simulation error {100 * error['estimate']:.2g} %, below {100 * error['upper95']:.2g} % (95 %)")
    print(f"report: {out / 'report.html'}")


@command
def simulate(
    file: Annotated[Path, typer.Argument(help="A Pulseq file.")],
    subject: Subject = "head",
    scanner: Scanner = "5T",
    coils: Coils = None,
    engine: Engine = "fast",
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="The raw data, as MRD.")] = Path("raw.mrd"),
    as_json: Json = False,
) -> None:
    """Play any Pulseq file on the twin; raw data come out. The gate is not asked: no machine is touched."""
    from lauterbur.formats.pulseq import read_program
    from lauterbur.scanner.profiles import load_scanner

    check_engine(engine)
    check_file_target(out)
    program, machine = read_program(file), load_scanner(scanner)
    with progress_bars() as progress:
        patient = load_patient(subject, machine, progress)
        from lauterbur.formats.mrd import write_raw
        from lauterbur.journey import play
        from lauterbur.study.clock import Clock

        clock = Clock(progress)
        raw = play(program, machine, patient, seed=seed, engine=engine, coils=coils, clock=clock)
        with clock.stage("writing raw data"):
            write_raw(raw, out)
    provenance = dict(raw.header.provenance) if raw.header is not None else {}
    if as_json:
        from lauterbur.image import without_timings
        from lauterbur.study.clock import peak_memory
        from lauterbur.study.summary import simulation_error, versions

        return print_json(
            {
                "input": str(file),
                "scanner": machine.name,
                "subject": patient.name,
                "seed": seed,
                "engine": engine,
                "readouts": raw.n_readouts,
                "receivers": raw.n_rx,
                "simulation_error": simulation_error(provenance),
                "files": {"raw": str(out)},
                "provenance": without_timings(provenance),
                "timings": clock.seconds,
                "peak_memory_bytes": peak_memory(),
                "versions": versions(),
            }
        )
    print(f"raw data: {out} ({raw.n_readouts} readouts, {raw.n_rx} coils)")


@command
def check(
    plan: Annotated[str, typer.Argument(metavar="FILE|PROTOCOL", help="A Pulseq file, or a protocol.")],
    scanner: Scanner = "5T",
    subject: Annotated[
        str | None, typer.Option(help="Who lies in the bore: heating is judged, in Maxwell's fields. Else it is not.")
    ] = None,
    shim: Annotated[str, typer.Option(help="How the channels are driven in it: a mode, or a shim.json.")] = "cp",
    fields: FieldsFile = None,
    target: Target = None,
    cache: Cache = None,
    mode: Annotated[str, typer.Option(help="Operating mode: normal, or first-level.")] = "first-level",
    as_json: Json = False,
) -> None:
    """May this machine play it? Every limit, and how near it is. Exit code 3 where not."""
    from lauterbur.safety.gate import MODES, assess
    from lauterbur.scanner.profiles import load_scanner

    if mode not in MODES:
        raise InputError(f"operating mode {mode!r} is not known; known are {', '.join(MODES)}")
    machine = load_scanner(scanner)
    wanted = None
    if plan.lower().endswith(".seq"):
        from lauterbur.formats.pulseq import read_program

        program = read_program(plan)
    else:
        from lauterbur.protocol.library import load_protocol
        from lauterbur.sequence.contrasts import build_program

        wanted = load_protocol(plan)
        program = build_program(wanted, machine)
    prescan = None
    if subject is not None or fields is not None:
        program, prescan = prescanned(
            program, machine, subject or "head", shim=shim, fields=fields, target=target, cache=cache, protocol=wanted
        )
    known = (None, None) if prescan is None else (prescan.fields, prescan.sar)
    found, said = assess(program, machine, *known, mode=mode)
    is_ok = all(finding.ok for finding in found)
    if as_json:
        listed = [finding.as_dict() for finding in found]
        print_json(
            {
                "input": plan,
                "scanner": machine.name,
                "subject": None if prescan is None else subject or "head",
                "ok": is_ok,
                "findings": listed,
                "notes": list(said),
            }
        )
    else:
        print_findings(found)
        for note in said:
            print(note)
    if is_ok:
        return print(f"{machine.name} may play {plan}", file=sys.stderr if as_json else sys.stdout)
    for finding in found:
        if not finding.ok:
            print(f"refused: {finding.sentence()}", file=sys.stderr)
    raise typer.Exit(3)
