"""Reads an MRD file without trusting it: structure through a guarded process, samples straight from the heap.

HDF5 keeps lists of variable length in its global heap: collections of numbered objects (HDF5 file format specification
3.0, III.E). Every length is checked against the file before memory is taken.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError, ResourceError, UnsupportedError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.mrd_header import LARGEST_XML

_PATIENCE = 10.0  # s for the structure of a file, and as much again per 2 GB
_ERRORS = {e.__name__: e for e in (InputError, UnsupportedError, ResourceError)}


@dataclass(frozen=True)
class Structure:
    xml: bytes
    heads: NDArray[np.void]  # (row,) of mrd_acquisition.HEADER
    references: NDArray[np.int64]  # (row, traj|data, 3): length, address of the heap collection, index in it
    kinds: dict[str, str]  # number types of traj and data


class _Probe:
    """One process that reads structures, started when first asked, replaced when it hangs or dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._of_parent: subprocess.Popen[bytes] | None = None  # held so that nothing of it is closed here
        self._lock = threading.Lock()

    def ask(self, path: Path, patience: float) -> tuple[dict[str, object], list[bytes]] | None:
        """Its answer; None where it had to be killed or died."""
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                process = self._process = subprocess.Popen(
                    [sys.executable, "-m", "lauterbur.formats.mrd_probe"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
                )
            assert process.stdin is not None and process.stdout is not None
            timer = threading.Timer(patience, process.kill)
            timer.start()
            try:
                request = {"path": str(path.absolute()), "patience": patience}
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                said = json.loads(process.stdout.readline())
                blocks = [_exactly(process.stdout, size) for size in said.get("sizes", [])]
                return said, blocks
            except (OSError, ValueError, EOFError):
                self._stop()
                return None
            finally:
                timer.cancel()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                try:
                    pipe.close()  # type: ignore[union-attr]
                except OSError:
                    pass  # what was still to be written has no reader
            process.wait()

    def close(self) -> None:
        with self._lock:
            self._stop()

    def forget_(self) -> None:
        """In a forked process: what the parent started stays the parent's, or two would read one pipe."""
        self._of_parent, self._process, self._lock = self._process, None, threading.Lock()


_PROBE = _Probe()
atexit.register(_PROBE.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROBE.forget_)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    block = stream.read(size)
    if len(block) != size:
        raise EOFError
    return block


def structure(path: str | os.PathLike[str]) -> Structure:
    """XML, heads and references of an MRD file; FileFormatError where HDF5 cannot make sense of it."""
    target = Path(path)
    try:
        if not target.is_file():
            raise InputError(f"{path}: not a file" if target.exists() else f"{path}: no such file")
        size = target.stat().st_size
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: cannot be opened ({problem})") from None
    answer = _PROBE.ask(target, _PATIENCE * (1 + size / 2e9))
    if answer is None:
        raise FileFormatError(path, "HDF5", "the HDF5 library crashed on it or took too long: garbled")
    said, blocks = answer
    if "error" in said:
        error = _ERRORS.get(str(said["error"]))
        raise error(str(said["problem"])) if error else FileFormatError(path, str(said["where"]), str(said["problem"]))
    heads = np.frombuffer(blocks[1], acquisition.HEADER).copy()
    kinds = said["kinds"]
    assert isinstance(kinds, dict)
    xml = blocks[0]
    if isinstance(said["xml"], list):
        with Heap(path) as heap:
            xml = heap.text(np.array(said["xml"], object))
    return Structure(xml.rstrip(b"\0"), heads, np.frombuffer(blocks[2], np.int64).reshape(-1, 2, 3), kinds)


class Heap:
    """The lists of numbers in a file, by reference."""

    def __init__(self, path: str | os.PathLike[str]):
        self._path = path
        self._file = open(path, "rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._seen = 0  # bytes of collections walked: together they cannot exceed the file
        self._collections: dict[int, dict[int, tuple[int, int]]] = {}  # address -> index -> (place, size)

    def __enter__(self) -> Heap:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def numbers(self, reference: NDArray[np.int64], kind: str, most: int, where: str) -> NDArray[np.float32]:
        """The list at `reference` as float32; more than `most` numbers are refused."""
        length, dtype = int(reference[0]), np.dtype(kind)
        if length > most:
            raise FileFormatError(self._path, where, f"{length} numbers stored; its head calls for at most {most}")
        return np.frombuffer(self._bytes(reference, length * dtype.itemsize, where), dtype).astype(
            np.float32, copy=False
        )

    def text(self, reference: NDArray[Any]) -> bytes:
        length = int(reference[0])
        if length > LARGEST_XML:
            raise FileFormatError(self._path, "XML header", f"{length} bytes; at most {LARGEST_XML} are read")
        return self._bytes(reference, length, "XML header")

    def _bytes(self, reference: NDArray[Any], need: int, where: str) -> bytes:
        _, address, index = (int(v) for v in reference)
        if need == 0:
            return b""
        if address not in self._collections:
            self._collections[address] = self._walk(address, where)
        place, size = self._collections[address].get(index, (0, 0))
        if not need <= size:
            raise FileFormatError(
                self._path, where, f"needs {need} bytes; heap object {index} at byte {address} has {size}"
            )
        self._file.seek(place)
        block = self._file.read(need)
        if len(block) < need:
            raise FileFormatError(self._path, where, "lies beyond the end of the file: truncated")
        return block

    def _walk(self, address: int, where: str) -> dict[int, tuple[int, int]]:
        def wrong(problem: str) -> FileFormatError:
            return FileFormatError(self._path, where, f"heap collection at byte {address}: {problem}")

        head = self._at(address, 16)
        if len(head) < 16 or head[:5] != b"GCOL\x01":
            raise wrong("not there")
        (size,) = struct.unpack_from("<Q", head, 8)
        self._seen += size
        if not (16 <= size <= self._size - address and self._seen <= self._size):
            raise wrong(f"{size} bytes long in a file of {self._size}")
        objects: dict[int, tuple[int, int]] = {}
        place, end = address + 16, address + size
        while place + 16 <= end:
            index, _, length = struct.unpack("<HH4xQ", self._at(place, 16))
            if index == 0:  # what is left free
                break
            if length > end - place - 16:
                raise wrong(f"object {index} of {length} bytes overruns it")
            objects[index] = (place + 16, length)
            place += 16 + (length + 7) // 8 * 8
        return objects

    def _at(self, place: int, n: int) -> bytes:
        if not 0 <= place <= self._size - n:
            return b""
        self._file.seek(place)
        return self._file.read(n)
