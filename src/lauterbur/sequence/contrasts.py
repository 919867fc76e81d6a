"""One door from protocol to program, whatever the contrast.

program = build_program(load_protocol("brain/t1-mprage"), load_scanner("5T"))
"""

from __future__ import annotations

from collections.abc import Callable

from lauterbur.program import Program
from lauterbur.protocol.protocol import Protocol, checked
from lauterbur.scanner.machine import Scanner
from lauterbur.sequence.bssfp import balanced_ssfp
from lauterbur.sequence.gre import spoiled_gradient_echo
from lauterbur.sequence.mprage import mprage
from lauterbur.sequence.tse import turbo_spin_echo

BUILDERS: dict[str, Callable[[Protocol, Scanner], Program]] = {
    "GRE": spoiled_gradient_echo,
    "MPRAGE": mprage,
    "BSSFP": balanced_ssfp,
    "TSE": turbo_spin_echo,
    "FLAIR": turbo_spin_echo,
}


def build_program(protocol: Protocol, scanner: Scanner) -> Program:
    """What the machine plays for this protocol; a ProtocolError says what it could play instead."""
    return BUILDERS[checked(protocol).contrast](protocol, scanner)
