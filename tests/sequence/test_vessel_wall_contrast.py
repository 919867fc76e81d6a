"""The vessel-wall protocol on a small vessel in fluid: the wall stands out against lumen and cerebrospinal fluid."""

from dataclasses import replace

import numpy as np

from lauterbur.journey import scan
from lauterbur.protocol.library import load_protocol
from lauterbur.scanner.profiles import load_scanner
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.tissues import read_tissues
from lauterbur.subject.vasculature import Vasculature
from lauterbur.subject.vessels import vessel, with_vessels
from lauterbur.units import mm, ms


def test_the_wall_is_brighter_than_fluid_and_the_lumen_darkest():
    table = read_tissues()
    labels = np.zeros((1, 20, 20, 20), np.uint8)
    labels[0, 2:-2, 2:-2, 2:-2] = 1
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = -9.5 * mm
    fluid = (table["air"], table["cerebrospinal fluid"])
    block = Subject("block", labels, (labels > 0).astype(np.float32), affine, fluid)
    tube = vessel("tube", np.array([[-0.5, 1.5, -6], [-0.5, 1.5, 6]]) * mm, 3 * mm, 3 * mm, 0.6 * mm)
    subject = with_vessels(block, Vasculature((tube,)))
    protocol = replace(  # with a field of view so small, steps 5.6 ms apart would meet a forbidden acoustic band
        load_protocol("brain/vessel-wall"), fov=(20 * mm,) * 3, position=(0, 0, 0), matrix=(40, 40, 40),
        acceleration=(1, 1), reference_lines=(0, 0), dummies=1, echo_spacing=6 * ms, te=(18 * ms,),
    )  # fmt: skip

    image = scan(protocol, load_scanner("5T"), subject, coils=2, measure_error=False).image

    index = np.stack(np.meshgrid(*map(np.arange, image.pixels.shape[1:]), indexing="ij"), axis=-1)[..., ::-1]
    x, y, z = np.moveaxis(index @ image.affine[:3, :3].T + image.affine[:3, 3], -1, 0)
    distance = np.hypot(x + 0.5 * mm, y - 1.5 * mm)
    pixels = np.abs(image.pixels[0])

    def mean(nearest, furthest):
        return pixels[(np.abs(z) < 3 * mm) & (distance >= nearest * mm) & (distance < furthest * mm)].mean()

    lumen, wall, around = mean(0, 0.7), mean(1.55, 2.05), mean(3, 5)
    assert wall > 1.3 * around and around > 2 * lumen
