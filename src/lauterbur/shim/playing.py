"""A shim put into a program: weights on every pulse, and kT-points or spokes in place of its excitations.

    apply_shim(program, shim)                    # static: the program's shims table and SHIM column
    apply_shim(program, shim, scanner)           # composite pulses need the machine's dead times and gradients

program.shims stores Pulseq's phase sense, the conjugate of ours. A composite pulse makes its excitation longer: TE and TR
grow by what the train needs, and the program's definitions say so. Refocused echoes would lose their timing: refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError, UnsupportedError
from lauterbur.program import Column, Program, block_starts
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.shim import Shim
from lauterbur.shim.slices import Slices
from lauterbur.shim.trains import Piece, train_pieces

Int = NDArray[np.int64]


def apply_shim(program: Program, shim: Shim, scanner: Scanner | None = None) -> Program:
    if np.any(program.blocks[:, Column.SHIM] >= 0):
        raise InputError("this program already carries RF shims; apply a shim to the program as it was built")
    plays = program.blocks[:, Column.RF] >= 0
    weights = np.atleast_2d(shim.weights)
    many = max(len(weights), 0 if shim.pulse is None else len(shim.pulse.weights))
    which = np.zeros(program.n_blocks, np.int64)
    if many > 1:
        which[plays] = slice_of_blocks(program, np.flatnonzero(plays), shim.slices, many)

    blocks = program.blocks.copy()
    blocks[plays, Column.SHIM] = np.minimum(which[plays], len(weights) - 1)
    shimmed = replace(program, blocks=blocks, shims=np.conj(weights), reference_drive=shim.reference_drive)
    if shim.pulse is None:
        return shimmed
    if scanner is None:
        raise InputError(
            f"{shim.pulse.kind} need the machine's dead times and gradients: apply_shim(program, shim, scanner)"
        )
    return _composite(shimmed, shim, which, scanner)


def slice_of_blocks(program: Program, blocks: Int, slices: Slices | None, n: int) -> Int:
    """Which slice each RF block belongs to: its SLC label, or else where its frequency lies along its gradient."""
    if "SLC" in program.labels:
        found = np.asarray(program.labels["SLC"], np.int64)[blocks]
    else:
        found = np.array([_slice_by_frequency(program, int(b), slices) for b in blocks])
    if not np.all((found >= 0) & (found < n)):
        wrong = int(blocks[np.flatnonzero((found < 0) | (found >= n))[0]])
        raise InputError(
            f"block {wrong + 1} excites slice {int(found.max())}, but the shim has {n}; design it for the program's slices"
        )
    return np.asarray(found)


def _slice_by_frequency(program: Program, block: int, slices: Slices | None) -> int:
    row = program.blocks[block]
    pulse = program.rf[row[Column.RF]]
    at = pulse.delay + pulse.center
    g = np.zeros(3)
    for axis in range(3):
        i = row[Column.GX + axis]
        if i >= 0:
            event = program.gradients[i]
            g[axis] = np.interp(at - event.delay, event.time, event.waveform, left=0.0, right=0.0)
    if row[Column.ROTATION] >= 0:
        g = program.rotations[row[Column.ROTATION]] @ g
    if slices is None or not np.any(g):
        raise UnsupportedError(
            f"block {block + 1} has neither a SLC label nor a selective gradient: which slice's shim it should play is not known"
        )
    place = pulse.frequency_offset / (g @ slices.normal)
    return int(np.argmin(np.abs(slices.positions - place)))


def _composite(program: Program, shim: Shim, which: Int, scanner: Scanner) -> Program:
    pulse = shim.pulse
    assert pulse is not None
    uses = [p.use for p in program.rf]
    if "refocusing" in uses:
        raise UnsupportedError(
            f"{pulse.kind} in a program with refocusing pulses: the longer excitation would break the echo spacing; "
            "use a static shim (mode sar), which every pulse can play"
        )
    is_excitation = np.array([use == "excitation" for use in uses] + [False])
    replaced = np.flatnonzero(is_excitation[program.blocks[:, Column.RF]])
    if not len(replaced):
        raise InputError(f"this program has no excitation that {pulse.kind} could replace")

    rf, gradients = list(program.rf), list(program.gradients)
    known: dict[tuple, list[Piece]] = {}
    pieces: list[list[Piece]] = []
    for block in replaced:
        row = program.blocks[block]
        i = int(which[block]) if len(pulse.weights) > 1 else 0
        key = (i, *row[[Column.RF, Column.GX, Column.GY, Column.GZ, Column.ROTATION, Column.ADC]].tolist())
        if key not in known:
            known[key] = train_pieces(program, int(block), shim, i, scanner, rf, gradients)
        pieces.append(known[key])

    counts = np.ones(program.n_blocks, np.int64)
    counts[replaced] = [len(p) for p in pieces]
    blocks = np.repeat(program.blocks, counts, axis=0)
    durations = np.repeat(program.durations, counts)
    first = np.concatenate(([0], np.cumsum(counts)[:-1]))[replaced]
    n_static = len(program.shims)
    for start, train in zip(first, pieces, strict=True):
        for j, piece in enumerate(train):
            row = blocks[start + j]
            row[Column.RF], row[Column.GX : Column.GZ + 1] = piece.rf, piece.gradients
            row[Column.ROTATION] = piece.rotation
            row[Column.SHIM] = n_static + piece.shim if piece.shim >= 0 else -1
            if j:
                row[Column.ADC] = row[Column.TRIGGER] = row[Column.SOFT_DELAY] = -1
            durations[start + j] = piece.duration
    later, longer = pieces[0][0].later, float(sum(p.duration for p in pieces[0]) - program.durations[replaced[0]])
    return replace(
        program,
        blocks=blocks,
        durations=durations,
        rf=tuple(rf),
        gradients=tuple(gradients),
        shims=np.concatenate((program.shims, np.conj(pulse.weights.reshape(-1, program.shims.shape[1])))),
        labels={name: np.repeat(value, counts) for name, value in program.labels.items()},
        definitions=_definitions(program, replaced, later, longer),
    )


def _definitions(program: Program, replaced: Int, later: float, longer: float) -> Mapping[str, Any]:
    """TE grows by `later`; TR by `longer`, where one excitation makes one TR."""
    held = dict(program.definitions)
    start = block_starts(program)[replaced]
    spacing = float(np.median(np.diff(start))) if len(start) > 1 else 0.0
    changes = {"TE": later}
    tr = held.get("TR")
    if isinstance(tr, tuple) and tr and abs(spacing - tr[0]) <= 0.01 * spacing:
        changes["TR"] = longer
    for name, extra in changes.items():
        if isinstance(held.get(name), tuple):
            held[name] = tuple(round(v + extra, 9) for v in held[name])
    header = held.get("LauterburHeader")
    if isinstance(header, str):
        inner = json.loads(header)
        if "te" in inner:
            inner["te"] = [round(v + later, 9) for v in inner["te"]]
        if "tr" in inner and "TR" in changes:
            inner["tr"] = round(inner["tr"] + longer, 9)
        held["LauterburHeader"] = json.dumps(inner, separators=(",", ":"), sort_keys=True)
    return held
