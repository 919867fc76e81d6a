"""The receive chain: how magnetisation becomes volts, and what noise comes with it.

Reciprocity (Hoult and Richards, J Magn Reson 1976, 24:71; Hoult, Concepts Magn Reson 2000, 12:173): a loop in which 1 A would
make the field B hears emf = -d/dt integral M . B dV. With M_x + i M_y = M_xy exp(-i w t), and B real,

    M . B = Re[M_xy exp(-i w t) (Bx - i By)] = Re[2 b1_minus M_xy exp(-i w t)],   so   |emf| = 2 w |b1_minus| M_xy, peak.

Samples are r.m.s. phasors, sqrt(2) w b1_minus M_xy, their common phase left out, since thermal noise is stated r.m.s. too:
its variance is 4 k T R / dwell, real and imaginary part together. A sample is the signal at its instant; the ADC's filter
is ideal (the noise of one dwell's bandwidth, nothing folded in, no ringing).

    chain = receive_chain(fields, scanner, spins, coils=16)     # 48 loops, compressed to 16 virtual channels
    maps = sensitivities(chain, spins)                          # (rx, n), one coil at a time: maps[i] -> (n,)
    samples += noise(chain, readout, n_samples, dwell, seed)    # the same bytes in whatever order readouts come
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from lauterbur.acquisition.twin.place import Place
from lauterbur.acquisition.twin.spins import Lattice, Spins
from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.fields.sampling import axis_weights, is_aligned, sample, sample_lattice
from lauterbur.scanner.machine import Scanner
from lauterbur.units import BOLTZMANN, GAMMA_BAR, HBAR

# Protons of water at 37 C, 1/m3: 2 x 993.33 kg/m3 (Kell, J Chem Eng Data 1975, 20:97) / 18.01528 g/mol x Avogadro's number.
WATER_PROTONS = 2 * 993.33 / 18.01528e-3 * 6.02214076e23
NOISE_STREAM = 0x4E6F697365  # sets these random numbers apart from others of the same seed
NOISE_SCAN = 2**63  # the readout number of a noise-only scan, beyond any program's


@dataclass(frozen=True, eq=False)
class ReceiveChain:
    maps: NDArray[np.complex64]  # output per m3 of fully transverse water, (rx, z, y, x)
    affine: NDArray[np.float64]  # (4, 4), of the maps
    noise_covariance: NDArray[np.complex128]  # output^2 per Hz, (rx, rx)
    gain: float  # output per volt, before compression; the mean loop's noise is 1 in 1 Hz
    compression: NDArray[np.complex128] | None = None  # (rx, loop): what made these channels of the loops'
    retained: float = 1.0  # mean over the spins of the squared signal-to-noise ratio the channels keep
    description: Mapping[str, Any] = field(default_factory=dict)  # for provenance

    @property
    def n_rx(self) -> int:
        return len(self.maps)


def equilibrium_magnetisation(field_strength: float, temperature: float) -> float:
    """A/m, of water: Curie's law, N gamma^2 hbar^2 B0 / (4 k T) for spin 1/2 (Abragam, 1961, ch. III)."""
    gamma = 2 * np.pi * GAMMA_BAR
    return WATER_PROTONS * gamma**2 * HBAR**2 * field_strength / (4 * BOLTZMANN * temperature)


def receive_chain(
    fields: FieldMaps, scanner: Scanner, spins: Spins | None = None, *, coils: int | None = None
) -> ReceiveChain:
    """The scanner's receivers on these fields; with `coils`, compressed to as many channels for the signal of these spins.

    Virtual channels are the strongest principal components of the noise-whitened maps over the spins (Huang et al.,
    Magn Reson Imaging 2008, 26:133; Buehrer et al., MRM 2007, 57:1131), so that their noise is white and of variance 1 in 1 Hz.
    """
    n_loops = len(fields.b1_minus)
    if n_loops == 0:
        raise InputError("these fields have no receive maps; solve them with an array")
    per_hertz = (
        4 * BOLTZMANN * scanner.temperature * scanner.spectrometer.noise_factor * fields.noise_resistance
    )  # V^2/Hz
    gain = 1 / float(np.sqrt(np.mean(np.diag(per_hertz).real)))
    omega = 2 * np.pi * scanner.larmor_frequency
    volts = np.sqrt(2) * omega * equilibrium_magnetisation(scanner.field_strength, scanner.temperature)
    maps = fields.b1_minus * np.complex64(volts * gain)
    affine = fields.affine if fields.receive_affine is None else fields.receive_affine
    covariance = per_hertz * gain**2
    description = {
        "array": fields.provenance.get("array", ""),
        "loops": n_loops,
        "channels": n_loops,
        "unit": "noise of the mean loop in 1 Hz",
        "volts_per_unit": 1 / gain,
        "temperature": scanner.temperature,
        "noise_factor": scanner.spectrometer.noise_factor,
    }
    if coils is None or coils >= n_loops:
        return ReceiveChain(maps, affine, covariance, gain, description=description)
    if coils < 1:
        raise InputError(f"{coils} coils cannot receive; ask for 1 to {n_loops}")
    if spins is None:
        raise InputError("compression looks for the channels that hear these spins best: give spins")
    matrix, retained = _strongest(maps, affine, covariance, spins, coils)
    description |= {"channels": coils, "retained_energy": retained, "unit": "noise of each channel in 1 Hz"}
    compressed = np.tensordot(matrix.astype(np.complex64), maps, axes=(1, 0))
    return ReceiveChain(compressed, affine, np.eye(coils, dtype=np.complex128), gain, matrix, retained, description)


def _strongest(
    maps: NDArray[np.complex64], affine: NDArray, covariance: NDArray, spins: Spins, coils: int
) -> tuple[NDArray[np.complex128], float]:
    """(coils, loop) whitening and projection onto the strongest channels over the spins, and the energy they keep."""
    inverse = np.linalg.inv(affine)
    index = np.round(spins.position @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)[:, ::-1]
    flat = np.ravel_multi_index(tuple(index.T), maps.shape[1:], mode="clip")
    weight = np.bincount(flat, np.abs(spins.weight), maps[0].size)
    heard = np.flatnonzero(weight)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    signal = whitening @ maps.reshape(len(maps), -1)[:, heard]
    loudness = np.maximum(np.linalg.norm(signal, axis=0), 1e-300)
    signal *= np.sqrt(weight[heard] / weight.sum()) / loudness  # skin counts as the core does
    energy, vectors = np.linalg.eigh(signal @ signal.conj().T)  # ascending
    order = np.argsort(energy)[::-1][:coils]
    vectors = vectors[:, order]
    largest = vectors[np.argmax(np.abs(vectors), axis=0), np.arange(coils)]
    vectors = vectors * (largest.conj() / np.abs(largest))  # a phase that does not hang on the eigensolver
    return vectors.conj().T @ whitening, float(energy[order].sum() / energy.sum())


class MapsAtSpins:
    """Smooth maps (channel, z, y, x) at every spin: (channel, n), evaluated one channel at a time.

    Of receivers: what every channel hears of every spin's transverse magnetisation.
    """

    dtype = np.dtype(np.complex64)
    ndim = 2

    def __init__(
        self,
        maps: NDArray[np.complex64],
        affine: NDArray[np.float64],
        position: NDArray[np.float64],
        lattice: Lattice | None,
    ):
        self.maps, self.affine, self.position = maps, affine, position
        self.shape = (len(maps), len(position))
        self.lattice = lattice if lattice is not None and is_aligned(affine, lattice.affine) else None
        if self.lattice is not None:
            self._weights = axis_weights(maps.shape[1:], affine, self.lattice.shape, self.lattice.affine)

    def subset(self, chosen: NDArray[np.intp]) -> MapsAtSpins:
        """At these spins alone: a part of the lattice takes a part of the time."""
        part = Place(self.position, None, self.lattice).subset(chosen)
        return MapsAtSpins(self.maps, self.affine, part.position, part.lattice)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, channel: int) -> NDArray[np.complex64]:
        values = self.maps[channel]
        if self.lattice is None:
            return sample(values, self.affine, self.position)
        return sample_lattice(values, self._weights).reshape(-1)[self.lattice.index]

    def __iter__(self) -> Iterator[NDArray[np.complex64]]:
        return (self[channel] for channel in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.stack(list(self)).astype(dtype or self.dtype, copy=False)


def sensitivities(chain: ReceiveChain, spins: Spins) -> MapsAtSpins:
    """(rx, n) lazily: `maps[i]` is (n,), `np.asarray(maps)` all of it."""
    return MapsAtSpins(chain.maps, chain.affine, spins.position, spins.lattice)


def noise(chain: ReceiveChain, readout: int, n_samples: int, dwell: float, seed: int) -> NDArray[np.complex64]:
    """(rx, sample) thermal noise of one readout, with the channels' covariance; depends on nothing but its arguments."""
    key = np.array(
        [seed % 2**64, readout], np.uint64
    )  # Philox counts: no stream hangs on another (Salmon et al., SC 2011)
    generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, NOISE_STREAM]))
    white = generator.standard_normal((chain.n_rx, n_samples, 2), np.float32).view(np.complex64)[..., 0]
    colour = _colour(chain, dwell)
    alone = np.diag(colour)
    return white * alone[:, None] if np.array_equal(colour, np.diag(alone)) else colour @ white


def noise_readouts(
    chain: ReceiveChain, readouts: NDArray, n_samples: ArrayLike, dwell: ArrayLike, seed: int
) -> NDArray[np.complex64]:
    """(readout, rx, sample): `noise` of many readouts, zero where one is shorter than the longest."""
    lengths = np.broadcast_to(np.asarray(n_samples, np.int64), (len(readouts),))
    dwells = np.broadcast_to(np.asarray(dwell, np.float64), (len(readouts),))
    block = np.zeros((len(readouts), chain.n_rx, int(lengths.max(initial=0))), np.complex64)
    for i, readout in enumerate(readouts):
        block[i, :, : lengths[i]] = noise(chain, int(readout), int(lengths[i]), float(dwells[i]), seed)
    return block


def noise_scan(chain: ReceiveChain, dwell: float, seed: int, n_samples: int | None = None) -> NDArray[np.complex64]:
    """(rx, sample) of a scan without excitation, from which a reconstruction learns the covariance; 256 samples per channel."""
    return noise(chain, NOISE_SCAN, 256 * chain.n_rx if n_samples is None else n_samples, dwell, seed)


def _colour(chain: ReceiveChain, dwell: float) -> NDArray[np.complex64]:
    if not dwell > 0:
        raise InputError(f"dwell is {dwell:g} s; it must be positive")
    return (np.linalg.cholesky(chain.noise_covariance) * np.sqrt(0.5 / dwell)).astype(np.complex64)
