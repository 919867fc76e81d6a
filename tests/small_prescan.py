"""Fields of a sphere made up in no time, and a small protocol: a folder with what the verbs of a prescan need."""

from dataclasses import replace

import numpy as np
from typer.testing import CliRunner

import lauterbur as lb
from lauterbur.cli import app
from lauterbur.fields.files import fingerprint, write_fields
from lauterbur.fields.maps import FieldMaps

STEP = 0.012  # m, of the transmit grid

PROTOCOL = """
contrast = "GRE"
description = "small"
fov = "192 x 192 x 192 mm"
matrix = [16, 16, 16]
te = "3 ms"
tr = "8 ms"
flip_angle = "8 deg"
bandwidth = "500 Hz/px"
rf_duration = "0.2 ms"
dummies = 20
"""


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def waves(place: np.ndarray, n: int) -> np.ndarray:
    """(tx, point): from lines around the body, as short as at 5 T."""
    turn = 2 * np.pi * np.arange(n)[:, None] / n
    away = np.hypot(place[:, 0] - 0.14 * np.cos(turn), place[:, 1] - 0.14 * np.sin(turn))
    return np.exp(1j * ((2 * np.pi / 0.16 + 6j) * away + turn)) / away


def fields_of(subject, scanner) -> FieldMaps:
    """Made up, but owned: what a solver would have written."""
    quiet = lb.solve_fields(scanner, subject)
    size = np.linalg.norm(subject.affine[:3, :3], axis=0)
    last = subject.affine[:3, :3] @ (np.array(subject.labels.shape[:0:-1]) - 1) + subject.affine[:3, 3]
    low = np.minimum(subject.affine[:3, 3], last) - 2 * STEP
    shape = np.ceil(np.array(subject.labels.shape[:0:-1]) * size / STEP).astype(int) + 5  # x, y, z
    z, y, x = np.meshgrid(*(low[i] + STEP * np.arange(shape[i]) for i in (2, 1, 0)), indexing="ij")
    place = np.stack((x, y, z), axis=-1).reshape(-1, 3)
    middle = subject.affine[:3, :3] @ ((np.array(subject.labels.shape[:0:-1]) - 1) / 2) + subject.affine[:3, 3]
    inside = (np.linalg.norm(place - middle, axis=1) < 0.075).reshape(x.shape)
    n = scanner.transmit.channels
    b1 = 2e-8 * waves(place - middle, n).reshape(n, *x.shape)
    e = waves(place - middle, n).reshape(n, 1, *x.shape) * np.array([0.1, 0.2, 1.0])[None, :, None, None, None]
    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = low
    owner = {
        "scanner": scanner.name,
        "scanner_hash": fingerprint(scanner),
        "subject": subject.name,
        "subject_hash": fingerprint(subject),
    }
    return replace(
        quiet,
        b1_plus=b1.astype(np.complex64),
        e=(e * inside).astype(np.complex64),
        transmit_affine=affine,
        conductivity=(0.6 * inside).astype(np.float32),
        density=(1000.0 * inside).astype(np.float32),
        part=inside.astype(np.uint8),
        body_mass=70.0,
        provenance={**quiet.provenance, **owner},
    )


def filled(home):
    """fields.h5 of the sphere on 5T, and small.toml."""
    scanner = lb.load_scanner("5T")
    subject = lb.load_subject("sphere", field_strength=scanner.field_strength)
    write_fields(fields_of(subject, scanner), home / "fields.h5")
    (home / "small.toml").write_text(PROTOCOL)
    return home
