"""The door with three leaves: play a cleared program, and yield each readout as it comes.

    Twin(spins, receive).acquire(cleared)     # physics in software
    Replay(raw).acquire(cleared)              # a recording
    (a stream from real hardware is a third class with the same method)

Everything downstream takes Iterator[Readout], or the RawData that `gather` makes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.rawdata import Header, RawData, Readout

if TYPE_CHECKING:
    from lauterbur.safety.cleared import ClearedProgram


class Acquirer(Protocol):
    def acquire(self, cleared: ClearedProgram) -> Iterator[Readout]:
        """Plays what the gate cleared; readouts come in the order of the program."""
        ...


def gather(
    readouts: Iterable[Readout],
    header: Header | None = None,
    *,
    noise: NDArray[np.complex64] | None = None,
    noise_dwell: float | None = None,
    te: NDArray[np.float64] | None = None,
) -> RawData:
    """All readouts of one acquisition together, zero-padded where their lengths differ."""
    listed = list(readouts)
    n_rx = {r.samples.shape[0] for r in listed}
    if len(n_rx) > 1:
        raise InputError(f"readouts have {sorted(n_rx)} receive channels; all readouts of a scan have the same number")
    n_samples = np.array([r.samples.shape[1] for r in listed], np.int32)
    width = int(n_samples.max(initial=0))
    samples = np.zeros((len(listed), n_rx.pop() if n_rx else 0, width), np.complex64)
    k = np.zeros((len(listed), width, 3), np.float32)
    for i, readout in enumerate(listed):
        samples[i, :, : n_samples[i]] = readout.samples
        k[i, : n_samples[i]] = readout.k
    names = sorted({name for r in listed for name in r.labels})
    return RawData(
        samples,
        n_samples,
        k,
        np.array([r.time for r in listed], float),
        np.array([r.dwell for r in listed], float),
        np.array([r.center_sample for r in listed], np.int32),
        {name: np.array([r.labels.get(name, 0) for r in listed], np.int32) for name in names},
        header,
        noise,
        noise_dwell,
        te,
    )
