"""How uneven B1+ of circular polarisation is in a head, and what that figure hangs on: loops, slice, region.

    python benchmarks/variation.py --step 8                           # table: radius and height of the loops, slice, region
    python benchmarks/variation.py --step 5 --only --out b1-head.png  # the issue's own coil alone, with a picture

Eight unshielded loops of 10 x 20 cm on a cylinder, equal currents, phases of 45 degrees, in Colin27's head at 3, 4.95 and 7 T.
The figure is the coefficient of variation, standard deviation over mean, of |B1+| at voxel centres: in the axial slice through the
middle of the whole head, of the brain, or of the loops, over everything, over the brain alone, or over all but skin and bone; and in
the whole head above the cut neck, and the whole brain.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from maxwell import circular, loops

import lauterbur as lb
from lauterbur.fields.incident import incident_fields
from lauterbur.fields.integral import solve
from lauterbur.fields.medium import Medium, centres, medium_of
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.parameters import nearest_voxel
from lauterbur.units import GAMMA_BAR

FIELDS = (3.0, 4.95, 7.0)  # T
OUTSIDE = ("Skin", "Bone", "Fat")  # how the dielectric names of what lies around the brain begin


def regions(subject: Subject, medium: Medium) -> dict[str, np.ndarray]:
    """Masks, (z, y, x), by the tissue that fills most of the subject's voxel at each centre."""
    assert medium.density is not None
    head = medium.density > 0
    index = np.clip(nearest_voxel(subject, centres(medium, head)), 0, np.array(subject.labels.shape[1:]) - 1)
    where = tuple(index.T)
    most = subject.fraction[(slice(None), *where)].argmax(axis=0)
    label = subject.labels[(most, *where)]
    names = [tissue.dielectric for tissue in subject.tissues]
    found = {"head": head}
    for name, chosen in (
        ("brain", [n.startswith("Brain") for n in names]),
        ("no skin, bone", [n != "air" and not n.startswith(OUTSIDE) for n in names]),
    ):
        mask = np.zeros_like(head)
        mask[head] = np.array(chosen)[label]
        found[name] = mask
    return found


def middle(mask: np.ndarray) -> int:
    layers = np.flatnonzero(mask.any(axis=(1, 2)))
    return int((layers[0] + layers[-1]) // 2)


def figures(b1: np.ndarray, found: dict[str, np.ndarray], at_coil: int) -> dict[str, float]:
    """%, of each slice and region."""
    table = {}
    for where, layer in (("head", middle(found["head"])), ("brain", middle(found["brain"])), ("coil", at_coil)):
        for name, mask in found.items():
            values = b1[layer][mask[layer]]
            table[f"{where}'s slice, {name}"] = (
                100 * float(values.std() / values.mean()) if len(values) > 20 else np.nan
            )
    for name, mask in found.items():
        table[f"volume, {name}"] = 100 * float(b1[mask].std() / b1[mask].mean())
    return table


def by_height(rows: list[tuple[Medium, np.ndarray, dict]], subject: Subject) -> None:
    """%, of the whole axial slice and of the brain in it, against the slice's distance from the head's middle."""
    print("    slice, mm from the head's middle: variation in the head (in the brain), %")
    found = [regions(subject, medium) for medium, _, _ in rows]
    layers = np.flatnonzero(found[0]["head"].any(axis=(1, 2)))
    for layer in layers[1:-1:2]:
        text = ""
        for (_, b1, _), masks in zip(rows, found, strict=True):
            head, brain = (b1[layer][masks[name][layer]] for name in ("head", "brain"))
            inner = f"({100 * brain.std() / brain.mean():5.1f})" if len(brain) > 20 else "(    -)"
            text += f"  {100 * head.std() / head.mean():5.1f} {inner}"
        print(f"    {1e3 * (layer - middle(found[0]['head'])) * rows[0][0].affine[0, 0]:6.0f}{text}", flush=True)


def solved(
    subject: Subject, size: float, radius: float, height: str, neck: bool
) -> list[tuple[Medium, np.ndarray, dict]]:
    """|B1+|, T for 1 A in each loop, at each field, and its figures."""
    rows = []
    for field in FIELDS:
        medium = medium_of(subject, GAMMA_BAR * field, size, **({} if neck else {"beyond": size}))
        found = regions(subject, medium)
        place = centres(medium, found["head"])
        centre = (place.min(axis=0) + place.max(axis=0)) / 2
        if height == "brain":
            centre[2] = centres(medium, found["brain"])[:, 2].mean()
        coils = loops((centre[0], centre[1], centre[2]), radius, width=min(0.1, 2 * np.pi * radius / 8 - 0.005))
        solution = solve(medium, incident_fields(medium, coils))
        b1 = circular(solution)
        at_coil = round((centre[2] - medium.affine[2, 3]) / size)
        rows.append((medium, b1, figures(b1, found, at_coil)))
    return rows


def show(name: str, rows: list[tuple[Medium, np.ndarray, dict]]) -> None:
    print(name)
    for key in rows[0][2]:
        print(f"    {key:28s}" + "".join(f"{row[2][key]:7.1f}" for row in rows), flush=True)


def draw(subject: Subject, rows: list[tuple[Medium, np.ndarray, dict]], out: Path) -> None:
    os.environ.setdefault("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(rows), figsize=(11, 4.2), constrained_layout=True)
    for axis, field, (medium, b1, table) in zip(axes, FIELDS, rows, strict=True):
        head = regions(subject, medium)["head"]
        layer = middle(head)
        values = np.where(head[layer], b1[layer], np.nan)
        shown = axis.imshow(values / np.nanmean(values), vmin=0.4, vmax=1.6, cmap="inferno", interpolation="nearest")
        variation = table["head's slice, head"]
        axis.set(title=f"{field:g} T: {variation:.0f} %", xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, label="|B1+| over its mean, circular polarisation", shrink=0.8)
    figure.savefig(out, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=float, default=8.0, help="mm")
    parser.add_argument(
        "--only", action="store_true", help="loops of 14 cm radius around the head's middle, nothing else"
    )
    parser.add_argument("--out", type=Path, help="PNG of the slice through the head's middle, of the first set-up")
    arguments = parser.parse_args()
    subject = lb.load_subject("head", spacing=2e-3)
    set_ups = [
        (0.14, "head", True),
        (0.13, "head", True),
        (0.16, "head", True),
        (0.14, "brain", True),
        (0.14, "head", False),
    ]
    for i, (radius, height, neck) in enumerate(set_ups[:1] if arguments.only else set_ups):
        rows = solved(subject, 1e-3 * arguments.step, radius, height, neck)
        show(
            f"radius {100 * radius:g} cm, around the {height}'s middle, {'neck going on' if neck else 'neck cut'}; % at {FIELDS} T",
            rows,
        )
        if i == 0:
            by_height(rows, subject)
        if arguments.out and i == 0:
            draw(subject, rows, arguments.out)


if __name__ == "__main__":
    main()
