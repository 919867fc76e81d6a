"""A folder that appears whole or not at all: filled under a temporary name beside the target, then moved into place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lauterbur.errors import InputError

MARK = "summary.json"  # every folder we write holds one, so that we replace only what is ours


def check_target(folder: str | os.PathLike[str]) -> Path:
    """The folder's path, if it is free, empty, or an earlier one of ours; asked before the work begins."""
    target = Path(folder)
    if "\0" in str(target):
        raise InputError(f"{str(target)[:300]!r}: cannot be the name of a folder")
    try:
        if target.is_dir():
            if any(target.iterdir()) and not (target / MARK).is_file():
                raise InputError(f"{target}: holds other files, which would be lost; choose a new folder")
        elif target.exists():
            raise InputError(f"{target}: is a file; choose a folder")
    except OSError as problem:
        raise InputError(f"{str(target)[:300]!r}: cannot be used as a folder ({problem})") from None
    return target


@contextmanager
def replacing_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """`with replacing_folder(out) as temporary: ...fill temporary...` moves it to `out` unless the block raised."""
    target = check_target(folder).absolute()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    earlier = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as problem:
            raise InputError(f"{target}: cannot be made ({problem.strerror})") from None
        yield temporary
        if target.exists():
            os.replace(target, earlier)
        os.replace(temporary, target)
    finally:
        if earlier.exists() and not target.exists():
            os.replace(earlier, target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
