"""The receive chain against hand calculation: volts by reciprocity, noise by Nyquist, and the laws of SNR."""

from dataclasses import replace

import numpy as np
import pytest

from lauterbur.acquisition.twin.receiver import (
    WATER_PROTONS,
    ReceiveChain,
    equilibrium_magnetisation,
    noise,
    noise_readouts,
    noise_scan,
    receive_chain,
    sensitivities,
)
from lauterbur.acquisition.twin.spins import Lattice, Spins
from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.scanner.profiles import load_scanner
from lauterbur.units import BOLTZMANN

SHAPE = (8, 9, 10)
STEP = 4e-3


def fields_of(n_loops=6, seed=0, resistance=None):
    """Smooth random maps around 1e-6 T/A on a grid of 4 mm, and a correlated noise resistance."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    basis = np.stack([np.ones_like(x), x, y, z, x * y, z * z, x * x])
    weights = rng.standard_normal((n_loops, 7, 2)) @ [1, 1j]
    maps = (1e-6 * np.tensordot(weights, basis, axes=(1, 0))).astype(np.complex64)
    if resistance is None:
        mixed = rng.standard_normal((n_loops, n_loops))
        resistance = np.eye(n_loops) * 2 + 0.3 * mixed @ mixed.T
    affine = np.diag([STEP, STEP, STEP, 1.0])
    uniform = np.broadcast_to(np.complex64(1e-7), (8, *SHAPE))
    return FieldMaps(
        affine, np.zeros(SHAPE, np.float32), uniform, maps, resistance.astype(complex), receive_affine=affine
    )


def spins_at(index):
    return Spins(STEP * np.asarray(index, float), volume=1e-9)


def lattice_spins(occupied=0.6):
    rng = np.random.default_rng(5)
    shape = (20, 21, 22)
    affine = np.diag([-1e-3, 1.2e-3, 1e-3, 1.0])
    affine[:3, 3] = [0.03, 0.003, 0.004]
    flat = np.flatnonzero(rng.random(shape) < occupied)
    index = np.stack(np.unravel_index(flat, shape)[::-1], axis=1)
    return Spins(index @ affine[:3, :3].T + affine[:3, 3], volume=1e-9, lattice=Lattice(shape, affine, flat))


def test_the_magnetisation_of_water_follows_curie():
    """3.08 mA/m per tesla at 37 C: a nuclear susceptibility, mu0 M0 / B0, of 3.9e-9."""
    assert pytest.approx(6.64e28, rel=1e-3) == WATER_PROTONS
    assert equilibrium_magnetisation(1.0, 310.0) == pytest.approx(3.08e-3, rel=0.01)
    assert equilibrium_magnetisation(4.95, 310.0) == pytest.approx(4.95 * equilibrium_magnetisation(1.0, 310.0))


def test_the_signal_to_noise_ratio_of_one_voxel_is_that_of_hand_calculation():
    scanner = load_scanner("5T")
    resistance = 3.0
    fields = fields_of(1, resistance=np.array([[resistance]]))
    chain = receive_chain(fields, scanner)
    spins = spins_at([[3, 4, 5]])
    signal = abs(sensitivities(chain, spins)[0][0]) * spins.weight[0]
    dwell = 1e-5
    in_noise = signal / np.sqrt(chain.noise_covariance[0, 0].real / dwell)

    # Peak volts 2 w B1- M0 V; r.m.s. noise sqrt(4 k T R F bandwidth), peak amplitude sqrt(2) times the r.m.s. one.
    peak = (
        2
        * 2
        * np.pi
        * scanner.larmor_frequency
        * abs(fields.b1_minus[0, 5, 4, 3])
        * equilibrium_magnetisation(4.95, 310)
        * 1e-9
    )
    thermal = np.sqrt(4 * BOLTZMANN * 310 * resistance * scanner.spectrometer.noise_factor / dwell)
    assert in_noise == pytest.approx(peak / np.sqrt(2) / thermal, rel=1e-5)


def test_reciprocity_in_the_laboratory_frame():
    """emf = -d/dt (M . B) of a precessing moment, integrated over time, has amplitude 2 w |b1_minus| |M_xy| and its phase."""
    omega, magnetisation = 2 * np.pi * 200e6, 2.0 * np.exp(0.7j)
    b = np.array([3e-6, -1e-6])  # Bx, By of 1 A
    time = np.linspace(0, 1 / 200e6, 4001)
    rotating = magnetisation * np.exp(-1j * omega * time)
    emf = -np.gradient(rotating.real * b[0] + rotating.imag * b[1], time, edge_order=2)
    phasor = 2 * np.trapezoid(emf * np.exp(1j * omega * time), time) * 200e6
    b1_minus = (b[0] - 1j * b[1]) / 2
    assert phasor == pytest.approx(2j * omega * b1_minus * magnetisation, rel=1e-4)


def test_snr_grows_with_volume_and_the_root_of_time():
    chain = receive_chain(fields_of(), load_scanner("5T"))
    small, large = spins_at([[3, 4, 5]]), Spins(STEP * np.array([[3.0, 4, 5]]), volume=8e-9)
    ratio = sensitivities(chain, large)[2][0] * large.weight[0] / (sensitivities(chain, small)[2][0] * small.weight[0])
    assert abs(ratio) == pytest.approx(8)
    short, long = noise(chain, 0, 40_000, 1e-6, 1).std(), noise(chain, 1, 40_000, 4e-6, 1).std()
    assert short / long == pytest.approx(2, rel=0.02)


def test_snr_grows_with_the_field_as_reciprocity_and_body_noise_say():
    """Signal as B0^2; body resistance as B0^2, so noise as B0: SNR as B0 where the body dominates, B0^(7/4) where coil loss does."""
    fields = fields_of(1, resistance=np.array([[2.0]]))
    three, five = load_scanner("3T"), load_scanner("5T")
    ratio = five.field_strength / three.field_strength
    spins = spins_at([[3, 4, 5]])

    def snr(scanner, resistance):
        chain = receive_chain(replace(fields, noise_resistance=np.array([[resistance + 0j]])), scanner)
        return abs(sensitivities(chain, spins)[0][0]) / np.sqrt(chain.noise_covariance[0, 0].real)

    assert snr(five, 2.0 * ratio**2) / snr(three, 2.0) == pytest.approx(ratio, rel=1e-5)
    assert snr(five, 2.0 * ratio**0.5) / snr(three, 2.0) == pytest.approx(ratio**1.75, rel=1e-5)


def test_noise_has_the_covariance_it_should():
    chain = receive_chain(fields_of(), load_scanner("5T"))
    assert np.mean(np.diag(chain.noise_covariance).real) == pytest.approx(1)
    samples = noise_scan(chain, 2e-6, 7, 200_000).astype(np.complex128)
    measured = samples @ samples.conj().T / samples.shape[1] * 2e-6
    assert np.abs(measured - chain.noise_covariance).max() < 0.02
    assert np.abs(samples @ samples.T / samples.shape[1] * 2e-6).max() < 0.02  # circular


def test_noise_is_the_same_in_whatever_order_readouts_come():
    chain = receive_chain(fields_of(), load_scanner("5T"))
    together = noise_readouts(chain, np.arange(10), 32, 1e-5, 3)
    apart = np.concatenate(
        [noise_readouts(chain, np.arange(5, 10), 32, 1e-5, 3), noise_readouts(chain, np.arange(5), 32, 1e-5, 3)]
    )
    assert np.array_equal(together, apart[[5, 6, 7, 8, 9, 0, 1, 2, 3, 4]])
    assert not np.array_equal(together, noise_readouts(chain, np.arange(10), 32, 1e-5, 4))
    assert len({row.tobytes() for row in together}) == 10


def test_shorter_readouts_are_padded_with_zeros():
    chain = receive_chain(fields_of(2), load_scanner("5T"))
    block = noise_readouts(chain, np.array([4, 9]), [8, 3], [1e-5, 2e-5], 0)
    assert block.shape == (2, 2, 8) and not block[1, :, 3:].any()
    assert np.array_equal(block[1, :, :3], noise(chain, 9, 3, 2e-5, 0))


def test_compressed_channels_have_white_noise_and_keep_the_signal():
    spins, scanner = lattice_spins(), load_scanner("5T")
    full = receive_chain(fields_of(12), scanner)
    whole = np.asarray(sensitivities(full, spins))
    best = np.einsum("in,ij,jn->n", whole.conj(), np.linalg.inv(full.noise_covariance), whole).real
    kept_before = 0.0
    for coils in (2, 4, 7):
        chain = receive_chain(fields_of(12), scanner, spins, coils=coils)
        assert chain.n_rx == coils
        assert np.allclose(
            chain.compression @ full.noise_covariance @ chain.compression.conj().T, np.eye(coils), atol=1e-10
        )
        maps = np.asarray(sensitivities(chain, spins))
        assert np.allclose(maps, chain.compression @ whole, atol=1e-4 * np.abs(maps).max())
        kept = np.mean((np.abs(maps) ** 2).sum(axis=0) / best)
        assert chain.retained == pytest.approx(kept, abs=0.02)
        assert kept_before < chain.retained <= 1 + 1e-9
        kept_before = chain.retained
    assert kept_before == pytest.approx(1)  # seven smooth functions made these maps


def test_lattice_and_scattered_spins_hear_the_same():
    spins = lattice_spins()
    chain = receive_chain(fields_of(), load_scanner("5T"))
    on_lattice, scattered = sensitivities(chain, spins), sensitivities(chain, spins.subset(np.arange(len(spins))))
    assert on_lattice.shape == (6, len(spins)) == np.asarray(on_lattice).shape
    for channel in range(6):
        assert on_lattice[channel].dtype == np.complex64
        assert np.allclose(on_lattice[channel], scattered[channel], atol=1e-5 * np.abs(scattered[channel]).max())


def test_requests_that_make_no_sense_are_refused():
    fields, scanner = fields_of(), load_scanner("5T")
    with pytest.raises(InputError, match="give spins"):
        receive_chain(fields, scanner, coils=3)
    with pytest.raises(InputError, match="cannot receive"):
        receive_chain(fields, scanner, lattice_spins(), coils=0)
    with pytest.raises(InputError, match="no receive maps"):
        receive_chain(replace(fields, b1_minus=fields.b1_minus[:0]), scanner)
    with pytest.raises(InputError, match="dwell"):
        noise(receive_chain(fields, scanner), 0, 4, 0.0, 1)
    assert isinstance(receive_chain(fields, scanner, coils=6), ReceiveChain)
