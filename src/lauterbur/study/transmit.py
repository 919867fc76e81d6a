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
from lauterbur.shim.flip_angle import flip_angle_map
from lauterbur.shim.planned import Prescan
from lauterbur.shim.target import body, transmit_affine
from lauterbur.study.figures import add_axes, new_figure
from lauterbur.study.planes import to_patient_axes

MOST = 40  # maps of heat
VIEWS = ("axial", "coronal", "sagittal")


def relative_angle(prescan: Prescan) -> NDArray[np.float32]:
    """Flip angle of an excitation over nominal, (z, y, x) on the transmit grid; NaN outside the body. |B1+| / nominal, that is,
    where weights are static."""
    shim = prescan.shim
    nominal = 0.1 if shim.pulse is None else shim.pulse.flip_angle
    angle = flip_angle_map(prescan.fields, shim, nominal) / nominal
    return np.where(body(prescan.fields), angle, np.nan).astype(np.float32)


def heat(prescan: Prescan, program: Program) -> NDArray[np.float32]:
    """W/kg, (z, y, x) on the transmit grid: 10 g SAR, mean over the program, safety factor included; NaN outside the body.

    Of more than MOST sets of channel weights those that bring the most power.
    """
    played = pulses(program)
    drive = prescan.shim.reference_drive
    energy = np.bincount(
        played.shim + 1, played.energy, len(program.shims) + 1
    )  # Hz2 s, of blocks without a shim first
    power = energy / max(float(program.durations.sum()), 1e-9)
    weights = np.concatenate((np.ones((1, len(prescan.fields.b1_plus))), np.conj(program.shims))) * drive
    watts = power * np.sum(np.abs(weights) ** 2, axis=1) if len(program.shims) else power
    total = np.zeros(body(prescan.fields).shape, np.float32)
    for i in np.argsort(-watts)[:MOST]:
        if watts[i] > 0:
            total += sar_map(prescan.fields, weights[i] * np.sqrt(power[i]))
    total *= np.float32(prescan.sar.safety_factor)
    return np.where(body(prescan.fields), total, np.nan).astype(np.float32)


def transmit_figure(prescan: Prescan, program: Program) -> Figure:
    """Three planes of the flip angle and of 10 g SAR."""
    affine = transmit_affine(prescan.fields)
    maps = (
        ("flip angle / nominal", relative_angle(prescan), "viridis", (0.0, 2.0)),
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
