"""One scan, from request to image. READ THIS FIRST.

result = scan(load_protocol("brain/t1-mprage"), load_scanner("5T"), load_subject("head"), seed=1)
result = scan(protocol, scanner, subject, out="study")     # and archive it
result = scan(protocol, scanner, subject, shim="sar")      # in the fields that its channels really make, shimmed and cleared
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.twin.simulation import Twin
from lauterbur.fields.maps import FieldMaps
from lauterbur.fields.solution import solve_fields
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol
from lauterbur.rawdata import RawData
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.safety.gate import clear
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.contrasts import build_program
from lauterbur.shim.b0 import shimmed_fields
from lauterbur.shim.planned import check_b0, run_prescan, shim_b0
from lauterbur.shim.playing import apply_shim
from lauterbur.shim.shim import Shim
from lauterbur.study.archive import archive
from lauterbur.study.clock import Clock, Progress, silent
from lauterbur.study.folder import check_target
from lauterbur.study.record import ScanResult
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.targets import shim_region, usual_target

RECEIVERS = 16  # virtual channels that the receive chain keeps


def scan(
    protocol: Protocol,
    scanner: Scanner,
    subject: Subject,
    *,
    seed: int = 0,
    engine: str = "fast",
    coils: int | None = RECEIVERS,
    measure_error: bool = True,
    shim: str | Shim | None = None,
    fields: FieldMaps | None = None,
    target: str | NDArray[np.bool_] | None = None,
    b0: str = "volume",
    out: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> ScanResult:
    """Play a protocol on the twin of a scanner and reconstruct it; archive it in the folder `out` where given.

    `coils`: channels after compression in the receive chain, None for all. `measure_error`: play some voxels again by the
    reference, to say how wrong the fast engine is. RefusedError where the gate says no.

    `shim`: one of design_shim's modes, or a shim. The transmit fields are then Maxwell's (or `fields`), SAR is judged, and
    the weights are made for `target`: a name of subject.targets, a mask (z, y, x) of the subject, or None for what the
    protocol is about, or else the usual one. `cache`: a folder for solved fields.

    The static field is shimmed over `target` first, whatever `shim` is, by all that the scanner's coils can do: for the `b0`
    "volume", or anew in each of the "slices" of a 2D protocol; "off" adjusts the frequency alone.
    """
    if out is not None:
        check_target(out)
    clock = Clock(progress)
    with clock.stage("sequence"):
        program = build_program(protocol, scanner)
        check_b0(program, b0)
    prescan = None
    target = usual_target(subject, protocol.target) if target is None else target
    if shim is None and fields is None:
        with clock.stage("gate"):
            cleared = clear(program, scanner)
        with clock.stage("fields"):
            fields = solve_fields(scanner, subject)
        with clock.stage("B0 shim"):
            shimmed = shim_b0(program, scanner, fields, shim_region(subject, target), b0)
            fields = shimmed_fields(fields, shimmed)
    else:
        prescan = run_prescan(
            program, scanner, subject, shim=shim or "cp", fields=fields, target=target, b0=b0,
            cache=cache, stage=clock.stage,
        )  # fmt: skip
        shimmed = prescan.b0
        program, fields = apply_shim(program, prescan.shim, scanner), prescan.fields
        with clock.stage("gate"):
            cleared = clear(program, scanner, fields, prescan.sar)
    with clock.stage("simulation") as told:
        raw = Twin(subject, scanner, fields, seed, engine, coils, measure_error, told).record(cleared)
    with clock.stage("reconstruction") as told:
        image = reconstruct(raw, progress=told)

    result = ScanResult(
        image, raw, program, protocol, scanner, subject.name, seed, engine,
        cleared.findings, cleared.notes, clock.seconds, fields.provenance, shimmed, prescan,
    )  # fmt: skip
    if out is not None:
        archive(result, out, progress=progress)
    return result


def play(
    program: Program,
    scanner: Scanner,
    subject: Subject,
    *,
    seed: int = 0,
    engine: str = "fast",
    coils: int | None = None,
    measure_error: bool = True,
    clock: Clock | None = None,
) -> RawData:
    """Raw data of any program on the twin's physics: no gate, since no machine is touched."""
    clock = clock or Clock()
    with clock.stage("fields"):
        fields = solve_fields(scanner, subject)
    with clock.stage("simulation") as told:
        return Twin(subject, scanner, fields, seed, engine, coils, measure_error, told).play(program)
