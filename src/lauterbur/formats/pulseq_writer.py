"""Programs written as Pulseq 1.5 or 1.4.1: the same program gives the same bytes, signed, in place at once or not at all.

Events keep their order, so that reading the file gives the same block table. What 1.4.1 cannot say is refused by name.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, UnsupportedError
from lauterbur.formats.atomic import replacing
from lauterbur.formats.pulseq_events import Float, Version
from lauterbur.formats.pulseq_write_events import (
    ShapeLibrary,
    adc_lines,
    check_portable,
    gradient_lines,
    number,
    rf_lines,
)
from lauterbur.formats.pulseq_write_extensions import extension_lines
from lauterbur.program import Column, Program, duration

VERSIONS: dict[str, Version] = {"1.4.1": (1, 4, 1), "1.5.0": (1, 5, 0), "1.5.1": (1, 5, 1)}
NOTES = "LauterburNotes"  # what a reader found; not part of the sequence
_OWN = {"TotalDuration", "RequiredExtensions", NOTES}


def write_program(program: Program, path: str | os.PathLike[str], *, version: str = "1.5.0") -> None:
    """Write `program` as a Pulseq file. Rotations and RF shims make a 1.5.0 file a 1.5.1 one, in which they appeared."""
    if version not in VERSIONS:
        raise UnsupportedError(f"Pulseq {version} is not written; choose {', '.join(VERSIONS)}")
    target = VERSIONS[version]
    check_portable(program, target)
    uses = [c for c in (Column.ROTATION, Column.SHIM) if np.any(program.blocks[:, c] >= 0)]
    if uses and target == (1, 5, 0):
        target = (1, 5, 1)

    _check_durations(program)
    shapes = ShapeLibrary()
    rf, gradients = rf_lines(program, target, shapes), gradient_lines(program, target, shapes)
    adc = adc_lines(program, target, shapes)
    heads, extensions = extension_lines(program)
    raster, counts = block_raster(program)
    parts = [
        "# Pulseq sequence file\n# Created by Lauterbur\n",
        f"[VERSION]\nmajor {target[0]}\nminor {target[1]}\nrevision {target[2]}\n",
        _definition_lines(program, raster, [{Column.ROTATION: "ROTATIONS", Column.SHIM: "RF_SHIMS"}[c] for c in uses]),
        _block_lines(program, counts, heads),
        *rf,
        *gradients,
        *adc,
        *extensions,
        *shapes.lines(),
    ]
    text = "\n".join(parts).encode() + b"\n"
    digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
    signature = f"\n[SIGNATURE]\n# md5 of everything above the empty line before [SIGNATURE]\nType md5\nHash {digest}\n"
    with replacing(path) as temporary:
        temporary.write_bytes(text + signature.encode())


def block_raster(program: Program) -> tuple[float, NDArray[np.int64]]:
    """The block raster in s - the program's own, or the coarsest finer one that all durations fit - and the steps."""
    for raster in (program.rasters.block, 10e-6, 1e-6, 0.1e-6, 10e-9, 1e-9):
        steps: Float = np.round(program.durations / raster)
        if np.all(np.abs(program.durations - steps * raster) < 1e-12):
            return raster, steps.astype(np.int64)
    i = int(np.argmax(np.abs(program.durations * 1e9 - np.round(program.durations * 1e9))))
    raise InputError(f"block {i + 1} lasts {program.durations[i]!r} s; Pulseq durations are multiples of at least 1 ns")


def _check_durations(program: Program) -> None:
    """Every event must end within its block, or no reader would take the file."""
    ends = np.zeros(program.n_blocks)
    gradients = [g.delay + g.duration for g in program.gradients]
    for column, lengths in (
        (Column.RF, [p.delay + p.duration for p in program.rf]),
        (Column.GX, gradients),
        (Column.GY, gradients),
        (Column.GZ, gradients),
        (Column.ADC, [a.delay + a.n_samples * a.dwell for a in program.adc]),
    ):
        ends = np.maximum(ends, np.array([*lengths, 0.0])[program.blocks[:, column]])
    over = np.flatnonzero(~(ends <= program.durations + 1e-9))
    if len(over):
        i = over[0]
        problem = f"block {i + 1} lasts {program.durations[i] * 1e6:g} us, its events {ends[i] * 1e6:g} us"
        raise InputError(f"{problem}; make the block as long as its events")


def _definition_lines(program: Program, raster: float, required: list[str]) -> str:
    values = {key: value for key, value in program.definitions.items() if key not in _OWN}
    values |= {
        "AdcRasterTime": (program.rasters.adc,),
        "BlockDurationRaster": (raster,),
        "GradientRasterTime": (program.rasters.gradient,),
        "RadiofrequencyRasterTime": (program.rasters.rf,),
        "TotalDuration": (round(duration(program), 9),),
    }
    if required:
        values["RequiredExtensions"] = " ".join(required)
    lines = ["[DEFINITIONS]"]
    for key in sorted(values):
        value = values[key]
        text = value if isinstance(value, str) else " ".join(number(v) for v in np.ravel(value).tolist())
        if any(c.isspace() for c in key) or key.startswith(("#", "[")) or not key:
            raise InputError(f"definition {key!r} has a name that Pulseq cannot hold; use one word")
        if "\n" in text or "\r" in text:
            raise InputError(f"definition {key} has a line break; Pulseq definitions are one line")
        lines.append(f"{key} {text}".rstrip())
    return "\n".join(lines) + "\n"


def _block_lines(program: Program, counts: NDArray[np.int64], heads: NDArray[np.int64]) -> str:
    events = program.blocks[:, [Column.RF, Column.GX, Column.GY, Column.GZ, Column.ADC]].astype(np.int64) + 1
    rows = np.column_stack([np.arange(1, program.n_blocks + 1), counts, events, heads]).tolist()
    head = "# NUM DUR RF  GX  GY  GZ  ADC  EXT\n[BLOCKS]\n"
    return head + "\n".join([" ".join(map(str, row)) for row in rows]) + "\n"
