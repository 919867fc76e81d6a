"""Kernels are compiled when first used and kept on disk; the first scan need not be the one that waits for them."""

from __future__ import annotations

from dataclasses import replace

from lauterbur.journey import scan
from lauterbur.protocol.library import load_protocol
from lauterbur.scanner.profiles import load_scanner
from lauterbur.subject.library import load_subject


def compile_kernels() -> None:
    """Scan a sphere coarsely, with nearly all that a scan of the head uses; the rest takes it a few seconds.

    About a minute once per installation, then a quarter of that.
    """
    protocol = load_protocol("brain/t1-mprage")
    coarse = replace(protocol, matrix=(48, 48, 36), reference_lines=(12, 0))
    scan(coarse, load_scanner("5T"), load_subject("sphere"))
