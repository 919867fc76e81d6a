"""The verbs of the product at the prompt. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import signal
import sys

from lauterbur.cli import scanning, transmit, viewing
from lauterbur.cli.prompt import app, command

__all__ = ["app", "command", "main", "scanning", "transmit", "viewing"]


def main() -> None:
    # a polite request to end is answered as Ctrl-C is: clean up, and leave
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also where SIGINT is ignored, as in the background
    try:
        app()
    except KeyboardInterrupt:
        print("lauterbur: interrupted", file=sys.stderr)
        sys.exit(130)
