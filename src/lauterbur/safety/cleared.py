"""ClearedProgram: a program and the verdict that lets a machine play it. Only `clear` makes one."""

from __future__ import annotations

from dataclasses import InitVar, dataclass

from lauterbur.findings import Finding
from lauterbur.program import Program

_SEAL = object()  # known to the gate alone


@dataclass(frozen=True, eq=False)
class ClearedProgram:
    program: Program
    scanner: str  # name of the machine it was cleared for
    hash: str  # of the program as cleared
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]  # what was not assessed, and operating modes
    seal: InitVar[object] = None

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a ClearedProgram comes from lauterbur.clear(program, scanner) alone")
