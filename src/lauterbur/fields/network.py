"""From the currents in conductors to waves at plugs: tuning and matching per port, decoupling between ports, the S-matrix.

    plug --+--[ series ]--  conductor     one L-section per port: a capacitor (or coil) across, one in series, on the side of the
           |                              higher resistance as usual; lossless: losses are those of the conductors (Q)
         [ shunt ]

Waves are power waves: a = (V + Z0 I) / sqrt(8 Z0), so that |a|^2 is the forward power in W for peak V and I. exp(-i w t):
S is the complex conjugate of what an instrument with exp(+j w t) shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError

SWEEPS = 500  # of matching one port after the other
SETTLED = 1e-6  # relative change of a port's impedance at which it is matched


@dataclass(frozen=True, eq=False)
class Network:
    """What is between the plugs and the conductors, as reactances at one frequency; kept, it can be used on another load."""

    decoupling: NDArray[np.complex128]  # Ohm, (port, port), imaginary and symmetric: added to the impedance matrix
    series: NDArray[np.float64]  # Ohm, (port,): reactance X of i X in series with the conductor
    shunt: NDArray[np.float64]  # S, (port,): susceptance of i B, across the plug or across the conductor
    is_across_plug: NDArray[np.bool_]  # (port,): the shunt is on the plug's side (load below Z0), else the conductor's
    reference: float  # Ohm, Z0


def tuned(impedance: NDArray[np.complex128], pairs: NDArray[np.bool_], reference: float = 50.0) -> Network:
    """Every port conjugately matched, the others terminated by Z0; the reactive coupling of `pairs` (port, port) taken out.

    impedance: Ohm, (port, port), of the conductors with the body. Port by port and again until all are matched together.
    """
    z = np.asarray(impedance, np.complex128)
    if not np.isfinite(z).all() or not (np.diag(z).real > 0).all():
        worst = int(np.argmin(np.where(np.isfinite(np.diag(z)), np.diag(z).real, -np.inf)))
        raise InputError(
            f"port {worst} has an impedance of {z[worst, worst]:.3g} Ohm; a coil without loss cannot be matched: give it a finite Q"
        )
    decoupling = -1j * np.where(pairs & ~np.eye(len(z), dtype=bool), z.imag, 0)
    z = z + decoupling
    source = np.diag(z).conj()
    for _ in range(SWEEPS):
        before = source.copy()
        for i in range(len(z)):
            source[i] = np.conj(_seen(z, source, i))
        if np.abs(source - before).max() <= SETTLED * np.abs(source).max():
            break
    else:
        raise InputError(
            f'the ports did not match together in {SWEEPS} rounds; their coupling is too strong: choose decoupling = "all"'
        )
    resistance, reactance = source.real, source.imag  # what each conductor must see, looking towards the plug
    across_plug = resistance <= reference
    series, shunt = np.empty(len(z)), np.empty(len(z))
    for i in range(len(z)):
        if across_plug[i]:  # 1 / (1/Z0 + i B) has the real part R
            shunt[i] = np.sqrt(max(reference / resistance[i] - 1, 0)) / reference * -1
            series[i] = reactance[i] - (1 / (1 / reference + 1j * shunt[i])).imag
        else:  # (Z0 + i X) with i B across: the admittance wanted is 1 / source
            wanted = 1 / source[i]
            series[i] = np.sqrt(max(reference / wanted.real - reference**2, 0))
            shunt[i] = wanted.imag - (1 / (reference + 1j * series[i])).imag
    return Network(decoupling, series, shunt, across_plug, reference)


def scattering(
    impedance: NDArray[np.complex128], network: Network
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """S (port, port), and the currents in the conductors (port, port), A per sqrt(W) at plug j."""
    z = np.asarray(impedance, np.complex128) + network.decoupling
    one = np.eye(len(z))
    x, b, z0 = 1j * network.series[:, None], 1j * network.shunt[:, None], network.reference
    plug = network.is_across_plug[:, None]
    # with unit currents in the conductors: what flows beyond the series element, and the voltage at the plug
    through = np.where(plug, one, one + b * z)
    voltage = np.where(plug, z + x * one, z + x * (one + b * z))
    current = np.where(plug, through + b * voltage, through)
    a = (voltage + z0 * current) / np.sqrt(8 * z0)
    reflected = (voltage - z0 * current) / np.sqrt(8 * z0)
    conductor_current = np.linalg.inv(a)
    return reflected @ conductor_current, conductor_current


def coupled_pairs(modes: NDArray[np.float64], centres: NDArray[np.float64], kind: str) -> NDArray[np.bool_]:
    """(port, port): whose coupling a network takes out; neighbours are those within 1.3 times the nearest one's distance."""
    ports = modes.shape[1]
    if kind == "none" or ports == 1:
        return np.zeros((ports, ports), bool)
    if kind == "all" or modes.shape[0] != ports or not np.array_equal(modes, np.eye(ports)):
        return ~np.eye(ports, dtype=bool)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2) + np.where(np.eye(ports), np.inf, 0)
    return distance <= 1.3 * np.minimum(distance.min(axis=0)[:, None], distance.min(axis=1)[None, :])


def _seen(z: NDArray[np.complex128], source: NDArray[np.complex128], i: int) -> complex:
    """The impedance of conductor i while every other one is closed by what its plug's Z0 looks like from there."""
    others = np.arange(len(z)) != i
    if not others.any():
        return complex(z[i, i])
    rest = z[np.ix_(others, others)] + np.diag(source[others])
    return complex(z[i, i] - z[i, others] @ np.linalg.solve(rest, z[others, i]))
