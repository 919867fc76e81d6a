"""Raw data of other simulators and of a scanner, where LAUTERBUR_TEST_DATA says they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from lauterbur.recon.reconstruction import reconstruct

FOLDER = os.environ.get("LAUTERBUR_TEST_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="LAUTERBUR_TEST_DATA is not set")


def head_extent(image):
    """m along y and x: where a twentieth of the brightest is exceeded; and how bright air is beside the head."""
    m = np.abs(image.pixels[0, 0])
    n_y, n_x = m.shape
    y, x = np.meshgrid(np.arange(n_y) - n_y // 2, np.arange(n_x) - n_x // 2, indexing="ij")
    solid = (m > 0.3 * np.percentile(m, 99)) & (np.hypot(y, x) < 0.48 * n_x)  # radial spokes see a disc
    rows, columns = np.flatnonzero(solid.mean(axis=1) > 0.1), np.flatnonzero(solid.mean(axis=0) > 0.1)
    voxel = np.linalg.norm(image.affine[:3, :3], axis=0)
    return np.ptp(rows) * voxel[1], np.ptp(columns) * voxel[0], np.mean(m[45:55, 4:9]) / np.median(m[40:60, 40:60])


@pytest.mark.parametrize("name", ["Koma_signal.mrd", "koma_mrf.mrd"])
def test_the_files_of_another_simulator_show_a_head_of_the_right_size(name):
    from lauterbur.formats.mrd import read_raw

    image = reconstruct(read_raw(Path(FOLDER) / "mrd" / name))
    height, width, outside = head_extent(image)
    assert 0.17 < height < 0.22 and 0.13 < width < 0.19
    assert outside < 0.25
