"""Tuning, matching, decoupling: laws of lossless networks, on coils with a pretended load."""

import numpy as np
import pytest

from lauterbur.errors import InputError
from lauterbur.fields.network import Network, coupled_pairs, scattering, tuned


def coupled(ports=6, seed=0, resistance=4.0):
    """Z of coupled loops in a body: symmetric, Re Z positive definite; exp(-i w t): -i w L."""
    rng = np.random.default_rng(seed)
    ring = np.abs(np.arange(ports)[:, None] - np.arange(ports))
    ring = np.minimum(ring, ports - ring)
    mixing = rng.normal(size=(ports, ports))
    loss = resistance * (0.7 * np.eye(ports) + 0.05 * mixing @ mixing.T)
    reactance = -340 * np.where(ring == 0, 1, np.where(ring == 1, -0.12, -0.01 * (ring > 1)))
    return loss + 1j * reactance, ring


@pytest.mark.parametrize("resistance", [0.5, 4.0, 120.0])
@pytest.mark.parametrize("kind", ["all", "neighbours"])
def test_every_port_is_matched_reciprocal_and_passive(resistance, kind):
    z, ring = coupled(resistance=resistance)
    network = tuned(z, ring > 0 if kind == "all" else ring == 1)
    s, current = scattering(z, network)
    assert 20 * np.log10(np.abs(np.diag(s)).max()) < -20
    assert np.abs(s - s.T).max() < 1e-12
    accepted = np.eye(6) - s.conj().T @ s
    assert np.linalg.eigvalsh(accepted).min() > 0
    assert np.allclose(accepted, current.conj().T @ z.real @ current / 2, atol=1e-10)  # W: what the conductors take


def test_one_port_takes_all_the_power_and_its_current_follows():
    z = np.array([[3.0 - 300j]])
    s, current = scattering(z, tuned(z, np.zeros((1, 1), bool)))
    assert abs(s[0, 0]) < 1e-6
    assert abs(current[0, 0]) == pytest.approx(np.sqrt(2 / 3.0))  # |I|^2 R / 2 = 1 W


def test_the_tuned_loop_is_an_ordinary_circuit():
    """A capacitor across the plug, one in series: computed by hand with impedances in parallel and in series."""
    z = np.array([[5.0 - 300j]])
    network = tuned(z, np.zeros((1, 1), bool))
    assert network.is_across_plug[0] and network.series[0] > 0 and network.shunt[0] < 0  # two capacitors: i / wC, -i wC
    loop = z[0, 0] + 1j * network.series[0]
    plug = 1 / (1j * network.shunt[0] + 1 / loop)
    assert plug == pytest.approx(50, rel=1e-5)
    omega = 2 * np.pi * 210.76e6
    total = 1 / (
        1 / (1 / (omega * network.series[0])) + 1 / (-network.shunt[0] / omega)
    )  # F, both in series around the loop
    resonance = 1 / np.sqrt(300 / omega * total)
    assert resonance == pytest.approx(omega, rel=0.01)  # Q = 60: matching moves it by 1/(2 Q)


def test_detuned_it_reflects():
    z = np.array([[5.0 - 300j]])
    network = tuned(z, np.zeros((1, 1), bool))
    off = scattering(z - 15j, network)[0]
    assert abs(off[0, 0]) > 0.7


def test_a_network_kept_sees_another_load():
    z, ring = coupled()
    network = tuned(z, ring == 1)
    s, _ = scattering(z + 0.4 * np.eye(6), network)
    assert 1e-3 < np.abs(np.diag(s)).max() < 0.3
    assert np.abs(s - s.T).max() < 1e-12


def test_decoupling_takes_out_the_reactance_of_the_pairs_and_nothing_else():
    z, ring = coupled()
    network = tuned(z, ring == 1)
    left = z + network.decoupling
    assert np.abs(left.imag[ring == 1]).max() == 0
    assert np.array_equal(left.real, z.real) and np.array_equal(left[ring != 1], z[ring != 1])


def test_neighbours_on_a_ring_are_two_each():
    turn = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    assert (coupled_pairs(np.eye(8), centres, "neighbours").sum(axis=0) == 2).all()
    assert coupled_pairs(np.eye(8), centres, "all").sum() == 56
    assert not coupled_pairs(np.eye(8), centres, "none").any()


def test_a_coil_without_loss_is_refused():
    with pytest.raises(InputError, match="finite Q"):
        tuned(np.array([[0 - 300j]]), np.zeros((1, 1), bool))
    with pytest.raises(InputError, match="port 1"):
        tuned(np.diag([3.0, np.nan]) + 0j, np.zeros((2, 2), bool))


def test_a_network_is_made_of_reactances():
    z, ring = coupled()
    network = tuned(z, ring > 0)
    assert isinstance(network, Network)
    assert np.abs(network.decoupling.real).max() == 0
