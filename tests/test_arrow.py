"""A room imports itself and what stands above it, never below; recon and live see raw data and nothing behind it."""

import ast
from pathlib import Path

import lauterbur

ORDER = (
    "units errors findings protocol program rawdata image formats scanner subject fields safety shim sequence "
    "acquisition recon live study journey kernels console cli"
).split()
SEES_ONLY = {  # what works on the twin then works on the machine
    room: {"units", "errors", "findings", "protocol", "program", "rawdata", "image", room} for room in ("recon", "live")
}
ROOT = Path(lauterbur.__file__).parent


def imported_rooms(file: Path) -> list[tuple[int, str]]:
    """(line, room) of every import of our own package, lazy ones included; those for type checkers alone do not run."""
    found = []
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    package = ["lauterbur", *file.relative_to(ROOT).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.module else base
            names = [".".join([*module, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "lauterbur" and len(parts) > 1 and parts[1] != "__version__":
                home = lauterbur._PUBLIC.get(parts[1], ".".join(parts))  # a verb counts as the room it lives in
                found.append((node.lineno, home.split(".")[1]))
    return found


def files() -> list[tuple[str, Path]]:
    listed = []
    for file in sorted(ROOT.rglob("*.py")):
        room = file.relative_to(ROOT).parts[0].removesuffix(".py")
        if room != "__init__":
            listed.append((room, file))
    return listed


def test_every_room_has_its_place_in_the_order():
    assert {room for room, _ in files()} <= set(ORDER)


def test_rooms_import_only_what_stands_above_them():
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {seen}"
        for room, file in files()
        for line, seen in imported_rooms(file)
        if seen not in ORDER or ORDER.index(seen) > ORDER.index(room)
    ]
    assert not wrong, "\n".join(wrong)


def test_reconstruction_sees_raw_data_and_nothing_behind_it():
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {seen}"
        for room, file in files()
        if room in SEES_ONLY
        for line, seen in imported_rooms(file)
        if seen not in SEES_ONLY[room]
    ]
    assert not wrong, "\n".join(wrong)
