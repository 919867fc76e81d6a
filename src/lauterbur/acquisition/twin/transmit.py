"""Transmit: what a program's drives make of the transmit fields, relative to nominal.

gamma-bar B1+ = nominal x gamma-bar x reference_drive x sum over channels of weight x b1_plus (the prescan's drive). Without
a reference drive the mean magnitude of the first drive over the body is nominal.

Few distinct drives, the usual case, become as many channels with weight 1: a static shim is one map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.program import Column, Program
from lauterbur.units import GAMMA_BAR


@dataclass(frozen=True, eq=False)
class Transmission:
    program: Program  # its weights are of the channels below
    maps: NDArray[np.complex64]  # relative B1+, (channel, z, y, x)
    affine: NDArray[np.float64]  # (4, 4), of the maps


def transmission(program: Program, fields: FieldMaps, body: NDArray[np.bool_]) -> Transmission:
    """body: (z, y, x) where the mean is taken without a reference drive, on the grid of fields.off_resonance."""
    n_tx = len(fields.b1_plus)
    plays = program.blocks[:, Column.RF] >= 0
    shims, which = np.unique(program.blocks[plays, Column.SHIM], return_inverse=True)
    weights = [np.ones(n_tx, complex) if i < 0 else np.conj(program.shims[i]) for i in shims]
    if any(len(w) != n_tx for w in weights):
        raise InputError(
            f"the program drives {program.shims.shape[1]} transmit channels, but the fields have {n_tx}; solve the fields of "
            f"the scanner that the program was made for"
        )
    distinct, number = np.unique(np.array(weights or [np.ones(n_tx)], complex), axis=0, return_inverse=True)
    shims_column = np.full(program.n_blocks, -1)
    if len(distinct) == 1:
        mixed, shims_of = _mixed(distinct, fields.b1_plus), np.zeros((0, 1), complex)
    elif len(distinct) <= n_tx:
        mixed, shims_of = _mixed(distinct, fields.b1_plus), np.eye(len(distinct), dtype=complex)
    else:
        mixed, shims_of = fields.b1_plus, np.conj(distinct)
    if len(distinct) > 1:
        shims_column[plays] = number.reshape(-1)[which.reshape(-1)]
    blocks = program.blocks.copy()
    blocks[:, Column.SHIM] = shims_column
    if program.reference_drive is not None:
        scale = GAMMA_BAR * program.reference_drive
    else:
        first = int(number.reshape(-1)[0])
        field = mixed[first] if len(distinct) <= n_tx else _mixed(distinct[first : first + 1], fields.b1_plus)[0]
        inside = body if fields.transmit_affine is None or fields.density is None else fields.density > 0
        mean = float(np.abs(field[inside]).mean(dtype=np.float64))
        if not mean > 0:
            raise InputError(
                "the transmit field vanishes in the subject, or there is no subject; solve the fields again"
            )
        scale = 1 / mean
    affine = fields.affine if fields.transmit_affine is None else fields.transmit_affine
    return Transmission(
        replace(program, blocks=blocks, shims=shims_of), np.asarray(mixed * np.float32(scale), np.complex64), affine
    )


def _mixed(weights: NDArray[np.complex128], maps: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """(drive, z, y, x), channel after channel: no copy of all maps in double precision."""
    out = np.zeros((len(weights), *maps.shape[1:]), np.complex64)
    for total, drive in zip(out, weights.astype(np.complex64), strict=True):
        for weight, one in zip(drive, maps, strict=True):
            total += one if weight == 1 else weight * one
    return out
