"""Reads the table of acquisitions of an MRD file, letting in only plain files whose sizes agree with what they claim."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError, ResourceError, UnsupportedError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.mrd_header import LARGEST_XML

_PIECE = 64_000_000  # bytes read at a time
_MOST_ROWS = 20_000_000  # acquisitions; a head takes 340 bytes of memory


class AcquisitionTable:
    """Heads, checked, and what is read with them. `imaging`: rows that are neither noise nor left out."""

    def __init__(self, data: h5py.Dataset, path: object, *, is_ours: bool):
        self._data, self._path, self._is_ours = data, path, is_ours
        self.notes: list[str] = []
        self.heads = self._read_heads()
        flags = self.heads["flags"]
        is_noise = (flags & acquisition.NOISE) != 0
        is_other = ~is_noise & ((flags & acquisition.NOT_IMAGE) != 0)
        is_elsewhere = ~is_noise & ~is_other & (self.heads["encoding_space_ref"] != 0)
        for left_out, why in (
            (is_other, "feedback, dummy or stabilisation acquisitions"),
            (is_elsewhere, "acquisitions of a second encoding"),
        ):
            if left_out.any():
                self.notes.append(f"{int(left_out.sum())} {why} left out")
        self.imaging = np.flatnonzero(~is_noise & ~is_other & ~is_elsewhere)
        self.noise_rows = np.flatnonzero(is_noise)
        if not len(self.imaging):
            raise FileFormatError(path, data.name, f"{len(self.heads)} acquisitions, none of them image data")
        self.n_rx = self._channels(self.imaging)
        if len(self.noise_rows) and self._channels(self.noise_rows) != self.n_rx:
            self.notes.append("noise scan with another number of channels left out")
            self.noise_rows = self.noise_rows[:0]
        self.n_samples = self._useful(self.imaging)
        self.dwell = self._dwell(self.imaging)

    def _read_heads(self) -> NDArray[np.void]:
        n = self._data.shape[0]
        if n > _MOST_ROWS:
            raise ResourceError(f"{self._path}: {n} acquisitions; at most {_MOST_ROWS} are read")
        heads = np.zeros(n, acquisition.HEADER)
        for begin in range(0, n, 65536):
            part = slice(begin, min(begin + 65536, n))
            found = self._data.fields("head")[part]
            for name in acquisition.HEADER.names or ():
                if name == "idx":
                    for counter in acquisition.INDEX.values():
                        heads["idx"][counter][part] = found["idx"][counter]
                elif name in (found.dtype.names or ()):
                    heads[name][part] = found[name]
        for name in ("sample_time_us", "position", "read_dir", "phase_dir", "slice_dir"):
            wrong = ~np.isfinite(heads[name]).reshape(n, -1).all(axis=1)
            if wrong.any():
                raise FileFormatError(self._path, f"acquisition {int(np.argmax(wrong))}", f"{name} is not finite")
        return heads

    def _channels(self, rows: NDArray[np.intp]) -> int:
        counts = np.unique(self.heads["active_channels"][rows])
        if len(counts) > 1:
            raise UnsupportedError(
                f"{self._path}: acquisitions with {counts[0]} and with {counts[-1]} channels; one receive array is read"
            )
        if not 1 <= counts[0] <= 1024:
            raise FileFormatError(self._path, "active_channels", f"{counts[0]}; expected 1 to 1024 (ismrmrd.h)")
        return int(counts[0])

    def _useful(self, rows: NDArray[np.intp]) -> NDArray[np.int32]:
        heads = self.heads[rows]
        n = heads["number_of_samples"].astype(np.int32) - heads["discard_pre"] - heads["discard_post"]
        if not np.all(n >= 1):
            i = int(np.argmin(n))
            raise FileFormatError(
                self._path,
                f"acquisition {rows[i]}",
                f"{heads['number_of_samples'][i]} samples, of which {heads['discard_pre'][i]} + "
                f"{heads['discard_post'][i]} are to be discarded; nothing is left",
            )
        return n

    def _dwell(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        heads = self.heads[rows]
        dwell = heads["sample_time_us"].astype(np.float64) * 1e-6
        if self._is_ours:
            stated = acquisition.from_exact(heads["user_int"][:, 4:6])
            dwell = np.where(np.isclose(stated, dwell, rtol=1e-5, atol=0), stated, dwell)
        if not np.all(dwell >= 0):
            raise FileFormatError(
                self._path, f"acquisition {rows[int(np.argmin(dwell))]}", "sample_time_us is negative"
            )
        if not np.all(dwell > 0):
            self.notes.append("sample_time_us is 0: the dwell time is not known")
        return dwell

    def time(self, vendor: str) -> NDArray[np.float64]:
        """s, of the first sample of imaging readouts."""
        heads = self.heads[self.imaging]
        if self._is_ours:
            time = acquisition.from_exact(heads["user_int"][:, 0:2])
            if np.all(np.abs(time) < 1e9):
                return time
        tick = 1e-6 if vendor.startswith("KomaMRI") else acquisition.TICK  # KomaMRI counts microseconds (its source)
        return heads["acquisition_time_stamp"] * tick

    def te(self) -> NDArray[np.float64] | None:
        """s, of imaging readouts, where the file says."""
        if not self._is_ours:
            return None
        te = acquisition.from_exact(self.heads["user_int"][self.imaging, 2:4])
        return None if np.isnan(te).all() else te

    def noise(self) -> tuple[NDArray[np.complex64] | None, float | None]:
        """(rx, sample) and its dwell in s: all noise acquisitions, one after the other."""
        rows = self.noise_rows
        if not len(rows):
            return None, None
        pieces, _ = self.samples(rows, 1 << 62)
        n = self._useful(rows)
        dwell = float(self._dwell(rows[:1])[0])
        return np.concatenate([pieces[i, :, : n[i]] for i in range(len(rows))], axis=1), dwell or None

    def samples(
        self, rows: NDArray[np.intp], in_memory: int
    ) -> tuple[NDArray[np.complex64], list[NDArray[np.float32]]]:
        """(row, rx, sample), zero padded, without what is to be discarded; and the trajectories, (sample, dimension)."""
        n_raw = self.heads["number_of_samples"][rows].astype(np.int64)
        n_pre = self.heads["discard_pre"][rows].astype(np.int64)
        n_dims = self.heads["trajectory_dimensions"][rows].astype(np.int64)
        n = self._useful(rows)
        file_size = os.path.getsize(str(self._path))
        need = int(np.sum(n_raw) * self.n_rx * 8)
        if not need <= file_size:
            raise FileFormatError(
                self._path, self._data.name, f"{need} bytes of samples claimed in a file of {file_size} bytes"
            )
        samples = _zeros((len(rows), self.n_rx, int(n.max())), in_memory, need, self._path)
        trajectories: list[NDArray[np.float32]] = []

        step = max(1, int(_PIECE // max(1, int(n_raw.max()) * self.n_rx * 8)))
        columns = ["data", "traj"] if "traj" in (self._data.dtype.names or ()) else ["data"]
        for begin in range(0, len(rows), step):
            wanted = rows[begin : begin + step]
            first, last = int(wanted[0]), int(wanted[-1]) + 1
            if last - first <= 2 * len(wanted):
                found = self._data.fields(columns)[first:last][wanted - first]
            else:
                found = self._data.fields(columns)[wanted]
            for j in range(len(wanted)):
                i = begin + j
                values = np.ascontiguousarray(found["data"][j], np.float32)
                if values.size != 2 * n_raw[i] * self.n_rx:
                    raise FileFormatError(
                        self._path,
                        f"acquisition {rows[i]}",
                        f"{values.size} numbers stored; {n_raw[i]} samples of {self.n_rx} channels need "
                        f"{2 * n_raw[i] * self.n_rx}",
                    )
                if not np.isfinite(np.dot(values, values)) and not np.isfinite(values).all():
                    raise FileFormatError(self._path, f"acquisition {rows[i]}", "samples that are not finite")
                both = values.view(np.complex64).reshape(self.n_rx, n_raw[i])
                samples[i, :, : n[i]] = both[:, n_pre[i] : n_pre[i] + n[i]]
                trajectories.append(
                    self._trajectory(found, j, columns, rows[i], n_raw[i], n_dims[i])[n_pre[i] :][: n[i]]
                )
        return samples, trajectories

    def _trajectory(
        self, found: NDArray[np.void], j: int, columns: list[str], row: int, n_raw: int, n_dims: int
    ) -> NDArray[np.float32]:
        stored = np.asarray(found["traj"][j], np.float32) if "traj" in columns else np.zeros(0, np.float32)
        if stored.size != n_raw * n_dims:
            raise FileFormatError(
                self._path,
                f"acquisition {row}",
                f"a trajectory of {stored.size} numbers; {n_raw} samples of {n_dims} dimensions need {n_raw * n_dims}",
            )
        if not np.isfinite(stored).all():
            raise FileFormatError(self._path, f"acquisition {row}", "a trajectory that is not finite")
        return stored.reshape(n_raw, n_dims)


def _zeros(shape: tuple[int, int, int], in_memory: int, stored: int, path: object) -> NDArray[np.complex64]:
    size = int(np.prod(shape, dtype=np.int64)) * 8
    if size > 16 * stored + 1_000_000_000:
        raise ResourceError(
            f"{path}: readouts from 1 to {shape[2]} samples would need {size / 1e9:.1f} GB of padding for "
            f"{stored / 1e9:.2f} GB of samples; split the file by readout length"
        )
    if size <= in_memory:
        return np.zeros(shape, np.complex64)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:
        raise ResourceError(
            f"{path}: {size / 1e9:.1f} GB of samples; {tempfile.gettempdir()} has {free / 1e9:.1f} GB free"
        )
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.complex64, "w+", shape=shape)


@contextmanager
def open_dataset(path: str | os.PathLike[str]) -> Iterator[tuple[bytes, h5py.Dataset]]:
    """(XML, table of acquisitions) of an MRD file, after its structure was checked."""
    file_size = _size_of(path)
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            group = _group(file, path)
            xml, data = _plain_dataset(group, "xml", path), _plain_dataset(group, "data", path)
            _check_table(data, file_size, path)
            yield _xml_text(xml, path), data
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, UnicodeError) as problem:
        said = " ".join(str(problem).split())[:200]
        raise FileFormatError(path, "HDF5", f"cannot be read: {said or type(problem).__name__}") from None


def _size_of(path: str | os.PathLike[str]) -> int:
    try:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file" if not Path(path).exists() else f"{path}: not a file")
        return Path(path).stat().st_size
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: cannot be opened ({problem})") from None


def _group(file: h5py.File, path: object) -> h5py.Group:
    """`dataset`, or the only group that has what it takes."""
    names = [name for _, name in zip(range(64), file, strict=False)]
    for name in ["dataset", *(n for n in names if n != "dataset")]:
        if name in names and isinstance(file.get(name, getlink=True), h5py.HardLink):
            group = file[name]
            if isinstance(group, h5py.Group) and "xml" in group and "data" in group:
                return group
    raise FileFormatError(
        path, "HDF5", f"no group holds both 'xml' and 'data'; found {', '.join(names[:8]) or 'nothing'}"
    )


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
    claimed, stored = data.shape[0] * data.dtype.itemsize, data.id.get_storage_size()
    room = min(stored, file_size) * (1 if data.id.get_create_plist().get_nfilters() == 0 else 1100)  # deflate: 1032:1
    if not claimed - 16 * data.shape[0] <= room:  # h5py counts pointers where the file has 16-byte references
        raise FileFormatError(
            path, where, f"{data.shape[0]} acquisitions claimed, but only {stored} bytes are stored for them"
        )


def _xml_text(xml: h5py.Dataset, path: object) -> bytes:
    if xml.size is None or not 1 <= xml.size <= 16 or xml.dtype.itemsize > LARGEST_XML:
        raise FileFormatError(path, xml.name, f"shape {xml.shape}, type {xml.dtype}; expected one text")
    if xml.dtype.kind not in "OS":
        raise FileFormatError(path, xml.name, f"type {xml.dtype}; expected text")
    value = np.asarray(xml[()]).reshape(-1)[0]
    text = value if isinstance(value, bytes) else str(value).encode()
    return text.rstrip(b"\0")
