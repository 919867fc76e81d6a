"""The block table of a Pulseq file: which events each block plays, for how long, under which labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.formats.pulseq_adc import AdcEvents
from lauterbur.formats.pulseq_events import MAX_TIME, Events, Float, Int, Version, steps
from lauterbur.formats.pulseq_extensions import Extensions, label_values
from lauterbur.formats.pulseq_gradients import GradientEvents, continuous
from lauterbur.formats.pulseq_rf import RfEvents
from lauterbur.formats.pulseq_text import MAX_ID, Section, Table, bounded, identified, indices, malformed, table, whole
from lauterbur.program import Column, Gradient, Rasters, Trigger

MAX_TOTAL_SAMPLES = 10**11  # of all ADC windows played, 800 GB per channel
TOLERANCE = 1.0  # ns, by which an event may outlast its block: rounding of decimal numbers


@dataclass(frozen=True)
class Blocks:
    events: NDArray[np.int32]  # (block, len(Column))
    durations: Float  # s, (block,)
    gradients: tuple[Gradient, ...]
    triggers: tuple[tuple[Trigger, ...], ...]
    labels: dict[str, NDArray[np.int32]]


def read_blocks(
    section: Section,
    delays_section: Section | None,
    rf: RfEvents,
    gradients: GradientEvents,
    adc: AdcEvents,
    extensions: Extensions,
    version: Version,
    rasters: Rasters,
    delays: Mapping[str, float],
) -> Blocks:
    """[BLOCKS]: number, duration (before 1.4: id of a delay), rf, gx, gy, gz, adc, and from 1.3 on extensions."""
    is_legacy = version < (1, 4, 0)
    rows = table(section, (7, 8) if is_legacy else (8,))
    if not len(rows):
        raise malformed(section, None, "holds no block, so there is nothing to play")
    number = whole(rows, 0, 0, MAX_ID, "block number")
    behind = np.flatnonzero(np.diff(number) <= 0)
    if len(behind):
        i = behind[0] + 1
        raise malformed(
            section, rows.lines[i], f"block {number[i]} follows block {number[i - 1]}; expected a higher one"
        )

    events = np.full((len(rows), len(Column)), -1, np.int64)
    for column, found, what in (
        (Column.RF, rf, "RF event"),
        (Column.GX, gradients, "gradient"),
        (Column.GY, gradients, "gradient"),
        (Column.GZ, gradients, "gradient"),
        (Column.ADC, adc, "ADC event"),
    ):
        events[:, column] = _played(rows, column + 2, found, what)
    chain = np.full(len(rows), -1, np.int64)
    if rows.values.shape[1] == 8:
        chain = indices(extensions.ids, whole(rows, 7, 0, MAX_ID, "extension id"), rows, "extension")
    triggers = _hang(events, chain, extensions)

    ends = _ends(events, rf, gradients, adc)
    if is_legacy:
        late, ids = identified(table(delays_section, (2,)))
        delay = bounded(late, 1, 0, MAX_TIME, "delay in us") * 1e3
        which = indices(ids, whole(rows, 1, 0, MAX_ID, "delay id"), rows, "delay")
        lengths = np.maximum(ends, _at(delay, which))
        durations = lengths / 1e9
    else:
        limit = int(min(MAX_ID, MAX_TIME / 1e6 / rasters.block))
        durations = steps(whole(rows, 1, 0, limit, "duration in block raster steps"), rasters.block)
        durations = _with_delays(rows, durations, events, extensions, rasters, delays)
        lengths = durations * 1e9
        over = np.flatnonzero(~(ends <= lengths + TOLERANCE))
        if len(over):
            i = over[0]
            problem = f"block {number[i]} lasts {lengths[i] / 1e3:g} us; its events last {ends[i] / 1e3:g} us"
            raise malformed(section, rows.lines[i], problem)
    if not np.sum(durations) <= MAX_TIME / 1e6:
        raise malformed(
            section, None, f"the blocks last {np.sum(durations):g} s; at most {MAX_TIME / 1e6:g} s are played"
        )
    n_samples = np.array([window.n_samples for window in adc.windows] + [0])
    if np.sum(n_samples[events[:, Column.ADC]], dtype=float) > MAX_TOTAL_SAMPLES:
        raise malformed(section, None, f"the blocks acquire more than {MAX_TOTAL_SAMPLES:g} samples")
    if version < (1, 5, 0):
        axes = slice(Column.GX, Column.GZ + 1)
        gradients, events[:, axes] = continuous(gradients, events[:, axes], lengths)
    labels = label_values(extensions, chain, section)
    return Blocks(events.astype(np.int32), durations, gradients.gradients, triggers, labels)


def _played(rows: Table, column: int, events: Events, what: str) -> Int:
    return indices(events.ids, whole(rows, column, 0, MAX_ID, f"{what} id"), rows, what)


def _at(values: Float, which: Int) -> Float:
    """values[which], 0 where which is -1."""
    return np.append(values, 0.0)[which]


def _ends(events: Int, rf: RfEvents, gradients: GradientEvents, adc: AdcEvents) -> Float:
    """(block,) ns from block start to the end of the longest event."""
    ends = np.maximum(_at(rf.end, events[:, Column.RF]), _at(adc.end, events[:, Column.ADC]))
    for column in (Column.GX, Column.GY, Column.GZ):
        ends = np.maximum(ends, _at(gradients.end, events[:, column]))
    return ends


def _hang(events: Int, chain: Int, extensions: Extensions) -> tuple[tuple[Trigger, ...], ...]:
    """Fill the columns of what hangs on blocks; the distinct sets of triggers, in order of first use."""
    chains = extensions.chains
    for column, index in (
        (Column.ROTATION, [c.rotation for c in chains]),
        (Column.SHIM, [c.shim for c in chains]),
        (Column.SOFT_DELAY, [c.soft_delay for c in chains]),
    ):
        events[:, column] = np.array([*index, -1])[chain]
    sets: dict[tuple[int, ...], int] = {}
    which = np.full(len(chains) + 1, -1)
    heads, first = np.unique(chain, return_index=True)
    for head in heads[np.argsort(first)].tolist():
        if head >= 0 and chains[head].triggers:
            which[head] = sets.setdefault(chains[head].triggers, len(sets))
    events[:, Column.TRIGGER] = which[chain]
    return tuple(tuple(extensions.triggers[i] for i in used) for used in sets)


def _with_delays(
    rows: Table, durations: Float, events: Int, extensions: Extensions, rasters: Rasters, delays: Mapping[str, float]
) -> Float:
    """Durations with the soft delays the user set: duration = value / factor + offset, on the block raster."""
    hints = {soft.hint for soft in extensions.soft_delays}
    for hint, value in delays.items():
        if hint not in hints:
            known = ", ".join(sorted(hints)) or "none"
            raise InputError(f"{rows.section.path}: has no soft delay {hint!a}; it has {known}")
        if not 0 <= value <= MAX_TIME / 1e6:
            raise InputError(f"soft delay {hint} is {value:g} s; expected 0 to {MAX_TIME / 1e6:g} s")
    if not delays:
        return durations
    durations = durations.copy()
    for i, soft in enumerate(extensions.soft_delays):
        if soft.hint not in delays:
            continue
        here = np.flatnonzero(events[:, Column.SOFT_DELAY] == i)
        count = round((delays[soft.hint] / soft.factor + soft.offset) / rasters.block)
        if count < 0 and len(here):
            where = f"block on line {rows.lines[here[0]]}"
            least = "at least" if soft.factor > 0 else "at most"
            limit = -soft.offset * soft.factor
            problem = f"soft delay {soft.hint} = {delays[soft.hint]:g} s makes the {where} shorter than nothing"
            raise InputError(f"{rows.section.path}: {problem}; expected {least} {limit:g} s")
        durations[here] = steps(count, rasters.block)
    return durations
