"""What the library's protocols make of the head at 5 T: tissues in the order a radiologist expects, and SNR at 3 T and 5 T.

    python benchmarks/contrasts.py                      # every protocol, slices fewer and 3D ones coarser than in the library
    python benchmarks/contrasts.py --only brain/flair
    python benchmarks/contrasts.py --whole              # as in the library, which takes long

Means of the magnitude over voxels that hold little but one tissue, as parts of white matter's. The noise is
what the image changes by when the measured noise is added to the samples once more; of the spoiled GRE, SNR of
white matter is printed beside what the steady state (Ernst and Anderson, Rev Sci Instrum 1966, 37:93), coils and noise
promise: |M_xy| per volume x voxel volume x root-sum-of-squares sensitivity to white noise x square root of the time
listened to.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

import lauterbur as lb
from lauterbur.acquisition.twin.material import spins_from
from lauterbur.acquisition.twin.receiver import receive_chain, sensitivities
from lauterbur.rawdata import RawData
from lauterbur.subject.anatomy import tissue_fraction

TISSUES = {"WM": "white matter", "GM": "grey matter", "CSF": "cerebrospinal fluid", "fat": "fat"}
# tissues from bright to dark
ORDER = {
    "brain/t1-mprage": ("WM", "GM", "CSF"),
    "brain/t1-gre": ("WM", "GM", "CSF"),
    "brain/t2-tse": ("CSF", "GM", "WM"),
    "brain/flair": ("GM", "WM", "CSF"),
    "brain/epi": ("GM", "WM"),
    "brain/bssfp": ("CSF", "GM", "WM"),
    "brain/qsm-5echo": ("GM", "WM"),
}
SMALLER = {
    "brain/t2-tse": dict(slices=3),
    "brain/flair": dict(slices=3),
    "brain/epi": dict(slices=3),
    "brain/bssfp": dict(matrix=(96, 96, 74)),
    "brain/t1-gre": dict(matrix=(112, 112, 48)),
    "brain/qsm-5echo": dict(matrix=(112, 106, 28)),
}
PURE = 0.95  # of a voxel is one tissue


def means(image: lb.Image, subject: lb.Subject) -> dict[str, float]:
    """Of the first frame, per tissue."""
    pixels = np.abs(image.pixels[0])
    at = np.indices(pixels.shape).reshape(3, -1)[::-1]
    patient = image.affine[:3, :3] @ at + image.affine[:3, 3:]
    inside = np.linalg.inv(subject.affine) @ np.vstack((patient, np.ones(patient.shape[1])))
    edges = np.linalg.inv(subject.affine[:3, :3]) @ image.affine[:3, :3]  # of an image voxel, in the subject's voxels
    size = np.linalg.norm(edges, axis=1)[::-1]
    found = {}
    for short, name in TISSUES.items():
        share = ndimage.uniform_filter(tissue_fraction(subject, name), [max(1, round(n)) for n in size])
        here = ndimage.map_coordinates(share, inside[2::-1], order=1).reshape(pixels.shape) > PURE
        found[short] = float(pixels[here].mean()) if here.sum() > 20 else np.nan
    return found


def noisier(raw: RawData, seed: int) -> RawData:
    """With noise of the measured covariance added to every sample."""
    assert raw.noise is not None
    noise = raw.noise - raw.noise.mean(axis=1, keepdims=True)
    factor = np.linalg.cholesky(noise @ noise.conj().T / noise.shape[1])
    rng = np.random.default_rng(seed)
    samples = np.array(raw.samples)
    for some in samples:
        new = rng.standard_normal((2, *some.shape), np.float32)
        some += (factor @ (new[0] + 1j * new[1]) / np.sqrt(2)).astype(np.complex64)
    return replace(raw, samples=samples)


def snr(raw: RawData, image: lb.Image, subject: lb.Subject) -> float:
    """Of white matter."""
    more = lb.reconstruct(noisier(raw, 1))
    change = replace(image, pixels=more.pixels - image.pixels)
    return means(image, subject)["WM"] / means(change, subject)["WM"] * np.sqrt(np.pi) / 2


def promised(result: lb.ScanResult, subject: lb.Subject) -> float:
    """SNR of white matter in a spoiled GRE, without engine, encoding and reconstruction."""
    scanner, protocol, raw = result.scanner, result.protocol, result.raw
    fields = lb.solve_fields(scanner, subject)
    spins = spins_from(subject, fields, scanner, seed=result.seed)
    chain = receive_chain(fields, scanner, spins, coils=raw.n_rx)
    at = np.round((spins.position - subject.affine[:3, 3]) / np.diag(subject.affine)[:3]).astype(int)
    pure = np.flatnonzero(tissue_fraction(subject, TISSUES["WM"])[tuple(at[:, ::-1].T)] > PURE)
    white = spins.subset(pure[:: max(1, len(pure) // 5000)])
    heard = np.sqrt(sum(np.abs(one) ** 2 for one in sensitivities(chain, white)))
    e1 = np.exp(-protocol.tr / white.t1)
    steady = np.sin(protocol.flip_angle) * (1 - e1) / (1 - e1 * np.cos(protocol.flip_angle))
    steady = steady * np.exp(-raw.header.te[0] * (1 / white.t2 + 1 / white.t2_prime))
    listened = raw.label("REF") * (1 - raw.label("IMA")) == 0
    seconds = float((raw.n_samples * raw.dwell)[listened].sum())
    voxel = abs(np.linalg.det(result.image.affine[:3, :3]))
    return float(np.mean(steady * np.abs(white.proton_density) * heard) * voxel * np.sqrt(seconds))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--only", help="one of the protocols")
    ask.add_argument("--whole", action="store_true", help="as in the library")
    asked = ask.parse_args()
    subject = lb.load_subject("head")
    for name, order in ORDER.items():
        if asked.only not in (None, name):
            continue
        protocol = lb.load_protocol(name)
        if not asked.whole:
            protocol = replace(protocol, **SMALLER.get(name, {}))
        for field in ("5T", "3T") if name == "brain/t1-gre" else ("5T",):
            result = lb.scan(protocol, lb.load_scanner(field), subject, measure_error=False)
            found = means(result.image, subject)
            parts = ", ".join(f"{tissue} {value / found['WM']:.2f}" for tissue, value in found.items())
            right = all(found[a] > found[b] for a, b in pairwise(order))
            print(
                f"{name} at {field}: {parts}; expected {' > '.join(order)}: {'yes' if right else 'NO'}; "
                f"SNR of white matter {snr(result.raw, result.image, subject):.1f}"
                + (f", promised {promised(result, subject):.1f}" if name == "brain/t1-gre" else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
