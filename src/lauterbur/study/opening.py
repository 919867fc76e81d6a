"""Raw data by the name of its file: MRD, or Siemens twix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lauterbur.rawdata import RawData


def open_raw(path: str | Path) -> RawData:
    if str(path).lower().endswith(".dat"):
        from lauterbur.formats.twix import read_twix

        return read_twix(path)
    from lauterbur.formats.mrd import read_raw

    return read_raw(path)


def notes_in(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader left out or set right, as lines to print; a file's own words may hold anything."""
    notes = provenance.get("notes")
    if not isinstance(notes, list):
        return ()
    return tuple("".join(c if c.isprintable() else "?" for c in str(note)[:500]) for note in notes[:20])
