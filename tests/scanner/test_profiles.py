"""The shipped machines are those of FACTS; a user's machine is checked number by number."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lauterbur.errors import FileFormatError, InputError, LauterburError
from lauterbur.scanner.machine import Scanner
from lauterbur.scanner.profiles import DATA, load_scanner, profile_names


def write(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_the_5t_scanner_precesses_at_210_76_mhz():
    scanner = load_scanner("5T")
    assert scanner.field_strength == 4.95
    assert scanner.larmor_frequency == pytest.approx(210.76e6, rel=1e-5)
    assert (scanner.transmit.channels, scanner.transmit.peak_power) == (8, 8000)
    assert scanner.gradients.raster == 1e-5


def test_both_profiles_have_a_head_and_a_body_array():
    for name in ("5T", "3T"):
        arrays = {array.name: array for array in load_scanner(name).receive}
        assert len(arrays["head48"].loops) == 48
        assert len(arrays["body24"].loops) == 24


def test_an_echo_spacing_is_guarded_as_a_period_and_as_half_a_period():
    bands = load_scanner("5T").gradients.forbidden_bands
    assert len(bands) == 8
    for spacing in (0.66e-3, 0.84e-3, 1.0e-3, 1.13e-3):
        for frequency in (1 / spacing, 0.5 / spacing):
            assert any(low < frequency < high for low, high in bands)
    assert bands[0] == pytest.approx((427.35, 458.72), abs=0.01)


def test_every_number_of_a_shipped_profile_has_a_source():
    for name in profile_names():
        scanner = load_scanner(name)
        whole = name.partition("-")[0]  # a profile with a dash extends the one before it
        lines = [line for line in (DATA / f"{whole}.toml").read_text().splitlines() if "value =" in line]
        assert len(scanner.sources) == len(lines) > 40
        assert all("source =" in line for line in (DATA / f"{name}.toml").read_text().splitlines() if "value =" in line)
        assert "unconfirmed" in scanner.sources["gradients.inductance"]
        assert "unconfirmed" not in scanner.sources["magnet.field_strength"]


def test_the_strongest_imported_amplifier_is_a_profile_of_its_own():
    ours, theirs = load_scanner("5T"), load_scanner("5T-2.7MW")
    assert (theirs.gradients.amplifier_power, ours.gradients.amplifier_power) == (2.7e6, 3.5e6)
    assert (theirs.gradients.amplitude, theirs.gradients.slew) == (0.096, 193)
    assert theirs.gradients.inductance == ours.gradients.inductance
    assert replace(theirs.transmit, arrays=()) == replace(ours.transmit, arrays=()) and theirs.name == "5T-2.7MW"
    assert [array.name for array in theirs.transmit.arrays] == [array.name for array in ours.transmit.arrays]
    assert "Blasche" in theirs.sources["gradients.amplifier_power"]


def test_a_coil_without_stimulation_by_the_safe_model_may_be_told_of(tmp_path):
    text = 'extends = "5T"\n[gradients.stimulation.safe.y]\nlimit = "20 T/m/s"\na = { value = [0, 0, 0] }\n'
    with pytest.raises(FileFormatError, match=r"safe\.y\.a: is zero"):
        load_scanner(write(tmp_path, text))
    changed = load_scanner(write(tmp_path, text.replace("[0, 0, 0]", "[0.3, 0.2, 0.5]"))).gradients.safe
    assert [axis.limit for axis in changed] == [57.143, 20, 57.143] and changed[1].a == (0.3, 0.2, 0.5)


def test_the_amplifier_can_do_what_the_gradients_promise():
    for name in profile_names():
        g = load_scanner(name).gradients
        assert g.sensitivity * g.amplifier_current == pytest.approx(g.amplitude, rel=1e-6)
        assert g.amplifier_voltage / g.inductance * g.sensitivity == pytest.approx(g.slew, rel=5e-3)


def test_a_profile_says_which_shim_coils_there_are(tmp_path):
    whole = load_scanner("5T").shim_coils
    assert whole.order == 2 and len(whole.limits) == 8 and whole.limits["x"] == pytest.approx(2.3e-3)
    text = (DATA / "5T.toml").read_text()
    start, end = text.index("[shim_coils]"), text.index("[transmit]\n")
    for section, order, limits in (
        ("", 2, {}),  # nothing said: no limits
        ('[shim_coils]\nx = "1 mT/m"\n', 1, {"x": 1e-3, "y": 0.0, "z": 0.0}),
        ('[shim_coils]\nx2-y2 = "2 mT/m2"\n', 2, {"x2-y2": 2e-3}),
    ):
        coils = load_scanner(write(tmp_path, text[:start] + section + text[end:])).shim_coils
        assert coils.order == order and all(coils.limits[name] == value for name, value in limits.items())
        assert len(coils.limits) == (0 if not section else 3 if order == 1 else 8)


def test_a_users_profile_changes_only_what_it_says(tmp_path):
    path = write(
        tmp_path, 'extends = "5T"\nname = "ours"\n[gradients]\namplitude = "80 mT/m"\n[receive.body24]\nrows = 2\n'
    )
    scanner, ours = load_scanner(path), load_scanner("5T")
    assert scanner.name == "ours"
    assert scanner.gradients.amplitude == 0.08
    assert scanner.gradients.slew == ours.gradients.slew
    assert [len(array.loops) for array in scanner.receive] == [48, 16]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('extends = "9T"', "extends"),
        ('extends = "../5T"', "extends"),
        ('extends = "5T"\n[gradients]\namplitud = "80 mT/m"', "gradients.amplitud"),
        ('extends = "5T"\n[gradients]\namplitude = 80', "gradients.amplitude"),
        ('extends = "5T"\n[gradients]\namplitude = "80 mT"', "gradients.amplitude"),
        ('extends = "5T"\n[gradients]\namplitude = "150 mT/m"', "gradients.amplitude"),
        ('extends = "5T"\n[gradients]\nslew = "500 T/m/s"', "gradients.slew"),
        ('extends = "5T"\n[gradients]\nraster = { value = nan, unit = "us" }', "gradients.raster"),
        ('extends = "5T"\n[gradients]\nraster = { value = -1, unit = "us" }', "gradients.raster"),
        ('extends = "5T"\n[gradients]\nraster = { value = true, unit = "us" }', "gradients.raster"),
        (
            'extends = "5T"\n[gradients]\nforbidden_bands = { value = [[9, 3]], unit = "Hz" }',
            "gradients.forbidden_bands",
        ),
        ('extends = "5T"\n[transmit]\nchannels = 10000000000000', "transmit.channels"),
        ('extends = "5T"\n[transmit]\nchannels = 1.5', "transmit.channels"),
        ('extends = "5T"\n[transmit]\naverage_power = "100 MW"', "transmit.average_power"),
        ('extends = "5T"\n[magnet]\nlarmor_frequency = "300 MHz"', "magnet.larmor_frequency"),
        ('extends = "5T"\n[receive.head48]\nchannels = 1000000000', "receive.head48.channels"),
        ('extends = "5T"\n[receive.head48]\nkind = "birdcage"', "receive.head48.kind"),
        ('extends = "5T"\n[shim_coils]\nz3 = "1 mT/m2"', "shim_coils.z3"),
        ('extends = "5T"\n[shim_coils]\nz2 = "1 mT/m"', "shim_coils.z2"),
        ('extends = "5T"\n[shim_coils]\nz2 = "0 mT/m2"', "shim_coils.z2"),
        ('extends = "5T"\n[receive.head48]\nconductor_radius = "2 cm"', "receive.head48.conductor_radius"),
        (
            'extends = "5T"\n[receive.head48]\nsemi_axes = { value = [1, 1, 1], unit = "mm" }',
            "receive.head48.semi_axes",
        ),
        ('extends = "5T"\nmagnet = 5', "magnet"),
        ('name = "empty"', "magnet"),
        ("= 5", ""),
    ],
)
def test_an_impossible_profile_names_the_file_and_the_key(tmp_path, text, place):
    path = write(tmp_path, text)
    with pytest.raises(FileFormatError) as caught:
        load_scanner(path)
    assert caught.value.where == place
    assert "mine.toml" in str(caught.value)


def test_an_unknown_name_says_which_are_known():
    with pytest.raises(InputError, match="3T"):
        load_scanner("7T")


def test_hostile_files_are_refused_in_a_sentence(tmp_path):
    big = tmp_path / "big.toml"
    big.write_bytes(b"#" * 2_000_000)
    deep = write(tmp_path, "a = " + "[" * 100_000, "deep.toml")
    digits = write(tmp_path, "a = " + "9" * 100_000, "digits.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(bytes(range(256)))
    for path in (big, deep, digits, binary):
        with pytest.raises(FileFormatError, match=path.name):
            load_scanner(path)
    with pytest.raises(InputError):
        load_scanner(tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([b"", b"-", b"nan", b"[", b'"', b"\xff", b"1e999", b"{}", b"\n", b"="]))
def test_a_garbled_profile_gives_a_scanner_or_a_clear_error(tmp_path_factory, place, insert):
    content = (DATA / "5T.toml").read_bytes()
    place %= len(content)
    path = tmp_path_factory.mktemp("garbled") / "garbled.toml"
    path.write_bytes(content[:place] + insert + content[place + 1 :])
    try:
        assert isinstance(load_scanner(path), Scanner)
    except LauterburError as error:
        assert "garbled.toml" in str(error)


def test_helmet_loops_are_alike_evenly_spread_and_face_outward():
    helmet = load_scanner("5T").receive[0]
    centres = np.array([loop.points.mean(axis=0) for loop in helmet.loops])
    sizes = [np.linalg.norm(loop.points - c, axis=1).mean() for loop, c in zip(helmet.loops, centres, strict=True)]
    assert np.ptp(sizes) < 1e-9
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2) + np.eye(48)
    nearest = distance.min(axis=1) / (2 * sizes[0])
    assert nearest.min() > 0.55 and nearest.max() < 0.8
    for loop, centre in zip(helmet.loops, centres, strict=True):
        edges = np.roll(loop.points, -1, axis=0) - loop.points
        area = 0.5 * np.cross(loop.points - centre, edges).sum(axis=0)
        assert area @ (centre / np.square(helmet.semi_axes)) > 0


def test_the_face_is_left_open():
    helmet = load_scanner("5T").receive[0]
    centres = np.array([loop.points.mean(axis=0) for loop in helmet.loops])
    low = centres[centres[:, 2] < 0.02]
    from_front = np.abs(np.arctan2(low[:, 0] / helmet.semi_axes[0], -low[:, 1] / helmet.semi_axes[1]))
    assert math.degrees(from_front.min()) > 39


def test_loop_loss_grows_with_frequency():
    high, low = load_scanner("5T").receive[0].resistance, load_scanner("3T").receive[0].resistance
    assert high / low == pytest.approx(4.95 / 3.0)
