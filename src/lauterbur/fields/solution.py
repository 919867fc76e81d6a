"""The fields of a scanner inside a subject: dipole kernel, and radio frequency either quasi-static or by Maxwell.

fields = solve_fields(scanner, subject)                    # quasi-static loops, uniform transmit: seconds
fields = solve_fields(scanner, subject, method="maxwell")  # what the transmit array really makes, E for SAR, S-matrix: minutes
fields = solve_fields(scanner, subject, method="maxwell", transmit="body8", isocentre=(0, 0, -0.2), array="body24", cache="folder")
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur import __version__
from lauterbur.errors import InputError
from lauterbur.fields.coarse import CoarseBody, body_volume, coarse_body, extended
from lauterbur.fields.files import fingerprint, read_fields, write_fields
from lauterbur.fields.harmonics import NAMES, adjusted, shim_limits
from lauterbur.fields.maps import FieldMaps
from lauterbur.fields.maxwell import receive_fields, summary, tissue_maps, transmit_fields
from lauterbur.fields.medium import medium_of
from lauterbur.fields.network import Network
from lauterbur.fields.noise import noise_resistance
from lauterbur.fields.placement import Placement, place
from lauterbur.fields.position import Position, position
from lauterbur.fields.receive import receive_maps
from lauterbur.fields.store import opened
from lauterbur.fields.susceptibility import dipole_field, in_tissue
from lauterbur.scanner.machine import Array, Scanner, Transmit, TransmitArray
from lauterbur.subject.anatomy import Subject, voxel_volume
from lauterbur.subject.parameters import nearest_voxel, susceptibility
from lauterbur.subject.targets import shim_region as usual_region

RECEIVE_STEP = 4e-3  # m, of the grid of quasi-static receive maps: they vary over centimetres
NOISE_CELLS = 10_000  # of the body, for its noise: 8 mm in a head
BEYOND = 0.1  # m of neck that still makes noise where a head was cut
METHODS = ("quasi-static", "maxwell")
LARGE = 8e-3  # m3: a body above this is solved in the larger of the two steps
STEPS = (4e-3, 5e-3)  # m, of Maxwell's grid for transmit: a head, a trunk
RECEIVE_COARSER = 2.0  # Maxwell's grid for receive, in steps of the one for transmit: SNR within 2 % (docs/fields.md)

Progress = Callable[[float, str], None]


def solve_fields(
    scanner: Scanner,
    subject: Subject,
    *,
    array: Array | str | None = None,
    shim_order: int | None = None,
    shim_region: NDArray[np.bool_] | None = None,
    method: str = "quasi-static",
    transmit: TransmitArray | str | None = None,
    isocentre: tuple[float, float, float] | None = None,
    network: Network | None = None,
    step: float | None = None,
    receive_step: float | None = None,
    progress: Progress | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> FieldMaps:
    """off_resonance after the scanner's own shim, b1_minus of an array placed on the subject, its noise, and transmit.

    The shim is of order 0 (centre frequency), 1 or 2, by default the scanner's, within the limits of its coils, over
    shim_region (z, y, x): by default the brain where there is one, else all that gives signal. A subject that brings its own
    off-resonance map keeps it, unshimmed.

    array, transmit   receive and transmit array by name; by default the first of the scanner's that fits
    isocentre         m, patient: where a transmit array's middle lies; by default the middle of the body, or of a head
    network           tuning and matching found on another load; by default on this subject (maxwell only)
    step              m, of Maxwell's grid, 4 or 5 mm by default; receive_step: twice that
    cache             a folder: what was solved before is read from there, what is solved now is kept there; an interrupted
                      solution leaves its checkpoints there, and goes on from them; what was damaged is solved again, and
                      provenance["cache"] says so
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is not known; known are {', '.join(METHODS)}")
    asked = {
        "transmit": transmit,
        "isocentre": isocentre,
        "network": network,
        "step": step,
        "receive_step": receive_step,
    }
    if method == "quasi-static" and any(value is not None for value in asked.values()):
        names = ", ".join(name for name, value in asked.items() if value is not None)
        raise InputError(
            f'{names} given, but method is "quasi-static", with uniform transmit; ask for method="maxwell"'
        )
    for name, size in (("step", step), ("receive_step", receive_step)):
        if size is not None and not (np.isfinite(size) and 5e-4 <= size <= 0.03):
            raise InputError(f"{name} is {size} m; it must be 0.5 mm to 3 cm")
    body = coarse_body(subject, scanner.larmor_frequency, RECEIVE_STEP)
    outline = surface(body)
    placement = place(scanner, outline, array)
    if method == "quasi-static":
        return _with_static(_quasi_static(scanner, subject, body, placement), scanner, subject, shim_order, shim_region)

    coil = position(scanner, outline, transmit, isocentre)
    step = step or STEPS[body_volume(subject) > LARGE]
    receive_step = receive_step or RECEIVE_COARSER * step
    owner = _owner(scanner, subject)
    kept, damaged = None, ""
    if cache is not None:
        shim = (shim_order, shim_region, scanner.shim_coils)
        options = (__version__, placement.array, coil.array, network, step, receive_step, shim)
        kept = Path(cache) / f"fields-{fingerprint((owner['scanner_hash'], owner['subject_hash'], options))}.h5"
        if kept.is_file():
            try:
                return read_fields(kept, scanner=scanner, subject=subject)
            except InputError as problem:  # nothing is lost: it is solved again and replaced
                damaged = f"fields kept in the cache were damaged, and are solved again: {problem}"
                if progress is not None:
                    progress(0.0, damaged)
    begun = None if kept is None else opened(kept.with_suffix(".begun"))
    fields = _maxwell(scanner, subject, placement, coil, network, (step, receive_step), owner, progress, begun)
    fields = _with_static(fields, scanner, subject, shim_order, shim_region)
    if kept is not None and begun is not None:
        write_fields(fields, kept)
        shutil.rmtree(begun, ignore_errors=True)  # checkpoints, of no more use
    return replace(fields, provenance={**fields.provenance, "cache": damaged}) if damaged else fields


def transmit_array(scanner: Scanner, subject: Subject) -> str:
    """Name of the array that `solve_fields` drives around this subject unless told another."""
    return position(scanner, surface(coarse_body(subject, scanner.larmor_frequency, RECEIVE_STEP))).array.name


def _owner(scanner: Scanner, subject: Subject) -> dict[str, Any]:
    return {
        "scanner": scanner.name,
        "scanner_hash": fingerprint(scanner),
        "subject": subject.name,
        "subject_hash": fingerprint(subject),
        "frequency": scanner.larmor_frequency,
    }


def _quasi_static(scanner: Scanner, subject: Subject, body: CoarseBody, placement: Placement) -> FieldMaps:
    b1_minus = receive_maps(body, placement.array)
    noise_step = (body_volume(subject) / NOISE_CELLS) ** (1 / 3)
    lossy = extended(coarse_body(subject, scanner.larmor_frequency, noise_step), subject.continues, BEYOND)
    resistance = noise_resistance(lossy, placement.array, scanner.larmor_frequency)
    shape = subject.labels.shape[1:]
    return FieldMaps(
        affine=subject.affine,
        off_resonance=np.zeros(0, np.float32),
        b1_plus=np.broadcast_to(np.complex64(uniform_transmit(scanner.transmit)), (scanner.transmit.channels, *shape)),
        b1_minus=b1_minus,
        noise_resistance=resistance.astype(np.complex128),
        receive_affine=body.affine,
        body_mass=subject.body_mass,
        provenance={
            "scanner": scanner.name,
            "subject": subject.name,
            "transmit": "uniform: all channels together reach peak_b1 at peak_power",
            "receive": "quasi-static loops (Biot-Savart), perfect preamplifier decoupling",
            "noise": "quasi-static conduction in the body, and the loops' own loss",
            **_lies(placement),
            "receive_step": RECEIVE_STEP,
            "noise_step": noise_step,
        },
    )


def _maxwell(
    scanner: Scanner,
    subject: Subject,
    placement: Placement,
    coil: Position,
    network: Network | None,
    steps: tuple[float, float],
    owner: dict[str, Any],
    progress: Progress | None,
    checkpoints: Path | None,
) -> FieldMaps:
    fine = medium_of(subject, scanner.larmor_frequency, steps[0])
    coarse = medium_of(subject, scanner.larmor_frequency, steps[1])
    driven = transmit_fields(
        fine,
        coil,
        network=network,
        coarse=coarse if steps[1] > 1.3 * steps[0] else None,
        progress=_share(progress, 0.0, 0.7, "transmit"),
        cache=checkpoints,
    )
    b1_plus, e, s_matrix, transmitted = driven.b1_plus, driven.e, driven.s_matrix, summary(driven, fine, coil)
    del driven  # the fields per ampere: as large again
    in_shield = _inside(placement.array, coil)
    b1_minus, resistance, heard = receive_fields(
        coarse,
        placement.array,
        shield_radius=coil.array.shield_radius if in_shield else 0.0,
        centre=coil.centre[:2],
        progress=_share(progress, 0.7, 1.0, "receive"),
        cache=checkpoints,
    )
    return FieldMaps(
        affine=subject.affine,
        off_resonance=np.zeros(0, np.float32),
        b1_plus=b1_plus,
        b1_minus=b1_minus,
        noise_resistance=resistance,
        e=e,
        s_matrix=s_matrix,
        receive_affine=coarse.affine,
        transmit_affine=fine.affine,
        body_mass=subject.body_mass,
        **tissue_maps(fine),
        provenance={
            **owner,
            "transmit": transmitted,
            "receive": "Maxwell: volume integral equation, by reciprocity; perfect preamplifier decoupling"
            + ("; in the transmit array's shield" if in_shield else "; no shield"),
            "noise": "Maxwell: real part of the impedance matrix, with the loops' own loss",
            **_lies(placement),
            "receive_step": steps[1],
            "receive_iterations": heard.iterations,
            "receive_imbalance": heard.imbalance,
        },
    )


def _lies(placement: Placement) -> dict[str, Any]:
    return {
        "array": placement.array.name,
        "channels": len(placement.array.loops),
        "array_origin": placement.origin,
        "array_stretch": placement.stretch,
        "nearest_conductor": placement.distance,
    }


def _inside(array: Array, coil: Position) -> bool:
    """Do all receive loops lie well inside the transmit array's shield?"""
    wire = np.concatenate([loop.points for loop in array.loops])
    farthest = np.hypot(wire[:, 0] - coil.centre[0], wire[:, 1] - coil.centre[1]).max()
    return bool(farthest < 0.95 * coil.array.shield_radius)


def _share(progress: Progress | None, first: float, last: float, what: str) -> Progress | None:
    if progress is None:
        return None
    told = progress
    return lambda done, text: told(first + (last - first) * done, f"{what}: {text}")


def _with_static(
    fields: FieldMaps, scanner: Scanner, subject: Subject, shim_order: int | None, shim_region: NDArray[np.bool_] | None
) -> FieldMaps:
    """The fields with the static one."""
    if "off_resonance" in subject.maps:
        off_resonance = subject.maps["off_resonance"].astype(np.float32)
        static, terms = "the subject's own map", None
    else:
        chi = susceptibility(subject)
        chi -= np.float32(subject.tissues[0].susceptibility)  # air lies around the grid
        off_resonance = in_tissue(dipole_field(chi, subject.affine, subject.continues), _filled(subject))
        off_resonance *= np.float32(scanner.larmor_frequency * 1e-6)
        region = usual_region(subject) if shim_region is None else shim_region
        order = scanner.shim_coils.order if shim_order is None else shim_order
        off_resonance, terms = adjusted(off_resonance, region, subject.affine, order, shim_limits(scanner, order))
        static = "dipole kernel, FFT; at borders the field on the tissue's side"
    told = {"static": static} | ({} if terms is None else {"b0_shim": dict(zip(NAMES, terms.tolist(), strict=False))})
    return replace(fields, off_resonance=off_resonance, shim=terms, provenance={**told, **fields.provenance})


def uniform_transmit(transmit: Transmit) -> float:
    """T/sqrt(W) per channel, such that all channels in phase at peak power make peak_b1."""
    return transmit.peak_b1 / (transmit.channels * math.sqrt(transmit.peak_power))


def surface(body: CoarseBody) -> NDArray[np.float64]:
    """m, (n, 3): the nodes at least half filled that have an emptier neighbour."""
    filled = body.occupied >= 0.5
    if not filled.any():
        filled = body.occupied > 0
    inner = filled.copy()
    for axis in range(3):
        inner &= np.roll(filled, 1, axis) & np.roll(filled, -1, axis)  # the margin keeps the roll from wrapping
    return np.argwhere(filled & ~inner)[:, ::-1] @ body.affine[:3, :3].T + body.affine[:3, 3]


def _filled(subject: Subject) -> NDArray[np.float32]:
    """(z, y, x): how much of each voxel is not air, points included."""
    filled = np.where(subject.labels > 0, subject.fraction, np.float32(0)).sum(axis=0)
    if subject.points is not None:
        index = nearest_voxel(subject, subject.points.position)
        inside = np.all((index >= 0) & (index < filled.shape), axis=1)
        np.add.at(
            filled, tuple(index[inside].T), (subject.points.volume / voxel_volume(subject))[inside].astype(np.float32)
        )
    return filled
