"""How our figures look: no window system, one font, quiet axes; and figures as PNG bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#8a8f98",
    "axes.labelcolor": "#3b4048",
    "xtick.color": "#5b616b",
    "ytick.color": "#5b616b",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "image.interpolation": "nearest",
}
BLUE, RED, GREEN, ORANGE, GREY = "#2f6fb2", "#b8433f", "#3a8a5c", "#c9812c", "#8a8f98"
DARK = "#101216"


def new_figure(width: float, height: float, *, is_dark: bool = False) -> Figure:
    """Inches."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=110, facecolor=DARK if is_dark else "white", layout="constrained")
        FigureCanvasAgg(figure)
    return figure


def add_axes(figure: FigureBase, rows: int, columns: int, **options: Any) -> list[Axes]:
    with rc_context(STYLE):
        return list(figure.subplots(rows, columns, squeeze=False, **options).ravel())


def png(figure: Figure) -> bytes:
    """The same figure gives the same bytes: no date, no version."""
    buffer = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(buffer, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def default_path(path: str | Path) -> Path:
    """FILE.png beside FILE."""
    path = Path(path)
    return path.with_name((path.name or path.resolve().name) + ".png")
