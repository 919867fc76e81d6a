"""Static weights of the transmit channels on plain arrays: circular polarisation, phases only, magnitude least squares.

    design_weights(b1, mode="mls")                                    # b1 (tx, voxel): the most uniform |B1+|
    design_weights(b1, q, limit=22.2, mode="sar")                     # the same with w^H q w <= 22.2 at mean |B1+| = 1
    trade_off(b1, q, limits)                                          # uniformity against SAR, one row per limit

Results are scaled so that mean |B1+| = 1 in the unit of b1. Magnitude least squares: Setsompop et al., MRM 2008, 59:908.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from lauterbur.errors import InputError
from lauterbur.shim.budget import Forms, check_matrices, scaled, worst
from lauterbur.shim.interior import follow, real_matrices, uniformity, within_limits

Complex = NDArray[np.complex128]
Float = NDArray[np.float64]

STATIC_MODES = ("cp", "phase", "mls", "sar")
MOST_VOXELS = 3000  # a design looks at no more; what is promised is computed on all
INSIDE = 0.97  # of the limits: where a start begins its way
LAST_MU = 1e-7  # log units of uniformity that each active limit may leave on the table
PHASE_STEPS = 60
TRIES = 4
MARGIN = 1e-3
GLANCED = 200  # voxels on which many starts are compared
FINALISTS = 3
N_STARTS = 16


@dataclass(frozen=True, eq=False)
class Weights:
    """One drive, scaled so that mean |B1+| over the target is 1."""

    weights: Complex  # (tx,)
    variation: float  # CoV of |B1+| over the voxels given
    worst: float  # the largest w^H Q w


def design_weights(
    b1_plus: ArrayLike,
    sar_matrices: ArrayLike | None = None,
    *,
    limit: float | ArrayLike | None = None,
    mode: str | None = None,
    start: ArrayLike | None = None,
    n_starts: int = N_STARTS,
    seed: int = 0,
) -> Weights:
    """Weights for b1_plus (tx, voxel); limit: one for all matrices or one each, at mean |B1+| = 1."""
    b1 = check_maps(b1_plus)
    n_tx = len(b1)
    mode = mode or ("mls" if limit is None else "sar")
    if mode not in STATIC_MODES:
        raise InputError(f"mode {mode!r} is not static; known are {', '.join(STATIC_MODES)}")
    q = np.zeros((0, n_tx, n_tx), complex) if sar_matrices is None else check_matrices(np.asarray(sar_matrices), n_tx)
    if mode == "sar":
        if limit is None or not len(q):
            raise InputError("mode 'sar' needs SAR matrices and a limit; without them use 'mls'")
        most = np.broadcast_to(np.asarray(limit, float), (len(q),))
        if not np.all(np.isfinite(most) & (most > 0)):
            raise InputError("a limit on SAR must be positive and finite")
        given = Forms(q / most[:, None, None], ("local SAR",) * len(q), most, None)
    else:
        given = Forms(np.zeros((0, n_tx, n_tx), complex), (), np.zeros(0), None)
    own = None if start is None else [np.asarray(start, complex)]
    w = best_weights(b1, given, mode, starts=own, n_starts=n_starts, seed=seed)
    z = np.abs(w @ b1)
    worst = float(np.max(np.einsum("c,kcd,d->k", w.conj(), q, w, optimize=True).real)) if len(q) else 0.0
    return Weights(w, float(z.std() / z.mean()), worst)


def trade_off(b1_plus: ArrayLike, sar_matrices: ArrayLike, limits: Sequence[float]) -> list[Weights]:
    """Uniformity against SAR: from the loosest limit to the tightest, each started from the one before."""
    found: list[Weights] = []
    for limit in sorted(limits, reverse=True):
        before = found[-1].weights if found else None
        found.append(design_weights(b1_plus, sar_matrices, limit=limit, start=before))
    return found


def best_weights(
    b1: Complex,
    given: Forms,
    mode: str,
    *,
    middle: NDArray[np.bool_] | None = None,
    starts: list[Complex] | None = None,
    n_starts: int = N_STARTS,
    seed: int = 0,
) -> Complex:
    """(tx,) with mean |w b1| = 1. `given` binds w in the unit that makes it so; `middle`: where cp aligns the phases."""
    aligned = circular(b1, middle)
    if mode == "cp":
        return aligned
    first = [aligned] if starts is None else list(starts)
    if mode == "phase":
        few = b1[:, :: max(1, b1.shape[1] // GLANCED)]
        found = sorted((_phases(few, w) for w in _more(first, n_starts, seed)), key=lambda w: _variation(few, w))
        chosen = [_phases(b1, w) for w in [*found[:FINALISTS], aligned]]
        return min([*chosen, aligned], key=lambda w: _variation(b1, w))
    if mode == "mls":
        given = Forms(np.zeros((0, *given.matrices.shape[1:]), complex), (), np.zeros(0), None)
        first.append(
            best_weights(b1, given, "phase", middle=middle, n_starts=n_starts, seed=seed)
        )  # then never worse than it
    w = _search(b1, given, first, n_starts, seed)
    tight = given
    for _ in range(TRIES):  # where fewer voxels were looked at, the mean over all may lie lower, and the drive higher
        share, _ = worst(given, w)
        if share <= 1:
            return w
        over = share * (1 + MARGIN)
        channel = None if tight.channel is None else tight.channel / over
        tight = Forms(tight.matrices * over, tight.names, tight.limits, channel)
        w = _search(b1, tight, [w], 1, seed)
    share, name = worst(given, w)
    if not share <= 1:
        raise InputError(f"{name} stays at {100 * share:.2f} % of its limit on the whole target; use a smaller target")
    return w


def _search(b1: Complex, given: Forms, first: list[Complex], n_starts: int, seed: int) -> Complex:
    """The best of many ways inside the limits, on few voxels; scaled to mean |w b1| = 1 over all."""
    n_tx = len(b1)
    scale = float(np.mean(np.abs(b1)))
    a = np.ascontiguousarray(_few(b1).T) / scale  # (voxel, tx)
    own = scaled(given, scale)  # w_here = scale * w
    q = own.matrices
    if own.channel is not None:
        each = np.zeros((n_tx, n_tx, n_tx), complex)
        each[np.arange(n_tx), np.arange(n_tx), np.arange(n_tx)] = 1 / own.channel
        q = np.concatenate((q, each))
    stack = real_matrices(q)
    flat = stack.reshape(-1, stack.shape[-1])
    gram = real_matrices((a.conj().T @ a / len(a))[None])[0]

    best, best_value, lowest = None, np.inf, np.inf
    everything = _more(first, n_starts, seed)
    for i, w in enumerate([*(promising := _promising(a, gram, everything, first)), *everything, *_coolest(a, q)]):
        if i >= len(promising) and best is not None:
            break  # the others are asked only where none of these can be brought within the limits
        x = np.concatenate((w.real, w.imag))
        if len(stack):
            x, t = within_limits(a, gram, stack, flat, x, INSIDE)
            lowest = min(lowest, t)
            if not t < 1:
                continue
        x = follow(a, gram, stack, flat, x, 1e-2, LAST_MU, 0.1, 12 if len(stack) else 60)
        value, _ = uniformity(a, flat, x, len(stack))
        if value < best_value:
            best, best_value = x, value
    if best is None:
        share = np.sqrt(1 / lowest)
        raise InputError(
            f"no weights keep the limits: the best reach {100 * lowest:.0f} % of one of them at the nominal B1+; lower the "
            f"nominal B1+ (flip angle, or its r.m.s. by a longer TR) to {100 * share:.0f} % or less"
        )
    return _normalised(best[:n_tx] + 1j * best[n_tx:], b1)


def circular(b1: Complex, middle: NDArray[np.bool_] | None = None) -> Complex:
    """(tx,): equal magnitudes, phases that align the channels' fields in the middle of the target (None: all of it).

    Where the fields' phases differ within the middle, those of the drive with the largest mean square.
    """
    inner = b1 if middle is None else b1[:, middle]
    _, vectors = np.linalg.eigh(inner.conj() @ inner.T)  # w^H (conj(b) b^T) w = |sum of w b|^2
    return _normalised(np.exp(1j * np.angle(vectors[:, -1])), b1)


def check_maps(b1_plus: ArrayLike) -> Complex:
    b1 = np.asarray(b1_plus, complex)
    if b1.ndim != 2 or 0 in b1.shape:
        raise InputError(f"b1_plus has shape {b1.shape}; it must be (tx, voxel), with at least one of each")
    if not np.isfinite(b1).all():
        raise InputError(f"b1_plus holds {int(np.sum(~np.isfinite(b1)))} values that are not finite; mask them out")
    if not np.any(b1):
        raise InputError("b1_plus is zero in the whole target; does it lie inside the coil and the body?")
    silent = np.flatnonzero(~np.any(b1, axis=1))
    if len(silent):
        raise InputError(f"transmit channel {silent[0] + 1} makes no field in the target; leave it out")
    return b1


def _phases(b1: Complex, start: Complex) -> Complex:
    """Phases alone: Newton steps on the phases, of the exact Hessian by finite differences of an exact gradient."""
    phase = np.angle(start)
    a = _few(b1)
    value, gradient = _phase_objective(a, phase)
    hessian = np.empty((len(phase), len(phase)))
    for _ in range(PHASE_STEPS):
        for i in range(len(phase)):
            moved = phase.copy()
            moved[i] += 1e-5
            hessian[i] = (_phase_objective(a, moved)[1] - gradient) / 1e-5
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        size = max(np.abs(values).max(), 1e-12)
        step = -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), 1e-6 * size))
        length = min(1.0, 1.0 / max(np.abs(step).max(), 1e-12))
        expected = -float(step @ gradient)
        while length > 1e-8:
            new_value, new_gradient = _phase_objective(a, phase + length * step)
            if new_value <= value - 1e-4 * length * expected:
                break
            length /= 2
        else:
            break
        phase, done = phase + length * step, value - new_value < 1e-12
        value, gradient = new_value, new_gradient
        if done:
            break
    return _normalised(np.exp(1j * phase), b1)


def _phase_objective(a: Complex, phase: Float) -> tuple[float, Float]:
    w = np.exp(1j * phase)
    z = w @ a
    size = np.abs(z)
    m, square = size.mean(), np.mean(size**2)
    turn = np.conj(z) / np.maximum(size, 1e-9 * m)
    each = a * w[:, None] * 1j
    slope_m = np.real(each @ turn) / len(z)
    slope_square = 2 * np.real(each @ np.conj(z)) / len(z)
    return float(np.log(square) - 2 * np.log(m)), slope_square / square - 2 * slope_m / m


def _few(b1: Complex) -> Complex:
    """At most MOST_VOXELS of them, spread evenly."""
    n = b1.shape[1]
    return b1 if n <= MOST_VOXELS else b1[:, np.linspace(0, n - 1, MOST_VOXELS).astype(int)]


def _promising(a: Complex, gram: Float, starts: list[Complex], kept: list[Complex]) -> list[Complex]:
    """The local minima of fewest variations, found without limits on few voxels; and those kept as they were."""
    few = np.ascontiguousarray(a[:: max(1, len(a) // GLANCED)])
    none = np.zeros((0, *gram.shape))
    n_tx = a.shape[1]
    found = []
    for w in starts:
        x = follow(
            few, gram, none, none.reshape(-1, 2 * n_tx), np.concatenate((w.real, w.imag)), 1e-2, LAST_MU, 0.1, 15
        )
        z = np.abs(few @ (x[:n_tx] + 1j * x[n_tx:]))
        found.append((float(z.std() / z.mean()), x[:n_tx] + 1j * x[n_tx:]))
    found.sort(key=lambda pair: pair[0])
    chosen: list[tuple[float, Complex]] = []
    for value, w in found:  # a minimum found twice is tried once
        if not chosen or value > chosen[-1][0] * (1 + 1e-3):
            chosen.append((value, w))
    return [w for _, w in chosen[:FINALISTS]] + kept


def _coolest(a: Complex, q: Complex) -> list[Complex]:
    """Drives of much field for little heat: the first eigenvectors of mean square field against the mean of all forms."""
    if not len(q):
        return []
    heat = q.mean(axis=0)
    heat = heat + heat.conj().T + 1e-9 * np.trace(heat).real * np.eye(len(heat))
    _, vectors = eigh(a.conj().T @ a, heat)
    return list(vectors.T[::-1][:4])


def _more(starts: list[Complex], n_starts: int, seed: int) -> list[Complex]:
    rng = np.random.default_rng(seed)
    extra = max(0, n_starts - len(starts))
    return starts + [np.exp(1j * rng.uniform(0, 2 * np.pi, len(starts[0]))) for _ in range(extra)]


def _variation(b1: Complex, w: Complex) -> float:
    z = np.abs(w @ b1)
    return float(z.std() / z.mean())


def _normalised(w: Complex, b1: Complex) -> Complex:
    return np.asarray(w / np.mean(np.abs(w @ b1)))
