"""Lauterbur: a 5 T whole-body MRI scanner in software. Research software, not a medical device.

    lb.scan(protocol, scanner, subject, seed=1)         # one scan, from request to image
    lb.simulate(program, spins)                         # any program on any magnetisation
    lb.reconstruct(raw)                                 # raw data to an image

Verbs are loaded on first use, so that `import lauterbur` is quick.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Idle threads sleep. By default those of BLAS and of OpenMP spin, each on a core that the other's work then lacks.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"

# Every public name and the module it lives in. None may share its name with a room or a file.
_PUBLIC = {
    "load_scanner": "lauterbur.scanner.profiles",
    "load_subject": "lauterbur.subject.library",
    "load_protocol": "lauterbur.protocol.library",
    "read_program": "lauterbur.formats.pulseq",
    "write_program": "lauterbur.formats.pulseq",
    "read_raw": "lauterbur.formats.mrd",
    "write_raw": "lauterbur.formats.mrd",
    "scan": "lauterbur.journey",
    "compile_kernels": "lauterbur.kernels",
    "simulate": "lauterbur.acquisition.twin.simulation",
    "reconstruct": "lauterbur.recon.reconstruction",
    "calibrate": "lauterbur.recon.coilmaps",
    "CoilMaps": "lauterbur.recon.coilmaps",
    "solve_fields": "lauterbur.fields.solution",
    "clear": "lauterbur.safety.gate",
    "design_shim": "lauterbur.shim.shim",
    "apply_shim": "lauterbur.shim.playing",
    "sar_model": "lauterbur.safety.sar",
    "build_program": "lauterbur.sequence.contrasts",
    "Spins": "lauterbur.acquisition.twin.spins",
    "Program": "lauterbur.program",
    "RawData": "lauterbur.rawdata",
    "Image": "lauterbur.image",
    "FieldMaps": "lauterbur.fields.maps",
    "Finding": "lauterbur.findings",
    "LauterburError": "lauterbur.errors",
}

__all__ = [*_PUBLIC, "__version__"]

if TYPE_CHECKING:
    from lauterbur.acquisition.twin.simulation import simulate
    from lauterbur.acquisition.twin.spins import Spins
    from lauterbur.errors import LauterburError
    from lauterbur.fields.maps import FieldMaps
    from lauterbur.fields.solution import solve_fields
    from lauterbur.findings import Finding
    from lauterbur.formats.mrd import read_raw, write_raw
    from lauterbur.formats.pulseq import read_program, write_program
    from lauterbur.image import Image
    from lauterbur.journey import scan
    from lauterbur.kernels import compile_kernels
    from lauterbur.program import Program
    from lauterbur.protocol.library import load_protocol
    from lauterbur.rawdata import RawData
    from lauterbur.recon.coilmaps import CoilMaps, calibrate
    from lauterbur.recon.reconstruction import reconstruct
    from lauterbur.safety.gate import clear
    from lauterbur.safety.sar import sar_model
    from lauterbur.scanner.profiles import load_scanner
    from lauterbur.sequence.contrasts import build_program
    from lauterbur.shim.playing import apply_shim
    from lauterbur.shim.shim import design_shim
    from lauterbur.subject.library import load_subject


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'lauterbur' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
