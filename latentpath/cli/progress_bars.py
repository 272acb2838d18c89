"""Progress bars for the command line, from the `Progress` callbacks of long work."""

from __future__ import annotations

import importlib
import math
import os
import sys
import time
from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import Any

from latentpath.core import duration

# Seconds between two looks at figures; bars are not drawn more often either.
_LOOK_EVERY = 0.1


class Bars:
    """A `Progress` that shows one bar per stage with rich, on standard error.

    Where standard error is no terminal, or one that cannot move its cursor, or where rich is not
    installed, a line is printed at the end of every stage instead, and every 30 seconds in between.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._started: dict[str, tuple[float, int]] = {}
        self._printed, self._looked = time.monotonic(), -math.inf
        self._rich = None if quiet else _rich()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Leave the bars as they are; the next stage draws new ones below.

        To be called before text goes to standard output: rich would otherwise take that for text
        of its own, break its lines, and print it on standard error.
        """
        if self._bars is not None:
            bars, self._bars = self._bars, None
            self._tasks = {}
            bars.stop()

    def say(self, text: str) -> None:
        """Print a line about the work, unless it is to be quiet."""
        if not self._quiet:
            self.leave()
            print(f"latentpath: {text}", file=sys.stderr)

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if self._quiet:
            return
        if self._rich is not None:
            self._draw(self._rich, stage, done, total, figures)
        else:
            self._print(stage, done, total, figures)

    def _draw(
        self, rich: ModuleType, stage: str, done: int, total: int, figures: Mapping[str, float]
    ) -> None:
        if self._bars is None:
            self._bars = rich.Progress(
                rich.TextColumn("{task.description:<18}"),
                rich.BarColumn(),
                rich.MofNCompleteColumn(),
                rich.TimeElapsedColumn(),
                rich.TimeRemainingColumn(),
                rich.TextColumn("{task.fields[figures]}"),
                console=importlib.import_module("rich.console").Console(stderr=True),
                redirect_stdout=False,
            )
            self._bars.start()
        task = self._tasks.get(stage)
        if task is None:
            task = self._bars.add_task(stage, total=total, figures="")
        # Figures may be on a GPU, which is waited for when they are looked at.
        now, more = time.monotonic(), {}
        if done >= total or now - self._looked >= _LOOK_EVERY:
            self._looked, more = now, {"figures": _in_words(figures)}
        self._bars.update(task, completed=done, total=total, **more)
        # A stage that starts again gets a bar of its own.
        self._tasks[stage] = None if done >= total else task

    def _print(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        now = time.monotonic()
        # What was there when it began, such as an earlier training's steps, took no time of it.
        started, before = self._started.setdefault(stage, (now, done))
        rest = ""
        if done >= total:
            del self._started[stage]
        elif now - self._printed < 30:
            return
        elif done > before:
            left = (now - started) * (total - done) / (done - before)
            rest = f", about {duration(left)} left"
        self._printed = now
        taken = f"{now - started:.0f} s{rest}"
        print(f"{stage}: {done}/{total} in {taken}  {_in_words(figures)}", file=sys.stderr)


def _in_words(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _rich() -> ModuleType | None:
    """The module that draws bars, where they can be drawn."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return None
    try:
        return importlib.import_module("rich.progress")
    except ImportError:  # an extra, and no command may fail for want of a bar
        return None
