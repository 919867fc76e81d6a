"""Pulseq shapes: samples, or the run-length code of their derivative.

Code: the first sample and then differences; two equal values in a row are followed by how many more of them come.
A shape stored in as many numbers as it has samples is not compressed (from 1.4 on; before, all are). Decoded sums are
rounded to 15 decimals, which takes away the drift of the summation and makes rewriting a file change nothing.
"""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lauterbur.formats.pulseq_text import MAX_ID, Section, line_at, malformed, numbers, shown, without_comments

Float = NDArray[np.float64]

MAX_SAMPLES = 2**24  # one shape: 16 s of RF at 1 us
MAX_TOTAL = 2**25  # all shapes of a file
MAX_SHAPES = 200_000
MAX_STORED = 1e12  # of one number of a shape, which are fractions, turns or raster steps
DECIMALS = 15

_SHAPE = re.compile(rb"(?i)\bshape_id\s+(\S+)\s+num_(?:samples|uncompressed)\s+(\S+)")


def read_shapes(section: Section | None, *, always_compressed: bool) -> dict[int, Float]:
    """Shape id to its samples."""
    shapes: dict[int, Float] = {}
    if section is None:
        return shapes
    text = without_comments(section.text)
    bare = Section(section.path, section.name, text, section.first_line)
    heads = list(islice(_SHAPE.finditer(text), MAX_SHAPES + 1))
    if len(heads) > MAX_SHAPES:
        raise malformed(section, None, f"holds more than {MAX_SHAPES} shapes")
    before = text[: heads[0].start()] if heads else text
    if before.strip():
        offset = len(before) - len(before.lstrip())
        raise malformed(section, line_at(bare, offset), f"{shown(before.strip())} where 'shape_id' is expected")
    total, line, counted = 0, section.first_line, 0
    for i, head in enumerate(heads):
        line, counted = line + text.count(b"\n", counted, head.start()), head.start()
        shape_id = _whole(section, line, head.group(1), MAX_ID, "shape_id")
        n_samples = _whole(section, line, head.group(2), MAX_SAMPLES, "num_samples")
        total += n_samples
        if total > MAX_TOTAL:
            raise malformed(section, line, f"the shapes have more than {MAX_TOTAL} samples together")
        if shape_id in shapes:
            raise malformed(section, line, f"shape {shape_id} is defined twice")
        end = heads[i + 1].start() if i + 1 < len(heads) else len(text)
        body_line = line + text.count(b"\n", head.start(), head.end())
        stored = numbers(section, text[head.end() : end], body_line, 2 * n_samples + 8)
        if not np.all(np.abs(stored) <= MAX_STORED):
            raise malformed(section, line, f"shape {shape_id} holds a number beyond {MAX_STORED:g}")
        if len(stored) == n_samples and not always_compressed:
            shapes[shape_id] = stored
        else:
            try:
                shapes[shape_id] = decoded(stored, n_samples)
            except ValueError as problem:
                raise malformed(section, line, f"shape {shape_id} {problem}") from None
    return shapes


def _whole(section: Section, line: int, token: bytes, high: int, what: str) -> int:
    try:
        value = float(token) if len(token) <= 20 else float("nan")
    except ValueError:
        value = float("nan")
    if not (1 <= value <= high and value == int(value)):
        raise malformed(section, line, f"{what} is {shown(token)}; expected a whole number from 1 to {high}")
    return int(value)


def decoded(code: Float, n_samples: int) -> Float:
    """Samples of a run-length coded derivative; ValueError says what is wrong with the code."""
    pairs = np.flatnonzero(code[1:] == code[:-1])
    keep, repeats = np.ones(len(code), bool), np.ones(len(code), np.float64)
    next_free = 0
    for i in pairs.tolist():
        if i < next_free:
            continue
        if i + 2 >= len(code):
            break  # two equal last values: no count follows, they stand for themselves
        repeats[i] = code[i + 2] + 2
        keep[i + 1] = keep[i + 2] = False
        next_free = i + 3
    values, repeats = code[keep], repeats[keep]
    if np.any(repeats < 1) or np.any(repeats != np.floor(repeats)):
        raise ValueError("has a repeat count that is not a whole number from 0 on")
    if np.sum(repeats) != n_samples:
        raise ValueError(f"holds {np.sum(repeats):.0f} samples; num_samples says {n_samples}")
    samples: Float = np.cumsum(np.repeat(values, repeats.astype(np.int64))).round(DECIMALS)
    return samples


def encoded(samples: Float) -> Float | None:
    """The shorter code that decodes to exactly these samples, or None where there is none."""
    steps = np.diff(samples, prepend=0.0)
    for candidate in (steps, np.round(steps, 12), np.round(steps, DECIMALS)):
        starts = np.flatnonzero(np.concatenate(([True], candidate[1:] != candidate[:-1])))
        lengths = np.diff(np.append(starts, len(candidate)))
        rows = np.stack([candidate[starts], candidate[starts], lengths - 2.0], axis=1)
        used = np.stack([lengths > 0, lengths > 1, lengths > 1], axis=1)
        code = rows[used]
        if len(code) < len(samples) and np.array_equal(decoded(code, len(samples)), samples):
            return code
    return None
