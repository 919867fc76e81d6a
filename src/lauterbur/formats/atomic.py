"""Files appear whole or not at all: written under a temporary name beside the target, then moved into place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lauterbur.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """`with replacing(path) as temporary: ...write temporary...` moves it to `path` unless the block raised."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            yield temporary
            os.replace(temporary, target)
        except OSError as problem:
            raise InputError(f"{target}: cannot be written ({problem.strerror or problem})") from None
    finally:
        temporary.unlink(missing_ok=True)
