"""Replay: recorded raw data, through the same door as the twin and the machine.

Replay(read_raw("scan.mrd")).acquire()            # as it was recorded
Replay(read_raw("scan.mrd")).acquire(cleared)     # refuses a recording of another program
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lauterbur.errors import InputError
from lauterbur.program import adc_blocks
from lauterbur.rawdata import RawData, Readout

if TYPE_CHECKING:
    from lauterbur.safety.cleared import ClearedProgram


@dataclass(frozen=True, eq=False)
class Replay:
    raw: RawData

    def acquire(self, cleared: ClearedProgram | None = None) -> Iterator[Readout]:
        """The recorded readouts in order; with a program, only if it listens as often as was recorded."""
        if cleared is not None:
            n_listening = len(adc_blocks(cleared.program))
            if n_listening != self.raw.n_readouts:
                raise InputError(
                    f"the recording holds {self.raw.n_readouts} readouts, but the program listens {n_listening} times; "
                    "replay a recording of this program"
                )
        return (readout(self.raw, i) for i in range(self.raw.n_readouts))


def readout(raw: RawData, i: int) -> Readout:
    """Readout i without its padding."""
    n = int(raw.n_samples[i])
    return Readout(
        raw.samples[i, :, :n],
        raw.k[i, :n],
        float(raw.time[i]),
        float(raw.dwell[i]),
        {name: int(values[i]) for name, values in raw.labels.items()},
        int(raw.center_sample[i]),
    )
