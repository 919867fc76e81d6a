"""Playing a program on the twin: `simulate` for any spins, `Twin` for a subject in a scanner.

raw = simulate(program, spins)                                     # one uniform coil, no noise
raw = simulate(program, spins, receive, engine="reference")        # receive: complex (rx, n) at the spins
raw = Twin(subject, scanner, fields, seed=1).record(cleared)       # the scanner's coils, with noise
for readout in Twin(subject, scanner, fields).acquire(cleared): ...
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition import encoding
from lauterbur.acquisition.replay import readout as readout_of
from lauterbur.acquisition.trajectory import trajectory
from lauterbur.acquisition.twin import reference
from lauterbur.acquisition.twin.accuracy import IMAGING, Accuracy
from lauterbur.acquisition.twin.fast import play_fast
from lauterbur.acquisition.twin.judge import judge, plan_trial
from lauterbur.acquisition.twin.material import body_of, points_from, spins_from
from lauterbur.acquisition.twin.receiver import noise_readouts, noise_scan, receive_chain, sensitivities
from lauterbur.acquisition.twin.spins import Spins
from lauterbur.acquisition.twin.transmit import transmission
from lauterbur.errors import InputError, ResourceError, UnsupportedError
from lauterbur.fields.maps import FieldMaps
from lauterbur.program import Program, adc_blocks, program_hash
from lauterbur.rawdata import Header, RawData, Readout
from lauterbur.scanner.machine import Scanner
from lauterbur.subject.anatomy import Subject

if TYPE_CHECKING:
    from lauterbur.safety.cleared import ClearedProgram

Progress = Callable[[float, str], None]
ENGINES = ("fast", "reference")
IN_MEMORY = 3 * 2**30  # bytes of samples; more than that lie in a temporary file


def simulate(
    program: Program,
    spins: Spins,
    receive=None,
    *,
    engine: str = "fast",
    seed: int = 0,
    larmor_frequency: float = 0.0,
    spins_per_voxel: int | None = None,
    measure_error: bool = False,
    accuracy: Accuracy | None = None,
    progress: Progress | None = None,
) -> RawData:
    """The signal of spins under a program, without noise: samples complex64 (readout, rx, sample), zero-padded.

    receive: complex (rx, n) sensitivities at the spins; None is one coil of sensitivity 1. `larmor_frequency` (Hz) is for
    events given in ppm. `spins_per_voxel`: isochromats per box for the reference engine. With `measure_error` the fast
    engine's result carries its measured error in header.provenance. A program that the fast engine cannot play is played
    by the reference, and provenance says so. `accuracy`: where the fast engine stops (fast.Accuracy).
    """
    if engine not in ENGINES:
        raise InputError(f"engine is {engine!r}; the engines are {' and '.join(ENGINES)}")
    if receive is not None:
        receive = np.asarray(receive) if not hasattr(receive, "shape") else receive
        if len(receive.shape) != 2 or receive.shape[1] != len(spins):
            raise InputError(f"receive has shape {receive.shape}; it must be (rx, {len(spins)}), one column per spin")
    samples, notes = _signal(
        program, [(spins, receive)], engine, seed, larmor_frequency, spins_per_voxel, measure_error, progress, accuracy
    )
    return _raw(program, samples, larmor_frequency, {"source": "twin", "seed": seed, **notes})


def _signal(program, parts, engine, seed, larmor_frequency, spins_per_voxel, measure_error, progress, accuracy):
    """Samples of several sets of spins together, and what provenance should know."""
    tell = progress or (lambda done, what: None)
    n_rx = 1 if parts[0][1] is None else parts[0][1].shape[0]
    listening = adc_blocks(program)
    n_most = max((program.adc[i].n_samples for i in program.blocks[listening, 4]), default=0)
    samples = _room((len(listening), n_rx, n_most))
    notes: dict[str, Any] = {"engine": engine}
    if engine == "fast":
        trial = plan_trial(program, parts[0][0], seed, larmor_frequency=larmor_frequency) if measure_error else None
        try:
            reports = []
            for i, (spins, receive) in enumerate(parts):
                _, report = play_fast(
                    program,
                    spins,
                    receive,
                    larmor_frequency=larmor_frequency,
                    accuracy=accuracy,
                    seed=seed,
                    out=samples,
                    witness=trial.witness if trial and i == 0 else None,
                    demodulate=i == len(parts) - 1,
                    progress=lambda done, what: tell(0.9 * done if measure_error else done, what),
                )
                reports.append({name: report[name] for name in ("atoms", "states", "components")})
            notes["fast"] = reports[0]
        except (UnsupportedError, ResourceError) as reason:
            notes = {"engine": "reference", "engine_reason": str(reason)}
            samples[:] = 0
        else:
            if trial:
                tell(0.9, "measuring the error")
                try:
                    notes["simulation_error"] = judge(trial, parts[0][0], larmor_frequency=larmor_frequency, seed=seed)
                except ResourceError as reason:  # what was played stands, unjudged
                    notes["simulation_error_reason"] = str(reason)
            return samples, notes
    for spins, receive in parts:
        samples += reference.play(
            program,
            spins,
            None if receive is None else np.asarray(receive),
            larmor_frequency=larmor_frequency,
            spins_per_voxel=spins_per_voxel,
            seed=seed,
            progress=lambda done: tell(done, "isochromats"),
        )
    return samples, notes


def _room(shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    n_bytes = 8 * int(np.prod([int(n) for n in shape], dtype=object))
    if n_bytes <= IN_MEMORY:
        return np.zeros(shape, np.complex64)
    if n_bytes > 2**40:
        raise ResourceError(f"the samples {shape} would take {n_bytes / 2**30:.0f} GiB; at most 1024 GiB fit on a disk")
    return np.memmap(tempfile.TemporaryFile(), np.complex64, "w+", shape=shape)


def _raw(
    program: Program,
    samples,
    larmor_frequency: float,
    provenance: dict[str, Any],
    header: Header | None = None,
    noise=None,
    noise_dwell=None,
) -> RawData:
    path = trajectory(program)
    found = encoding.header(program, path, larmor_frequency=larmor_frequency or None) if header is None else header
    told = {**found.provenance, **provenance, "program": program_hash(program)}
    return RawData(
        samples,
        path.n_samples,
        path.k,
        path.time,
        path.dwell,
        path.center_sample,
        encoding.labels(program, path),
        replace(found, provenance=told),
        noise,
        noise_dwell,
        path.te,
    )


@dataclass(frozen=True, eq=False)
class Twin:
    """A subject in a scanner, as an acquirer: the leaf of the door that needs nothing but itself."""

    subject: Subject
    scanner: Scanner
    fields: FieldMaps
    seed: int = 0
    engine: str = "fast"
    coils: int | None = None  # channels after compression in the receive chain, None for all
    measure_error: bool = True
    progress: Progress | None = None

    def acquire(self, cleared: ClearedProgram) -> Iterator[Readout]:
        raw = self.record(cleared)
        return (readout_of(raw, i) for i in range(raw.n_readouts))

    def record(self, cleared: ClearedProgram) -> RawData:
        """All readouts at once."""
        return self.play(cleared.program)

    def play(self, program: Program) -> RawData:
        """Physics alone, for any program: no machine is touched, so nothing needs to be cleared."""
        if self.engine not in ENGINES:
            raise InputError(f"engine is {self.engine!r}; the engines are {' and '.join(ENGINES)}")
        frequency = self.scanner.larmor_frequency
        transmit = transmission(program, self.fields, body_of(self.subject))
        spins = spins_from(self.subject, self.fields, self.scanner, seed=self.seed, transmit=transmit)
        chain = receive_chain(self.fields, self.scanner, spins, coils=self.coils)
        parts = [(spins, sensitivities(chain, spins))]
        points = points_from(self.subject, self.fields, self.scanner, seed=self.seed, transmit=transmit)
        if points is not None:
            parts.append((points, sensitivities(chain, points)))
        samples, notes = _signal(
            transmit.program, parts, self.engine, self.seed, frequency, None, self.measure_error, self.progress, IMAGING
        )
        path = trajectory(program)

        def add_noise(lo: int) -> None:
            rows = slice(lo, min(lo + 256, len(samples)))
            readouts = np.arange(rows.start, rows.stop)
            block = noise_readouts(chain, readouts, path.n_samples[rows], path.dwell[rows], self.seed)
            samples[rows, :, : block.shape[2]] += block

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(add_noise, range(0, len(samples), 256)))
        dwell = float(np.median(path.dwell)) if len(path.dwell) else 1e-5
        provenance = {
            "source": "twin",
            "seed": self.seed,
            "scanner": self.scanner.name,
            "subject": self.subject.name,
            "fields": dict(self.fields.provenance),
            "receive": dict(chain.description),
            **notes,
        }
        header = encoding.header(program, path, larmor_frequency=frequency)
        header = replace(
            header,
            field_strength=self.scanner.field_strength,
            larmor_frequency=frequency,
            patient=self.subject.name,
            coils=str(chain.description.get("array", "")),
        )
        return _raw(program, samples, frequency, provenance, header, noise_scan(chain, dwell, self.seed), dwell)
