"""What a prescan needs, from what people type: a patient, fields, a target, a shim; looked at before anything long begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lauterbur.cli.prompt import print_notes, progress_bars
from lauterbur.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from lauterbur.fields.maps import FieldMaps
    from lauterbur.program import Program
    from lauterbur.protocol.protocol import Protocol
    from lauterbur.scanner.machine import Scanner as Machine
    from lauterbur.shim.planned import Prescan
    from lauterbur.shim.shim import Shim
    from lauterbur.subject.anatomy import Subject as Patient


def load_patient(subject: str, machine: Machine, progress: Callable[[float, str], None]) -> Patient:
    """Who lies in this machine."""
    progress(0.0, "subject")
    from lauterbur.subject.library import load_subject

    patient = load_subject(subject, field_strength=machine.field_strength)
    progress(1.0, "subject")
    return patient


def load_fields(path: Path, machine: Machine, patient: Patient) -> FieldMaps:
    """Fields that a prescan can use: of this patient in this machine, with what heats."""
    from lauterbur.fields.files import read_fields

    fields = read_fields(path, scanner=machine, subject=patient)
    if fields.e is None:
        raise InputError(
            f"{path}: e is missing: without an electric field heating cannot be judged; `lauterbur fields` makes such files"
        )
    if len(fields.b1_plus) != machine.transmit.channels:
        raise InputError(
            f"{path}: b1_plus has {len(fields.b1_plus)} channels; scanner {machine.name} has {machine.transmit.channels}"
        )
    if fields.off_resonance.shape != patient.labels.shape[1:]:
        raise InputError(
            f"{path}: off_resonance has shape {fields.off_resonance.shape} (z, y, x); subject {patient.name} lies on "
            f"{patient.labels.shape[1:]}"
        )
    return fields


def owner_of(path: Path) -> str:
    """The subject that a file of fields names, where it is one of ours."""
    from lauterbur.fields.files import read_provenance
    from lauterbur.subject.library import subject_names

    name = read_provenance(path).get("subject")
    if name not in subject_names():
        whose = (
            f"the fields of subject {name!r:.80}" if isinstance(name, str) and name else "fields that name no subject"
        )
        raise InputError(f"{path}: holds {whose}; give --subject, with its TOML file")
    return str(name)


def mask_of(patient: Patient, target: str | None, protocol: Protocol | None = None) -> tuple[str, Any]:
    """Its name, and the mask (z, y, x); None: what the protocol is about, or the usual one."""
    from lauterbur.subject.targets import read_mask, target_mask, usual_target

    if target is not None and target.lower().endswith((".nii", ".nii.gz")):
        return "mask", read_mask(Path(target), patient)
    if target is not None:
        return target, target_mask(patient, target)
    name = usual_target(patient, "" if protocol is None else protocol.target)
    try:
        return name, target_mask(patient, name)
    except InputError as problem:
        raise InputError(f"{'' if protocol is None else f'protocol {protocol.name}, target: '}{problem}") from None


def wanted_shim(word: str, machine: Machine, program: Callable[[], Program]) -> str | Shim:
    """A mode, or the shim of a file, that this machine and this program can play; `program` is asked only for trains."""
    from lauterbur.shim.files import read_shim
    from lauterbur.shim.shim import MODES
    from lauterbur.shim.slices import slices_of
    from lauterbur.shim.static import STATIC_MODES
    from lauterbur.shim.trains import plan_of

    if word.lower().endswith(".json"):
        shim = read_shim(word)
        if shim.weights.shape[-1] != machine.transmit.channels:
            raise InputError(
                f"{word}: weights drive {shim.weights.shape[-1]} channels; scanner {machine.name} has "
                f"{machine.transmit.channels}: make a shim for this scanner"
            )
        if shim.pulse is not None:
            _refuse_refocused(program(), f"{word}: {shim.pulse.kind}")
        return shim
    if word not in MODES:
        raise InputError(f"shim {word!r:.200}: is no mode and no JSON file; modes are {', '.join(MODES)}")
    if word == "universal":
        raise InputError(
            "shim 'universal' is made of the fields of several subjects; `lauterbur shim` makes a file of it"
        )
    if word not in STATIC_MODES:
        _refuse_refocused(program(), word)
        plan_of(program(), machine, mode=word)
        if word == "spokes":
            slices_of(program())
    return word


def prescan_options(
    machine: Machine,
    patient: Patient,
    program: Callable[[], Program],
    *,
    shim: str | None,
    fields: Path | None,
    target: str | None,
    cache: Path | None,
    protocol: Protocol | None = None,
) -> dict[str, Any]:
    """What `journey.scan` and `run_prescan` want to know of a prescan; nothing where none is asked for."""
    if shim is None and fields is None and target is None:
        return {}
    is_driven = shim is not None or fields is not None  # else only the static field is shimmed
    wanted = wanted_shim(shim or "cp", machine, program) if is_driven else None
    name, mask = mask_of(patient, target, protocol)
    return {
        "shim": wanted,
        "fields": None if fields is None else load_fields(fields, machine, patient),
        "target": mask if name == "mask" else name,
        "cache": cache_folder(cache),
    }


def prescanned(
    program: Program,
    machine: Machine,
    subject: str,
    *,
    shim: str,
    fields: Path | None,
    target: str | None,
    cache: Path | None,
    protocol: Protocol | None = None,
) -> tuple[Program, Prescan]:
    """The program with its shim, and what the prescan found. A program that brings its own shims keeps them.

    `protocol` is what it was built from, where that is known.
    """
    from dataclasses import replace

    from lauterbur.program import Column
    from lauterbur.shim.planned import run_prescan
    from lauterbur.shim.playing import apply_shim
    from lauterbur.shim.prescan import prescan_drive
    from lauterbur.study.clock import Clock

    own = program.blocks[:, Column.SHIM].max(initial=-1) >= 0
    if own and program.shims.shape[1] != machine.transmit.channels:
        raise InputError(
            f"the program's shims drive {program.shims.shape[1]} channels; scanner {machine.name} has {machine.transmit.channels}"
        )
    with progress_bars() as progress:
        clock = Clock(progress)
        patient = load_patient(subject, machine, progress)
        options = prescan_options(
            machine, patient, lambda: program, shim="cp" if own else shim, fields=fields, target=target, cache=cache,
            protocol=protocol,
        )  # fmt: skip
        blocks = program.blocks.copy()
        blocks[:, Column.SHIM] = -1
        found = run_prescan(replace(program, blocks=blocks), machine, patient, stage=clock.stage, **options)
    tell_of_cache(found.fields.provenance)
    if not own:
        return apply_shim(program, found.shim, machine), found
    if program.reference_drive is None:  # a file does not know this patient
        weights = program.shims[program.blocks[:, Column.SHIM].max()].conj()
        mask = mask_of(patient, target, protocol)[1]
        program = replace(program, reference_drive=prescan_drive(found.fields, weights, mask))
    return program, found


def cache_folder(given: Path | None) -> Path:
    if given is not None:
        return given
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lauterbur"


def tell_of_cache(provenance: Mapping[str, Any]) -> None:
    """A note where fields were solved again since those kept were damaged."""
    if "cache" in provenance:
        print_notes((str(provenance["cache"]),))


def _refuse_refocused(program: Program, what: str) -> None:
    if any(pulse.use == "refocusing" for pulse in program.rf):
        raise UnsupportedError(
            f"{what} in a program with refocusing pulses: the longer excitation would break the echo spacing; "
            "use a static shim (mode sar), which every pulse can play"
        )
