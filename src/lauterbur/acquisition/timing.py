"""The times of a program by the names of the field: echo, repetition and inversion times, echo spacing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.acquisition.excitations import Excitations
from lauterbur.acquisition.sampling import Sampling
from lauterbur.acquisition.trajectory import Trajectory


@dataclass(frozen=True)
class Timing:
    te: tuple[float, ...]  # s, per ECO
    tr: float | None  # s, between inversions where there are any
    ti: float | None  # s, from the inversion to the excitation of the central line
    echo_spacing: float | None  # s


def timing_of(
    trajectory: Trajectory,
    excited: Excitations,
    echo: NDArray[np.intp],
    slices: NDArray[np.intp],
    nav: NDArray[np.intp],
    how: Sampling,
) -> Timing:
    across = (
        np.linalg.norm(how.lines.middle @ how.axes[1:].T, axis=1) if how.kind == "cartesian" else np.zeros(len(echo))
    )
    te, central = [], 0
    for e in range(int(echo.max()) + 1):
        members = np.flatnonzero((echo == e) & (nav == 0) & np.isfinite(trajectory.te))
        if not len(members):
            break
        nearest = members[np.argmin(across[members])]
        central = nearest if e == 0 else central
        te.append(float(trajectory.te[nearest]))
    shot = excited.of_readout
    tr = ti = spacing = None
    if len(excited.inversions) > 1:
        tr = float(np.median(np.diff(excited.inversions)))
    elif shot.max() >= 0:
        of_slice = np.unique(shot[(slices == slices[central]) & (shot >= 0)])
        tr = float(np.median(np.diff(excited.time[of_slice]))) if len(of_slice) > 1 else None
    if shot[central] >= 0 and np.isfinite(excited.since_inversion[shot[central]]):
        ti = float(excited.since_inversion[shot[central]])
    centre = trajectory.time + trajectory.center_sample * trajectory.dwell
    within = np.diff(centre)[(np.diff(shot) == 0) & (nav[1:] == 0) & (nav[:-1] == 0)]
    if len(within):
        spacing = float(np.median(within))
    return Timing(tuple(te), tr, ti, spacing)
