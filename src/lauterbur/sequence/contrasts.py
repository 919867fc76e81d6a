"""One door from protocol to program, whatever the contrast.

program = build_program(load_protocol("brain/t1-mprage"), load_scanner("5T"))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lauterbur.program import Program, duration
from lauterbur.protocol.protocol import Protocol, checked, resolution
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.bssfp import balanced_ssfp
from lauterbur.sequence.epi import echo_planar
from lauterbur.sequence.gre import spoiled_gradient_echo
from lauterbur.sequence.mprage import mprage
from lauterbur.sequence.tse import turbo_spin_echo
from lauterbur.sequence.tse_volume import volume_turbo_spin_echo
from lauterbur.sequence.turned import turned_gradient_echo

BUILDERS: dict[str, Callable[[Protocol, Scanner], Program]] = {
    "GRE": spoiled_gradient_echo,
    "MPRAGE": mprage,
    "BSSFP": balanced_ssfp,
    "EPI": echo_planar,
    "TSE": turbo_spin_echo,
    "FLAIR": turbo_spin_echo,
}


def build_program(protocol: Protocol, scanner: Scanner) -> Program:
    """What the machine plays for this protocol; a ProtocolError says what it could play instead."""
    if checked(protocol).contrast == "TSE" and protocol.is_3d:
        return volume_turbo_spin_echo(protocol, scanner)
    if protocol.trajectory != "cartesian":
        return turned_gradient_echo(protocol, scanner)
    return BUILDERS[protocol.contrast](protocol, scanner)


@dataclass(frozen=True)
class Description:
    """One line of the library as an operator reads it."""

    name: str
    description: str
    contrast: str
    resolution: tuple[float, float, float]  # m, along readout, phase, slice
    slices: int  # or partitions
    scan_time: float  # s


def describe(protocol: Protocol, scanner: Scanner) -> Description:
    """What the protocol gives and how long it takes on this machine; builds the program to know."""
    n = protocol.matrix[2] if protocol.is_3d else protocol.slices
    scan_time = duration(build_program(protocol, scanner))
    return Description(protocol.name, protocol.description, protocol.contrast, resolution(protocol), n, scan_time)
