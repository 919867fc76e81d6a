"""The text of a Pulseq file: sections, and tables of numbers with the line each row came from.

Everything here treats the file as hostile: sizes are bounded before anything is expanded, tokens are bounded before
they are converted, and every complaint names the line and the section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError

MAX_FILE_BYTES = 128 * 2**20  # a 100,000-block program takes about 5 MB
MAX_TOKEN = 64  # characters of one number
MAX_ROWS = 2_000_000  # rows of one table
MAX_EVENTS = 500_000  # rows with an id
MAX_SECTIONS = 64
MAX_ID = 2**31 - 1
CHUNK = 4 * 2**20  # bytes of text converted at a time, so that tokens never fill the memory

_HEADER = re.compile(rb"^[ \t]*\[([A-Za-z_]{1,32})\][ \t\r]*$", re.MULTILINE)
_COMMENT = re.compile(rb"#[^\n]*")


@dataclass(frozen=True)
class Section:
    path: str
    name: str  # as a person would look for it: "[RF]", "extension LABELSET"
    text: bytes  # without its header line
    first_line: int  # number of the line on which `text` begins, from 1
    header_at: int = 0  # byte of the file at which its header line begins


@dataclass(frozen=True)
class Table:
    section: Section
    values: NDArray[np.float64]  # (row, column), all finite
    words: list[str]  # the last column, where it is a word; else empty
    lines: NDArray[np.int64]  # (row,)

    def __len__(self) -> int:
        return len(self.lines)


def malformed(section: Section, line: int | np.integer | None, problem: str) -> FileFormatError:
    """The error to raise for this place in the file."""
    return FileFormatError(section.path, section.name if line is None else f"line {line} ({section.name})", problem)


def shown(text: bytes) -> str:
    """A short printable piece of a foreign file, for a message."""
    return ascii(text[:24].decode("latin-1")) + ("..." if len(text) > 24 else "")


def sections(path: str, data: bytes) -> dict[str, Section]:
    """The file's sections by name, without brackets."""
    found: dict[str, Section] = {}
    headers = list(islice(_HEADER.finditer(data), MAX_SECTIONS))
    line, counted = 1, 0
    for i, header in enumerate(headers):
        name = header.group(1).decode().upper()
        end = headers[i + 1].start() if i + 1 < len(headers) else len(data)
        line, counted = line + data.count(b"\n", counted, header.end()), header.end()
        section = Section(path, f"[{name}]", data[header.end() : end], line, header.start())
        if name in found:
            raise malformed(section, line, f"section [{name}] appears twice; expected once")
        found[name] = section
    return found


def without_comments(text: bytes) -> bytes:
    """The same lines with everything from # on taken away."""
    return _COMMENT.sub(b"", text) if b"#" in text else text


def line_at(section: Section, offset: int) -> int:
    """Number of the line on which byte `offset` of the section's text lies."""
    return section.first_line + section.text.count(b"\n", 0, offset)


def _chunks(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Pieces of whole lines, with the number of lines before each."""
    start, line = 0, 0
    while start < len(text):
        end = len(text) if start + CHUNK >= len(text) else text.find(b"\n", start + CHUNK) + 1 or len(text)
        piece = text[start:end]
        yield piece, line
        line, start = line + piece.count(b"\n"), end


def _to_floats(section: Section, tokens: list[bytes], lines: NDArray[np.int64]) -> NDArray[np.float64]:
    try:
        values = np.fromiter(map(float, tokens), np.float64, len(tokens))
    except ValueError:
        for token, line in zip(tokens, lines, strict=True):
            try:
                float(token)
            except ValueError:
                raise malformed(section, line, f"{shown(token)} is not a number") from None
        raise
    if not np.all(np.isfinite(values)):
        i = int(np.flatnonzero(~np.isfinite(values))[0])
        raise malformed(section, lines[i], f"{shown(tokens[i])} is not finite")
    return values


def _token_lines(section: Section, piece: bytes, first_line: int) -> NDArray[np.int64]:
    """(token,) number of the line each token of `piece` stands on; refuses absurdly long tokens."""
    raw = np.frombuffer(piece, np.uint8)
    is_space = (raw == 32) | ((raw >= 9) & (raw <= 13))  # what bytes.split() takes for white space
    edges = np.diff(np.concatenate(([True], is_space, [True])).astype(np.int8))
    starts, ends = np.flatnonzero(edges == -1), np.flatnonzero(edges == 1)
    lines = first_line + np.searchsorted(np.flatnonzero(raw == 10), starts)
    if len(starts) and np.max(ends - starts) > MAX_TOKEN:
        i = int(np.argmax(ends - starts))
        problem = f"{shown(piece[starts[i] : ends[i]])} is {ends[i] - starts[i]} characters long"
        raise malformed(section, lines[i], f"{problem}; numbers have at most {MAX_TOKEN}")
    return lines


def numbers(section: Section, text: bytes, first_line: int, most: int) -> NDArray[np.float64]:
    """All numbers of a piece of the section (without comments), whatever their lines; refuses more than `most`."""
    parts, total = [], 0
    for piece, line in _chunks(text):
        lines = _token_lines(section, piece, first_line + line)
        total += len(lines)
        if total > most:
            raise malformed(section, first_line, f"more than {most} numbers follow")
        parts.append(_to_floats(section, piece.split(), lines))
    return np.concatenate(parts) if parts else np.zeros(0)


def table(section: Section | None, columns: tuple[int, ...] | None, *, word: bool = False) -> Table:
    """Rows of equally many numbers; with `word`, the last column is text.

    `columns` names the allowed numbers of columns (the first row decides which of them), None allows any number.
    """
    if section is None:
        return Table(
            Section("", "", b"", 0), np.zeros((0, columns[0] - word if columns else 1)), [], np.zeros(0, np.int64)
        )
    values, words, row_lines, n_columns = [], [], [], 0
    for piece, line in _chunks(without_comments(section.text)):
        lines = _token_lines(section, piece, section.first_line + line)
        if not len(lines):
            continue
        ends = np.append(np.flatnonzero(np.diff(lines)) + 1, len(lines))
        counts = np.diff(ends, prepend=0)
        if not n_columns:
            n_columns = int(counts[0])
            if columns is not None and n_columns not in columns:
                expected = " or ".join(str(n) for n in columns)
                raise malformed(section, lines[0], f"has {n_columns} columns; expected {expected}")
        if np.any(counts != n_columns):
            i = int(np.flatnonzero(counts != n_columns)[0])
            raise malformed(section, lines[ends[i] - 1], f"has {counts[i]} columns; expected {n_columns}")
        tokens = piece.split()
        if word:
            words += [w.decode("utf-8", "replace") for w in tokens[n_columns - 1 :: n_columns]]
            del tokens[n_columns - 1 :: n_columns]
            lines = np.delete(lines, np.arange(n_columns - 1, len(lines), n_columns))
        values.append(_to_floats(section, tokens, lines).reshape(-1, n_columns - word))
        row_lines.append(lines[:: n_columns - word] if n_columns > word else lines[:0])
        if sum(map(len, row_lines)) > MAX_ROWS:
            raise malformed(section, None, f"has more than {MAX_ROWS} rows")
    if not values:
        return Table(section, np.zeros((0, columns[0] - word if columns else 1)), [], np.zeros(0, np.int64))
    return Table(section, np.concatenate(values), words, np.concatenate(row_lines))


def whole(rows: Table, column: int, low: int, high: int, what: str) -> NDArray[np.int64]:
    """A column of whole numbers between low and high."""
    column_values = rows.values[:, column]
    ok = (column_values >= low) & (column_values <= high) & (column_values == np.floor(column_values))
    if not np.all(ok):
        i = int(np.flatnonzero(~ok)[0])
        problem = f"{what} is {column_values[i]:g}; expected a whole number from {low} to {high}"
        raise malformed(rows.section, rows.lines[i], problem)
    return column_values.astype(np.int64)


def bounded(rows: Table, column: int, low: float, high: float, what: str) -> NDArray[np.float64]:
    """A column of numbers between low and high."""
    column_values = rows.values[:, column]
    ok = (column_values >= low) & (column_values <= high)
    if not np.all(ok):
        i = int(np.flatnonzero(~ok)[0])
        problem = f"{what} is {column_values[i]:g}; expected {low:g} to {high:g}"
        raise malformed(rows.section, rows.lines[i], problem)
    return column_values + 0.0  # no negative zeros


def identified(rows: Table) -> tuple[Table, NDArray[np.int64]]:
    """The rows sorted by their first column, which must hold unique positive ids, and those ids."""
    if len(rows) > MAX_EVENTS:
        raise malformed(rows.section, None, f"defines {len(rows)} entries; at most {MAX_EVENTS} are read")
    ids = whole(rows, 0, 1, MAX_ID, "id")
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    twice = np.flatnonzero(ids[1:] == ids[:-1])
    if len(twice):
        raise malformed(rows.section, rows.lines[order[twice[0] + 1]], f"id {ids[twice[0]]} is defined twice")
    words = [rows.words[i] for i in order] if rows.words else []
    return Table(rows.section, rows.values[order], words, rows.lines[order]), ids


def indices(ids: NDArray[np.int64], wanted: NDArray[np.int64], rows: Table, what: str) -> NDArray[np.int64]:
    """Where each wanted id lies in the sorted ids; -1 for 0; an error for an id nobody defined."""
    place = np.searchsorted(ids, wanted)
    known = (place < len(ids)) & (np.append(ids, 0)[np.minimum(place, len(ids))] == wanted)
    missing = np.flatnonzero(~known & (wanted != 0))
    if len(missing):
        raise malformed(rows.section, rows.lines[missing[0]], f"{what} {wanted[missing[0]]} is not defined in the file")
    return np.where(wanted == 0, -1, place)
