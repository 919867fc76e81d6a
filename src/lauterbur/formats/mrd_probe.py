"""Reads the structure of an MRD file with libhdf5, in a process of its own: `python -m lauterbur.formats.mrd_probe`.

Garbled files make libhdf5 loop for ever (a global heap object of size 0 does, in HDF5 2.0) or crash. Here that costs this
process and no other. It reads a request per line from standard input and answers with one line of JSON and three blocks of
bytes: the XML (or in the JSON where it lies), the heads, and for every acquisition where trajectory and samples lie:
(length, address, index) in the global heap. What lies in the heap is read by mrd_heap.py, without libhdf5.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import sys
from typing import IO

import h5py
import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError, ResourceError, UnsupportedError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.mrd_header import LARGEST_XML

MOST_ROWS = 20_000_000  # acquisitions; a head takes 340 bytes of memory
_MEMORY = 16 << 30  # bytes of address space this process may take


def describe(path: str) -> tuple[bytes | list[int], NDArray[np.void], NDArray[np.int64], dict[str, str]]:
    """(XML or its reference, heads, (row, traj|data, 3) references, number types of traj and data)."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            group = _group(file, path)
            xml, data = _plain_dataset(group, "xml", path), _plain_dataset(group, "data", path)
            _check_table(data, os.path.getsize(path), path)
            if file.id.get_create_plist().get_sizes() != (8, 8):
                raise UnsupportedError(f"{path}: HDF5 addresses of other than 8 bytes; repack the file with h5repack")
            kinds = {
                name: np.dtype(h5py.check_vlen_dtype(data.dtype[name])).str
                for name in ("traj", "data")
                if name in (data.dtype.names or ())
            }
            return _xml_text(xml, file.userblock_size, path), *_rows(data, file.userblock_size, path), kinds
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, UnicodeError) as problem:
        said = " ".join(str(problem).split())[:200]
        raise FileFormatError(path, "HDF5", f"cannot be read: {said or type(problem).__name__}") from None


def _group(file: h5py.File, path: object) -> h5py.Group:
    """`dataset`, or the only group that has what it takes."""
    names = _names(file)
    for name in sorted(names, key=lambda n: n != "dataset"):
        if isinstance(file.get(name, getlink=True), h5py.HardLink):
            group = file[name]
            if isinstance(group, h5py.Group) and {"xml", "data"} <= set(_names(group)):
                return group
    raise FileFormatError(
        path, "HDF5", f"no group holds both 'xml' and 'data'; found {', '.join(names[:8]) or 'nothing'}"
    )


def _names(group: h5py.Group) -> list[str]:
    return [name for _, name in zip(range(64), group, strict=False)]  # without following links


def _plain_dataset(group: h5py.Group, name: str, path: object) -> h5py.Dataset:
    where = f"{group.name}/{name}"
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise FileFormatError(path, where, "a link to elsewhere; only data inside the file itself is read")
    found = group[name]
    if not isinstance(found, h5py.Dataset):
        raise FileFormatError(path, where, f"a {type(found).__name__.lower()}; expected a dataset")
    if found.is_virtual or found.id.get_create_plist().get_external_count():
        raise FileFormatError(path, where, "its values lie in other files; only data inside the file itself is read")
    return found


def _check_table(data: h5py.Dataset, file_size: int, path: object) -> None:
    where = data.name
    if data.ndim != 1:
        raise FileFormatError(path, where, f"shape {data.shape}; expected one row per acquisition")
    names = data.dtype.names or ()
    if not {"head", "data"} <= set(names):
        raise FileFormatError(path, where, f"columns {', '.join(names) or 'none'}; expected head, traj, data")
    for column in ("traj", "data"):
        inner = h5py.check_vlen_dtype(data.dtype[column]) if column in names else np.dtype("<f4")
        if inner is None or np.dtype(inner).kind != "f":
            raise FileFormatError(path, f"{where}, column {column}", "not a list of floats of variable length")
    head = data.dtype["head"]
    for field in ("flags", "number_of_samples", "active_channels", "idx"):
        if field not in (head.names or ()):
            raise FileFormatError(path, f"{where}, column head", f"field {field!r} is missing")
    for field in head.names or ():
        ours = acquisition.HEADER[field] if field in (acquisition.HEADER.names or ()) else None
        if (
            ours is not None
            and field != "idx"
            and (head[field].base.kind not in "iuf" or head[field].shape != ours.shape)
        ):
            raise FileFormatError(path, f"{where}, head field {field!r}", f"type {head[field]}; expected {ours}")
    idx = head["idx"]
    for field in acquisition.INDEX.values():
        if field not in (idx.names or ()) or idx[field].kind not in "iu":
            raise FileFormatError(path, f"{where}, head field 'idx'", f"counter {field!r} is missing or no integer")
    if data.shape[0] > MOST_ROWS:
        raise ResourceError(f"{path}: {data.shape[0]} acquisitions; at most {MOST_ROWS} are read")
    claimed, stored = data.shape[0] * data.dtype.itemsize, data.id.get_storage_size()
    if not claimed <= min(stored, file_size):
        raise FileFormatError(
            path, where, f"{data.shape[0]} acquisitions claimed, but only {stored} bytes are stored for them"
        )


def _xml_text(xml: h5py.Dataset, base: int, path: object) -> bytes | list[int]:
    """The text where its length is fixed, else its reference: length, address of the heap collection, index."""
    if xml.size is None or not 1 <= xml.size <= 16 or xml.dtype.itemsize > LARGEST_XML or xml.dtype.kind not in "OS":
        raise FileFormatError(path, xml.name, f"shape {xml.shape}, type {xml.dtype}; expected one text")
    if xml.dtype.kind == "S":
        return bytes(np.asarray(xml[()]).reshape(-1)[0])
    if h5py.check_string_dtype(xml.dtype) is None:
        raise FileFormatError(path, xml.name, f"type {xml.dtype}; expected text")
    if xml.chunks is not None and not xml.id.get_create_plist().get_nfilters():
        block = xml.id.read_direct_chunk((0,) * xml.ndim)[1]
    elif xml.id.get_offset() is not None:
        with open(str(path), "rb") as file:
            file.seek(xml.id.get_offset())
            block = file.read(16)
    else:
        value = xml[()]  # compressed or compact: through the library
        text = np.asarray(value).reshape(-1)[0]
        return text if isinstance(text, bytes) else str(text).encode()
    if len(block) < 16:
        raise FileFormatError(path, xml.name, "lies beyond the end of the file: truncated")
    length, address, index = struct.unpack("<IQI", block[:16])
    return [length, address + base, index]


def _rows(data: h5py.Dataset, base: int, path: object) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Heads and references, decoded from the table's bytes: reading columns through h5py would fetch the samples too."""
    layout, stored = data.id.get_create_plist(), data.id.get_type()
    if data.chunks is None or layout.get_nfilters():
        raise UnsupportedError(f"{path}: {data.name} is compressed or not chunked; repack it with h5repack -f NONE")
    n, n_chunk, size = data.shape[0], data.chunks[0], stored.get_size()
    heads, references = np.zeros(n, acquisition.HEADER), np.zeros((n, 2, 3), np.int64)
    places = {
        name: stored.get_member_offset(stored.get_member_index(name.encode())) for name in (data.dtype.names or ())
    }
    kind = data.dtype["head"]
    for begin in range(0, n, n_chunk):
        _, block = data.id.read_direct_chunk((begin,))
        if len(block) != n_chunk * size:
            raise FileFormatError(path, data.name, f"a chunk of {len(block)} bytes; expected {n_chunk * size}")
        rows = np.frombuffer(block, np.uint8).reshape(n_chunk, size)[: n - begin]
        part = slice(begin, begin + len(rows))

        found = np.ascontiguousarray(rows[:, places["head"] :][:, : kind.itemsize]).view(kind)[:, 0]
        for name in set(kind.names or ()) & set(acquisition.HEADER.names or ()) - {"idx"}:
            heads[name][part] = found[name]
        for counter in acquisition.INDEX.values():
            heads["idx"][counter][part] = found["idx"][counter]
        for i, name in enumerate(("traj", "data")):
            if name in places:
                words = np.ascontiguousarray(rows[:, places[name] :][:, :16]).view("<u4").astype(np.int64)
                references[part, i, 0], references[part, i, 2] = words[:, 0], words[:, 3]
                references[part, i, 1] = words[:, 1] + (words[:, 2] << 32) + base
    return heads, references


def _answer(path: str, out: IO[bytes]) -> None:
    try:
        xml, heads, references, kinds = describe(path)
        text, reference = (xml, None) if isinstance(xml, bytes) else (b"", xml)
        blocks = [text, heads.tobytes(), references.tobytes()]
        said: dict[str, object] = {"sizes": [len(b) for b in blocks], "kinds": kinds, "xml": reference}
    except FileFormatError as problem:
        blocks, said = [], {"error": "FileFormatError", "where": problem.where, "problem": problem.problem}
    except (ResourceError, InputError) as problem:
        blocks, said = [], {"error": type(problem).__name__, "problem": str(problem)}
    out.write(json.dumps(said).encode() + b"\n")
    for block in blocks:
        out.write(block)
    out.flush()


def main() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # no such limits here: the time limit of the asking process remains
    alarm = getattr(signal, "alarm", None)  # Unix: ends this process by itself, should the asking one be gone
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if alarm:
            alarm(math.ceil(request["patience"]))
        _answer(request["path"], sys.stdout.buffer)
        if alarm:
            alarm(0)


if __name__ == "__main__":
    main()
