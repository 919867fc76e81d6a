"""Gradient echo and turbo spin echo of head and torso in Maxwell's fields: the shading of circular polarisation, and what shims leave.

    python benchmarks/shimmed_scans.py --head head.h5 --torso torso.h5 --out shimmed.png
    python benchmarks/shimmed_scans.py --torso torso.h5 --only "torso TSE"

FILE.h5 of `lauterbur fields --subject head --out head.h5`. Each protocol of the library is played three times on the twin, with
fewer slices or partitions and a coarser matrix (MATRIX): with circular polarisation, with the shim, and with an even transmit
field of the nominal size. What the third does not show, the excitation has made: the ratio of images is the shading, its
variation over the target is printed and drawn. Receivers are the same in all.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lauterbur as lb
from lauterbur.acquisition.twin.simulation import Twin
from lauterbur.fields.files import read_fields
from lauterbur.fields.maps import FieldMaps
from lauterbur.image import Image
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol
from lauterbur.safety.gate import clear
from lauterbur.safety.sar import sar_model
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.planned import plan_shim
from lauterbur.shim.playing import apply_shim
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.targets import target_mask


@dataclass(frozen=True)
class Case:
    name: str
    subject: str
    protocol: str
    target: str
    shim: str
    changes: dict


CASES = (
    Case("head GRE", "head", "brain/t1-gre", "brain", "kt-points", {"matrix": (120, 120, 96)}),
    Case("head TSE", "head", "brain/t2-tse", "brain", "sar, slices", {"matrix": (160, 160, 1), "slices": 5, "slice_gap": 9e-3}),
    Case("torso GRE", "torso", "body/t1-gre", "liver", "sar", {"matrix": (192, 124, 60)}),
    Case("torso TSE", "torso", "body/t2-tse", "liver", "sar", {"matrix": (192, 132, 1), "slices": 7, "slice_gap": 19e-3}),
)  # fmt: skip


def even(fields: FieldMaps) -> FieldMaps:
    """The same receivers, and a transmit field that is the same everywhere."""
    return replace(fields, b1_plus=np.ones((1, *fields.b1_plus.shape[1:]), np.complex64))


def played(program: Program, subject: Subject, scanner: Scanner, fields: FieldMaps) -> Image:
    return lb.reconstruct(Twin(subject, scanner, fields, coils=16, measure_error=False).play(program))


def on_image(mask: NDArray[np.bool_], affine: NDArray[np.float64], image: Image) -> NDArray[np.bool_]:
    """(z, y, x) of the image: whose middle lies in a voxel of the mask."""
    shape = image.pixels.shape[1:]
    index = np.stack([*np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")][::-1] + [np.ones(shape)], axis=-1)
    at = np.round(index @ (np.linalg.inv(affine) @ image.affine)[:3].T).astype(int)[..., ::-1]
    inside = np.all((at >= 0) & (at < mask.shape), axis=-1)
    found = np.zeros(shape, bool)
    found[inside] = mask[tuple(at[inside].T)]
    return found


def shading(image: Image, reference: Image) -> NDArray[np.float64]:
    """Image over the image of an even field, over 3 x 3 pixels of each plane, so that noise weighs little."""
    from scipy.ndimage import uniform_filter

    one, other = (uniform_filter(np.abs(i.pixels[0]).astype(float), (0, 3, 3)) for i in (image, reference))
    return one / np.maximum(other, 1e-3 * other.max())


def run(case: Case, fields: FieldMaps, scanner: Scanner, subject: Subject) -> tuple[Case, list, Image]:
    protocol: Protocol = replace(lb.load_protocol(case.protocol), **case.changes)
    program = lb.build_program(protocol, scanner)
    mask = target_mask(subject, case.target)
    sar = sar_model(fields)
    light = replace(fields, e=None)
    plans = []
    for mode in ("cp", case.shim):
        kind, _, slices = mode.partition(", ")
        shim = plan_shim(program, scanner, fields, sar, target=mask, mode=kind, slice_wise=bool(slices))
        plans.append((mode, shim, clear(apply_shim(program, shim, scanner), scanner, fields, sar)))
    reference = played(program, subject, scanner, even(light))
    inside = on_image(mask, subject.affine, reference)
    bright = np.abs(reference.pixels[0])
    inside &= bright > 0.25 * np.median(bright[inside])  # no gas, no cortex: their ratio is noise
    print(f"\n{case.name}: {case.protocol}, {protocol.matrix}, {case.target}", flush=True)
    rows = []
    for mode, shim, cleared in plans:
        judged = [f for f in cleared.findings if f.limit > 0 and "SAR" in f.quantity]
        worst = max(judged, key=lambda finding: -finding.margin)
        start, cpu = time.perf_counter(), time.process_time()
        image = played(cleared.program, subject, scanner, light)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        ratio = shading(image, reference)
        spread = float(ratio[inside].std() / ratio[inside].mean())
        low, high = np.percentile(ratio[inside] / ratio[inside].mean(), (5, 95))
        angle = shim.promised.get("flip-angle variation", shim.promised["variation"])
        print(
            f"  {mode:10s} shading in {case.target} {100 * spread:5.1f} % (5th to 95th percentile {low:.2f} to {high:.2f}), "
            f"flip angle {100 * angle:5.1f} %, nearest limit {worst.quantity}: {worst.value:.3g} of {worst.limit:.3g}; "
            f"twin {wall:.0f} s, {cpu:.0f} CPU s",
            flush=True,
        )
        rows.append((mode, image, ratio, spread))
    return case, [(*row, inside) for row in rows], reference


def picture(done: list[tuple[Case, list, Image]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(done), 5, figsize=(13, 2.7 * len(done)), layout="constrained", squeeze=False)
    for line, (case, rows, reference) in zip(panels, done, strict=True):
        inside = rows[0][4]
        ix = np.argmax(inside.sum(axis=(1, 2)))
        images = [(f"{mode}", image, 1.0) for mode, image, *_ in rows] + [("even transmit field", reference, 1.0)]
        for panel, (title, image, _) in zip(line[:3], images, strict=True):
            plane = np.abs(image.pixels[0, ix])
            panel.imshow(plane, cmap="gray", vmin=0, vmax=1.1 * np.percentile(plane[inside[ix]], 95))
            panel.set_title(f"{case.name}, {title}" if title == "cp" else title, fontsize=9)
        for panel, (mode, _, ratio, spread, _) in zip(line[3:], rows, strict=True):
            bright = np.abs(reference.pixels[0])
            shown = np.where(bright[ix] > 0.25 * np.median(bright[inside]), ratio[ix], np.nan)
            drawn = panel.imshow(shown / ratio[inside].mean(), cmap="RdBu_r", vmin=0, vmax=2)
            panel.contour(inside[ix], levels=[0.5], colors="k", linewidths=0.6)
            panel.set_title(f"{mode} / even: {100 * spread:.1f} % in {case.target}", fontsize=9)
        figure.colorbar(drawn, ax=line[3:], shrink=0.8)
    for panel in panels.flat:
        panel.set_axis_off()
    figure.savefig(path, dpi=90)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", type=Path)
    parser.add_argument("--torso", type=Path)
    parser.add_argument("--only", nargs="+", help="names of cases")
    parser.add_argument("--out", type=Path, default=Path("shimmed_scans.png"))
    given = parser.parse_args()
    scanner, done = lb.load_scanner("5T"), []
    for name, path in (("head", given.head), ("torso", given.torso)):
        cases = [c for c in CASES if c.subject == name and (given.only is None or c.name in given.only)]
        if path is None or not cases:
            continue
        subject = lb.load_subject(name)
        fields = read_fields(path, scanner=scanner, subject=subject)
        done += [run(case, fields, scanner, subject) for case in cases]
    if not done:
        parser.error("no case is left: give --head or --torso, and names of --only that exist")
    picture(done, given.out)


if __name__ == "__main__":
    main()
