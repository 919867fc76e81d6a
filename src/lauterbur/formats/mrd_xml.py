"""Reads the XML header of an MRD file: guarded against growth, every number checked, what is missing derived and noted."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from lauterbur.errors import FileFormatError, InputError
from lauterbur.formats.mrd_header import LARGEST_XML, LIMITS, TRAJECTORIES, MrdHeader, header_to_xml
from lauterbur.rawdata import Header, header_from_json
from lauterbur.units import GAMMA_BAR, deg, mm, ms

_DEEPEST = 32  # levels; the schema nests 6
_MOST_ELEMENTS = 200_000


def header_from_xml(text: bytes, path: object) -> MrdHeader:
    """What the XML of the file at `path` says. Missing elements are derived where they can be, and noted."""
    root = _parse(text, path)
    return _Reader(path).read(root)


class _Bounded(ET.TreeBuilder):
    """Builds a tree of modest depth and size, without document type: no entities, so no billion laughs."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = self.count = 0

    def start(self, tag: Any, attrs: Any) -> Any:
        self.depth += 1
        self.count += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"elements nested deeper than {_DEEPEST} levels")
        if self.count > _MOST_ELEMENTS:
            raise ValueError(f"more than {_MOST_ELEMENTS} elements")
        return super().start(tag.rpartition("}")[2], attrs)

    def end(self, tag: Any) -> Any:
        self.depth -= 1
        return super().end(tag.rpartition("}")[2])

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type declaration (DTD) or entities; an MRD header has none")


def _parse(text: bytes, path: object) -> ET.Element:
    if len(text) > LARGEST_XML:
        raise FileFormatError(path, "XML header", f"{len(text)} bytes; at most {LARGEST_XML} are read")
    try:
        parser = ET.XMLParser(target=_Bounded())
        parser.feed(text)
        root = parser.close()
    except (ET.ParseError, ValueError, LookupError) as problem:
        raise FileFormatError(path, "XML header", f"not readable as XML: {problem}") from None
    if root is None or root.tag != "ismrmrdHeader":
        raise FileFormatError(path, "XML header", f"root element is {getattr(root, 'tag', None)!r}, not ismrmrdHeader")
    return root


class _Reader:
    """Pulls numbers out of the tree, naming the element when one is not usable."""

    def __init__(self, path: object):
        self.path = path
        self.notes: list[str] = []

    def read(self, root: ET.Element) -> MrdHeader:
        encodings = root.findall("encoding")
        if not encodings:
            raise FileFormatError(self.path, "XML header", "element <encoding> is missing; matrix and FOV are unknown")
        if len(encodings) > 1:
            self.notes.append(f"{len(encodings)} encodings; the first is used")
        encoding = encodings[0]

        encoded_matrix, encoded_fov = self.space(encoding, "encodedSpace")
        if encoding.find("reconSpace") is None:
            self.notes.append("reconSpace missing; taken from encodedSpace")
            matrix, fov = encoded_matrix, encoded_fov
        else:
            matrix, fov = self.space(encoding, "reconSpace")
        encoded_fov, fov = self.in_millimetres(encoded_matrix, encoded_fov, fov)
        limits = self.limits(encoding)
        is_3d = encoded_matrix[2] > 1 or limits.get("PAR", (0, 0, 0))[1] > 0

        strings = {
            (e.findtext("name") or "").strip(): (e.findtext("value") or "") for e in root.iter("userParameterString")
        }
        doubles = [e for e in root.iter("userParameterDouble") if e.findtext("name") == "SliceThickness_mm"]
        thickness = self.number(doubles[0], "value") if doubles else None
        acceleration = encoding.find("parallelImaging/accelerationFactor")
        field_strength = self.number(root, "acquisitionSystemInformation/systemFieldStrength_T")
        larmor = self.number(root, "experimentalConditions/H1resonanceFrequency_Hz")
        n_slices = limits["SLC"][1] + 1 if "SLC" in limits else 1
        header = Header(
            matrix=matrix if is_3d else (matrix[0], matrix[1], n_slices),
            fov=(fov[0] * mm, fov[1] * mm, fov[2] * mm * (1 if is_3d else n_slices)),
            encoded_matrix=encoded_matrix if is_3d else (*encoded_matrix[:2], n_slices),
            encoded_fov=(encoded_fov[0] * mm, encoded_fov[1] * mm, encoded_fov[2] * mm * (1 if is_3d else n_slices)),
            slice_thickness=thickness * mm if thickness else None if is_3d else fov[2] * mm,
            trajectory=TRAJECTORIES.get((encoding.findtext("trajectory") or "").strip(), "other"),
            dimensions=3 if is_3d else 2,
            te=tuple(x * ms for x in self.numbers(root, "sequenceParameters/TE")),
            tr=self.first(root, "sequenceParameters/TR", ms),
            ti=self.first(root, "sequenceParameters/TI", ms),
            flip_angle=self.first(root, "sequenceParameters/flipAngle_deg", deg),
            echo_spacing=self.first(root, "sequenceParameters/echo_spacing", ms),
            acceleration=(
                self.count(acceleration, "kspace_encoding_step_1", default=1),
                self.count(acceleration, "kspace_encoding_step_2", default=1),
            ),
            field_strength=field_strength or (larmor / GAMMA_BAR if larmor else None),
            larmor_frequency=larmor or None,
            protocol=(root.findtext("measurementInformation/protocolName") or "").strip(),
            contrast=(root.findtext("sequenceParameters/sequence_type") or "").strip(),
            patient=(root.findtext("subjectInformation/patientName") or "").strip(),
        )

        vendor = (root.findtext("acquisitionSystemInformation/systemVendor") or "").strip()
        ours = strings.get("LauterburHeader")
        believed = header if ours is None else self.believed(ours, header, limits)
        return MrdHeader(
            header=believed,
            encoded_matrix=encoded_matrix,
            encoded_fov=(encoded_fov[0] * mm, encoded_fov[1] * mm, encoded_fov[2] * mm),
            limits=limits,
            vendor=vendor,
            ours=believed if believed is not header else None,
            is_ours=ours is not None,
            notes=tuple(self.notes),
        )

    def believed(self, ours: str, standard: Header, limits: Mapping[str, tuple[int, int, int]]) -> Header | None:
        """The header we wrote, if writing it again gives the same standard elements."""
        if ours.strip() == "none":
            return None
        try:
            written = header_from_json(ours)
            again = header_to_xml(written, n_rx=1, limits=limits)
        except InputError as problem:
            raise FileFormatError(self.path, "XML header, LauterburHeader", str(problem)) from None
        if _Reader(self.path).read_plain(again) == standard:
            return written
        self.notes.append("the standard elements were changed after writing; they are used, LauterburHeader is not")
        return standard

    def read_plain(self, text: bytes) -> Header:
        root = _parse(text, self.path)
        for user in root.findall("userParameters/userParameterString"):
            root.find("userParameters").remove(user)  # type: ignore[union-attr]
        header = self.read(root).header
        assert header is not None
        return header

    def in_millimetres(
        self, matrix: tuple[int, int, int], encoded: tuple[float, float, float], fov: tuple[float, float, float]
    ) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Some writers (KomaMRI 0.6-0.7) give metres: pixels of 2 micrometres are told from 2 mm without doubt."""
        pixels = [length / count for length, count in zip(encoded[:2], matrix[:2], strict=True)]
        if not (max(encoded[:2]) < 3 and max(pixels) < 0.02):  # whole-body scanners resolve no 20 micrometres
            return encoded, fov
        self.notes.append(
            f"field of view {encoded[0]:g} x {encoded[1]:g} mm would mean pixels of {pixels[0] * 1000:.3g} micrometres; "
            "taken as metres"
        )

        def scaled(view: tuple[float, float, float], count: int) -> tuple[float, float, float]:
            # One voxel "1 m" thick is a writer's placeholder: kept as 1 mm.
            return view[0] * 1000, view[1] * 1000, view[2] * (1000 if count > 1 or view[2] < 0.5 else 1)

        return scaled(encoded, matrix[2]), scaled(fov, matrix[2])

    def space(self, encoding: ET.Element, name: str) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
        space = encoding.find(name)
        if space is None:
            raise FileFormatError(self.path, "XML header", f"element <{name}> is missing")
        matrix = [self.count(space, f"matrixSize/{axis}") for axis in "xyz"]
        fov = [self.number(space, f"fieldOfView_mm/{axis}") for axis in "xyz"]
        for axis, count, length in zip("xyz", matrix, fov, strict=True):
            if not 1 <= count <= 65535:
                raise FileFormatError(self.path, f"{name}/matrixSize/{axis}", f"{count}; expected 1 to 65535")
            if length is None or not 0 < length <= 1e5:
                raise FileFormatError(
                    self.path, f"{name}/fieldOfView_mm/{axis}", f"{length}; expected a positive number of mm, below 1e5"
                )
        return (matrix[0], matrix[1], matrix[2]), (fov[0] or 0.0, fov[1] or 0.0, fov[2] or 0.0)

    def limits(self, encoding: ET.Element) -> dict[str, tuple[int, int, int]]:
        found = {}
        for name, element in LIMITS.items():
            bound = encoding.find(f"encodingLimits/{element}")
            if bound is None:
                continue
            low, high, centre = (self.count(bound, key, default=0) for key in ("minimum", "maximum", "center"))
            if not (0 <= low <= high <= 65535 and 0 <= centre <= 65535):
                raise FileFormatError(
                    self.path,
                    f"encodingLimits/{element}",
                    f"minimum {low}, maximum {high}, center {centre}; expected 0 <= minimum <= maximum <= 65535",
                )
            found[name] = (low, high, centre)
        return found

    def first(self, root: ET.Element, path: str, unit: float) -> float | None:
        values = self.numbers(root, path)
        return values[0] * unit if values else None

    def numbers(self, root: ET.Element, path: str) -> list[float]:
        return [self.value(e.text, path) for e in root.findall(path)[:4096]]

    def number(self, root: ET.Element | None, path: str) -> float | None:
        text = None if root is None else root.findtext(path)
        return None if text is None or not text.strip() else self.value(text, path)

    def value(self, text: str | None, path: str) -> float:
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not abs(value) <= 1e15:
            raise FileFormatError(self.path, f"XML header, {path}", f"{(text or '')[:40]!r}; expected a finite number")
        return value

    def count(self, root: ET.Element | None, path: str, *, default: int | None = None) -> int:
        value = self.number(root, path)
        if value is None:
            if default is None:
                raise FileFormatError(self.path, "XML header", f"element <{path}> is missing")
            return default
        if value != round(value):
            raise FileFormatError(self.path, f"XML header, {path}", f"{value:g}; expected a whole number")
        return int(value)
