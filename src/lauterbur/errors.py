"""What can go wrong. Every message is a sentence: what, how much, how much is allowed, where, what to do.

LauterburError
|-- InputError             exit code 2: the user's request, file or array is not usable
|   |-- FileFormatError    a foreign file is malformed; names the file and the place in it
|   |-- ProtocolError      an impossible protocol; says what is possible instead
|   '-- UnsupportedError   well-formed, but beyond what this code can do; names the feature
|-- RefusedError           exit code 3: the gate will not let this be played; carries its findings
'-- ResourceError          exit code 2: memory, disk or time would not suffice; says how much is needed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lauterbur.findings import Finding


class LauterburError(Exception):
    exit_code = 2


class InputError(LauterburError):
    pass


class FileFormatError(InputError):
    """`FileFormatError("scan.seq", "line 12 ([RF])", "amplitude is NaN; expected a finite number in Hz")`."""

    def __init__(self, path: object, where: str, problem: str):
        self.path, self.where, self.problem = str(path), where, problem
        super().__init__(f"{path}: {where}: {problem}" if where else f"{path}: {problem}")


class ProtocolError(InputError):
    pass


class UnsupportedError(InputError):
    pass


class ResourceError(LauterburError):
    pass


class RefusedError(LauterburError):
    exit_code = 3

    def __init__(self, message: str, findings: tuple[Finding, ...] = ()):
        self.findings = findings
        super().__init__(message)
