"""Other people's sequences, played by the reference on three points and reconstructed with nothing but what was found in
their k-space: each point lies where it lay in the patient."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from lauterbur.acquisition.encoding import header, labels
from lauterbur.acquisition.trajectory import trajectory
from lauterbur.acquisition.twin.reference import play
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.rawdata import RawData

POINTS = np.array([[0.03, 0.05, 0.0], [-0.06, 0.0, 0.0], [0.0, -0.02, 0.0]])  # m, no symmetry


@pytest.mark.parametrize(
    "file",
    [
        "pypulseq/write_gre.seq",
        "pypulseq/write_epi.seq",
        "pypulseq/write_epi_se_rs.seq",
        "pypulseq/write_haste.seq",
        "pypulseq/write_radial_gre.seq",
        "komamri/read_comparison__v1.5__spiral.seq",
    ],
)
def test_points_appear_where_they_lie(data, file):
    read_program = import_module("lauterbur.formats.pulseq").read_program
    reconstruct = import_module("lauterbur.recon.reconstruction").reconstruct
    program = read_program(data / "sequences" / file)
    played = trajectory(program)
    raw = RawData(
        play(program, Spins(POINTS, [1.5, 1.0, 1.2], t1=0.5, t2=0.1)),
        played.n_samples,
        played.k,
        played.time,
        played.dwell,
        played.center_sample,
        labels(program, played),
        header(program, played),
        te=played.te,
    )
    image = reconstruct(raw)
    pixels = np.abs(image.pixels[0]).max(axis=0)  # over slices: the points lie at isocentre
    for place in POINTS:
        x, y, _ = np.linalg.solve(image.affine[:3, :3], place - image.affine[:3, 3])
        near = np.s_[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5]
        row, column = np.unravel_index(np.argmax(pixels[near]), pixels[near].shape)
        assert abs(row + round(y) - 4 - y) <= 0.8 and abs(column + round(x) - 4 - x) <= 0.8
