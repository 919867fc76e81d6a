"""Is this raw data usable? Every question that can be answered before long work, and the sentence for each no."""

from __future__ import annotations

import os

import numpy as np

from lauterbur.errors import InputError, ResourceError
from lauterbur.rawdata import Header, RawData

LARGEST_IMAGE = 2**31  # voxels of all frames; a hostile header must not exhaust memory


def memory_of_machine() -> float:
    """Bytes; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def check_memory(need: float, what: str, remedy: str) -> None:
    """Refuses work of `need` bytes that this machine cannot hold."""
    have = memory_of_machine()
    if not need <= have:
        raise ResourceError(
            f"{what} needs about {need / 2**30:.1f} GiB of memory but the machine has {have / 2**30:.1f} GiB; {remedy}"
        )


def check_raw(raw: RawData) -> None:
    """Shapes, counts, finite samples and labels."""
    if raw.samples.ndim != 3 or 0 in raw.samples.shape:
        raise InputError(
            f"raw.samples has shape {raw.samples.shape}; expected (readout, rx, sample) with at least one of each"
        )
    n, _, longest = raw.samples.shape
    for name, have, want in (
        ("k", raw.k.shape, (n, longest, 3)),
        ("n_samples", raw.n_samples.shape, (n,)),
        ("center_sample", raw.center_sample.shape, (n,)),
        ("time", raw.time.shape, (n,)),
        *((f"labels[{label!r}]", np.shape(value), (n,)) for label, value in raw.labels.items()),
    ):
        if tuple(have) != want:
            raise InputError(f"raw.{name} has shape {tuple(have)} but samples {raw.samples.shape} need {want}")
    if not (raw.n_samples.min() >= 1 and raw.n_samples.max() <= longest):
        worst = int(np.argmax((raw.n_samples < 1) | (raw.n_samples > longest)))
        raise InputError(f"readout {worst} claims {raw.n_samples[worst]} samples; between 1 and {longest} are possible")
    for label, value in raw.labels.items():
        if not value.min() >= 0:
            raise InputError(
                f"label {label} is {int(value.min())} at readout {int(np.argmin(value))}; counters start at 0"
            )
    if not np.isfinite(raw.k).all():
        worst = int(np.argmax(~np.isfinite(raw.k).all(axis=(1, 2))))
        raise InputError(f"the trajectory of readout {worst} is not finite; check the gradients that were played")
    if raw.noise is not None:
        if raw.noise.ndim != 2 or raw.noise.shape[0] != raw.n_rx:
            raise InputError(
                f"raw.noise has shape {raw.noise.shape}; expected ({raw.n_rx}, sample) for {raw.n_rx} receivers"
            )
        if not np.isfinite(raw.noise).all():
            raise InputError("the noise scan holds NaN or infinite samples; record it again or use noise_whiten=False")
    for start in range(0, n, 512):
        total = np.sum(raw.samples[start : start + 512], axis=(1, 2))
        if not np.isfinite(total).all():
            worst = start + int(np.argmax(~np.isfinite(total)))
            raise InputError(f"readout {worst} holds NaN or infinite samples; leave it out or record it again")


def check_header(header: Header, n_frames: int) -> None:
    for name in ("matrix", "fov", "encoded_matrix", "encoded_fov"):
        value = getattr(header, name)
        if value is None:
            continue
        ok = len(value) == 3 and np.isfinite(value).all() and min(value) > 0
        if not ok:
            raise InputError(f"header.{name} is {value}; expected three positive numbers (readout, phase, slice)")
    if not np.isfinite(header.position).all() or not np.isfinite(np.asarray(header.slice_positions, float)).all():
        raise InputError("the header's position or slice positions are not finite; give them in metres, patient axes")
    if header.dimensions not in (2, 3):
        raise InputError(f"header.dimensions is {header.dimensions}; 2 (slices) or 3 (partitions) are possible")
    encoded = header.encoded_matrix or header.matrix
    voxels = n_frames * float(np.prod([float(max(a, b)) for a, b in zip(header.matrix, encoded, strict=True)]))
    if not voxels <= LARGEST_IMAGE:
        raise ResourceError(
            f"the header asks for {voxels:.3g} voxels (matrix {header.matrix}, encoded {encoded}, {n_frames} frames); at most "
            f"{LARGEST_IMAGE} fit in memory; check the header or reconstruct fewer frames"
        )
