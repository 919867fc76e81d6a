"""From protocol to image: what spokes, stacks and spirals show of a phantom is what lines show, at the same place."""

from dataclasses import replace

import numpy as np
import pytest
from small_protocols import TURNED

from lauterbur.formats.mrd import read_raw, write_raw
from lauterbur.journey import scan
from lauterbur.recon.reconstruction import reconstruct
from lauterbur.scanner.profiles import load_scanner
from lauterbur.subject.library import load_subject
from lauterbur.units import deg, mm, ms

SCANNER = load_scanner("5T")
COMMON = {"position": (12 * mm, -9 * mm, 6 * mm), "flip_angle": 12 * deg, "dummies": 30}
CASES = {
    "radial": {"shots": 60, "slices": 1, "tr": 20 * ms},
    "stack": {"shots": 60},
    "spiral": {"shots": 8, "slices": 1, "tr": 25 * ms, "matrix": (32, 32, 1), "fat_saturation": False},
}


@pytest.fixture(scope="module")
def phantom():
    return load_subject("orientation", spacing=6 * mm)


@pytest.mark.parametrize("name", CASES)
def test_it_shows_what_lines_show_where_they_show_it(name, phantom, tmp_path):
    turned = replace(TURNED[name], **COMMON | CASES[name])
    lines = replace(turned, trajectory="cartesian", shots=0, golden_order=1, te=turned.te[:1], bandwidth=500.0)
    options = {"measure_error": False, "coils": 4, "seed": 3}
    wanted = scan(lines, SCANNER, phantom, **options).image
    result = scan(turned, SCANNER, phantom, **options)
    image = result.image
    np.testing.assert_allclose(image.affine, wanted.affine, atol=1e-9)
    there, here = np.abs(wanted.pixels[0]), np.abs(image.pixels[0])
    middle = slice(2, -2) if turned.is_3d else slice(None)
    inside = there[middle] > 0.3 * np.quantile(there, 0.98)
    assert inside.sum() > 60
    correlation = np.corrcoef(here[middle].ravel(), there[middle].ravel())[0, 1]
    ratio = np.median(here[middle][inside] / there[middle][inside])
    assert correlation > 0.97
    if (
        turned.trajectory == "radial"
    ):  # same TR: as bright as lines without their twofold oversampling, and with their noise
        assert ratio == pytest.approx(np.sqrt(0.5 * lines.bandwidth / turned.bandwidth), rel=0.12)

    write_raw(result.raw, tmp_path / "raw.mrd")
    again = reconstruct(read_raw(tmp_path / "raw.mrd"), method="cs")
    assert again.provenance["reconstruction"]["method"] == "compressed sensing"
    assert np.corrcoef(np.abs(again.pixels[0]).ravel(), here.ravel())[0, 1] > 0.98
