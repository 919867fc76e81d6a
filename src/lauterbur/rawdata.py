"""Readout and RawData: what every acquisition yields - twin, replay or hardware - and all that reconstruction sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Encoding counters carried by every readout, by their Pulseq names. Meanings: LIN phase-encode line, PAR partition,
# SLC slice, ECO echo, REP repetition, PHS cardiac phase, SET set, SEG segment, AVG average.
COUNTERS = ("LIN", "PAR", "SLC", "ECO", "REP", "PHS", "SET", "SEG", "AVG")
# Flags, 0 or 1: NAV phase-correction (navigator) line, REV readout played backwards, REF parallel-imaging reference,
# IMA reference line that is image data too, NOISE noise adjust scan, SMS, PMC, NOROT, NOPOS, NOSCL as in Pulseq.
FLAGS = ("NAV", "REV", "REF", "IMA", "NOISE", "SMS", "PMC", "NOROT", "NOPOS", "NOSCL")


@dataclass(frozen=True)
class Header:
    """What is true of the whole acquisition."""

    matrix: tuple[int, int, int]  # reconstructed voxels along readout, phase, slice/partition
    fov: tuple[float, float, float]  # m, along the same
    encoded_matrix: tuple[int, int, int] | None = None  # with oversampling and partial Fourier filled; None = matrix
    encoded_fov: tuple[float, float, float] | None = None  # m; None = fov
    directions: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    # unit vectors of readout, phase and slice/partition axes in patient coordinates, rows
    position: tuple[float, float, float] = (
        0.0,
        0.0,
        0.0,
    )  # m, centre of the field of view (of the slice stack), patient
    slice_positions: tuple[tuple[float, float, float], ...] = ()  # m, patient, centre of slice SLC=i; empty for 3D
    slice_thickness: float | None = None  # m
    trajectory: str = "cartesian"  # cartesian | epi | radial | spiral | other
    dimensions: int = 3  # 2 or 3: how many axes are Fourier-encoded
    te: tuple[float, ...] = ()  # s, per ECO
    tr: float | None = None  # s
    ti: float | None = None  # s
    flip_angle: float | None = None  # rad
    echo_spacing: float | None = None  # s
    bandwidth: float | None = None  # Hz per pixel
    acceleration: tuple[int, int] = (1, 1)  # along phase, partition
    field_strength: float | None = None  # T
    larmor_frequency: float | None = None  # Hz
    protocol: str = ""
    contrast: str = ""  # e.g. GRE, MPRAGE, TSE, FLAIR, BSSFP, EPI
    patient: str = ""  # name of the subject
    coils: str = ""  # receive array
    provenance: Mapping[str, Any] = field(
        default_factory=dict
    )  # source: twin | replay | hardware; hash; seed; versions


@dataclass(frozen=True)
class Readout:
    """One ADC window."""

    samples: NDArray[np.complex64]  # (rx, sample)
    k: NDArray[np.float32]  # 1/m, (sample, 3), as played, patient axes
    time: float  # s, of the first sample, from the start of the program
    dwell: float  # s
    labels: Mapping[str, int]  # COUNTERS and FLAGS
    center_sample: int = 0  # the sample nearest to k = 0 along the readout


@dataclass(frozen=True)
class RawData:
    """All readouts of one acquisition; zero-padded where their lengths differ."""

    samples: NDArray[np.complex64]  # (readout, rx, sample); may be a memory map
    n_samples: NDArray[np.int32]  # (readout,)
    k: NDArray[np.float32]  # 1/m, (readout, sample, 3), as played, patient axes; 0 in the padding
    time: NDArray[np.float64]  # s, (readout,), of the first sample
    dwell: NDArray[np.float64]  # s, (readout,)
    center_sample: NDArray[np.int32]  # (readout,)
    labels: Mapping[str, NDArray[np.int32]]  # COUNTERS and FLAGS -> (readout,); absent = all zero
    header: Header | None = None  # None: nothing is known beyond the samples (e.g. a bare simulation)
    noise: NDArray[np.complex64] | None = None  # (rx, sample): a noise-only scan, same dwell and receiver gain
    noise_dwell: float | None = None  # s
    te: NDArray[np.float64] | None = None  # s, (readout,): from the last excitation to k = 0, where known

    @property
    def n_readouts(self) -> int:
        return int(self.samples.shape[0])

    @property
    def n_rx(self) -> int:
        return int(self.samples.shape[1])

    def label(self, name: str) -> NDArray[np.int32]:
        """(readout,) values of a counter or flag; zeros where it was never set."""
        value = self.labels.get(name)
        return np.zeros(self.n_readouts, np.int32) if value is None else value
