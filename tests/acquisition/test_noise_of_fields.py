"""Noise in the twin's raw data, heard in fields solved by Maxwell: it has their covariance, and whitened it is white."""

from dataclasses import replace

import numpy as np
import pytest

import lauterbur as lb
from lauterbur.acquisition.twin.simulation import Twin
from lauterbur.program import Column
from lauterbur.recon.whiten import noise_covariance, noise_samples, whitening
from lauterbur.sequence.contrasts import build_program
from lauterbur.units import BOLTZMANN, mm

LOOPS = 6
SURE = 5.0  # standard deviations: of 36 numbers one lies beyond in 5e4 seeds


@pytest.fixture(scope="module")
def heard():
    """Scanner with six neighbouring loops, Maxwell's fields in a sphere, raw data of a scan that excites nothing."""
    scanner = lb.load_scanner("5T")
    helmet = scanner.receive[0]
    near = np.argsort(
        [np.linalg.norm(each.points.mean(axis=0) - helmet.loops[0].points.mean(axis=0)) for each in helmet.loops]
    )
    scanner = replace(scanner, receive=(replace(helmet, loops=tuple(helmet.loops[i] for i in near[:LOOPS])),))
    sphere = lb.load_subject("sphere", spacing=8 * mm)
    fields = lb.solve_fields(scanner, sphere, method="maxwell", step=16 * mm, receive_step=16 * mm)
    quick = replace(
        lb.load_protocol("brain/t1-gre"), matrix=(32, 24, 8), fov=(160 * mm,) * 3, position=(0.0, 0.0, 0.0), dummies=0
    )
    program = build_program(replace(quick, acceleration=(1, 1), reference_lines=(0, 0)), scanner)
    blocks = program.blocks.copy()
    blocks[:, Column.RF] = -1
    silent = replace(program, blocks=blocks)
    return scanner, fields, Twin(sphere, scanner, fields, seed=5, measure_error=False).play(silent)


def together(raw) -> np.ndarray:
    """(rx, sample)"""
    return np.concatenate([raw.samples[i, :, : raw.n_samples[i]] for i in range(raw.n_readouts)], axis=1)


def test_noise_in_raw_data_has_the_covariance_of_the_fields(heard):
    scanner, fields, raw = heard
    samples = together(raw)
    resistance = fields.noise_resistance
    per_hertz = 4 * BOLTZMANN * scanner.temperature * scanner.spectrometer.noise_factor * resistance
    volts = raw.header.provenance["receive"]["volts_per_unit"]
    expected = per_hertz / volts**2 / np.median(raw.dwell)
    size = np.sqrt(np.diag(expected).real)
    wrong = np.abs(noise_covariance(samples) - expected) / np.outer(size, size)
    tolerance = SURE / np.sqrt(samples.shape[1])
    assert samples.shape[1] > 5000 and tolerance < 0.07
    assert wrong.max() < tolerance
    correlation = np.abs(expected) / np.outer(size, size) - np.eye(LOOPS)
    assert correlation.max() > 2 * tolerance  # loops without correlation would be told apart
    assert (
        np.abs(noise_covariance(samples) * 1.21 - expected)[0, 0] > tolerance * expected[0, 0].real
    )  # and 10 % more noise


def test_whitened_as_a_reconstruction_does_it_is_white(heard):
    _, _, raw = heard
    samples, scanned = together(raw), noise_samples(raw)
    mixed = whitening(noise_covariance(scanned)) @ samples
    tolerance = SURE * np.sqrt(1 / samples.shape[1] + 1 / scanned.shape[1])
    assert tolerance < 0.2
    assert np.abs(noise_covariance(mixed) - np.eye(LOOPS)).max() < tolerance
    beside = mixed[:, 1:] @ mixed[:, :-1].conj().T / (mixed.shape[1] - 1)  # from one sample to the next
    assert np.abs(beside).max() < SURE / np.sqrt(mixed.shape[1]) * (1 + tolerance)
    again = mixed.real.ravel(), mixed.imag.ravel()
    assert np.abs(np.corrcoef(*again)[0, 1]) < SURE / np.sqrt(mixed.size)
