"""Raw data by the name of its file: MRD, or Siemens twix."""

from __future__ import annotations

from pathlib import Path

from lauterbur.rawdata import RawData


def open_raw(path: str | Path) -> RawData:
    if str(path).lower().endswith(".dat"):
        from lauterbur.formats.twix import read_twix

        return read_twix(path)
    from lauterbur.formats.mrd import read_raw

    return read_raw(path)
