"""The extension sections of a Pulseq file to be written: chains shared wherever their tails agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.formats.pulseq_write_events import micro, number
from lauterbur.program import Column, Program, Trigger

Int = NDArray[np.int64]


def extension_lines(program: Program) -> tuple[Int, list[str]]:
    """(block,) ids of the chains that hang on blocks, and the sections. Labels are set where they change."""
    triggers: dict[Trigger, int] = {}
    labels: dict[tuple[str, int], int] = {}
    hung: dict[int, list[tuple[str, int]]] = {}  # block -> (extension, entry), in the order of writing

    for block in np.flatnonzero(program.blocks[:, Column.TRIGGER] >= 0).tolist():
        for trigger in program.triggers[program.blocks[block, Column.TRIGGER]]:
            entry = triggers.setdefault(trigger, len(triggers) + 1)
            hung.setdefault(block, []).append(("TRIGGERS", entry))
    for name, column in (("ROTATIONS", Column.ROTATION), ("RF_SHIMS", Column.SHIM), ("DELAYS", Column.SOFT_DELAY)):
        for block in np.flatnonzero(program.blocks[:, column] >= 0).tolist():
            hung.setdefault(block, []).append((name, int(program.blocks[block, column]) + 1))
    for label in sorted(program.labels):
        values = np.asarray(program.labels[label])
        if len(values) != program.n_blocks:
            raise InputError(
                f"label {label} has {len(values)} values; expected one for each of {program.n_blocks} blocks"
            )
        changes = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
        for block, value in zip(changes.tolist(), values[changes].tolist(), strict=True):
            entry = labels.setdefault((label, value), len(labels) + 1)
            hung.setdefault(block, []).append(("LABELSET", entry))

    types: dict[str, int] = {}
    links: dict[tuple[int, int, int], int] = {}
    heads = np.zeros(program.n_blocks, np.int64)
    for block in sorted(hung):
        following = 0
        for name, entry in reversed(hung[block]):
            kind = types.setdefault(name, len(types) + 1)
            following = links.setdefault((kind, entry, following), len(links) + 1)
        heads[block] = following
    if not links:
        return heads, []
    chains = [f"{i} {kind} {entry} {following}" for (kind, entry, following), i in links.items()]
    sections = ["# id type ref next_id\n[EXTENSIONS]\n" + "\n".join(chains) + "\n"]
    rows = {
        "LABELSET": lambda: [f"{i} {value} {name}" for (name, value), i in labels.items()],
        "TRIGGERS": lambda: [
            f"{i} {t.kind} {t.channel} {micro(t.delay)} {micro(t.duration)}" for t, i in triggers.items()
        ],
        "ROTATIONS": lambda: _rotations(program),
        "RF_SHIMS": lambda: _shims(program),
        "DELAYS": lambda: _soft_delays(program),
    }
    for name, kind in types.items():
        sections.append(f"extension {name} {kind}\n" + "\n".join(rows[name]()) + "\n")
    return heads, sections


def _rotations(program: Program) -> list[str]:
    quaternions = quaternion_from_matrix(program.rotations)
    return [f"{i} " + " ".join(map(number, q)) for i, q in enumerate(quaternions.tolist(), 1)]


def quaternion_from_matrix(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 4) unit quaternions w, x, y, z of (n, 3, 3) rotations, from the largest of the four squares (Shepperd 1978)."""
    m = np.asarray(matrices, float)
    if np.any(np.abs(m @ m.transpose(0, 2, 1) - np.eye(3)) > 1e-6) or np.any(np.linalg.det(m) < 0):
        raise InputError("a rotation of the program is not a rotation matrix: Pulseq holds proper rotations only")
    products = np.empty((len(m), 4, 4))  # 4 q q^T
    d0, d1, d2 = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    diagonal = [1 + d0 + d1 + d2, 1 + d0 - d1 - d2, 1 - d0 + d1 - d2, 1 - d0 - d1 + d2]
    for i, value in enumerate(diagonal):
        products[:, i, i] = value
    for (i, j), value in {
        (0, 1): m[:, 2, 1] - m[:, 1, 2],
        (0, 2): m[:, 0, 2] - m[:, 2, 0],
        (0, 3): m[:, 1, 0] - m[:, 0, 1],
        (1, 2): m[:, 1, 0] + m[:, 0, 1],
        (1, 3): m[:, 0, 2] + m[:, 2, 0],
        (2, 3): m[:, 2, 1] + m[:, 1, 2],
    }.items():
        products[:, i, j] = products[:, j, i] = value
    best = np.argmax(np.array(diagonal), axis=0)
    rows = products[np.arange(len(m)), best]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _shims(program: Program) -> list[str]:
    rows = []
    for i, weights in enumerate(program.shims, 1):
        pairs = " ".join(f"{number(abs(w))} {number(np.angle(w))}" for w in weights.tolist())
        rows.append(f"{i} {len(weights)} {pairs}")
    return rows


def _soft_delays(program: Program) -> list[str]:
    rows = []
    for i, soft in enumerate(program.soft_delays, 1):
        if not soft.hint or any(c.isspace() for c in soft.hint) or "#" in soft.hint:
            raise InputError(f"soft delay hint {soft.hint!r} is not one word, which Pulseq needs")
        rows.append(f"{i} {soft.number} {micro(soft.offset)} {number(soft.factor)} {soft.hint}")
    return rows
