"""Centrelines of the circle of Willis in the head that comes with Lauterbur: python tools/derive_vessels.py > src/lauterbur/subject/data/vessels.toml

Between a few points placed by hand on the head's cisterns (MNI coordinates, mm: right, front, head; by eye, from the usual
course of each artery), the way through most cerebrospinal fluid is sought and smoothed. Nothing is measured from
Colin27's own arteries.
"""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
from scipy.interpolate import splev, splprep
from scipy.ndimage import gaussian_filter

from lauterbur.subject.anatomy import tissue_fraction
from lauterbur.subject.library import load_subject

# name: first and last lumen diameter and wall thickness, mm; way points on the right (mirrored for the left)
PAIRED = {
    "internal carotid": (4.6, 3.6, 0.6, [(15, -4, -37), (15, 3, -32), (13, 7, -27), (13, 5, -22), (15, 5, -18)]),
    "middle cerebral M1": (3.1, 2.7, 0.5, [(15, 5, -18), (24, 8, -17), (35, 11, -18)]),
    "middle cerebral M2 superior": (2.4, 1.8, 0.4, [(35, 11, -18), (41, 14, -10), (42, 14, 0)]),
    "middle cerebral M2 inferior": (2.4, 1.8, 0.4, [(35, 11, -18), (40, 4, -12), (45, -6, 0)]),
    "anterior cerebral A1": (2.4, 2.2, 0.4, [(15, 5, -18), (8, 9, -16), (3, 13, -16)]),
    "anterior cerebral A2": (2.2, 1.8, 0.4, [(3, 13, -16), (3, 20, -13), (3, 30, -8), (3, 38, 2)]),
    "posterior communicating": (1.4, 1.3, 0.35, [(13, 4, -20), (12, -3, -21), (10, -11, -20)]),
    "posterior cerebral P1": (2.2, 2.1, 0.4, [(0, -9, -21), (5, -10, -20), (10, -11, -20)]),
    "posterior cerebral P2": (2.1, 1.7, 0.4, [(10, -11, -20), (18, -17, -18), (21, -25, -14), (17, -33, -12)]),
    "superior cerebellar": (1.5, 1.2, 0.35, [(0, -7, -25), (10, -10, -26), (18, -18, -26), (21, -26, -24)]),
    "vertebral": (3.0, 2.8, 0.5, [(10, -27, -69), (7, -24, -60), (0, -20, -50)]),
}
SINGLE = {
    "basilar": (3.6, 3.1, 0.6, [(0, -20, -50), (0, -11, -42), (0, -8, -34), (0, -7, -26), (0, -9, -21)]),
    "anterior communicating": (1.5, 1.5, 0.35, [(3, 13, -16), (-3, 13, -16)]),
}
STEP = 3.0  # mm, between the points written
HEADER = """# Centrelines of the circle of Willis and its main branches, made by tools/derive_vessels.py for the subject "head".
# points_mm: patient coordinates (left, back, head) from the isocentre; diameter_mm of the lumen at both ends; wall_mm thickness.
#
# Mean lumen diameters: basilar 3.6 to 3.1, vertebral 2.8 where they meet, P1 2.2 (Rai et al., J NeuroIntervent Surg 2013, 5:597);
# internal carotid 3.6 at its end, M1 3.1, M2 2.4 (Rai et al., the same journal, anterior circulation; read as quoted elsewhere).
# A1, A2, P2, communicating and superior cerebellar arteries: usual anatomical ranges (unconfirmed). The walls, 0.35 to
# 0.6, as histology and 7 T have them (unconfirmed).
"""


def way(cost: np.ndarray, start: tuple, end: tuple) -> list[tuple[int, ...]]:
    """The cheapest path over 26 neighbours (Dijkstra 1959)."""
    steps = [s for s in np.ndindex(3, 3, 3) if s != (1, 1, 1)]
    best, before, queue = {start: 0.0}, {}, [(0.0, start)]
    while queue:
        value, here = heapq.heappop(queue)
        if here == end:
            break
        if value > best[here]:
            continue
        for s in steps:
            there = (here[0] + s[0] - 1, here[1] + s[1] - 1, here[2] + s[2] - 1)
            length = np.sqrt((s[0] - 1) ** 2 + (s[1] - 1) ** 2 + (s[2] - 1) ** 2)
            new = value + length * (cost[here] + cost[there]) / 2
            if new < best.get(there, np.inf):
                best[there], before[there] = new, here
                heapq.heappush(queue, (new, there))
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1]


def main() -> None:
    head = load_subject("head")
    fluid = gaussian_filter(tissue_fraction(head, "cerebrospinal fluid"), 0.7)
    hard = sum(tissue_fraction(head, name) for name in ("cortical bone", "cancellous bone", "air"))
    cost = 1 / (0.05 + fluid) + 40 * gaussian_filter(hard, 1.0)
    origin = head.affine[:3, 3] * 1e3
    x = np.arange(cost.shape[2]) + origin[0]

    print(HEADER)
    listed = [(name, 0, entry) for name, entry in SINGLE.items()]
    listed += [
        (f"{side} {name}", sign, entry) for name, entry in PAIRED.items() for side, sign in (("right", 1), ("left", -1))
    ]
    ends: dict[tuple, np.ndarray] = {}
    for name, sign, (first, last, wall, points) in listed:
        sided = cost + (np.where(-x * sign < 1.5, 30.0, 0.0) if "A2" in name else 0.0)
        marks = [
            tuple(int(v) for v in (p[2] - origin[2], -p[1] - origin[1], -p[0] * (sign or 1) - origin[0]))
            for p in points
        ]
        path = [marks[0]]
        for a, b in pairwise(marks):
            path += way(sided, a, b)[1:]
        line = np.array(path)[:, ::-1] + origin
        weight = np.ones(len(line))
        weight[[0, -1]] = 50
        curve, _ = splprep(line.T, w=weight, s=0.35 * len(line), k=min(3, len(line) - 1))
        fine = np.array(splev(np.linspace(0, 1, 400), curve)).T
        for end, place in ((0, marks[0]), (-1, marks[-1])):  # where vessels meet they share a point
            fine[end] = ends.setdefault(place, fine[end])
        length = np.linalg.norm(np.diff(fine, axis=0), axis=1).sum()
        n = max(3, round(length / STEP) + 1)
        kept = fine[np.round(np.linspace(0, len(fine) - 1, n)).astype(int)]
        print(f'[vessel."{name}"]\ndiameter_mm = [{first}, {last}]\nwall_mm = {wall}')
        print("points_mm = [" + ", ".join(f"[{p[0]:.1f}, {p[1]:.1f}, {p[2]:.1f}]" for p in kept) + "]\n")


if __name__ == "__main__":
    main()
