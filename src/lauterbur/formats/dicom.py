"""DICOM images: `write_dicom` makes one MR Image Storage file per slice and frame, which every viewer reads.

Nothing in the files depends on a clock or a random number: unique identifiers are 2.25.<128 bits of a content hash>
(PS3.5 annex B.2), dates are empty, as their type 2 allows. What was computed says so: ImageType DERIVED and SIMULATED, the derivation
description, and the whole provenance as JSON in ImageComments. Our patient axes are DICOM's; metres become mm here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from lauterbur.errors import InputError
from lauterbur.findings import Finding
from lauterbur.formats.atomic import replacing
from lauterbur.image import Image, without_timings
from lauterbur.rawdata import Header
from lauterbur.units import MHz, deg, mm, ms

_LARGEST = 32767  # stored value of the brightest pixel: also right for readers that take 16 bits as signed
_LONGEST_TEXT = 10240  # characters of a long text (LT)
_IMPLEMENTATION = UID("2.25." + str(int.from_bytes(hashlib.sha256(b"lauterbur").digest()[:16])))
# What a contrast is in DICOM's terms: scanning sequence (0018,0020), variants (0018,0021).
_SEQUENCES = {
    "GRE": ("GR", "SP"),
    "MPRAGE": (["GR", "IR"], ["SP", "MP"]),
    "TSE": ("SE", "SK"),
    "FLAIR": (["SE", "IR"], ["SK", "MP"]),
    "BSSFP": ("GR", "SS"),
    "EPI": (["GR", "EP"], "SK"),
}


@dataclass(frozen=True)
class _Geometry:
    """Where slices lie, in DICOM's words."""

    orientation: list[float]  # along a row of pixels, then down a column
    spacing: list[float]  # mm, between rows, then between columns
    step: float  # mm, between slices
    first: NDArray[np.float64]  # mm, centre of the first pixel of slice 0
    along: NDArray[np.float64]  # mm, from one slice to the next


def write_dicom(
    image: Image,
    folder: str | os.PathLike[str],
    *,
    header: Header | None = None,
    findings: Iterable[Finding] = (),
    patient: str = "",
    study: str | None = None,
    series_number: int = 1,
) -> list[Path]:
    """Magnitude images `IM0001.dcm` ... in `folder`; their paths, slice by slice within frame by frame.

    `header`: what the image itself does not know (protocol, thickness, bandwidth). `findings`: of the safety gate, for
    SAR and dB/dt. `study`: images given the same text and patient share one study; None: each is a study of its own.
    """
    pixels = np.abs(np.asarray(image.pixels))
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise InputError(f"{folder}: pixels of shape {pixels.shape}; expected (frame, z, y, x)")
    if max(pixels.shape[2:]) > 65535:
        raise InputError(f"{folder}: slices of {pixels.shape[2:]} pixels; DICOM holds at most 65535 rows and columns")
    if not np.isfinite(pixels).all():
        raise InputError(f"{folder}: pixels that are not finite cannot be stored as 16-bit numbers")
    geometry = _geometry(image.affine, folder)
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{target}: cannot be created ({problem.strerror})") from None

    top = float(pixels.max())
    slope = _ds(top / _LARGEST if top > 0 else 1.0)
    stored = np.round(pixels / float(slope)).clip(0, 65535).astype("<u2")
    name = patient or (header.patient if header else "") or "Lauterbur"
    content = _digest(
        stored.tobytes(), np.asarray(image.affine, "<f8").tobytes(), _provenance(image).encode(), name.encode()
    )
    common = _common(image, header, list(findings), name, geometry)
    common.StudyInstanceUID = _uid("study", name, study if study is not None else content)
    common.SeriesInstanceUID = _uid("series", str(series_number), common.StudyInstanceUID, content)
    common.FrameOfReferenceUID = _uid("frame of reference", common.StudyInstanceUID)
    common.StudyID = _short(study or "1", 16)
    common.SeriesNumber = series_number
    common.RescaleIntercept, common.RescaleSlope, common.RescaleType = _ds(0.0), slope, "US"
    bright = np.percentile(stored[:, :: max(1, stored.shape[1] // 16)], 99.5)
    common.WindowCenter, common.WindowWidth = _ds(bright / 2 * slope), _ds(max(float(bright * slope), 1e-6))

    paths = []
    n_frames, n_slices = stored.shape[:2]
    for frame in range(n_frames):
        for i_slice in range(n_slices):
            number = frame * n_slices + i_slice + 1
            path = target / f"IM{number:04d}.dcm"
            _write_slice(path, common, image, geometry, stored[frame, i_slice], frame, i_slice, number)
            paths.append(path)
    return paths


def _write_slice(
    path: Path,
    common: Dataset,
    image: Image,
    geometry: _Geometry,
    plane: NDArray[np.uint16],
    frame: int,
    i_slice: int,
    number: int,
) -> None:
    uid = _uid("instance", common.SeriesInstanceUID, str(number))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = _IMPLEMENTATION, "LAUTERBUR"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.update(common)
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, uid
    dataset.InstanceNumber = number
    dataset.AcquisitionNumber = 1

    n_frames = image.pixels.shape[0]
    is_echo = len(image.te) == n_frames
    dataset.EchoTime = _ds(image.te[frame if is_echo else 0] / ms) if image.te else None
    dataset.EchoNumbers = frame + 1 if is_echo else 1
    if n_frames > 1 and not is_echo:
        dataset.TemporalPositionIdentifier, dataset.NumberOfTemporalPositions = frame + 1, n_frames
    position = geometry.first + i_slice * geometry.along
    dataset.ImagePositionPatient = [_ds(x) for x in position]
    normal = np.cross(geometry.orientation[:3], geometry.orientation[3:])
    dataset.SliceLocation = _ds(float(position @ normal))

    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = plane.tobytes()
    dataset["PixelData"].VR = "OW"
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _common(image: Image, header: Header | None, findings: list[Finding], name: str, geometry: _Geometry) -> Dataset:
    """What every file of the series says."""
    from lauterbur import __version__

    source = str(image.provenance.get("source") or (header.provenance.get("source") if header else "") or "twin")
    is_simulated = source == "twin"
    said = Dataset()
    said.SpecificCharacterSet = "ISO_IR 192"
    said.ImageType = ["DERIVED", "PRIMARY", "OTHER", "SIMULATED"] if is_simulated else ["ORIGINAL", "PRIMARY", "OTHER"]
    said.Modality = "MR"
    said.Manufacturer = "Lauterbur (simulated)" if is_simulated else "Lauterbur"
    said.ManufacturerModelName = "digital twin" if is_simulated else source[:64]
    said.SoftwareVersions = __version__
    said.StudyDate = said.StudyTime = said.AccessionNumber = said.ReferringPhysicianName = ""
    said.PatientName, said.PatientID = _person(name), _short(name, 64)
    said.PatientBirthDate = said.PatientSex = ""
    said.PatientPosition = "HFS"
    said.PositionReferenceIndicator = ""
    said.Laterality = ""  # of a paired body part; which part was scanned is not known here
    said.BurnedInAnnotation, said.LossyImageCompression = "NO", "00"
    if is_simulated:
        said.DerivationDescription = "computed by simulation of an MRI scanner (Lauterbur); no patient was measured"
    comment = ("SIMULATED, not acquired from a patient. " if is_simulated else "") + "Provenance: " + _provenance(image)
    said.ImageComments = _short(comment, _LONGEST_TEXT)

    protocol, contrast = (header.protocol, header.contrast) if header else ("", "")
    said.ProtocolName = said.SeriesDescription = _short(protocol or contrast or "MR", 64)
    said.ScanningSequence, said.SequenceVariant = _SEQUENCES.get(contrast.upper(), ("RM", "NONE"))
    said.ScanOptions = ""
    said.SequenceName = _short(contrast, 16)
    said.MRAcquisitionType = "2D" if header is not None and header.dimensions == 2 else "3D"
    thickness = header.slice_thickness if header and header.slice_thickness else geometry.step * mm
    said.SliceThickness, said.SpacingBetweenSlices = _ds(thickness / mm), _ds(geometry.step)
    said.ImageOrientationPatient = [_ds(x) for x in geometry.orientation]
    said.PixelSpacing = [_ds(x) for x in geometry.spacing]

    def number(key: str, value: float | None, unit: float) -> None:
        if value is not None:
            setattr(said, key, _ds(value / unit))

    number("RepetitionTime", image.tr if image.tr is not None else header.tr if header else None, ms)
    number("InversionTime", image.ti if image.ti is not None else header.ti if header else None, ms)
    number(
        "FlipAngle", image.flip_angle if image.flip_angle is not None else header.flip_angle if header else None, deg
    )
    number("MagneticFieldStrength", image.field_strength or (header.field_strength if header else None), 1.0)
    if "RepetitionTime" not in said:
        said.RepetitionTime = None
    said.EchoTrainLength = None
    if header is not None:
        number("ImagingFrequency", header.larmor_frequency, MHz)
        number("PixelBandwidth", header.bandwidth, 1.0)
        said.NumberOfPhaseEncodingSteps = (header.encoded_matrix or header.matrix)[1]
        if header.coils:
            said.ReceiveCoilName = _short(header.coils, 16)
    said.ImagedNucleus, said.NumberOfAverages = "1H", _ds(1)
    _set_exposure_(said, findings)
    return said


def _set_exposure_(said: Dataset, findings: list[Finding]) -> None:
    """Whole-body SAR in W/kg and the largest dB/dt in T/s, where the gate found them."""
    sar = [
        f.value
        for f in findings
        if "SAR" in f.quantity and "body" in f.quantity and f.unit == "W/kg" and "partial" not in f.quantity
    ]
    if sar and np.isfinite(np.max(sar)):
        said.SAR = _ds(float(np.max(sar)))
    slew = [f.value for f in findings if f.unit == "T/s"]
    if slew and np.isfinite(np.max(slew)):
        said.dBdt = _ds(float(np.max(slew)))


def _geometry(affine: NDArray[np.float64], folder: object) -> _Geometry:
    matrix = np.asarray(affine, float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InputError(f"{folder}: an image needs a finite affine of shape (4, 4)")
    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.all(steps > 0):
        raise InputError(f"{folder}: voxel steps {steps} m; expected three lengths above zero")
    axes = matrix[:3, :3] / steps
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
        raise InputError(f"{folder}: the axes of the image are not at right angles; DICOM cannot place sheared slices")
    return _Geometry(
        orientation=[*axes[:, 0], *axes[:, 1]],
        spacing=[float(steps[1]) / mm, float(steps[0]) / mm],
        step=float(steps[2]) / mm,
        first=matrix[:3, 3] / mm,
        along=matrix[:3, 2] / mm,
    )


def _provenance(image: Image) -> str:
    return json.dumps(without_timings(image.provenance), sort_keys=True, default=str)


def _ds(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)


def _short(text: str, n: int) -> str:
    return "".join(c if c.isprintable() else " " for c in text).replace("\\", "/")[:n].strip()


def _person(name: str) -> str:
    """A person's name has parts: FAMILY^GIVEN."""
    plain = _short(name.replace("=", "-"), 63)
    return plain if "^" in plain else plain + "^"


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def _uid(*parts: str) -> UID:
    return UID("2.25." + str(int(_digest(*(p.encode() for p in parts))[:32], 16)))
