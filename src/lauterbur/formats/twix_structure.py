"""Looks over a Siemens twix file before a library parses it: every length inside the file, every chain moving forward.

Layout: twixtools (hdr_def.py, mdh_def.py). A file of VD and later begins with a table of measurements; each holds a protocol header and a chain
of measurement data headers (MDH), every one followed by its samples. VB files hold one measurement and no table.
"""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path

from lauterbur.errors import FileFormatError, InputError

_MDH_VE, _CHANNEL_VE, _MDH_VB = 192, 32, 128  # bytes
_ACQEND, _SYNCDATA = 1 << 0, 1 << 5
_LONGEST_HEADER = 16_000_000  # bytes; real ones have some 100 kB to 3 MB
_LONGEST_RUN = 4096  # characters without, or of nothing but, white space: the library's patterns take its square
_HIGHEST_INDEX = 4096  # of an array in the protocol: the library makes a list that long
_MOST_ENTRIES = 5_000_000  # of all arrays together
_MOST_CHANNELS = 1024


def check_structure(path: object) -> None:
    """FileFormatError where the file cuts off, contradicts itself or would keep a parser busy."""
    target = Path(str(path))
    try:
        if not target.is_file():
            raise InputError(f"{path}: not a file" if target.exists() else f"{path}: no such file")
        if target.stat().st_size < 1024:
            raise FileFormatError(path, "", f"{target.stat().st_size} bytes; no twix file is that short")
        with open(target, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check(data, path)
    except (OSError, ValueError, struct.error) as problem:
        raise FileFormatError(path, "", f"cannot be read: {problem}") from None


def _check(data: mmap.mmap, path: object) -> None:
    first, count = struct.unpack_from("<II", data, 0)
    if not (first < 10000 and count <= 64):  # how twixtools tells the versions apart
        _check_measurement(data, 0, len(data), path, "measurement", is_ve=False)
        return
    if count < 1:
        raise FileFormatError(path, "table of measurements", "names no measurement")
    for i in range(count):
        begin, length = struct.unpack_from("<QQ", data, 8 + 152 * i + 8)
        where = f"measurement {i + 1} of {count}"
        if length == 0 and count == 1:
            length = len(data) - begin if begin < len(data) else 0
        if not (9736 <= begin and length >= 64 and begin + length <= len(data)):
            raise FileFormatError(
                path, where, f"bytes {begin} to {begin + length} of a file of {len(data)} bytes: truncated or garbled"
            )
        _check_measurement(data, begin, begin + length, path, where, is_ve=True)


def _check_measurement(data: mmap.mmap, begin: int, end: int, path: object, where: str, *, is_ve: bool) -> None:
    length, n_parts = struct.unpack_from("<II", data, begin)
    if not (32 <= length <= min(_LONGEST_HEADER, end - begin) and 1 <= n_parts <= 64):
        raise FileFormatError(path, f"{where}, header", f"{length} bytes in {n_parts} parts: not a twix header")
    text = data[begin : begin + length]
    for pattern, what in ((rb"\S{%d}", "characters without a space"), (rb"\s{%d}", "spaces in a row")):
        if re.search(pattern % _LONGEST_RUN, text):
            raise FileFormatError(path, f"{where}, header", f"{_LONGEST_RUN} {what}: not a protocol")
    total = 0
    for found in re.finditer(rb"\[(\d+)\]", text):
        if len(found[1]) > 9 or int(found[1]) > _HIGHEST_INDEX:
            raise FileFormatError(
                path, f"{where}, header", f"array index {found[1][:20].decode()}; at most {_HIGHEST_INDEX} are read"
            )
        total += int(found[1])
    if total > _MOST_ENTRIES:
        raise FileFormatError(
            path, f"{where}, header", f"arrays of {total} entries in all; at most {_MOST_ENTRIES} are read"
        )

    place, n = begin + length, 0
    while place + 128 < end:  # as the library walks
        step, is_last = _step(data, place, end, path, f"{where}, acquisition {n}", is_ve=is_ve)
        if is_last:
            return
        place, n = place + step, n + 1
    if n == 0:
        raise FileFormatError(path, where, "holds no acquisition")


def _step(data: mmap.mmap, place: int, end: int, path: object, where: str, *, is_ve: bool) -> tuple[int, bool]:
    """Bytes to the next acquisition, and whether this one ends the measurement."""
    size = _MDH_VE if is_ve else _MDH_VB
    if place + size > end:
        raise FileFormatError(path, where, f"its header at byte {place} is cut off: truncated")
    (stated,) = struct.unpack_from("<I", data, place)
    flags, samples, channels = struct.unpack_from("<QHH", data, place + (40 if is_ve else 20))
    if flags & _SYNCDATA:  # asked before ACQEND, as the library does when it skips these
        step = stated & 0x1FFFFFF
        least = size
    elif flags & _ACQEND:
        return 0, True
    else:
        step = size + channels * (_CHANNEL_VE + 8 * samples) if is_ve else channels * (_MDH_VB + 8 * samples)
        least = size + 8
        if not (1 <= channels <= _MOST_CHANNELS and samples >= 1):
            raise FileFormatError(
                path, where, f"{samples} samples of {channels} channels; expected at least one of each"
            )
    if not least <= step <= end - place:
        raise FileFormatError(
            path, where, f"{step} bytes long at byte {place} of a measurement that ends at {end}: truncated or garbled"
        )
    return step, False
