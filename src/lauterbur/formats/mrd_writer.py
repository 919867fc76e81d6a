"""Writes MRD files: group `dataset` with `xml` and the table `data` of (head, traj, data), in bulk, piece by piece."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.atomic import replacing
from lauterbur.formats.mrd_header import encoded_space, header_to_xml
from lauterbur.rawdata import COUNTERS, Header, RawData

_FLOATS = h5py.vlen_dtype(np.dtype("<f4"))
ROW = np.dtype([("head", acquisition.HEADER), ("traj", _FLOATS), ("data", _FLOATS)])
_CHUNK = 64  # rows per HDF5 chunk: 24 kB
_PIECE = 64_000_000  # bytes of samples turned at a time
_NOISE_SAMPLES = 32768  # per acquisition of the noise scan
_STRAIGHT = (
    1e-4  # of 1/FOV: a readout that leaves its straight line by less is stored as one; 0.3 mrad at the FOV's edge
)


class MrdWriter:
    """Writes raw data piece by piece; the file appears under its name when the block ends without an error.

    with MrdWriter(path, header, noise=noise, noise_dwell=dwell) as writer:
        for piece in pieces:        # RawData: some of the readouts, in order
            writer.write(piece)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Header | None,
        *,
        noise: NDArray[np.complex64] | None = None,
        noise_dwell: float | None = None,
    ):
        self.header = header
        self._path = Path(path)
        self._noise, self._noise_dwell = noise, noise_dwell
        self._heads: list[NDArray[np.void]] = []
        self._n_rows = self._n_rx = 0
        self._matrix, self._fov = (1, 1, 1), (1.0, 1.0, 1.0)
        if header is not None:
            self._matrix, self._fov = encoded_space(header)
        self._directions = np.array(header.directions if header is not None else np.eye(3), float)
        self._centres = {"LIN": (np.inf, 0), "PAR": (np.inf, 0)}  # smallest |k|, and the counter there

    def __enter__(self) -> MrdWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._path))
            try:
                self._file = stack.enter_context(h5py.File(temporary, "w", libver="earliest"))
            except OSError as problem:
                raise InputError(f"{self._path}: cannot be created ({problem})") from None
            group = self._file.create_group("dataset")
            self._data = group.create_dataset(
                "data", (0,), maxshape=(None,), dtype=ROW, chunks=(_CHUNK,), track_times=False
            )
            if self._noise is not None:
                self._write_noise(np.asarray(self._noise), self._noise_dwell)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, problem, trace)

    def write(self, raw: RawData) -> None:
        """Some of the readouts. Its own header and noise are not looked at: the writer's hold."""
        n, n_rx = raw.n_readouts, raw.n_rx
        if not n:
            return
        self._check_channels(n_rx)
        if raw.samples.shape[2] > acquisition.MOST_SAMPLES:
            raise InputError(
                f"{self._path}: readouts of {raw.samples.shape[2]} samples; MRD holds at most "
                f"{acquisition.MOST_SAMPLES} per acquisition: split the readout, or lower the oversampling"
            )
        step = max(1, _PIECE // max(1, n_rx * raw.samples.shape[2] * 8))
        for begin in range(0, n, step):
            self._write_piece(raw, slice(begin, min(begin + step, n)))

    def _write_piece(self, raw: RawData, part: slice) -> None:
        n_samples = np.asarray(raw.n_samples[part], np.int32)
        labels = {name: np.asarray(value[part]) for name, value in raw.labels.items()}
        k = np.asarray(raw.k[part], np.float32)
        heads = self._heads_of(n_samples, np.asarray(raw.dwell[part], float))
        acquisition.set_counters_(heads, labels)
        acquisition.set_geometry_(heads, self.header)
        heads["flags"] = acquisition.flags_from_labels(labels, len(heads))
        time = np.asarray(raw.time[part], float)
        te = np.full(len(heads), np.nan) if raw.te is None else np.asarray(raw.te[part], float)
        heads["acquisition_time_stamp"] = np.clip(np.nan_to_num(time) / acquisition.TICK, 0, 2**32 - 1).astype(
            np.uint32
        )
        heads["user_int"][:, 0:2], heads["user_int"][:, 2:4] = acquisition.exact(time), acquisition.exact(te)
        heads["center_sample"] = self._centre_as_mrd(np.asarray(raw.center_sample[part]), n_samples, heads["flags"])

        is_line = np.zeros(len(heads), bool)
        if self.header is not None and self.header.trajectory == "cartesian":
            lines, is_line = acquisition.straight_lines(k, n_samples, _STRAIGHT / max(self._fov))
            heads["user_float"][is_line, :6] = lines[is_line]
        heads["trajectory_dimensions"][~is_line] = 3
        self._note_centres(k, raw.center_sample[part], labels, heads["flags"])

        rows = np.zeros(len(heads), ROW)
        rows["head"] = heads
        nothing = np.zeros(0, np.float32)
        logical = None if is_line.all() else self._to_mrd(k)
        for i, n in enumerate(n_samples):
            samples = np.ascontiguousarray(raw.samples[part.start + i, :, :n], np.complex64)
            rows["data"][i] = samples.reshape(-1).view(np.float32)
            rows["traj"][i] = nothing if logical is None or is_line[i] else logical[i, :n].reshape(-1)
        self._append(rows)

    def _heads_of(self, n_samples: NDArray[np.int32], dwell: NDArray[np.float64]) -> NDArray[np.void]:
        heads = np.zeros(len(n_samples), acquisition.HEADER)
        heads["version"] = 1
        heads["scan_counter"] = np.arange(self._n_rows, self._n_rows + len(heads))
        heads["number_of_samples"] = n_samples
        heads["available_channels"] = heads["active_channels"] = self._n_rx
        heads["sample_time_us"] = dwell * 1e6
        heads["user_int"][:, 4:6] = acquisition.exact(dwell)
        return heads

    def _centre_as_mrd(
        self, centre: NDArray[np.int32], n_samples: NDArray[np.int32], flags: NDArray[np.uint64]
    ) -> NDArray[np.int32]:
        """MRD readers turn a reversed readout round before they look for its centre: count from its other end."""
        reverse = (flags & acquisition.REV) != 0
        return np.clip(np.where(reverse, n_samples - 1 - centre, centre), 0, acquisition.MOST_SAMPLES)

    def _to_mrd(self, k: NDArray[np.float32]) -> NDArray[np.float32]:
        """Patient axes in 1/m to logical axes in cycles per encoded voxel: -0.5 to 0.5, the custom among readers."""
        scale = np.array(self._fov) / np.array(self._matrix)
        return (k @ (self._directions.T * scale)).astype(np.float32)

    def _note_centres(
        self, k: NDArray[np.float32], centre: NDArray[np.int32], labels: acquisition.Labels, flags: NDArray[np.uint64]
    ) -> None:
        imaging = np.flatnonzero((flags & (acquisition.NOISE | acquisition.PHASECORR)) == 0)
        if not len(imaging) or not k.shape[1]:
            return
        middle = k[imaging, np.clip(np.asarray(centre)[imaging], 0, k.shape[1] - 1)] @ self._directions.T
        for name, axis in (("LIN", 1), ("PAR", 2)):
            nearest = int(np.argmin(np.abs(middle[:, axis])))
            if abs(middle[nearest, axis]) < self._centres[name][0]:
                counter = int(labels[name][imaging[nearest]]) if name in labels else 0
                self._centres[name] = (float(abs(middle[nearest, axis])), counter)

    def _check_channels(self, n_rx: int) -> None:
        if self._n_rx and n_rx != self._n_rx:
            raise InputError(f"{self._path}: a piece with {n_rx} receivers follows pieces with {self._n_rx}")
        self._n_rx = n_rx

    def _write_noise(self, noise: NDArray[np.complex64], dwell: float | None) -> None:
        self._check_channels(noise.shape[0])
        rows = []
        for begin in range(0, noise.shape[1], _NOISE_SAMPLES):
            piece = np.ascontiguousarray(noise[:, begin : begin + _NOISE_SAMPLES], np.complex64)
            row = np.zeros(1, ROW)
            row["head"] = self._heads_of(np.array([piece.shape[1]]), np.array([np.nan if dwell is None else dwell]))
            row["head"]["sample_time_us"] = 0 if dwell is None else dwell * 1e6
            row["head"]["flags"] = acquisition.NOISE
            acquisition.set_geometry_(row["head"], self.header)
            row["data"][0], row["traj"][0] = piece.reshape(-1).view(np.float32), np.zeros(0, np.float32)
            rows.append(row)
        if rows:
            self._append(np.concatenate(rows))

    def _append(self, rows: NDArray[np.void]) -> None:
        self._data.resize((self._n_rows + len(rows),))
        self._data[self._n_rows :] = rows
        self._heads.append(rows["head"].copy())
        self._n_rows += len(rows)

    def _finish(self) -> None:
        heads = np.concatenate(self._heads) if self._heads else np.zeros(0, acquisition.HEADER)
        acquisition.set_first_and_last_(heads)
        for begin in range(0, len(heads), _CHUNK):  # heads alone are replaced, in the chunks as they lie in the file
            _, stored = self._data.id.read_direct_chunk((begin,))
            rows = np.frombuffer(bytearray(stored), np.uint8).reshape(_CHUNK, -1)
            part = heads[begin : begin + _CHUNK]
            rows[: len(part), : acquisition.HEADER.itemsize] = part.view(np.uint8).reshape(len(part), -1)
            self._data.id.write_direct_chunk((begin,), rows.tobytes(), 0)
        imaging = heads[(heads["flags"] & acquisition.NOISE) == 0]
        limits = {}
        for name in COUNTERS if len(imaging) else ():
            value = imaging["idx"][acquisition.INDEX[name]]
            limits[name] = (int(value.min()), int(value.max()), self._centres.get(name, (0, 0))[1])
        text = header_to_xml(self.header, n_rx=self._n_rx, limits=limits)
        self._file["dataset"].create_dataset(
            "xml", (1,), dtype=h5py.string_dtype("utf-8"), data=[text], track_times=False
        )
