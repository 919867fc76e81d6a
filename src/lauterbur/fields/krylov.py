"""Many right sides, one operator: a common subspace in which every right side's residual is least.

Generalised conjugate residuals (Eisenstat, Elman and Schultz, SIAM J Numer Anal 1983, 20:345) by blocks: each step tries
the preconditioned residuals of all channels that are not done, so eight channels find what they share together. Images
are kept orthonormal in single precision; directions as they were tried, in half precision, after whose rounding their
images are taken, so that no accuracy is lost by it. Residuals are computed anew at the end of a round; what rounding left
of them, or a round that ran out of memory, begins another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import ResourceError

Vectors = NDArray[np.complex64]  # (vector, unknown)
DROP = 0.02  # of the allowed residual: what is that little in the residuals together is no direction of its own
STEPS = 200  # of all rounds
GAIN = 0.7  # of the residual may be left by a round that is worth another


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
    capacity: int,
    tolerance: float,
    report: Callable[[Callable[[], NDArray[np.complex128]], NDArray[np.float64], int], None] = lambda *_: None,
) -> Solved:
    """x with |right - A x| <= tolerance |right| for every row of right, (channel, unknown).

    capacity: images that are kept; when they are full a new round begins. report gets what computes the solution so far, the
    residuals (channel,) relative to the right side, and the number of applications of the operator.
    """
    scale = np.maximum(_norms(right), 1e-300)
    solution = start.astype(np.complex128)
    count, steps, before = 0, 0, np.inf
    history: list[float] = []
    while True:
        residual = right.astype(np.complex128)
        begun = solution.any(axis=1)
        if begun.any():
            residual[begun] -= operator(solution[begun].astype(np.complex64))
            count += int(begun.sum())
        norm = _norms(residual) / scale
        if (norm <= tolerance).all():
            return Solved(solution, norm, count, tuple(history))
        if steps >= STEPS or not norm.max() <= GAIN * before:
            raise ResourceError(
                f"Maxwell's equation did not settle: {norm.max():.1e} of the incident field is left after {count} iterations,"
                f" {tolerance:.0e} is asked for; ask for less, or look at the subject's dielectric values"
            )
        before = norm.max()
        space = _Space(len(right))
        while not (norm <= tolerance * 0.95).all() and space.size < capacity and steps < STEPS:
            mine = norm > tolerance * 0.95
            tried = _directions(residual[mine], scale[mine] * tolerance)
            directions = _Half.of(preconditioner(tried))
            space.add_(directions, operator(directions.whole()), residual)
            count, steps = count + len(tried), steps + 1
            norm = _norms(residual) / scale
            history.append(float(norm.max()))
            report(lambda x=solution, s=space: s.added(x), norm, count)  # type: ignore[misc]
        solution = space.added(solution)


@dataclass(frozen=True, eq=False)
class _Half:
    """Vectors in half precision: four bytes for a complex number."""

    parts: NDArray[np.float16]  # (vector, 2 unknown): real and imaginary in turn, over scale
    scale: NDArray[np.float32]  # (vector,)

    @staticmethod
    def of(vectors: Vectors) -> _Half:
        scale = np.array([max(np.abs(row.view(np.float32)).max(), 1e-30) for row in vectors], np.float32)
        parts = np.empty((len(vectors), 2 * vectors.shape[1]), np.float16)
        for part, row, size in zip(parts, vectors, scale, strict=True):
            part[:] = row.view(np.float32) / size
        return _Half(parts, scale)

    def whole(self) -> Vectors:
        return np.stack([self.row(i) for i in range(len(self.scale))])

    def row(self, i: int) -> NDArray[np.complex64]:
        return (self.parts[i].astype(np.float32) * self.scale[i]).view(np.complex64)


class _Space:
    """Directions of one round, and orthonormal sums of their images."""

    def __init__(self, channels: int) -> None:
        self.directions: list[_Half] = []
        self.blocks: list[Vectors] = []  # orthonormal images
        self.sources = np.zeros((0, 0), np.complex64)  # (image, direction): of which directions each is the image
        self.answer = np.zeros((channels, 0), np.complex64)  # (channel, direction): what the solution gains

    @property
    def size(self) -> int:
        return len(self.sources)

    def add_(self, directions: _Half, images: Vectors, residual: NDArray[np.complex128]) -> None:
        """Their images are made orthonormal to all there are, and every channel's residual least over them."""
        if not images.any():
            return
        count = len(images)
        self.sources, self.answer = _wider(self.sources, count), _wider(self.answer, count)
        source = np.eye(count, self.sources.shape[1], self.sources.shape[1] - count, dtype=np.complex64)
        first = 0
        for block in self.blocks:
            share = images @ block.conj().T
            images -= share @ block
            source -= share @ self.sources[first : first + len(block)]
            first += len(block)
        for _ in range(2):  # the second pass mends what single precision left
            value, vector = np.linalg.eigh((images.conj() @ images.T).astype(np.complex128))
            keep = value > 1e-8 * value[-1]
            change: Vectors = (vector[:, keep] / np.sqrt(value[keep])).T.astype(np.complex64)
            source, images = change @ source, change @ images
        share = residual.astype(np.complex64) @ images.conj().T
        residual -= share @ images
        self.answer += share @ source
        self.sources = np.concatenate([self.sources, source])
        self.directions.append(directions)
        self.blocks.append(images)

    def added(self, solution: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """The solution with what this round adds to it."""
        total = solution.copy()
        i_direction = 0
        for some in self.directions:
            for i in range(len(some.scale)):
                row = some.row(i)
                for channel, part in zip(total, self.answer[:, i_direction], strict=True):
                    channel += part * row
                i_direction += 1
        return total


def _wider(rows: NDArray[np.complex64], count: int) -> NDArray[np.complex64]:
    return np.pad(rows, ((0, 0), (0, count)))


def _norms(rows: NDArray) -> NDArray[np.float64]:
    return np.array([np.linalg.norm(row) for row in rows])


def _directions(residual: NDArray[np.complex128], allowed: NDArray[np.float64]) -> Vectors:
    """An orthonormal basis of what matters in the residuals, (at most channels, unknown)."""
    rows = (residual / allowed[:, None]).astype(np.complex64)
    value, vector = np.linalg.eigh((rows.conj() @ rows.T).astype(np.complex128))
    keep = value > max(DROP**2, 1e-10 * value[-1])
    keep[-1] = True
    return ((vector[:, keep] / np.sqrt(value[keep])).T.astype(np.complex64)) @ rows
