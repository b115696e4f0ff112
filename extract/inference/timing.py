"""Where the time of an extraction goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

LOADING = "load networks"


class PhaseTimes:
    """Seconds of each phase of the work, added up over a run."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def add(self, phase: str, seconds: float) -> None:
        self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Adds the wall time of a block, whatever ends it."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(phase, perf_counter() - start)

    def to_json(self) -> dict[str, float]:
        """Phase -> seconds, to the millisecond, in the order in which the phases first ended."""
        return {phase: round(seconds, 3) for phase, seconds in self._seconds.items()}
