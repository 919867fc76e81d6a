import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lauterbur.errors import InputError
from lauterbur.rawdata import Header, RawData, header_from_json, header_to_json

FULL = Header(
    matrix=(256, 240, 176),
    fov=(0.256, 0.24, 0.176),
    encoded_matrix=(512, 240, 176),
    encoded_fov=(0.512, 0.24, 0.176),
    directions=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    position=(0.001, -0.02, 1 / 3),
    slice_positions=((0.0, 0.0, 0.1), (0.0, 0.0, 0.2)),
    slice_thickness=0.002,
    trajectory="epi",
    dimensions=2,
    te=(0.003, 0.0068),
    tr=2.3,
    ti=1.05,
    flip_angle=0.1,
    echo_spacing=0.0007,
    bandwidth=280.0,
    acceleration=(2, 1),
    field_strength=4.95,
    larmor_frequency=210.76e6,
    protocol="brain/epi",
    contrast="EPI",
    patient="head",
    coils="head48",
    provenance={"source": "twin", "seed": 1},
)


@pytest.mark.parametrize("header", [FULL, Header(matrix=(1, 1, 1), fov=(0.1, 0.1, 0.1))])
def test_a_header_survives_json(header):
    text = header_to_json(header)
    assert "\n" not in text
    assert header_from_json(text) == header
    assert header_to_json(header_from_json(text)) == text


def test_numpy_numbers_in_a_header_become_plain_ones():
    text = header_to_json(Header(matrix=tuple(np.array([2, 3, 4])), fov=tuple(np.array([0.1, 0.1, 0.2]))))
    assert header_from_json(text).matrix == (2, 3, 4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("matrix", [0, 1, 1]),
        ("matrix", [10**12, 1, 1]),
        ("matrix", [1, 1]),
        ("fov", [0.1, -0.1, 0.1]),
        ("fov", [0.1, "wide", 0.1]),
        ("fov", [0.1, float("nan"), 0.1]),
        ("fov", [0.1, float("inf"), 0.1]),
        ("directions", [[1, 0, 0], [1, 0, 0], [0, 0, 1]]),
        ("trajectory", "zigzag"),
        ("dimensions", 7),
        ("dimensions", True),
        ("te", 0.003),
        ("acceleration", [0, 1]),
        ("colour", "blue"),
        ("provenance", "twin"),
    ],
)
def test_a_wrong_field_is_named(field, value):
    content = {"matrix": [8, 8, 8], "fov": [0.2, 0.2, 0.2], field: value}
    with pytest.raises(InputError, match=field):
        header_from_json(json.dumps(content))


def test_a_header_without_matrix_says_so():
    with pytest.raises(InputError, match="matrix"):
        header_from_json("{}")


@given(st.text(max_size=200))
def test_any_text_is_a_header_or_a_clear_error(text):
    try:
        header_from_json(text)
    except InputError as problem:
        assert "header" in str(problem)


@given(st.integers(0, 400), st.integers(32, 126))
def test_a_flipped_character_is_a_header_or_a_clear_error(place, code):
    text = list(header_to_json(FULL))
    text[place % len(text)] = chr(code)
    try:
        header_from_json("".join(text))
    except InputError as problem:
        assert "header" in str(problem)


def test_some_readouts_alone_keep_all_that_is_theirs():
    n = 5
    raw = RawData(
        np.arange(n * 2 * 3).reshape(n, 2, 3).astype(np.complex64), np.full(n, 3), np.arange(n * 9.0).reshape(n, 3, 3),
        np.arange(n) * 1e-3, np.full(n, 1e-5), np.arange(n, dtype=np.int32), {"LIN": np.arange(n, dtype=np.int32)},
        noise=np.ones((2, 7), np.complex64), te=np.arange(n) * 1e-4,
    )  # fmt: skip
    for some in (np.array([3, 0]), np.array([False, True, False, False, True])):
        few, index = raw.only(some), np.arange(n)[some]
        assert few.n_readouts == 2 and few.noise is raw.noise
        for mine, whole in ((few.samples, raw.samples), (few.k, raw.k), (few.time, raw.time), (few.te, raw.te)):
            np.testing.assert_array_equal(mine, whole[index])
        np.testing.assert_array_equal(few.label("LIN"), index)
        np.testing.assert_array_equal(few.center_sample, index)
        np.testing.assert_array_equal(few.label("SLC"), [0, 0])
    assert raw.only(np.array([1])).te is not None and replace(raw, te=None).only(np.array([1])).te is None
