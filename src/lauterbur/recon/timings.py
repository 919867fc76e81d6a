"""How long each stage took, the only clock in this room; and the voice that says how far the work has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Told = Callable[[float], None]  # done, 0 to 1


def silent(_done: float) -> None:
    """Progress nobody listens to."""


@dataclass
class Timings:
    """Seconds per stage, in order. `told` hears how much of all images is done."""

    told: Told = silent
    seconds: dict[str, float] = field(default_factory=dict)

    def part(self, i: int, n: int) -> Told:
        """What the i-th of n equal parts of the work says of itself."""
        return lambda done: self.told((i + done) / n)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
