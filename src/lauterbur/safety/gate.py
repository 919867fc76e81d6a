"""The gate: may this machine play this program?

    findings(program, scanner)                 # every quantity against its limit, passed or not
    clear(program, scanner, fields, sar)       # the program, sealed; or RefusedError, carrying the findings

It computes everything itself from the waveforms that will be played. It guards against mistakes and does not make a
medical device.

Heating of the patient (SAR): with a SAR model it is judged. With fields that hold an electric field but no model, the
model is built from them; where that cannot be done the program is refused, whoever lies in the bore. Without an electric
field nothing is known of heating, and the verdict says that it was not assessed: not for a person.
"""

from __future__ import annotations

import numpy as np

from lauterbur.errors import InputError, RefusedError
from lauterbur.fields.maps import FieldMaps
from lauterbur.findings import Finding
from lauterbur.program import Program, program_hash
from lauterbur.safety.acoustics import Acoustics
from lauterbur.safety.amplifier import Amplifiers
from lauterbur.safety.cleared import _SEAL, ClearedProgram
from lauterbur.safety.exposure import checked, exposure_findings, not_assessed
from lauterbur.safety.radiofrequency import radiofrequency_findings
from lauterbur.safety.sar import SarModel, sar_model
from lauterbur.safety.soundness import number_findings, shape_findings
from lauterbur.safety.stimulation import Stimulation
from lauterbur.safety.timing import backward, timing_findings
from lauterbur.safety.waveforms import chunks
from lauterbur.scanner.machine import Scanner

STATIC_FIELD_LIMIT = (
    8.0  # T, IEC 60601-2-33, unconfirmed: first-level controlled operating mode is above 3 T and up to 8 T
)
NORMAL_FIELD = 3.0  # T, the same standard, unconfirmed
MODES = ("normal", "first-level")


def clear(
    program: Program,
    scanner: Scanner,
    fields: FieldMaps | None = None,
    sar: SarModel | None = None,
    *,
    mode: str = "first-level",
) -> ClearedProgram:
    """The program, sealed for this machine; RefusedError where any finding is not ok.

    `mode`, "normal" or "first-level", sets the limits of SAR and of nerve stimulation. The static field is judged by
    itself: above 3 T it is always first-level.
    """
    found, said = assess(program, scanner, fields, sar, mode=mode)
    broken = [f for f in found if not f.ok]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise RefusedError(f"{scanner.name} may not play this: {broken[0].sentence()}{more}", found)
    return ClearedProgram(program, scanner.name, program_hash(program), found, said, _SEAL)


def findings(
    program: Program,
    scanner: Scanner,
    fields: FieldMaps | None = None,
    sar: SarModel | None = None,
    *,
    mode: str = "first-level",
) -> tuple[Finding, ...]:
    """Every quantity the gate judges, passed or not."""
    return assess(program, scanner, fields, sar, mode=mode)[0]


def notes(
    program: Program,
    scanner: Scanner,
    fields: FieldMaps | None = None,
    sar: SarModel | None = None,
    *,
    mode: str = "first-level",
) -> tuple[str, ...]:
    """What a verdict does not cover, and the operating modes of the static field, of SAR and of the gradients."""
    return assess(program, scanner, fields, sar, mode=mode)[1]


def assess(
    program: Program,
    scanner: Scanner,
    fields: FieldMaps | None = None,
    sar: SarModel | None = None,
    *,
    mode: str = "first-level",
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Findings and notes, from one look at the waveforms."""
    if mode not in MODES:
        raise InputError(f"operating mode {mode!r} is not known; choose {' or '.join(MODES)}")
    static = _static_field(scanner)
    shapes = shape_findings(program, scanner)
    if not all(f.ok for f in shapes):
        return (static, *shapes), ("Nothing more was assessed: the program cannot be read.",)

    with np.errstate(all="ignore"):  # what is not a number becomes a finding that is never ok
        found = [static, *shapes, *number_findings(program), *timing_findings(program, scanner)]
        stimulation = Stimulation(program, scanner, mode=mode)
        looks = (Amplifiers(program, scanner), Acoustics(program, scanner), stimulation)
        if backward(program) <= 0:  # otherwise a finding has refused it, and there are no waveforms to look at
            for chunk in chunks(program):
                for look in looks:
                    look.look(chunk)
            for look in looks:
                found += look.findings()
        found += radiofrequency_findings(program, scanner, _s_matrix(fields, scanner))
        heating, said = _heating(program, scanner, fields, sar, mode)
    notes_ = (f"Static field: {static.mode} operating mode (IEC 60601-2-33).", *said, stimulation.note())
    return (*found, *heating), notes_


def _heating(
    program: Program, scanner: Scanner, fields: FieldMaps | None, sar: SarModel | None, mode: str
) -> tuple[list[Finding], tuple[str, ...]]:
    if sar is None and (fields is None or fields.e is None):
        reason = "there is no SAR model of this subject in this machine"
        return [], (f"RF heating (SAR) was not assessed: {reason}. Not for a person.",)
    try:
        model = sar_model(fields) if sar is None else checked(sar)  # type: ignore[arg-type]
    except InputError as problem:
        rule = f"SAR cannot be judged: {problem}"
        return [Finding("SAR models that are none", 1.0, 0.0, "", rule, "", "solve the fields again")], (rule,)
    found = exposure_findings(program, scanner, model, mode)
    modes = [f.mode for f in found if f.mode]
    worst = max(modes, key=lambda word: (*MODES, "above first-level").index(word), default="normal")
    told = f"RF heating (SAR): {worst} operating mode, safety factor {model.safety_factor:g}, as if played again and again."
    return found, tuple(filter(None, (told, not_assessed(model))))


def _s_matrix(fields: FieldMaps | None, scanner: Scanner) -> np.ndarray | None:
    """Of the transmit ports alone, where the fields have just these."""
    known = None if fields is None else fields.s_matrix
    channels = scanner.transmit.channels
    return known if known is not None and known.shape == (channels, channels) else None


def _static_field(scanner: Scanner) -> Finding:
    strength = scanner.field_strength
    return Finding(
        "static field",
        strength,
        STATIC_FIELD_LIMIT,
        "T",
        "IEC 60601-2-33, first-level controlled operating mode, unconfirmed",
        remedy=f"no program mends this: use a magnet of at most {STATIC_FIELD_LIMIT:g} T",
        mode="normal"
        if strength <= NORMAL_FIELD
        else "first-level"
        if strength <= STATIC_FIELD_LIMIT
        else "above first-level",
    )
