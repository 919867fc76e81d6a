"""Reading the coefficients of the SAFE model of nerve stimulation, axis by axis, from a profile."""

from __future__ import annotations

from lauterbur.scanner.machine import SafeAxis
from lauterbur.scanner.table import Table


def safe_axes(table: Table) -> tuple[SafeAxis, ...]:
    """Of x, y and z; nothing where the section is absent."""
    if not table.values:
        return ()
    axes = []
    for name in ("x", "y", "z"):
        axis = table.section(name)
        a, tau = axis.numbers("a", "ratio", 3, least=0, most=10), axis.numbers("tau", "time", 3, least=1e-6, most=10)
        if not sum(a) > 0:
            raise axis.error("a", "is zero throughout; the model would feel nothing")
        limit, weight = axis.number("limit", "slew"), axis.number("weight", "ratio", 1.0, most=10)
        axes.append(SafeAxis((a[0], a[1], a[2]), (tau[0], tau[1], tau[2]), limit, weight))
        axis.finish()
    table.finish()
    return tuple(axes)
