"""The learned prior on a scan: what is known of it before any image is made, and the images of a frame or slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.coils import CoarseMaps
from lauterbur.recon.encoded import Planes, encoded, measured_planes, slab_of_maps, volume_of
from lauterbur.recon.layout import Layout
from lauterbur.recon.learned import Array, LearnedFit, Part, fit_of, out_of_range, solved
from lauterbur.recon.learned_network import Weights, least_squares, scale_of, shipped_weights
from lauterbur.recon.readout import WORKERS, Hybrid
from lauterbur.recon.regularisation import Fit
from lauterbur.recon.sparse import LEAST_CONFIDENCE, combine_sparse_, noise_of, plane_by_plane
from lauterbur.recon.timings import Told, silent
from lauterbur.recon.tuning import Tuning, tuned
from lauterbur.recon.withheld import Foretold, Measured, foretold, spread

PROBED = 12  # planes of a volume that set its scale
MOSTLY = 0.5  # share of the network below which a note is due


@dataclass(frozen=True)
class Prior:
    """What a scan says of the learned prior before its images are made."""

    weights: Weights
    foretold: Foretold | None  # None where no plane that was asked is in its range
    tuning: Tuning | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Lines:
    """Those of one frame and slice, or of the volume, as problems on planes."""

    lines: Hybrid
    which: NDArray[np.intp]
    layout: Layout
    maps: CoarseMaps | CoilMaps
    i_slice: int
    noise: float

    @property
    def is_volume(self) -> bool:
        return self.layout.partition is not None

    @property
    def width(self) -> int:
        """Positions along the readout of a problem."""
        return 1 if self.is_volume else self.layout.readout.n_image

    @property
    def workers(self) -> int:
        return 1 if self.is_volume else WORKERS

    def problem(self, start: int) -> Planes:
        stop = start + self.width
        slab = slab_of_maps(self.maps, self.i_slice, self.layout, start, stop, LEAST_CONFIDENCE)
        return encoded(self.lines, self.which, self.layout, slab, start, stop, workers=self.workers)

    def measured(self, start: int, scale: float) -> Measured:
        samples, mask = measured_planes(self.lines, self.which, self.layout, start, start + self.width)
        return Measured(self.problem(start).sense.maps[0, 0], samples[0], mask, self.noise, scale)

    def probed(self) -> tuple[float, str | None]:
        """One brightness for all planes, and why they are out of the learned prior's range."""
        n_x = self.layout.readout.n_image
        probes = np.unique(np.linspace(0, n_x - 1, PROBED).astype(int)) if self.is_volume else [0]
        problems = [self.problem(int(x)) for x in probes]
        scale = scale_of(np.stack([least_squares(p.sense, p.right) for p in problems]))
        return scale, out_of_range(problems[0].sense, self.noise, scale)


def prior_of_scan(
    lines_of: Callable[[NDArray[np.intp], int], Hybrid],
    layout: Layout,
    maps: Sequence[CoarseMaps | CoilMaps],
    *,
    is_white: bool = False,
    tune: bool = False,
    told: Told = silent,
) -> Prior:
    """From some planes of the first frame: their withheld samples tell how much of the network to use, for the whole scan.

    `lines_of(readouts, slice)` are those of a slice, `maps` one of each slice, or one of all. With `tune` its weights are first tuned to
    these planes (tuning.py).
    """
    is_volume = layout.partition is not None
    planes: list[Measured] = []
    why = None
    for i_slice in [0] if is_volume else spread(len(layout.slices)):
        of_slice = layout.slice[layout.image] == i_slice
        lines = lines_of(layout.image[of_slice & (layout.frame[layout.image] == 0)], i_slice)
        which = np.arange(len(lines.line))
        noise = noise_of(lines, which, layout, is_white)
        mine = _Lines(lines, which, layout, maps[min(i_slice, len(maps) - 1)], i_slice, noise)
        scale, out = mine.probed()
        if out is not None:
            why = out
            continue
        planes += [mine.measured(x, scale) for x in (spread(layout.readout.n_image) if is_volume else [0])]
    weights = shipped_weights()
    planes = [plane for plane in planes if np.any(plane.samples)]
    if not planes:
        return Prior(weights, None, notes=(f"the learned prior was not tuned: {why}",) if tune and why else ())
    tuning = None
    if tune:
        weights, tuning = tuned(planes, weights, told=told)
    said = foretold(planes, weights, workers=WORKERS)
    notes: tuple[str, ...] = ()
    if said.share < MOSTLY:
        notes = (
            f"only {said.share:.0%} of the image is the network's: withheld samples are foretold with an error of {said.learned:.3f} by it, of "
            f"{said.sparse:.3f} by compressed sensing, of {said.mixed:.3f} by both mixed",
        )
    return Prior(weights, said, tuning, notes)


def combine_learned_(
    lines: Hybrid,
    which: NDArray[np.intp],
    layout: Layout,
    maps: CoarseMaps | CoilMaps,
    i_slice: int,
    volume: Array,
    prior: Prior,
    *,
    is_white: bool = False,
    told: Told = silent,
) -> tuple[LearnedFit | Fit, str | None]:
    """Fills volume (z, y, x); by compressed sensing alone where out of range, with the reason as a note."""
    mine = _Lines(lines, which, layout, maps, i_slice, noise_of(lines, which, layout, is_white))
    scale, why = mine.probed()
    said = prior.foretold
    if why is None and said is None:
        why = "no plane that was asked holds signal in its range"
    if why is not None or said is None:
        fit = combine_sparse_(lines, which, layout, maps, i_slice, volume, is_white=is_white, told=told)
        return fit, f"the learned prior was not used: {why}; compressed sensing was"

    def work(start: int) -> Part:
        problem = mine.problem(start)
        least = least_squares(problem.sense, problem.right)
        image, part = solved(problem, mine.noise, scale, prior.weights, said.share, least, mine.workers)
        volume[:, :, start : start + mine.width] = volume_of(image, layout)[0]
        return part

    found = plane_by_plane(work, layout.readout.n_image, mine.is_volume, told)
    return fit_of(found, mine.noise, prior.weights, said), None
