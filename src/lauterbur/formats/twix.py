"""Siemens raw data (twix, `.dat`): `read_twix`, through the optional library twixtools.

Cartesian measurements of VB to VE software. The last measurement of a file is the scan; noise measured before it comes along. Geometry as
siemens_to_ismrmrd gives it: the quaternion's columns are phase, readout and slice, so that a file read here and one
converted to MRD lie in the same place. That the signs are right in the patient is unconfirmed: the test object is symmetric.
"""

from __future__ import annotations

import contextlib
import io
import os
import traceback
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError, UnsupportedError
from lauterbur.formats import mrd_acquisition as acquisition
from lauterbur.formats.mrd_geometry import centre_samples, completed, directions_of, k_from_counters
from lauterbur.formats.mrd_header import MrdHeader
from lauterbur.formats.twix_structure import check_structure
from lauterbur.rawdata import Header, RawData
from lauterbur.units import deg, mm

_COUNTERS = {
    "LIN": "Lin",
    "PAR": "Par",
    "SLC": "Sli",
    "ECO": "Eco",
    "REP": "Rep",
    "PHS": "Phs",
    "SET": "Set",
    "SEG": "Seg",
    "AVG": "Ave",
}
_FLAGS = {
    "PATREFSCAN": acquisition.REF,
    "PATREFANDIMASCAN": acquisition.REF_AND_IMA,
    "REFLECT": acquisition.REV,
    "PHASCOR": acquisition.PHASECORR,
    "NOISEADJSCAN": acquisition.NOISE,
}
_NOT_IMAGE = (
    "ACQEND",
    "SYNCDATA",
    "RTFEEDBACK",
    "HPFEEDBACK",
    "REFPHASESTABSCAN",
    "PHASESTABSCAN",
    "RETRO_DUMMYSCAN",
    "SLICE_ACCEL_REFSCAN",
    "SLICE_ACCEL_PHASCOR",
)


def read_twix(path: str | os.PathLike[str]) -> RawData:
    """Raw data as acquired: oversampled, reflected readouts reversed, reference and phase-correction lines flagged."""
    try:
        import twixtools
    except ImportError:
        raise InputError(
            f"{path}: reading Siemens raw data needs the library twixtools: pip install 'lauterbur[twix]'"
        ) from None
    check_structure(path)
    try:
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):  # the library prints its warnings
            scans = twixtools.read_twix(
                os.fspath(path), parse_pmu=False, parse_geometry=False, verbose=False, keep_syncdata=False
            )
            return _raw(scans, path)
    except (InputError, MemoryError):
        raise
    except Exception as problem:  # a foreign library on a foreign file may raise anything
        with warnings.catch_warnings():  # and leaves its file open, in the frames of its error
            warnings.simplefilter("ignore", ResourceWarning)
            traceback.clear_frames(problem.__traceback__)
        raise FileFormatError(
            path, "", f"cannot be understood: {type(problem).__name__}: {str(problem)[:200]}"
        ) from None


def _raw(scans: list[dict[str, Any]], path: object) -> RawData:
    protocol = _Protocol(scans[-1].get("hdr", {}), path)
    notes = [f"measurement {len(scans)} of {len(scans)}"] if len(scans) > 1 else []
    blocks = [b for b in scans[-1]["mdb"] if not any(b.is_flag_set(f) for f in _NOT_IMAGE)]
    if len(blocks) < len(scans[-1]["mdb"]):
        notes.append(f"{len(scans[-1]['mdb']) - len(blocks)} acquisitions without image data left out")
    imaging = [b for b in blocks if not b.is_flag_set("NOISEADJSCAN")]
    if not imaging:
        raise FileFormatError(path, "", "no acquisition holds image data")
    shapes = {int(b.mdh.UsedChannels) for b in imaging}
    if len(shapes) > 1:
        raise UnsupportedError(f"{path}: acquisitions of {min(shapes)} and {max(shapes)} channels; one array is read")
    n_rx = shapes.pop()
    noise_blocks = [b for s in scans for b in s["mdb"] if b.is_flag_set("NOISEADJSCAN") and b.mdh.UsedChannels == n_rx]

    heads = _heads(imaging)
    dwell = protocol.dwell(heads["idx"]["contrast"])
    heads["sample_time_us"] = dwell * 1e6
    mrd = protocol.header(heads, imaging[0])
    n_samples = heads["number_of_samples"].astype(np.int32) - heads["discard_pre"] - heads["discard_post"]
    if not np.all(n_samples >= 1):
        raise FileFormatError(path, f"acquisition {int(np.argmin(n_samples))}", "CutOff leaves no sample")
    samples = np.zeros((len(imaging), n_rx, int(n_samples.max())), np.complex64)
    for i, (block, pre, n) in enumerate(zip(imaging, heads["discard_pre"], n_samples, strict=True)):
        samples[i, :, :n] = block.data[:, pre : pre + n]
    if not np.isfinite(samples).all():
        raise FileFormatError(path, "", "samples that are not finite")
    noise = np.concatenate([b.data for b in noise_blocks], axis=1) if noise_blocks else None

    directions = directions_of(heads, notes)
    k = k_from_counters(heads, mrd, n_samples, directions)
    if not np.isfinite(k).all():
        raise FileFormatError(path, "", "k-space positions that are not finite")
    assert mrd.header is not None
    header = completed(mrd.header, heads, dwell, notes)
    stamps = heads["acquisition_time_stamp"].astype(np.int64)
    return RawData(
        samples=samples,
        n_samples=n_samples,
        k=k,
        time=(stamps - stamps[0]) * acquisition.TICK,
        dwell=dwell,
        center_sample=centre_samples(heads, k, n_samples, is_ours=False),
        labels=acquisition.labels_from_heads(heads, is_ours=False),
        header=replace(header, provenance={"source": "replay", "vendor": "SIEMENS", "notes": notes}),
        noise=noise,
        noise_dwell=None,
    )


def _heads(blocks: list[Any]) -> acquisition.Heads:
    """MDHs as MRD heads: the same numbers under MRD's names."""
    heads = np.zeros(len(blocks), acquisition.HEADER)
    for i, block in enumerate(blocks):
        mdh, head = block.mdh, heads[i]
        head["number_of_samples"], head["active_channels"] = mdh.SamplesInScan, mdh.UsedChannels
        head["discard_pre"], head["discard_post"] = mdh.CutOff.Pre, mdh.CutOff.Post
        head["center_sample"], head["acquisition_time_stamp"] = mdh.CenterCol, mdh.TimeStamp
        for ours, theirs in _COUNTERS.items():
            head["idx"][acquisition.INDEX[ours]] = getattr(mdh.Counter, theirs)
        for name, bit in _FLAGS.items():
            if block.is_flag_set(name):
                head["flags"] |= bit
        place = mdh.SliceData.SlicePos
        head["position"] = (place.Sag, place.Cor, place.Tra)
        phase, read, normal = _rotation(np.array(mdh.SliceData.Quaternion, float)).T
        head["phase_dir"], head["read_dir"], head["slice_dir"] = phase, read, normal
    if not np.isfinite(heads["position"]).all():
        raise ValueError("a slice position that is not finite")
    return heads


def _rotation(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(w, x, y, z) to a rotation matrix; Shoemake, SIGGRAPH 1985."""
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1) < 1e-2:
        raise ValueError(f"slice quaternion of length {length:.3g}; expected 1")
    w, x, y, z = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


class _Protocol:
    """The numbers of the protocol that tell where samples lie."""

    def __init__(self, parts: dict[str, Any], path: object):
        self.path = path
        self.parts = {name: parts.get(name) or {} for name in ("MeasYaps", "Dicom", "Meas")}
        if not self.parts["MeasYaps"]:
            raise FileFormatError(path, "protocol", "MeasYaps is missing")

    def header(self, heads: acquisition.Heads, block: Any) -> MrdHeader:
        trajectory = self.number("MeasYaps", "sKSpace", "ucTrajectory", default=1)
        if trajectory != 1:
            raise UnsupportedError(
                f"{self.path}: trajectory {trajectory:g}; only Cartesian files (1) tell where samples lie"
            )
        is_3d = self.number("MeasYaps", "sKSpace", "ucDimension", default=2) == 4
        oversampling = self.number("Dicom", "flReadoutOSFactor", default=2.0)
        slices = ("MeasYaps", "sSliceArray", "asSlice", 0)
        read_fov, phase_fov, thickness = (
            self.number(*slices, name, least=1e-3, most=1e4) * mm for name in ("dReadoutFOV", "dPhaseFOV", "dThickness")
        )
        base = self.count("MeasYaps", "sKSpace", "lBaseResolution")
        lines = self.count("MeasYaps", "sKSpace", "lPhaseEncodingLines")
        partitions = self.count("MeasYaps", "sKSpace", "lPartitions") if is_3d else 1
        images = self.count("MeasYaps", "sKSpace", "lImagesPerSlab", default=partitions) if is_3d else 1
        n_slices = 1 if is_3d else int(heads["idx"]["slice"].max()) + 1
        phase_os = 1 + self.number("Dicom", "flPhaseOS", default=0.0, least=0, most=10)
        slice_os = 1 + self.number("Dicom", "flSliceOS", default=0.0, least=0, most=10)

        columns = round(base * oversampling)
        encoded_matrix = (columns, lines, partitions)
        encoded_fov = (read_fov * oversampling, phase_fov * phase_os, thickness * (slice_os if is_3d else 1))
        header = Header(
            matrix=(base, max(1, round(base * phase_fov / read_fov)), images if is_3d else n_slices),
            fov=(read_fov, phase_fov, thickness if is_3d else thickness * n_slices),
            encoded_matrix=(columns, lines, partitions if is_3d else n_slices),
            encoded_fov=(*encoded_fov[:2], encoded_fov[2] if is_3d else thickness * n_slices),
            slice_thickness=thickness / images if is_3d else thickness,
            trajectory="cartesian",
            dimensions=3 if is_3d else 2,
            te=tuple(te * 1e-6 for te in self.numbers("alTE")[: int(heads["idx"]["contrast"].max()) + 1]),
            tr=next((tr * 1e-6 for tr in self.numbers("alTR")), None),
            flip_angle=next((angle * deg for angle in self.numbers("adFlipAngleDegree")), None),
            acceleration=(
                self.count("MeasYaps", "sPat", "lAccelFactPE", default=1),
                self.count("MeasYaps", "sPat", "lAccelFact3D", default=1),
            ),
            field_strength=self.number("Dicom", "flMagneticFieldStrength", default=0.0) or None,
            larmor_frequency=self.number("Dicom", "lFrequency", default=0.0) or None,
            protocol=str(self.parts["MeasYaps"].get("tProtocolName", ""))[:64],
        )
        centre = {"LIN": int(block.mdh.CenterLin), "PAR": int(block.mdh.CenterPar)}
        limits = {name: (0, 0, value) for name, value in centre.items()}
        return MrdHeader(header, encoded_matrix, encoded_fov, limits, "SIEMENS")

    def dwell(self, contrast: NDArray[np.uint16]) -> NDArray[np.float64]:
        """(readout,) s: of oversampled samples, per contrast."""
        stated = self.parts["MeasYaps"].get("sRXSPEC", {}).get("alDwellTime", [])
        values = np.array([v for v in stated if isinstance(v, int | float) and 0 < v < 1e9], float) * 1e-9
        if not len(values):
            raise FileFormatError(self.path, "protocol, sRXSPEC.alDwellTime", "no dwell time")
        return values[np.minimum(contrast, len(values) - 1)]

    def numbers(self, name: str) -> list[float]:
        value = self.parts["MeasYaps"].get(name, [])
        return (
            [float(v) for v in value if isinstance(v, int | float) and 0 <= v < 1e10] if isinstance(value, list) else []
        )

    def number(self, *keys: str | int, default: float | None = None, least: float = 0.0, most: float = 1e12) -> float:
        found: Any = self.parts
        try:
            for key in keys:
                found = found[key]
            value = float(found)
        except (KeyError, IndexError, TypeError, ValueError):
            if default is not None:
                return default
            raise FileFormatError(
                self.path, f"protocol, {'.'.join(map(str, keys[1:]))}", "missing or no number"
            ) from None
        if not least <= value <= most:
            raise FileFormatError(
                self.path, f"protocol, {'.'.join(map(str, keys[1:]))}", f"{value:g}; expected {least:g} to {most:g}"
            )
        return value

    def count(self, *keys: str | int, default: int | None = None) -> int:
        return round(self.number(*keys, default=default, least=1, most=65535))
