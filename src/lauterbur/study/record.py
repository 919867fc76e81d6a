"""ScanResult: one scan and all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lauterbur.findings import Finding
from lauterbur.image import Image
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol
from lauterbur.rawdata import RawData
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.b0 import B0Shim
from lauterbur.shim.planned import Prescan


@dataclass(frozen=True, eq=False)
class ScanResult:
    image: Image
    raw: RawData
    program: Program  # as played
    protocol: Protocol
    scanner: Scanner
    subject: str  # name
    seed: int
    engine: str  # as asked for; the raw data's provenance says what was used
    findings: tuple[Finding, ...]  # of the gate
    notes: tuple[str, ...]  # what the gate did not assess
    timings: Mapping[str, float] = field(default_factory=dict)  # s, per stage
    fields: Mapping[str, Any] = field(default_factory=dict)  # provenance of the field maps
    b0: B0Shim | None = None  # what the shim coils add
    prescan: Prescan | None = None  # where the transmit fields were solved

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Of the raw data: source, program hash, measured simulation error ..."""
        return self.raw.header.provenance if self.raw.header is not None else {}

    @property
    def simulation_error(self) -> Mapping[str, float] | None:
        """Relative error of the simulated signal, measured: {estimate, upper95}."""
        return self.provenance.get("simulation_error")
