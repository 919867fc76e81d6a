"""Every shim of a head and a torso at 5 T: flip-angle variation before and after, with heat and watts against their limits.

    python benchmarks/shimming_5t.py head brain                     # solves the fields first: minutes
    python benchmarks/shimming_5t.py torso liver heart pelvis --step 8e-3 --cache folder --picture maps.png
    python benchmarks/shimming_5t.py torso liver --fields torso.h5      # of `lauterbur fields --subject torso --out torso.h5`
    python benchmarks/shimming_5t.py head brain --fields head.h5 --universal universal.json    # of benchmarks/universal.py --out

Excitations are those of a spoiled gradient echo (10 deg, TR 20 ms); static shims play the same angle by hard pulses of the
same total length, spokes by selective ones of 1 ms, slice by slice. First-level limits, which every slice keeps as if it were played
all the time.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import lauterbur as lb
from lauterbur.errors import InputError
from lauterbur.fields.files import read_fields
from lauterbur.fields.maps import FieldMaps
from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol
from lauterbur.safety.limits import iec_limits
from lauterbur.safety.sar import SarModel, sar_model
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.budget import Budget
from lauterbur.shim.composite import plan_train
from lauterbur.shim.files import read_shim
from lauterbur.shim.flip_angle import flip_angle_map, variation
from lauterbur.shim.promise import promise
from lauterbur.shim.shim import Shim, design_shim
from lauterbur.shim.slices import Slices, nearest_slice
from lauterbur.shim.target import body, chosen_voxels, positions, site, transmit_affine
from lauterbur.shim.trains import plan_of
from lauterbur.units import GAMMA_BAR

ANGLE, TR, PULSE = math.radians(10), 20e-3, 150e-6
MODES = ("cp", "phase", "mls", "sar", "sar, slices", "spokes 2", "kt-points 2", "kt-points 3", "kt-points 5")
SHOWN = ("cp", "phase", "mls", "sar", "spokes 2", "kt-points 5", "universal")


def budget_for(sar: SarModel, scanner: Scanner, angle: float) -> Budget:
    nominal = angle / (2 * np.pi * 5 * PULSE) / GAMMA_BAR
    limits = iec_limits("first level", sar.exposed_fraction)
    tx = scanner.transmit
    return Budget(nominal * np.sqrt(5 * PULSE / TR), nominal, limits, tx.peak_power, tx.average_power)


def design(
    fields: FieldMaps, sar: SarModel, mask: np.ndarray, mode: str, scanner: Scanner, angle: float = ANGLE
) -> Shim:
    kind, _, number = mode.partition(" ")
    budget = budget_for(sar, scanner, angle)
    plan, slices = None, None
    if kind == "kt-points":
        plan = plan_train(scanner, flip_angle=angle, tr=TR, n_points=int(number), duration=PULSE)
    elif mode == "sar, slices" or kind == "spokes":
        kind = kind.rstrip(",")
        place = site(fields, mask).position[:, 2]
        thickness = float(np.linalg.norm(transmit_affine(fields)[:3, 2]))
        layers = np.arange(place.min(), place.max() + thickness / 2, thickness)
        slices = Slices(np.array([0, 0, 1.0]), layers, thickness)
        if kind == "spokes":
            plan = plan_of(selective(scanner, thickness, angle), scanner, mode=kind, n_points=int(number))
    return design_shim(fields, sar, target=mask, mode=kind, budget=budget, plan=plan, slices=slices)


def selective(scanner: Scanner, thickness: float, angle: float) -> Program:
    """The same excitation of one slice."""
    matrix, fov = (64, 64, 1), (0.4, 0.4, thickness)
    return lb.build_program(Protocol("slice", "GRE", fov, matrix, (6e-3,), TR, angle, 500.0, dimensions=2), scanner)


def table(
    fields: FieldMaps,
    sar: SarModel,
    mask: np.ndarray,
    name: str,
    scanner: Scanner,
    modes: Sequence[str] = MODES,
    known: Path | None = None,
) -> dict[str, Shim]:
    """known: a shim that is not designed but read."""
    made = {}
    print(f"\n{name}: {int(mask.sum())} voxels, {len(sar.local)} virtual observation points")
    print(
        f"{'mode':14s} flip CV %  local SAR  head SAR  whole body  W/kg | worst share of a limit | peak W  mean W | cpu s"
    )
    for mode in (*modes, *(["universal"] if known else [])):
        start = time.process_time()
        try:
            shim = read_shim(known) if known and mode == "universal" else design(fields, sar, mask, mode, scanner)
        except InputError as problem:
            print(f"{mode:14s} {problem}", flush=True)
            continue
        used = time.process_time() - start
        made[mode] = shim
        p = played(fields, sar, mask, shim, scanner) if mode == "universal" else shim.promised
        local = max((v for n, v in p.items() if n.startswith("local SAR") and n.endswith("W/kg")), default=0.0)
        share = max((v for n, v in p.items() if "share of limit" in n), default=0.0)
        spread = p.get("flip-angle variation", p["variation"])
        print(
            f"{mode:14s} {100 * spread:8.2f} {local:10.2f} {p.get('head SAR, W/kg', 0):9.2f} {p.get('whole-body SAR, W/kg', 0):11.3f}"
            f"  {'':6s} {share:16.2f} {'':7s} {p['peak power, W']:8.0f} {p['mean power, W']:7.1f}  {used:7.1f}",
            flush=True,
        )
    return made


def played(fields: FieldMaps, sar: SarModel, mask: np.ndarray, shim: Shim, scanner: Scanner) -> dict[str, float]:
    """What a shim or a kT-points train, wherever it was made, does here; as `Shim.promised`."""
    plan = None
    if shim.pulse is not None:
        plan = plan_train(scanner, flip_angle=ANGLE, tr=TR, n_points=shim.pulse.n_points, duration=PULSE)
    budget = budget_for(sar, scanner, ANGLE)
    return promise(
        [site(fields, mask)], [sar], shim.weights, shim.reference_drive, budget,
        parts=None, pulse=shim.pulse, plan=plan, slices=None,
    )  # fmt: skip


def strength(fields: FieldMaps, shim: Shim, mask: np.ndarray) -> np.ndarray:
    """(z, y, x): |B1+| over its mean in the mask; of a train the root mean square over its pulses."""
    inside = body(fields)
    index = np.flatnonzero(inside)
    b1 = fields.b1_plus.reshape(len(fields.b1_plus), -1)[:, index] * (GAMMA_BAR * shim.reference_drive)
    weights = np.atleast_2d(shim.weights)[:, None] if shim.pulse is None else shim.pulse.weights  # (slice, pulse, tx)
    place = positions(transmit_affine(fields), inside.shape, index)
    which = nearest_slice(shim.slices if len(weights) > 1 else None, place)
    square = np.zeros(len(index))
    for i in np.unique(which):
        here = which == i
        square[here] = np.mean(np.abs(weights[i] @ b1[:, here]) ** 2, axis=0)
    result = np.full(inside.shape, np.nan)
    result.reshape(-1)[index] = np.sqrt(square)
    return result / result[mask].mean()


def picture(path: Path, fields: FieldMaps, mask: np.ndarray, made: dict[str, Shim], name: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [mode for mode in SHOWN if mode in made]
    middle = [round(float(np.mean(index))) for index in np.nonzero(mask)]
    figure, axes = plt.subplots(
        3, len(shown), figsize=(1.9 * len(shown) + 0.8, 6.6), layout="constrained", squeeze=False
    )
    rows = (
        ("|B1+| / mean", strength, (middle[0],), (0, 2), "magma"),
        ("flip angle, deg", degrees, (middle[0],), (0, 20), "viridis"),
        ("flip angle, deg", degrees, (slice(None), middle[1]), (0, 20), "viridis"),
    )
    for row, (label, made_of, cut, (least, most), colours) in zip(axes, rows, strict=True):
        for axis, mode in zip(row, shown, strict=True):
            shape = mask[cut]
            drawn = axis.imshow(
                made_of(fields, made[mode], mask)[cut],
                origin="upper" if len(cut) == 1 else "lower",
                vmin=least,
                vmax=most,
                cmap=colours,
            )
            axis.contour(shape, levels=[0.5], colors="w", linewidths=0.8)
            axis.set_axis_off()
        figure.colorbar(drawn, ax=row, label=label, shrink=0.8)
    for axis, mode in zip(axes[0], shown, strict=True):
        spread = variation(flip_angle_map(fields, made[mode], ANGLE)[mask])
        axis.set_title(f"{mode}\n{100 * spread:.1f} %", fontsize=9)
    figure.suptitle(
        f"{name} at 5 T: axial and coronal cuts, target outlined; variation of the flip angle in it", fontsize=10
    )
    figure.savefig(path, dpi=80)


def degrees(fields: FieldMaps, shim: Shim, _mask: np.ndarray) -> np.ndarray:
    return np.where(body(fields), np.degrees(flip_angle_map(fields, shim, ANGLE)), np.nan)


def main() -> None:
    from lauterbur.subject.targets import target_mask

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject")
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--step", type=float, default=8e-3)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--fields", type=Path, help="solved before, instead of --step and --cache")
    parser.add_argument("--universal", type=Path, help="a universal pulse to play beside the others")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    scanner, subject = lb.load_scanner("5T"), lb.load_subject(given.subject)
    if given.fields:
        fields = read_fields(given.fields, scanner=scanner, subject=subject)
    else:
        fields = lb.solve_fields(scanner, subject, method="maxwell", step=given.step, cache=given.cache)
    sar = sar_model(fields)
    fields = replace(fields, e=None)
    for name in given.targets:
        mask = chosen_voxels(fields, target_mask(subject, name))
        made = table(fields, sar, mask, name, scanner, given.modes, given.universal)
        if given.picture:
            picture(given.picture.with_stem(f"{given.picture.stem}-{name}"), fields, mask, made, name)


if __name__ == "__main__":
    main()
