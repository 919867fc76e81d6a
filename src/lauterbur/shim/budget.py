"""Budget: what a shim may cost in heat, power and volts, turned into one list of quadratic forms.

    Budget(rms_b1=1.5e-6, limits=iec_limits("first level", sar.exposed_fraction))      # T: what the sequence plays
    budget_of(program, scanner, limits=iec_limits("normal"))                           # the same, read from a program

A limit binds w^H Q w at the drive that makes the mean |B1+| over the target nominal: SAR at its r.m.s. over time, volts
and watts of a channel at its peak. All are means over long times; `budget_of` takes the short windows into account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.program import Program, duration
from lauterbur.safety.limits import Limits
from lauterbur.safety.pulses import most, pulses
from lauterbur.safety.sar import SarModel
from lauterbur.scanner.machine import Scanner
from lauterbur.subject.anatomy import PARTS
from lauterbur.units import GAMMA_BAR

Complex = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Budget:
    rms_b1: float = 1e-6  # T, nominal |B1+|: root of its mean square over time
    peak_b1: float = 10e-6  # T, nominal
    limits: Limits | None = None  # of SAR; None: SAR is not limited
    peak_power: float | None = None  # W, forward, per channel
    average_power: float | None = None  # W, forward, all channels together
    peak_voltage: float | None = None  # V, per channel; at the plug, forward and reflected, where s_matrix is given
    impedance: float = 50.0  # Ohm, of the lines: V^2 = 2 Z P
    s_matrix: Complex | None = None  # (tx, tx): what the coil sends back

    def __post_init__(self) -> None:
        for name in ("rms_b1", "peak_b1", "peak_power", "average_power", "peak_voltage", "impedance"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"budget: {name} is {value}; it must be positive and finite, or None for no limit")


@dataclass(frozen=True, eq=False)
class Forms:
    """sum over pulses of w^H matrices[k] w <= 1, and |w|^2 <= channel for every pulse and channel; w in sqrt(W)/T of nominal B1."""

    matrices: Complex  # (form, tx, tx)
    names: tuple[str, ...]  # (form,)
    limits: NDArray[np.float64]  # (form,), in the unit of each: what 1 stands for
    channel: float | None  # W/T^2; None: amplifiers are not limited


def budget_of(program: Program, scanner: Scanner, *, limits: Limits | None = None) -> Budget:
    """What a program needs, and what this machine has. Short windows count by their own, higher limit."""
    played = pulses(program)
    peak = float(np.max(played.peak, initial=0.0))
    if not peak > 0:
        raise InputError("this program plays no RF; there is nothing to shim for")
    period = duration(program)
    windows = [(limits.long_window, 1.0), (limits.short_window, limits.short_factor)] if limits else [(period, 1.0)]
    mean_square = max(most(played, played.energy, window, period)[0] / (window * times) for window, times in windows)
    tx = scanner.transmit
    volts = tx.peak_voltage if np.isfinite(tx.peak_voltage) else None
    return Budget(np.sqrt(mean_square) / GAMMA_BAR, peak / GAMMA_BAR, limits, tx.peak_power, tx.average_power, volts)


def sar_forms(sar: SarModel, limits: Limits) -> tuple[Complex, list[str], NDArray[np.float64]]:
    """Every SAR matrix that has a finite limit, the safety factor in it: (form, tx, tx) W/kg per W, names, limits W/kg."""
    limb = sar.part == PARTS.index("limb")
    local = np.where(limb, limits.local_limb, limits.local_head_trunk)
    kept = np.isfinite(local)
    matrices = [sar.local[kept]]
    names = [f"local SAR, {'limb' if is_limb else 'head and trunk'}" for is_limb in limb[kept]]
    most = [local[kept]]
    for name, limit in (
        ("whole_body", limits.whole_body),
        ("head", limits.head),
        ("partial_body", limits.partial_body),
    ):
        matrix = getattr(sar, name)
        if matrix is not None and np.isfinite(limit):
            matrices.append(matrix[None])
            names.append(f"{name.replace('_', '-')} SAR")
            most.append(np.array([limit]))
    return np.concatenate(matrices) * sar.safety_factor, names, np.concatenate(most)


def forms(n_tx: int, sar: SarModel | None, budget: Budget | None) -> Forms:
    """All limits of a budget, each divided by its own value."""
    matrices: list[Complex] = []
    names: list[str] = []
    most: list[float] = []
    if budget is None:
        return Forms(np.zeros((0, n_tx, n_tx), complex), (), np.zeros(0), None)
    if budget.limits is not None and sar is not None:
        if sar.local.shape[-1] != n_tx:
            raise InputError(
                f"the SAR model has {sar.local.shape[-1]} channels, the fields {n_tx}; make it from the same fields"
            )
        q, words, limit = sar_forms(sar, budget.limits)
        matrices.append(np.asarray(q * (budget.rms_b1**2 / limit)[:, None, None], complex))
        names += words
        most += limit.tolist()
    if budget.average_power is not None:
        matrices.append(np.asarray(np.eye(n_tx)[None] * budget.rms_b1**2 / budget.average_power, complex))
        names.append("forward power, all channels")
        most.append(budget.average_power)
    channel = [budget.peak_power] if budget.peak_power is not None else []
    if budget.peak_voltage is not None and budget.s_matrix is not None:
        row = plug_rows(budget, n_tx) * budget.peak_b1 / budget.peak_voltage  # volts of each port, over the limit
        matrices.append(np.asarray(row.conj()[:, :, None] * row[:, None, :], complex))
        names += ["voltage at a plug"] * n_tx
        most += [budget.peak_voltage**2] * n_tx
    elif budget.peak_voltage is not None:
        channel.append(budget.peak_voltage**2 / (2 * budget.impedance))
    joined = np.concatenate(matrices) if matrices else np.zeros((0, n_tx, n_tx), complex)
    return Forms(joined, tuple(names), np.array(most), min(channel) / budget.peak_b1**2 if channel else None)


def plug_rows(budget: Budget, n_tx: int) -> Complex:
    """(port, tx): V at the plug of each port per sqrt(W) of forward drive, the reflected wave included where it is known."""
    back = np.zeros((n_tx, n_tx)) if budget.s_matrix is None else np.asarray(budget.s_matrix)
    if back.shape != (n_tx, n_tx) or not np.isfinite(back).all():
        raise InputError(
            f"the S-matrix has shape {back.shape}; it must be ({n_tx}, {n_tx}) and finite, like the transmit channels"
        )
    return np.asarray(np.sqrt(2 * budget.impedance) * (np.eye(n_tx) + back), complex)


def scaled(given: Forms, scale: float) -> Forms:
    """The same limits for w in another unit: w_new = scale * w."""
    channel = None if given.channel is None else given.channel * scale**2
    return Forms(given.matrices / scale**2, given.names, given.limits, channel)


def worst(given: Forms, weights: Complex) -> tuple[float, str]:
    """The largest fraction of a limit, and which; weights (tx,) or (pulse, tx), summed over pulses."""
    w = np.atleast_2d(weights)
    parts: list[tuple[float, str]] = [(0.0, "")]
    if len(given.names):
        q = np.einsum("jc,kcd,jd->k", w.conj(), given.matrices, w, optimize=True).real
        i = int(np.argmax(np.where(np.isnan(q), np.inf, q)))
        parts.append((float(q[i]), given.names[i]))
    if given.channel is not None:
        parts.append((float(np.max(np.abs(w) ** 2) / given.channel), "peak power or voltage of a channel"))
    return max(parts, key=lambda part: part[0])


def check_matrices(matrices: Complex, n_tx: int, names: Sequence[str] = ()) -> Complex:
    q = np.asarray(matrices, complex)
    if q.ndim != 3 or q.shape[1:] != (n_tx, n_tx):
        raise InputError(
            f"SAR matrices have shape {q.shape}; they must be (n, {n_tx}, {n_tx}), like the {n_tx} channels of b1_plus"
        )
    if not np.isfinite(q).all():
        raise InputError("a SAR matrix holds a value that is not finite; compute it again")
    return q
