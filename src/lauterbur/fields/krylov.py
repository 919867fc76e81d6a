"""Many right sides, one operator: a common subspace in which every right side's residual is least.

Generalised conjugate residuals (Eisenstat, Elman and Schultz, SIAM J Numer Anal 1983, 20:345) by blocks: each step tries
the preconditioned residuals of all channels that are not done, so eight channels find what they share together. Directions
and their images are kept in single precision; solutions and residuals are double, and residuals are computed anew at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ResourceError

Vectors = NDArray[np.complex64]  # (vector, unknown)
DROP = 0.02  # of the allowed residual: what is that little in the residuals together is no direction of its own
STEPS = 200


@dataclass(eq=False)
class Space:
    """What was tried (images = operator of directions, orthonormal); the oldest goes when it is full."""

    capacity: int  # vectors
    directions: list[NDArray[np.complex64]] = field(default_factory=list)  # (block, unknown)
    images: list[NDArray[np.complex64]] = field(default_factory=list)  # (block, unknown)

    def __len__(self) -> int:
        return sum(len(block) for block in self.images)


@dataclass(frozen=True, eq=False)
class Solved:
    solution: NDArray[np.complex128]  # (channel, unknown)
    residual: NDArray[np.float64]  # (channel,), relative to the right side
    iterations: int  # applications of the operator
    history: tuple[float, ...]  # largest relative residual after each step


def solved(
    operator: Callable[[Vectors], Vectors],
    preconditioner: Callable[[Vectors], Vectors],
    right: NDArray[np.complex64],
    start: NDArray[np.complex64],
    space: Space,
    tolerance: float,
    report: Callable[[NDArray[np.complex128], NDArray[np.float64], int], None] = lambda *_: None,
) -> Solved:
    """x with |right - A x| <= tolerance |right| for every row of right, (channel, unknown)."""
    scale = np.array([max(np.linalg.norm(row), 1e-300) for row in right])
    solution = start.astype(np.complex128)
    count = 0
    history: list[float] = []
    for _ in range(4):  # a residual that drifted by rounding is computed anew, and gone on from
        residual = right.astype(np.complex128)
        begun = solution.any(axis=1)
        if begun.any():
            residual[begun] -= operator(solution[begun].astype(np.complex64))
            count += int(begun.sum())
        norm = _norms(residual) / scale
        left = norm.max()
        if (norm <= tolerance).all():
            return Solved(solution, norm, count, tuple(history))
        for directions, images in zip(space.directions, space.images, strict=True):
            _descend_(solution, residual, directions, images)
        norm = _norms(residual) / scale
        for _ in range(STEPS):
            if (norm <= tolerance * 0.95).all():
                break
            tried = _directions(residual[norm > tolerance * 0.95], scale[norm > tolerance * 0.95] * tolerance)
            directions = preconditioner(tried)
            images = operator(directions)
            count += len(tried)
            directions, images = _orthonormal(directions, images, space)
            _descend_(solution, residual, directions, images)
            norm = _norms(residual) / scale
            history.append(float(norm.max()))
            report(solution, norm, count)
            while len(space) > space.capacity:
                del space.directions[0], space.images[0]
    raise ResourceError(
        f"Maxwell's equation did not settle: {left:.1e} of the incident field is left after {count} iterations,"
        f" {tolerance:.0e} is asked for; ask for less, or look at the subject's dielectric values"
    )


def _norms(rows: NDArray) -> NDArray[np.float64]:
    return np.array([np.linalg.norm(row) for row in rows])


def _directions(residual: NDArray[np.complex128], allowed: NDArray[np.float64]) -> NDArray[np.complex64]:
    """An orthonormal basis of what matters in the residuals, (at most channels, unknown)."""
    rows = (residual / allowed[:, None]).astype(np.complex64)
    value, vector = np.linalg.eigh((rows.conj() @ rows.T).astype(np.complex128))
    keep = value > max(DROP**2, 1e-10 * value[-1])
    keep[-1] = True
    return ((vector[:, keep] / np.sqrt(value[keep])).T.astype(np.complex64)) @ rows


def _orthonormal(
    directions: NDArray[np.complex64], images: NDArray[np.complex64], space: Space
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Images orthogonal to all before and to each other, directions following them; added to the space."""
    for older, old in zip(space.directions, space.images, strict=True):
        share = images @ old.conj().T
        images -= share @ old
        directions -= share @ older
    for _ in range(2):  # the second pass mends what single precision left
        value, vector = np.linalg.eigh((images.conj() @ images.T).astype(np.complex128))
        keep = value > 1e-8 * value[-1]
        change = (vector[:, keep] / np.sqrt(value[keep])).T.astype(np.complex64)
        directions, images = change @ directions, change @ images
    space.directions.append(directions)
    space.images.append(images)
    return directions, images


def _descend_(
    solution: NDArray[np.complex128],
    residual: NDArray[np.complex128],
    directions: NDArray[np.complex64],
    images: NDArray[np.complex64],
) -> None:
    """Every channel's residual made least over these directions."""
    share = residual.astype(np.complex64) @ images.conj().T
    solution += share @ directions
    residual -= share @ images
