"""How long a step of some long work takes here, found by doing a few of them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping

from latentpath.core.progress import Progress


class _EnoughError(Exception):
    """Ends a trial from within its progress."""


class _StepClock:
    """A progress callback that times what follows its first call, and then ends the work."""

    def __init__(self, seconds: float, calls: float) -> None:
        self.first: tuple[float, int] | None = None
        self.last = (0.0, 0)
        self._seconds, self._calls = seconds, calls

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        dict(figures)  # a step is done when its figures are there: a GPU is still at it
        now = time.perf_counter()
        if self.first is None:
            self.first = now, done
            return
        self.last = now, done
        self._calls -= 1
        if now - self.first[0] > self._seconds or self._calls <= 0:
            raise _EnoughError

    @property
    def per_unit(self) -> float | None:
        """Seconds for each unit of what was counted; None where there was one call at most."""
        if self.first is None or not self.last[1]:
            return None
        (began, before), (ended, after) = self.first, self.last
        return (ended - began) / max(after - before, 1)


def seconds_per_unit(
    work: Callable[[Progress], object], *, seconds: float = math.inf, calls: float = math.inf
) -> float:
    """Begin some work, and end it when enough is known of how long it takes.

    Args:
        work: tells its progress as it goes; the first call is not counted.
        seconds: that are enough.
        calls: of the progress that are enough.

    Returns:
        Seconds for each unit that the progress counts; all of them where it tells only once.
    """
    clock, began = _StepClock(seconds, calls), time.perf_counter()
    with contextlib.suppress(_EnoughError):
        work(clock)
    measured = clock.per_unit
    return time.perf_counter() - began if measured is None else measured
