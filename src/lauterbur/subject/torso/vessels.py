"""Great vessels as tubes of arterial and venous blood; the largest arteries have a wall."""

from __future__ import annotations

import numpy as np

from lauterbur.subject.torso.canvas import Canvas, paint_
from lauterbur.subject.torso.frame import Frame, drop
from lauterbur.subject.torso.heart import heart
from lauterbur.subject.torso.outline import arms
from lauterbur.subject.torso.shapes import Shape, grown, mirrored, rounded

AORTIC_WALL = 1.5  # mm


def vessels_(target: Canvas, frame: Frame) -> None:
    shift = drop(frame, "heart")
    h = heart(frame)
    base, follow = shift + 0.6 * h.base, 0.4 * shift

    def at(*points: tuple[float, float, float]) -> np.ndarray:
        return np.array(points, float)

    valve = at((4, -26, 96), (-2, -34, 120)) + [base, 0.6 * base]
    arch = np.concatenate([valve, at((-4, -34, 148), (4, -14, 168), (14, 16, 162), (17, 34, 138))])
    aorta = np.concatenate(
        [arch, at((16, 38, 90), (14, 36, 40), (10, 28, -10), (7, 16, -70), (4, 6, -130), (2, 4, -178))]
    )
    iliac = at((3, 4, -176), (24, 0, -215), (50, 10, -262), (62, -22, -318), (68, -52, -350), (72, -56, -460))
    neck = at((12, -14, 166), (20, -20, 205), (28, -16, 245), (32, -8, 300))
    arm = at((14, -10, 166), (30, -10, 205), (70, -34, 212), (120, -16, 192))
    lung = at((10, -26, 132), (40, -6, 124), (64, 2, 108)) + shift

    vein_neck = at((34, -24, 300), (32, -30, 245), (26, -38, 205), (-14, -26, 165))
    cava_low = np.concatenate([at((-24, -14, 70)) + shift, at((-26, -2, 30)) + follow, at(
        (-26, 2, -20), (-24, 2, -80), (-20, 2, -140), (-18, 8, -184))])  # fmt: skip
    cava_high = np.concatenate([at((-14, -26, 168), (-25, -24, 140)), at((-27, -26, 104)) + shift])
    iliac_vein = at((-12, 8, -182), (24, 8, -222), (48, 18, -266), (58, -14, -320), (60, -48, -352), (62, -52, -460))
    portal = at((2, -24, -80), (-20, -18, -64), (-38, -14, -46), (-62, -12, -34)) + drop(frame, "liver")
    hepatic = [at((-26, -2, 26), (-55, 6, 8), (-92, 16, -22)), at((-26, -4, 26), (-46, -26, 10), (-70, -48, -18)),
               at((-24, -6, 24), (-4, -30, 10), (16, -48, -2))]  # fmt: skip
    renal = at((8, 12, -92), (40, 20, -98), (54, 24, -100)) + [
        0 * shift,
        drop(frame, "kidneys") / 2,
        drop(frame, "kidneys"),
    ]

    veins = [
        rounded(vein_neck, (7, 7, 6.5, 7)), rounded(vein_neck * [-1, 1, 1], (7, 7, 7, 8)), rounded(cava_high, (9, 9.5, 10)),
        rounded(cava_low, (12, 11.5, 11, 10.5, 10, 9)), rounded(iliac_vein, (8, 7.5, 7, 6.5, 6, 5)),
        rounded(iliac_vein * [-1, 1, 1] + [-8, 0, 0], (8, 7.5, 7, 6.5, 6, 5)), rounded(portal, (6, 6.5, 6, 4)),
        *(rounded(path + drop(frame, "liver"), (5, 4.5, 3)) for path in hepatic),
        rounded(renal + [0, -7, 3], (4, 4, 4)), rounded(renal * [-1, 1, 1] + [0, -7, -9], (4, 4, 4)),
    ]  # fmt: skip
    arteries = [
        rounded(neck, (4, 3.6, 3.5, 3.5)), rounded(neck * [-1, 1, 1], (4, 3.6, 3.5, 3.5)),
        rounded(arm, (5, 4.5, 4.2, 3.8)), rounded(arm * [-1, 1, 1], (5, 4.5, 4.2, 3.8)),
        rounded(iliac, (6, 5.5, 5, 4.7, 4.5, 4.2)), rounded(iliac * [-1, 1, 1], (6, 5.5, 5, 4.7, 4.5, 4.2)),
        rounded(renal, 2.7), rounded(renal * [-1, 1, 1] + [0, 0, -12], 2.7),
        rounded(at((9, 22, -42), (8, -2, -46), (-22, -14, -50)), (3.5, 3.2, 2.5)),  # coeliac and hepatic
        rounded(at((8, 18, -52), (6, -6, -64), (2, -10, -130)), (3.5, 3.2, 2.5)),  # superior mesenteric
    ]  # fmt: skip
    for vein in veins:
        paint_(target, "venous blood", vein)
    trunk = np.concatenate([at((20, -58, 100)) + base, at((16, -44, 122)) + shift, lung[:1]])
    walled_(target, "venous blood", [rounded(trunk, (13, 13, 12)), rounded(lung, (10, 8, 5)),
                                     rounded(np.concatenate([lung[:1], lung[1:] * [-1, 1, 1] + [0, 0, -4]]), (10, 8, 5))])  # fmt: skip
    pulmonary = [at((12, 8, 98), (38, 8, 104), (62, 10, 110)), at((12, 10, 92), (38, 18, 82), (60, 26, 66))]
    for path in pulmonary:
        for side in (1, -1):
            paint_(target, "arterial blood", rounded(path * [side, 1, 1] + base, (6.5, 6, 4)))
    walled_(target, "arterial blood", [rounded(aorta, (14.5, 15, 14, 13, 12, 12, 11.5, 11, 10.5, 9.5, 8.5, 8))])
    for artery in arteries:
        paint_(target, "arterial blood", artery)
    if frame.arms:
        limb_vessels_(target, frame)


def walled_(target: Canvas, tissue: str, shapes: list[Shape]) -> None:
    for shape in shapes:
        paint_(target, "vessel wall", grown(shape, AORTIC_WALL))
    for shape in shapes:
        paint_(target, tissue, shape)


def limb_vessels_(target: Canvas, frame: Frame) -> None:
    _, path, radius = arms(frame)
    inner = path[1:10].copy()
    inner[:, 0] -= 0.42 * radius[1:10]
    start = np.array([[120.0, -16, 192]])
    for tissue, size, aside in (("arterial blood", 2.6, 0.0), ("venous blood", 3.2, 8.0)):
        vessel = rounded(np.concatenate([start, inner]) + [0, aside, 0], size)
        paint_(target, tissue, vessel)
        paint_(target, tissue, mirrored(vessel))
