"""A user's own subject: a TOML file that says which NIfTI files it is made of. All files lie on one grid.

    name = "volunteer 7"
    continues = ["-z"]                # faces of the grid where the body goes on, if any
    body_mass_kg = 68                 # of the whole person: limits on heating depend on it
    part = "part.nii.gz"              # 0 air, 1 head, 2 trunk (neck too), 3 limb: local limits depend on it

    [labels]
    file = "labels.nii.gz"            # whole numbers; voxels hold one tissue each
    tissues = "tissues.toml"          # a table of one's own; left out: the one shipped
    names = { 0 = "air", 1 = "grey matter", 2 = "white matter" }

    [fractions]                       # instead of labels: how much of each voxel each tissue fills, 0 to 1
    "grey matter" = "gm.nii.gz"

    [maps]                            # instead of, or on top of, labels
    field_strength_T = 3.0            # where the relaxation times and the off-resonance hold
    unit = "ms"                       # of t1, t2, t2_prime: "ms" (usual) or "s"
    tissue = "grey matter"            # without labels: what it is otherwise (susceptibility, density, ...)
    proton_density = "pd.nii.gz"      # relative to water
    t1 = "t1.nii.gz"
    t2 = "t2.nii.gz"
    t2_prime = "t2p.nii.gz"           # left out: from the tissue with labels, none without
    off_resonance = "b0.nii.gz"       # Hz

or a torso of ours: kind = "torso" and what makes it (subject/torso/described.py).

A file named by a relative path must lie beside the TOML file or below it, links followed; an absolute path is taken as
the user's explicit wish. Where a map without labels has no protons there is air.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError
from lauterbur.scanner.table import read_toml
from lauterbur.subject.anatomy import FACES, MAP_NAMES, PARTS, Subject, Tissue
from lauterbur.subject.tissues import read_tissues
from lauterbur.subject.torso.described import torso_from
from lauterbur.subject.volumes import Grid, beside, finite, volume
from lauterbur.units import ms

MOST_COMPARTMENTS = 8  # of a subject given by fractions
LIMITS = {  # of maps, in the units of the noun
    "proton_density": (0.0, 10.0),
    "t1": (1e-4, 100.0),
    "t2": (1e-6, 100.0),
    "t2_prime": (1e-6, np.inf),
    "off_resonance": (-1e6, 1e6),
}
UNITS = {"proton_density": "protons of water", "t1": "s", "t2": "s", "t2_prime": "s", "off_resonance": "Hz"}
HIGHEST_LABEL = 65535


def read_subject(path: Path, *, seed: int = 0, spacing: float | None = None) -> Subject:
    """`spacing`, m, of a torso, which can be made at any."""
    content = read_toml(path)
    if "kind" in content:
        return torso_from(path, content, seed=seed, spacing=spacing)
    known = ("name", "continues", "body_mass_kg", "part", "labels", "fractions", "maps")
    unknown = [key for key in content if key not in known]
    if unknown:
        raise FileFormatError(path, unknown[0][:80], f"is not a key of a subject; known are {', '.join(known)}")
    sections = {key: _section(path, content, key) for key in ("labels", "fractions", "maps")}
    if not any(sections.values()):
        raise FileFormatError(path, "", "describes nothing: give [labels], [fractions] or [maps]")
    if sections["labels"] and sections["fractions"]:
        raise FileFormatError(path, "fractions", "stands beside [labels]; give one of them")
    name = content.get("name", path.stem)
    if not isinstance(name, str) or not name.isprintable() or len(name) > 200:
        raise FileFormatError(path, "name", "must be a short text")
    continues = content.get("continues", [])
    if not isinstance(continues, list) or not all(face in FACES for face in continues):
        raise FileFormatError(path, "continues", f"must list faces of the grid out of {', '.join(FACES)}")

    if sections["labels"]:
        labels, fraction, tissues, grid = _labels(path, sections["labels"])
        maps, field_strength, grid = _maps(path, sections["maps"], grid, np.any(labels > 0, axis=0))
    elif sections["fractions"]:
        labels, fraction, tissues, grid = _fractions(path, sections["fractions"])
        maps, field_strength, grid = _maps(path, sections["maps"], grid, np.any(fraction > 0, axis=0))
    else:
        maps, field_strength, grid = _maps(path, sections["maps"], None, None)
        labels, fraction, tissues = _of_maps(path, sections["maps"], maps)
    return Subject(
        name, labels, fraction, grid[1], tissues, maps=maps, map_field_strength=field_strength,
        continues=tuple(continues), seed=seed, source=str(path.name), part=_part(path, content.get("part"), grid),
        body_mass=_body_mass(path, content.get("body_mass_kg")),
    )  # fmt: skip


def _part(path: Path, named: Any, grid: Grid) -> NDArray[np.uint8] | None:
    if named is None:
        return None
    voxels, _ = volume(path, "part", named, grid)
    finite(str(named), voxels, 0, len(PARTS) - 1, "parts of the body")
    part = voxels.astype(np.uint8)
    if not np.array_equal(part, voxels):
        raise FileFormatError(
            str(named), "", "holds numbers that are not whole; parts are 0 air, 1 head, 2 trunk, 3 limb"
        )
    return part


def _body_mass(path: Path, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.5 <= value <= 500:
        raise FileFormatError(path, "body_mass_kg", f"is {value!r:.40}; it must be 0.5 to 500, of the whole person")
    return float(value)


def _section(path: Path, content: dict[str, Any], key: str) -> dict[str, Any]:
    section = content.get(key, {})
    if not isinstance(section, dict):
        raise FileFormatError(path, key, f"must be a section, [{key}]")
    return section


def _labels(
    path: Path, section: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[Tissue, ...], Grid]:
    unknown = [key for key in section if key not in ("file", "tissues", "names")]
    if unknown:
        raise FileFormatError(path, f"labels.{unknown[0]:.80}", "is not known; known are file, tissues, names")
    voxels, grid = volume(path, "labels.file", section.get("file"), None)
    table = _table(path, "labels.tissues", section.get("tissues"))
    finite(str(section["file"]), voxels, 0, HIGHEST_LABEL, "labels")
    whole = voxels.astype(np.uint16)
    if not np.array_equal(whole, voxels):
        raise FileFormatError(str(section["file"]), "", "holds numbers that are not whole; labels must be")

    names = section.get("names")
    if not isinstance(names, dict) or not names:
        raise FileFormatError(path, "labels.names", 'must name the tissue of each label, like { 0 = "air", 1 = "fat" }')
    by_label: dict[int, str] = {}
    for key, tissue in names.items():
        if not key.isdecimal() or len(key) > 9:
            raise FileFormatError(path, f"labels.names.{key:.40}", "is not a label; labels are whole numbers from 0")
        by_label[int(key)] = _known(path, f"labels.names.{key}", tissue, table)
    present = np.flatnonzero(np.bincount(whole.ravel()))
    nameless = [int(label) for label in present if int(label) not in by_label]
    if nameless:
        raise FileFormatError(
            path,
            "labels.names",
            f"has no tissue for label {nameless[0]}, which {section['file']} holds ({len(nameless)} such labels)",
        )
    tissues, indices = _indexed(table, [by_label[int(label)] for label in present])
    lookup = np.zeros(int(present[-1]) + 1, np.uint8)
    lookup[present] = indices
    labels = lookup[whole][None]
    return labels, (labels > 0).astype(np.float32), tissues, grid


def _fractions(
    path: Path, section: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[Tissue, ...], Grid]:
    files = dict(section)
    table = _table(path, "fractions.tissues", files.pop("tissues", None))
    names = [_known(path, f"fractions.{name:.80}", name, table) for name in files]
    solid = [name for name in names if name != "air"]
    if not 1 <= len(solid) <= MOST_COMPARTMENTS:
        raise FileFormatError(
            path, "fractions", f"gives {len(solid)} tissues; 1 to {MOST_COMPARTMENTS}, what they leave is air"
        )
    tissues, indices = _indexed(table, solid)
    parts = []
    grid: Grid | None = None
    for name in solid:
        voxels, grid = volume(path, f"fractions.{name:.80}", files[name], grid)
        finite(str(files[name]), voxels, -1e-3, 1 + 1e-3, "fractions")
        parts.append(np.clip(voxels, 0, 1).astype(np.float32))
    fraction = np.stack(parts)
    total = fraction.sum(axis=0)
    finite(str(path), total, 0, 1.02, "the sum of all fractions")
    fraction /= np.maximum(total, 1)
    labels = np.broadcast_to(indices[:, None, None, None], fraction.shape).astype(np.uint8)
    assert grid is not None
    return labels, fraction, tissues, grid


def _maps(
    path: Path, section: dict[str, Any], grid: Grid | None, occupied: NDArray[np.bool_] | None
) -> tuple[dict[str, NDArray[np.float32]], float | None, Grid]:
    """occupied: where there is tissue; elsewhere relaxation maps may hold anything. None: where there are protons."""
    unknown = [key for key in section if key not in (*MAP_NAMES, "field_strength_T", "unit", "tissue")]
    if unknown:
        raise FileFormatError(path, f"maps.{unknown[0]:.80}", f"is not known; maps are {', '.join(MAP_NAMES)}")
    unit = section.get("unit", "ms")
    if unit not in ("ms", "s"):
        raise FileFormatError(path, "maps.unit", f"is {unit!r:.40}; it must be 'ms' or 's'")
    field_strength = section.get("field_strength_T")
    needed = set(section) & set(MAP_NAMES) - {"proton_density"}
    if field_strength is None and needed:
        raise FileFormatError(
            path, "maps.field_strength_T", f"is missing; {', '.join(sorted(needed))} hold at one field only"
        )
    if field_strength is not None and (
        isinstance(field_strength, bool)
        or not isinstance(field_strength, int | float)
        or not 1e-3 <= field_strength <= 100
    ):
        raise FileFormatError(path, "maps.field_strength_T", f"is {field_strength!r:.40}; it must be a field in T")

    maps: dict[str, NDArray[np.float32]] = {}
    for name in MAP_NAMES:  # proton_density first
        if name not in section:
            continue
        voxels, grid = volume(path, f"maps.{name}", section[name], grid)
        is_time = name in ("t1", "t2", "t2_prime")
        with np.errstate(over="ignore", invalid="ignore"):  # too large for float32, or a signalling NaN: refused below
            values = voxels.astype(np.float32) * np.float32(ms if is_time and unit == "ms" else 1)
        if is_time:
            values = values if occupied is None else np.where(occupied, values, np.float32(1))
        finite(str(section[name]), values, *LIMITS[name], f"{name} in {UNITS[name]}")
        maps[name] = values
        if name == "proton_density" and occupied is None:
            occupied = values > 0
    if grid is None:
        raise FileFormatError(path, "maps", f"names no file; maps are {', '.join(MAP_NAMES)}")
    return maps, None if field_strength is None else float(field_strength), grid


def _of_maps(
    path: Path, section: dict[str, Any], maps: dict[str, NDArray[np.float32]]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[Tissue, ...]]:
    missing = [name for name in ("proton_density", "t1", "t2") if name not in maps]
    if missing:
        raise FileFormatError(
            path, f"maps.{missing[0]}", "is missing; without labels a subject needs proton_density, t1 and t2"
        )
    maps.setdefault("t2_prime", np.full_like(maps["t1"], np.inf))
    table = read_tissues()
    tissues, _ = _indexed(table, [_known(path, "maps.tissue", section.get("tissue", "grey matter"), table)])
    labels = (maps["proton_density"] > 0).astype(np.uint8)[None]
    return labels, labels.astype(np.float32), tissues


def _table(path: Path, where: str, named: Any) -> dict[str, Tissue]:
    table = read_tissues() if named is None else read_tissues(beside(path, where, named))
    return {"air": read_tissues()["air"], **table}


def _known(path: Path, where: str, name: Any, table: dict[str, Tissue]) -> str:
    if not isinstance(name, str) or name not in table:
        raise FileFormatError(
            path, where, f"there is no tissue {name!r:.80} in the table; it has {', '.join(table)}"[:600]
        )
    return name


def _indexed(table: dict[str, Tissue], names: list[str]) -> tuple[tuple[Tissue, ...], NDArray[np.uint8]]:
    """The tissues used, air first, and the index of each name among them."""
    used = list(dict.fromkeys(["air", *names]))
    if len(used) > 256:
        raise InputError(f"a subject has at most 256 tissues; here are {len(used)}")
    return tuple(table[name] for name in used), np.array([used.index(name) for name in names], np.uint8)
