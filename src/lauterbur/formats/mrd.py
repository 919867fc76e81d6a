"""MRD (ISMRMRD) raw data in HDF5: `read_raw` and `write_raw`, in bulk and in bounded memory.

    write_raw(raw, "raw.mrd")
    raw = read_raw("raw.mrd")       # ours: the same to the last bit; others': with notes in header.provenance

Raw data too large to hold in memory is read into a memory map over a temporary file that vanishes with it. Samples stay
as acquired: oversampled, reversed readouts reversed. Noise scans (flag NOISE) become `RawData.noise`. k-space is read
from the stored trajectory, else from our straight lines (mrd_acquisition.py), else from counters and field of view.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from lauterbur.errors import FileFormatError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.mrd_geometry import centre_samples, completed, k_space, settle_slices_
from lauterbur.formats.mrd_header import SIMULATED
from lauterbur.formats.mrd_heap import structure
from lauterbur.formats.mrd_table import AcquisitionTable
from lauterbur.formats.mrd_writer import MrdWriter
from lauterbur.formats.mrd_xml import header_from_xml
from lauterbur.rawdata import RawData

__all__ = ["MrdWriter", "read_raw", "write_raw"]

IN_MEMORY = 4_000_000_000  # bytes of samples and k-space held in RAM; beyond, a temporary file is mapped


def write_raw(raw: RawData, path: str | os.PathLike[str]) -> None:
    """The same raw data gives the same bytes. Counters beyond 16 bits and readouts beyond 65,535 samples are refused."""
    with MrdWriter(path, raw.header, noise=raw.noise, noise_dwell=raw.noise_dwell) as writer:
        writer.write(raw)


def read_raw(path: str | os.PathLike[str], *, in_memory: int = IN_MEMORY) -> RawData:
    """Raw data of any MRD file with one receive array; `in_memory`: bytes beyond which samples are memory-mapped."""
    file = structure(path)
    mrd = header_from_xml(file.xml, path)
    table = AcquisitionTable(file, path, is_ours=mrd.is_ours)
    notes = [*mrd.notes, *table.notes]
    settle_slices_(table, mrd, notes)

    samples, stored = table.samples(table.imaging, in_memory)
    with np.errstate(all="ignore"):
        k = k_space(table, mrd, stored, notes)
    if not np.isfinite(k).all():
        raise FileFormatError(path, "trajectory", "k-space positions that are not finite")
    noise, noise_dwell = table.noise()

    heads, n_samples = table.heads[table.imaging], table.n_samples
    centre = centre_samples(heads, k, n_samples, is_ours=mrd.is_ours)
    header = mrd.header
    if header is not None and header is not mrd.ours:
        header = completed(header, heads, table.dwell, notes)
        source = "twin" if mrd.vendor == SIMULATED else "replay"
        header = replace(header, provenance={"source": source, "vendor": mrd.vendor, "notes": notes})
    return RawData(
        samples=samples,
        n_samples=n_samples,
        k=k,
        time=table.time(mrd.vendor),
        dwell=table.dwell,
        center_sample=centre,
        labels=acquisition.labels_from_heads(heads, is_ours=mrd.is_ours),
        header=header,
        noise=noise,
        noise_dwell=noise_dwell,
        te=table.te(),
    )
