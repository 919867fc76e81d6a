"""The library reads and says what it was asked; a wrong file says where, an impossible wish what is possible."""

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lauterbur.errors import FileFormatError, InputError, ProtocolError
from lauterbur.protocol.library import DATA, list_protocols, load_protocol, protocol_from
from lauterbur.protocol.protocol import Protocol, checked, resolution, slice_positions
from lauterbur.units import deg, mm, ms

GOOD = """
contrast = "GRE"
fov = "220 x 208 x 112 mm"
matrix = [64, 64, 16]
te = "3.0 6.8 ms"
tr = "20 ms"
flip_angle = "10 deg"
bandwidth = "400 Hz/px"
"""


def read(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    return load_protocol(tmp_path / "mine.toml")


def test_the_library_has_what_the_issue_names():
    assert {"body/t1-gre", "body/t2-tse", "heart/cine-gre"} <= set(list_protocols())
    assert {"brain/radial-gre", "brain/spiral-gre", "body/stack-of-stars"} <= set(list_protocols())
    wanted = "t1-gre t1-mprage t2-tse flair epi bssfp qsm qsm-5echo qsm-3T".split()
    assert {f"brain/{name}" for name in wanted} <= set(list_protocols())
    for name in list_protocols():
        assert load_protocol(name).name == name
        assert load_protocol(name).description


@pytest.mark.parametrize(
    ("name", "tr", "first", "n"), [("qsm-3T", 41.4, 2.9, 10), ("qsm", 42.2, 3.0, 10), ("qsm-5echo", 23.2, 3.0, 5)]
)
def test_the_published_columns_are_kept_to_the_letter(name, tr, first, n):
    p = load_protocol(f"brain/{name}")
    assert p.tr == pytest.approx(tr * ms)
    assert p.te == pytest.approx([(first + 3.8 * i) * ms for i in range(n)])
    assert p.flip_angle == pytest.approx(10 * deg)
    assert p.fov[:2] == pytest.approx((220 * mm, 208 * mm))
    assert p.matrix == (336, 320, 56)
    assert resolution(p) == pytest.approx((0.65 * mm, 0.65 * mm, 2.0 * mm), rel=0.01)
    assert p.bandwidth == 280.0
    assert p.acceleration == (3, 1)


def test_the_cine_is_as_published():
    """1.0 x 1.0 x 6.0 mm by gradient echo at 5 T: fcvm.2022.913707."""
    p = load_protocol("heart/cine-gre")
    assert p.contrast == "GRE" and not p.is_3d
    assert resolution(p) == pytest.approx((1.0 * mm, 1.0 * mm, 6.0 * mm))
    assert 0.6 <= p.frames * p.lines_per_frame * p.tr <= 1.2  # one beat


def test_a_cine_of_several_averages_is_refused():
    with pytest.raises(ProtocolError, match="averages = 1"):
        checked(replace(load_protocol("heart/cine-gre"), averages=2))


def test_a_users_file_is_read_in_peoples_units(tmp_path):
    p = read(tmp_path, GOOD + 'orientation = "coronal"\nposition = "1, -2, 3 cm"\n')
    assert p.name == "mine"
    assert p.fov == pytest.approx((0.22, 0.208, 0.112))
    assert p.te == pytest.approx((3.0 * ms, 6.8 * ms))
    assert p.flip_angle == pytest.approx(10 * deg)
    assert p.position == pytest.approx((0.01, -0.02, 0.03))
    assert p.directions[2] == (0, 1, 0)


def test_a_stack_of_stars_is_read_from_a_file(tmp_path):
    text = GOOD.replace("220 x 208", "220 x 220").replace("3.0 6.8", "3.0")
    p = read(tmp_path, text + 'trajectory = "radial"\nshots = 89\ngolden_order = 7\n')
    assert (p.trajectory, p.shots, p.golden_order, p.is_3d) == ("radial", 89, 7, True)


def test_slices_lie_about_the_position_along_the_normal():
    p = replace(load_protocol("brain/t2-tse"), position=(0.0, 0.0, 0.01), slices=3)
    z = [place[2] for place in slice_positions(p)]
    assert z == pytest.approx([0.01 - 3.6 * mm, 0.01, 0.01 + 3.6 * mm])


def test_vectors_give_an_oblique_right_handed_frame(tmp_path):
    p = read(tmp_path, GOOD + "read_vector = [1.0, 1.0, 0.0]\nphase_vector = [-1.0, 1.0, 0.5]\n".replace("0.5", "0.0"))
    assert p.directions[2] == pytest.approx((0, 0, 1))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ('colour = "blue"', "colour"),
        ('tr = "20"', "in s, ms"),
        ('tr = "20 mm"', "tr"),
        ("tr = 20", "tr"),
        ('tr = "nan ms"', "tr"),
        ('tr = "inf ms"', "tr"),
        ('tr = "1e400 ms"', "tr"),
        ('fov = "220 x 208 mm"', "fov"),
        ("matrix = [64, 64]", "matrix"),
        ("matrix = [64, 64.5, 16]", "matrix"),
        ("matrix = [1000000000000, 64, 16]", "matrix"),
        ("matrix = true", "matrix"),
        ('orientation = "upside down"', "orientation"),
        ('orientation = "axial"\nphase_direction = "HF"', "phase_direction"),
        ("read_vector = [1, 0, 0]", "phase_vector"),
        ("read_vector = [1, 0, 0]\nphase_vector = [1, 0, 0]", "right angle"),
        ("read_vector = [nan, 0, 0]\nphase_vector = [1, 0, 0]", "read_vector"),
        ("fat_saturation = 1", "fat_saturation"),
        ("tr = ", "TOML"),
        ("x = " + "[" * 3000, "TOML"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, change, word):
    key = change.split(" =")[0]
    kept = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{key} ="))
    with pytest.raises(FileFormatError, match=word):
        read(tmp_path, kept + "\n" + change + "\n")


@pytest.mark.parametrize("missing", ["contrast", "fov", "matrix", "te", "tr", "flip_angle", "bandwidth"])
def test_a_missing_entry_is_named(tmp_path, missing):
    kept = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{missing} ="))
    with pytest.raises(FileFormatError, match=missing):
        read(tmp_path, kept)


def test_what_is_no_protocol_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="brain/t1-mprage"):
        load_protocol("brain/nothing")
    with pytest.raises(InputError):
        load_protocol("brain/\0")
    with pytest.raises(InputError):
        load_protocol("../brain/t1-mprage")
    (tmp_path / "big.toml").write_bytes(b"#" * 300_000)
    with pytest.raises(FileFormatError, match="300000 bytes"):
        load_protocol(tmp_path / "big.toml")
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    with pytest.raises(FileFormatError, match="TOML"):
        load_protocol(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("name", "change", "possible"),
    [
        ("t1-gre", {"te": (0.02,)}, "lengthen tr"),
        ("t1-gre", {"te": (3 * ms, 2 * ms)}, "rise"),
        ("t1-gre", {"contrast": "T5"}, "MPRAGE"),
        ("t1-mprage", {"dimensions": 2}, "dimensions = 3"),
        ("t1-gre", {"flip_angle": 4.0}, "180 deg"),
        ("t1-gre", {"flip_angle": float("nan")}, "180 deg"),
        ("t1-gre", {"tr": -1.0}, "between"),
        ("t1-gre", {"bandwidth": float("inf")}, "20000"),
        ("t1-gre", {"matrix": (161, 160, 96)}, "162"),
        ("t1-gre", {"matrix": (160, 160, 10**12)}, "4096"),
        ("t1-gre", {"fov": (5.0, 0.24, 0.192)}, "1000 mm"),
        ("t1-gre", {"ti": 1.0}, "leave it out"),
        ("t1-gre", {"acceleration": (40, 1)}, "16"),
        ("t1-gre", {"directions": ((1, 0, 0), (0, 1, 0), (0, 0, -1))}, "right-handed"),
        ("t1-mprage", {"ti": None}, "inversion time"),
        ("t2-tse", {"frames": 25}, "GRE in 2D"),
        ("t1-gre", {"lines_per_frame": 7}, "GRE in 2D"),
        ("t1-gre", {"frames": 0}, "256"),
        ("t2-tse", {"te": (0.08, 0.09)}, "GRE"),
        ("t2-tse", {"slab_thickness": 0.1}, "slice thickness"),
        ("t2-tse", {"partial_fourier": (0.3, 1.0)}, "0.55"),
    ],
)
def test_an_impossible_wish_says_what_is_possible(name, change, possible):
    with pytest.raises(ProtocolError, match=possible):
        checked(replace(load_protocol(f"brain/{name}"), **change))


TEXTS = [file.read_text() for file in sorted(DATA.rglob("*.toml"))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_garbled_protocol_is_read_or_refused_with_a_reason(tmp_path, text, flips):
    content = bytearray(text.encode())
    for place, value in flips:
        content[place % len(content)] = value
    (tmp_path / "garbled.toml").write_bytes(content)
    try:
        assert isinstance(load_protocol(tmp_path / "garbled.toml"), Protocol)
    except InputError as problem:
        assert len(str(problem)) > 10


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.lists(st.integers(-5, 500), max_size=4),
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([f.name for f in fields(Protocol)]), values, max_size=6))
def test_any_values_are_read_or_refused_with_a_reason(changes):
    content = {
        "contrast": "GRE",
        "fov": "220 x 208 x 112 mm",
        "matrix": [64, 64, 16],
        "te": "3.0 ms",
        "tr": "20 ms",
        "flip_angle": "10 deg",
        "bandwidth": "400 Hz/px",
    } | changes
    try:
        protocol_from(content, "given.toml", "given")
    except InputError as problem:
        assert len(str(problem)) > 10
