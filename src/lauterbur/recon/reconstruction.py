"""reconstruct(): raw data to an image, by the method that the trajectory calls for.

reconstruct(raw)                       # Cartesian, echo-planar, radial, spiral: as the trajectory says
reconstruct(raw, coils=8)              # compressed to eight virtual receivers first: less memory and time
reconstruct(raw, normalise=True)       # brightness corrected for the receivers' falling sensitivity
reconstruct(raw, method="nufft")       # density-compensated non-uniform transform, whatever the header says
reconstruct(raw, method="sense")       # least squares with the receivers' maps, on lines or any trajectory
reconstruct(raw, method="cs")          # compressed sensing: sparse in wavelets, weighed by the noise
reconstruct(raw, method="cs", regularisation=2.0, maps=calibrate(raw, sets=2))
reconstruct(raw, method="learned")     # a learned prior where it applies, else compressed sensing
reconstruct(raw, method="learned", tune=True)    # tuned to this scan first
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.image import Image
from lauterbur.rawdata import Header, RawData
from lauterbur.recon import fft as fourier
from lauterbur.recon.cartesian import reconstruct_cartesian
from lauterbur.recon.checks import check_header, check_raw
from lauterbur.recon.coilmaps import CoilMaps
from lauterbur.recon.geometry import affine_of_slices, affine_of_volume, is_evenly_spaced, slice_order
from lauterbur.recon.inference import with_inferred_header
from lauterbur.recon.layout import FRAME_COUNTERS, cartesian_layout
from lauterbur.recon.learned import LearnedFit
from lauterbur.recon.methods import LINES_ONLY, ON_LINES, check_choice
from lauterbur.recon.mixing import MOST_COILS, receiver_mixing
from lauterbur.recon.noncartesian import reconstruct_noncartesian
from lauterbur.recon.normalise import normalised
from lauterbur.recon.regularisation import Fit
from lauterbur.recon.timings import Timings


def reconstruct(
    raw: RawData,
    *,
    method: str = "auto",
    coils: int | None = None,
    normalise: bool = False,
    noise_whiten: bool = True,
    partial_fourier: bool = True,
    maps: CoilMaps | str = "espirit",
    regularisation: float | str = "auto",
    along_readout: bool = False,
    tune: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Image:
    """An image with its place in the patient; where the noise is known, pixels are in units of its standard deviation.

    `coils` is the number of receivers after compression (default: all, at most 16). Frames are repetitions, sets, phases and
    echoes, echoes fastest. `image.provenance` says what was done; `image.maps` holds the g-factor where undersampled.

    `maps` are of `calibrate(raw)`, or found here. `regularisation` of cs and low-rank is a weight in units of the image, or chosen from
    the noise (regularisation.py). `along_readout`: `coils` virtual receivers are found anew at every position along the readout.
    `tune`: the learned prior is first tuned to this scan, where that foretells withheld samples of it better (tuning.py; needs torch).
    `progress` hears which part of the images is done.
    """
    if coils is not None and not coils >= 1:
        raise InputError(f"coils={coils}; at least one receiver must remain after compression")
    weight = check_choice(method, maps, regularisation, tune)
    known_maps = None if isinstance(maps, str) else maps
    if along_readout and known_maps is not None:
        raise InputError("along_readout=True finds receivers that given maps do not know; leave out one of the two")
    timings = Timings() if progress is None else Timings(lambda done: progress(done, "reconstruction"))
    with timings.stage("checks"):
        check_raw(raw)
        if raw.header is None:
            raw = with_inferred_header(raw)
        assert raw.header is not None
        header = raw.header
        check_header(header, len(np.unique(np.stack([raw.label(c) for c in FRAME_COUNTERS]), axis=1).T))
    provenance: dict[str, Any] = {
        **header.provenance,
        "reconstruction": {"library": fourier.LIBRARY, "version": importlib.metadata.version("lauterbur")},
    }
    facts = provenance["reconstruction"]

    with timings.stage("noise and receivers"):
        mixing = receiver_mixing(raw, raw.n_rx if along_readout else coils, noise_whiten, facts)
        n_along = min(raw.n_rx, MOST_COILS if coils is None else coils) if along_readout else None
        if n_along is not None:
            facts["receivers"] = [raw.n_rx, n_along]
        if known_maps is not None:
            mixing = _mixing_of(known_maps, raw)
            facts["receivers"] = [raw.n_rx, len(mixing)]

    layout = None
    is_turned = header.trajectory in ("radial", "spiral") and method not in LINES_ONLY
    if method != "nufft" and not is_turned:
        with timings.stage("layout"):
            layout = cartesian_layout(raw, header)
        if layout is None and method in LINES_ONLY:
            raise InputError(
                "the trajectory is not a set of parallel lines on a grid; use method='auto', 'sense', 'cs' or 'nufft'"
            )

    g_factor: NDArray[np.float32] | None = None
    other_maps: dict[str, NDArray[np.float32]] = {}
    if layout is not None:
        result = reconstruct_cartesian(
            raw,
            layout,
            mixing,
            timings,
            partial_fourier=partial_fourier,
            is_white=facts["whitened"],
            method=method if method in ON_LINES else "sense",
            known_maps=known_maps,
            weight=weight,
            along_readout=n_along,
            tune=tune,
        )
        pixels, g_factor, notes = result.pixels, result.g_factor, list(result.notes)
        slices, frames, frame, used = layout.slices, layout.frames, layout.frame, layout.image
        voxel = (layout.readout.voxel, layout.phase.voxel, layout.partition.voxel if layout.partition else 0.0)
        if result.fits:
            facts["method"] = _name_of(method, result.fits)
            facts["measured_lines"] = [int(result.sampling.mask.sum()), result.sampling.mask.size]
            facts["fits"] = [asdict(fit) for fit in result.fits]
            if result.tuning is not None:
                facts["tuning"] = asdict(result.tuning)
        elif method == "grappa" and result.sampling.is_accelerated:
            facts["method"] = "GRAPPA"
            facts["acceleration"] = list(result.sampling.factors)
        elif result.sampling.is_regular:
            facts["method"] = "SENSE" if result.sampling.is_accelerated else "FFT"
            facts["acceleration"] = list(result.sampling.factors)
        else:
            facts["method"] = "SENSE by conjugate gradients"
            facts["measured_lines"] = [int(result.sampling.mask.sum()), result.sampling.mask.size]
    else:
        if along_readout:
            raise InputError(
                "along_readout needs Cartesian lines; leave it out: receivers are compressed with coils= alone"
            )
        gridded = reconstruct_noncartesian(
            raw, header, mixing, timings,
            method=method, is_white=facts["whitened"], known_maps=known_maps, weight=weight,
        )  # fmt: skip
        pixels, notes = gridded.pixels, list(gridded.notes)
        slices, frames, frame, used = gridded.slices, gridded.frames, gridded.frame, gridded.image
        voxel = tuple(header.fov[i] / header.matrix[i] for i in range(3))  # type: ignore[assignment]
        facts["method"] = {
            "sense": "SENSE by conjugate gradients", "cs": "compressed sensing", "low-rank": "locally low rank",
        }.get(gridded.method, "density-compensated NUFFT")  # fmt: skip
        facts["samples_per_voxel"] = round(gridded.samples_per_voxel, 3)
        facts["undersampling"] = round(gridded.undersampling, 2)
        facts["gradient_delays"] = "not looked for"
        if gridded.fits:
            facts["fits"] = [asdict(fit) for fit in gridded.fits]
        if gridded.off_resonance is not None:
            other_maps["off_resonance"] = gridded.off_resonance
            facts["off_resonance"] = "from two echoes, in the encoding"

    shape = (pixels.shape[3], pixels.shape[2])
    if header.dimensions == 2:
        order, centres = slice_order(header, slices)
        pixels = pixels[:, order]
        g_factor = None if g_factor is None else g_factor[order]
        other_maps = {name: values[order] for name, values in other_maps.items()}
        affine = affine_of_slices(header, voxel[:2], shape, centres)
        if not is_evenly_spaced(centres):
            notes.append("slices are not evenly spaced; the affine holds their mean step")
    else:
        affine = affine_of_volume(header, voxel, (*shape, pixels.shape[1]))
    if normalise:
        with timings.stage("normalisation"):
            pixels = normalised(pixels, affine)
    facts["normalised"] = normalise
    facts["notes"] = notes
    provenance["timings"] = timings.seconds
    return Image(
        pixels,
        affine,
        te=_echo_times(raw, header, frames, frame, used),
        tr=header.tr,
        ti=header.ti,
        flip_angle=header.flip_angle,
        field_strength=header.field_strength,
        provenance=provenance,
        maps=other_maps | ({} if g_factor is None else {"g_factor": g_factor}),
    )


def _name_of(method: str, fits: tuple[Fit | LearnedFit, ...]) -> str:
    if method == "learned":
        n = sum(isinstance(fit, LearnedFit) for fit in fits)
        return {0: "compressed sensing", len(fits): "learned prior"}.get(n, "learned prior, in part compressed sensing")
    return {"cs": "compressed sensing", "low-rank": "locally low rank"}.get(method, "soft SENSE")


def _mixing_of(maps: CoilMaps, raw: RawData) -> NDArray[np.complex128]:
    """The maps' own mixing of receivers; the maps must be of as many."""
    if maps.mixing.shape[1] != raw.n_rx or maps.mixing.shape[0] != maps.sensitivity.shape[1]:
        raise InputError(
            f"the maps are of {maps.sensitivity.shape[1]} receivers mixed by {maps.mixing.shape} from others, but the data have "
            f"{raw.n_rx} receivers; calibrate from these data"
        )
    return maps.mixing


def _echo_times(
    raw: RawData,
    header: Header,
    frames: tuple[dict[str, int], ...],
    frame: NDArray[np.intp],
    image: NDArray[np.intp],
) -> tuple[float, ...]:
    """s, per frame: the header's, else as played at the line nearest k = 0, else none."""
    if header.te:
        return tuple(header.te[min(f["ECO"], len(header.te) - 1)] for f in frames)
    if raw.te is None:
        return ()
    centre = np.abs(raw.k[np.arange(raw.n_readouts), np.minimum(raw.center_sample, raw.k.shape[1] - 1)]).max(axis=1)
    times = []
    for i in range(len(frames)):
        mine = image[frame[image] == i]
        times.append(float(raw.te[mine[np.argmin(centre[mine])]]))
    return tuple(times)
