"""Progress bars for the command line, from the `Progress` callbacks of long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from latentpath.core import require_extra


class Bars:
    """A `Progress` that shows one bar per stage with rich, on standard error.

    Where standard error is no terminal, a line is printed at the end of every stage instead, and
    every 30 seconds in between.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._started: dict[str, float] = {}
        self._printed = time.monotonic()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        if not quiet and sys.stderr.isatty():
            rich = require_extra("rich.progress", "pipeline")
            console = require_extra("rich.console", "pipeline").Console(stderr=True)
            self._bars = rich.Progress(
                rich.TextColumn("{task.description:<18}"),
                rich.BarColumn(),
                rich.MofNCompleteColumn(),
                rich.TimeElapsedColumn(),
                rich.TimeRemainingColumn(),
                rich.TextColumn("{task.fields[figures]}"),
                console=console,
            )

    def __enter__(self) -> Bars:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if self._quiet:
            return
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._bars is not None:
            self._draw(stage, done, total, shown)
        else:
            self._print(stage, done, total, shown)

    def _draw(self, stage: str, done: int, total: int, shown: str) -> None:
        task = self._tasks.get(stage)
        if task is None:
            task = self._bars.add_task(stage, total=total, figures="")
        self._bars.update(task, completed=done, total=total, figures=shown)
        # A stage that starts again gets a bar of its own.
        self._tasks[stage] = None if done >= total else task

    def _print(self, stage: str, done: int, total: int, shown: str) -> None:
        now = time.monotonic()
        started = self._started.setdefault(stage, now)
        if done >= total:
            del self._started[stage]
        elif now - self._printed < 30:
            return
        self._printed = now
        print(f"{stage}: {done}/{total} in {now - started:.0f} s  {shown}", file=sys.stderr)
