"""Extensions of a Pulseq file: labels, triggers, rotations, RF shims and soft delays hung on blocks.

A block names the head of a chain of (type, reference, next). Types are declared by `extension NAME number`, followed by
the table of what they define. Types nobody here knows are skipped and named, unless the file says they are required.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import UnsupportedError
from lauterbur.formats.pulseq_events import MAX_TIME, MAX_VALUE
from lauterbur.formats.pulseq_text import (
    MAX_ID,
    Section,
    Table,
    bounded,
    identified,
    indices,
    line_at,
    malformed,
    shown,
    table,
    whole,
)
from lauterbur.program import SoftDelay, Trigger

Int = NDArray[np.int64]

KNOWN = ("LABELSET", "LABELINC", "TRIGGERS", "ROTATIONS", "RF_SHIMS", "DELAYS")
MAX_CHAIN = 256  # extensions of one block
MAX_LINKS = 10**7  # of all chains together
MAX_SPECIFICATIONS = 1000
MAX_LABELS = 64  # distinct names
MAX_LABEL_CELLS = 10**8  # blocks times labels
LABEL_LIMIT = 2**31 - 1

_SPECIFICATION = re.compile(rb"^[ \t]*extension[ \t]+(\S{1,64})[ \t]+(\S{1,20})[ \t\r]*$", re.MULTILINE)


@dataclass(frozen=True)
class Chain:
    """What one head of a chain hangs on a block: indices into the tables of Extensions, -1 for none."""

    rotation: int = -1
    shim: int = -1
    soft_delay: int = -1
    triggers: tuple[int, ...] = ()
    sets: tuple[int, ...] = ()
    increments: tuple[int, ...] = ()


@dataclass(frozen=True)
class Extensions:
    ids: Int = field(default_factory=lambda: np.zeros(0, np.int64))  # heads of chains, sorted
    chains: tuple[Chain, ...] = ()
    rotations: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3, 3)))
    shims: NDArray[np.complex128] = field(default_factory=lambda: np.zeros((0, 1), complex))
    triggers: tuple[Trigger, ...] = ()
    soft_delays: tuple[SoftDelay, ...] = ()
    sets: tuple[tuple[str, int], ...] = ()
    increments: tuple[tuple[str, int], ...] = ()
    skipped: tuple[str, ...] = ()


def read_extensions(section: Section | None, required: tuple[str, ...]) -> Extensions:
    """All extension tables, and the chains resolved."""
    missing = [name for name in required if name not in KNOWN]
    if missing:
        path = section.path if section is not None else "the file"
        raise UnsupportedError(
            f"{path}: requires the Pulseq extension {shown(' '.join(missing).encode())}, which is not supported"
        )
    if section is None:
        return Extensions()
    heads, specifications = _specifications(section)
    known = {name: specification for name, (_, specification) in specifications.items() if name in KNOWN}
    set_ids, sets = _labels(known.get("LABELSET"))
    increment_ids, increments = _labels(known.get("LABELINC"))
    trigger_ids, triggers = _triggers(known.get("TRIGGERS"))
    rotation_ids, rotations = _rotations(known.get("ROTATIONS"))
    shim_ids, shims = _shims(known.get("RF_SHIMS"))
    delay_ids, soft_delays = _soft_delays(known.get("DELAYS"))
    entries = dict(zip(KNOWN, (set_ids, increment_ids, trigger_ids, rotation_ids, shim_ids, delay_ids), strict=True))
    numbers = {number: name for name, (number, _) in specifications.items()}
    if len(numbers) != len(specifications):
        raise malformed(section, None, "two extensions have the same type number")
    rows, ids = identified(table(heads, (4,)))
    chains = _chains(rows, ids, numbers, entries)
    return Extensions(
        ids=ids,
        chains=chains,
        rotations=rotations,
        shims=shims,
        triggers=triggers,
        soft_delays=soft_delays,
        sets=sets,
        increments=increments,
        skipped=tuple(name for name in specifications if name not in KNOWN),
    )


def _specifications(section: Section) -> tuple[Section, dict[str, tuple[int, Section]]]:
    found: dict[str, tuple[int, Section]] = {}
    heads = list(islice(_SPECIFICATION.finditer(section.text), MAX_SPECIFICATIONS + 1))
    if len(heads) > MAX_SPECIFICATIONS:
        raise malformed(section, None, f"declares more than {MAX_SPECIFICATIONS} extensions")
    for i, head in enumerate(heads):
        end = heads[i + 1].start() if i + 1 < len(heads) else len(section.text)
        line = line_at(section, head.end())
        name, number = head.group(1).decode("utf-8", "replace"), head.group(2)
        part = Section(section.path, f"extension {name}", section.text[head.end() : end], line)
        if not number.isdigit() or not 1 <= int(number) <= MAX_ID:
            raise malformed(part, line, "the type number is not a whole number from 1 on")
        if name in found:
            raise malformed(part, line, "is declared twice; expected once")
        found[name] = int(number), part
    first = heads[0].start() if heads else len(section.text)
    return Section(section.path, section.name, section.text[:first], section.first_line), found


def _chains(rows: Table, ids: Int, numbers: Mapping[int, str], entries: Mapping[str, Int]) -> tuple[Chain, ...]:
    kind, reference = whole(rows, 1, 1, MAX_ID, "type").tolist(), whole(rows, 2, 0, MAX_ID, "reference")
    following = indices(ids, whole(rows, 3, 0, MAX_ID, "next id"), rows, "next id").tolist()
    names = []
    for i, number in enumerate(kind):
        if number not in numbers:
            raise malformed(rows.section, rows.lines[i], f"extension type {number} is not declared")
        names.append(numbers[number])
    places = np.full(len(rows), -1, np.int64)
    for name in set(names) & set(KNOWN):
        mine = np.flatnonzero([n == name for n in names])
        part = Table(rows.section, rows.values[mine], [], rows.lines[mine])
        places[mine] = indices(entries[name], reference[mine], part, f"{name} entry")
        if np.any(places[mine] < 0):
            raise malformed(rows.section, part.lines[np.argmin(places[mine])], f"refers to {name} entry 0")
    total = 0
    chains, place = [], places.tolist()
    for head in range(len(rows)):
        found: dict[str, list[int]] = {}
        at, length = head, 0
        while at >= 0 and total <= MAX_LINKS:
            found.setdefault(names[at], []).append(place[at])
            at, length, total = following[at], length + 1, total + 1
            if length > MAX_CHAIN:
                problem = f"the chain from id {ids[head]} has more than {MAX_CHAIN} extensions, or runs in a circle"
                raise malformed(rows.section, rows.lines[head], problem)
        if total > MAX_LINKS:
            raise malformed(rows.section, None, f"the chains have more than {MAX_LINKS} links together")
        for name in ("ROTATIONS", "RF_SHIMS", "DELAYS"):
            if len(found.get(name, ())) > 1:
                problem = f"the chain from id {ids[head]} holds {len(found[name])} {name}; expected at most 1"
                raise malformed(rows.section, rows.lines[head], problem)
        chains.append(
            Chain(
                found.get("ROTATIONS", [-1])[0],
                found.get("RF_SHIMS", [-1])[0],
                found.get("DELAYS", [-1])[0],
                tuple(found.get("TRIGGERS", ())),
                tuple(found.get("LABELSET", ())),
                tuple(found.get("LABELINC", ())),
            )
        )
    return tuple(chains)


def _labels(section: Section | None) -> tuple[Int, tuple[tuple[str, int], ...]]:
    """id value name."""
    rows, ids = identified(table(section, (3,), word=True))
    values = whole(rows, 1, -LABEL_LIMIT, LABEL_LIMIT, "label value").tolist()
    for i, name in enumerate(rows.words):
        if not re.fullmatch(r"[A-Za-z_]\w{0,31}", name, re.ASCII):
            raise malformed(rows.section, rows.lines[i], f"{name[:24]!a} is not the name of a label")
    return ids, tuple(zip(rows.words, values, strict=True))


def _triggers(section: Section | None) -> tuple[Int, tuple[Trigger, ...]]:
    """id type channel delay duration, times in us."""
    rows, ids = identified(table(section, (5,)))
    kind, channel = whole(rows, 1, 0, MAX_ID, "type").tolist(), whole(rows, 2, 0, MAX_ID, "channel").tolist()
    delay = (bounded(rows, 3, 0, MAX_TIME, "delay in us") / 1e6).tolist()
    length = (bounded(rows, 4, 0, MAX_TIME, "duration in us") / 1e6).tolist()
    return ids, tuple(Trigger(*row) for row in zip(kind, channel, delay, length, strict=True))


def _rotations(section: Section | None) -> tuple[Int, NDArray[np.float64]]:
    """id and a quaternion (1.5.1), or id and nine matrix elements by rows (drafts of 1.5)."""
    rows, ids = identified(table(section, (5, 10)))
    if rows.values.shape[1] == 5:
        size = np.linalg.norm(rows.values[:, 1:], axis=1)
        ok, problem = np.abs(size - 1) <= 1e-3, "the quaternion's length is not 1"
        matrices = matrix_from_quaternion(rows.values[ok, 1:])
    else:
        matrices = rows.values[:, 1:].reshape(-1, 3, 3)
        with np.errstate(over="ignore", invalid="ignore"):
            off = np.max(np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)), axis=(1, 2), initial=0.0)
            ok = (off <= 1e-3) & (np.linalg.det(matrices) > 0)
        problem = "the matrix is not a rotation"
    if not np.all(ok):
        raise malformed(rows.section, rows.lines[np.argmin(ok)], problem)
    return ids, matrices


def matrix_from_quaternion(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3, 3) rotations of (n, 4) quaternions w, x, y, z of any length (textbook formula, scaled by |q|^2)."""
    w, x, y, z = quaternion.T
    scale = 2 / np.sum(quaternion**2, axis=1)
    rows = [
        [1 - scale * (y * y + z * z), scale * (x * y - w * z), scale * (x * z + w * y)],
        [scale * (x * y + w * z), 1 - scale * (x * x + z * z), scale * (y * z - w * x)],
        [scale * (x * z - w * y), scale * (y * z + w * x), 1 - scale * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _shims(section: Section | None) -> tuple[Int, NDArray[np.complex128]]:
    """id channels, then magnitude and phase (rad) of each channel."""
    rows, ids = identified(table(section, None))
    n_columns = rows.values.shape[1]
    if section is None or not len(rows):
        return ids, np.zeros((0, 1), complex)
    n_channels = (n_columns - 2) // 2
    if n_columns < 4 or n_columns % 2 or np.any(rows.values[:, 1] != n_channels):
        problem = f"has {n_columns} columns; expected id, the number n of channels, and n magnitudes and phases"
        raise malformed(rows.section, rows.lines[0], problem)
    pairs = rows.values[:, 2:].reshape(-1, n_channels, 2)
    if not np.all(np.abs(pairs) <= MAX_VALUE):
        raise malformed(rows.section, None, f"a weight is larger than {MAX_VALUE:g}")
    return ids, pairs[..., 0] * np.exp(1j * pairs[..., 1])


def _soft_delays(section: Section | None) -> tuple[Int, tuple[SoftDelay, ...]]:
    """id number offset (us) factor hint."""
    rows, ids = identified(table(section, (5,), word=True))
    number = whole(rows, 1, -MAX_ID, MAX_ID, "number").tolist()
    offset = (bounded(rows, 2, -MAX_TIME, MAX_TIME, "offset in us") / 1e6).tolist()
    factor = bounded(rows, 3, -MAX_VALUE, MAX_VALUE, "factor")
    if np.any(factor == 0):
        raise malformed(rows.section, rows.lines[np.argmin(np.abs(factor))], "factor is 0; the delay is divided by it")
    return ids, tuple(SoftDelay(*row) for row in zip(number, offset, factor.tolist(), rows.words, strict=True))


def label_values(extensions: Extensions, chain: Int, blocks: Section) -> dict[str, NDArray[np.int32]]:
    """name -> (block,) value in force at each block. `chain` (block,) indexes extensions.chains, -1 for none.

    Within a block all LABELSET come before all LABELINC; labels start at 0.
    """
    used = (
        sorted({i for c in extensions.chains for i in c.sets}),
        sorted({i for c in extensions.chains for i in c.increments}),
    )
    names = {extensions.sets[i][0] for i in used[0]} | {extensions.increments[i][0] for i in used[1]}
    cells = len(names) * max(len(chain), 8 * len(extensions.chains))
    if len(names) > MAX_LABELS or cells > MAX_LABEL_CELLS:
        raise malformed(blocks, None, f"{len(names)} labels of {len(chain)} blocks are too many; at most {MAX_LABELS}")
    order = sorted(names)
    column = {name: i for i, name in enumerate(order)}
    n_chains = len(extensions.chains)
    is_set, value, step = (np.zeros((len(order), n_chains + 1), t) for t in (bool, np.int64, np.int64))  # last: none
    for i, c in enumerate(extensions.chains):
        for j in c.sets:
            name, number = extensions.sets[j]
            is_set[column[name], i], value[column[name], i] = True, number
        for j in c.increments:
            name, number = extensions.increments[j]
            step[column[name], i] += number
    labels = {}
    for name, i in column.items():
        total = np.cumsum(step[i, chain])
        position = np.where(is_set[i, chain], np.arange(len(chain)), -1)
        last = np.maximum.accumulate(position) if len(chain) else position
        since = total - np.where(last >= 0, total[last] - step[i, chain[last]], 0)
        values = np.where(last >= 0, value[i, chain[last]], 0) + since
        if np.any(np.abs(values) > LABEL_LIMIT):
            block = int(np.argmax(np.abs(values) > LABEL_LIMIT)) + 1
            raise malformed(blocks, None, f"label {name} overflows 32 bits at block {block}")
        labels[name] = values.astype(np.int32)
    return labels
