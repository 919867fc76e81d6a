"""Transmit and receive fields by Maxwell: coils around the body, the volume integral equation in it, the network at the plugs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.fields.conductors import as_conductors
from lauterbur.fields.medium import Medium, conductivity, step
from lauterbur.fields.network import Network, coupled_pairs, scattering, tuned
from lauterbur.fields.position import Position
from lauterbur.fields.transmit import Loaded, clear_of, coil, coil_and_body
from lauterbur.scanner.machine import Array, TransmitArray

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class TransmitFields:
    """Per square root of watt forward at each plug."""

    b1_plus: NDArray[np.complex64]  # T/sqrt(W), (tx, z, y, x)
    e: NDArray[np.complex64]  # V/m/sqrt(W), (tx, 3, z, y, x)
    s_matrix: NDArray[np.complex128]  # (port, port)
    absorbed: NDArray[np.complex128]  # W per W, (tx, tx): in the body, by volume
    lost: NDArray[np.complex128]  # W per W, (tx, tx): in conductors and capacitors
    network: Network
    loaded: Loaded


def transmit_fields(
    medium: Medium,
    position: Position,
    *,
    network: Network | None = None,
    coarse: Medium | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
    **options: Any,
) -> TransmitFields:
    """A placed transmit array, tuned and matched on this body unless a network is given (one tuned on another load)."""
    array = position.array
    medium = clear_of(medium, array.conductors, array.conductor_radius)
    if coarse is not None:
        coarse = clear_of(coarse, array.conductors, array.conductor_radius)
    made = coil(
        medium,
        array.conductors,
        array.modes,
        conductor_radius=array.conductor_radius,
        unloaded_q=array.unloaded_q,
        shield_radius=array.shield_radius,
        centre=position.centre[:2],
    )
    loaded = coil_and_body(medium, made, coarse=coarse, progress=progress, cache=cache, **options)
    network = network or tuned(loaded.impedance, pairs_of(array), array.impedance)
    s_matrix, current = scattering(loaded.impedance, network)
    lost = current.conj().T @ np.diag(made.loss / 2) @ current
    return TransmitFields(
        b1_plus=_driven(current, (loaded.b[:, 0] + 1j * loaded.b[:, 1]) / 2),
        e=_driven(current, loaded.e),
        s_matrix=s_matrix,
        absorbed=current.conj().T @ loaded.absorbed @ current,
        lost=lost,
        network=network,
        loaded=loaded,
    )


def receive_fields(
    medium: Medium,
    array: Array,
    *,
    shield_radius: float = 0.0,
    centre: tuple[float, float] = (0.0, 0.0),
    progress: Progress | None = None,
    cache: Path | None = None,
    **options: Any,
) -> tuple[NDArray[np.complex64], NDArray[np.complex128], Loaded]:
    """b1_minus T/A (rx, z, y, x) and noise resistance Ohm (rx, rx), by reciprocity: the fields of 1 A in each loop.

    Preamplifiers are taken as perfect: no current in the other loops. The noise is that of all that takes power (Johnson and Nyquist,
    for coupled ports Twiss, J Appl Phys 1955, 26:599): the real part of the impedance matrix.
    """
    loops = as_conductors(array)
    medium = clear_of(medium, loops, array.conductor_radius)
    made = coil(
        medium,
        loops,
        np.eye(len(loops)),
        conductor_radius=array.conductor_radius,
        resistance=array.resistance,
        shield_radius=shield_radius,
        centre=centre,
    )
    loaded = coil_and_body(medium, made, progress=progress, cache=cache, **options)
    b1_minus = ((loaded.b[:, 0] - 1j * loaded.b[:, 1]) / 2).astype(np.complex64)
    return b1_minus, loaded.impedance.real.astype(np.complex128), loaded


def pairs_of(array: TransmitArray) -> NDArray[np.bool_]:
    centres = np.array([each.points.mean(axis=0) for each in array.conductors])
    return coupled_pairs(array.modes, centres, array.decoupling)


def tissue_maps(medium: Medium) -> dict[str, Any]:
    """conductivity, density and part as FieldMaps keeps them: nothing where a cut body is only continued."""
    sigma = conductivity(medium)
    density = medium.density if medium.density is not None else np.zeros_like(sigma)
    return {
        "conductivity": np.where(density > 0, sigma, np.float32(0)),
        "density": density,
        "part": medium.part if medium.part is not None and medium.part.any() else None,
    }


def missing_power(fields: TransmitFields) -> NDArray[np.complex128]:
    """W per W, (tx, tx): accepted at the plugs and found neither in the body nor in the coil: radiation, and errors.

    In a long shield below its cutoff nothing radiates: then this is the error of the power balance.
    """
    accepted = np.eye(len(fields.s_matrix)) - fields.s_matrix.conj().T @ fields.s_matrix
    return accepted - fields.absorbed - fields.lost


def summary(fields: TransmitFields, medium: Medium, position: Position) -> dict[str, Any]:
    """What a report says of a transmit solution."""
    reflected = np.abs(np.diag(fields.s_matrix))
    coupled = np.abs(fields.s_matrix - np.diag(np.diag(fields.s_matrix)))
    return {
        "method": "Maxwell: volume integral equation; thin conductors with uniform current, exact cylindrical shield",
        "array": position.array.name,
        "centre": position.centre,
        "nearest_conductor": position.distance,
        "step": step(medium),
        "iterations": fields.loaded.iterations,
        "imbalance": fields.loaded.imbalance,
        "worst_reflection": float(reflected.max()),
        "worst_coupling": float(coupled.max()),
        "missing_power": float(np.linalg.norm(missing_power(fields), 2)),
        "decoupling": position.array.decoupling,
        "series_reactance": fields.network.series.tolist(),
        "shunt_susceptance": fields.network.shunt.tolist(),
    }


def _driven(current: NDArray[np.complex128], field: NDArray) -> NDArray[np.complex64]:
    return np.tensordot(current.T.astype(np.complex64), field, axes=(1, 0)).astype(np.complex64, copy=False)
