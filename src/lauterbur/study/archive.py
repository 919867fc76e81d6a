"""The scan's folder, and the folder of a reconstruction: written whole or not at all.

study/  program.seq  raw.mrd  image.nii.gz  dicom/  report.html  summary.json
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lauterbur.findings import Finding
from lauterbur.formats.dicom import write_dicom
from lauterbur.formats.mrd import write_raw
from lauterbur.formats.nifti import write_nifti
from lauterbur.formats.pulseq import write_program
from lauterbur.image import Image, without_timings
from lauterbur.rawdata import Header, RawData
from lauterbur.study.clock import Clock, Progress, peak_memory, silent
from lauterbur.study.folder import replacing_folder
from lauterbur.study.record import ScanResult
from lauterbur.study.report import report_html
from lauterbur.study.summary import scan_summary, versions, write_summary


def archive(result: ScanResult, folder: str | os.PathLike[str], *, progress: Progress = silent) -> dict[str, Any]:
    """Writes the scan's folder and returns its summary."""
    clock = Clock(progress, dict(result.timings))
    with replacing_folder(folder) as temporary:
        with clock.stage("writing raw data"):
            write_program(result.program, temporary / "program.seq")
            write_raw(result.raw, temporary / "raw.mrd")
        with clock.stage("writing images"):
            files = {"program": "program.seq", "raw": "raw.mrd"}
            files |= _write_images(result.image, temporary, result.raw.header, result.findings)
        with clock.stage("report"):
            report = report_html(result, clock.seconds)
            (temporary / "report.html").write_text(report, encoding="utf-8")
        files |= {"report": "report.html", "summary": "summary.json"}
        clock.seconds["total"] = sum(value for name, value in clock.seconds.items() if name != "total")
        summary = scan_summary(result, files, clock.seconds)
        write_summary(summary, temporary / "summary.json")
    return summary


def archive_images(
    image: Image, raw: RawData, folder: str | os.PathLike[str], *, source: str, timings: Mapping[str, float],
    with_report: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Writes the folder of a reconstruction and returns its summary. `source`: the name of the raw data file.

    `with_report` adds a page of the image, its g-factor and signal to noise, and how it fits the data.
    """
    clock = Clock(seconds=dict(timings))
    with replacing_folder(folder) as temporary:
        with clock.stage("writing images"):
            files = _write_images(image, temporary, raw.header, ())
        if with_report:
            from lauterbur.study.figures import png
            from lauterbur.study.fit_report import fit_figure

            with clock.stage("report"):
                (temporary / "report.png").write_bytes(png(fit_figure(image)))
            files["report"] = "report.png"
        files["summary"] = "summary.json"
        summary = {
            "input": source,
            "readouts": raw.n_readouts,
            "receivers": raw.n_rx,
            "image_shape": image.pixels.shape,  # frame, z, y, x
            "affine": image.affine,
            "files": files,
            "provenance": without_timings(image.provenance),
            "timings": clock.seconds,
            "peak_memory_bytes": peak_memory(),
            "versions": versions(),
        }
        write_summary(summary, temporary / "summary.json")
    return summary


def _write_images(image: Image, folder: Path, header: Header | None, findings: tuple[Finding, ...]) -> dict[str, str]:
    files = {"image": "image.nii.gz", "dicom": "dicom"}
    write_nifti(image, folder / "image.nii.gz")
    for name in image.maps:
        files[name] = f"{name}.nii.gz"
        write_nifti(image, folder / files[name], name)
    (folder / "dicom").mkdir()
    write_dicom(image, folder / "dicom", header=header, findings=findings)
    return files
