"""The acquisitions of an MRD file: heads checked against each other and the file, samples in bulk."""

from __future__ import annotations

import os
import shutil
import tempfile

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, ResourceError, UnsupportedError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.mrd_heap import Heap, Structure


class AcquisitionTable:
    """Heads, checked, and what is read with them. `imaging`: rows that are neither noise nor left out."""

    def __init__(self, file: Structure, path: str | os.PathLike[str], *, is_ours: bool):
        self._file, self._path, self._is_ours = file, path, is_ours
        self.notes: list[str] = []
        self.heads = file.heads
        self._check_finite()
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
            raise FileFormatError(path, "/dataset/data", f"{len(self.heads)} acquisitions, none of them image data")
        self.n_rx = self._channels(self.imaging)
        if len(self.noise_rows) and self._channels(self.noise_rows) != self.n_rx:
            self.notes.append("noise scan with another number of channels left out")
            self.noise_rows = self.noise_rows[:0]
        self.n_samples = self._useful(self.imaging)
        self.dwell = self._dwell(self.imaging)

    def _check_finite(self) -> None:
        heads = self.heads
        if not len(heads):
            raise FileFormatError(self._path, "/dataset/data", "no acquisitions")
        for name in ("sample_time_us", "position", "read_dir", "phase_dir", "slice_dir"):
            wrong = ~np.isfinite(heads[name]).reshape(len(heads), -1).all(axis=1)
            if wrong.any():
                raise FileFormatError(self._path, f"acquisition {int(np.argmax(wrong))}", f"{name} is not finite")

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
        # KomaMRI counts microseconds, it seems (unconfirmed): echoes 0.61 ms apart in a file we have, not 1.5 s
        tick = 1e-6 if vendor.startswith("KomaMRI") else acquisition.TICK
        return heads["acquisition_time_stamp"] * tick

    def te(self) -> NDArray[np.float64] | None:
        """s, of imaging readouts, where the file says."""
        if not self._is_ours:
            return None
        te = acquisition.from_exact(self.heads["user_int"][self.imaging, 2:4])
        te = np.where(np.abs(te) < 1e6, te, np.nan)
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
                self._path, "/dataset/data", f"{need} bytes of samples claimed in a file of {file_size} bytes"
            )
        samples = _zeros((len(rows), self.n_rx, int(n.max())), in_memory, need, self._path)
        trajectories: list[NDArray[np.float32]] = []

        with Heap(self._path) as heap:
            for i, row in enumerate(rows):
                where = f"acquisition {row}"
                count = 2 * int(n_raw[i]) * self.n_rx
                values = self._numbers(heap, row, "data", count, where)
                both = values.view(np.complex64).reshape(self.n_rx, n_raw[i])
                samples[i, :, : n[i]] = both[:, n_pre[i] : n_pre[i] + n[i]]
                stored = self._numbers(heap, row, "traj", int(n_raw[i] * n_dims[i]), where)
                trajectories.append(stored.reshape(n_raw[i], n_dims[i])[n_pre[i] :][: n[i]])
        return samples, trajectories

    def _numbers(self, heap: Heap, row: int, column: str, count: int, where: str) -> NDArray[np.float32]:
        reference = self._file.references[row, 0 if column == "traj" else 1]
        values = heap.numbers(reference, self._file.kinds.get(column, "<f4"), count, where)
        if values.size != count:
            raise FileFormatError(
                self._path, f"{where}, {column}", f"{values.size} numbers stored; its head calls for {count}"
            )
        with np.errstate(all="ignore"):  # the sum of squares is a quick look; it overflows before the values do
            looks_sound = np.isfinite(np.dot(values, values))
        if not looks_sound and not np.isfinite(values).all():
            raise FileFormatError(self._path, f"{where}, {column}", "numbers that are not finite")
        return values


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
