"""What benchmarks/vessel_wall.py judges: heads with a circle of Willis, played about it and heard, with noise, as images.

Only some centimetres about the circle of Willis are played and heard: readout gradient, bandwidth per pixel and resolution are the
protocol's, the field of view along the readout is cut (no sample of the rest would reach these planes after the readout transform).
Signals are simulated once; noise is added by the scanner's receivers as often as there are seeds. Signals and images are kept and
read again: of other code, protocols or scanners they are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lauterbur as lb
from lauterbur.acquisition.twin.accuracy import IMAGING
from lauterbur.acquisition.twin.material import points_from, spins_from
from lauterbur.acquisition.twin.receiver import ReceiveChain, noise_readouts, noise_scan, receive_chain, sensitivities
from lauterbur.fields.maps import FieldMaps
from lauterbur.formats.nifti import read_nifti, write_nifti
from lauterbur.image import Image
from lauterbur.program import Program, duration
from lauterbur.protocol.protocol import Protocol
from lauterbur.rawdata import RawData
from lauterbur.recon.learned_network import SHA256
from lauterbur.recon.regularisation import sparse_weight
from lauterbur.scanner.machine import Scanner
from lauterbur.subject.anatomy import PointCloud, Subject
from lauterbur.subject.head import head
from lauterbur.subject.population import vary
from lauterbur.subject.vessels import circle_of_willis, with_vessels
from lauterbur.units import mm

SLOW, FAST = "brain/vessel-wall", "brain/vessel-wall-fast"
METHODS = {"sense": SLOW, "cs": FAST, "cs-rule": FAST, "learned": FAST}  # and the protocol each reconstructs
WEIGHT = 0.3  # of the rule's, in cs: walls of a pixel drown in what noise alone would reach; cs-rule has all of it
REACH = 8 * mm  # about a lesion
RECEIVERS = 12
SUBJECTS = (  # size and shift, along the axes: of a turned head the twin would take four times as long
    (1.0, (0.0, 0.0, 0.0)),
    (0.96, (0.6 * mm, -0.3 * mm, 0.4 * mm)),
    (1.04, (-0.4 * mm, 0.7 * mm, -0.2 * mm)),
)


@dataclass(frozen=True)
class Slab:
    """What is played, along the patient's z; m."""

    middle: float
    depth: float


CIRCLE, QUICK, WHOLE_BRAIN = Slab(-27 * mm, 32 * mm), Slab(-22 * mm, 22 * mm), Slab(16 * mm, 240 * mm)


def thin(protocol: Protocol, slab: Slab) -> Protocol:
    """The protocol with a short field of view along the readout, about the circle of Willis."""
    n = 2 * round(slab.depth / protocol.fov[0] * protocol.matrix[0] / 2)
    x, y, _ = protocol.position
    return replace(
        protocol, fov=(slab.depth, *protocol.fov[1:]), matrix=(n, *protocol.matrix[1:]), position=(x, y, slab.middle)
    )


@lru_cache(maxsize=2)
def heads(number: int) -> tuple[Subject, Subject]:
    """The same head with and without lesions."""
    size, shift = SUBJECTS[number]
    plain = replace(head(), seed=number)
    sick, healthy = (with_vessels(plain, circle_of_willis(diseased=ill)) for ill in (True, False))
    return vary(sick, scale=size, shift=shift), vary(healthy, scale=size, shift=shift)


@lru_cache(maxsize=2 * len(SUBJECTS))
def fields_of(scanner_name: str, number: int) -> FieldMaps:
    """Of the head with lesions: what they change of the fields is left out."""
    return lb.solve_fields(lb.load_scanner(scanner_name), heads(number)[0])


def signals(
    program: Program, scanner: Scanner, number: int, slab: Slab, kept: Path, *, with_healthy: bool = True
) -> tuple[list[RawData], ReceiveChain]:
    """Noise-free raw data of a head with lesions and without: what they share is played once. Read where they were `kept`."""
    subjects = heads(number)[: 1 + with_healthy]
    fields = fields_of(scanner.name, number)
    half = slab.depth / 2 + 2 * mm
    around = spins_from(
        subjects[0], fields, scanner, region=np.array([[-1, -1, slab.middle - half], [1, 1, slab.middle + half]])
    )
    chain = receive_chain(fields, scanner, around, coils=RECEIVERS)
    files = [kept.with_name(f"{kept.name}-{which}.mrd") for which in ("sick", "healthy")[: len(subjects)]]
    if all(file.exists() for file in files):
        return [lb.read_raw(file) for file in files], chain

    told = {"accuracy": IMAGING, "larmor_frequency": scanner.larmor_frequency}
    raw = lb.simulate(program, around, sensitivities(chain, around), **told)
    clouds = [points_within(subject.points, slab.middle - half, slab.middle + half) for subject in subjects]
    everything, members = joined(clouds)
    points = points_from(replace(subjects[0], points=everything), fields, scanner)
    heard = np.asarray(sensitivities(chain, points))  # by one set of receivers for each head
    own = lb.simulate(program, points, np.concatenate([heard * mine for mine in members]), **told)
    raws = []
    for which, file in enumerate(files):
        samples = raw.samples + own.samples[:, which * RECEIVERS : (which + 1) * RECEIVERS]
        raws.append(replace(raw, samples=samples))
        lb.write_raw(raws[-1], file)
    return raws, chain


def points_within(cloud: PointCloud, low: float, high: float) -> PointCloud:
    """Those between two heights; m."""
    here = (cloud.position[:, 2] > low) & (cloud.position[:, 2] < high)
    return replace(cloud, position=cloud.position[here], volume=cloud.volume[here], tissue=cloud.tissue[here])


def joined(clouds: list[PointCloud]) -> tuple[PointCloud, list[NDArray[np.bool_]]]:
    """All points of some clouds, each once, and (point,) which of them are in each cloud."""
    rows = [np.column_stack((one.position, one.volume, one.tissue)) for one in clouds]
    found, which = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    owners = np.split(which.reshape(-1), np.cumsum([len(one) for one in rows])[:-1])
    cloud = replace(clouds[0], position=found[:, :3], volume=found[:, 3], tissue=found[:, 4].astype(np.uint8))
    return cloud, [np.isin(np.arange(len(found)), mine) for mine in owners]


def noisy(raw: RawData, chain: ReceiveChain, seed: int) -> RawData:
    samples = raw.samples.copy()
    for lo in range(0, len(samples), 1024):
        rows = np.arange(lo, min(lo + 1024, len(samples)))
        samples[rows] += noise_readouts(chain, rows, raw.n_samples[rows], raw.dwell[rows], seed)
    dwell = float(np.median(raw.dwell))
    return replace(raw, samples=samples, noise=noise_scan(chain, dwell, seed), noise_dwell=dwell)


def reconstructed(raw: RawData, method: str) -> Image:
    if method != "cs":
        return lb.reconstruct(raw, method=method.removesuffix("-rule"))
    _, lines, partitions = lb.load_protocol(FAST).matrix
    rule = sparse_weight(1.0, raw.n_readouts / (lines * partitions))  # the noise of whitened data is 1
    return lb.reconstruct(raw, method="cs", regularisation=WEIGHT * rule)


def imaged(raw: RawData, chain: ReceiveChain, seed: int, method: str, kept: Path) -> Image:
    """Of these signals with noise, magnitude; read where it was `kept`."""
    file = kept.with_name(f"{kept.name}-{named(method)}-{seed}.nii.gz")
    if not file.exists():
        write_nifti(reconstructed(noisy(raw, chain, seed), method), file)
    pixels, affine = read_nifti(file)
    return Image(pixels[None].astype(np.complex64), affine)


def named(method: str) -> str:
    """What an image depends on beside its data."""
    return {"cs": f"cs{WEIGHT:g}", "learned": f"learned-{SHA256[:8]}"}.get(method, method)


def minutes(protocol: Protocol, scanner: Scanner) -> float:
    return duration(lb.build_program(protocol, scanner)) / 60


def places(subject: Subject, slab: Slab) -> dict[str, NDArray[np.float64]]:
    """Lesions that lie in the slab of the first head; of this one."""
    return {name: place for name, place in _lesions(subject).items() if name in _inside(slab)}


def _inside(slab: Slab) -> set[str]:
    far = slab.depth / 2 - REACH / 2
    return {name for name, place in _lesions(heads(0)[0]).items() if abs(place[2] - slab.middle) < far}


def _lesions(subject: Subject) -> dict[str, NDArray[np.float64]]:
    found = subject.vessels
    listed = {f"plaque {100 * p.stenosis:.0f} %, {p.vessel}": np.array(p.position) for p in found.plaques}
    return listed | {f"flap, {f.vessel}": (np.array(f.start) + np.array(f.end)) / 2 for f in found.flaps}
