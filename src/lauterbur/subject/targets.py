"""Where in a subject a named target lies, for shimming and for reading results: brain, heart, liver, pelvis ...

target_mask(subject, "heart")      # myocardium and the blood in the chambers
target_mask(subject, "muscle")     # any tissue of the subject by its name
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import PARTS, Subject
from lauterbur.subject.volumes import finite, volume

TISSUES = {
    "brain": ("grey matter", "white matter", "putamen", "caudate", "pallidum", "thalamus"),
    "eyes": ("vitreous", "lens", "sclera"),
    "heart": ("myocardium",),  # with the blood inside: see _heart
    "lungs": ("lung",),
    "liver": ("liver",),
    "spleen": ("spleen",),
    "kidneys": ("kidney cortex", "kidney medulla"),
    "stomach": ("stomach", "stomach contents"),
    "bowel": ("small intestine", "colon", "bowel contents"),
    "bladder": ("bladder", "urine"),
    "pelvis": ("bladder",),  # what lies around it: see _pelvis
}
BLOOD = ("arterial blood", "venous blood")
LEAST = 0.5  # of a voxel
PELVIS = (0.12, 0.11, 0.08)  # m: half the box around the bladder's middle, along x, y, z


def target_names(subject: Subject) -> tuple[str, ...]:
    """What target_mask can find in this subject, tissues by name aside."""
    here = {subject.tissues[index].name for index in np.unique(subject.labels)}
    parts = [] if subject.part is None else [PARTS[index] for index in np.unique(subject.part) if index > 0]
    return ("body", *(name for name, tissues in TISSUES.items() if here & set(tissues)), *parts)


def usual_target(subject: Subject, wanted: str = "") -> str:
    """What an operator shims for: what a protocol wants where this body has it, else the brain, else the whole body.

    A name that no body has is given back as it is, for `target_mask` to refuse.
    """
    here = target_names(subject)
    is_elsewhere = wanted in TISSUES or wanted in PARTS[1:]
    if wanted and (wanted in here or not is_elsewhere):
        return wanted
    return "brain" if "brain" in here else "body"


def target_mask(subject: Subject, target: str) -> NDArray[np.bool_]:
    """(z, y, x): the voxels that the target fills at least half."""
    here = {subject.tissues[index].name for index in np.unique(subject.labels[subject.fraction > 0])}
    if target in TISSUES and here & set(TISSUES[target]):
        if target == "heart":
            mask = _heart(subject)
        elif target == "pelvis":
            mask = _pelvis(subject)
        else:
            mask = _filled(subject, TISSUES[target])
    elif target == "body":
        mask = _filled(subject, tuple(here - {subject.tissues[0].name}))
    elif target in PARTS[1:] and subject.part is not None and PARTS.index(target) in subject.part:
        mask = (subject.part == PARTS.index(target)) & target_mask(subject, "body")
    elif target in here and target != subject.tissues[0].name:
        mask = _filled(subject, (target,))
    else:
        known = target in TISSUES or target in PARTS[1:]
        raise InputError(
            f"subject {subject.name} has no {target:.80}; it has {', '.join(target_names(subject))}, or a tissue by its name"
            if known
            else f"there is no target {target!r:.80}; subject {subject.name} has {', '.join(target_names(subject))}, "
            f"or a tissue by its name: {', '.join(sorted(here - {subject.tissues[0].name}))}"
        )
    if not mask.any():
        raise InputError(f"subject {subject.name}: its {target} fills no voxel by half; load it with a finer spacing")
    return mask


def shim_region(subject: Subject, target: str | NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """(z, y, x): where the static field is made even: of the target, or the usual one, what holds half the protons of water."""
    name = usual_target(subject) if target is None else target
    mask = target_mask(subject, name) if isinstance(name, str) else name
    density = np.array([tissue.proton_density for tissue in subject.tissues], np.float32)
    total = np.zeros(mask.shape, np.float32)
    for labels, fraction in zip(subject.labels, subject.fraction, strict=True):
        total += density[labels] * fraction
    signal = mask & (total >= LEAST)
    return signal if signal.any() else mask


def read_mask(path: Path, subject: Subject) -> NDArray[np.bool_]:
    """A mask from NIfTI, on the subject's grid: where the file is above one half."""
    grid = (subject.labels.shape[1:], subject.affine)
    voxels, _ = volume(path, "mask", str(path.absolute()), grid, f"the maps of subject {subject.name}")
    finite(str(path), voxels, -np.finfo(np.float64).max, np.finfo(np.float64).max, "a mask")
    mask = np.asarray(voxels > 0.5)
    if not mask.any():
        raise InputError(f"{path}: the mask is empty; it must be 1 in the target and 0 elsewhere")
    if not (mask & target_mask(subject, "body")).any():
        raise InputError(
            f"{path}: the mask lies outside subject {subject.name}: none of its {int(mask.sum())} voxels holds tissue"
        )
    return mask


def _filled(subject: Subject, names: tuple[str, ...]) -> NDArray[np.bool_]:
    wanted = np.array([tissue.name in names for tissue in subject.tissues])
    total = np.zeros(subject.labels.shape[1:], np.float32)
    for labels, fraction in zip(subject.labels, subject.fraction, strict=True):
        total += np.where(wanted[labels], fraction, np.float32(0))
    return total >= LEAST


def _heart(subject: Subject) -> NDArray[np.bool_]:
    """Muscle, and the blood within the muscle's convex hull."""
    muscle = _filled(subject, TISSUES["heart"])
    both = _filled(subject, (*TISSUES["heart"], *BLOOD))
    points = np.argwhere(muscle)
    if len(points) < 50:
        return muscle
    low, high = points.min(axis=0), points.max(axis=0)
    candidates = np.argwhere(both & ~muscle)
    candidates = candidates[np.all((candidates >= low) & (candidates <= high), axis=1)]
    hull = ConvexHull(points).equations
    inside = np.ones(len(candidates), bool)
    for *normal, offset in hull:
        inside &= candidates @ np.array(normal) + offset <= 1e-9
    mask = muscle.copy()
    mask[tuple(candidates[inside].T)] = True
    return mask


def _pelvis(subject: Subject) -> NDArray[np.bool_]:
    """Everything but skin that gives signal in a box around the bladder, limbs aside."""
    middle = np.argwhere(_filled(subject, ("bladder", "urine"))).mean(axis=0)
    signal = tuple(t.name for t in subject.tissues if t.proton_density > 0 and t.name != "skin")
    mask = _filled(subject, signal)
    if subject.part is not None:
        mask &= subject.part != PARTS.index("limb")
    index = np.indices(mask.shape, sparse=True)
    linear = subject.affine[:3, :3]
    for axis, half in enumerate(PELVIS):
        offset = sum(linear[axis, 2 - i] * (index[i] - middle[i]) for i in range(3))
        mask &= np.abs(offset) <= half
    return mask
