"""Three planes of a volume, as a radiologist looks at it: patient's right on the left, front up, head up.

axial (from below)      coronal (from the front)      sagittal (from the left)
      A                        H                            H
   R     L                  R     L                      A     P
      P                        F                            F
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from lauterbur.study.figures import add_axes, new_figure

_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))  # at the low and high end of x, y, z


def to_patient_axes(volume: NDArray, affine: NDArray[np.float64]) -> tuple[NDArray, NDArray[np.float64]]:
    """The volume with its axes turned and flipped to z, y, x as near as they go, and its voxel sizes (x, y, z) in m."""
    direction = affine[:3, :3].copy()
    size = np.linalg.norm(direction, axis=0)
    order, left = [0, 0, 0], [0, 1, 2]
    for patient in np.argsort(-np.max(np.abs(direction / size), axis=1)):  # the clearest axis chooses first
        i = max(left, key=lambda j: abs(direction[patient, j]) / size[j])
        order[patient] = i
        left.remove(i)
    turned = volume.transpose(*(2 - order[axis] for axis in (2, 1, 0)))
    for patient in range(3):
        if direction[patient, order[patient]] < 0:
            turned = np.flip(turned, 2 - patient)
    return turned, size[order]


def planes_figure(
    volume: NDArray, affine: NDArray[np.float64], *, title: str = "", names: tuple[str, ...] | None = None
) -> Figure:
    """Three planes through the middle of what the volume holds; `names` where voxels are labels and not brightness."""
    turned, size = to_patient_axes(volume, affine)
    n_thin = int(np.argmin(turned.shape))
    if min(turned.shape) < 24 and min(turned.shape) * 4 < max(turned.shape):
        return _slices_figure(turned, size, 2 - n_thin, title)
    z, y, x = _centre(turned)
    views = (
        ("axial", turned[z], size[1] / size[0], (0, 1), False),
        ("coronal", turned[:, y], size[2] / size[0], (0, 2), True),
        ("sagittal", turned[:, :, x], size[2] / size[1], (1, 2), True),
    )
    extent = np.array(turned.shape[::-1]) * size
    widths = [extent[0], extent[0], extent[1]]
    figure = new_figure(11, 11 * max(extent[1], extent[2]) / sum(widths) + 0.35, is_dark=True)
    axes = add_axes(figure, 1, 3, width_ratios=widths)
    low, high = window(turned)
    for panel, (view, pixels, aspect, sides, is_upright) in zip(axes, views, strict=True):
        if names is None:
            panel.imshow(
                pixels, cmap="gray", vmin=low, vmax=high, aspect=aspect, origin="lower" if is_upright else "upper"
            )
        else:
            panel.imshow(
                pixels, cmap=_label_colours(len(names)), vmin=-0.5, vmax=max(len(names), 2) - 0.5,
                aspect=aspect, origin="lower" if is_upright else "upper",
            )  # fmt: skip
        _mark(panel, view, sides)
    if title:
        figure.suptitle(title, color="#d7dbe0", fontsize=9)
    if names is not None:
        colours = _label_colours(len(names))
        handles = [
            figure.axes[0].scatter([], [], marker="s", s=30, color=colours(i), label=name)
            for i, name in enumerate(names)
        ]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(8, len(names)), frameon=False,
            labelcolor="#d7dbe0", fontsize=7,
        )  # fmt: skip
    return figure


def window(pixels: NDArray) -> tuple[float, float]:
    """Black and white of the display: zero, and what a few percent of the object, near the receivers, exceed."""
    step = max(1, round((pixels.size / 500_000) ** (1 / pixels.ndim)))
    some = pixels[(slice(None, None, step),) * pixels.ndim]
    bright = some[np.isfinite(some) & (some > 0)]
    if not bright.size:
        return 0.0, 1.0
    return 0.0, float(np.percentile(bright[bright > np.percentile(bright, 50) * 0.2], 97)) or 1.0


def _centre(volume: NDArray) -> list[int]:
    """(z, y, x) of the middle of the bright part."""
    mass = np.abs(volume) > 0.15 * window(volume)[1]
    if not mass.any():
        return [n // 2 for n in volume.shape]
    centre = []
    for axis in range(3):
        inside = np.flatnonzero(mass.sum(axis=tuple({0, 1, 2} - {axis})) > 0.02 * mass.sum() / mass.shape[axis])
        centre.append(int((inside[0] + inside[-1]) // 2))
    return centre


def _mark(panel: Axes, view: str, sides: tuple[int, int]) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)
    panel.set_facecolor("black")
    outline = [withStroke(linewidth=2, foreground="black")]
    style = {"color": "#f0c674", "fontsize": 8, "transform": panel.transAxes, "path_effects": outline}
    (left, right), vertical = _LETTERS[sides[0]], _LETTERS[sides[1]]
    top, bottom = (vertical[0], vertical[1]) if sides[1] == 1 else (vertical[1], vertical[0])
    panel.text(0.015, 0.5, left, va="center", ha="left", **style)  # type: ignore[arg-type]
    panel.text(0.985, 0.5, right, va="center", ha="right", **style)  # type: ignore[arg-type]
    panel.text(0.5, 0.985, top, va="top", ha="center", **style)  # type: ignore[arg-type]
    panel.text(0.5, 0.015, bottom, va="bottom", ha="center", **style)  # type: ignore[arg-type]
    panel.text(0.015, 0.985, view, va="top", ha="left", **{**style, "color": "#8a8f98"})  # type: ignore[arg-type]


def _slices_figure(turned: NDArray, size: NDArray[np.float64], thin: int, title: str) -> Figure:
    """A stack of few slices: the slices themselves, at most twelve. `thin` is the patient axis across them."""
    stack = np.moveaxis(turned, 2 - thin, 0)
    sides = {2: (0, 1), 1: (0, 2), 0: (1, 2)}[thin]
    chosen = np.unique(np.linspace(0, len(stack) - 1, min(12, len(stack))).round().astype(int))
    columns = min(len(chosen), 6)
    rows = -(-len(chosen) // columns)
    ratio = stack.shape[1] * size[sides[1]] / (stack.shape[2] * size[sides[0]])
    width = min(11, 4.5 * columns)
    figure = new_figure(width, width / columns * ratio * rows + 0.35, is_dark=True)
    axes = add_axes(figure, rows, columns)
    low, high = window(stack)
    for panel in axes:
        panel.set_axis_off()
    for panel, i in zip(axes, chosen, strict=False):
        panel.set_axis_on()
        panel.imshow(
            stack[i], cmap="gray", vmin=low, vmax=high, aspect=size[sides[1]] / size[sides[0]],
            origin="upper" if sides[1] == 1 else "lower",
        )  # fmt: skip
        _mark(panel, f"slice {i + 1}", sides)
    if title:
        figure.suptitle(title, color="#d7dbe0", fontsize=9)
    return figure


def _label_colours(n: int) -> ListedColormap:
    wheel = [
        "#000000",
        "#4c78a8",
        "#f58518",
        "#54a24b",
        "#e45756",
        "#72b7b2",
        "#eeca3b",
        "#b279a2",
        "#ff9da6",
        "#9d755d",
    ]
    wheel += [
        "#bab0ac",
        "#8cd17d",
        "#499894",
        "#d37295",
        "#a0cbe8",
        "#ffbe7d",
        "#86bcb6",
        "#d4a6c8",
        "#f1ce63",
        "#79706e",
    ]
    return ListedColormap([wheel[i % len(wheel)] if i else wheel[0] for i in range(max(n, 2))])
