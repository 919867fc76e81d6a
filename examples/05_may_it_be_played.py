"""The gate: an echo train between the forbidden acoustic bands passes, one inside a band is refused, and is told why."""

# %% A plain echo train on x
import numpy as np

import lauterbur as lb
from lauterbur.errors import RefusedError
from lauterbur.program import Column, Gradient
from lauterbur.units import GAMMA_BAR, ms, mT_per_m

scanner = lb.load_scanner("5T")


def echo_train(spacing, n_echoes=64, amplitude=15 * mT_per_m, rise=0.2 * ms):
    time = np.array([0, rise, spacing - rise, spacing])
    lobe = GAMMA_BAR * amplitude * np.array([0.0, 1, 1, 0])
    blocks = np.full((n_echoes, len(Column)), -1, np.int32)
    blocks[:, Column.GX] = np.arange(n_echoes) % 2
    return lb.Program(blocks, np.full(n_echoes, spacing), (), (Gradient(time, lobe), Gradient(time, -lobe)))


# %% Between the bands
for finding in lb.clear(echo_train(0.75 * ms), scanner).findings:
    if finding.value > 0.5 * finding.limit > 0:
        print(finding.sentence())

# %% Inside one
try:
    lb.clear(echo_train(0.66 * ms), scanner)
except RefusedError as refusal:
    print(refusal)
else:
    raise SystemExit("a forbidden echo spacing was let through")
