"""Scan the head at 5 T: a quick, coarse gradient echo, from protocol to a folder with report and images."""

# %% The protocol of the library, made coarse for speed
from dataclasses import replace

import lauterbur as lb
from lauterbur.units import mm

protocol = lb.load_protocol("brain/t1-gre")
protocol = replace(protocol, matrix=(48, 48, 16), fov=(240 * mm, 240 * mm, 192 * mm), reference_lines=(16, 0))

# %% The machine and the patient
scanner = lb.load_scanner("5T")
subject = lb.load_subject("head", spacing=4 * mm)

# %% One scan. Left at its default, measure_error takes most of the time of so small a scan
result = lb.scan(protocol, scanner, subject, seed=1, coils=8, measure_error=False, out="study-02")
print(f"image {result.image.pixels.shape}")
for stage, seconds in result.timings.items():
    print(f"{stage:>16} {seconds:6.2f} s")
