"""summary.json: what a machine wants to know of a scan or a reconstruction. Strict JSON; clocks only under `timings`."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lauterbur.formats.atomic import replacing
from lauterbur.image import without_timings
from lauterbur.program import duration
from lauterbur.shim.b0 import b0_figures
from lauterbur.study.clock import peak_memory
from lauterbur.study.record import ScanResult

PACKAGES = ("lauterbur", "numpy", "scipy", "numba", "finufft", "h5py", "ismrmrd", "nibabel", "pydicom", "matplotlib")


def scan_summary(result: ScanResult, files: Mapping[str, str], timings: Mapping[str, float]) -> dict[str, Any]:
    return {
        "protocol": result.protocol.name,
        "scanner": result.scanner.name,
        "subject": result.subject,
        "seed": result.seed,
        "engine": result.engine,
        "scan_time_s": duration(result.program),
        "simulation_error": simulation_error(result.provenance),
        "findings": [finding.as_dict() for finding in result.findings],
        "notes": list(result.notes),
        "files": dict(files),
        "provenance": without_timings(result.image.provenance),
        "fields": result.fields,
        "b0_shim": None if result.b0 is None else b0_figures(result.b0),
        "shim": None
        if result.prescan is None
        else {
            "mode": result.prescan.shim.mode,
            "target": result.prescan.shim.target,
            "promised": dict(result.prescan.shim.promised),
        },
        "timings": dict(timings),
        "peak_memory_bytes": peak_memory(),
        "versions": versions(),
    }


def simulation_error(provenance: Mapping[str, Any]) -> dict[str, float] | None:
    """Relative, of the simulated signal: what was measured, and its upper 95 % limit."""
    error = provenance.get("simulation_error")
    return {name: error[name] for name in ("estimate", "upper95")} if error else None


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def to_json(summary: Mapping[str, Any]) -> str:
    return json.dumps(_plain(summary), indent=2, allow_nan=False, ensure_ascii=False)


def write_summary(summary: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(to_json(summary) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """What JSON can say: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
