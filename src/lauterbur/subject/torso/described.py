"""A torso of one's own as TOML, in people's units; what is left out is as torso() has it.

kind = "torso"
name = "volunteer 7"
sex = "female"            # or "male"
height_cm = 163
weight_kg = 60
breathing = 0.0           # 0 end of expiration ... 1 end of a quiet inspiration
heartbeat = 0.35          # phase of the cycle: 0 end diastole, about 0.35 end systole
arms = true               # false: above the head, out of the picture
landmark = "heart"        # what lies at the isocentre: trunk (the xiphoid), heart, liver, pelvis
spacing_mm = 2.5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lauterbur.errors import FileFormatError, InputError
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.torso.build import torso
from lauterbur.units import cm, mm

NUMBERS = {  # key -> argument of torso(), its unit
    "height_cm": ("height", cm),
    "weight_kg": ("weight", 1.0),
    "breathing": ("breathing", 1.0),
    "heartbeat": ("heartbeat", 1.0),
    "spacing_mm": ("spacing", mm),
}
TEXTS = ("sex", "landmark", "name")


def torso_from(path: Path, content: Mapping[str, Any], *, seed: int = 0, spacing: float | None = None) -> Subject:
    """`spacing`, m, goes before that of the file."""
    known = ("kind", *TEXTS, *NUMBERS, "arms")
    unknown = [key for key in content if key not in known]
    if unknown:
        raise FileFormatError(path, unknown[0][:80], f"is not known of a torso; known are {', '.join(known)}")
    if content["kind"] != "torso":
        raise FileFormatError(path, "kind", f"is {content['kind']!r:.80}; only 'torso' is known")
    values: dict[str, Any] = {}
    for key, (argument, unit) in NUMBERS.items():
        if key in content:
            value = content[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise FileFormatError(path, key, f"is {value!r:.80}; it must be a number")
            values[argument] = value * unit
    for key in TEXTS:
        if key in content and not isinstance(content[key], str):
            raise FileFormatError(path, key, f"is {content[key]!r:.80}; it must be a text")
    for key in ("sex", "landmark"):
        if key in content:
            values[key] = content[key]
    if "arms" in content:
        if not isinstance(content["arms"], bool):
            raise FileFormatError(path, "arms", f"is {content['arms']!r:.80}; true or false")
        values["arms"] = content["arms"]
    if spacing is not None:
        values["spacing"] = spacing
    name = content.get("name", path.stem)
    if not name.isprintable() or len(name) > 200:
        raise FileFormatError(path, "name", "must be a short text")
    try:
        made = torso(**values, seed=seed)
    except InputError as problem:
        raise FileFormatError(path, "", str(problem)) from None
    return replace(made, name=name)
