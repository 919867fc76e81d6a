"""Permittivity and conductivity of tissues at any frequency: the four-term Cole-Cole model, parameters in data/dielectrics.csv.

S Gabriel, R W Lau and C Gabriel, Phys Med Biol 1996, 41:2271, table 1; valid from 10 Hz to 20 GHz.
"""

from __future__ import annotations

import csv
import difflib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.subject.anatomy import Subject
from lauterbur.units import EPSILON_0

TABLE = Path(__file__).parent / "data" / "dielectrics.csv"
NOTHING = ("", "air", "vacuum")  # names of what does not conduct


@cache
def _parameters() -> dict[str, tuple[str, tuple[float, ...]]]:
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    return {row[0].casefold(): (row[0], tuple(float(cell) for cell in row[1:])) for row in rows[1:]}


def dielectric_names() -> tuple[str, ...]:
    return tuple(name for name, _ in _parameters().values())


def dielectrics_of(subject: Subject, frequency: float) -> NDArray[np.float64]:
    """(tissue, 2): relative permittivity, and conductivity in S/m, of a subject's tissues at a frequency in Hz."""
    found = []
    for tissue in subject.tissues:
        try:
            found.append(dielectric(tissue.dielectric, frequency))
        except InputError as problem:
            raise InputError(f"subject {subject.name}, tissue {tissue.name!r:.80}, dielectric: {problem}") from None
    return np.array(found)


def dielectric(name: str, frequency: float) -> tuple[float, float]:
    """(relative permittivity, conductivity S/m) of a tissue at a frequency in Hz."""
    if name.casefold() in NOTHING:
        return 1.0, 0.0
    if name.casefold() not in _parameters():
        near = difflib.get_close_matches(name, dielectric_names(), 4, 0.3) or dielectric_names()[:4]
        raise InputError(f"there is no tissue {name!r:.80} in the dielectric table; near it are {', '.join(near)}")
    ef, d1, tau1, a1, d2, tau2, a2, sigma, d3, tau3, a3, d4, tau4, a4 = _parameters()[name.casefold()][1]
    omega = 2 * np.pi * frequency
    terms = ((d1, tau1 * 1e-12, a1), (d2, tau2 * 1e-9, a2), (d3, tau3 * 1e-6, a3), (d4, tau4 * 1e-3, a4))
    epsilon = ef + sigma / (1j * omega * EPSILON_0)
    for delta, tau, alpha in terms:
        epsilon += delta / (1 + (1j * omega * tau) ** (1 - alpha))
    return float(epsilon.real), float(-epsilon.imag * omega * EPSILON_0)
