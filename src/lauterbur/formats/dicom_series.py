"""DICOM in, as far as a picture needs it: the largest series of a folder, or the series of one file, as a volume."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import FileFormatError, InputError

MOST_FILES = 20_000
MOST_VOXELS = 2_000_000_000
MM = 1e-3


def read_dicom(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(z, y, x) pixel values after rescaling, and the affine to patient metres. Several images at one place: the first."""
    import pydicom

    path = Path(path)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if len(files) > MOST_FILES:
        raise InputError(f"{path}: holds {len(files)} files; at most {MOST_FILES} are looked through")
    series: dict[str, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values in other people's headers
        for file in files:
            try:
                found = pydicom.dcmread(file, stop_before_pixels=True)
            except Exception:  # not DICOM: a folder may hold other files
                continue
            if ("Rows" in found and "PixelSpacing" in found) or "PerFrameFunctionalGroupsSequence" in found:
                series.setdefault(str(found.get("SeriesInstanceUID", "")), []).append((file, found))
        if not series:
            raise FileFormatError(path, "", "no DICOM image that says where it lies")
        largest = max(series.values(), key=len)
        try:
            return _volume(largest)
        except InputError:
            raise
        except Exception as problem:
            raise FileFormatError(largest[0][0], "", f"cannot be read as an image ({problem})") from None


def _volume(members: list[Any]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    import pydicom

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
    planes = [plane for plane in planes if np.allclose(plane[1], turn, atol=1e-3)]
    depth = np.round([plane[0] @ normal for plane in planes], 3)
    first = np.unique(depth, return_index=True)[1]  # in order of depth, one image at each place
    rows, columns = int(members[0][1].Rows), int(members[0][1].Columns)
    if rows * columns * len(first) > MOST_VOXELS:
        raise InputError(f"{members[0][0]}: {columns} x {rows} x {len(first)} voxels are too many")

    volume = np.zeros((len(first), rows, columns), np.float32)
    opened: dict[Path, NDArray[Any]] = {}
    for i, which in enumerate(first):
        file, frame = planes[which][3:]
        if file not in opened:
            whole = pydicom.dcmread(file)
            values = whole.pixel_array * float(whole.get("RescaleSlope", 1)) + float(whole.get("RescaleIntercept", 0))
            opened = {file: values.reshape(-1, rows, columns)}
        volume[i] = opened[file][frame]

    position, _, spacing = planes[first[0]][:3]
    step = (planes[first[-1]][0] - position) / max(len(first) - 1, 1) if len(first) > 1 else normal
    affine = np.eye(4)
    affine[:3, 0] = turn[:3] * spacing[1] * MM
    affine[:3, 1] = turn[3:] * spacing[0] * MM
    affine[:3, 2] = step * MM
    affine[:3, 3] = position * MM
    return volume, affine


def _plane(place: Any, turn: Any, size: Any, file: Path, frame: int) -> tuple[NDArray, NDArray, NDArray, Path, int]:
    position = np.array([float(v) for v in place.ImagePositionPatient])
    orientation = np.array([float(v) for v in turn.ImageOrientationPatient])
    spacing = np.array([float(v) for v in size.PixelSpacing])
    if not (np.isfinite(position).all() and np.isfinite(orientation).all() and np.all(spacing > 0)):
        raise FileFormatError(file, "", "position, orientation or pixel spacing is not a finite number")
    return position, orientation, spacing, file, frame
