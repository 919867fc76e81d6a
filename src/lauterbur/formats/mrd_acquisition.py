"""The fixed part of MRD acquisitions, many at once: counters, flags, geometry and k-space as numpy columns.

Layout of `HEADER`: ISMRMRD_AcquisitionHeader of ismrmrd.h, version 1. MRD gives users eight integers, eight floats
and eight flags per acquisition; ours say what MRD has no room for, so that raw data survives to the last bit:

    user_int[0:2], [2:4], [4:6]   time, te, dwell in s, each a float64 in two words (te NaN: not known)
    user_float[0:3], [3:6]        k of the first sample and its step per sample, 1/m, patient axes, where no trajectory
                                  is stored: a Cartesian readout is a straight line, and 12 bytes per sample are saved
    USER1 ... USER6               SMS, PMC, NOROT, NOPOS, NOSCL, and IMA without REF
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import COUNTERS, Header

_COUNTERS = np.dtype(
    [
        ("kspace_encode_step_1", "<u2"),
        ("kspace_encode_step_2", "<u2"),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("segment", "<u2"),
        ("user", "<u2", (8,)),
    ]
)
HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("idx", _COUNTERS),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
INDEX = {
    "LIN": "kspace_encode_step_1",
    "PAR": "kspace_encode_step_2",
    "SLC": "slice",
    "ECO": "contrast",
    "REP": "repetition",
    "PHS": "phase",
    "SET": "set",
    "SEG": "segment",
    "AVG": "average",
}
MOST_SAMPLES = 65535  # number_of_samples is 16 bits wide
TICK = 2.5e-3  # s per count of acquisition_time_stamp: the Siemens tick, which most readers assume


def _flag(number: int) -> np.uint64:
    return np.uint64(1 << (number - 1))  # ismrmrd.h counts flags from 1


FIRST_LAST = {"STEP1": 1, "STEP2": 3, "SLC": 7, "REP": 13}  # number of FIRST; LAST is the next
NOISE, REF, REF_AND_IMA, REV, NAVIGATION, PHASECORR = (_flag(n) for n in (19, 20, 21, 22, 23, 24))
LAST_IN_MEASUREMENT = _flag(25)
# High-power and real-time feedback, dummy scans, surface-coil correction, phase stabilisation: no image data.
NOT_IMAGE = np.bitwise_or.reduce([_flag(n) for n in (26, 27, 28, 29, 30, 31)])
USER = {"SMS": _flag(57), "PMC": _flag(58), "NOROT": _flag(59), "NOPOS": _flag(60), "NOSCL": _flag(61)}
IMA_ALONE = _flag(62)

Heads = NDArray[np.void]  # (readout,) of HEADER
Labels = Mapping[str, NDArray[np.int32]]


def flags_from_labels(labels: Labels, n: int) -> NDArray[np.uint64]:
    flags = np.zeros(n, np.uint64)
    is_set = {
        name: np.asarray(labels.get(name, np.zeros(n))) != 0 for name in ("REF", "IMA", "REV", "NAV", "NOISE", *USER)
    }
    flags[is_set["REF"] & ~is_set["IMA"]] |= REF
    flags[is_set["REF"] & is_set["IMA"]] |= REF_AND_IMA
    flags[is_set["IMA"] & ~is_set["REF"]] |= IMA_ALONE
    for name, bit in (("REV", REV), ("NAV", PHASECORR), ("NOISE", NOISE), *USER.items()):
        flags[is_set[name]] |= bit
    return flags


def labels_from_heads(heads: Heads, *, is_ours: bool) -> dict[str, NDArray[np.int32]]:
    """Every counter, and the flags that occur."""
    flags = heads["flags"].astype(np.uint64)
    labels = {name: heads["idx"][INDEX[name]].astype(np.int32) for name in COUNTERS}
    bits = {"REF": REF | REF_AND_IMA, "IMA": REF_AND_IMA, "REV": REV, "NAV": NAVIGATION | PHASECORR, "NOISE": NOISE}
    if is_ours:  # user flags of others mean other things
        bits |= USER | {"IMA": REF_AND_IMA | IMA_ALONE}
    for name, bit in bits.items():
        value = ((flags & bit) != 0).astype(np.int32)
        if value.any():
            labels[name] = value
    return labels


def set_counters_(heads: Heads, labels: Labels) -> None:
    for name in COUNTERS:
        value = np.asarray(labels.get(name, np.zeros(len(heads), np.int32)))
        wrong = ~((value >= 0) & (value <= 65535))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InputError(f"label {name} of readout {i} is {value[i]}; MRD counts from 0 to 65535")
        heads["idx"][INDEX[name]] = value


def set_geometry_(heads: Heads, header: Header | None) -> None:
    """Directions, and the centre of slice or slab in mm: MRD's patient axes are DICOM's, as ours."""
    said = header if header is not None else Header(matrix=(1, 1, 1), fov=(1.0, 1.0, 1.0))
    for name, row in zip(("read_dir", "phase_dir", "slice_dir"), said.directions, strict=True):
        heads[name] = row
    position = np.array([said.position], float)
    if said.slice_positions:
        position = np.array(said.slice_positions, float)
    i_slice = np.minimum(heads["idx"]["slice"], len(position) - 1)
    heads["position"] = position[i_slice] * 1e3


def set_first_and_last_(heads: Heads) -> None:
    """The loop flags of imaging readouts, as consumers that reconstruct on a trigger expect them."""
    imaging = np.flatnonzero((heads["flags"] & (NOISE | REF | PHASECORR)) == 0)
    if not len(imaging):
        return
    idx = heads["idx"][imaging]
    loop = np.stack([idx[INDEX[n]] for n in ("REP", "SLC", "ECO", "PHS", "SET", "AVG", "PAR")], axis=1).astype(np.int64)
    for name, n_columns in (("REP", 1), ("SLC", 2), ("STEP2", 6), ("STEP1", 7)):
        key = np.unique(loop[:, :n_columns], axis=0, return_inverse=True)[1].ravel()
        first = np.unique(key, return_index=True)[1]
        last = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
        heads["flags"][imaging[first]] |= _flag(FIRST_LAST[name])
        heads["flags"][imaging[last]] |= _flag(FIRST_LAST[name] + 1)
    heads["flags"][imaging[-1]] |= LAST_IN_MEASUREMENT


def straight_lines(
    k: NDArray[np.float32], n_samples: NDArray[np.int32], tolerance: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(readout, 6) first k and step per sample, 1/m, and where they describe k within `tolerance` 1/m (NaN: not)."""
    rows = np.arange(len(k))
    last = np.maximum(n_samples - 1, 0)
    start = k[:, 0].astype(np.float64) if k.shape[1] else np.zeros((len(k), 3))
    end = k[rows, last].astype(np.float64) if k.shape[1] else start
    step = (end - start) / np.maximum(last, 1)[:, None]
    lines = np.concatenate((start, step), axis=1).astype(np.float32)
    error = np.abs(k_of_lines(lines, n_samples, k.shape[1]) - k)
    return lines, np.max(error, axis=(1, 2), initial=0.0) <= tolerance


def k_of_lines(lines: NDArray[np.float32], n_samples: NDArray[np.int32], n_most: int) -> NDArray[np.float32]:
    """(readout, sample, 3) 1/m, 0 in the padding."""
    sample = np.arange(n_most, dtype=np.float64)
    k = np.empty((len(lines), n_most, 3), np.float32)
    for begin in range(0, len(lines), 1024):  # in pieces: the float64 between would be twice the result
        part = lines[begin : begin + 1024].astype(np.float64)
        k[begin : begin + 1024] = part[:, None, :3] + sample[None, :, None] * part[:, None, 3:6]
    k[np.arange(n_most)[None, :] >= np.asarray(n_samples)[:, None]] = 0
    return k


def exact(value: NDArray[np.float64]) -> NDArray[np.int32]:
    """(n, 2) words of float64 values."""
    return np.ascontiguousarray(value, "<f8").view("<i4").reshape(-1, 2)


def from_exact(words: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.ascontiguousarray(words, "<i4").view("<f8").reshape(-1).astype(np.float64)
