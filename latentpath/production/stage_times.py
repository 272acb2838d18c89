"""Where the time of a pipeline goes, read off what it tells its progress bar."""

from __future__ import annotations

import time
from collections.abc import Mapping

from latentpath.core import Progress


class StageTimes:
    """A progress callback that passes everything on and adds up the time of each stage.

    What lies between two calls counts for the stage of the second.

    Args:
        progress: told what this one is told.
    """

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress, self._last = progress, time.perf_counter()

    def __call__(self, stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """As `latentpath.core.Progress`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        self._progress(stage, done, total, metrics)

    def add(self, other: StageTimes) -> None:
        """Count what another one measured, too."""
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def lines(self) -> list[str]:
        """The stages as text, the longest first."""
        total = sum(self.seconds.values()) or 1.0
        longest = sorted(self.seconds.items(), key=lambda entry: -entry[1])
        return [f"{name}: {spent:.1f} s ({spent / total:.0%})" for name, spent in longest]

    def rounded(self) -> dict[str, float]:
        """Seconds by stage, in the order in which the stages came."""
        return {name: round(spent, 3) for name, spent in self.seconds.items()}
