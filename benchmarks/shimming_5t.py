"""Every shim of a head and a torso at 5 T: flip-angle variation before and after, with heat and watts against their limits.

    python benchmarks/shimming_5t.py head brain                     # solves the fields first: minutes
    python benchmarks/shimming_5t.py torso liver heart pelvis --step 8e-3 --cache folder --picture maps.png
    python benchmarks/shimming_5t.py torso liver --fields torso.h5      # of `lauterbur fields --subject torso --out torso.h5`

Excitations are those of a spoiled gradient echo (10 deg, TR 20 ms); static shims play the same angle by hard pulses of the
same total length. First-level limits.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import lauterbur as lb
from lauterbur.errors import InputError
from lauterbur.fields.files import read_fields
from lauterbur.fields.maps import FieldMaps
from lauterbur.safety.limits import iec_limits
from lauterbur.safety.sar import SarModel, sar_model
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.budget import Budget
from lauterbur.shim.composite import plan_train
from lauterbur.shim.flip_angle import flip_angle_map
from lauterbur.shim.promise import promise
from lauterbur.shim.shim import Shim, design_shim
from lauterbur.shim.slices import Slices
from lauterbur.shim.target import chosen_voxels, site, transmit_affine
from lauterbur.units import GAMMA_BAR

ANGLE, TR, PULSE = math.radians(10), 20e-3, 150e-6
MODES = ("cp", "phase", "mls", "sar", "sar, slices", "kt-points 2", "kt-points 3", "kt-points 5")


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
    if mode == "sar, slices":
        place = site(fields, mask).position[:, 2]
        thickness = float(np.linalg.norm(transmit_affine(fields)[:3, 2]))
        layers = np.arange(place.min(), place.max() + thickness / 2, thickness)
        return design_shim(
            fields, sar, target=mask, mode="sar", budget=budget, slices=Slices(np.array([0, 0, 1.0]), layers, thickness)
        )
    plan = None
    if kind == "kt-points":
        plan = plan_train(scanner, flip_angle=angle, tr=TR, n_points=int(number), duration=PULSE)
    return design_shim(fields, sar, target=mask, mode=kind, budget=budget, plan=plan)


def table(
    fields: FieldMaps, sar: SarModel, mask: np.ndarray, name: str, scanner: Scanner, modes=MODES
) -> dict[str, Shim]:
    made = {}
    print(f"\n{name}: {int(mask.sum())} voxels, {len(sar.local)} virtual observation points")
    print(
        f"{'mode':14s} flip CV %  local SAR  head SAR  whole body  W/kg | worst share of a limit | peak W  mean W | cpu s"
    )
    for mode in modes:
        start = time.process_time()
        try:
            shim = design(fields, sar, mask, mode, scanner)
        except InputError as problem:
            print(f"{mode:14s} {problem}", flush=True)
            continue
        used = time.process_time() - start
        p = made.setdefault(mode, shim).promised
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


def picture(path: Path, fields: FieldMaps, mask: np.ndarray, made: dict[str, Shim], name: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [mode for mode in ("cp", "mls", "sar", "kt-points 3", "kt-points 5") if mode in made]
    middle = [round(float(np.mean(index))) for index in np.nonzero(mask)]
    body = chosen_voxels(fields, None)
    figure, axes = plt.subplots(2, len(shown), figsize=(2.9 * len(shown), 6), layout="constrained", squeeze=False)
    for column, mode in enumerate(shown):
        angle = np.degrees(np.where(body, flip_angle_map(fields, made[mode], ANGLE), np.nan))
        for row, cut in enumerate(((middle[0],), (slice(None), middle[1]))):
            axis = axes[row, column]
            drawn = axis.imshow(angle[cut], origin="upper" if row == 0 else "lower", vmin=0, vmax=20, cmap="viridis")
            axis.contour(mask[cut], levels=[0.5], colors="w", linewidths=0.8)
            axis.set_axis_off()
        spread = made[mode].promised.get("flip-angle variation", made[mode].promised["variation"])
        axes[0, column].set_title(f"{mode}: {100 * spread:.1f} %")
    figure.colorbar(drawn, ax=axes, label="flip angle, deg (asked: 10)", shrink=0.7)
    figure.suptitle(f"{name} at 5 T: an axial and a coronal cut, target outlined")
    figure.savefig(path, dpi=100)


def main() -> None:
    from lauterbur.subject.targets import target_mask

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject")
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--step", type=float, default=8e-3)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--fields", type=Path, help="solved before, instead of --step and --cache")
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
        made = table(fields, sar, mask, name, scanner)
        if given.picture:
            picture(given.picture.with_stem(f"{given.picture.stem}-{name}"), fields, mask, made, name)


if __name__ == "__main__":
    main()
