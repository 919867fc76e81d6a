"""How a command behaves: its options, what it prints, and how it ends when something goes wrong.

Exit codes: 0 done; 2 bad input or usage; 3 refused by the gate; 130 interrupted.
"""

from __future__ import annotations

import os
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
Subject = Annotated[str, typer.Option(help="head, torso, sphere, orientation, or a TOML file of your own subject.")]
FieldsFile = Annotated[
    Path | None, typer.Option("--fields", help="Solved fields of `lauterbur fields`; solved now unless given.")
]
Target = Annotated[
    str | None,
    typer.Option(
        help="What is made even: brain, heart, liver ..., or a mask as NIfTI on the subject's grid; else the protocol's."
    ),
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder for solved fields; unless given lauterbur in the user's cache folder.")
]
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


def check_engine(engine: str) -> None:
    from lauterbur.errors import InputError

    if engine not in ("fast", "reference"):
        raise InputError(f"engine {engine!r} is not known; choose fast or reference")


def check_file_target(path: Path) -> None:
    from lauterbur.errors import InputError

    if "\0" in str(path) or path.is_dir():
        raise InputError(f"{str(path)[:300]!r}: is not the name of a file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist")


def console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


def table(*columns: str) -> Any:
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="dim", row_styles=[""])
    for name in columns:
        made.add_column(name, no_wrap=name not in ("", "worst at"))
    return made


def print_findings(found: tuple[Finding, ...]) -> None:
    shown = table("quantity", "value", "limit", "unit", "of limit", "worst at")
    for finding in found:
        share = f"{100 * finding.value / finding.limit:.0f} %" if finding.limit > 0 else ""
        colour = "" if finding.ok else "red"
        cells = (finding.quantity, f"{finding.value:.4g}", f"{finding.limit:.4g}", finding.unit, share, finding.where)
        shown.add_row(*cells, style=colour)
    console().print(shown)


def print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def print_json(value: Any) -> None:
    from lauterbur.study.summary import to_json

    print(to_json(value))


def minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def progress_bars() -> Any:
    from lauterbur.study.bars import ProgressBars

    return ProgressBars()
