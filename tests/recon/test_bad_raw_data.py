"""Unusable raw data is refused with a sentence, before long work."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import Scan

from lauterbur.errors import InputError, ResourceError
from lauterbur.recon.reconstruction import reconstruct


@pytest.fixture(scope="module")
def raw():
    return Scan(matrix=(16, 12, 4), fov=(0.26, 0.26, 0.2)).raw()


def with_nan(raw):
    samples = raw.samples.copy()
    samples[17, 0, 3] = np.nan
    return replace(raw, samples=samples)


CASES = {
    "nan": (with_nan, "readout 17 holds NaN"),
    "no receivers": (lambda r: replace(r, samples=r.samples[:, :0]), "at least one of each"),
    "nothing": (lambda r: replace(r, samples=r.samples[:0]), "at least one of each"),
    "k shape": (lambda r: replace(r, k=r.k[:, :5]), r"raw.k has shape"),
    "k nan": (lambda r: replace(r, k=r.k * np.nan), "trajectory of readout 0 is not finite"),
    "too many samples": (lambda r: replace(r, n_samples=r.n_samples + 1), "claims 33 samples"),
    "negative counter": (lambda r: replace(r, labels={**r.labels, "LIN": r.labels["LIN"] - 1}), "label LIN is -1"),
    "short counter": (lambda r: replace(r, labels={"LIN": r.labels["LIN"][:4]}), r"labels\['LIN'\]"),
    "counter beyond the matrix": (
        lambda r: replace(r, k=0 * r.k, labels={**r.labels, "LIN": r.labels["LIN"] + 5}),
        "counter LIN runs from 5 to 16 but the encoded matrix has 12",
    ),
    "only navigators": (
        lambda r: replace(r, labels={"NAV": np.ones(r.n_readouts, np.int32)}),
        "no readout is image data",
    ),
    "fov": (lambda r: replace(r, header=replace(r.header, fov=(0.2, np.nan, 0.2))), r"header.fov"),
    "position": (lambda r: replace(r, header=replace(r.header, position=(0, np.inf, 0))), "position"),
    "directions": (lambda r: replace(r, header=replace(r.header, directions=((1, 0, 0),) * 3)), "perpendicular"),
    "lines beyond the grid": (lambda r: replace(r, k=r.k * np.float32(3)), "beyond the encoded|do not match"),
    "noise shape": (lambda r: replace(r, noise=np.ones((3, 100), np.complex64)), r"raw.noise has shape"),
    "no trajectory, no header": (lambda r: replace(r, k=0 * r.k, header=None), "neither a header nor a trajectory"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_raw_data_is_refused(name, raw):
    spoil, message = CASES[name]
    with pytest.raises(InputError, match=message):
        reconstruct(spoil(raw))


def test_a_hostile_matrix_is_refused_before_memory_is_taken(raw):
    with pytest.raises(ResourceError, match="voxels"):
        reconstruct(replace(raw, header=replace(raw.header, matrix=(10**6, 10**6, 4), encoded_matrix=None)))


@pytest.mark.parametrize("options", [{"method": "magic"}, {"coils": 0}])
def test_unknown_options_are_refused(options, raw):
    with pytest.raises(InputError):
        reconstruct(raw, **options)
