"""SAR matrices as arrays: what is one and what is not, and how a Hermitian one is kept as tx^2 real numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lauterbur.errors import InputError

HERMITIAN = 1e-5  # of the largest entry: what rounding to single precision may leave
NEGATIVE = 1e-5  # of the largest eigenvalue: the same


def packed(matrices: NDArray[np.complex128]) -> NDArray[np.float64]:
    """(point, tx^2): the diagonal, then real and imaginary parts above it."""
    i, j = np.triu_indices(matrices.shape[-1], 1)
    diagonal = np.einsum("pcc->pc", matrices).real
    return np.concatenate((diagonal, matrices[:, i, j].real, matrices[:, i, j].imag), axis=1)


def unpacked(packed: NDArray) -> NDArray[np.complex128]:
    """(n, tx, tx), Hermitian, from packed's (n, tx^2)."""
    n_channels = round(packed.shape[1] ** 0.5)
    i, j = np.triu_indices(n_channels, 1)
    matrices = np.zeros((len(packed), n_channels, n_channels), np.complex128)
    diagonal = np.arange(n_channels)
    matrices[:, diagonal, diagonal] = packed[:, :n_channels]
    half = n_channels + len(i)
    matrices[:, i, j] = packed[:, n_channels:half] + 1j * packed[:, half:]
    matrices[:, j, i] = matrices[:, i, j].conj()
    return matrices


def points_first(local: ArrayLike) -> NDArray[np.complex128]:
    """(n, tx, tx) complex, from that or from (tx, tx, n); what is square both ways is taken as points first."""
    matrices = numbers(local, "local")
    if matrices.ndim == 2:
        matrices = matrices[None]
    if matrices.ndim != 3:
        raise InputError(f"local has shape {matrices.shape}; it must be (point, tx, tx) or (tx, tx, point)")
    if matrices.shape[1] != matrices.shape[2]:
        if matrices.shape[0] != matrices.shape[1]:
            raise InputError(
                f"local has shape {matrices.shape}; no two neighbouring axes are equal, as (tx, tx) must be"
            )
        matrices = np.moveaxis(matrices, 2, 0)
    return np.ascontiguousarray(matrices)


def numbers(values: ArrayLike, name: str) -> NDArray[np.complex128]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biufc":
            raise TypeError
        return array.astype(np.complex128)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of numbers, in W/kg per W") from None


def check_matrices(matrices: NDArray[np.complex128], name: str) -> None:
    """Refuse what is no SAR matrix: not finite, not Hermitian, not positive semi-definite."""
    if not np.isfinite(matrices).all():
        bad = int(np.flatnonzero(~np.isfinite(matrices).all(axis=(1, 2)))[0])
        raise InputError(f"{name}: matrix {bad} holds NaN or infinity; SAR needs finite numbers, in W/kg per W")
    size = np.abs(matrices).max(axis=(1, 2), initial=0.0)
    skew = np.abs(matrices - matrices.conj().swapaxes(1, 2)).max(axis=(1, 2), initial=0.0)
    excess = np.where(skew > HERMITIAN * size, skew, 0.0)
    if excess.any():
        bad = int(np.argmax(excess))
        raise InputError(
            f"{name}: matrix {bad} is not Hermitian: it differs from its conjugate transpose by {skew[bad]:.3g}, "
            f"with entries up to {size[bad]:.3g} W/kg per W; SAR = w^H Q w needs Q = Q^H"
        )
    for start in range(0, len(matrices), 50_000):
        value = np.linalg.eigvalsh(matrices[start : start + 50_000])
        below = np.where(value[:, 0] < -NEGATIVE * value[:, -1], value[:, 0], 0.0)
        if below.any():
            bad = int(np.argmin(below))
            raise InputError(
                f"{name}: matrix {start + bad} has the eigenvalue {value[bad, 0]:.3g} W/kg per W (largest "
                f"{value[bad, -1]:.3g}); tissue only absorbs, so none may be negative"
            )
