"""Transmit arrays of the profiles and a user's own: geometry, ports, and what cannot be built."""

import numpy as np
import pytest

from lauterbur.errors import FileFormatError
from lauterbur.scanner.coils import SPEED_OF_LIGHT, cylinder_dipoles, cylinder_loops, volume_coil
from lauterbur.scanner.profiles import load_scanner
from lauterbur.units import GAMMA_BAR


def area(points):
    centre = points.mean(axis=0)
    return 0.5 * np.cross(points - centre, np.roll(points, -1, axis=0) - centre).sum(axis=0)


def test_shipped_arrays_have_a_plug_per_transmit_channel_and_a_source_per_number():
    for name, arrays in (("5T", {"head8": 8, "body8": 8}), ("3T", {"volume2": 2})):
        scanner = load_scanner(name)
        assert {each.name: each.modes.shape[1] for each in scanner.transmit.arrays} == arrays
        for each in scanner.transmit.arrays:
            assert "unconfirmed" in scanner.sources[f"transmit.arrays.{each.name}.shield_radius"]
            assert each.shield_radius > each.radius
            if each.region == "body":
                assert each.radius - each.clearance >= scanner.bore / 2 - 1e-9
            longest = max(np.linalg.norm(np.diff(c.points, axis=0), axis=1).max() for c in each.conductors)
            around = sum(np.linalg.norm(np.roll(c.points, -1, 0) - c.points, axis=1).sum() for c in each.conductors[:1])
            wave = SPEED_OF_LIGHT / scanner.larmor_frequency
            assert longest < 0.04
            assert around / each.capacitors < wave / 15  # between capacitors the current is uniform


def test_the_head_array_lets_the_helmet_in():
    scanner = load_scanner("5T")
    wire = np.concatenate([loop.points for loop in scanner.receive[0].loops])
    assert np.hypot(wire[:, 0], wire[:, 1]).max() < scanner.transmit.arrays[0].radius


def test_loops_face_outward_and_lie_on_the_cylinder():
    array = cylinder_loops("x", 8, 0.15, 0.2, 0.015)
    for i, loop in enumerate(array.conductors):
        assert np.allclose(np.hypot(loop.points[:, 0], loop.points[:, 1]), 0.15)
        assert np.ptp(loop.points[:, 2]) == pytest.approx(0.2)
        normal = area(loop.points)
        angle = 2 * np.pi * i / 8
        assert normal @ (np.cos(angle), np.sin(angle), 0) > 0.99 * np.linalg.norm(normal)
    first, second = array.conductors[0].points, array.conductors[1].points
    gap = np.linalg.norm(first[:, None] - second[None], axis=2).min()
    assert gap == pytest.approx(0.015, rel=0.01)


def test_dipoles_end_without_current():
    array = cylinder_dipoles("x", 4, 0.15, 0.3, 210.76e6)
    for dipole in array.conductors:
        assert not dipole.is_closed
        assert dipole.current[[0, -1]] == pytest.approx(0, abs=1e-12) and dipole.current.max() == pytest.approx(1)
        assert (np.diff(dipole.current[: len(dipole.current) // 2]) > 0).all()


def test_a_volume_coils_rungs_carry_the_difference_of_their_meshes():
    """cos and sin of the angle, a quarter turn apart: both plugs are the same coil turned by 90 degrees."""
    array = volume_coil("x", 16, 0.3, 0.4)
    assert array.modes.shape == (16, 2)
    assert np.allclose(array.modes.T @ array.modes, 8 * np.eye(2))
    assert np.allclose(np.roll(array.modes[:, 0], 4), array.modes[:, 1])


DIPOLES = 'kind = "dipoles"\nchannels = 8\nradius = "32 cm"\nlength = "30 cm"\nconductor_radius = "3 mm"\nunloaded_q = 200\nclearance = "1 cm"\n'


def own(tmp_path, text, base="5T"):
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "{base}"\n{text}')
    return path


def test_a_users_own_dipoles(tmp_path):
    scanner = load_scanner(
        own(tmp_path, f'[transmit.arrays.mine]\n{DIPOLES}shield_radius = "36 cm"\nregion = "body"\n')
    )
    mine = scanner.transmit.arrays[-1]
    assert (mine.name, len(mine.conductors), mine.shield_radius) == ("mine", 8, 0.36)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[transmit.arrays.mine]\n" + DIPOLES.replace("30 cm", "90 cm"), "transmit.arrays.mine.length"),
        ("[transmit.arrays.mine]\n" + DIPOLES.replace("= 8", "= 7"), "transmit.arrays.mine"),
        ("[transmit.arrays.mine]\n" + DIPOLES + 'shield_radius = "32 cm"', "transmit.arrays.mine.shield_radius"),
        ("[transmit.arrays.mine]\n" + DIPOLES + 'kin = "x"', "transmit.arrays.mine.kin"),
        ("[transmit.arrays.mine]\n" + DIPOLES.replace("32 cm", "nan cm"), "transmit.arrays.mine.radius"),
        ("[transmit.arrays.mine]\n" + DIPOLES.replace("3 mm", "9 cm"), "transmit.arrays.mine.conductor_radius"),
        ('[transmit.arrays.head8]\nkind = "birdcage"', "transmit.arrays.head8.kind"),
        ('[transmit.arrays.head8]\ndecoupling = "some"', "transmit.arrays.head8.decoupling"),
        ('[transmit.arrays.head8]\ngap = "20 cm"', "transmit.arrays.head8.gap"),
        ("[transmit.arrays.head8]\nchannels = 100000", "transmit.arrays.head8.channels"),
        ('[transmit.arrays.body8]\nradius = "25 cm"', "transmit.arrays.body8.radius"),
        ("[transmit.arrays.head8]\nunloaded_q = 0", "transmit.arrays.head8.unloaded_q"),
        ("[transmit]\narrays = 5", "transmit.arrays"),
    ],
)
def test_an_impossible_array_names_the_key(tmp_path, text, place):
    with pytest.raises(FileFormatError) as caught:
        load_scanner(own(tmp_path, text))
    assert caught.value.where == place


def test_a_volume_coil_needs_rungs(tmp_path):
    with pytest.raises(FileFormatError, match="at least 4"):
        load_scanner(own(tmp_path, "[transmit.arrays.volume2]\nrungs = 3", "3T"))


def test_frequencies_of_the_shipped_machines_are_below_the_cutoff_of_their_shields():
    """TE11 of a cylinder: 1.8412 c / (2 pi b)."""
    for name in ("5T", "3T"):
        scanner = load_scanner(name)
        for each in scanner.transmit.arrays:
            assert GAMMA_BAR * scanner.field_strength < 1.8412 * SPEED_OF_LIGHT / (2 * np.pi * each.shield_radius)
