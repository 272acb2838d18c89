"""Long work as its caller sees it: how far it is, how long steps take, and that it stops cleanly.

Who does the work does not know who shows it. The first Ctrl-C or SIGTERM lets it end cleanly at its
next stop, another ends it at once.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from latentpath.core.errors import RunError
from latentpath.core.option_words import RESUME, as_here, option

# (stage, done, total, figures): called after every unit of work. `done == total` ends a stage.
Progress = Callable[[str, int, int, Mapping[str, float]], None]

# Shows a line about what comes or what was done.
Say = Callable[[str], None]


def silent(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """Show nothing: the default of every function that takes a `Progress`."""


def unsaid(line: str) -> None:
    """Show nothing: the default of every function that takes a `Say`."""


def duration(seconds: float) -> str:
    """Return a time in the unit in which people would say it.

    >>> duration(0.2), duration(50), duration(600), duration(9000)
    ('1 second', '50 seconds', '10 minutes', '2.5 hours')
    """
    if seconds < 1.5:
        return "1 second"
    if seconds < 90:
        return f"{round(seconds)} seconds"
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


class _EnoughError(Exception):
    """Ends a trial from within its progress."""


class _StepClock:
    """A progress callback that times what follows its first call, and then ends the work."""

    def __init__(self, seconds: float, calls: float, clock: Callable[[], float]) -> None:
        self.first: tuple[float, int] | None = None
        self.last = (0.0, 0)
        self._calls, self._clock = calls, clock
        self._seconds, self._began = seconds, 0.0

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        dict(figures)  # a step is done when its figures are there: a GPU is still at it
        told, now = self._clock(), time.perf_counter()
        if self.first is None:
            self.first, self._began = (told, done), now
            return
        self.last = told, done
        self._calls -= 1
        if now - self._began > self._seconds or self._calls <= 0:
            raise _EnoughError

    @property
    def per_unit(self) -> float | None:
        """Seconds for each unit of what was counted; None where there was one call at most."""
        if self.first is None or not self.last[1]:
            return None
        (began, before), (ended, after) = self.first, self.last
        return (ended - began) / max(after - before, 1)


def seconds_per_unit(
    work: Callable[[Progress], object],
    *,
    seconds: float = math.inf,
    calls: float = math.inf,
    clock: Callable[[], float] | None = None,
) -> float:
    """Begin some work, and end it when enough is known of how long it takes.

    Args:
        work: tells its progress as it goes; the first call is not counted.
        seconds: that are enough.
        calls: of the progress that are enough.
        clock: by which the work is timed, seconds; None takes the usual one.

    Returns:
        Seconds for each unit that the progress counts; all of them where it tells only once.
    """
    clock = clock or time.perf_counter
    steps, began = _StepClock(seconds, calls, clock), clock()
    with contextlib.suppress(_EnoughError):
        work(steps)
    measured = steps.per_unit
    return clock() - began if measured is None else measured


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# `timeout` and shells tell a process and its group, so that one wish arrives as several signals.
_SAME_WISH_SECONDS = 1.0


class StoppedError(RunError):
    """Work was asked to stop and did so where it can go on.

    Args:
        number: the signal that asked.
        where: it stopped, such as "at a shard".
        fix: how to go on; that of runs if left out.
    """

    def __init__(
        self, number: int = signal.SIGINT, where: str = "at a shard", fix: str = ""
    ) -> None:
        fix = fix or f"{option(RESUME)}; what is finished is kept"
        self.number, self.exit_code = number, 128 + number
        self._told = number, where, fix
        super().__init__(expected="to reach the end", got=f"a stop {where}", fix=fix)

    def __str__(self) -> str:
        """No error: what was asked for."""
        _, where, fix = self._told
        return as_here(f"stopped {where}, as asked: {fix}")

    def __reduce__(self) -> tuple:
        return type(self), self._told


def _print(text: str) -> None:
    print(f"latentpath: {text}", file=sys.stderr, flush=True)


class StopRequest:
    """Whether somebody asked to stop, when, and by which signal.

    Args:
        say: shows a line about where work goes on.
    """

    def __init__(self, say: Say = _print) -> None:
        self.say = say
        self._event = threading.Event()
        self.number: int = signal.SIGINT
        self.asked_at = 0.0

    def __bool__(self) -> bool:
        return self._event.is_set()

    def ask(self, number: int = signal.SIGINT) -> None:
        """Ask for a clean stop."""
        self.number, self.asked_at = number, time.monotonic()
        self._event.set()


_CURRENT: ContextVar[StopRequest | None] = ContextVar("stop request", default=None)


def stop_request() -> StopRequest | None:
    """The request of the innermost `stoppable` around this; None outside of any."""
    return _CURRENT.get()


@contextmanager
def stops(where: str, fix: str) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end work at once, and say how it goes on.

    Outside the main thread, which alone is told of signals, nothing changes.

    Args:
        where: it stops, such as "before the report was written".
        fix: how to go on.

    Raises:
        StoppedError: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt  # which nothing on the way takes for a fault

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError(came[-1] if came else signal.SIGINT, where, fix) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stoppable(until: str, say: Say = _print) -> Iterator[StopRequest]:
    """Yield a request that Ctrl-C and SIGTERM set; once more ends the process at once.

    Repeats within a second count as one. Outside the main thread, which alone is told of signals,
    the request stays unset.

    Args:
        until: what is waited for, as in "stopping after the shards in hand".
        say: as of `StopRequest`; on standard error if left out.
    """
    request = StopRequest(say)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request:
            if time.monotonic() - request.asked_at < _SAME_WISH_SECONDS:
                return
            # No cleaning up, as after kill -9: what is on the disk is sound at any moment.
            os._exit(128 + number)
        request.ask(number)
        _print(f"stopping after {until}; once more stops at once")

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    token = _CURRENT.set(request)
    try:
        yield request
    finally:
        _CURRENT.reset(token)
        for number, handler in before.items():
            signal.signal(number, handler)


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
