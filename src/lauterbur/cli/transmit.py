"""The verbs of the transmit field: solve it, make it even, and see what a stronger magnet does to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lauterbur.cli.prescan import cache_folder, load_fields, load_patient, mask_of, owner_of, tell_of_cache, wanted_shim
from lauterbur.cli.prompt import (
    Cache,
    Json,
    Scanner,
    Seed,
    Subject,
    Target,
    check_file_target,
    command,
    console,
    print_json,
    progress_bars,
    table,
)

if TYPE_CHECKING:
    from lauterbur.fields.maps import FieldMaps


@command
def fields(
    scanner: Scanner = "5T",
    subject: Subject = "head",
    out: Annotated[Path, typer.Option(help="The fields, as HDF5.")] = Path("fields.h5"),
    transmit: Annotated[str | None, typer.Option(help="Transmit array; the first that fits unless given.")] = None,
    array: Annotated[str | None, typer.Option(help="Receive array; the first that fits unless given.")] = None,
    step: Annotated[
        float | None, typer.Option(min=0.5, max=30, help="mm, of Maxwell's grid; 4 or 5 unless given.")
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Solve the radio-frequency and static fields of a scanner inside a subject. Interrupted, it goes on where it was."""
    from lauterbur.fields.files import write_fields
    from lauterbur.scanner.profiles import load_scanner
    from lauterbur.study.clock import Clock, peak_memory

    check_file_target(out)
    machine = load_scanner(scanner)
    with progress_bars() as progress:
        from lauterbur.fields.solution import solve_fields

        clock = Clock(progress)
        patient = load_patient(subject, machine, progress)
        with clock.stage("fields") as told:
            solved = solve_fields(
                machine,
                patient,
                method="maxwell",
                transmit=transmit,
                array=array,
                step=None if step is None else step * 1e-3,
                cache=cache_folder(cache),
                progress=told,
            )
        write_fields(solved, out)
    tell_of_cache(solved.provenance)
    if as_json:
        return print_json(
            {
                "file": str(out),
                "scanner": machine.name,
                "subject": patient.name,
                "channels": len(solved.b1_plus),
                "receivers": len(solved.b1_minus),
                "grid": solved.b1_plus.shape[1:],
                "s_matrix_db": _decibels(solved),
                "provenance": solved.provenance,
                "timings": clock.seconds,
                "peak_memory_bytes": peak_memory(),
            }
        )
    n_z, n_y, n_x = solved.b1_plus.shape[1:]
    print(
        f"fields: {out} ({len(solved.b1_plus)} transmit and {len(solved.b1_minus)} receive channels, {n_x} x {n_y} x {n_z})"
    )


@command
def shim(
    fields: Annotated[list[Path], typer.Option(help="Solved fields; of several subjects for a universal pulse.")],
    subject: Annotated[
        list[str] | None, typer.Option(help="Whose they are, in the same order; unless given what the files say.")
    ] = None,
    scanner: Scanner = "5T",
    target: Target = None,
    mode: Annotated[str, typer.Option(help="cp, phase, mls, sar, spokes, kt-points, universal.")] = "sar",
    slice_wise: Annotated[bool, typer.Option("--slice-wise", help="Other weights in every slice.")] = False,
    protocol: Annotated[
        str, typer.Option(help="What it is made for: power, heat, flip angle, slices.")
    ] = "brain/t1-mprage",
    points: Annotated[int, typer.Option(min=1, max=16, help="kT-points or spokes, at most.")] = 5,
    normal: Annotated[bool, typer.Option("--normal", help="Within the limits of the normal operating mode.")] = False,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="The shim, as JSON.")] = Path("shim.json"),
    as_json: Json = False,
) -> None:
    """Channel weights, or pulses of several channels, that excite a target evenly within the limits of heat and power."""
    from lauterbur.errors import InputError
    from lauterbur.protocol.library import load_protocol
    from lauterbur.scanner.profiles import load_scanner

    check_file_target(out)
    machine = load_scanner(scanner)
    with progress_bars() as progress:
        from dataclasses import replace

        from lauterbur.safety.sar import sar_model
        from lauterbur.sequence.contrasts import build_program
        from lauterbur.shim.files import write_shim
        from lauterbur.shim.planned import plan_shim
        from lauterbur.shim.slices import slices_of
        from lauterbur.study.clock import Clock

        clock = Clock(progress)
        with clock.stage("reading"):
            wanted = load_protocol(protocol)
            program = build_program(wanted, machine)
            if mode != "universal":
                wanted_shim(mode, machine, lambda: program)
                if len(fields) > 1:
                    raise InputError(f"{len(fields)} files of fields were given; only mode universal takes several")
            if slice_wise:
                slices_of(program)
            names = subject or [owner_of(path) for path in fields]
            if len(names) != len(fields):
                raise InputError(f"{len(fields)} files of fields were given, but {len(names)} subjects")
            patients = [load_patient(name, machine, progress) for name in names]
            masks = [mask_of(patient, target, wanted) for patient in patients]
            solved = [load_fields(path, machine, patient) for path, patient in zip(fields, patients, strict=True)]
        with clock.stage("SAR model"):
            models = [sar_model(one) for one in solved]
        with clock.stage("shim"):
            many = len(solved) > 1
            made = plan_shim(
                program,
                machine,
                solved if many else solved[0],
                models if many else models[0],
                target=[mask for _, mask in masks] if many else masks[0][1],
                mode=mode,
                slice_wise=slice_wise,
                n_points=points,
                operating_mode="normal" if normal else "first level",
                seed=seed,
            )
            made = replace(made, target=masks[0][0])
        write_shim(made, out)
    if as_json:
        return print_json({"file": str(out), "mode": made.mode, "target": made.target, "promised": dict(made.promised)})
    shown = table("promised", "value")
    for name, value in made.promised.items():
        shown.add_row(name, f"{value:.4g}")
    console().print(shown)
    print(f"shim: {out} ({made.mode}, {made.target})")


@command
def compare(
    protocol: Annotated[str, typer.Argument(help="A protocol of the library, or a TOML file.")],
    scanners: Annotated[str, typer.Option(help="Two or more, separated by commas.")] = "3T,5T",
    subject: Subject = "head",
    shim: Annotated[str, typer.Option(help="cp, phase, mls, sar.")] = "cp",
    target: Target = None,
    out: Annotated[Path, typer.Option(help="The folder of the comparison.")] = Path("comparison"),
    seed: Seed = 0,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """The same protocol on several scanners, side by side: transmit field, heat, signal-to-noise ratio, image."""
    from lauterbur.errors import InputError
    from lauterbur.protocol.library import load_protocol
    from lauterbur.scanner.profiles import load_scanner
    from lauterbur.sequence.contrasts import build_program
    from lauterbur.study.folder import check_target

    check_target(out)
    machines = [load_scanner(name.strip()) for name in scanners.split(",") if name.strip()]
    if len(machines) < 2:
        raise InputError(f"--scanners {scanners!r}: a comparison needs two or more, such as 3T,5T")
    wanted = load_protocol(protocol)
    programs = [build_program(wanted, machine) for machine in machines]
    if shim.lower().endswith(".json"):
        raise InputError(f"--shim {shim}: each scanner's shim is made in its own fields; give a mode")
    for machine, program in zip(machines, programs, strict=True):
        wanted_shim(shim, machine, lambda program=program: program)  # type: ignore[misc]
    with progress_bars() as progress:
        from lauterbur.journey import scan
        from lauterbur.study.comparison import archive_comparison

        results, masks = [], []
        for machine in machines:
            patient = load_patient(subject, machine, progress)
            name, mask = mask_of(patient, target, wanted)
            results.append(
                scan(
                    wanted, machine, patient, seed=seed, shim=shim, target=name if name != "mask" else mask,
                    cache=cache_folder(cache), progress=progress,
                )
            )  # fmt: skip
            masks.append(mask)
        summary = archive_comparison(results, masks, patient.affine, out)
    if as_json:
        return print_json(summary)
    shown = table("", *(result.scanner.name for result in results))
    for name, values in summary["rows"].items():
        shown.add_row(name, *(f"{value:.4g}" for value in values))
    console().print(shown)
    print(f"comparison: {out / 'comparison.png'}")


def _decibels(solved: FieldMaps) -> Any:
    import numpy as np

    return None if solved.s_matrix is None else np.round(20 * np.log10(np.maximum(np.abs(solved.s_matrix), 1e-6)), 2)
