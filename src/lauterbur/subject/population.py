"""Many of one kind: heads and torsos varied in size, position and tilt.

vary(head(), scale=1.05, shift=(0, 0, 4 * mm), tilt=(5 * deg, 0, 0))     # one of them, of our choice
for subject in population("head", 10, seed=1): ...                       # ten, drawn; made one at a time
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from lauterbur.errors import InputError, ResourceError
from lauterbur.subject.anatomy import PointCloud, Subject, spacing
from lauterbur.subject.head import head
from lauterbur.subject.resample import MOST_VOXELS, resample
from lauterbur.subject.torso.build import torso
from lauterbur.subject.torso.sizing import half_width
from lauterbur.subject.vasculature import moved
from lauterbur.units import deg, mm

KINDS = ("head", "torso")
COMPARTMENTS = 3
# Heads: standard deviations (ours, unconfirmed) of the size, common to all axes and of each axis alone, of position and tilt
HEAD_SIZE, HEAD_SHAPE, HEAD_SHIFT, HEAD_TILT = 0.04, 0.02, (3 * mm, 4 * mm, 5 * mm), (5 * deg, 3 * deg, 4 * deg)
# Torsos: mean and standard deviation of height, m, of adults, and of the body mass index, kg/m2 (unconfirmed)
HEIGHT = {"male": (1.76, 0.07), "female": (1.63, 0.065)}
MASS_INDEX, MASS_INDEX_RANGE = (24.5, 3.5), (18.0, 33.0)
TORSO_SHIFT, TORSO_TILT = (8 * mm, 5 * mm, 15 * mm), (0.0, 0.0, 2 * deg)
MOST_DRAWS = 100
WIDEST = 0.29  # m: half of what fits in the bore with arms


def vary(subject: Subject, *, scale: ArrayLike = 1.0, shift: ArrayLike = 0.0, tilt: ArrayLike = 0.0) -> Subject:
    """The subject larger (one factor or three: x, y, z), moved (m, (3,)) and turned (rad, about x, y, z, in this order).

    It grows and turns about the isocentre, then moves. The grid stays along the patient's axes: without a tilt nothing is
    resampled; with one, tissues are interpolated linearly, and what goes on beyond a face ("continues") goes on.
    """
    factor, step, angle = (np.broadcast_to(np.asarray(v, float), (3,)) for v in (scale, shift, tilt))
    _check(factor, step, angle)
    turn = _rotation(angle)
    move = np.eye(4)
    move[:3, :3] = turn @ np.diag(factor)
    move[:3, 3] = step
    cloud = subject.points
    if cloud is not None:
        place = cloud.position @ move[:3, :3].T + step
        cloud = PointCloud(place, cloud.volume * factor.prod(), cloud.tissue)
    vessels = None if subject.vessels is None else moved(subject.vessels, move)
    mass = None if subject.body_mass is None else subject.body_mass * float(factor.prod())
    if not angle.any():
        return replace(subject, affine=move @ subject.affine, points=cloud, vessels=vessels, body_mass=mass)
    if subject.maps:
        raise InputError(
            f"subject {subject.name}: its maps ({', '.join(subject.maps)}) cannot be tilted; tilt one made of labels or fractions"
        )
    return _turned(replace(subject, points=cloud, vessels=vessels, body_mass=mass), move)


def population(kind: str, n: int, seed: int = 0, *, spacing: float | None = None, **shape: object) -> Iterator[Subject]:
    """n subjects of a kind, the same for the same seed; spacing m; for torsos also what torso() takes (breathing, arms ...)."""
    if kind not in KINDS:
        raise InputError(f"there is no population of {kind!r:.80}; choose one of {', '.join(KINDS)}")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not n >= 1:
        raise InputError(f"a population of {n!r:.40}; it must be a whole number from 1")
    if kind == "head" and shape:
        raise InputError(f"a head has no {next(iter(shape))}; only spacing can be chosen")
    return (
        _heads(n, seed, spacing)
        if kind == "head"
        else (_torso(np.random.default_rng([seed, i]), i, spacing, shape) for i in range(n))
    )


def _heads(n: int, seed: int, step: float | None) -> Iterator[Subject]:
    one = head() if step is None else resample(head(), step)
    return (_head(np.random.default_rng([seed, i]), i, replace(one, seed=i)) for i in range(n))


def _head(rng: np.random.Generator, i: int, one: Subject) -> Subject:
    size = np.exp(HEAD_SIZE * rng.standard_normal() + HEAD_SHAPE * rng.standard_normal(3))
    shift, tilt = rng.standard_normal(3) * HEAD_SHIFT, rng.standard_normal(3) * HEAD_TILT
    varied = vary(one, scale=size, shift=shift, tilt=np.clip(tilt, -20 * deg, 20 * deg))
    return replace(varied, name=f"head {i}", body_mass=one.body_mass)


def _torso(rng: np.random.Generator, i: int, step: float | None, shape: dict[str, object]) -> Subject:
    given = {} if step is None else {"spacing": step}
    for _ in range(MOST_DRAWS):
        sex = str(shape.get("sex", "male" if rng.random() < 0.5 else "female"))
        mean, deviation = HEIGHT.get(sex, HEIGHT["male"])
        height = float(np.clip(mean + deviation * rng.standard_normal(), 1.45, 2.0))
        index = float(np.clip(MASS_INDEX[0] + MASS_INDEX[1] * rng.standard_normal(), *MASS_INDEX_RANGE))
        drawn: dict[str, object] = {"sex": sex, "height": height, "weight": index * height**2} | shape
        if half_width(**drawn) <= WIDEST:  # type: ignore[arg-type]
            break
    else:
        raise InputError(
            f"none of {MOST_DRAWS} torsos drawn with {shape} fits in {WIDEST:g} m from the bore's axis; draw lighter ones, or arms=False"
        )
    one = torso(**drawn, **given, seed=i)  # type: ignore[arg-type]
    varied = vary(one, shift=rng.standard_normal(3) * TORSO_SHIFT, tilt=rng.standard_normal(3) * TORSO_TILT)
    return replace(varied, name=f"torso {i}")


def _check(factor: NDArray, step: NDArray, angle: NDArray) -> None:
    for name, values, least, most, unit in (
        ("scale", factor, 0.5, 2.0, ""), ("shift", step, -1.0, 1.0, " m"), ("tilt", angle, -np.pi / 4, np.pi / 4, " rad"),
    ):  # fmt: skip
        if not np.all((values >= least) & (values <= most)):
            raise InputError(f"vary: {name} is {values}{unit}; each must lie between {least:.3g} and {most:.3g}{unit}")


def _rotation(angle: NDArray) -> NDArray[np.float64]:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angle), np.sin(angle)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _turned(subject: Subject, move: NDArray[np.float64]) -> Subject:
    """On a grid along the patient's axes that holds the turned one, with the same steps."""
    shape = np.array(subject.labels.shape[:0:-1])  # x, y, z
    if not np.allclose(subject.affine[:3, :3], np.diag(spacing(subject))):
        raise InputError(f"subject {subject.name}: its grid does not lie along the patient's axes; it cannot be tilted")
    corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in shape))).reshape(3, -1)
    whole = move @ subject.affine
    reach = whole[:3, :3] @ corners + whole[:3, 3:]
    step = spacing(subject)
    low, high = reach.min(axis=1), reach.max(axis=1)
    count = np.ceil((high - low) / step).astype(int)
    if np.prod(count, dtype=float) > MOST_VOXELS:
        raise ResourceError(
            f"vary: {tuple(count)} voxels after the tilt; at most {MOST_VOXELS:.0e}: use a coarser subject"
        )
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = (low + high) / 2 - (count - 1) / 2 * step
    back = np.linalg.inv(whole) @ affine
    goes_on = np.array([[f"-{axis}" in subject.continues, f"+{axis}" in subject.continues] for axis in "xyz"])
    labels, fraction, part = _pulled(
        subject.labels, subject.fraction, np.zeros((1, 1, 1), np.uint8) if subject.part is None else subject.part,
        back, tuple(int(n) for n in count), goes_on, len(subject.tissues), COMPARTMENTS,
    )  # fmt: skip
    return replace(
        subject, labels=labels, fraction=fraction, affine=affine, part=None if subject.part is None else part
    )


@njit(cache=True)
def _pulled(labels, fraction, part, back, count, goes_on, n_tissues, n_kept):  # type: ignore[no-untyped-def]
    """Each new voxel's tissues by linear interpolation between eight old ones, the largest few kept; its part likewise."""
    n_slots, nz, ny, nx = labels.shape
    size = np.array([nx, ny, nz])
    new_labels = np.zeros((n_kept, count[2], count[1], count[0]), np.uint8)
    new_fraction = np.zeros(new_labels.shape, np.float32)
    new_part = np.zeros(new_labels.shape[1:], np.uint8)
    has_part = part.size > 1
    share, of_part = np.zeros(n_tissues), np.zeros(8)
    place, first, rest = np.zeros(3), np.zeros(3, np.int64), np.zeros(3)
    for k in range(count[2]):
        for j in range(count[1]):
            for i in range(count[0]):
                outside = False
                for axis in range(3):
                    p = back[axis, 0] * i + back[axis, 1] * j + back[axis, 2] * k + back[axis, 3]
                    if goes_on[axis, 0]:
                        p = max(p, 0.0)
                    if goes_on[axis, 1]:
                        p = min(p, size[axis] - 1.0)
                    outside |= p <= -1 or p >= size[axis]
                    place[axis] = p
                    first[axis] = int(np.floor(p))
                    rest[axis] = p - first[axis]
                if outside:
                    continue
                share[:] = 0
                of_part[:] = 0
                for corner in range(8):
                    x, y, z = first[0] + (corner & 1), first[1] + (corner >> 1 & 1), first[2] + (corner >> 2)
                    if x < 0 or y < 0 or z < 0 or x >= nx or y >= ny or z >= nz:
                        continue
                    weight = (
                        (rest[0] if corner & 1 else 1 - rest[0])
                        * (rest[1] if corner >> 1 & 1 else 1 - rest[1])
                        * (rest[2] if corner >> 2 else 1 - rest[2])
                    )
                    for slot in range(n_slots):
                        share[labels[slot, z, y, x]] += weight * fraction[slot, z, y, x]
                    if has_part:
                        of_part[part[z, y, x]] += weight
                share[0] = 0
                total = share.sum()
                if total < 1e-3:
                    continue
                kept = 0.0
                for slot in range(n_kept):
                    best = np.argmax(share)
                    if share[best] <= 0:
                        break
                    new_labels[slot, k, j, i] = best
                    new_fraction[slot, k, j, i] = share[best]
                    kept += share[best]
                    share[best] = 0
                for slot in range(n_kept):
                    new_fraction[slot, k, j, i] *= min(total, 1.0) / kept
                of_part[0] = 0
                new_part[k, j, i] = np.argmax(of_part)
    return new_labels, new_fraction, new_part
