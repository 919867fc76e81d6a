"""Any Pulseq file on the twin: write one, check it, read it as if it were someone else's, play it, reconstruct it."""

# %% A file on disk
from dataclasses import replace

import numpy as np

import lauterbur as lb
from lauterbur.journey import play
from lauterbur.units import mm

scanner = lb.load_scanner("5T")
protocol = replace(lb.load_protocol("brain/t1-gre"), matrix=(64, 64, 8), fov=(220 * mm, 220 * mm, 160 * mm))
protocol = replace(protocol, acceleration=(1, 1), reference_lines=(0, 0))
lb.write_program(lb.build_program(protocol, scanner), "any.seq")

# %% May this machine play it?
program = lb.read_program("any.seq")
cleared = lb.clear(program, scanner)
closest = max(cleared.findings, key=lambda finding: finding.value / finding.limit if finding.limit else 0)
print(f"nearest to its limit: {closest.sentence()}")

# %% Play it on a sphere, and look
raw = play(program, scanner, lb.load_subject("sphere", spacing=4 * mm), coils=8, measure_error=False)
lb.write_raw(raw, "raw.mrd")
image = lb.reconstruct(lb.read_raw("raw.mrd"))
middle = np.abs(image.pixels[0, image.pixels.shape[1] // 2])
print(
    f"{raw.n_readouts} readouts, {raw.n_rx} coils; the middle slice is bright in {np.mean(middle > 0.3 * middle.max()):.0%}"
)
