"""The NIfTI files a described subject is made of: where they may lie, how large they may be, what they may hold."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, ResourceError
from lauterbur.formats.nifti import read_nifti
from lauterbur.units import mm

MOST_VOXELS = 100_000_000  # of one file: 0.5 mm over a head and shoulders
Grid = tuple[tuple[int, ...], NDArray[np.float64]]  # shape (z, y, x), affine to patient m


def volume(
    path: Path, where: str, named: Any, grid: Grid | None, whose: str = "the files before it"
) -> tuple[NDArray[Any], Grid]:
    """The voxels (z, y, x) of a file beside the description, on the grid of those before it."""
    file = beside(path, where, named)
    _check_size(file)
    voxels, affine = read_nifti(file)
    if voxels.ndim != 3:
        raise FileFormatError(file, "", f"has shape {voxels.shape}; a subject's file is one volume (z, y, x)")
    if np.iscomplexobj(voxels):
        raise FileFormatError(file, "", "is complex; a subject's maps are real")
    if grid is not None:
        shape, first = grid
        if voxels.shape != shape:
            raise FileFormatError(file, "", f"has shape {voxels.shape} (z, y, x); {whose} have {shape}")
        if not np.max(np.abs(affine - first)) <= 0.01 * mm + 1e-3 * np.max(np.abs(first[:3, :3])):
            raise FileFormatError(file, "affine", f"lies elsewhere than {whose}; resample all to one grid")
        return voxels, grid
    return voxels, (voxels.shape, affine)


def beside(path: Path, where: str, named: Any) -> Path:
    if not isinstance(named, str) or not named or "\0" in named or len(named) > 1000:
        raise FileFormatError(path, where, "must name a NIfTI or TOML file")
    file = Path(named)
    if file.is_absolute():
        return file
    folder = path.resolve().parent
    target = (folder / file).resolve()
    if not target.is_relative_to(folder):
        raise FileFormatError(
            path,
            where,
            f"{named!r:.200} leads out of the folder of the description; give an absolute path if you mean it",
        )
    return target


def _check_size(file: Path) -> None:
    """Refuse a huge volume by its header, before anything is allocated; all else about it is read_nifti's to judge."""
    try:
        with open(file, "rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            head = gzip.GzipFile(fileobj=stream).read(348) if packed else stream.read(348)
    except (OSError, EOFError, ValueError, zlib.error):
        return
    if len(head) < 348:
        return
    for order in "<>":
        size = struct.unpack_from(order + "i", head)[0]
        if size in (348, 540):
            dim = struct.unpack_from(order + ("8h" if size == 348 else "8q"), head, 40 if size == 348 else 16)
            count = int(np.prod([max(n, 1) for n in dim[1 : 1 + min(max(dim[0], 0), 7)]], dtype=object))
            if count > MOST_VOXELS:
                raise ResourceError(
                    f"{file}: {count:.3g} voxels; a subject's file may have {MOST_VOXELS:.0e}: crop or resample it"
                )


def finite(file: str, voxels: NDArray[Any], least: float, most: float, what: str) -> None:
    with np.errstate(invalid="ignore"):  # a signalling NaN does not fit either
        fits = (voxels >= least) & (voxels <= most)
    if not fits.all():
        place = np.unravel_index(int(np.argmin(fits)), voxels.shape)
        raise FileFormatError(
            file, f"voxel {tuple(int(i) for i in place)} (z, y, x)",
            f"is {voxels[place]}; {what} must lie between {least:g} and {most:g} ({int((~fits).sum())} voxels do not)",
        )  # fmt: skip
