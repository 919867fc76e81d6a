"""What a prescan found, as maps and pictures: transmit field, heat, and both for several scanners side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lauterbur.program import Program
from lauterbur.safety.heating import sar_map
from lauterbur.safety.pulses import pulses
from lauterbur.shim.planned import Prescan
from lauterbur.shim.target import body, transmit_affine
from lauterbur.study.figures import add_axes, new_figure
from lauterbur.study.planes import to_patient_axes
from lauterbur.units import GAMMA_BAR

VIEWS = ("axial", "coronal", "sagittal")


def relative_b1(prescan: Prescan) -> NDArray[np.float32]:
    """|B1+| over nominal, (z, y, x) on the transmit grid; NaN outside the body. Of slice-wise weights those of the middle one."""
    weights = np.atleast_2d(prescan.shim.weights)
    field = np.tensordot(weights[len(weights) // 2], prescan.fields.b1_plus, axes=1)
    size = np.abs(field) * GAMMA_BAR * prescan.shim.reference_drive
    return np.where(body(prescan.fields), size, np.nan).astype(np.float32)


def heat(prescan: Prescan, program: Program) -> NDArray[np.float32]:
    """W/kg, (z, y, x) on the transmit grid: 10 g SAR, mean over the program, safety factor included; NaN outside the body.

    The channel weights are those of most pulses; a composite excitation counts with the static weights it started from.
    """
    played = pulses(program)
    power = float(played.energy.sum()) / max(float(program.durations.sum()), 1e-9)  # Hz2
    weights = np.atleast_2d(prescan.shim.weights)
    drive = weights[len(weights) // 2] * prescan.shim.reference_drive * np.sqrt(power)
    found = sar_map(prescan.fields, drive) * np.float32(prescan.sar.safety_factor)
    return np.where(body(prescan.fields), found, np.nan).astype(np.float32)


def transmit_figure(prescan: Prescan, program: Program) -> Figure:
    """Three planes of |B1+| and of 10 g SAR."""
    affine = transmit_affine(prescan.fields)
    maps = (
        ("|B1+| / nominal", relative_b1(prescan), "viridis", (0.0, 2.0)),
        ("10 g SAR, W/kg", heat(prescan, program), "inferno", None),
    )
    figure = new_figure(11, 7.2, is_dark=True)
    axes = add_axes(figure, len(maps), len(VIEWS))
    for row, (title, values, colours, limits) in enumerate(maps):
        turned, size = to_patient_axes(values, affine)
        shown = None
        for panel, view, (pixels, aspect, is_upright) in zip(
            axes[row * 3 : row * 3 + 3], VIEWS, _planes(turned, size), strict=True
        ):
            shown = _draw(panel, pixels, aspect, is_upright, colours, limits or (0.0, float(np.nanmax(values)) or 1.0))
            panel.set_title(view if row == 0 else "", color="#d7dbe0")
        _bar(figure, shown, axes[row * 3 : row * 3 + 3], title)
    return figure


def side_by_side(
    columns: list[tuple[str, list[tuple[str, NDArray, NDArray[np.float64], str, tuple[float, float]]]]],
) -> Figure:
    """columns: of each scanner its name and its maps: (what, (z, y, x), affine, colours, limits); axial planes through the middle."""
    n_rows = len(columns[0][1])
    figure = new_figure(3.4 * len(columns) + 1.2, 3.6 * n_rows, is_dark=True)
    axes = add_axes(figure, n_rows, len(columns))
    for i_row in range(n_rows):
        row, shown, title = axes[i_row * len(columns) : (i_row + 1) * len(columns)], None, ""
        for panel, (name, maps) in zip(row, columns, strict=True):
            title, values, affine, colours, limits = maps[i_row]
            pixels, aspect, is_upright = _planes(*to_patient_axes(values, affine))[0]
            shown = _draw(panel, pixels, aspect, is_upright, colours, limits)
            panel.set_title(name if i_row == 0 else "", color="#d7dbe0")
        _bar(figure, shown, row, title)
    return figure


def _planes(turned: NDArray, size: NDArray[np.float64]) -> list[tuple[NDArray, float, bool]]:
    """Axial, coronal and sagittal pixels through the middle of what is finite, their aspect, and whether head is up."""
    inside = np.isfinite(turned)
    middle = []
    for axis in range(3):
        held = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        middle.append(int((held[0] + held[-1]) // 2) if len(held) else turned.shape[axis] // 2)
    z, y, x = middle
    return [
        (turned[z], size[1] / size[0], False),
        (turned[:, y], size[2] / size[0], True),
        (turned[:, :, x], size[2] / size[1], True),
    ]


def _draw(
    panel: Axes, pixels: NDArray, aspect: float, is_upright: bool, colours: str, limits: tuple[float, float]
) -> Any:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_facecolor("black")
    for spine in panel.spines.values():
        spine.set_visible(False)
    return panel.imshow(
        pixels, cmap=colours, vmin=limits[0], vmax=limits[1], aspect=aspect, origin="lower" if is_upright else "upper"
    )


def _bar(figure: Figure, shown: Any, axes: list[Axes], title: str) -> None:
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.01)
    bar.set_label(title, color="#d7dbe0")
    bar.ax.tick_params(colors="#d7dbe0")
