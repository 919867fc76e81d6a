"""fields.h5: FieldMaps on disk, whole or not at all, and whose they are.

write_fields(fields, "fields.h5")                            # written beside it first, then renamed
read_fields("fields.h5")                                     # checked: version, checksums, shapes, finite numbers
read_fields("fields.h5", scanner=scanner, subject=subject)   # and refused where solved for another scanner or subject
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError
from lauterbur.fields.harmonics import COUNTS
from lauterbur.fields.maps import FieldMaps
from lauterbur.scanner.machine import Scanner
from lauterbur.subject.anatomy import PARTS, Subject

FORMAT, VERSION = "lauterbur fields", 1
# name: (kind of number, dimensions, what its axes must agree with)
ARRAYS: dict[str, tuple[str, int]] = {
    "affine": ("f", 2), "off_resonance": ("f", 3), "b1_plus": ("c", 4), "b1_minus": ("c", 4), "noise_resistance": ("c", 2),
    "e": ("c", 5), "s_matrix": ("c", 2), "receive_affine": ("f", 2), "transmit_affine": ("f", 2),
    "conductivity": ("f", 3), "density": ("f", 3), "part": ("u", 3), "shim": ("f", 1),
}  # fmt: skip
UNFELT = (
    "source",
    "sources",
    "description",
    "shim_coils",
)  # no solution hangs on them; shims are adjusted anew by every scan
NEEDED = ("affine", "off_resonance", "b1_plus", "b1_minus", "noise_resistance")


def write_fields(fields: FieldMaps, path: str | os.PathLike[str]) -> None:
    """The whole of FieldMaps; an interrupted write leaves what was there before."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with h5py.File(partial, "w") as file:
            file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
            file.attrs["provenance"] = json.dumps(_plain(fields.provenance))
            if fields.body_mass is not None:
                file.attrs["body_mass"] = fields.body_mass
            for name in ARRAYS:
                values = getattr(fields, name)
                if values is not None:
                    array = np.asarray(values)
                    file.create_dataset(name, data=array, chunks=_chunks(array), fletcher32=True)
                    file.attrs[f"crc32 {name}"] = _sum(array)  # a damaged index brings other chunks, each of them whole
        os.replace(partial, target)
    except OSError as problem:
        raise InputError(f"fields cannot be written to {target}: {problem.strerror or problem}") from None
    finally:
        partial.unlink(missing_ok=True)


def _sum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def read_fields(
    path: str | os.PathLike[str], *, scanner: Scanner | None = None, subject: Subject | None = None
) -> FieldMaps:
    """FieldMaps as they were written; FileFormatError names the file and the place where it is not what it should be."""
    source = Path(path)
    with _opened(source) as (file, provenance):
        _check_owner(provenance, scanner, subject, str(source))  # before a gigabyte is read
        arrays = {name: _array(source, file, name) for name in ARRAYS if name in file}
        mass = file.attrs.get("body_mass")
        sums = {name: file.attrs.get(f"crc32 {name}") for name in arrays}
    for name in NEEDED:
        if name not in arrays:
            raise FileFormatError(source, name, "is missing; the file is incomplete: solve the fields again")
    body_mass = None if mass is None else float(mass)
    if body_mass is not None and not (np.isfinite(body_mass) and body_mass > 0):
        raise FileFormatError(source, "body_mass", f"is {body_mass} kg; it must be positive")
    fields = FieldMaps(**arrays, body_mass=body_mass, provenance=provenance)
    _agree(source, fields)
    for name, written in sums.items():
        if written is not None and written != _sum(arrays[name]):
            raise FileFormatError(source, name, "is not what was written: the file is damaged; solve the fields again")
    return fields


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the fields in a file say of themselves: whose they are and how they were made. Their arrays are not read."""
    with _opened(Path(path)) as (_, provenance):
        return provenance


def check_owner(
    fields: FieldMaps, *, scanner: Scanner | None = None, subject: Subject | None = None, what: str = "these fields"
) -> None:
    """InputError where the fields say that they belong to another scanner or subject; fields that do not say pass."""
    _check_owner(fields.provenance, scanner, subject, what)


def _check_owner(provenance: Mapping[str, Any], scanner: Scanner | None, subject: Subject | None, what: str) -> None:
    for noun, given in (("scanner", scanner), ("subject", subject)):
        written = provenance.get(f"{noun}_hash")
        if given is not None and written is not None and written != fingerprint(given):
            raise InputError(
                f"{what}: solved for {noun} {str(provenance.get(noun))!r:.80}, which is not (or no longer) {noun} {given.name!r} here;"
                f" solve the fields again, or give the {noun} they belong to"
            )


def fingerprint(thing: Any) -> str:
    """A hash of all that a scanner, subject or option holds: 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, thing)
    return digest.hexdigest()


def _feed(digest: Any, thing: Any) -> None:
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        digest.update(f"<{type(thing).__name__}".encode())
        for each in dataclasses.fields(thing):
            if each.name not in UNFELT:
                digest.update(f".{each.name}=".encode())
                _feed(digest, getattr(thing, each.name))
    elif isinstance(thing, np.ndarray):
        digest.update(f"[{thing.dtype}{thing.shape}".encode())
        digest.update(np.ascontiguousarray(thing).data)
    elif isinstance(thing, Mapping):
        for key in sorted(thing):
            digest.update(f"{{{key}:".encode())
            _feed(digest, thing[key])
    elif isinstance(thing, (tuple, list)):
        digest.update(f"({len(thing)}".encode())
        for item in thing:
            _feed(digest, item)
    else:
        digest.update(f"{thing!r};".encode())


def _plain(thing: Any) -> Any:
    """The same in what JSON knows."""
    if isinstance(thing, Mapping):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, (tuple, list)):
        return [_plain(item) for item in thing]
    if isinstance(thing, np.ndarray):
        return _plain(thing.tolist())
    if isinstance(thing, np.generic):
        return thing.item()
    return thing if isinstance(thing, (str, int, float, bool, type(None))) else str(thing)


def _chunks(array: np.ndarray) -> tuple[int, ...]:
    """The last three axes whole, one channel and component at a time."""
    return tuple(max(1, n) if i >= array.ndim - 3 else 1 for i, n in enumerate(array.shape))


@contextmanager
def _opened(source: Path) -> Iterator[tuple[h5py.File, dict[str, Any]]]:
    """The file, known to be ours, and its provenance."""
    if not source.is_file():
        raise InputError(f"there is no file {source}; solve_fields makes fields, write_fields writes them")
    try:
        with h5py.File(source, "r") as file:
            _header(source, file)
            yield file, _provenance(source, file.attrs.get("provenance", ""))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as problem:
        raise FileFormatError(source, "", f"is damaged or not HDF5: {str(problem)[:200]}") from None


def _header(source: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise FileFormatError(source, "format", f"is not {FORMAT!r}; this HDF5 file is somebody else's")
    version = file.attrs.get("version")
    if version != VERSION:
        raise FileFormatError(source, "version", f"is {version!r}; this code reads {VERSION}: solve the fields again")


def _array(source: Path, file: h5py.File, name: str) -> np.ndarray:
    dataset = file[name]
    kind, dimensions = ARRAYS[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != kind or dataset.ndim != dimensions:
        raise FileFormatError(source, name, f"must be an array of {dimensions} axes of kind {kind!r}")
    if dataset.is_virtual or dataset.external:
        raise FileFormatError(source, name, "lies in another file; copy the fields whole")
    if dataset.nbytes > source.stat().st_size:
        raise FileFormatError(
            source,
            name,
            f"claims {dataset.nbytes} bytes, more than the file has ({source.stat().st_size}); it was cut short",
        )
    values = dataset[()]
    if not np.isfinite(values).all():
        bad = ~np.isfinite(values)
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise FileFormatError(source, name, f"has {int(bad.sum())} numbers that are not finite, the first at {first}")
    return values


def _provenance(source: Path, text: Any) -> dict[str, Any]:
    try:
        provenance = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise FileFormatError(source, "provenance", "is not JSON") from None
    if not isinstance(provenance, dict):
        raise FileFormatError(source, "provenance", "must be a JSON object")
    return provenance


def _agree(source: Path, fields: FieldMaps) -> None:
    """Shapes that must fit together do."""
    own = fields.off_resonance.shape
    grid = fields.b1_plus.shape[1:]
    tx, rx = len(fields.b1_plus), len(fields.b1_minus)
    wanted: dict[str, tuple[int, ...]] = {
        "affine": (4, 4), "receive_affine": (4, 4), "transmit_affine": (4, 4), "noise_resistance": (rx, rx),
        "e": (tx, 3, *grid), "s_matrix": (tx, tx), "conductivity": grid, "density": grid, "part": grid,
        "b1_plus": (tx, *(grid if fields.transmit_affine is not None else own)),
        "b1_minus": (rx, *(fields.b1_minus.shape[1:] if fields.receive_affine is not None else own)),
    }  # fmt: skip
    for name, shape in wanted.items():
        values = getattr(fields, name)
        if values is not None and values.shape != shape:
            raise FileFormatError(source, name, f"has shape {values.shape}; the other maps want {shape}")
    if fields.shim is not None and len(fields.shim) not in COUNTS.values():
        raise FileFormatError(source, "shim", f"has {len(fields.shim)} terms; possible are {tuple(COUNTS.values())}")
    if fields.part is not None and fields.part.size and int(fields.part.max()) >= len(PARTS):
        raise FileFormatError(source, "part", f"has a value {int(fields.part.max())}; known are 0 to {len(PARTS) - 1}")
    for name in ("conductivity", "density"):
        values = getattr(fields, name)
        if values is not None and values.size and not values.min() >= 0:
            first = tuple(int(i) for i in np.unravel_index(int(np.argmin(values)), values.shape))
            raise FileFormatError(source, name, f"is {values.min():g} at (z, y, x) = {first}; it must not be negative")
    for name in ("affine", "receive_affine", "transmit_affine"):
        values = getattr(fields, name)
        if values is not None and not abs(np.linalg.det(values[:3, :3])) > 0:
            raise FileFormatError(source, name, "cannot be inverted")
