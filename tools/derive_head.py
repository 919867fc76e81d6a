"""Derive the labelled head that Lauterbur ships from the Colin27 T1 volume (Debian package mricron-data, file ch2).

    python tools/derive_head.py --source ch2.nii.gz            # writes src/lauterbur/subject/data/head.npy.xz
    python tools/derive_head.py --source ch2.nii.gz --check    # does it give the file that is there?

Intensities and morphology only, no learned or foreign labels: brain by threshold, erosion and regrowth; the space
inside the skull by closing it; bone and air where it is dark outside; fat where it is bright; what lies between two
tissues' intensities becomes a partial volume of both. The landmarks below are for this one volume, in its own grid.

    array (z, y, x), index + 1 mm: x to the left, y to the back, z to the head

What is not in the data is said here: Colin27 ends at the foramen magnum's level below (neck, jaw), at the nose tip in
front and at the rims of the ears; bone and air are both dark in it, so sinuses, mastoid cells and nasal passages are told
from bone by depth and landmark; a diploe is assumed in the middle of thick skull; the lenses are placed by geometry.
"""

from __future__ import annotations

import argparse
import lzma
import os
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lauterbur.subject.head import LEVELS, TISSUES

Mask = NDArray[np.bool_]
Volume = NDArray[np.float32]

LABEL = {name: index for index, name in enumerate(TISSUES)}

# Mean intensities of this volume, read off its histogram; white matter after the bias correction
BONE, FLUID, GREY_LOW, GREY_HIGH, WHITE, MUSCLE, FAT = 20.0, 36.0, 78.0, 91.0, 108.0, 92.0, 150.0
MIDLINE = 90  # i_x of the midsagittal plane
CORD = (132, 91)  # i_y, i_x of the spinal cord
FORAMEN, CEREBELLUM_FLOOR = 12, 8  # i_z: below them only the spinal canal, or cerebellum behind it, is inside the skull
TEMPORAL_FLOOR = 21  # i_z below which nothing in front of the brain stem is brain

# (distance from the midline, i_y, i_z) of the centre, semi-axes mm, turn about z (front end towards the midline) rad,
# intensity from, to: ellipsoids around the deep nuclei, drawn by eye, in which intensity then decides
NUCLEI: dict[str, list[tuple]] = {
    "putamen": [((26, 89, 73), (9.5, 25, 15), 0.28, 86, 102.5)],
    "caudate": [((11, 74, 74), (8, 16, 15), 0.15, 78, 105), ((15, 90, 89), (4.5, 20, 8), 0.12, 78, 105)],
    "pallidum": [((18.5, 91, 70), (6.5, 13, 9), 0.5, 97, 112)],
    "thalamus": [((12, 107, 77), (13, 19, 11.5), 0.35, 86, 110.5)],
}
EYES = ((37, 22, 57), (37, 22, 123))  # i_z, i_y, i_x inside each vitreous body


def erode(mask: Mask, radius: float) -> Mask:
    return ndimage.distance_transform_edt(mask) > radius


def dilate(mask: Mask, radius: float) -> Mask:
    return ndimage.distance_transform_edt(~mask) <= radius


def opened(mask: Mask, radius: float) -> Mask:
    return dilate(erode(mask, radius), radius)


def closed(mask: Mask, radius: float) -> Mask:
    return erode(dilate(mask, radius), radius)


def largest(mask: Mask) -> Mask:
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def grown(seed: Mask, inside: Mask, steps: int) -> Mask:
    """The seed grown voxel by voxel, 6 and 18 neighbours in turn, through what is inside."""
    for step in range(steps):
        seed = ndimage.binary_dilation(seed, ndimage.generate_binary_structure(3, 1 + step % 2), mask=inside) | seed
    return seed


def ramp(value: Volume, low: float, high: float) -> Volume:
    return np.clip((value - low) / (high - low), 0, 1).astype(np.float32)


def coordinates(shape: tuple[int, ...]) -> tuple[NDArray, ...]:
    return np.ogrid[: shape[0], : shape[1], : shape[2]]


def load(path: Path) -> Volume:
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.ascontiguousarray(np.asarray(image.dataobj, np.float32).T[:, ::-1, ::-1])  # RAS to ours


def body_mask(volume: Volume) -> Mask:
    """The head without the faint fringe that averaging 27 scans left around it."""
    body = ndimage.binary_fill_holes(largest(volume > 0))
    return largest(opened(body & ~grown(~body, volume < 30, 6), 1.0))


def canal(shape: tuple[int, ...], radius: float) -> Mask:
    _, y, x = coordinates(shape)
    return (y - CORD[0]) ** 2 + (x - CORD[1]) ** 2 < radius**2


def brain_mask(volume: Volume) -> Mask:
    """Grey and white matter: eroded until it parts from the scalp, the largest part, regrown."""
    z, y, x = coordinates(volume.shape)
    core = largest(erode((volume > 62) & (volume < 135), 2.5))
    brain = dilate(core, 3.6) & (volume > 56) & (volume < 140)
    cerebellum = (z >= CEREBELLUM_FLOOR) & (y > 128) & (y < 164) & (abs(x - MIDLINE) < 46)
    brain &= (z >= FORAMEN) | cerebellum | canal(volume.shape, 9)
    brain &= (z >= TEMPORAL_FLOOR) | (y > 108)
    return largest(brain) | (cistern(volume.shape) & (volume > 60) & (z > 46))  # chiasm and pituitary stalk


def cranial_cavity(volume: Volume, brain: Mask) -> Mask:
    """All inside the inner table: the closed brain and the brighter-than-bone rim around it."""
    z, _, x = coordinates(volume.shape)
    hull = closed(brain, 12)
    cavity = (hull & (volume < 100) & ~((volume < 27) & ~erode(hull, 3))) | brain
    open_to = (volume > 28) & (volume < 92)
    vertex = (z > 95) & (abs(x - MIDLINE) < 35)
    cavity = grown(cavity, open_to & vertex, 9)
    cavity = grown(cavity, open_to & (z > 62) & dilate(hull, 3.5), 4)
    cavity = grown(cavity, open_to & dilate(hull, 1.5), 2)
    cavity = grown(cavity, (volume > 26) & (volume < 62) & (z < FORAMEN) & canal(volume.shape, 20), 12)
    cavity &= (z >= FORAMEN) | canal(volume.shape, 20) | dilate(brain, 2.5)
    cavity |= cistern(volume.shape) & (volume > 28) & (volume < 66)
    cavity = closed(largest(opened(cavity, 2.9)) | brain, 3)
    cavity &= ~middle_fossa(volume.shape) | dilate(brain, 1.6)  # the floor of the middle fossa is thin and blurred
    return ndimage.binary_fill_holes(cavity)


def middle_fossa(shape: tuple[int, ...]) -> Mask:
    z, y, x = coordinates(shape)
    return (z < 30) & (y < 105) & (abs(x - MIDLINE) > 20)


def cistern(shape: tuple[int, ...]) -> Mask:
    """Around the stalk of the pituitary, which no closing of the brain reaches."""
    z, y, x = coordinates(shape)
    return (z > 44) & (z < 56) & (y > 75) & (y < 101) & (abs(x - MIDLINE) < 16)


def even(volume: Volume, brain: Mask) -> Volume:
    """The volume with its white matter evened out over 15 mm."""
    core = erode((volume > 104) & brain, 1.9)
    weight = ndimage.gaussian_filter(core.astype(np.float32), 15) + np.float32(1e-4)
    peak = float(np.median(volume[core]))
    local = (ndimage.gaussian_filter(np.where(core, volume, 0), 15) + np.float32(1e-4) * peak) / weight
    return (volume * (peak / local)).astype(np.float32)


def nuclei(volume: Volume, brain: Mask) -> dict[str, Mask]:
    smooth = ndimage.gaussian_filter(volume, 0.6)
    z, y, x = coordinates(volume.shape)
    found: dict[str, Mask] = {}
    for name, ellipsoids in NUCLEI.items():
        whole = np.zeros(volume.shape, bool)
        for side in (-1, 1):
            part = np.zeros(volume.shape, bool)
            for (off, i_y, i_z), (a, b, c), turn, low, high in ellipsoids:
                across, along = side * (x - MIDLINE) - off, y - i_y
                u = across * np.cos(turn) - along * np.sin(turn)
                v = across * np.sin(turn) + along * np.cos(turn)
                inside = (u / a) ** 2 + (v / b) ** 2 + ((z - i_z) / c) ** 2 < 1
                part |= inside & (smooth > low) & (smooth < high) & brain
            for other in found.values():
                part &= ~other
            whole |= closed(largest(opened(part, 1.5)), 1.5)
        for other in found.values():
            whole &= ~other
        found[name] = whole
    return found


class Head:
    """Up to two tissues per voxel, the first and what it fills; the rest of the voxel is the second."""

    def __init__(self, shape: tuple[int, ...]):
        self.first, self.second = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        self.part = np.ones(shape, np.float32)
        self.free = np.ones(shape, bool)

    def put(self, where: Mask, first: str, part: Volume | float = 1.0, second: str = "air") -> None:
        """Fill what is still free."""
        where = where & self.free
        self.first[where], self.second[where] = LABEL[first], LABEL[second]
        self.part[where] = part if np.isscalar(part) else part[where]  # type: ignore[index]
        self.free &= ~where


def fill_brain(head: Head, volume: Volume, brain: Mask, cavity: Mask) -> None:
    flat = even(volume, brain)
    for name, mask in nuclei(flat, brain).items():
        inner = float(np.median(flat[mask]))
        border = mask & ~erode(mask, 1.0)
        bright = border & (flat > inner + 3)
        head.put(bright, name, 1 - ramp(flat, inner, WHITE + 4), "white matter")
        head.put(border & (flat < inner - 6), name, ramp(flat, FLUID, inner - 4), "cerebrospinal fluid")
        head.put(mask, name)
    low, high = ndimage.minimum_filter(flat, 3), ndimage.maximum_filter(flat, 3)
    lining = erode(cavity, 20) & (low < 56) & (high > 101) & (flat > FLUID)  # of the ventricles: no cortex there
    head.put(lining, "white matter", ramp(flat, FLUID + 2, WHITE - 4), "cerebrospinal fluid")
    head.put(brain & (flat > GREY_HIGH), "white matter", ramp(flat, GREY_HIGH, WHITE), "grey matter")
    z, y, x = coordinates(volume.shape)
    near = brain | (dilate(brain, 1.5) & cavity & (volume > FLUID + 5))
    fossa = cavity & middle_fossa(volume.shape)  # its thin floor is blurred into the temporal lobe: bone, not fluid
    head.put(fossa & near, "grey matter", ramp(flat, FLUID + 2, GREY_LOW), "cortical bone")
    head.put(fossa, "cortical bone")
    head.put(near, "grey matter", ramp(flat, FLUID + 2, GREY_LOW), "cerebrospinal fluid")
    edge = cavity & ~erode(cavity, 1.0)
    head.put(edge & (volume < 32), "cerebrospinal fluid", ramp(volume, BONE - 2, 34), "cortical bone")
    deep = erode(cavity, 8)
    head.put(
        deep & (volume > 44), "grey matter", ramp(volume, FLUID + 2, GREY_LOW), "cerebrospinal fluid"
    )  # vermis, plexus, septum
    sinus = (abs(x - MIDLINE) < 9) | ((z > 30) & (z < 62) & (y > 128))
    head.put(cavity & sinus & (volume > 50), "venous blood", ramp(volume, 44, 66), "cerebrospinal fluid")
    head.put(cavity & (volume > 64), "venous blood", ramp(volume, 50, 90), "cerebrospinal fluid")
    head.put(cavity, "cerebrospinal fluid")


def fill_eyes(head: Head, volume: Volume) -> None:
    z, y, x = coordinates(volume.shape)
    for i_z, i_y, i_x in EYES:
        distance = np.sqrt((z - i_z) ** 2 + (y - i_y) ** 2 + (x - i_x) ** 2)
        dark = largest((volume > 20) & (volume < 62) & (distance < 15))
        vitreous = closed(largest(opened(dark, 3)), 4)
        centre = np.array(ndimage.center_of_mass(vitreous))
        radius = float((3 * vitreous.sum() / 4 / np.pi) ** (1 / 3))
        away = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
        lens = ((z - centre[0]) / 4.5) ** 2 + ((y - centre[1] + radius - 3.0) / 2.2) ** 2 + ((x - centre[2]) / 4.5) ** 2
        print(f"eye at {centre.round(1)}, radius {radius:.1f} mm")
        head.put(lens < 1, "lens")
        head.put(vitreous, "vitreous")
        head.put(dilate(vitreous, 1.0) & (away < radius + 4), "sclera")


def air_spaces(volume: Volume, body: Mask, cavity: Mask) -> Mask:
    """Sinuses, mastoid cells, nose and throat: dark and deep, or dark in the nasal box; a bony wall is left around them."""
    z, y, x = coordinates(volume.shape)
    dark = body & ~cavity & (volume < 26)
    off = abs(x - MIDLINE)
    face = (y < 95) & (z < 66) & ((off < 60) & ~((z > 42) & (off > 42)))
    mastoid = (z < 52) & (y > 95) & (y < 165) & (off > 38)
    depth = ndimage.distance_transform_edt(dark & ~dilate(cavity, 1.5))
    air = dilate((depth > 2.4) & (volume < 17) & (face | mastoid), 2.4) & dark & (depth > 1.0)
    return (air | (nasal_box(volume.shape) & dark & ((volume < 20) | (y < 80)))) & ~dilate(cavity, 1.2)


def nasal_box(shape: tuple[int, ...]) -> Mask:
    z, y, x = coordinates(shape)
    return (abs(x - MIDLINE) < 16 - 0.1 * z) & (y < 80 + 10 * (z < 24)) & (y > 8 + 0.25 * z) & (z < 46)


def enclosed(volume: Volume, reach: int) -> NDArray[np.uint8]:
    """Of 14 directions, in how many does a ray meet something dark within reach voxels?"""
    count = np.zeros(volume.shape, np.uint8)
    dark = volume < 34
    directions = [d for d in np.ndindex(3, 3, 3) if sum(abs(i - 1) for i in d) in (1, 3)]
    for direction in directions:
        step = [i - 1 for i in direction]
        hit, moved = np.zeros(volume.shape, bool), dark
        for _ in range(reach):
            moved = ndimage.shift(moved, step, order=0, mode="constant", cval=0, prefilter=False)
            hit |= moved
        count += hit
    return count


def fill_outside(head: Head, volume: Volume, body: Mask, cavity: Mask) -> None:
    z, y, x = coordinates(volume.shape)
    depth = ndimage.distance_transform_edt(body)
    air = air_spaces(volume, body, cavity)
    head.put(~body | (air & (volume < 18)), "air")
    nose = nasal_box(volume.shape) & (depth > 4)
    head.put(air & nose, "mucosa", ramp(volume, 16, 60), "air")
    head.put(air, "cortical bone", ramp(volume, 14, 28), "air")

    # skull: everything within 1.5 mm of the cavity, and the dark; the middle of thick bone is taken for marrow
    shell = dilate(cavity, 1.5) & ((z >= FORAMEN) | ~canal(volume.shape, 22)) & (depth > 3)
    soft = (volume > 46) & body & ~cavity & ~shell
    scalp = grown(largest(erode(soft, 1.0)), soft, 2)
    low, high = ndimage.minimum_filter(volume, 3), ndimage.maximum_filter(volume, 3)
    dark = (volume < 44) & body & (depth > 3.2)
    bone = (dark | shell | (body & ~scalp & ~soft & (depth > 3.2))) & ~cavity & ~air
    skull = bone | (soft & ~scalp)
    thick = np.minimum(ndimage.distance_transform_edt(skull | cavity), ndimage.distance_transform_edt(~cavity))
    diploe = skull & (thick > 1.9) & (depth > 3)
    vault = (z > 50) | ((y > 150) & (z > 24))
    head.put(
        diploe & vault & (thick > 2.3),
        "cancellous bone",
        np.maximum(ramp(volume, 26, 62), np.float32(0.6)),
        "cortical bone",
    )
    head.put(diploe & (volume > 32), "cancellous bone", ramp(volume, 26, 80), "cortical bone")
    head.put(shell & (volume < 60), "cortical bone")
    head.put(shell, "cortical bone", 0.6, "cancellous bone")
    sella = (abs(x - MIDLINE) < 11) & (y > 76) & (y < 98) & (z > 36) & (z < 48)
    head.put(sella & (volume > 62), "grey matter", ramp(volume, BONE, 70), "cortical bone")  # the pituitary gland
    clivus = (((x - MIDLINE) / 18) ** 2 + ((y - 95) / 20) ** 2 + ((z - 31) / 18) ** 2 < 1) & ~cavity
    head.put(clivus & (volume > 36), "cancellous bone", ramp(volume, 22, 75), "cortical bone")
    marrow = (z < 60) & (volume > 44) & ~nose & (depth > 6) & (enclosed(volume, 8) >= 12)
    head.put(opened(marrow, 1.0), "cancellous bone", ramp(volume, 26, 85), "cortical bone")

    head.put(nose & (volume > 26) & dilate(air & nose, 5), "mucosa", ramp(volume, 12, 60), "air")
    rim = (low < 40) & (high > 115) & (depth > 3) & (volume < 0.85 * high)
    head.put(rim, "fat", np.clip((volume - low) / np.maximum(high - low, 1), 0, 1), "cortical bone")
    head.put(dark, "muscle", ramp(volume, BONE + 6, 62), "cortical bone")
    head.put(depth <= 1, "skin", ramp(volume, 8, 56), "air")
    head.put(depth <= 3, "skin", 1 - ramp(volume, 110, 170), "fat")
    head.put((depth <= 7) & body & (volume > 60) & (z > 12), "fat", ramp(volume, 62, 130), "skin")
    head.put((depth <= 4) & body, "skin")
    head.put(body & (volume > MUSCLE), "fat", ramp(volume, MUSCLE, FAT), "muscle")
    head.put(body, "muscle", ramp(volume, BONE, 58), "cortical bone")


def derive(volume: Volume) -> NDArray[np.uint8]:
    """(3, z, y, x): first tissue, second tissue, fifteenths of the first."""
    body = body_mask(volume)
    brain = brain_mask(volume)
    cavity = cranial_cavity(volume, brain)
    head = Head(volume.shape)
    fill_brain(head, volume, brain, cavity)
    fill_eyes(head, volume)
    fill_outside(head, volume, body, cavity)

    part = np.rint(head.part * LEVELS).astype(np.uint8)
    swap = 2 * part < LEVELS  # the larger part first, so that labels alone are a picture
    first, second = np.where(swap, head.second, head.first), np.where(swap, head.first, head.second)
    part = np.where(swap, LEVELS - part, part)
    second = np.where((part == LEVELS) | (first == second), first, second)
    part = np.where(first == second, LEVELS, part)
    return np.stack([first, second, part]).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--source", type=Path, required=True, help="Colin27 T1, 1 mm, 181 x 217 x 181")
    parser.add_argument("--out", type=Path, default=Path("src/lauterbur/subject/data/head.npy.xz"))
    parser.add_argument("--check", action="store_true", help="compare with --out instead of writing it")
    options = parser.parse_args()
    head = derive(load(options.source))
    if options.check:
        with lzma.open(options.out, "rb") as stream:
            shipped = np.load(stream, allow_pickle=False)  # type: ignore[arg-type]
        differing = int(np.any(head != shipped, axis=0).sum())
        raise SystemExit(f"{differing} voxels differ from {options.out}" if differing else 0)
    partial = options.out.with_suffix(".partial")
    with lzma.open(partial, "wb", preset=9) as stream:
        np.save(stream, head)  # type: ignore[arg-type]
    os.replace(partial, options.out)
    counts = np.bincount(head[0].ravel(), minlength=len(TISSUES))
    print("\n".join(f"{name:20s} {count / 1000:9.1f} ml" for name, count in zip(TISSUES, counts, strict=True)))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
