"""A picture of anything: a program, raw data, a subject, an image; told apart by name and content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lauterbur.errors import InputError
from lauterbur.study.figures import new_figure

KNOWN = (
    "a .seq, raw data (.mrd, .h5, .dat), an image (.nii, .nii.gz, a DICOM file or folder), or a subject (name or .toml)"
)


def picture(name: str) -> tuple[Figure, tuple[str, ...]]:
    """Opens what `name` stands for and draws it; and notes on what was left out or set right on the way."""
    path = Path(name)
    ending = path.name.lower()
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):
        is_file = is_folder = False
    if is_file and ending.endswith(".seq"):
        return _program(path), ()
    if is_file and ending.endswith((".mrd", ".h5", ".hdf5", ".dat")):
        return _raw(path)
    if is_file and ending.endswith((".nii", ".nii.gz")):
        return _nifti(path), ()
    if is_folder or (is_file and ending.endswith((".dcm", ".ima"))):
        return _dicom(path)
    if is_file and not ending.endswith(".toml"):
        raise InputError(f"{path}: cannot be shown; what can be is {KNOWN}")
    return _subject(name), ()


def _program(path: Path) -> Figure:
    from lauterbur.acquisition.trajectory import trajectory
    from lauterbur.formats.pulseq import read_program
    from lauterbur.program import Column, duration
    from lauterbur.study.diagrams import draw_kspace, draw_sequence

    program = read_program(path)
    listens = bool(np.any(program.blocks[:, Column.ADC] >= 0))
    figure = new_figure(11, 10 if listens else 6.2)
    if listens:
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.6, 1)).ravel()
        played = trajectory(program)
        draw_sequence(above, program)
        draw_kspace(below, played.k, played.n_samples)
    else:
        draw_sequence(figure, program)
    figure.suptitle(f"{path.name}: {program.n_blocks} blocks, {duration(program):.6g} s", fontsize=9, color="#3b4048")
    return figure


def _raw(path: Path) -> tuple[Figure, tuple[str, ...]]:
    from lauterbur.study.diagrams import draw_kspace, draw_raw
    from lauterbur.study.opening import notes_in, open_raw

    raw = open_raw(path)
    figure = new_figure(11, 7.6)
    above, below = figure.subfigures(2, 1, squeeze=False).ravel()
    draw_raw(above, raw)
    draw_kspace(below, raw.k, raw.n_samples)
    words = f"{path.name}: {raw.n_readouts} readouts, {raw.n_rx} coils, {raw.samples.shape[2]} samples"
    figure.suptitle(words, fontsize=9, color="#3b4048")
    return figure, () if raw.header is None else notes_in(raw.header.provenance)


def _nifti(path: Path) -> Figure:
    from lauterbur.formats.nifti import read_nifti
    from lauterbur.study.planes import planes_figure

    volume, affine = read_nifti(path)[:2]
    return planes_figure(_first_volume(np.asarray(volume)), affine, title=path.name)


def _dicom(path: Path) -> tuple[Figure, tuple[str, ...]]:
    from lauterbur.formats.dicom_series import read_dicom
    from lauterbur.study.planes import planes_figure

    volume, affine, notes = read_dicom(path)
    return planes_figure(volume, affine, title=path.name), notes


def _subject(name: str) -> Figure:
    from lauterbur.study.planes import planes_figure
    from lauterbur.subject.library import load_subject

    subject = load_subject(name)
    fullest = np.argmax(subject.fraction, axis=0)
    labels = np.take_along_axis(subject.labels, fullest[None], axis=0)[0]
    names = tuple(tissue.name for tissue in subject.tissues)
    return planes_figure(
        labels, subject.affine, title=f"{subject.name}: tissue that fills most of each voxel", names=names
    )


def _first_volume(values: np.ndarray) -> np.ndarray:
    """(z, y, x) of an array with frames, colours or complex values."""
    while values.ndim > 3:
        values = values[0]
    while values.ndim < 3:
        values = values[None]
    return np.abs(values) if np.iscomplexobj(values) else values
