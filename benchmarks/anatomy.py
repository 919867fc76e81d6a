"""Volumes and places of the torso's organs beside those of reference people, the Visible Human's surfaces, and a segmented chest.

    python benchmarks/anatomy.py                                    # beside ICRP Publication 89
    python benchmarks/anatomy.py --data DATA --picture torso.png    # and beside DATA/anatomy; three planes of the labels

Reference masses: ICRP Publication 89 (2002), as printed in J Nucl Med (table "Reference Masses for Organs of Adults") and in
Turner, Atoms, Radiation, and Radiation Protection, table 16.1. The Visible Human's organ surfaces (CC BY 4.0, Human Reference
Atlas) come in metres with y up and z to the front; a surface is filled voxel by voxel, since the meshes are not closed.
HS1, a segmented head and upper chest, has no organs of the trunk: its cross-sections are compared.
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from pathlib import Path

import numpy as np
from scipy import io, ndimage

from lauterbur.subject.anatomy import Subject, tissue_fraction, voxel_volume
from lauterbur.subject.torso.build import torso
from lauterbur.units import mm

# g of the reference man and woman: ICRP Publication 89
ICRP = {
    "lungs": (1200, 950), "heart with blood": (840, 620), "heart muscle": (330, 250), "liver": (1800, 1400), "spleen": (150, 130),
    "pancreas": (140, 120), "kidneys": (310, 275), "stomach with contents": (400, 370),
    "bowel with contents": (1000 + 670, 880 + 680), "bladder wall": (50, 40), "skin (whole body)": (3300, 2300),
    "fat (whole body)": (18200, 22500), "muscle (whole body)": (29000, 17500), "skeleton (whole body)": (10500, 7800),
}  # fmt: skip
TISSUES = {
    "lungs": ("lung",), "heart muscle": ("myocardium",), "liver": ("liver",), "spleen": ("spleen",), "pancreas": ("pancreas",),
    "kidneys": ("kidney cortex", "kidney medulla"), "stomach with contents": ("stomach", "stomach contents"),
    "bowel with contents": ("small intestine", "colon", "bowel contents"), "bladder wall": ("bladder",), "skin (whole body)": ("skin",),
    "fat (whole body)": ("fat",), "muscle (whole body)": ("muscle",),
    "skeleton (whole body)": ("cortical bone", "cancellous bone", "marrow", "cartilage"),
}  # fmt: skip
# our organ -> files of the Visible Human
SURFACES = {
    "liver": ("VH_M_Liver.glb",), "spleen": ("VH_M_Spleen.glb",), "pancreas": ("VH_M_Pancreas.glb",),
    "kidneys": ("VH_M_Kidney_L.glb", "VH_M_Kidney_R.glb"), "heart": ("VH_M_Heart.glb",),
    "small intestine": ("VH_M_Small_Intestine.glb",), "bladder": ("VH_M_Urinary_Bladder.glb",),
}  # fmt: skip
ORIGIN = 0.400  # m: height in the Visible Human's frame of our xiphoid
HEIGHT_OF_THE_VISIBLE_HUMAN = 1.83  # m: of its skin surface, top to toe


def read_glb(path: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, points m in our axes, triangles) of every mesh of a binary glTF file (Khronos, glTF 2.0)."""
    raw = path.read_bytes()
    size = struct.unpack_from("<I", raw, 12)[0]
    content, blob = json.loads(raw[20 : 20 + size]), raw[28 + size :]

    def values(index: int) -> np.ndarray:
        accessor = content["accessors"][index]
        view = content["bufferViews"][accessor["bufferView"]]
        kind = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3}[accessor["type"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        step = view.get("byteStride", np.dtype(kind).itemsize * width)
        rows = np.ndarray((accessor["count"], width), kind, blob, start, (step, np.dtype(kind).itemsize))
        return rows.copy()

    found = []

    def walk(index: int, above: np.ndarray) -> None:
        node = content["nodes"][index]
        here = above @ _matrix(node)
        for part in content["meshes"][node["mesh"]]["primitives"] if "mesh" in node else ():
            points = values(part["attributes"]["POSITION"]) @ here[:3, :3].T + here[:3, 3]
            ours = np.stack([points[:, 0], -points[:, 2], points[:, 1] - ORIGIN], axis=1)
            found.append((node.get("name", ""), ours, values(part["indices"]).reshape(-1, 3).astype(int)))
        for child in node.get("children", ()):
            walk(child, here)

    for root in content["scenes"][content.get("scene", 0)]["nodes"]:
        walk(root, np.eye(4))
    return found


def _matrix(node: dict) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"]).reshape(4, 4).T
    made = np.eye(4)
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    made[:3, :3] = np.array(turn) * np.array(node.get("scale", (1, 1, 1)))
    made[:3, 3] = node.get("translation", (0, 0, 0))
    return made


def filled(meshes: list[tuple[str, np.ndarray, np.ndarray]], step: float = 2 * mm) -> tuple[float, np.ndarray]:
    """Litres and centre (m) of what the surfaces enclose: triangles sampled onto voxels, closed, filled."""
    points = np.concatenate([_samples(p, t, step / 2) for _, p, t in meshes])
    low = points.min(axis=0) - 5 * step
    index = np.round((points - low) / step).astype(int)
    grid = np.zeros(index.max(axis=0) + 6, bool)
    grid[tuple(index.T)] = True
    shell = ndimage.binary_closing(grid, iterations=2)
    whole = ndimage.binary_fill_holes(shell)
    inner = ndimage.binary_erosion(whole)  # the shell is a voxel thick: half of it lies outside
    volume = (whole.sum() + inner.sum()) / 2 * step**3
    return volume * 1e3, np.argwhere(whole).mean(axis=0) * step + low


def _samples(points: np.ndarray, triangles: np.ndarray, step: float) -> np.ndarray:
    a, b, c = (points[triangles[:, i]] for i in range(3))
    longest = np.max(
        [np.linalg.norm(b - a, axis=1), np.linalg.norm(c - b, axis=1), np.linalg.norm(a - c, axis=1)], axis=0
    )
    found = []
    n = np.minimum(np.ceil(longest / step).astype(int), 60) + 1
    for count in np.unique(n):
        mine = n == count
        u, v = (g.ravel() / count for g in np.meshgrid(np.arange(count + 1), np.arange(count + 1)))
        inside = u + v <= 1 + 1e-9
        u, v = u[inside, None, None], v[inside, None, None]
        found.append((a[mine] + u * (b - a)[mine] + v * (c - a)[mine]).reshape(-1, 3))
    return np.concatenate(found)


def litres(subject: Subject, names: tuple[str, ...]) -> tuple[float, float, np.ndarray]:
    """Litres, kg and centre (m)."""
    share = {name: tissue_fraction(subject, name) for name in names}
    density = {tissue.name: tissue.density for tissue in subject.tissues}
    total = sum(share.values())
    cell = voxel_volume(subject)
    place = [
        float(np.average(np.arange(n), weights=total.sum(axis=tuple(a for a in range(3) if a != axis))))
        for axis, n in enumerate(total.shape)
    ]  # type: ignore[union-attr]
    mass = sum(float(part.sum(dtype=float)) * cell * density[name] for name, part in share.items())
    return float(total.sum(dtype=float)) * cell * 1e3, mass, (subject.affine @ [*place[::-1], 1])[:3]  # type: ignore[union-attr]


def heart(subject: Subject) -> tuple[float, float, np.ndarray]:
    from lauterbur.subject.targets import target_mask

    mask = target_mask(subject, "heart")
    volume = mask.sum() * voxel_volume(subject)
    return volume * 1e3, volume * 1055, (subject.affine @ [*np.argwhere(mask).mean(axis=0)[::-1], 1])[:3]


def beside_icrp(subject: Subject, who: int) -> None:
    print(f"{'':24}{'ours':>8}{'ICRP 89':>9}{'ratio':>7}   centre x, y, z mm")
    for name, reference in ICRP.items():
        volume, mass, centre = heart(subject) if name == "heart with blood" else litres(subject, TISSUES[name])
        print(
            f"{name:24}{mass * 1e3:7.0f} g{reference[who]:7.0f} g{mass * 1e3 / reference[who]:7.2f}   {np.round(centre / mm).astype(int)}   {volume * 1e3:.0f} ml"
        )


def beside_visible_human(folder: Path) -> None:
    subject = torso(sex="male", height=HEIGHT_OF_THE_VISIBLE_HUMAN, weight=90.0)
    print("\nBeside the Visible Human (male, 1.83 m, about 90 kg): ml, and the centre x, y, z in mm")
    notes = {"bladder": "his is empty", "small intestine": "ours: the wall alone", "heart": "his blood is drained"}
    names = TISSUES | {"bladder": ("bladder", "urine"), "small intestine": ("small intestine",)}
    for name, files in SURFACES.items():
        parts = [filled(read_glb(folder / "torso_visible_human" / file)) for file in files]
        theirs = sum(volume for volume, _ in parts)
        at = sum(volume * centre for volume, centre in parts) / theirs
        volume, _, centre = heart(subject) if name == "heart" else litres(subject, names[name])
        places = f"ours {np.round(centre / mm).astype(int)}  his {np.round(at / mm).astype(int)}"
        print(f"{name:16} ours {volume * 1e3:5.0f}  his {theirs * 1e3:5.0f}   {places}  {notes.get(name, '')}")


def beside_hs1(folder: Path) -> None:
    """Cross-sections of a medium woman's neck and upper chest, where her scan ends; arms included."""
    content = io.loadmat(folder / "HS1.mat")
    names = [str(np.ravel(key)[0]) for key in content["INDICES_key"].ravel()]
    names = [name.strip("[]'") for name in names]
    inside = content["INDICES"] != names.index("air") + 1
    cell = np.ravel(content["VOXEL_SIZE_IN_MM"])
    area = inside.sum(axis=(1, 2)) * cell[1] * cell[2] / 100  # cm2, from head to chest
    neck = int(np.argmin(area[100:170])) + 100
    ours = torso(sex="female", height=1.63, weight=60.0)
    sections = ours.fraction.sum(axis=(0, 2, 3), dtype=float) * (ours.affine[0, 0] * 100) ** 2
    z = (ours.affine[2, 3] + ours.affine[2, 2] * np.arange(len(sections))) / mm
    print("\nBeside HS1 (segmented MPRAGE of a medium woman), cross-sections in cm2:")
    print(f"neck, least    ours {sections[z > 200].min():6.0f}   hers {area[neck]:6.0f}")
    print(f"chest, largest ours {sections[(z > 60) & (z < 200)].max():6.0f}   hers {area[neck:].max():6.0f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path)
    options.add_argument("--picture", type=Path)
    chosen = options.parse_args()
    torso(spacing=10 * mm)  # kernels
    for who, (sex, height, weight) in enumerate((("male", 1.76, 73.0), ("female", 1.63, 60.0))):
        wall, cpu = time.perf_counter(), time.process_time()
        subject = torso(sex=sex, height=height, weight=weight)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"\n{sex}, {height} m, {weight} kg: {subject.labels.shape[1:]} voxels of 2.5 mm in {seconds[0]:.1f} s ({seconds[1]:.1f} s of CPU)"
        )
        beside_icrp(subject, who)
        if chosen.picture and who == 0:
            picture(subject, chosen.picture)
    out, full = torso(), torso(breathing=1.0)
    for name in ("lungs", "liver", "spleen", "kidneys", "heart muscle"):
        (a, _, p), (b, _, q) = litres(out, TISSUES[name]), litres(full, TISSUES[name])
        print(
            f"a breath moves the {name:14} by {np.round((q - p) / mm, 1)} mm and its volume from {a * 1e3:.0f} to {b * 1e3:.0f} ml"
        )
    if chosen.data:
        beside_visible_human(chosen.data / "anatomy")
        beside_hs1(chosen.data / "anatomy")


def picture(subject: Subject, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n = len(subject.tissues)
    colours = plt.get_cmap("nipy_spectral")(0.05 + 0.9 * (np.arange(n) * 11 % n) / n)[:, :3]  # neighbours apart
    colours[0] = 0
    shown = sum(
        colours[labels] * fraction[..., None] for labels, fraction in zip(subject.labels, subject.fraction, strict=True)
    )
    index = np.round(
        np.linalg.solve(
            subject.affine[:3, :3],
            np.array([[0, 0.0, 0.07], [0, -0.02, 0.0], [0.03, 0, -0.03]]).T - subject.affine[:3, 3:],
        )
    ).astype(int)
    _, axes = plt.subplots(1, 3, figsize=(15, 8))
    shown = np.clip(shown, 0, 1)
    axes[0].imshow(shown[index[2, 0]])
    axes[1].imshow(shown[::-1, index[1, 1]])
    axes[2].imshow(shown[::-1, :, index[0, 2]])
    for axis in axes:
        axis.axis("off")
    plt.savefig(file, dpi=80, bbox_inches="tight")


if __name__ == "__main__":
    main()
