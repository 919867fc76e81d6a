"""The gate: may this machine play this program?

    findings(program, scanner)     # every quantity against its limit, passed or not
    clear(program, scanner)        # the program, sealed; or RefusedError, carrying the findings

It computes everything itself from the waveforms that will be played. It guards against mistakes and does not make a
medical device. RF heating is not assessed yet, nerve stimulation only roughly, and every verdict says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lauterbur.errors import RefusedError
from lauterbur.findings import Finding
from lauterbur.program import Program, program_hash
from lauterbur.safety.acoustics import Acoustics
from lauterbur.safety.amplifier import Amplifiers
from lauterbur.safety.cleared import _SEAL, ClearedProgram
from lauterbur.safety.radiofrequency import radiofrequency_findings
from lauterbur.safety.stimulation import Stimulation
from lauterbur.safety.timing import backward, timing_findings
from lauterbur.safety.waveforms import chunks
from lauterbur.scanner.machine import Scanner

STATIC_FIELD_LIMIT = 8.0  # T, IEC 60601-2-33: first-level controlled operating mode is above 3 T and up to 8 T
NORMAL_FIELD = 3.0  # T, the same standard


def findings(program: Program, scanner: Scanner) -> tuple[Finding, ...]:
    """Every quantity the gate judges, passed or not."""
    with np.errstate(all="ignore"):  # what is not a number becomes a finding that is never ok
        found = [_static_field(scanner), *timing_findings(program, scanner)]
        if backward(program) <= 0:  # otherwise a finding has refused it, and there are no waveforms to look at
            looks = (Amplifiers(program, scanner), Acoustics(program, scanner), Stimulation(program, scanner))
            for chunk in chunks(program):
                for look in looks:
                    look.look(chunk)
            for look in looks:
                found += look.findings()
        found += radiofrequency_findings(program, scanner)
    return tuple(found)


def clear(program: Program, scanner: Scanner, fields: Any = None, sar: Any = None) -> ClearedProgram:
    """The program, sealed for this machine; RefusedError where any finding is not ok.

    `fields` and `sar` will let the gate assess RF heating; until a SAR model exists the verdict says that it did not.
    """
    found = findings(program, scanner)
    broken = [f for f in found if not f.ok]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise RefusedError(f"{scanner.name} may not play this: {broken[0].sentence()}{more}", found)
    return ClearedProgram(program, scanner.name, program_hash(program), found, notes(program, scanner), _SEAL)


def notes(program: Program, scanner: Scanner) -> tuple[str, ...]:
    """What a verdict does not cover, and the operating modes of the static field and of the gradients."""
    mode = "normal" if scanner.field_strength <= NORMAL_FIELD else "first-level controlled"
    stimulation = Stimulation(program, scanner)
    if backward(program) <= 0:
        with np.errstate(all="ignore"):
            for chunk in chunks(program):
                stimulation.look(chunk)
    return (
        f"Static field: {mode} operating mode (IEC 60601-2-33).",
        "RF heating (SAR) was not assessed: there is no SAR model of this subject in this machine.",
        stimulation.note(),
    )


def _static_field(scanner: Scanner) -> Finding:
    return Finding(
        "static field",
        scanner.field_strength,
        STATIC_FIELD_LIMIT,
        "T",
        "IEC 60601-2-33, first-level controlled operating mode",
    )
