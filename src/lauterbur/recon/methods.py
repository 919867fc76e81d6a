"""The methods of reconstruct() by name, and whether a choice among them makes sense: asked before anything is read."""

from __future__ import annotations

import importlib.util

from lauterbur.errors import InputError
from lauterbur.recon.regularisation import checked

METHODS = ("auto", "cartesian", "nufft", "sense", "grappa", "cs", "low-rank", "learned")
ON_LINES = METHODS[3:]  # by name, of Cartesian lines; auto and cartesian are sense where lines are parallel
LINES_ONLY = ("cartesian", "grappa", "learned")  # the others go along any trajectory
REGULARISED = ("cs", "low-rank")  # whose weight can be chosen
WITH_PRIOR = (*REGULARISED, "learned")


def check_choice(method: str, maps: object, regularisation: float | str, tune: bool = False) -> float | None:
    """The weight of the prior, None for the rule; refuses what is unknown or has no effect."""
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    if isinstance(maps, str) and maps != "espirit":
        raise InputError(f"maps {maps!r} are unknown; give 'espirit', or maps of calibrate(raw)")
    weight = checked(regularisation)
    if weight is not None and method not in REGULARISED:
        raise InputError(f"regularisation has no effect on method {method!r}; use it with {' or '.join(REGULARISED)}")
    if not isinstance(maps, str) and method not in ON_LINES:
        raise InputError(f"maps have no effect on method {method!r}; use them with {', '.join(ON_LINES)}")
    if tune and method != "learned":
        raise InputError(f"tuning has no effect on method {method!r}; use it with 'learned'")
    if tune and importlib.util.find_spec("torch") is None:
        raise InputError('tuning the learned prior needs torch; pip install "lauterbur[train]", or do not tune')
    return weight
