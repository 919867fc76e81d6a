"""Pulseq sequence files, read into a Program and written from one.

    program = read_program("scan.seq")                          # versions 1.2 to 1.5
    program = read_program("scan.seq", delays={"TE": 0.02})     # with a soft delay set, s
    write_program(program, "out.seq")                           # 1.5; version="1.4.1" for older interpreters

Written from the published format specification (pulseq.github.io). What a reader should know about a file but that is
no reason to refuse it - extensions skipped, a signature that does not match, rasters not given - stands as a sentence
in `program.definitions["LauterburNotes"]`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lauterbur.errors import FileFormatError, InputError, UnsupportedError
from lauterbur.formats.pulseq_adc import read_adc
from lauterbur.formats.pulseq_blocks import read_blocks
from lauterbur.formats.pulseq_events import Version
from lauterbur.formats.pulseq_extensions import read_extensions
from lauterbur.formats.pulseq_gradients import read_gradients
from lauterbur.formats.pulseq_rf import read_rf
from lauterbur.formats.pulseq_shapes import read_shapes
from lauterbur.formats.pulseq_text import MAX_FILE_BYTES, Section, malformed, sections, shown
from lauterbur.formats.pulseq_writer import write_program
from lauterbur.program import Program, Rasters

__all__ = ["read_program", "write_program"]

NOTES = "LauterburNotes"
MAX_DEFINITIONS = 10_000
MAX_PROSE = 2**22  # bytes of [VERSION], [DEFINITIONS] or [SIGNATURE]
_SECTIONS = {"VERSION", "DEFINITIONS", "BLOCKS", "RF", "GRADIENTS", "TRAP", "ADC", "DELAYS", "EXTENSIONS", "SHAPES"}
_RASTERS = {  # definition -> Rasters field; the defaults there are those of the specification
    "RadiofrequencyRasterTime": "rf",
    "GradientRasterTime": "gradient",
    "AdcRasterTime": "adc",
    "BlockDurationRaster": "block",
}


def read_program(path: str | os.PathLike[str], *, delays: Mapping[str, float] | None = None) -> Program:
    """The program in a Pulseq file. `delays` sets soft delays by their hint, s; the others keep the file's durations."""
    name = os.fspath(path)
    data = _bytes(name)
    found = sections(name, data)
    version = _version(name, found.get("VERSION"))
    unknown = sorted(set(found) - _SECTIONS - {"SIGNATURE"})
    if unknown:
        raise UnsupportedError(f"{name}: section [{unknown[0]}] is not part of Pulseq 1.2 to 1.5")
    definitions = _definitions(found.get("DEFINITIONS"))
    notes = _signature_notes(found.get("SIGNATURE"), data)
    rasters = _rasters(found.get("DEFINITIONS"), definitions)
    if version >= (1, 4, 0):
        notes += [f"{key} is not defined: its default is used" for key in _RASTERS if key not in definitions]

    required = definitions.get("RequiredExtensions", "")
    extensions = read_extensions(found.get("EXTENSIONS"), tuple(required.split()) if isinstance(required, str) else ())
    if extensions.skipped:
        notes.append(f"extensions skipped: {', '.join(extensions.skipped)}")
    shapes = read_shapes(found.get("SHAPES"), always_compressed=version < (1, 4, 0))
    rf = read_rf(found.get("RF"), shapes, version, rasters)
    gradients = read_gradients(found.get("GRADIENTS"), found.get("TRAP"), shapes, version, rasters)
    adc = read_adc(found.get("ADC"), shapes, version)
    if "BLOCKS" not in found:
        raise FileFormatError(name, "", "has no [BLOCKS] section, so there is nothing to play")
    legacy_delays = found.get("DELAYS") if version < (1, 4, 0) else None
    blocks = read_blocks(found["BLOCKS"], legacy_delays, rf, gradients, adc, extensions, version, rasters, delays or {})

    if notes:
        definitions[NOTES] = "; ".join(notes)
    return Program(
        blocks=blocks.events,
        durations=blocks.durations,
        rf=rf.pulses,
        gradients=blocks.gradients,
        adc=adc.windows,
        rotations=extensions.rotations,
        shims=extensions.shims,
        triggers=blocks.triggers,
        soft_delays=extensions.soft_delays,
        labels=blocks.labels,
        definitions=definitions,
        rasters=rasters,
    )


def _bytes(name: str) -> bytes:
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError(name, "", "is not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise FileFormatError(name, "", f"has {status.st_size} bytes; a sequence has at most {MAX_FILE_BYTES}")
        return Path(name).read_bytes()
    except OSError as problem:
        raise FileFormatError(name, "", f"cannot be read: {problem.strerror}") from None
    except ValueError:
        raise InputError(f"{name!a} is not the name of a file") from None


def _lines(section: Section) -> list[tuple[int, bytes]]:
    """Lines that say something, with their numbers."""
    if len(section.text) > MAX_PROSE:
        raise malformed(section, None, f"has {len(section.text)} bytes; expected at most {MAX_PROSE}")
    lines = enumerate(section.text.split(b"\n"), section.first_line)
    return [(n, line.strip()) for n, line in lines if line.strip() and not line.lstrip().startswith(b"#")]


def _version(name: str, section: Section | None) -> Version:
    if section is None:
        raise FileFormatError(name, "", "has no [VERSION] section: not a Pulseq file, or not a whole one")
    numbers = {}
    for n, line in _lines(section):
        parts = line.split()
        if len(parts) != 2 or not re.fullmatch(rb"\d{1,4}[A-Za-z]?\w{0,8}", parts[1]):
            raise malformed(section, n, f"{shown(line)} is not 'major', 'minor' or 'revision' and a number")
        numbers[parts[0].lower()] = int(re.match(rb"\d+", parts[1]).group())  # type: ignore[union-attr]
    if b"major" not in numbers or b"minor" not in numbers:
        raise malformed(section, None, "does not say major and minor")
    version = numbers[b"major"], numbers[b"minor"], numbers.get(b"revision", 0)
    if not (1, 2, 0) <= version < (1, 6, 0):
        text = ".".join(map(str, version))
        raise UnsupportedError(
            f"{name}: is Pulseq {text}; versions 1.2 to 1.5 are read. Convert it with its own toolbox"
        )
    return version


def _definitions(section: Section | None) -> dict[str, Any]:
    """Tuples of floats where every word of a value is a number, text elsewhere."""
    definitions: dict[str, Any] = {}
    for n, line in _lines(section) if section is not None else []:
        key, *rest = (word.decode("utf-8", "replace") for word in line.split(None, 1))
        if section is not None and len(definitions) > MAX_DEFINITIONS:
            raise malformed(section, n, f"more than {MAX_DEFINITIONS} definitions")
        definitions[key] = _value(key, rest[0].strip() if rest else "")
    return definitions


def _value(key: str, value: str) -> str | tuple[float, ...]:
    if key == "Name" or not value:
        return value
    try:
        numbers = tuple(float(word) for word in value.split())
    except ValueError:
        return value
    return numbers if all(np.isfinite(numbers)) else value


def _rasters(section: Section | None, definitions: Mapping[str, Any]) -> Rasters:
    rasters = Rasters()
    for key, field in _RASTERS.items():
        if section is None or key not in definitions:
            continue
        value = definitions[key]
        if isinstance(value, str) or len(value) != 1 or not 1e-9 <= value[0] <= 1:
            raise malformed(
                section, None, f"{key} is {str(value)[:32]!a}; expected one number of seconds from 1e-9 to 1"
            )
        rasters = replace(rasters, **{field: value[0]})
    return rasters


def _signature_notes(section: Section | None, data: bytes) -> list[str]:
    """Nothing, or why the signature does not vouch for the file: the md5 of all before the line end above it."""
    if section is None:
        return []
    words = dict(line.split(None, 1) for _, line in _lines(section) if len(line.split()) == 2)
    if words.get(b"Type", b"").lower() != b"md5":
        return ["the signature's type is not md5: not verified"]
    body = data[: section.header_at]
    trimmed = body[:-2] if body.endswith(b"\r\n") else body[:-1]
    hashes = {hashlib.md5(text, usedforsecurity=False).hexdigest() for text in (body, trimmed, body[:-1])}
    if words.get(b"Hash", b"").decode("latin-1").lower() in hashes:
        return []
    return ["the signature does not match: the file was changed after it was signed"]
