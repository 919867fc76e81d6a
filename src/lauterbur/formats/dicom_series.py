"""DICOM in, as far as a picture needs it: the largest series of a folder, or the series of one file, as a volume.

What is left out on the way - files that cannot be read, other series, tilted images, second images of one place - is told
in notes; a missing image shows as uneven steps.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError

MOST_FILES = 20_000
MOST_VOXELS = 2_000_000_000
MOST_NAMED = 3  # files named in one note
UNEVEN = 0.01  # of the step between images
MM = 1e-3


def read_dicom(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64], tuple[str, ...]]:
    """(z, y, x) pixel values after rescaling, the affine to patient metres, and notes on what was left out and why.

    Several images at one place: the first.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    path = Path(path)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if len(files) > MOST_FILES:
        raise InputError(f"{path}: holds {len(files)} files; at most {MOST_FILES} are looked through")
    series: dict[str, list[Any]] = {}
    left_out: dict[str, list[str]] = {}  # why: which files
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values in other people's headers
        for file in files:
            try:
                found = pydicom.dcmread(file, stop_before_pixels=True)
                is_placed = ("Rows" in found and "PixelSpacing" in found) or "PerFrameFunctionalGroupsSequence" in found
                of_series = str(found.get("SeriesInstanceUID", ""))
            except InvalidDicomError:
                left_out.setdefault("not DICOM", []).append(_name(file, path))
            except Exception as problem:  # pydicom raises whatever the damage leads to
                reason = " ".join(str(problem).split())[:100] or type(problem).__name__
                left_out.setdefault("cannot be read", []).append(f"{_name(file, path)} ({reason})")
            else:
                if is_placed:
                    series.setdefault(of_series, []).append((file, found))
                else:
                    left_out.setdefault("no image that says where it lies", []).append(_name(file, path))
        notes = [_told(names, why) for why, names in left_out.items()]
        if not series:
            raise FileFormatError(path, "", "; ".join(["no DICOM image that says where it lies", *notes[:MOST_NAMED]]))
        largest = max(series.values(), key=len)
        others = [_name(member[0][0], path) for member in series.values() if member is not largest]
        if others:
            notes.append(_told(others, "the first of another series; only the largest is read"))
        try:
            return _volume(largest, notes)
        except InputError:
            raise
        except Exception as problem:
            raise FileFormatError(largest[0][0], "", f"cannot be read as an image ({problem})") from None


def _name(file: Path, folder: Path) -> str:
    name = str(file.relative_to(folder)) if file != folder else file.name
    return "".join(c if c.isprintable() else "?" for c in name)[:100]


def _told(names: list[str], why: str) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"left out {', '.join(names[:MOST_NAMED])}{more}: {why}"


def _volume(members: list[Any], notes: list[str]) -> tuple[NDArray[np.float32], NDArray[np.float64], tuple[str, ...]]:
    planes = []  # (position mm, orientation (6,), spacing (row, column) mm, file, frame)
    for file, head in members:
        frames = head.get("PerFrameFunctionalGroupsSequence")
        if frames is None:
            planes.append(_plane(head, head, head, file, 0))
            continue
        shared = head.SharedFunctionalGroupsSequence[0]
        for i, own in enumerate(frames):
            place, turn, size = (
                (own if name in own else shared)[name][0]
                for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
            )
            planes.append(_plane(place, turn, size, file, i))

    turn = planes[0][1]
    normal = np.cross(turn[:3], turn[3:])
    parallel = [plane for plane in planes if np.allclose(plane[1], turn, atol=1e-3)]
    if len(parallel) < len(planes):
        notes.append(f"left out {len(planes) - len(parallel)} of {len(planes)} images: tilted against the first")
    planes = parallel
    depth = np.round([plane[0] @ normal for plane in planes], 3)
    places, first = np.unique(depth, return_index=True)  # in order of depth, one image at each place
    if len(first) < len(planes):
        notes.append(f"left out {len(planes) - len(first)} of {len(planes)} images: another lies at the same place")
    steps = np.diff(places)
    if len(steps) and not np.ptp(steps) <= UNEVEN * np.mean(steps) + 2e-3:  # mm; 2e-3: the rounding above
        notes.append(
            f"images lie {steps.min():g} to {steps.max():g} mm apart; they are shown {np.mean(steps):.4g} mm apart"
        )
    rows, columns = int(members[0][1].Rows), int(members[0][1].Columns)
    if rows * columns * len(first) > MOST_VOXELS:
        raise InputError(f"{members[0][0]}: {columns} x {rows} x {len(first)} voxels are too many")

    volume = np.zeros((len(first), rows, columns), np.float32)
    opened: dict[Path, NDArray[Any]] = {}
    for i, which in enumerate(first):
        file, frame = planes[which][3:]
        if file not in opened:
            opened = {file: _frames(file, rows, columns)}
        volume[i] = opened[file][frame]

    position, _, spacing = planes[first[0]][:3]
    step = (planes[first[-1]][0] - position) / max(len(first) - 1, 1) if len(first) > 1 else normal
    affine = np.eye(4)
    affine[:3, 0] = turn[:3] * spacing[1] * MM
    affine[:3, 1] = turn[3:] * spacing[0] * MM
    affine[:3, 2] = step * MM
    affine[:3, 3] = position * MM
    return volume, affine, tuple(notes)


def _frames(file: Path, rows: int, columns: int) -> NDArray[Any]:
    """(frame, y, x) of one file, after rescaling."""
    import pydicom

    try:
        whole = pydicom.dcmread(file)
        values = whole.pixel_array * float(whole.get("RescaleSlope", 1)) + float(whole.get("RescaleIntercept", 0))
    except Exception as problem:  # pydicom raises whatever the damage leads to
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise FileFormatError(file, "", f"cannot be read as an image ({reason})") from None
    if values.shape[-2:] != (rows, columns) or values.ndim > 3:
        size = " x ".join(str(n) for n in values.shape)
        raise FileFormatError(file, "", f"has {size} pixels; the first of the series has {rows} x {columns}, in grey")
    return values.reshape(-1, rows, columns)


def _plane(place: Any, turn: Any, size: Any, file: Path, frame: int) -> tuple[NDArray, NDArray, NDArray, Path, int]:
    position = np.array([float(v) for v in place.ImagePositionPatient])
    orientation = np.array([float(v) for v in turn.ImageOrientationPatient])
    spacing = np.array([float(v) for v in size.PixelSpacing])
    if not (np.isfinite(position).all() and np.isfinite(orientation).all() and np.all(spacing > 0)):
        raise FileFormatError(file, "", "position, orientation or pixel spacing is not a finite number")
    return position, orientation, spacing, file, frame
