"""How long work tells its caller how far it is, without knowing who shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

# (stage, done, total, figures): called after every unit of work. `done == total` ends a stage.
Progress = Callable[[str, int, int, Mapping[str, float]], None]


def silent(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """Show nothing: the default of every function that takes a `Progress`."""


def duration(seconds: float) -> str:
    """Return a time in the unit in which people would say it.

    >>> duration(50), duration(600), duration(9000)
    ('50 seconds', '10 minutes', '2.5 hours')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


class SummedProgress:
    """Computations of equal length, beside or after each other, told as one stage.

    Args:
        progress: told the sum of all parts.
        count: number of parts.
    """

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress, self._done = progress, [0] * count
        self._lock = threading.Lock()

    def part(self, number: int) -> Progress:
        """What the part of this number tells; any thread may."""

        def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            with self._lock:
                self._done[number] = done
                self._progress(stage, sum(self._done), total * len(self._done), figures)

        return tell
