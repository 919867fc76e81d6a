"""The XML header of an MRD (ISMRMRD) file, to and from our Header: millimetres, milliseconds and degrees stop here.

Layout: ismrmrd.xsd of the ISMRMRD project (github.com/ismrmrd/ismrmrd). The whole Header travels too, as JSON in the user parameter
`LauterburHeader`, for what MRD has no place for (provenance, directions, bandwidth); it is believed only as long as
it says the same as the standard elements beside it, so that a header edited elsewhere wins.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

from lauterbur.errors import InputError
from lauterbur.rawdata import Header, header_to_json
from lauterbur.units import GAMMA_BAR, deg, mm, ms

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
LARGEST_XML = 16_000_000  # bytes; headers are some kB, ours with all provenance below 1 MB
TRAJECTORIES = {"cartesian": "cartesian", "epi": "epi", "radial": "radial", "goldenangle": "radial", "spiral": "spiral"}
# Counters of the encoding limits: our name -> the schema's, in the schema's order.
LIMITS = {
    "LIN": "kspace_encoding_step_1",
    "PAR": "kspace_encoding_step_2",
    "AVG": "average",
    "SLC": "slice",
    "ECO": "contrast",
    "PHS": "phase",
    "REP": "repetition",
    "SET": "set",
    "SEG": "segment",
}
SIMULATED = "Lauterbur (simulated)"


@dataclass(frozen=True)
class MrdHeader:
    """What the XML says, in SI."""

    header: Header | None  # None: written from raw data without a header
    encoded_matrix: tuple[int, int, int]
    encoded_fov: tuple[float, float, float]  # m
    limits: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)  # counter -> minimum, maximum, centre
    vendor: str = ""
    ours: Header | None = None  # the header as we wrote it, where it still holds
    is_ours: bool = False  # user_int, user_float and user flags of the acquisitions carry our meanings
    notes: tuple[str, ...] = ()  # what was missing, wrong and set right


def header_to_xml(
    header: Header | None, *, n_rx: int, limits: Mapping[str, tuple[int, int, int]] | None = None
) -> bytes:
    """UTF-8 XML, valid by ismrmrd.xsd; `limits`: counter -> (minimum, maximum, centre)."""
    said = header if header is not None else Header(matrix=(1, 1, 1), fov=(1.0, 1.0, 1.0))
    root = ET.Element("ismrmrdHeader", {"xmlns": NAMESPACE})

    if said.patient:
        _put(root, "subjectInformation/patientName", said.patient)
    measurement = ET.SubElement(root, "measurementInformation")
    _put(measurement, "patientPosition", "HFS")
    if said.protocol:
        _put(measurement, "protocolName", said.protocol)

    system = ET.SubElement(root, "acquisitionSystemInformation")
    is_real = said.provenance.get("source") in ("hardware", "replay")
    _put(system, "systemVendor", "Lauterbur" if is_real else SIMULATED)
    if said.field_strength is not None:
        _put(system, "systemFieldStrength_T", said.field_strength)
    _put(system, "receiverChannels", n_rx)
    larmor = said.larmor_frequency or (said.field_strength or 0.0) * GAMMA_BAR
    _put(root, "experimentalConditions/H1resonanceFrequency_Hz", round(larmor))

    encoding = ET.SubElement(root, "encoding")
    matrix, fov = encoded_space(said)
    _put_space(encoding, "encodedSpace", matrix, fov)
    _put_space(encoding, "reconSpace", *_excited(said, said.matrix, said.fov))
    bounds = ET.SubElement(encoding, "encodingLimits")
    for name, element in LIMITS.items():
        if limits and name in limits:
            bound = ET.SubElement(bounds, element)
            for key, value in zip(("minimum", "maximum", "center"), limits[name], strict=True):
                _put(bound, key, int(value))
    _put(encoding, "trajectory", said.trajectory if said.trajectory in TRAJECTORIES else "other")
    factor = ET.SubElement(ET.SubElement(encoding, "parallelImaging"), "accelerationFactor")
    _put(factor, "kspace_encoding_step_1", said.acceleration[0])
    _put(factor, "kspace_encoding_step_2", said.acceleration[1])

    sequence = ET.SubElement(root, "sequenceParameters")
    timing: tuple[tuple[str, tuple[float | None, ...], float], ...] = (
        ("TR", (said.tr,), ms),
        ("TE", said.te, ms),
        ("TI", (said.ti,), ms),
        ("flipAngle_deg", (said.flip_angle,), deg),
    )
    for name, values, unit in timing:
        for stated in values:
            if stated is not None:
                _put(sequence, name, stated / unit)
    if said.contrast:
        _put(sequence, "sequence_type", said.contrast)
    if said.echo_spacing is not None:
        _put(sequence, "echo_spacing", said.echo_spacing / ms)

    user = ET.SubElement(root, "userParameters")
    if said.slice_thickness is not None:
        _put_user(user, "userParameterDouble", "SliceThickness_mm", said.slice_thickness / mm)
    _put_user(user, "userParameterString", "LauterburHeader", "none" if header is None else header_to_json(said))

    ET.indent(root)
    try:
        return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
    except (TypeError, ValueError) as problem:
        raise InputError(f"the header cannot be written as XML: {problem}") from None


def encoded_space(header: Header) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Encoded matrix and field of view in m, as MRD counts them: of one slice where two axes are encoded."""
    return _excited(header, header.encoded_matrix or header.matrix, header.encoded_fov or header.fov)


def _excited(
    header: Header, matrix: tuple[int, int, int], fov: tuple[float, float, float]
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    if header.dimensions == 3:
        return matrix, fov
    thickness = header.slice_thickness if header.slice_thickness is not None else fov[2] / max(matrix[2], 1)
    return (matrix[0], matrix[1], 1), (fov[0], fov[1], thickness)


def _put(parent: ET.Element, path: str, value: object) -> None:
    for name in path.split("/"):
        parent = ET.SubElement(parent, name)
    parent.text = repr(float(value)) if isinstance(value, float) else str(value)


def _put_space(parent: ET.Element, name: str, matrix: tuple[int, ...], fov: tuple[float, ...]) -> None:
    space = ET.SubElement(parent, name)
    size, view = ET.SubElement(space, "matrixSize"), ET.SubElement(space, "fieldOfView_mm")
    for axis, count, length in zip("xyz", matrix, fov, strict=True):
        _put(size, axis, int(count))
        _put(view, axis, float(length) / mm)


def _put_user(parent: ET.Element, kind: str, name: str, value: object) -> None:
    entry = ET.SubElement(parent, kind)
    _put(entry, "name", name)
    _put(entry, "value", value)
