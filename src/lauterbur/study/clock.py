"""Where the time went, stage by stage; and the voice that tells the user how far a stage has come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Progress = Callable[[float, str], None]  # done, 0 to 1, and the stage in words


def silent(_done: float, _stage: str) -> None:
    """Progress nobody listens to."""


@dataclass
class Clock:
    """`with clock.stage("simulation"): ...` adds the seconds to clock.seconds, in order."""

    progress: Progress = silent
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Yields a Progress for the stage's own use."""

        def told(done: float, _words: str = "") -> None:
            self.progress(done, name)

        self.progress(0.0, name)
        begin = time.perf_counter()
        try:
            yield told
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin
        self.progress(1.0, name)


def peak_memory() -> int:
    """Bytes: the most memory this process has held so far."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)
