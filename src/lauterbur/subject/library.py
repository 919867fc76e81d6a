"""Subjects by name - head, head-vessels, torso, sphere, orientation - and a user's own from a TOML file.

load_subject("head")                         # 1 mm
load_subject("head", spacing=2 * mm)         # coarser, for quick runs
load_subject("head-vessels")                 # with the circle of Willis: walls, plaques and a flap as points
load_subject("torso")                        # a man of 1.75 m and 75 kg, 2.5 mm; others by torso() or a TOML file
load_subject("mine.toml", seed=3)            # labels or parameter maps as NIfTI, or a torso: see subject/described.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.anatomy import spacing as spacing_of
from lauterbur.subject.described import read_subject
from lauterbur.subject.head import head
from lauterbur.subject.parameters import relaxation
from lauterbur.subject.phantoms import orientation, sphere
from lauterbur.subject.resample import resample
from lauterbur.subject.tissues import read_tissues
from lauterbur.subject.torso.build import torso
from lauterbur.subject.vessels import circle_of_willis, with_vessels

NAMES = ("head", "head-vessels", "torso", "sphere", "orientation")


def subject_names() -> tuple[str, ...]:
    return NAMES


def load_subject(
    name_or_path: str | Path,
    *,
    field_strength: float = 4.95,
    seed: int = 0,
    spacing: float | None = None,
    tissues: str | Path | None = None,
) -> Subject:
    """A subject that can be scanned at field_strength (T; checked now rather than in the middle of a scan).

    seed      whose tissue texture it is: the natural spread within each tissue
    spacing   m, another isotropic voxel than its own
    tissues   a tissue table (TOML) in place of the one shipped, for the tissues of the same names
    """
    if not (np.isfinite(field_strength) and field_strength > 0):
        raise InputError(f"a field of {field_strength} T; it must be positive")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise InputError(f"a seed of {seed!r}; it must be a whole number from 0")
    name = str(name_or_path)
    if name == "head":
        subject = head(seed=int(seed))
    elif name == "head-vessels":
        plain = head(seed=int(seed))
        subject = with_vessels(plain if spacing is None else resample(plain, spacing), circle_of_willis())
        subject = replace(subject, name=name)
    elif name == "torso":
        subject = torso(seed=int(seed)) if spacing is None else torso(spacing=spacing, seed=int(seed))
    elif name in ("sphere", "orientation"):
        make = sphere if name == "sphere" else orientation
        subject = make(seed=int(seed)) if spacing is None else make(spacing=spacing, seed=int(seed))
    else:
        path = Path(name)
        if "\0" in name or not path.is_file():
            raise InputError(f"there is no subject {name[:200]!r}; known are {', '.join(NAMES)}, or give a TOML file")
        subject = read_subject(path, seed=int(seed), spacing=spacing)

    if tissues is not None:
        table = read_tissues(tissues)
        subject = replace(subject, tissues=tuple(table.get(tissue.name, tissue) for tissue in subject.tissues))
    if not {"t1", "t2", "t2_prime"} <= set(subject.maps):
        for index in np.unique(subject.labels):
            if subject.tissues[index].proton_density > 0:
                relaxation(subject.tissues[index], field_strength)
    if spacing is None or np.allclose(spacing_of(subject), spacing, rtol=1e-6):
        return subject
    return resample(subject, spacing)
