"""Sequence diagrams, k-space as sampled, and raw data, drawn."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from numpy.typing import NDArray

from lauterbur.program import Column, Program, adc_blocks, block_starts, gradient_points, rf_steps
from lauterbur.rawdata import RawData
from lauterbur.study.figures import BLUE, GREEN, GREY, ORANGE, RED, add_axes, new_figure
from lauterbur.units import GAMMA_BAR

MOST_BLOCKS = 400  # drawn in full; more is no longer a diagram
MOST_POINTS = 60_000


def sequence_figure(program: Program) -> Figure:
    figure = new_figure(11, 6.2)
    draw_sequence(figure, program)
    return figure


def kspace_figure(k: NDArray[np.floating], n_samples: NDArray[np.integer]) -> Figure:
    figure = new_figure(11, 3.7)
    draw_kspace(figure, k, n_samples)
    return figure


def raw_figure(raw: RawData) -> Figure:
    figure = new_figure(11, 3.9)
    draw_raw(figure, raw)
    return figure


def draw_sequence(figure: FigureBase, program: Program) -> None:
    """On the left, one whole cycle by its blocks; on the right, one excitation with its echoes."""
    axes = add_axes(figure, 5, 2, sharex="col", width_ratios=[1, 1.6])
    edge = block_starts(program)
    overview, detail = axes[0::2], axes[1::2]
    _overview(overview, program, edge, *_cycle(program))
    _detail(detail, program, edge, *_repetition(program))
    largest = max(abs(end) for panel in axes[2:8] for end in panel.get_ylim())
    for panel in axes[2:8]:
        panel.set_ylim(-1.05 * largest, 1.05 * largest)
    for column, words in ((overview, "one cycle"), (detail, "one excitation")):
        column[0].set_title(words, fontsize=8.5, color="#3b4048", loc="left")
    for panel, label in zip(overview, ("|B1| (uT)", "Gx (mT/m)", "Gy (mT/m)", "Gz (mT/m)", "ADC"), strict=True):
        panel.set_ylabel(label)


def draw_kspace(figure: FigureBase, k: NDArray[np.floating], n_samples: NDArray[np.integer]) -> None:
    """Where the samples lie, coloured by order, in each plane that they span: k (readout, sample, 3) in 1/m."""
    valid = (np.arange(k.shape[1]) < np.asarray(n_samples)[:, None]).ravel()
    chosen = np.flatnonzero(valid)
    if len(chosen) > MOST_POINTS:  # at random, since a stride draws patterns of its own
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_POINTS, replace=False))
    points = k.reshape(-1, 3)[chosen]
    order = chosen / max(valid.size, 1)
    extent = np.ptp(points, axis=0) if len(points) else np.zeros(3)
    used = [axis for axis in range(3) if extent[axis] > 1e-3 * max(np.max(extent), 1e-9)] or [0]
    planes = [(used[i], used[j]) for i in range(len(used)) for j in range(i + 1, len(used))]
    axes = add_axes(figure, 1, max(len(planes), 1) + 1)
    for panel, (a, b) in zip(axes, planes, strict=False):
        panel.scatter(points[:, a], points[:, b], c=order, s=1.0, cmap="viridis", linewidths=0, rasterized=True)
        panel.set_xlabel(f"k{'xyz'[a]} (1/m)")
        panel.set_ylabel(f"k{'xyz'[b]} (1/m)")
        panel.set_aspect("equal", "box")
    _draw_order(axes[len(planes)], k, chosen, used)
    for panel in axes[len(planes) + 1 :]:
        panel.set_axis_off()
    axes[0].set_title("samples in k-space, dark first", fontsize=8.5, color="#3b4048", loc="left")


def _draw_order(panel: Axes, k: NDArray[np.floating], chosen: NDArray[np.intp], used: list[int]) -> None:
    """Where each readout begins, in order; where there are few readouts, every sample."""
    if len(k) >= 8:
        where = np.unique(np.linspace(0, len(k) - 1, min(len(k), 6000)).astype(int))
        values, words = k[where, 0], "readout"
    else:
        where, values, words = chosen, k.reshape(-1, 3)[chosen], "sample"
    for axis in used:
        panel.plot(where, values[:, axis], ".", ms=1.0, color=(BLUE, GREEN, ORANGE)[axis], label=f"k{'xyz'[axis]}")
    panel.set_xlabel(f"{words}, in order")
    panel.set_ylabel("1/m" if words == "sample" else "first sample (1/m)")
    panel.legend(frameon=False, markerscale=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8)


def draw_raw(figure: FigureBase, raw: RawData) -> None:
    """The signal readout by readout, its energy per coil, and the coils' correlation."""
    panels = add_axes(figure, 1, 3 if raw.n_rx > 1 else 1, width_ratios=[2, 1, 1][: 3 if raw.n_rx > 1 else 1])
    left = panels[0]
    some = np.unique(np.linspace(0, raw.n_readouts - 1, min(raw.n_readouts, 1200)).astype(int))
    signal = np.stack([_rss(raw.samples[i]) for i in some]) if len(some) else np.zeros((1, 1))
    floor = np.max(signal, initial=0.0) * 1e-5 or 1e-30
    drawn = left.imshow(
        20 * np.log10(np.maximum(signal, floor) / max(floor * 1e5, 1e-30)), aspect="auto", cmap="magma", vmin=-80, vmax=0,
        extent=(0, signal.shape[1], raw.n_readouts, 0),
    )  # fmt: skip
    figure.colorbar(drawn, ax=left, label="dB", shrink=0.8)
    left.set_xlabel("sample")
    left.set_ylabel("readout")
    left.set_title("all coils", fontsize=8.5, color="#3b4048", loc="left")
    if raw.n_rx == 1:
        return
    middle, right = panels[1:]

    few = some[:: max(1, len(some) // 200)]
    vectors = np.concatenate([raw.samples[i] for i in few], axis=1) if len(few) else np.zeros((1, 1), np.complex64)
    covariance = vectors @ vectors.conj().T / vectors.shape[1]
    energy = np.sqrt(np.maximum(np.diag(covariance).real, 0))
    middle.barh(np.arange(raw.n_rx), energy / (np.max(energy, initial=0.0) or 1.0), color=BLUE, height=0.8)
    middle.invert_yaxis()
    middle.set_xlabel("r.m.s. signal, relative")
    middle.set_ylabel("coil")
    scale = np.maximum(np.outer(energy, energy), 1e-30)
    right.imshow(np.abs(covariance) / scale, vmin=0, vmax=1, cmap="viridis")
    right.set_title("correlation of the coils", fontsize=8.5, color="#3b4048", loc="left")


def _rss(samples: NDArray) -> NDArray:
    return np.sqrt(np.sum(np.abs(samples) ** 2, axis=0))


def _excitations(program: Program) -> NDArray[np.intp]:
    """Blocks that excite; where no pulse says so, all that transmit."""
    rf = program.blocks[:, Column.RF]
    excites = np.array([p.use in ("excitation", "undefined") for p in program.rf] + [False])
    found = np.flatnonzero(excites[rf])
    return found if len(found) else np.flatnonzero(rf >= 0)


def _repetition(program: Program) -> tuple[int, int]:
    """Blocks from the excitation before the middle readout to the next one, without the silence at the end."""
    listens, excites = adc_blocks(program), _excitations(program)
    middle = int(listens[len(listens) // 2]) if len(listens) else program.n_blocks // 2
    before, after = excites[excites <= middle], excites[excites > middle]
    first = int(before[-1]) if len(before) else 0
    last = min(int(after[0]) if len(after) else program.n_blocks, first + MOST_BLOCKS)
    events = program.blocks[first:last, : Column.ADC + 1] >= 0
    busy = np.flatnonzero(events.any(axis=1))
    return first, first + int(busy[-1]) + 1 if len(busy) else last


def _cycle(program: Program) -> tuple[int, int]:
    """Blocks from one preparation pulse to the next; without any, five excitations."""
    uses = np.array([p.use in ("inversion", "preparation", "saturation") for p in program.rf] + [False])
    prepares = np.flatnonzero(uses[program.blocks[:, Column.RF]])
    excites = _excitations(program)
    listens = adc_blocks(program)
    if len(prepares) > 1 and len(listens):
        i = int(np.searchsorted(prepares, listens[len(listens) // 2], side="right"))
        if 0 < i < len(prepares):
            return int(prepares[i - 1]), int(prepares[i])
    if len(excites) > 5:
        middle = np.searchsorted(excites, listens[len(listens) // 2]) - 1 if len(listens) else 0
        i = int(np.clip(middle, 0, len(excites) - 6))
        return int(excites[i]), int(excites[i + 5])
    return 0, program.n_blocks


def _overview(axes: list[Axes], program: Program, edge: NDArray, first: int, last: int) -> None:
    begin, rows = edge[first:last] - edge[first], program.blocks[first:last]
    length = edge[last] - edge[first]
    unit, name = (1e3, "ms") if length < 1 else (1.0, "s")
    peak = [np.max(np.abs(p.waveform), initial=0.0) / GAMMA_BAR * 1e6 for p in program.rf]
    strongest = [
        g.waveform[np.argmax(np.abs(g.waveform))] / GAMMA_BAR * 1e3 if len(g.waveform) else 0.0
        for g in program.gradients
    ]
    rf = np.array([(p.delay, p.delay + p.duration, v) for p, v in zip(program.rf, peak, strict=True)])
    gradient = np.array([(g.delay, g.delay + g.duration, v) for g, v in zip(program.gradients, strongest, strict=True)])
    adc = np.array([(a.delay, a.delay + a.n_samples * a.dwell, 1.0) for a in program.adc])
    events = (rf, gradient, gradient, gradient, adc)
    for panel, column, table, colour in zip(axes, Column, events, (RED, BLUE, GREEN, ORANGE, GREY), strict=False):
        played = rows[:, column] >= 0
        start, end, value = table.reshape(-1, 3)[rows[played, column]].T
        edges = np.concatenate(([0.0], np.column_stack((begin[played] + start, begin[played] + end)).ravel(), [length]))
        steps = np.concatenate(([0.0], np.column_stack((value, np.zeros(len(value)))).ravel()))
        panel.stairs(
            steps, np.maximum.accumulate(edges) * unit, fill=True, color=colour, linewidth=0.6, antialiased=False
        )
        panel.axhline(0, color=GREY, linewidth=0.4)
    axes[-1].set_ylim(0, 1.05)
    axes[-1].set_yticks([])
    axes[-1].set_xlabel(f"time ({name})")


def _detail(axes: list[Axes], program: Program, edge: NDArray, first: int, last: int) -> None:
    origin = edge[first]
    for panel in axes:
        panel.axhline(0, color=GREY, linewidth=0.4)
    points, values = [], []
    for i in range(first, last):
        start, row = edge[i] - origin, program.blocks[i]
        time, gradient = gradient_points(program, i)
        points.append(start + time)
        values.append(gradient / GAMMA_BAR * 1e3)
        if row[Column.RF] >= 0:
            pulse = program.rf[row[Column.RF]]
            length, b1 = rf_steps(pulse, 10e-6)
            at = (start + pulse.delay + np.concatenate(([0.0], np.cumsum(length)))) * 1e3
            axes[0].stairs(np.abs(b1) / GAMMA_BAR * 1e6, at, color=RED, baseline=0)
        if row[Column.ADC] >= 0:
            adc = program.adc[row[Column.ADC]]
            begin = start + adc.delay
            axes[4].axvspan(begin * 1e3, (begin + adc.n_samples * adc.dwell) * 1e3, color=GREY, alpha=0.7, linewidth=0)
    if points:
        time, gradient = np.concatenate(points) * 1e3, np.concatenate(values)
        for panel, value, colour in zip(axes[1:4], gradient.T, (BLUE, GREEN, ORANGE), strict=True):
            panel.fill_between(time, value, color=colour, alpha=0.18, linewidth=0)
            panel.plot(time, value, color=colour)
    axes[-1].set_yticks([])
    axes[-1].set_xlabel("time (ms)")
