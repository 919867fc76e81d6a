"""Few golden-angle spokes of a head: gridding, SENSE and compressed sensing against all of them, by `lauterbur quality`.

    python benchmarks/spokes.py                      # three slices, 64 of 256 spokes; some minutes
    python benchmarks/spokes.py --spokes 32 --png spokes.png

The truth is the SENSE image of all spokes of one scan; the few are taken from another, with other noise.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import lauterbur as lb
from lauterbur.formats.mrd import read_raw, write_raw
from lauterbur.study.quality import quality

METHODS = ("nufft", "sense", "cs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spokes", type=int, nargs="+", default=[64])
    parser.add_argument("--all", type=int, default=256)
    parser.add_argument("--slices", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder to keep the two scans in, and to find them again")
    parser.add_argument("--png", type=Path)
    chosen = parser.parse_args()

    raws = []
    for seed in (0, 1):
        file = None if chosen.keep is None else chosen.keep / f"spokes-{chosen.all}-{chosen.slices}-{seed}.mrd"
        if file is not None and file.exists():
            raws.append(read_raw(file))
            continue
        scanner, head = lb.load_scanner("5T"), lb.load_subject("head")
        protocol = replace(lb.load_protocol("brain/radial-gre"), shots=chosen.all, slices=chosen.slices)
        raws.append(lb.scan(protocol, scanner, head, seed=seed, measure_error=False).raw)
        if file is not None:
            write_raw(raws[-1], file)
    truth = np.abs(lb.reconstruct(raws[0], method="sense").pixels[0])
    shown = [("all spokes", truth)]
    print(f"{'spokes':>6} {'method':>6} {'NRMSE':>7} {'PSNR':>6} {'SSIM':>6} {'HFEN':>6} {'residual':>8}")
    for n in chosen.spokes:
        few = raws[1].only(raws[1].label("LIN") < n)
        for method in METHODS:
            image = lb.reconstruct(few, method=method)
            size = np.abs(image.pixels[0])
            found = quality(size, truth)
            fits = image.provenance["reconstruction"].get("fits", [])
            left = f"{np.mean([fit['residual'] for fit in fits]):8.2f}" if fits else "       -"
            print(
                f"{n:6d} {method:>6} {100 * found.nrmse:6.2f}% {found.psnr:6.2f} {found.ssim:6.4f} {found.hfen:6.3f} {left}",
                flush=True,
            )
            shown.append((f"{method}, {n} spokes", size * found.scale))
    if chosen.png is not None:
        from lauterbur.study.figures import add_axes, new_figure

        figure = new_figure(3.0 * len(shown), 3.4)
        for panel, (name, volume) in zip(add_axes(figure, 1, len(shown)), shown, strict=True):
            plane = volume[len(volume) // 2]
            panel.imshow(plane, cmap="gray", vmin=0, vmax=float(np.quantile(truth, 0.99)))
            panel.set_title(name, fontsize=9)
            panel.set_axis_off()
        figure.savefig(chosen.png, dpi=80)


if __name__ == "__main__":
    main()
