"""Protocol: what the operator asks for, in SI, before any machine is known.

`replace(protocol, flip_angle=20 * deg)` makes another; `checked` says what no machine could do. What a given machine
cannot do is found when a sequence is built for it (sequence/).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lauterbur.errors import ProtocolError
from lauterbur.units import deg, mm, ms

Vector = tuple[float, float, float]

CONTRASTS = ("GRE", "MPRAGE", "TSE", "FLAIR", "BSSFP", "EPI")
MULTISLICE = ("TSE", "FLAIR", "EPI")  # slice by slice unless the protocol says 3D
VOLUMES = ("MPRAGE",)  # always 3D; GRE, BSSFP and TSE are either
SLICES_ONLY = ("FLAIR", "EPI")
SAMPLINGS = ("regular", "caipi", "poisson")
TRAJECTORIES = ("cartesian", "radial", "spiral")


@dataclass(frozen=True)
class Protocol:
    name: str
    contrast: str  # one of CONTRASTS
    fov: Vector  # m, along readout, phase, partition; of one slice in 2D, the last is the slice thickness
    matrix: tuple[int, int, int]  # voxels along the same; the last is 1 in 2D
    te: tuple[float, ...]  # s, one per echo image; of the echo that crosses k = 0 in an echo train
    tr: float  # s, between excitations of one slice; between inversions for MPRAGE and FLAIR
    flip_angle: float  # rad
    bandwidth: float  # Hz per pixel
    description: str = ""
    dimensions: int = 3  # 2: slice by slice; 3: a slab with partitions
    ti: float | None = None  # s, from the inversion to the excitation of the echo that crosses k = 0
    refocusing_angle: float = 180 * deg  # rad
    echo_train: int = 1  # echoes per excitation of TSE and FLAIR
    echo_spacing: float | None = None  # s; between excitations of an MPRAGE train; None: as short as it goes
    acceleration: tuple[int, int] = (1, 1)  # along phase, partition
    reference_lines: tuple[int, int] = (0, 0)  # fully sampled lines about k = 0, along phase, partition
    partial_fourier: tuple[float, float] = (1.0, 1.0)  # sampled part, along phase, partition; early lines are left out
    sampling: str = "regular"  # of lines and partitions in 3D: one of SAMPLINGS
    caipi_shift: int = 1  # partitions, from one played line to the next; caipi
    undersampling: float = 1.0
    # poisson: covered lines and partitions per played one, exact, the centre included; spiral: how many times sparser the
    # turns lie at the edge of k-space than in its centre
    sampling_seed: int = 0  # which random places; poisson
    elliptical: bool = False  # corners of k-space are left out, in 3D
    trajectory: str = "cartesian"  # in the plane, one of TRAJECTORIES; partitions are always Cartesian
    shots: int = 0  # spokes, or arms of the spiral, of each slice, partition, echo and frame; radial and spiral
    golden_order: int = 1  # spokes turn by 180 / (1.618 + golden_order - 1) degrees: 111.246, or a tiny golden angle
    slices: int = 1  # 2D only
    slice_gap: float = 0.0  # m, between the edges of neighbouring slices
    directions: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    # unit vectors of readout, phase and slice in patient coordinates (x left, y back, z head), right-handed
    position: Vector = (0.0, 0.0, 0.0)  # m, patient: the centre of the field of view, or of the stack of slices
    dummies: int = 0  # excitations (TSE, FLAIR: trains) before the first echo is kept
    averages: int = 1
    frames: int = 1  # cardiac phases, each an image of its own; GRE in 2D; radial and spiral: one after the other
    lines_per_frame: int = 1  # per heartbeat: how many lines of one frame are played before the next
    rf_duration: float = 1 * ms  # s, of the excitation
    rf_time_bandwidth: float = 4.0  # of a selective excitation
    slab_thickness: float | None = None  # m, excited in 3D; None: a short pulse excites all there is
    rf_spoiling: float = 117 * deg  # rad, increment of the phase increment (Zur 1991); GRE and MPRAGE
    fat_saturation: bool = False
    target: str = ""  # what a prescan makes even: a name of subject/targets.py; empty: the brain, or the body

    @property
    def is_3d(self) -> bool:
        return self.dimensions == 3


def slice_offsets(protocol: Protocol) -> np.ndarray:
    """(slice,) m along the slice direction, from the centre of the stack."""
    spacing = protocol.fov[2] + protocol.slice_gap
    return (np.arange(protocol.slices) - (protocol.slices - 1) / 2) * spacing


def slice_positions(protocol: Protocol) -> tuple[Vector, ...]:
    """m, patient: the centre of each slice; empty in 3D."""
    if protocol.is_3d:
        return ()
    centres = np.array(protocol.position) + np.outer(slice_offsets(protocol), protocol.directions[2])
    return tuple((float(x), float(y), float(z)) for x, y, z in centres)


def resolution(protocol: Protocol) -> Vector:
    """m: the size of a voxel along readout, phase, slice."""
    return tuple(size / n for size, n in zip(protocol.fov, protocol.matrix, strict=True))  # type: ignore[return-value]


def checked(protocol: Protocol) -> Protocol:
    """The same protocol, or a ProtocolError that says which wish cannot be met and what could be."""
    p = protocol

    def must(ok: bool, problem: str) -> None:
        if not ok:
            raise ProtocolError(f"{p.name}: {problem}")

    def within(name: str, value: float, least: float, most: float, unit: str, scale: float = 1.0) -> None:
        ok = least <= value <= most  # NaN is never within
        must(
            ok, f"{name} is {value / scale:g} {unit}; between {least / scale:g} and {most / scale:g} {unit} is possible"
        )

    must(p.contrast in CONTRASTS, f"contrast {p.contrast!r} is not known; choose one of {', '.join(CONTRASTS)}")
    must(p.dimensions in (2, 3), f"dimensions is {p.dimensions}; 2 or 3 is possible")
    must(
        not (p.contrast in SLICES_ONLY and p.is_3d) and not (p.contrast in VOLUMES and not p.is_3d),
        f"{p.contrast} in {p.dimensions}D is not available; use dimensions = {2 if p.is_3d else 3}",
    )
    for axis, (size, n) in enumerate(zip(p.fov, p.matrix, strict=True)):
        name = ("readout", "phase", "slice")[axis]
        within(f"matrix along {name}", n, 1 if axis == 2 else 8, 4096, "voxels")
        within(f"fov along {name}", size, 0.05 * mm if axis == 2 else 5 * mm, 1.0, "mm", mm)
    must(p.matrix[0] % 2 == 0, f"matrix along readout is {p.matrix[0]}; it must be even, for example {p.matrix[0] + 1}")
    must(
        p.is_3d or p.matrix[2] == 1, f"matrix is {p.matrix}; in 2D the last number is 1 and `slices` counts the slices"
    )
    within("slices", p.slices, 1, 1 if p.is_3d else 1000, "(partitions belong in the matrix)" if p.is_3d else "")
    within("slice_gap", p.slice_gap, -0.5 * p.fov[2] if not p.is_3d else 0.0, 0.5, "mm", mm)

    must(1 <= len(p.te) <= 64, f"te has {len(p.te)} values; between 1 and 64 are possible")
    for te in p.te:
        within("te", te, 0.05 * ms, 2.0, "ms", ms)
    must(all(b > a for a, b in zip(p.te, p.te[1:], strict=False)), f"te must rise from echo to echo, not {p.te} s")
    must(
        len(p.te) == 1 or p.contrast == "GRE",
        f"{p.contrast} has one te, not {len(p.te)}; several echoes are possible with contrast GRE",
    )
    within("tr", p.tr, 0.5 * ms, 60.0, "ms", ms)
    must(p.te[-1] < p.tr, f"te {p.te[-1] / ms:g} ms does not fit in tr {p.tr / ms:g} ms; lengthen tr or shorten te")
    if p.contrast in ("MPRAGE", "FLAIR"):
        must(p.ti is not None, f"ti is missing; {p.contrast} needs an inversion time")
        within("ti", p.ti or 0.0, 5 * ms, p.tr, "ms", ms)
    else:
        must(p.ti is None, f"ti has no meaning for {p.contrast}; leave it out, or choose MPRAGE or FLAIR")
    if p.echo_spacing is not None:
        within("echo_spacing", p.echo_spacing, 0.1 * ms, 1.0, "ms", ms)
    within("echo_train", p.echo_train, 1, 1024, "")

    within("flip_angle", p.flip_angle, 0.1 * deg, 180 * deg, "deg", deg)
    within("refocusing_angle", p.refocusing_angle, 10 * deg, 180 * deg, "deg", deg)
    within("rf_spoiling", p.rf_spoiling, 0.0, 360 * deg, "deg", deg)
    within("rf_duration", p.rf_duration, 0.02 * ms, 20 * ms, "ms", ms)
    within("rf_time_bandwidth", p.rf_time_bandwidth, 1.0, 20.0, "")
    within("bandwidth", p.bandwidth, 5.0, 20_000.0, "Hz per pixel")
    if p.slab_thickness is not None:
        must(p.is_3d, "slab_thickness has no meaning in 2D; the third number of fov is the slice thickness")
        within("slab_thickness", p.slab_thickness, 1 * mm, 1.0, "mm", mm)

    for axis, name in ((0, "phase"), (1, "partition")):
        n = p.matrix[1 + axis]
        within(f"acceleration along {name}", p.acceleration[axis], 1, min(16, n), "")
        within(f"reference_lines along {name}", p.reference_lines[axis], 0, n, "lines")
        within(f"partial_fourier along {name}", p.partial_fourier[axis], 0.55, 1.0, "")
    must(
        p.trajectory in TRAJECTORIES,
        f"trajectory {p.trajectory!r} is not known; choose one of {', '.join(TRAJECTORIES)}",
    )
    if p.trajectory == "cartesian":
        _check_sampling(p, must, within)
    else:
        _check_shots(p, must, within)
    within("dummies", p.dummies, 0, 100_000, "")
    within("averages", p.averages, 1, 64, "")
    within("frames", p.frames, 1, 256, "")
    within("lines_per_frame", p.lines_per_frame, 1, p.matrix[1], "lines")
    must(
        (p.frames, p.lines_per_frame) == (1, 1) or (p.contrast == "GRE" and not p.is_3d),
        f"frames and lines_per_frame have no meaning for {p.contrast} in {p.dimensions}D; leave them out, or choose GRE in 2D",
    )
    must(
        p.frames == 1 or p.averages == 1,
        f"{p.frames} frames with {p.averages} averages are not available; use averages = 1",
    )

    rows = np.array(p.directions)
    right_handed = rows.shape == (3, 3) and np.allclose(rows @ rows.T, np.eye(3), atol=1e-6) and np.linalg.det(rows) > 0
    must(bool(right_handed), f"directions {p.directions} are not three right-handed unit vectors at right angles")
    for axis in range(3):
        within("position", p.position[axis], -1.0, 1.0, "mm", mm)
    return p


def _check_shots(p: Protocol, must: Callable[[bool, str], None], within: Callable[..., None]) -> None:
    must(p.contrast == "GRE", f"trajectory {p.trajectory} is not available for {p.contrast}; use GRE")
    must(not (p.trajectory == "spiral" and p.is_3d), "spiral in 3D is not available; use dimensions = 2, or radial")
    must(
        p.fov[0] == p.fov[1] and p.matrix[0] == p.matrix[1],
        f"{p.trajectory} sees a disc, but fov and matrix are {p.fov[0] / mm:g} x {p.fov[1] / mm:g} mm and {p.matrix[0]} x "
        f"{p.matrix[1]}; make readout and phase equal, for example {max(p.fov[:2]) / mm:g} mm and {max(p.matrix[:2])}",
    )
    lines = {
        "acceleration": p.acceleration == (1, 1),
        "reference_lines": p.reference_lines == (0, 0),
        "partial_fourier": p.partial_fourier == (1.0, 1.0),
        "sampling": p.sampling == "regular",
        "elliptical": not p.elliptical,
        "averages": p.averages == 1,
        "lines_per_frame": p.lines_per_frame == 1,
    }
    for name, is_default in lines.items():
        must(
            is_default,
            f"{name} has no meaning for trajectory {p.trajectory}; leave it out, and play more or fewer shots",
        )
    within("shots", p.shots, 1, 100_000, "")
    within("golden_order", p.golden_order, 1, 100, "")
    if p.trajectory == "spiral":
        within("undersampling", p.undersampling, 1.0, 4.0, "")
        must(p.golden_order == 1, "golden_order has no meaning for spiral, whose arms lie evenly; leave it out")
    else:
        must(p.undersampling == 1, "undersampling has no meaning for radial; play fewer shots")
    must(
        not (p.fat_saturation and p.is_3d),
        "fat_saturation between partitions is not available; choose te so that fat and water are in phase",
    )


def _check_sampling(p: Protocol, must: Callable[[bool, str], None], within: Callable[..., None]) -> None:
    must(p.sampling in SAMPLINGS, f"sampling {p.sampling!r} is not known; choose one of {', '.join(SAMPLINGS)}")
    must(
        (p.shots, p.golden_order) == (0, 1),
        "shots and golden_order have no meaning for Cartesian lines; leave them out, or choose trajectory radial or spiral",
    )
    is_plain = p.sampling == "regular" and not p.elliptical
    must(
        is_plain or p.is_3d, f"sampling {p.sampling}, elliptical = {p.elliptical} needs partitions; use dimensions = 3"
    )
    must(
        is_plain or p.contrast in ("GRE", "TSE"),
        f"{p.contrast} plays whole partitions; sampling = 'regular' without elliptical is possible, or GRE or TSE",
    )
    if p.sampling == "poisson":
        must(
            p.acceleration == (1, 1),
            f"acceleration {list(p.acceleration)} beside sampling = 'poisson'; say undersampling = {np.prod(p.acceleration)}.0 instead",
        )
        within("undersampling", p.undersampling, 1.0, 64.0, "")
        within("sampling_seed", p.sampling_seed, 0, 2**31, "")
    else:
        must(
            p.undersampling == 1,
            f"undersampling {p.undersampling:g} needs sampling = 'poisson'; {p.sampling} goes by acceleration",
        )
    if p.sampling == "caipi":
        must(min(p.acceleration) > 1, f"caipi shifts partitions between lines: accelerate both, not {p.acceleration}")
        within("caipi_shift", p.caipi_shift, 0, p.acceleration[1] - 1, "partitions")
