"""SAR models on disk: one HDF5 file that appears whole or not at all, and that is believed only after the model's checks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lauterbur.errors import FileFormatError, InputError
from lauterbur.formats.atomic import replacing
from lauterbur.safety.sar import SarModel, sar_from_matrices

KIND, VERSION = "lauterbur SAR model", 1
ARRAYS = ("local", "where", "part", "whole_body", "head", "partial_body")
NUMBERS = ("exposed_fraction", "overestimation", "safety_factor")
LARGEST = 2**31  # bytes of one array: more is no SAR model


def write_sar(path: str | os.PathLike[str], sar: SarModel) -> None:
    """All fields, SI; complex numbers as HDF5's compound (r, i)."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["kind"], file.attrs["version"] = KIND, VERSION
        for name in ARRAYS:
            values = getattr(sar, name)
            if values is not None:
                file.create_dataset(name, data=values)
        for name in NUMBERS:
            file.attrs[name] = getattr(sar, name)
        file.attrs["provenance"] = json.dumps(dict(sar.provenance), default=str)


def read_sar(path: str | os.PathLike[str]) -> SarModel:
    """What write_sar wrote; anything else is refused, with the place that is wrong."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; `sar_model` makes a SAR model and `write_sar` keeps it")
    try:
        with h5py.File(path, "r") as file:
            return _model(path, file)
    except (OSError, RuntimeError, KeyError) as problem:
        raise FileFormatError(path, "", f"it cannot be read as HDF5 ({problem})") from None


def _model(path: str | os.PathLike[str], file: h5py.File) -> SarModel:
    kind, version = file.attrs.get("kind"), file.attrs.get("version")
    if kind != KIND or version != VERSION:
        raise FileFormatError(
            path, "attributes", f"it is {kind!r} version {version!r}; expected {KIND!r} version {VERSION}"
        )
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        if name in file:
            data = file[name]
            if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fciu" or data.nbytes > LARGEST:
                raise FileFormatError(path, name, f"it must be an array of numbers, of at most {LARGEST >> 30} GB")
            arrays[name] = np.asarray(data)
    if missing := {"local", "where", "part"} - set(arrays):
        raise FileFormatError(path, "", f"{', '.join(sorted(missing))} missing; the file is not whole")
    numbers: dict[str, Any] = {}
    for name in NUMBERS:
        value = file.attrs.get(name)
        if not isinstance(value, int | float | np.integer | np.floating):
            raise FileFormatError(path, f"attribute {name}", f"it is {value!r}; expected a number")
        numbers[name] = float(value)
    try:
        provenance = json.loads(str(file.attrs.get("provenance", "{}")))
    except json.JSONDecodeError:
        provenance = None
    if not isinstance(provenance, dict):
        raise FileFormatError(path, "attribute provenance", "it is no JSON object")
    if arrays["local"].ndim != 3 or arrays["local"].shape[1] != arrays["local"].shape[2]:
        raise FileFormatError(path, "local", f"shape {arrays['local'].shape}; expected (point, tx, tx)")
    try:
        given: dict[str, Any] = {**arrays, **numbers}
        return sar_from_matrices(**given, provenance=provenance)
    except InputError as problem:
        raise FileFormatError(path, "", str(problem)) from None
