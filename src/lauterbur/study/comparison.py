"""The same protocol on several scanners: one folder with a scan's folder each, a picture and a table.

comparison/  comparison.png  summary.json  3T/  5T/
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.program import duration
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.planned import Prescan
from lauterbur.shim.target import chosen_voxels, positions, transmit_affine
from lauterbur.study.archive import archive
from lauterbur.study.figures import png
from lauterbur.study.folder import replacing_folder
from lauterbur.study.planes import window
from lauterbur.study.record import ScanResult
from lauterbur.study.summary import versions, write_summary
from lauterbur.study.transmit import heat, relative_angle, side_by_side

FIGURES = {  # findings by name, and how a reader finds them in the table
    "local SAR (10 g), head and trunk, 6 min mean": "local SAR, W/kg",
    "head SAR, 6 min mean": "head SAR, W/kg",
    "whole-body SAR, 6 min mean": "whole-body SAR, W/kg",
    "RF mean power": "RF mean power, W",
}


def archive_comparison(
    results: list[ScanResult],
    masks: list[NDArray[np.bool_]],
    affine: NDArray[np.float64],
    folder: str | os.PathLike[str],
) -> dict[str, Any]:
    """masks: the target, (z, y, x) on the subject's grid (affine), one per result. Returns the summary."""
    scans = []
    for result in results:
        if result.prescan is None:
            raise InputError(f"the scan on {result.scanner.name} had no prescan; scan with a shim, cp at least")
        scans.append((result, result.prescan))
    rows: dict[str, list[float]] = {}
    columns = []
    hottest = max(float(np.nanmax(heat(prescan, result.program))) for result, prescan in scans) or 1.0
    for (result, prescan), mask in zip(scans, masks, strict=True):
        for name, value in _figures(result, prescan, mask).items():
            rows.setdefault(name, []).append(value)
        grid = transmit_affine(prescan.fields)
        image = np.abs(result.image.pixels[0])
        columns.append(
            (
                result.scanner.name,
                [
                    ("flip angle / nominal", relative_angle(prescan), grid, "viridis", (0.0, 2.0)),
                    ("10 g SAR, W/kg", heat(prescan, result.program), grid, "inferno", (0.0, hottest)),
                    ("image, each to its own white", image / window(image)[1], result.image.affine, "gray", (0.0, 1.0)),
                ],
            )
        )
    summary = {
        "protocol": results[0].protocol.name,
        "subject": results[0].subject,
        "seed": results[0].seed,
        "scanners": [result.scanner.name for result in results],
        "rows": rows,
        "versions": versions(),
    }
    with replacing_folder(folder) as temporary:
        for result in results:
            archive(result, temporary / result.scanner.name)
        (temporary / "comparison.png").write_bytes(png(side_by_side(columns)))
        write_summary(summary, temporary / "summary.json")
    return summary


def _figures(result: ScanResult, prescan: Prescan, mask: NDArray[np.bool_]) -> dict[str, float]:
    size = relative_angle(prescan)[chosen_voxels(prescan.fields, mask)]
    found = {
        "scan time, s": duration(result.program),
        "flip-angle variation in the target, %": 100 * float(np.std(size) / np.mean(size)),
    }
    by_name = {finding.quantity: finding.value for finding in result.findings}
    found |= {words: by_name.get(name, float("nan")) for name, words in FIGURES.items()}
    found["SNR of 1 mm3 water in 1 s, target"] = array_snr(prescan.fields, result.scanner, mask)
    return found


def array_snr(fields: FieldMaps, scanner: Scanner, mask: NDArray[np.bool_]) -> float:
    """Mean over the target of what the whole array hears of 1 mm3 of fully transverse water in 1 s, over its noise, r.m.s.

    sqrt(s^H R^-1 s), s the loops' volts and R their noise covariance (Roemer et al., MRM 1990, 16:192).
    """
    from lauterbur.acquisition.twin.receiver import receive_chain

    chain = receive_chain(fields, scanner)
    inverse = np.linalg.inv(chain.affine)
    voxel = np.flatnonzero(mask)
    place = positions(fields.affine, mask.shape, voxel[:: max(1, len(voxel) // 20_000)])
    index = np.round(place @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)[:, ::-1]
    flat = np.ravel_multi_index(tuple(index.T), chain.maps.shape[1:], mode="clip")
    signal = np.linalg.solve(
        np.linalg.cholesky(chain.noise_covariance), chain.maps.reshape(len(chain.maps), -1)[:, flat].astype(complex)
    )
    return float(np.mean(np.linalg.norm(signal, axis=0))) * 1e-9
