"""Laws that any solution of Maxwell's equations keeps, and what the solver promises about caches, memory and bad input."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve
from spheres import permittivity, round_loop, sphere

import lauterbur as lb
from lauterbur.errors import InputError, ResourceError
from lauterbur.fields import static
from lauterbur.fields.equation import equation, face_permittivity, operate, precondition
from lauterbur.fields.green import green, lattice_kernel, scattered
from lauterbur.fields.incident import Conductor, Incident, incident_fields
from lauterbur.fields.integral import b1_plus, memory_needed, solve
from lauterbur.fields.medium import Medium, conductivity, medium_of
from lauterbur.fields.power import given, radiated
from lauterbur.units import EPSILON_0, mm

STEP = 10e-3


def lump(seed=1):
    """Boxes of different tissues, one of them nearly fat, none symmetric."""
    medium = sphere(STEP, (0.07,), (permittivity(),))
    eps = medium.permittivity.copy()
    body = eps != 1
    eps[:9][body[:9]] = permittivity(12, 0.1)
    eps[:, 8:11, 9:][body[:, 8:11, 9:]] = permittivity(76, 2.1)
    return replace(medium, permittivity=eps.astype(np.complex64))


def coils():
    return [
        round_loop(0.04, 0.095, axis=0),
        round_loop(0.03, 0.09, axis=1, centre=(0.01, 0, 0.02)),
        round_loop(0.05, -0.09, axis=2, centre=(0.02, 0.01, 0)),
    ]


@pytest.fixture(scope="module")
def solved():
    medium = lump()
    incident = incident_fields(medium, coils())
    return medium, incident, solve(medium, incident)


def test_the_kernel_solves_the_lattice_helmholtz_equation():
    n = np.abs(np.arange(-15, 16))
    for kh in (0.02, 0.05):
        kernel = lattice_kernel([16, 16, 16], kh)[np.ix_(n, n, n)]
        laplacian = sum(np.roll(kernel, 1, a) + np.roll(kernel, -1, a) - 2 * kernel for a in range(3))
        left = (laplacian + kh**2 * kernel)[1:-1, 1:-1, 1:-1]
        left[14, 14, 14] += 1
        assert np.abs(left).max() < 1e-4
    assert lattice_kernel([2, 2, 2], 1e-6)[0, 0, 0].real == pytest.approx(0.2527310098, abs=1e-8)  # Watson's integral


def test_the_convolution_by_fft_is_the_plain_sum():
    shape, step, k = (5, 6, 7), 4e-3, 4.4
    rng = np.random.default_rng(0)
    source = (rng.standard_normal((3, *shape)) + 1j * rng.standard_normal((3, *shape))).astype(np.complex64)
    kernel = lattice_kernel([9, 9, 9], k * step) * step**2
    big = np.zeros((3, *(n + 2 for n in shape)), complex)  # g * P with a row more on each side
    nodes = np.stack(np.meshgrid(*(np.arange(-1, n + 1) for n in shape), indexing="ij"))
    for index in np.ndindex(shape):
        apart = np.abs(nodes - np.array(index)[:, None, None, None])
        big += kernel[tuple(apart)] * source[(slice(None), *index)][:, None, None, None]
    divergence = sum((big[a] - np.roll(big[a], 1, 2 - a)) / step for a in range(3))
    field = k**2 * big + np.stack([(np.roll(divergence, -1, 2 - a) - divergence) / step for a in range(3)])
    found = scattered(green(shape, step, k), source)
    assert np.abs(found - field[:, 1:-1, 1:-1, 1:-1]).max() < 1e-5 * np.abs(field).max()


def test_the_potential_is_that_of_a_direct_solver_and_makes_the_static_equation_easy():
    medium = replace(lump(), frequency=1e3)  # the same permittivities
    problem = equation(medium)
    rng = np.random.default_rng(2)
    f = rng.standard_normal(len(problem.where)).astype(np.complex64)
    e = precondition(problem, f[None])[0]
    assert np.linalg.norm(operate(problem, e[None])[0] - f) < 0.05 * np.linalg.norm(f)
    assert np.linalg.norm(operate(problem, f[None])[0] - f) > 5 * np.linalg.norm(f)

    face = problem.grids[0].face
    cells = np.zeros(face.shape[1:], int) - 1
    inner = (slice(1, -1),) * 3
    cells[inner] = np.arange(cells[inner].size).reshape(cells[inner].shape)
    matrix = sparse.lil_matrix((cells.max() + 1,) * 2, dtype=complex)
    for a in range(3):
        shifted = np.roll(cells, -1, 2 - a)
        for one, other, eps in zip(cells.ravel(), shifted.ravel(), face[a].ravel(), strict=True):
            for i, j in ((one, other), (other, one)):
                if i >= 0:
                    matrix[i, i] += eps
                    if j >= 0:
                        matrix[i, j] -= eps
    right = np.zeros(cells.shape, np.complex64)
    right[inner] = rng.standard_normal(cells[inner].shape)
    exact = spsolve(matrix.tocsc(), right[inner].ravel())
    found = static.potential(problem.grids, right)[inner].ravel()
    assert np.linalg.norm(found - exact) < 0.02 * np.linalg.norm(exact)


@pytest.mark.parametrize("n", [20, 40, 60])
def test_the_potential_leaves_as_little_on_any_grid(n):
    """Four K-cycles, in a body with pockets of air: what is left of the charges does not grow with the grid."""
    z, y, x = (np.indices((n, n, n)) - (n - 1) / 2) / n
    inside = (x**2 + y**2 + z**2 < 0.16) & (np.cos(9 * np.pi * x) * np.cos(7 * np.pi * y) > -0.7)
    grids = static.levels(face_permittivity(np.where(inside, 60 + 70j, 1)))
    assert len(grids) >= 3
    face, right = grids[0].face, np.zeros_like(grids[0].inverse)
    inner = (slice(1, -1),) * 3
    right[inner][:n, :n, :n] = np.gradient(np.where(inside, z, 0), axis=0)
    phi = static.potential(grids, right)
    out = np.zeros_like(phi)
    for a in range(3):
        up = face[a] * (phi - np.roll(phi, -1, 2 - a))
        out += up - np.roll(up, 1, 2 - a)
    assert np.linalg.norm((right - out)[inner]) < 2e-3 * np.linalg.norm(right)


def test_the_body_couples_ports_both_ways_alike(solved):
    _, _, solution = solved
    z = solution.impedance
    assert np.abs(z - z.T).max() < 1e-4 * np.abs(z).max()
    assert abs(z[0, 1]) > 0.01 * abs(z[0, 0])


def test_power_given_is_absorbed_or_radiated(solved):
    medium, incident, solution = solved
    assert solution.imbalance < 1e-3
    gave, went = given(medium, incident.e, solution.current), solution.absorbed + radiated(medium, solution.current)
    assert np.abs(gave - went).max() < 1e-3 * np.abs(gave).max()
    assert np.linalg.eigvalsh(solution.absorbed).min() > 0
    scaled = solution.current * np.float32(1.1)
    off = given(medium, incident.e, scaled) - 1.21 * solution.absorbed - radiated(medium, scaled)
    assert np.abs(np.diag(off)).max() > 0.05 * np.abs(gave).max()  # currents 10 % too large do not balance


def test_absorbed_power_is_that_of_the_fields_at_voxel_centres(solved):
    medium, _, solution = solved
    sigma = conductivity(medium)
    local = 0.5 * STEP**3 * np.einsum("zyx,pazyx,qazyx->pq", sigma, solution.e.conj(), solution.e)
    ratio = np.diag(local).real / np.diag(solution.absorbed).real
    assert (ratio < 1).all() and (ratio > 0.7).all()  # means over opposite faces lose what varies within a voxel


def test_fields_are_linear_in_the_currents(solved):
    medium, _, solution = solved
    together = [
        Conductor(
            np.concatenate([c.segments for c in coils()]),
            np.concatenate([w * c.currents for w, c in zip((1, 2j, -0.5), coils(), strict=True)]),
        )
    ]
    one = solve(medium, incident_fields(medium, together))
    sum_of = np.einsum("c,cazyx->azyx", [1, 2j, -0.5], solution.b)
    assert np.linalg.norm(one.b[0] - sum_of) < 1e-3 * np.linalg.norm(sum_of)
    plus = np.einsum("c,czyx->zyx", [1, 2j, -0.5], b1_plus(solution))
    assert np.linalg.norm(b1_plus(one)[0] - plus) < 1e-3 * np.linalg.norm(plus)


def test_a_dipole_with_its_charges_is_hertz_s():
    medium = sphere(STEP, (0.03,))
    k, length, current = 2 * np.pi * medium.frequency / 299792458.0, 4e-3, 1.0
    dipole = Conductor(np.array([[[0.1, -length / 2, 0.02], [0.1, length / 2, 0.02]]]), np.array([current + 0j]))
    e = incident_fields(medium, [dipole]).e[0]
    mask = medium.permittivity != 1
    points = np.argwhere(mask)[:, ::-1] * STEP + medium.affine[:3, 3]
    for a in range(3):
        r = points + STEP / 2 * np.eye(3)[a] - [0.1, 0, 0.02]
        d = np.linalg.norm(r, axis=1)
        n, m = r / d[:, None], np.array([0, 1, 0])
        p = (
            1j * current * length / 2 / (2 * np.pi * medium.frequency)
        )  # -i omega p = integral I dl, half of I l; Jackson eq. 9.18
        wave = np.exp(1j * k * d) / (4 * np.pi * EPSILON_0)
        along = n @ m
        exact = (
            p * wave * (k**2 * (m[a] - along * n[:, a]) / d + (3 * n[:, a] * along - m[a]) * (1 / d**3 - 1j * k / d**2))
        )
        assert np.abs(e[a][mask] - exact).max() < 0.03 * np.abs(exact).max()


def test_what_was_solved_is_read_and_what_was_spoiled_is_solved_again(tmp_path, solved):
    medium, incident, solution = solved
    first = solve(medium, incident, cache=tmp_path)
    again = solve(medium, incident, cache=tmp_path)
    assert again.iterations == 3 and first.iterations > 15  # one each, to see that the answer is right
    assert np.abs(again.current - first.current).max() < 1e-5 * np.abs(first.current).max()
    files = sorted(tmp_path.glob("*.npy"))
    assert len(files) == 3 and not list(tmp_path.glob("*.unfinished"))
    files[0].write_bytes(files[0].read_bytes()[:1000])
    values = np.load(files[1])
    np.save(files[1], values[::-1])
    mended = solve(medium, incident, cache=tmp_path)
    assert mended.iterations > 10
    assert np.abs(mended.b - solution.b).max() < 1e-3 * np.abs(solution.b).max()
    other = solve(replace(medium, frequency=1.01 * medium.frequency), incident, cache=tmp_path)
    assert other.iterations > 15 and len(list(tmp_path.glob("*.npy"))) == 6


def test_a_stopped_solution_goes_on_from_its_checkpoint(tmp_path, monkeypatch, solved):
    medium, incident, _ = solved
    monkeypatch.setattr("lauterbur.fields.integral.CHECKPOINT", 0.0)
    seen = []

    def stop(fraction, text):
        seen.append((fraction, text))
        if fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(medium, incident, cache=tmp_path, progress=stop)
    fractions = [f for f, _ in seen]
    assert fractions == sorted(fractions) and "iterations" in seen[0][1]
    fresh = solve(medium, incident)
    resumed = solve(medium, incident, cache=tmp_path)
    assert resumed.iterations < fresh.iterations
    assert np.abs(resumed.b - fresh.b).max() < 1e-3 * np.abs(fresh.b).max()


def test_a_coarser_solution_is_a_better_start_than_nothing():
    coarse, fine = sphere(20e-3), sphere(STEP)
    loop = [round_loop(0.05, 0.125)]
    start = solve(coarse, incident_fields(coarse, loop))
    incident = incident_fields(fine, loop)
    with_start, without = solve(fine, incident, start=start), solve(fine, incident)
    assert with_start.history[0] < 0.7 * without.history[0]
    assert np.abs(with_start.b - without.b).max() < 1e-3 * np.abs(without.b).max()


def test_too_little_memory_is_said_before_anything_is_computed(solved):
    medium, incident, solution = solved
    needed = memory_needed(medium, 3)
    with pytest.raises(ResourceError, match="needs at least"):
        solve(medium, incident, memory=needed / 20)
    tight = solve(medium, incident, memory=memory_needed(medium, 3, 8))  # the oldest directions are forgotten
    assert np.abs(tight.b - solution.b).max() < 1e-3 * np.abs(solution.b).max()


def test_a_subject_becomes_a_medium_of_its_tissues_and_its_volume():
    subject = lb.load_subject("head", spacing=4 * mm)
    medium = medium_of(subject, 210.8e6, 8 * mm, beyond=0.04)
    body = medium.density > 0
    volume = np.where(subject.labels > 0, subject.fraction, 0).sum() * (4 * mm) ** 3
    assert body.sum() * (8 * mm) ** 3 == pytest.approx(volume, rel=0.03)
    continued = (medium.permittivity != 1) & ~body
    assert continued[2:7].any() and not continued[7:].any()  # 40 mm of neck
    last = medium.permittivity[7]
    assert np.array_equal(medium.permittivity[3], last)
    assert medium.affine[2, 3] == pytest.approx(subject.affine[2, 3] - 2 * mm + 4 * mm - (2 + 5) * 8 * mm)
    assert 30 < np.median(medium.permittivity.real[body]) < 70
    flipped = replace(
        subject,
        labels=subject.labels[..., ::-1].copy(),
        fraction=subject.fraction[..., ::-1].copy(),
        affine=subject.affine
        @ np.array([[-1, 0, 0, subject.labels.shape[-1] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    )
    assert np.allclose(medium_of(flipped, 210.8e6, 8 * mm, beyond=0.04).permittivity, medium.permittivity, atol=1e-3)
    turned = replace(
        subject, affine=subject.affine @ np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    with pytest.raises(InputError, match="turned"):
        medium_of(turned, 210.8e6, 8 * mm)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda m: {"permittivity": np.where(m.permittivity != 1, -3 + 1j, 1).astype(np.complex64)},
            "must be positive",
        ),
        (lambda m: {"permittivity": np.where(m.permittivity != 1, np.nan, 1).astype(np.complex64)}, "must be positive"),
        (lambda m: {"permittivity": np.where(m.permittivity != 1, 50 - 1j, 1).astype(np.complex64)}, "not negative"),
        (lambda m: {"permittivity": np.full_like(m.permittivity, 2)}, "border"),
        (lambda m: {"frequency": 0.0}, "frequency"),
        (lambda m: {"affine": np.diag([1e-3, 2e-3, 1e-3, 1.0])}, "isotropic"),
        (lambda m: {"density": np.ones((2, 2, 2), np.float32)}, "density"),
    ],
)
def test_impossible_media_are_refused(change, words):
    medium = sphere(20e-3)
    with pytest.raises(InputError, match=words):
        replace(medium, **change(medium))


def test_conductors_in_the_body_and_broken_incident_fields_are_refused(solved):
    medium, incident, _ = solved
    with pytest.raises(InputError, match="conductor 1 comes to"):
        incident_fields(medium, [coils()[0], round_loop(0.04, 0.0)])
    with pytest.raises(InputError, match="must be"):
        Conductor(np.zeros((3, 2, 3)), np.zeros(2))
    with pytest.raises(InputError, match="finite"):
        Conductor(np.full((1, 2, 3), np.nan), np.ones(1))
    with pytest.raises(InputError, match="not finite"):
        solve(medium, Incident(incident.e * np.nan, incident.b))
    with pytest.raises(InputError, match="shape"):
        solve(medium, Incident(incident.e[:, :2], incident.b))
    with pytest.raises(InputError, match="tolerance"):
        solve(medium, incident, tolerance=0)
    with pytest.raises(InputError, match="air"):
        solve(Medium(np.ones_like(medium.permittivity), medium.affine, medium.frequency), incident)
