"""The verbs of the product at the prompt. Nothing heavy is imported before a command runs.

Exit codes: 0 done; 2 bad input or usage; 3 refused by the gate; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from lauterbur.findings import Finding

app = typer.Typer(
    name="lauterbur",
    help="A 5 T whole-body MRI scanner in software. Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_is_debugging = False

Scanner = Annotated[str, typer.Option(help="A scanner profile: 5T, 3T, or a TOML file.")]
Subject = Annotated[str, typer.Option(help="head, sphere, orientation, or a TOML file of your own subject.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")]
Engine = Annotated[str, typer.Option(help="fast, or reference: slow and obvious.")]
Coils = Annotated[
    int | None, typer.Option(min=1, help="Receive channels after compression; unless given 16, and all in simulate.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from lauterbur import __version__

        print(__version__)
        raise typer.Exit()


Debug = Annotated[bool, typer.Option("--debug", help="Show where in the code an error arose.")]
Version = Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)]


@app.callback()
def top(debug: Debug = False, version: Version = False) -> None:
    global _is_debugging
    _is_debugging = debug


Command = TypeVar("Command", bound=Callable[..., None])


def command(function: Command) -> Command:
    """A command of ours: whatever goes wrong becomes one sentence and an exit code."""

    @wraps(function)
    def guarded(*args: Any, **options: Any) -> None:
        from lauterbur.errors import LauterburError

        if _is_debugging:
            return function(*args, **options)
        try:
            return function(*args, **options)
        except LauterburError as error:
            _leave(str(error), error.exit_code)
        except KeyboardInterrupt:
            _leave("interrupted; nothing half-written is left behind", 130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except MemoryError:
            _leave("the memory of this machine does not suffice; ask for less resolution, or fewer coils", 2)
        except OSError as error:
            _leave(f"{error.filename or 'the system says'}: {error.strerror or error}", 2)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            _leave(f"{type(error).__name__}: {error}. This is a fault of ours: lauterbur --debug ... shows where", 2)

    return app.command()(guarded)  # type: ignore[return-value]


def _leave(sentence: str, code: int) -> NoReturn:
    print(f"lauterbur: {sentence}", file=sys.stderr)
    raise typer.Exit(code)


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
        return _print_json(rows)

    table = _table("protocol", "contrast", "resolution (mm)", "matrix", "scan time", "")
    for row in rows:
        seconds = row["scan_time_s"]
        table.add_row(
            row["protocol"],
            row["contrast"],
            " x ".join(f"{size:g}" for size in row["resolution_mm"]),
            " x ".join(str(n) for n in row["matrix"]),
            _minutes(seconds) if seconds is not None else "not possible",
            row.get("problem") or row["description"],
        )
    _console().print(table)


@command
def scan(
    protocol: Annotated[str, typer.Argument(help="A protocol of the library, or a TOML file.")],
    scanner: Scanner = "5T",
    subject: Subject = "head",
    out: Annotated[Path, typer.Option(help="The scan's folder.")] = Path("study"),
    seed: Seed = 0,
    engine: Engine = "fast",
    coils: Coils = None,
    as_json: Json = False,
) -> None:
    """Scan a subject: from a protocol to images, raw data and a report."""
    from lauterbur.protocol.library import load_protocol
    from lauterbur.scanner.profiles import load_scanner
    from lauterbur.study.folder import check_target

    _check_engine(engine)
    check_target(out)
    wanted, machine = load_protocol(protocol), load_scanner(scanner)
    with _progress() as progress:
        progress(0.0, "subject")
        from lauterbur.journey import RECEIVERS
        from lauterbur.journey import scan as play
        from lauterbur.subject.library import load_subject

        patient = load_subject(subject, field_strength=machine.field_strength)
        progress(1.0, "subject")
        kept = RECEIVERS if coils is None else coils
        result = play(wanted, machine, patient, seed=seed, engine=engine, coils=kept, out=out, progress=progress)
    if as_json:
        return print((out / "summary.json").read_text(encoding="utf-8"), end="")
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

    _check_engine(engine)
    _check_file_target(out)
    program, machine = read_program(file), load_scanner(scanner)
    with _progress() as progress:
        progress(0.0, "subject")
        from lauterbur.formats.mrd import write_raw
        from lauterbur.journey import play
        from lauterbur.study.clock import Clock
        from lauterbur.subject.library import load_subject

        clock = Clock(progress)
        patient = load_subject(subject, field_strength=machine.field_strength)
        progress(1.0, "subject")
        raw = play(program, machine, patient, seed=seed, engine=engine, coils=coils, clock=clock)
        with clock.stage("writing raw data"):
            write_raw(raw, out)
    provenance = dict(raw.header.provenance) if raw.header is not None else {}
    if as_json:
        from lauterbur.image import without_timings
        from lauterbur.study.clock import peak_memory
        from lauterbur.study.summary import simulation_error, versions

        return _print_json(
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
def recon(
    file: Annotated[Path, typer.Argument(help="Raw data: MRD, or Siemens twix (.dat).")],
    out: Annotated[Path, typer.Option(help="The folder for the images.")] = Path("images"),
    coils: Coils = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Correct the brightness for the receivers.")] = False,
    as_json: Json = False,
) -> None:
    """Reconstruct raw data: of the twin, of another simulator, or of a scanner."""
    from lauterbur.recon.reconstruction import reconstruct
    from lauterbur.study.archive import archive_images
    from lauterbur.study.clock import Clock
    from lauterbur.study.folder import check_target
    from lauterbur.study.opening import notes_in, open_raw

    check_target(out)
    with _progress() as progress:
        clock = Clock(progress)
        with clock.stage("reading"):
            raw = open_raw(file)
        with clock.stage("reconstruction"):
            image = reconstruct(raw, coils=coils, normalise=normalise)
        summary = archive_images(image, raw, out, source=file.name, timings=clock.seconds)
    _print_notes(notes_in(image.provenance) + notes_in(image.provenance["reconstruction"]))
    if as_json:
        return _print_json(summary)
    frames, z, y, x = image.pixels.shape
    print(f"images: {out} ({x} x {y} x {z}, {frames} frame{'s' if frames > 1 else ''})")


@command
def check(
    plan: Annotated[str, typer.Argument(metavar="FILE|PROTOCOL", help="A Pulseq file, or a protocol.")],
    scanner: Scanner = "5T",
    as_json: Json = False,
) -> None:
    """May this machine play it? Every limit, and how near it is. Exit code 3 where not."""
    from lauterbur.safety.gate import findings, notes
    from lauterbur.scanner.profiles import load_scanner

    machine = load_scanner(scanner)
    if plan.lower().endswith(".seq"):
        from lauterbur.formats.pulseq import read_program

        program = read_program(plan)
    else:
        from lauterbur.protocol.library import load_protocol
        from lauterbur.sequence.contrasts import build_program

        program = build_program(load_protocol(plan), machine)
    found = findings(program, machine)
    is_ok = all(finding.ok for finding in found)
    if as_json:
        listed = [finding.as_dict() for finding in found]
        _print_json(
            {
                "input": plan,
                "scanner": machine.name,
                "ok": is_ok,
                "findings": listed,
                "notes": list(notes(program, machine)),
            }
        )
    else:
        _print_findings(found)
        for note in notes(program, machine):
            print(note)
    if is_ok:
        return print(f"{machine.name} may play {plan}", file=sys.stderr if as_json else sys.stdout)
    for finding in found:
        if not finding.ok:
            print(f"refused: {finding.sentence()}", file=sys.stderr)
    raise typer.Exit(3)


@command
def show(
    file: Annotated[str, typer.Argument(metavar="FILE|SUBJECT", help="A program, raw data, an image, a subject.")],
    out: Annotated[Path | None, typer.Option(help="The picture; FILE.png unless given.")] = None,
) -> None:
    """A picture of a program, of raw data, of an image or of a subject."""
    from lauterbur.formats.atomic import replacing
    from lauterbur.study.figures import default_path, png
    from lauterbur.study.showing import picture

    target = default_path(file) if out is None else out
    _check_file_target(target)
    figure, notes = picture(file)
    data = png(figure)
    with replacing(target) as temporary:
        temporary.write_bytes(data)
    _print_notes(notes)
    print(target)


def _check_engine(engine: str) -> None:
    from lauterbur.errors import InputError

    if engine not in ("fast", "reference"):
        raise InputError(f"engine {engine!r} is not known; choose fast or reference")


def _check_file_target(path: Path) -> None:
    from lauterbur.errors import InputError

    if "\0" in str(path) or path.is_dir():
        raise InputError(f"{str(path)[:300]!r}: is not the name of a file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist")


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", row_styles=[""])
    for name in columns:
        table.add_column(name, no_wrap=name not in ("", "worst at"))
    return table


def _print_findings(found: tuple[Finding, ...]) -> None:
    table = _table("quantity", "value", "limit", "unit", "of limit", "worst at")
    for finding in found:
        share = f"{100 * finding.value / finding.limit:.0f} %" if finding.limit > 0 else ""
        colour = "" if finding.ok else "red"
        cells = (finding.quantity, f"{finding.value:.4g}", f"{finding.limit:.4g}", finding.unit, share, finding.where)
        table.add_row(*cells, style=colour)
    _console().print(table)


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _print_json(value: Any) -> None:
    from lauterbur.study.summary import to_json

    print(to_json(value))


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _progress() -> Any:
    from lauterbur.study.bars import ProgressBars

    return ProgressBars()


def main() -> None:
    # a polite request to end is answered as Ctrl-C is: clean up, and leave
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also where SIGINT is ignored, as in the background
    try:
        app()
    except KeyboardInterrupt:
        print("lauterbur: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
