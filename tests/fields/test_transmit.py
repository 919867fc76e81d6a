"""Coils and body by Maxwell together: reciprocity, passivity, power balance, what the body's own field does in the shield."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import lauterbur as lb
from lauterbur.errors import InputError
from lauterbur.fields.files import read_fields
from lauterbur.fields.incident import Incident
from lauterbur.fields.integral import solve
from lauterbur.fields.lattice import body_strength, lattice_electric
from lauterbur.fields.maxwell import missing_power, receive_fields, transmit_fields
from lauterbur.fields.medium import Medium
from lauterbur.fields.position import position
from lauterbur.fields.transmit import coil, electric_field
from lauterbur.scanner.coils import cylinder_dipoles, cylinder_loops, volume_coil
from lauterbur.scanner.machine import Array, Loop
from lauterbur.scanner.profiles import load_scanner
from lauterbur.subject.anatomy import AIR, LinearRate, PowerLaw, Subject, Tissue
from lauterbur.units import EPSILON_0

FREQUENCY = 210.76e6
GREY = Tissue(
    "water",
    1.0,
    PowerLaw(1.0, 0.0),
    LinearRate(10, 0),
    LinearRate(0, 0),
    dielectric="Brain (Grey Matter)",
    field_range=(0, 20),
)
STEP = 0.012


def ball(radius=0.075, sigma=0.6, step=STEP, frequency=FREQUENCY, centre=(0.0, 0.0, 0.0), left_sigma=None):
    half = int(np.ceil(radius / step)) + 3
    axis = np.arange(-half, half + 1) * step
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = x**2 + y**2 + z**2 < radius**2
    conductivity = np.where(inside, sigma, 0.0)
    if left_sigma is not None:
        conductivity = np.where(inside & (x > 0.02), left_sigma, conductivity)
    permittivity = np.where(inside, 60.0, 1.0) + 1j * conductivity / (2 * np.pi * frequency * EPSILON_0)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = axis[0] + np.array(centre)
    density = np.where(inside, 1000, 0).astype(np.float32)
    return Medium(permittivity.astype(np.complex64), affine, frequency, density)


def ellipsoid(semi_axes, step):
    half = [int(np.ceil(s / step)) + 1 for s in semi_axes]
    x, y, z = (np.arange(-h, h + 1) * step for h in half)
    square = (x[None, None] / semi_axes[0]) ** 2 + (y[None, :, None] / semi_axes[1]) ** 2
    labels = (square + (z[:, None, None] / semi_axes[2]) ** 2 < 1)[None].astype(np.uint8)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = x[0], y[0], z[0]
    return Subject("ellipsoid", labels, labels.astype(np.float32), affine, (AIR, GREY))


def head_coil(channels=4, kind="loops", shield=0.16):
    made = {
        "loops": lambda: cylinder_loops("loops", channels, 0.125, 0.16, 0.02),
        "dipoles": lambda: cylinder_dipoles("dipoles", channels, 0.125, 0.25, FREQUENCY),
        "volume": lambda: volume_coil("volume", 8, 0.125, 0.16),
    }[kind]()
    return replace(
        made, shield_radius=shield, conductor_radius=2e-3, unloaded_q=200.0, clearance=0.01, decoupling="all"
    )


def driven(medium, array, **options):
    body = np.argwhere(medium.permittivity != 1)[:, ::-1] * medium.affine[0, 0] + medium.affine[:3, 3]
    return transmit_fields(medium, position(load_scanner("5T"), body, array, (0.0, 0.0, 0.0)), **options)


@pytest.fixture(scope="module")
def four_loops():
    return driven(ball(), head_coil())


@pytest.mark.parametrize("kind", ["loops", "dipoles", "volume"])
def test_the_power_that_goes_in_is_found_in_body_and_coil(kind, four_loops):
    """In a long shield below its cutoff nothing radiates; ports' circuit and volume integral know nothing of each other."""
    fields = four_loops if kind == "loops" else driven(ball(), head_coil(kind=kind))
    assert np.linalg.norm(missing_power(fields), 2) < 0.01
    assert np.linalg.eigvalsh(fields.absorbed).min() > 0
    accepted = np.eye(len(fields.s_matrix)) - fields.s_matrix.conj().T @ fields.s_matrix
    assert np.linalg.eigvalsh(accepted).min() > 0  # passive
    assert np.abs(fields.s_matrix - fields.s_matrix.T).max() < 1e-10  # reciprocal
    assert 20 * np.log10(np.abs(np.diag(fields.s_matrix)).max()) < -20  # matched


def test_impedance_is_symmetric_to_the_solvers_tolerance():
    medium, array = ball(), head_coil(shield=0.0)
    made = coil(medium, array.conductors, array.modes, conductor_radius=2e-3, unloaded_q=200.0)
    incident = electric_field(medium, made)
    solution = solve(medium, incident)
    z = -(STEP**3) * np.einsum("iczyx,jczyx->ij", incident.e.astype(complex), solution.current.astype(complex))
    assert np.abs(z - z.T).max() < 1e-3 * np.abs(z).max()


def shielded_loops():
    medium, array = ball(), head_coil()
    made = coil(
        medium,
        array.conductors,
        array.modes,
        conductor_radius=2e-3,
        unloaded_q=200.0,
        shield_radius=array.shield_radius,
    )
    return medium, made


def test_the_shield_answers_the_body(four_loops):
    """It is not to be neglected, and the powers given to the body, absorbed and radiated by it then agree."""
    medium, made = shielded_loops()
    incident = electric_field(medium, made)
    alone, answered = solve(medium, incident), solve(medium, incident, shield=made.lattice)
    assert np.linalg.norm(answered.e - alone.e) > 0.02 * np.linalg.norm(alone.e)
    assert answered.imbalance < 1e-3
    assert np.abs(answered.impedance - answered.impedance.T).max() < 1e-3 * np.abs(answered.impedance).max()
    assert four_loops.loaded.imbalance < 1e-3


def test_the_shields_answer_is_that_of_shield_and_body_in_turn(four_loops):
    """The slow way: the body, what the shield sends back of its currents, the body again, until nothing is left."""
    medium, made = shielded_loops()
    excites = electric_field(medium, made)
    e = np.zeros_like(excites.e)
    for _ in range(8):
        part = solve(medium, excites)
        e += part.e
        strength = body_strength(medium, made.lattice, part.current)
        excites = Incident(np.stack(list(lattice_electric(medium, made.lattice, strength))))
    assert np.linalg.norm(e - four_loops.loaded.e) < 2e-3 * np.linalg.norm(e)


def test_begun_on_a_coarse_grid_it_ends_in_the_same_fields(four_loops):
    again = driven(ball(), head_coil(), coarse=ball(step=2 * STEP))
    assert np.abs(again.s_matrix - four_loops.s_matrix).max() < 5e-3
    assert np.linalg.norm(again.b1_plus - four_loops.b1_plus) < 0.01 * np.linalg.norm(four_loops.b1_plus)


def test_conductivity_of_one_part_changes_power_scattering_and_noise():
    array = head_coil()
    first = driven(ball(left_sigma=0.6), array)
    second = driven(ball(left_sigma=0.66), array, network=first.network)  # the same capacitors
    left = slice(ball().permittivity.shape[2] // 2 + 2, None)
    changed = [
        (medium.permittivity.imag[..., left] * np.abs(f.e[0][..., left]) ** 2).sum()
        for f, medium in ((first, ball(left_sigma=0.6)), (second, ball(left_sigma=0.66)))
    ]
    assert abs(changed[1] / changed[0] - 1) > 0.005  # SAR where it changed
    assert np.abs(second.s_matrix - first.s_matrix).max() > 1e-3
    assert abs(second.loaded.impedance[0, 0].real / first.loaded.impedance[0, 0].real - 1) > 0.003  # receive noise


def test_one_loop_excites_in_one_sense_and_hears_in_the_mirrored_one():
    """B1+ and B1- of one loop shade in opposite senses: mirrored in y (reciprocity; Hoult, Concepts Magn Reson 2000, 12:173)."""
    medium = ball(step=0.01)
    angle = 2 * np.pi * np.arange(24) / 24
    points = np.stack([np.full(24, 0.1), 0.04 * np.cos(angle), 0.04 * np.sin(angle)], axis=1)
    array = Array("one", (Loop(points),), resistance=0.1)
    b1_minus, _, loaded = receive_fields(medium, array)
    b1_plus = (loaded.b[0, 0] + 1j * loaded.b[0, 1]) / 2
    plus, minus = np.abs(b1_plus), np.abs(b1_minus[0])
    inside = medium.permittivity != 1
    mirrored = minus[:, ::-1]
    assert np.abs(plus - mirrored)[inside].max() < 0.02 * plus[inside].max()
    middle = inside.shape[0] // 2
    assert np.abs(plus[middle] - minus[middle])[inside[middle]].max() > 0.2 * plus[inside].max()  # and they do differ


@pytest.mark.parametrize("back", [-0.05, 0.05])
def test_the_laboratory_frame_says_which_side_is_excited(back):
    """M precesses as dM/dt = gamma M x B with the real field of the loop, counter-rotating part and all; flip ~ |b1_plus|."""
    medium = ball(step=0.01)
    angle = 2 * np.pi * np.arange(24) / 24
    points = np.stack([np.full(24, 0.1), 0.04 * np.cos(angle), 0.04 * np.sin(angle)], axis=1)
    _, _, loaded = receive_fields(medium, Array("one", (Loop(points),), resistance=0.1))
    index = np.rint((np.array([0.0, back, 0.0]) - medium.affine[:3, 3]) / 0.01).astype(int)
    bx, by = loaded.b[0, :2, index[2], index[1], index[0]].astype(complex)
    omega, scale = 200.0, 2.0 / abs(bx)  # a slow precession, so that the steps are few: rad per unit of time
    steps, cycles = 8000, 40
    dt = cycles * 2 * np.pi / omega / steps
    middle = (np.arange(steps) + 0.5) * dt
    turn = np.exp(-1j * omega * middle) * scale
    field = np.stack([(bx * turn).real, (by * turn).real, np.full(steps, omega)], axis=1)  # gamma B, B0 along +z
    m = np.array([0.0, 0.0, 1.0])
    for rotation in Rotation.from_rotvec(-field * dt).as_matrix():  # dM/dt = M x gamma B
        m = rotation @ m
    expected = np.abs((bx + 1j * by) / 2 * scale) * steps * dt
    assert np.arccos(m[2]) == pytest.approx(expected, rel=0.03)
    assert abs(np.abs(bx + 1j * by) / np.abs(bx - 1j * by) - 1) > 0.2  # the other sense would be told apart


def test_noise_and_maps_of_receive_loops_are_those_of_one_ampere():
    medium = ball()
    angle = 2 * np.pi * np.arange(16) / 16
    loops = [Loop(np.stack([np.full(16, x), 0.04 * np.cos(angle), 0.04 * np.sin(angle)], axis=1)) for x in (0.1, -0.1)]
    array = Array("two", tuple(loops), resistance=0.2)
    b1_minus, noise, loaded = receive_fields(medium, array)
    assert np.allclose(noise, noise.T) and np.linalg.eigvalsh(noise).min() > 0.2
    assert noise[0, 0].real == pytest.approx(0.2 + 2 * loaded.absorbed[0, 0].real, rel=0.1)  # what is left radiates
    assert noise[0, 0].real > 0.2 + 2 * loaded.absorbed[0, 0].real
    assert np.isfinite(b1_minus).all() and b1_minus.shape[0] == 2


def test_a_volume_coil_in_quadrature_excites_and_in_antiquadrature_does_not():
    fields = driven(ball(radius=0.05), head_coil(kind="volume"))
    middle = tuple(n // 2 for n in fields.b1_plus.shape[1:])
    one, other = fields.b1_plus[0][middle], fields.b1_plus[1][middle]
    with_, against = abs(one + 1j * other), abs(one - 1j * other)
    assert max(with_, against) > 8 * min(with_, against)
    assert abs(one) == pytest.approx(abs(other), rel=0.02)


# places


def test_what_leaves_the_coil_or_the_bore_is_said_with_its_place():
    scanner = load_scanner("5T")
    wide = np.array([[0.2, 0, 0], [-0.2, 0, 0], [0, 0.1, 0.1], [0, -0.1, -0.1]])
    with pytest.raises(InputError, match=r"leaves .*head8: at \(-?200"):
        position(scanner, wide, "head8")
    assert position(scanner, wide, None).array.name == "body8"
    with pytest.raises(InputError, match="the bore of scanner 5T"):
        position(scanner, wide * 1.8, "body8")
    with pytest.raises(InputError, match="no part of the body"):
        position(scanner, wide, "body8", (0.0, 0.0, 1.0))
    with pytest.raises(InputError, match="head8, body8"):
        position(scanner, wide, "knee1")
    with pytest.raises(InputError, match="finite"):
        position(scanner, wide, "body8", (0.0, np.nan, 0.0))
    with pytest.raises(InputError, match="no transmit array"):
        position(replace(scanner, transmit=replace(scanner.transmit, arrays=())), wide)


def test_a_flexible_array_is_drawn_around_the_body(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "5T"\n[transmit.arrays.belt]\nkind = "surface loops"\nrows = 1\ncolumns = 4\nclearance = "15 mm"\n'
        'semi_axes = { value = [190, 130], unit = "mm" }\nlength = "150 mm"\nspan = "140 deg"\nunloaded_q = 250\n'
        'conductor_radius = "2 mm"\ncapacitors = 6\n'
    )
    scanner = load_scanner(path)
    turn = np.linspace(0, 2 * np.pi, 200)
    body = np.concatenate(
        [np.stack([0.17 * np.cos(turn), 0.11 * np.sin(turn), np.full(200, z)], axis=1) for z in (-0.1, 0, 0.1)]
    )
    placed = position(scanner, body, "belt")
    assert placed.distance >= 0.015 and placed.array.modes.shape == (8, 8)


def test_solve_fields_by_maxwell_fills_the_noun(tmp_path):
    scanner, subject = load_scanner("5T"), ellipsoid((0.075, 0.095, 0.1), 10e-3)
    scanner = replace(scanner, receive=(replace(scanner.receive[0], loops=scanner.receive[0].loops[:3]),))
    told = []
    fields = lb.solve_fields(
        scanner,
        subject,
        method="maxwell",
        step=15e-3,
        receive_step=15e-3,
        cache=tmp_path,
        progress=lambda *a: told.append(a),
    )
    assert fields.b1_plus.shape[0] == 8 and fields.e.shape[:2] == (8, 3)
    assert fields.b1_plus.shape[1:] == fields.conductivity.shape == fields.density.shape
    assert fields.b1_minus.shape[0] == 3 and fields.off_resonance.shape == subject.labels.shape[1:]
    assert fields.provenance["transmit"]["array"] == "head8" and fields.provenance["transmit"]["missing_power"] < 0.01
    assert told and 0 <= min(t[0] for t in told) and max(t[0] for t in told) <= 1
    again = lb.solve_fields(scanner, subject, method="maxwell", step=15e-3, receive_step=15e-3, cache=tmp_path)
    assert np.array_equal(again.b1_plus, fields.b1_plus)
    (kept,) = tmp_path.iterdir()  # the checkpoints are gone
    assert kept.match("fields-*.h5")
    kept.write_bytes(kept.read_bytes()[:1000])  # a corrupted cache is solved again
    once_more = lb.solve_fields(scanner, subject, method="maxwell", step=15e-3, receive_step=15e-3, cache=tmp_path)
    assert np.allclose(once_more.b1_plus, fields.b1_plus, atol=1e-3 * np.abs(fields.b1_plus).max())
    assert kept.name in once_more.provenance["cache"] and "cache" not in read_fields(kept).provenance
    assert np.array_equal(read_fields(kept, scanner=scanner, subject=subject).e, once_more.e)
    for wrong in (
        {"method": "guess"},
        {"method": "quasi-static", "transmit": "head8"},
        {"step": 0.0},
        {"step": np.nan},
        {"receive_step": 1.0},
    ):
        with pytest.raises(InputError):
            lb.solve_fields(scanner, subject, **{"method": "maxwell", **wrong})


def test_an_interrupted_solution_leaves_checkpoints_that_serve_and_then_go(tmp_path, monkeypatch):
    monkeypatch.setattr("lauterbur.fields.integral.CHECKPOINT", 0.0)
    scanner, subject = load_scanner("5T"), ellipsoid((0.075, 0.095, 0.1), 10e-3)
    scanner = replace(scanner, receive=(replace(scanner.receive[0], loops=scanner.receive[0].loops[:3]),))

    def solved(cache, progress=None):
        options = {"method": "maxwell", "step": 15e-3, "receive_step": 15e-3}
        return lb.solve_fields(scanner, subject, **options, cache=cache, progress=progress)

    def stop(done, text):
        if done > 0.75:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solved(tmp_path, stop)
    (begun,) = tmp_path.iterdir()
    files = sorted(begun.glob("*.npy"))
    assert begun.suffix == ".begun" and len(files) >= 8
    files[0].write_bytes(b"torn")  # solved again, and nothing else is
    resumed, fresh = solved(tmp_path), solved(None)
    assert resumed.provenance["transmit"]["iterations"] < fresh.provenance["transmit"]["iterations"]
    assert np.allclose(resumed.e, fresh.e, atol=2e-3 * np.abs(fresh.e).max())
    assert [file.suffix for file in tmp_path.iterdir()] == [".h5"]

    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.* cannot be written.*choose another folder"):
        solved(tmp_path / "file")
