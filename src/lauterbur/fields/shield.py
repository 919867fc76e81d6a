"""A cylindrical RF shield: what a perfectly conducting, long cylinder sends back of any current inside it, exact at one frequency.

The dyadic Green function of free space in cylindrical waves (Tai, Dyadic Green Functions in Electromagnetic Theory, 1971, ch. 5),
with the wave that each sends out turned back so that the tangential E vanishes on the wall:

    E(r) = -w mu0 / 8 pi sum_m integral dkz / kr^2 [ a_m M(r) <M~, J> + b_m N(r) <N~, J> ],     kr^2 = k^2 - kz^2
    M = curl(z J_m(kr rho) exp(i m phi + i kz z)),  N = curl M / k,  ~ : phases negated
    a_m = -H'_m(kr b) / J'_m(kr b)  (TE),   b_m = -H_m(kr b) / J_m(kr b)  (TM)

kz runs below +k and above -k, off the real axis, so that branch points and waveguide poles are passed on the side that losses would
choose: above the cutoff of the cylinder the power that runs away along it comes out as a resistance. The cylinder has no ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import hankel1e, ive, jve

from lauterbur.errors import InputError
from lauterbur.fields.conductors import SPEED_OF_LIGHT, Pieces
from lauterbur.units import MU_0

TOLERANCE = 1e-5  # of the strongest wave: those below it are left out
SMALLEST = 1e-290  # of a wave at the wall, in double precision
LOST = 1e-3  # of the strongest wave, what those that double precision cannot hold may bring
GAUSS = np.polynomial.legendre.leggauss(2)  # per straight piece of conductor


@dataclass(frozen=True, eq=False)
class Waves:
    """The waves in which the shield's answer is summed, and how strongly it answers to each."""

    radius: float  # m, of the shield
    centre: tuple[float, float]  # m, (x, y) of its axis
    k: float  # rad/m
    kz: NDArray[np.complex128]  # rad/m, (kz,): the negative half, then the positive one, so that reversing negates
    orders: NDArray[np.int64]  # (m,), from -M to M
    te: NDArray[np.complex128]  # (kz, m): weight a_m / kr^2 of the kz rule, scaled for `_radial` and by size^2
    tm: NDArray[np.complex128]  # (kz, m): the same of b_m
    size: NDArray[np.float64]  # (kz, m): of a wave at the wall, which it is divided by: single precision holds no 1e-40


def waves(
    radius: float,
    centre: tuple[float, float],
    frequency: float,
    *,
    inner: float,
    outer: float,
    span: float,
    tolerance: float = TOLERANCE,
) -> Waves:
    """Enough waves for sources within `outer` m of the axis and fields within `inner`, at most `span` m apart along z."""
    if not max(inner, outer) < radius:
        raise InputError(
            f"a conductor or the body lies {max(inner, outer) * 100:.1f} cm from the axis of an RF shield of {radius * 100:.1f} cm radius"
        )
    k = 2 * np.pi * frequency / SPEED_OF_LIGHT
    decay = -np.log(tolerance)
    last = int(np.ceil(decay / -np.log(inner * outer / radius**2))) + 3
    highest = max(3 * k, decay / (2 * radius - inner - outer) + k)
    height = min(k / 2, 2 / max(span, 1e-3))  # of the detour in the complex plane: exp(height span) must stay tame
    nodes, weights = np.polynomial.legendre.leggauss(24 + int(2 * k * span))
    t, dt = (nodes + 1) * k, weights * k  # 0 to 2 k
    first, first_weight = (
        t - 1j * height * np.sin(np.pi * t / (2 * k)),
        dt * (1 - 1j * height * np.pi / (2 * k) * np.cos(np.pi * t / (2 * k))),
    )
    nodes, weights = np.polynomial.legendre.leggauss(16 + int((highest - 2 * k) * span / 2))
    second, second_weight = 2 * k + (nodes + 1) * (highest - 2 * k) / 2, weights * (highest - 2 * k) / 2
    half, half_weight = np.concatenate([first, second]), np.concatenate([first_weight, second_weight])
    kz = np.concatenate([-half[::-1], half])
    weight = np.concatenate([half_weight[::-1], half_weight])

    orders = np.arange(-last, last + 1)
    kr = _kr(k, half)
    m = np.arange(last + 2)
    bessel = jve(m, (kr * radius)[:, None])  # J exp(-y), y = Im kr b
    hankel = hankel1e(m, (kr * radius)[:, None]) * np.exp(1j * (kr * radius).real)[:, None]  # H exp(y)
    slope = [
        (np.concatenate([-f[:, 1:2], f[:, :last]], axis=1) - f[:, 1:]) / 2
        for f in (bessel, hankel)  # f_-1 = -f_1
    ]
    size = ive(m[:-1], np.abs(kr * radius)[:, None])  # falls with the order as J does, and has no zeros
    # times exp(2 y) and size^2, which `_vectors` takes out twice
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        te = -(slope[1] * size) / (slope[0] / size)
        tm = -(hankel[:, :-1] * size) / (bessel[:, :-1] / size)
    held = (size > SMALLEST) & np.isfinite(te) & np.isfinite(tm)  # beyond, J falls below the smallest number
    te, tm, size = np.where(held, te, 0), np.where(held, tm, 0), np.where(held, size, 1)
    missing = np.flatnonzero(~held.all(axis=0))  # orders
    lost = (inner * outer / radius**2) ** int(missing[0]) if len(missing) else 0.0
    if lost > LOST:
        raise InputError(
            f"a conductor and the body come within {(radius - max(inner, outer)) * 1e3:.1f} mm of an RF shield of {radius * 100:.1f} cm "
            f"radius: its answer would be wrong by up to {lost:.1g}, and at most {LOST:g} is allowed; move them away from it"
        )
    whole = np.concatenate([np.arange(len(half))[::-1], np.arange(len(half))])
    factor = (weight / np.concatenate([kr[::-1], kr]) ** 2)[:, None]
    each = np.ix_(whole, np.abs(orders))
    return Waves(radius, centre, k, kz, orders, factor * te[each], factor * tm[each], size[each])


def _kr(k: float, kz: NDArray[np.complex128]) -> NDArray[np.complex128]:
    root = np.sqrt(k**2 - kz**2 + 0j)
    return np.where(root.imag < 0, -root, root)


def _radial(basis: Waves, rho: NDArray[np.float64]) -> NDArray[np.complex128]:
    """J_m(kr rho) exp(-Im kr b), (rho, kz, m + 2): orders from -M - 1 to M + 1."""
    half = len(basis.kz) // 2
    kr = _kr(basis.k, basis.kz[half:])
    last = int(basis.orders[-1]) + 1
    different, where = np.unique(np.round(rho, 7), return_inverse=True)
    argument = different[:, None] * kr
    scale = np.exp(np.abs(argument.imag) - np.abs(kr.imag) * basis.radius)
    positive = jve(np.arange(last + 1), argument[..., None]) * scale[..., None]
    sign = (-1.0) ** np.arange(last, 0, -1)
    both = np.concatenate([positive[..., :0:-1] * sign, positive], axis=-1)
    return np.concatenate([both[:, ::-1], both], axis=1)[where]


def _vectors(basis: Waves, x: NDArray, y: NDArray, sense: int) -> tuple[NDArray, NDArray]:
    """M and N without exp(+-i kz z), over their size, Cartesian, (point, kz, m, 3); sense +1, or -1 with phases negated."""
    x, y = x - basis.centre[0], y - basis.centre[1]
    rho, phi = np.hypot(x, y), np.arctan2(y, x)
    bessel = _radial(basis, rho)
    kr, kz, m = _kr(basis.k, basis.kz)[None, :, None], basis.kz[None, :, None], basis.orders
    plain = bessel[..., 1:-1]
    over = kr / 2 * (bessel[..., :-2] + bessel[..., 2:])  # m / rho J_m
    slope = kr / 2 * (bessel[..., :-2] - bessel[..., 2:])  # d J_m / d rho
    phase = np.exp(1j * sense * m * phi[:, None])[:, None, :] / basis.size
    cosine, sine = np.cos(phi)[:, None, None], np.sin(phi)[:, None, None]

    def cartesian(radial: NDArray, around: NDArray, along: NDArray | float) -> NDArray:
        parts = (radial * cosine - around * sine, radial * sine + around * cosine, along + 0 * radial)
        return np.stack([part * phase for part in parts], axis=-1)

    m_wave = cartesian(1j * sense * over, -slope, 0.0)
    n_wave = cartesian(1j * sense * kz * slope / basis.k, -kz * over / basis.k, kr**2 * plain / basis.k)
    return m_wave, n_wave


def source_strength(basis: Waves, wires: Pieces) -> NDArray[np.complex128]:
    """<M~, J> and <N~, J> of every conductor, (2, conductor, kz, m)."""
    strength = np.zeros((2, wires.count, len(basis.kz), len(basis.orders)), np.complex128)
    edge = wires.end - wires.start
    for node, weight in zip((GAUSS[0] + 1) / 2, GAUSS[1] / 2, strict=True):
        place = wires.start + node * edge
        for owner in range(wires.count):
            for mine in np.array_split(
                np.flatnonzero(wires.owner == owner), 1 + np.count_nonzero(wires.owner == owner) // 32
            ):
                flow = (weight * wires.current[mine, None] * edge[mine])[:, None, :] * np.exp(
                    -1j * basis.kz * place[mine, 2:3]
                )[..., None]
                for i_kind, wave in enumerate(_vectors(basis, place[mine, 0], place[mine, 1], -1)):
                    strength[i_kind, owner] += np.einsum("pkmc,pkc->km", wave, flow, optimize=True)
    return strength


def shield_impedance(basis: Waves, strength: NDArray[np.complex128], omega: float) -> NDArray[np.complex128]:
    """Ohm, (conductor, conductor): what the shield adds to the impedance of conductors in free space."""
    test = _turned(basis, strength)
    total = np.einsum("ikm,km,jkm->ij", test[0], basis.te, strength[0], optimize=True)
    total += np.einsum("ikm,km,jkm->ij", test[1], basis.tm, strength[1], optimize=True)
    z = omega * MU_0 / (8 * np.pi) * total
    return (z + z.T) / 2


@dataclass(frozen=True, eq=False)
class Columns:
    """The waves at the columns (x, y) of a lattice, and along its z."""

    basis: Waves
    m_wave: NDArray[np.complex64]  # (kz, m, column 3)
    n_wave: NDArray[np.complex64]  # (kz, m, column 3)
    along: NDArray[np.complex64]  # (z, kz): exp(i kz z)


def columns(basis: Waves, x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> Columns:
    waves_at = np.empty((2, len(basis.kz), len(basis.orders), len(x), 3), np.complex64)
    for some in np.array_split(np.arange(len(x)), 1 + len(x) // 16):
        for i_kind, wave in enumerate(_vectors(basis, x[some], y[some], 1)):
            waves_at[i_kind][:, :, some] = np.moveaxis(wave, 0, 2)
    flat = waves_at.reshape(2, len(basis.kz), len(basis.orders), -1)
    return Columns(basis, flat[0], flat[1], np.exp(1j * z[:, None] * basis.kz).astype(np.complex64))


def shield_electric(at: Columns, strength: NDArray[np.complex128], omega: float) -> NDArray[np.complex64]:
    """E V/m that the shield adds, (source, 3, z, column), for sources of this strength."""
    te, tm = strength[0] * at.basis.te, strength[1] * at.basis.tm
    return (-omega * MU_0 / (8 * np.pi) * _summed(at, te, tm)).astype(np.complex64)


def shield_magnetic(at: Columns, strength: NDArray[np.complex128]) -> NDArray[np.complex64]:
    """B T that the shield adds, (source, 3, z, column)."""
    te, tm = strength[0] * at.basis.te, strength[1] * at.basis.tm
    return (1j * MU_0 * at.basis.k / (8 * np.pi) * _summed(at, tm, te)).astype(np.complex64)


def _summed(at: Columns, of_m: NDArray[np.complex128], of_n: NDArray[np.complex128]) -> NDArray[np.complex64]:
    """(source, 3, z, column)"""
    largest = max(np.abs(of_m).max(), np.abs(of_n).max())  # keeps single precision away from its smallest numbers
    if not largest > 0:
        return np.zeros((len(of_m), 3, len(at.along), at.m_wave.shape[2] // 3), np.complex64)
    per_kz = [np.moveaxis(part / largest, 1, 0).astype(np.complex64) for part in (of_m, of_n)]  # (kz, source, m)
    first = np.matmul(per_kz[0], at.m_wave) + np.matmul(per_kz[1], at.n_wave)  # (kz, source, column 3)
    total = np.tensordot(at.along, first, axes=(1, 0)) * largest  # (z, source, column 3)
    return np.ascontiguousarray(total.reshape(*total.shape[:2], -1, 3).transpose(1, 3, 0, 2))


def lattice_strength(at: Columns, current: NDArray[np.complex64]) -> NDArray[np.complex128]:
    """<M~, J> and <N~, J>, (2, source, kz, m), of currents A m, (source, 3, z, column), on the lattice."""
    flat = current.transpose(2, 0, 3, 1).reshape(len(at.along), -1)
    flow = np.tensordot(at.along, flat, axes=(0, 0)).reshape(len(at.basis.kz), len(current), -1)
    parts = [np.matmul(flow, np.swapaxes(wave, 1, 2)) for wave in (at.m_wave, at.n_wave)]  # (kz, source, m): of M, N
    return _turned(at.basis, np.stack([np.moveaxis(part, 1, 0) for part in parts]).astype(np.complex128))


def _turned(basis: Waves, strength: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """From <M~, J> to <M, J> and back: M of (kz, m) is (-1)^m M~ of (-kz, -m)."""
    return strength[:, :, ::-1, ::-1] * (-1.0) ** np.abs(basis.orders)
