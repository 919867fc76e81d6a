"""The head that comes with Lauterbur: labels and partial volumes at 1 mm, derived from Colin27 by tools/derive_head.py.

The volume ends where Colin27 ends: below at the level of the foramen magnum and upper jaw (the neck goes on, face "-z"),
at the tip of the nose in front and at the rims of the ears. Its origin is the anterior commissure (MNI coordinates).
"""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np

from lauterbur.subject.anatomy import PARTS, Subject
from lauterbur.subject.tissues import read_tissues
from lauterbur.units import mm

FILE = Path(__file__).parent / "data" / "head.npy.xz"
# The labels of that file, in its order
TISSUES = (
    "air", "skin", "fat", "muscle", "cortical bone", "cancellous bone", "cerebrospinal fluid", "grey matter",
    "white matter", "putamen", "caudate", "pallidum", "thalamus", "vitreous", "lens", "sclera", "mucosa", "venous blood",
)  # fmt: skip
LEVELS = 15  # partial volumes are kept in fifteenths
BODY_MASS = 75.0  # kg, of the whole person: Colin27's is not published (unconfirmed)
ORIGIN = (-90 * mm, -91 * mm, -71 * mm)  # of the first voxel's centre: x left, y back, z head


def head(*, seed: int = 0) -> Subject:
    with lzma.open(FILE, "rb") as stream:
        first, second, part = np.load(stream, allow_pickle=False)  # type: ignore[arg-type]
    fraction = np.empty((2, *first.shape), np.float32)
    fraction[0] = np.where(first > 0, part * np.float32(1 / LEVELS), 0)
    fraction[1] = np.where(second > 0, 1 - part * np.float32(1 / LEVELS), 0)
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = ORIGIN
    tissues = read_tissues()
    return Subject(
        "head",
        np.stack([first, second]),
        fraction,
        affine,
        tuple(tissues[name] for name in TISSUES),
        continues=("-z",),
        seed=seed,
        source="derived from Colin27, McConnell Brain Imaging Centre, McGill (see NOTICE)",
        part=np.where(fraction.any(axis=0), np.uint8(PARTS.index("head")), np.uint8(0)),
        body_mass=BODY_MASS,
    )
