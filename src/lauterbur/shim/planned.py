"""A shim for a program: the budget, the slices and the train that a mode needs, read from what will be played.

shim = plan_shim(program, scanner, fields, sar, target=mask, mode="sar")
shim = plan_shim(program, scanner, fields, sar, target=mask, mode="kt-points", n_points=5)
program = apply_shim(program, shim, scanner)
found = run_prescan(program, scanner, subject, shim="sar")      # fields, B0 shim, SAR model and shim in one
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lauterbur.errors import InputError
from lauterbur.fields.maps import FieldMaps
from lauterbur.fields.solution import solve_fields, transmit_array
from lauterbur.program import Program
from lauterbur.safety.limits import iec_limits
from lauterbur.safety.sar import SarModel, sar_model
from lauterbur.scanner.machine import Scanner
from lauterbur.shim.b0 import B0_SHIMS, B0Shim, prescan_b0, shimmed_fields
from lauterbur.shim.budget import budget_of
from lauterbur.shim.shim import MODES, Shim, Target, design_shim
from lauterbur.shim.slices import Slices, slices_of
from lauterbur.shim.static import STATIC_MODES
from lauterbur.shim.trains import plan_of
from lauterbur.subject.anatomy import Subject
from lauterbur.subject.targets import shim_region, target_mask, usual_target

Progress = Callable[[float, str], None]
Stage = Callable[[str], AbstractContextManager[Progress]]  # `with stage("shim") as told`: told(done, words)


@contextmanager
def silent(_name: str) -> Iterator[Progress]:
    """A stage that nobody watches."""
    yield lambda _done, _words: None


def plan_shim(
    program: Program,
    scanner: Scanner,
    fields: FieldMaps | Sequence[FieldMaps],
    sar: SarModel | Sequence[SarModel],
    *,
    target: Target | Sequence[Target] = None,
    mode: str = "sar",
    slice_wise: bool = False,
    n_points: int = 5,
    operating_mode: str = "first level",
    seed: int = 0,
) -> Shim:
    """`design_shim` for a program as it was built. slice_wise: other weights in every slice of a 2D program; spokes always are."""
    if mode not in MODES:
        raise InputError(f"shim mode {mode!r}; known are {', '.join(MODES)}")
    models = [sar] if isinstance(sar, SarModel) else list(sar)
    limits = iec_limits(operating_mode, max(model.exposed_fraction for model in models))
    is_train = mode not in STATIC_MODES
    return design_shim(
        fields,
        sar,
        target=target,
        mode=mode,
        budget=budget_of(program, scanner, limits=limits),
        slices=slices_of(program) if slice_wise or mode == "spokes" else None,
        plan=plan_of(program, scanner, mode=mode, n_points=n_points) if is_train else None,
        seed=seed,
    )


def check_array(shim: Shim, array: str) -> None:
    """InputError where a shim is known to be for other channels than these."""
    if shim.array and array and shim.array != array:
        raise InputError(
            f"this shim drives transmit array {shim.array}, and {array} lies around this subject: channels of one mean nothing to the "
            "other; design a shim for it"
        )


def check_b0(program: Program, b0: str) -> Slices | None:
    """The slices that a B0 shim of this kind is made for: None but for "slices". InputError where the program has none."""
    if b0 not in B0_SHIMS:
        raise InputError(f"B0 shim {b0!r:.80}; known are {', '.join(B0_SHIMS)}")
    return slices_of(program) if b0 == "slices" else None


def shim_b0(program: Program, scanner: Scanner, fields: FieldMaps, region: NDArray[np.bool_], b0: str) -> B0Shim:
    """For this program, over a region (z, y, x): one shim ("volume"), one for each of its slices ("slices"), no coils ("off").

    What a slice plays acts on the spins nearest to it (shimmed_fields): slices are excited and read one after the other, and what
    their coils do meanwhile elsewhere turns only what is not read.
    """
    return prescan_b0(fields, scanner, region, order=0 if b0 == "off" else None, slices=check_b0(program, b0))


@dataclass(frozen=True, eq=False)
class Prescan:
    """What was found out about a subject before a scan, and the shim that was made of it."""

    fields: FieldMaps  # with the B0 shim on
    sar: SarModel
    shim: Shim
    b0: B0Shim


def run_prescan(
    program: Program,
    scanner: Scanner,
    subject: Subject,
    *,
    shim: str | Shim = "cp",
    fields: FieldMaps | None = None,
    target: str | NDArray[np.bool_] | None = None,
    b0: str = "volume",
    cache: str | os.PathLike[str] | None = None,
    stage: Stage = silent,
    **options: Any,
) -> Prescan:
    """Fields by Maxwell where none are given, B0 shim, SAR model, and a shim for this program where only its mode is given.

    target: a name of subject.targets, a mask (z, y, x) on the subject's grid, or None for the usual one. b0: how the static field
    is shimmed over it, see `shim_b0`. cache: a folder for solved fields. options go to plan_shim.
    """
    if isinstance(shim, Shim):
        check_array(shim, transmit_array(scanner, subject) if fields is None else fields.transmit_array)
    if fields is None:
        with stage("fields") as told:
            fields = solve_fields(scanner, subject, method="maxwell", cache=cache, progress=told)
    if fields.e is None:
        raise InputError(
            "these fields hold no electric field, so that heating cannot be judged; solve them with method='maxwell'"
        )
    with stage("B0 shim"):
        shimmed = shim_b0(program, scanner, fields, shim_region(subject, target), b0)
        fields = shimmed_fields(fields, shimmed)
    with stage("SAR model") as told:
        sar = sar_model(fields, progress=lambda done: told(done, "SAR model"))
    if isinstance(shim, Shim):
        return Prescan(fields, sar, shim, shimmed)
    with stage("shim"):
        if target is None:
            target = usual_target(subject)
        mask = target_mask(subject, target) if isinstance(target, str) else target
        made = plan_shim(program, scanner, fields, sar, target=mask, mode=shim, **options)
    return Prescan(fields, sar, replace(made, target=target if isinstance(target, str) else "mask"), shimmed)
